/*
 * Flow control (RFC 9000 §4): what peers may send, on a stream and on the
 * connection.
 *
 *   window = on its way + in s->rx + credit_due, all in bytes
 *
 * A stream's window starts small, since a thousand streams may be idle, and
 * doubles while it is the limit, as far as the stream's share of memory goes.
 * Credit cannot be withdrawn, so a window that has grown counts against the
 * share of others as if it was full. If the share has shrunk, less credit is
 * sent than was consumed, and the window shrinks with it. Windows that were not
 * used for long do not count: they will not all be used at once.
 *
 * The connection's credit is sent on receipt, so that a slow reader slows its
 * own stream only. It waits only if the unread bytes of the connection and what
 * its window allows are more than it may hold. The window doubles and shrinks
 * as those of streams do.
 */
#include "quic/internal.h"

/* The largest window of a stream: 1 Gbit/s over 100 ms, and some spare. */
#define STREAM_WINDOW_MAX (16 * 1048576) /* bytes */

/* A window that is used up faster than this many round trips is too small. */
#define GROWTH_RTTS 2

/* The second window, once the first bytes are consumed: most streams use it. */
#define STREAM_WINDOW_NEXT 262144 /* bytes */

/*
 * Credit is sent when it is this part of the window. For the first time it is
 * sent soon, with the acknowledgement of a sender's initial window.
 */
#define DUE 4
#define FIRST_DUE 8

/* The largest window of a connection: 2.5 Gbit/s over 100 ms. */
#define CONN_WINDOW_MAX (32 * 1048576) /* bytes */

/* Windows that were not used for so long do not count. */
#define QUIET (10 * NS_PER_S)
/* Windows that are checked for that whenever room is needed. */
#define SWEEP_STEPS 64

/* ---- Bytes that windows allow ---- */

/*
 * Streams with a grown window are listed in the order in which they were used.
 */
static void
update_grown(struct quic_stream *s)
{
	struct conn_flow *c = &s->conn->flow;
	struct stream_flow *f = &s->flow;
	size_t grown = 0;

	if (!f->quiet && f->window > STREAM_WINDOW && f->window > s->rx.len)
		grown = f->window - s->rx.len;
	if (f->grown > 0)
		TAILQ_REMOVE(&c->with_grown, s, flow.entry);
	if (grown > 0)
		TAILQ_INSERT_TAIL(&c->with_grown, s, flow.entry);
	c->grown = c->grown - f->grown + grown;
	f->grown = grown;
}

/* Grown windows that were not used for long do not count any more. */
static void
sweep(struct quic_conn *conn)
{
	struct quic_stream *s;

	for (int i = 0; i < SWEEP_STEPS; i++) {
		s = TAILQ_FIRST(&conn->flow.with_grown);
		if (s == NULL || conn->now - s->flow.used_at < QUIET)
			return;
		s->flow.quiet = s->rx.len == 0;
		update_grown(s);
	}
}

/*
 * The same for a connection: what its window has grown by, or all of it if so
 * much is unread that what is to come will be, too.
 */
static void
update_conn_grown(struct quic_conn *conn)
{
	const struct conn_flow *c = &conn->flow;
	size_t to_come = c->window - c->credit_due, grown = 0;
	size_t least = conn->memory.used[MEMORY_RX] < c->window_least
	    ? c->window_least
	    : 0;

	if (!c->quiet && to_come > least)
		grown = to_come - least;
	memory_set_grown(conn, grown);
}

static void
sweep_conns(struct quic_memory *m, uint64_t now)
{
	struct quic_conn *conn;

	for (int i = 0; i < SWEEP_STEPS; i++) {
		conn = TAILQ_FIRST(&m->with_grown);
		if (conn == NULL || conn->flow.used_at + QUIET > now)
			return;
		conn->flow.quiet = true;
		update_conn_grown(conn);
	}
}

/* ---- Streams ---- */

