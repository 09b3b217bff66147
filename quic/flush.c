/*
 * Streams that were cut short, whose owner has let go of them, and whose last
 * bytes are still on their way. A reset takes back all that the peer has not
 * acknowledged (RFC 9000 §3.1), so it comes after that; a peer that takes
 * nothing does not hold a stream for ever.
 */
#include "quic/internal.h"

/* Streams that one call looks at, so that it is short: the next call goes on. */
#define STEP 64

static void
flush_append(struct quic_stream *s, uint64_t now)
{
	s->flush_at = now + QUIC_FLUSH_STALL_NS;
	TAILQ_INSERT_TAIL(&s->conn->flushing, s, flush_entry);
}

/* The connection may have been idle, and its time old: twice, if so. */
void
flush_begin(struct quic_stream *s)
{
	s->flushing = true;
	s->flush_left = SIZE_MAX;
	flush_append(s, s->conn->now);
}

/* Idempotent; fine for a stream that does not flush. */
void
flush_end(struct quic_stream *s)
{
	if (s->flushing)
		TAILQ_REMOVE(&s->conn->flushing, s, flush_entry);
	s->flushing = false;
}

/* The reset waits for the library to return, as events do. */
void
flush_acked(struct quic_stream *s)
{
	if (!s->flushing || s->tx.len > 0 || s->pending != 0)
		return;
	s->pending = PENDING_FLUSHED;
	TAILQ_INSERT_TAIL(&s->conn->ready, s, ready_entry);
}

uint64_t
flush_deadline(const struct quic_conn *conn)
{
	const struct quic_stream *s = TAILQ_FIRST(&conn->flushing);

	return s != NULL ? s->flush_at : UINT64_MAX;
}

void
flush_expire(struct quic_conn *conn, uint64_t now)
{
	struct quic_stream *s;

	for (int i = 0; i < STEP && flush_deadline(conn) <= now; i++) {
		s = TAILQ_FIRST(&conn->flushing);
		if (s->tx.len == s->flush_left) {
			quic_stream_reset(s, s->abort_code);
			continue;
		}
		TAILQ_REMOVE(&conn->flushing, s, flush_entry);
		s->flush_left = s->tx.len;
		flush_append(s, now);
	}
}
