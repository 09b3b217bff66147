/*
 * Streams without an owner that the transport has not closed yet: the peer has
 * bytes to acknowledge, or has not ended its own direction.
 *
 *   released, bytes to go ──▶ all acknowledged ──▶ closed, or reset if it was
 *        │                                         cut short
 *        └── no progress ──▶ reset ── not ended ──▶ overdue
 *
 * A reset drops all that the peer has not acknowledged (RFC 9000 §3.1), so a
 * stream that was cut short is reset after the last byte is acknowledged. A
 * peer that reads nothing or ends nothing cannot keep streams for ever: they
 * have time limits, and when too many are overdue the connection is closed.
 *
 * A server delays its STOP_SENDING, too: Firefox loses a response that arrives
 * in the same datagram, and would hang on every refusal. A client that has the
 * whole response ends its request; if it goes on sending, it is asked to stop.
 */
#include "quic/internal.h"

/* Streams that one call checks, so that it is short. The next call goes on. */
#define STEPS 64

/* Checks in a row at which a stream may have waited for others: ten minutes. */
#define WAITS_MAX 20

/*
 * Overdue streams that are tolerated: a fault of the peer must not cost the
 * connection.
 */
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
	struct conn_orphans *o = &s->conn->orphans;

	if (!s->orphan.listed)
		return;
	if (o->to_stop == s)
		o->to_stop = TAILQ_NEXT(s, orphan.entry);
	TAILQ_REMOVE(&o->list, s, orphan.entry);
	s->orphan.listed = false;
}

/* The time of the connection may be old, after idle time: then check twice. */
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

/* The reset waits until the library has returned, as events do. */
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

/* The client goes on sending, or the connection is shutting down. */
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

	if (conn->orphans.to_stop != NULL)
		return conn->now;
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
 * On a slow path it may take long until the bytes of a stream are sent, or sent
 * again. Meanwhile others make progress, and the peer is not at fault.
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

/* There will be no more requests: the client is asked to end all, in turns. */
void
orphan_drain(struct quic_conn *conn)
{
	conn->orphans.to_stop = TAILQ_FIRST(&conn->orphans.list);
	conn_touch(conn);
}

static void
stop_some(struct quic_conn *conn)
{
	struct quic_stream *s;

	for (int i = 0; i < STEPS && (s = conn->orphans.to_stop) != NULL; i++) {
		conn->orphans.to_stop = TAILQ_NEXT(s, orphan.entry);
		orphan_received(s);
	}
}

static bool
is_due(const struct quic_stream *s, uint64_t now)
{
	return s != NULL && s->orphan.check_at <= now;
}

void
orphan_expire(struct quic_conn *conn, uint64_t now)
{
	struct quic_stream *s;

	stop_some(conn);
	for (int i = 0;
	     i < STEPS && is_due(s = TAILQ_FIRST(&conn->orphans.list), now);
	     i++)
		check(s, now);
}
