/*
 * Streams that nobody owns any more and that the transport has not closed: the
 * peer has bytes to acknowledge, or its own half to end.
 *
 *   released, bytes to go ──▶ all acknowledged ──▶ closed, or reset if it was
 *        │                                         cut short
 *        └── no progress ──▶ reset ── not ended ──▶ overdue
 *
 * A reset takes back all that the peer has not acknowledged (RFC 9000 §3.1), so
 * that of a stream that was cut short comes after the last byte. A peer that
 * takes nothing or ends nothing does not hold streams for ever: it gets time,
 * and when too many are overdue its connection is closed.
 *
 * STOP_SENDING of a server waits, too: Firefox loses the response that comes in
 * the same datagram, and would hang on every refusal. A client that has the
 * whole response ends its request; if it sends on, it is asked to stop.
 */
#include "quic/internal.h"

/* Streams that one call looks at, so that it is short: the next call goes on. */
#define STEPS 64

/* Checks that a stream may wait for others in a row: ten minutes. */
#define WAITS_MAX 20

/* Streams that a peer may forget: a fault in it must not cost a connection. */
#define OVERDUE_MAX 256

static void
append(struct quic_stream *s, uint64_t now)
{
	s->orphan.check_at = now + QUIC_FLUSH_STALL_NS;
	TAILQ_INSERT_TAIL(&s->conn->orphans.list, s, orphan.entry);
	s->orphan.listed = true;
}

static void
unlist(struct quic_stream *s)
{
	if (s->orphan.listed)
		TAILQ_REMOVE(&s->conn->orphans.list, s, orphan.entry);
	s->orphan.listed = false;
}

/* The connection may have been idle, and its time old: twice, if so. */
void
orphan_begin(struct quic_stream *s)
{
	unlist(s);
	s->orphan.left = SIZE_MAX;
	append(s, s->conn->now);
}

void
orphan_end(struct quic_stream *s)
{
	unlist(s);
	if (s->orphan.overdue)
		s->conn->orphans.noverdue--;
	s->orphan.overdue = false;
}

/* The reset waits for the library to return, as events do. */
void
orphan_acked(struct quic_stream *s)
{
	if (s->orphan.answering && s->tx.len == 0)
		s->orphan.answered = true;
	if (s->orphan.answered && s->conn->goaway.state == GOAWAY_FINAL)
		orphan_received(s);
	if (!s->orphan.flushing || s->tx.len > 0 || s->pending != 0)
		return;
	s->pending = PENDING_FLUSHED;
	TAILQ_INSERT_TAIL(&s->conn->streams.ready, s, ready_entry);
}

/* The client sends on, or it is to go. */
void
orphan_received(struct quic_stream *s)
{
	if (!s->orphan.answering || !(s->orphan.answered || s->tx_refused))
		return;
	s->orphan.answering = false;
	stream_stop(s, QUIC_H3_NO_ERROR);
}

uint64_t
orphan_deadline(const struct quic_conn *conn)
{
	const struct quic_stream *s = TAILQ_FIRST(&conn->orphans.list);

	return s != NULL ? s->orphan.check_at : UINT64_MAX;
}

static void
note_overdue(struct quic_stream *s, uint64_t now)
{
	struct quic_conn *conn = s->conn;

	s->orphan.overdue = true;
	if (++conn->orphans.noverdue > OVERDUE_MAX)
		quic_conn_close(conn, QUIC_H3_EXCESSIVE_LOAD,
		    "the peer does not end the streams that were reset", now);
}

/*
 * On a slow path it may be long until a stream has its turn, or what was lost
 * of it; others go on meanwhile, and the peer is not to blame.
 */
static bool
waits_for_others(struct quic_stream *s)
{
	return s->tx.len > 0 && s->conn->streams.acked > s->orphan.acked &&
	    ngtcp2_conn_get_max_stream_data_left(s->conn->quic, s->id) > 0 &&
	    s->orphan.waits++ < WAITS_MAX;
}

static void
check(struct quic_stream *s, uint64_t now)
{
	bool moved = s->tx.len < s->orphan.left;
	bool goes_on = moved || waits_for_others(s);

	unlist(s);
	if (moved)
		s->orphan.waits = 0;
	s->orphan.left = s->tx.len;
	s->orphan.acked = s->conn->streams.acked;
	if (goes_on)
		append(s, now);
	else if (!s->reset_sent)
		quic_stream_reset(s, s->orphan.code);
	else
		note_overdue(s, now);
}

/* No request comes any more: nothing waits for a client that is silent. */
void
orphan_drain(struct quic_conn *conn)
{
	struct quic_stream *s;

	TAILQ_FOREACH(s, &conn->orphans.list, orphan.entry)
		orphan_received(s);
}

void
orphan_expire(struct quic_conn *conn, uint64_t now)
{
	for (int i = 0; i < STEPS && orphan_deadline(conn) <= now; i++)
		check(TAILQ_FIRST(&conn->orphans.list), now);
}