void
flow_open(struct quic_stream *s)
{
	sweep_conns(s->conn->memory.all, s->conn->now);
	s->flow.window = STREAM_WINDOW;
	s->flow.used_at = s->conn->now;
}

static size_t
next_window(struct quic_stream *s)
{
	size_t share, size = s->flow.window;
	struct quic_conn *conn = s->conn;
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (s->flow.credited_at == 0)
		size = STREAM_WINDOW_NEXT;
	else if (conn->now - s->flow.credited_at <
	    GROWTH_RTTS * info.smoothed_rtt)
		size = size < STREAM_WINDOW_MAX / 2 ? 2 * size
						    : STREAM_WINDOW_MAX;
	if (size > (share = memory_share(conn, MEMORY_RX))) {
		sweep(conn);
		share = memory_share(conn, MEMORY_RX);
		size = size < share ? size : share;
	}
	return size > STREAM_WINDOW ? size : STREAM_WINDOW;
}

/* Sends the credit that is due, more or less as the window changes. */
static void
give_credit(struct quic_stream *s)
{
	size_t next = next_window(s),
	       rest = s->flow.window - s->flow.credit_due;
	struct quic_conn *conn = s->conn;

	s->flow.credited_at = conn->now;
	s->flow.credit_due = 0;
	s->flow.window = next > rest ? next : rest;
	if (s->transport_gone || s->flow.window == rest)
		return;
	ngtcp2_conn_extend_max_stream_offset(conn->quic, s->id,
	    s->flow.window - rest);
	conn_touch(conn);
}

size_t
flow_chunk(const struct quic_stream *s, size_t len)
{
	size_t want = len > s->rx.len ? len : s->rx.len;

	return want < CHUNK_NEXT && s->flow.window <= STREAM_WINDOW
	    ? want
	    : CHUNK_NEXT;
}

/* ---- Connections ---- */

void
flow_init(struct quic_conn *conn, size_t window)
{
	TAILQ_INIT(&conn->flow.with_grown);
	conn->flow.window = conn->flow.window_least = window;
	memory_set_first_window(conn, window);
}

static size_t
next_conn_window(const struct quic_conn *conn)
{
	const struct conn_flow *c = &conn->flow;
	size_t room = memory_window(conn, CONN_WINDOW_MAX);
	size_t size = c->window;
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (conn->now - c->credited_at < GROWTH_RTTS * info.smoothed_rtt)
		size *= 2;
	size = size < room ? size : room;
	return size > c->window_least ? size : c->window_least;
}

void
flow_resume(struct quic_conn *conn)
{
	struct conn_flow *c = &conn->flow;
	size_t next, rest = c->window - c->credit_due;

	if (c->credit_due < c->window / DUE || memory_defers_credit(conn))
		return;
	sweep_conns(conn->memory.all, conn->now);
	next = next_conn_window(conn);
	c->credited_at = conn->now;
	c->credit_due = 0;
	c->window = next > rest ? next : rest;
	ngtcp2_conn_extend_max_offset(conn->quic, c->window - rest);
	update_conn_grown(conn);
	conn_touch(conn);
}

/* ---- Bytes are received and consumed ---- */

void
flow_fill(struct quic_stream *s, size_t n)
{
	struct quic_conn *conn = s->conn;

	s->flow.used_at = conn->now;
	s->flow.quiet = false;
	update_grown(s);
	conn->flow.credit_due += n;
	conn->flow.used_at = conn->now;
	conn->flow.quiet = false;
	update_conn_grown(conn);
	flow_resume(conn);
}

void
flow_drain(struct quic_stream *s, size_t n)
{
	struct stream_flow *f = &s->flow;

	f->used_at = s->conn->now;
	f->credit_due += n;
	if (f->credit_due >=
	    f->window / (f->credited_at == 0 ? FIRST_DUE : DUE))
		give_credit(s);
	update_grown(s);
	flow_resume(s->conn);
}

void
flow_close(struct quic_stream *s)
{
	s->flow.window = s->flow.credit_due = 0;
	update_grown(s);
	flow_resume(s->conn);
}
