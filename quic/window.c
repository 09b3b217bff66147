/*
 * What peers may send: the window of each stream, and the credit of the
 * connection (RFC 9000 §4).
 *
 *   window = on its way + in s->rx + owed, all in bytes
 *
 * A stream's window starts small, since a thousand may be idle, and doubles
 * while it is the limit, as far as the budget's share goes. What was granted
 * cannot be taken back, so a window that has grown stands on the budget's
 * books as if it were full; where the share has shrunk, less is given back
 * than was consumed, and the window shrinks with it. Streams that have been
 * quiet for long are taken off the books when others need room: not all of
 * them will come back at once.
 *
 * The connection's credit comes back on receipt, so that a slow reader slows
 * its own stream alone. Only when the budget is full does it wait, for those
 * connections that have much unread. Then the largest of the streams that
 * nobody has read for long are aborted: the others must live.
 */
#include "quic/internal.h"

/* The largest window: 1 Gbit/s over 100 ms, with some to spare. */
#define STREAM_WINDOW_MAX (16 * 1048576) /* bytes */

/* A window that is used up faster than this many round trips is too small. */
#define GROWTH_RTTS 2

/* The second window, for those whose first bytes were read: most want more. */
#define STREAM_WINDOW_NEXT 262144 /* bytes */

/*
 * Credit goes back when this part of a window is owed. The first time it does
 * so soon, with the acknowledgement of what a sender begins with.
 */
#define DUE 4
#define FIRST_DUE 8

/* Streams that have been idle for so long come off the books ... */
#define QUIET (10 * NS_PER_S)
/* ... for which they are looked through at most so often. */
#define SWEEP_INTERVAL NS_PER_S

/* A connection with less than this unread is no part of the problem. */
#define UNREAD_MIN 1048576 /* bytes */

/* How long nobody has read a stream that may be aborted, ... */
#define PATIENCE (5 * NS_PER_S)
/* ... how often such are looked for while a connection waits, ... */
#define RELIEF_INTERVAL (NS_PER_S / 4)
/* ... and how much of the budget they make free at a time: an eighth. */
#define RELIEF_SHARE 8

/* ---- The budget's books ---- */

static void
note_promise(struct quic_stream *s)
{
	struct quic_budget *b = s->conn->budget;
	size_t promised = 0;

	if (!s->quiet && s->window > STREAM_WINDOW && s->window > s->rx.len)
		promised = s->window - s->rx.len;
	b->promised = b->promised - s->promised + promised;
	s->promised = promised;
}

static void
sweep_conn(struct quic_conn *conn, uint64_t now)
{
	struct quic_stream *s;

	LIST_FOREACH(s, &conn->streams, entry)
		if (s->promised > 0 && s->rx.len == 0 &&
		    now - s->moved_at >= QUIET) {
			s->quiet = true;
			note_promise(s);
		}
}

static void
sweep(struct quic_budget *b, uint64_t now)
{
	struct quic_conn *conn;

	if (now - b->swept_at < SWEEP_INTERVAL)
		return;
	b->swept_at = now;
	LIST_FOREACH(conn, &b->conns, budget_entry)
		sweep_conn(conn, now);
}

/* ---- Streams ---- */

void
window_open(struct quic_stream *s)
{
	s->window = STREAM_WINDOW;
	s->moved_at = s->conn->now;
}

static size_t
next_window(struct quic_stream *s)
{
	struct quic_conn *conn = s->conn;
	size_t share, size = s->window;
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (s->credited_at == 0)
		size = STREAM_WINDOW_NEXT;
	else if (conn->now - s->credited_at < GROWTH_RTTS * info.smoothed_rtt)
		size = size < STREAM_WINDOW_MAX / 2 ? 2 * size
						    : STREAM_WINDOW_MAX;
	if (size > (share = budget_share(conn->budget))) {
		sweep(conn->budget, conn->now);
		share = budget_share(conn->budget);
		size = size < share ? size : share;
	}
	return size > STREAM_WINDOW ? size : STREAM_WINDOW;
}

/* Gives back what is owed, and as much more or less as the window changes. */
static void
give_credit(struct quic_stream *s)
{
	size_t next = next_window(s), rest = s->window - s->owed;
	struct quic_conn *conn = s->conn;

	s->credited_at = conn->now;
	s->owed = 0;
	s->window = next > rest ? next : rest;
	if (s->transport_gone || s->window == rest)
		return;
	ngtcp2_conn_extend_max_stream_offset(conn->quic, s->id,
	    s->window - rest);
	conn_touch(conn);
}

/* ---- Connections ---- */

static bool
must_wait(const struct quic_conn *conn)
{
	return conn->unread >= UNREAD_MIN && budget_is_full(conn->budget);
}

static void
pay_back(struct quic_conn *conn)
{
	ngtcp2_conn_extend_max_offset(conn->quic, conn->credit_withheld);
	conn->credit_withheld = 0;
	conn->relief_at = UINT64_MAX;
	conn_touch(conn);
}

/* Takes received bytes off the books, and pays back what credit they held. */
static void
settle(struct quic_conn *conn, size_t n)
{
	conn->unread -= n;
	if (conn->credit_withheld > 0 && !must_wait(conn))
		pay_back(conn);
}

static void
withhold(struct quic_conn *conn, size_t n)
{
	if (conn->credit_withheld == 0)
		conn->relief_at = conn->now;
	conn->credit_withheld += n;
}

static struct quic_stream *
largest_unread(struct quic_conn *conn, uint64_t now)
{
	struct quic_stream *s, *largest = NULL;

	LIST_FOREACH(s, &conn->streams, entry)
		if (now - s->moved_at >= PATIENCE &&
		    (s->pending & PENDING_ABORTED) == 0 &&
		    s->rx.len > (largest != NULL ? largest->rx.len : 0))
			largest = s;
	return largest;
}

/*
 * Ends a wait that need not be, other connections having made room, or aborts
 * the largest of the streams that nobody has read for long.
 */
void
window_relieve(struct quic_conn *conn, uint64_t now)
{
	struct quic_budget *b = conn->budget;
	struct quic_stream *s;
	size_t freed = 0;

	if (!must_wait(conn)) {
		pay_back(conn);
		return;
	}
	conn->relief_at = now + RELIEF_INTERVAL;
	while (freed < b->max / RELIEF_SHARE &&
	    (s = largest_unread(conn, now)) != NULL) {
		freed += s->rx.len;
		b->aborted++;
		stream_abort(s, QUIC_H3_EXCESSIVE_LOAD);
	}
}

/* ---- Bytes come and go ---- */

/* Bytes have arrived and are in s->rx. */
void
window_fill(struct quic_stream *s, size_t n)
{
	struct quic_conn *conn = s->conn;

	if (s->rx.len == n)
		s->moved_at = conn->now;
	s->quiet = false;
	note_promise(s);
	conn->unread += n;
	if (must_wait(conn))
		withhold(conn, n);
	else
		ngtcp2_conn_extend_max_offset(conn->quic, n);
}

/* Bytes have been consumed and are in s->rx no more. */
void
window_drain(struct quic_stream *s, size_t n)
{
	s->moved_at = s->conn->now;
	s->owed += n;
	if (s->owed >= s->window / (s->credited_at == 0 ? FIRST_DUE : DUE))
		give_credit(s);
	note_promise(s);
	settle(s->conn, n);
}

/* Nobody reads any more; s->rx is about to be cleared. Idempotent. */
void
window_close(struct quic_stream *s)
{
	size_t n = s->rx.len;

	if (s->window == 0)
		return;
	s->window = s->owed = 0;
	note_promise(s);
	settle(s->conn, n);
}
