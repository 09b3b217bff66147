/*
 * What happens when too much memory is held nevertheless.
 *
 * A connection whose own streams wait aborts those that have been stuck for
 * long, largest first. When all is nearly used up, the largest connection does
 * so whether it waits or not, and if that is not enough a connection is closed:
 * one that was never used, or the one whose peer makes us hold most without
 * need, or the largest.
 */
#include "quic/internal.h"

/*
 * Part of `max` that one connection may hold in the libraries beyond the cost of
 * its streams, whose number is limited: what the peer makes them hold by gaps
 * that it leaves, and by frames.
 */
#define BEYOND_PART 4

/*
 * When this part of `max` is free no more, or holds only bytes to send, which
 * make room, nobody new is let in; when that part is not, relief begins; and
 * when the last is not, a connection is closed.
 */
#define ADMIT_PART 4
#define SHORT_PART 16
#define EXHAUSTED_PART 32

/*
 * The connection that makes us hold most without need is closed when nobody is
 * let in for some time, if that is at least this part of `max`: in bytes that
 * are not read, and in what the libraries hold beyond the cost of its streams.
 */
#define EXCESS_PART 1024

/* A stream is stuck when its bytes have not moved for so long. */
#define STUCK (5 * NS_PER_S)
/* When memory is exhausted there is less patience. */
#define STUCK_EXHAUSTED NS_PER_S
/* Newcomers wait so long: until what is stuck is aborted, and some. */
#define ADMIT_PAUSE (2 * STUCK)

/* One relief looks at so many streams and connections, so that it is short; */
#define RECLAIM_STEPS 64
/* The next comes so much later, ... */
#define RECLAIM_AGAIN (10 * NS_PER_MS)
/* ... or so much, when nothing was found to abort. */
#define RECLAIM_INTERVAL (NS_PER_S / 4)

/* Whether that part of all is free: an eighth, say. */
static bool
is_free(const struct quic_memory *m, size_t part)
{
	return m->held + m->max / part <= m->max;
}

bool
reclaim_is_due(const struct quic_memory *m)
{
	return m != NULL && (!is_free(m, EXHAUSTED_PART) ||
	    m->held - m->pooled - m->sending + m->max / ADMIT_PART >
	    m->max);
}

/* ---- Streams that wait ---- */

void
reclaim_at(struct quic_conn *conn, uint64_t at)
{
	if (at < conn->memory.reclaim_at)
		conn->memory.reclaim_at = at;
	conn_touch(conn);
}

void
reclaim_wait(struct quic_stream *s)
{
	if (s->memory.waiting)
		return;
	s->memory.waiting = true;
	TAILQ_INSERT_TAIL(&s->conn->memory.waiting, s, memory.waiting_entry);
	reclaim_at(s->conn, s->conn->now + RECLAIM_AGAIN);
}

void
reclaim_wait_end(struct quic_stream *s)
{
	if (!s->memory.waiting)
		return;
	s->memory.waiting = false;
	TAILQ_REMOVE(&s->conn->memory.waiting, s, memory.waiting_entry);
}

/* Room has appeared, for some of those that have none at all. */
static unsigned
resume_waiting(struct quic_conn *conn)
{
	struct quic_stream *s;
	unsigned n;

	for (n = 0; n < RECLAIM_STEPS &&
		    (s = TAILQ_FIRST(&conn->memory.waiting)) != NULL &&
		    memory_to_send(s) > 0;
	     n++) {
		reclaim_wait_end(s);
		stream_pend(s, PENDING_WRITABLE);
	}
	return n;
}

/* ---- Streams that are stuck ---- */

/* The largest of the connection's streams that are stuck, or NULL. */
static struct quic_stream *
stuck_stream(struct quic_conn *conn, uint64_t patience, uint64_t now)
{
	struct quic_stream *s;

	for (unsigned rank = MEMORY_RANKS; rank-- > 0;) {
		s = TAILQ_FIRST(&conn->memory.streams[rank]);
		if (s != NULL && s->memory.moved_at + patience <= now)
			return s;
	}
	return NULL;
}

/*
 * Aborts a stream. Its memory is free when its owner has heard of it; until
 * then it counts as moved, so that it is not found again.
 */
static void
abort_stuck(struct quic_stream *s, uint64_t now)
{
	s->conn->now = now;
	memory_moved(s);
	s->conn->memory.all->aborted++;
	if (s->released)
		quic_stream_reset(s, QUIC_H3_EXCESSIVE_LOAD);
	else
		stream_abort(s, QUIC_H3_EXCESSIVE_LOAD);
	conn_touch(s->conn);
}

/* Aborts streams that are stuck, as many as free `size` bytes. */
static unsigned
abort_some(struct quic_conn *conn, size_t size, uint64_t patience,
    uint64_t now)
{
	struct quic_stream *s;
	size_t freed = 0;
	unsigned n;

	for (n = 0; n < RECLAIM_STEPS && freed < size &&
		    (s = stuck_stream(conn, patience, now)) != NULL;
	     n++) {
		freed += s->memory.held;
		abort_stuck(s, now);
	}
	return n;
}

/* ---- Connections ---- */

static struct quic_conn *
largest_conn(const struct quic_memory *m)
{
	unsigned rank = MEMORY_RANKS - 1;

	while (rank > 0 && TAILQ_EMPTY(&m->conns[rank]))
		rank--;
	return TAILQ_FIRST(&m->conns[rank]);
}

/* Its memory is free when it has been told, and has said so to its peer. */
static void
close_for_memory(struct quic_conn *conn, uint64_t now)
{
	struct conn_memory *m = &conn->memory;

	if (conn->state >= CONN_CLOSING)
		return;
	m->closing = m->held;
	m->all->closing += m->closing;
	m->all->closed++;
	quic_conn_close(conn, QUIC_H3_EXCESSIVE_LOAD,
	    "memory is short, and this connection is the first to go: it was "
	    "never used, or it holds the most", now);
}

/* Bytes that the libraries hold beyond the cost of the streams: by gaps, say. */
static size_t
beyond_streams(const struct quic_conn *conn)
{
	size_t other = conn->memory.used[MEMORY_OTHER];
	size_t streams = conn->streams.n * STREAM_COST;

	return other > streams ? other - streams : 0;
}

/* Bytes that the peer makes us hold without need. */
static size_t
excess(const struct quic_conn *conn)
{
	return conn->memory.used[MEMORY_RX] + beyond_streams(conn);
}

/*
 * Of the largest connections, the one with the most excess if that is much. One
 * that is busy may hold more, in bytes to send, but those go in a round trip.
 * NULL: there is none, or one is about to be freed.
 */
static struct quic_conn *
most_excessive(const struct quic_memory *m)
{
	struct quic_conn *conn, *worst = NULL;
	size_t most = m->max / EXCESS_PART;
	unsigned n = 0;

	for (unsigned rank = MEMORY_RANKS; rank-- > 0;)
		TAILQ_FOREACH(conn, &m->conns[rank], memory.rank_entry) {
			if (n++ == RECLAIM_STEPS)
				return worst;
			if (conn->state >= CONN_CLOSING || excess(conn) <= most)
				continue;
			most = excess(conn);
			worst = conn;
		}
	return worst;
}

/* All is used up, but for what goes already: one connection makes room. */
static void
close_one(struct quic_conn *largest, uint64_t now)
{
	struct quic_conn *conn = NULL;

	if (conn_is_server(largest))
		conn = largest->server.ops->take_unused(
		    largest->server.owner);
	if (conn == NULL)
		conn = most_excessive(largest->memory.all);
	close_for_memory(conn != NULL ? conn : largest, now);
}

/* Nobody is let in, and that must not last because of a few. */
void
reclaim_admit(struct quic_memory *m, uint64_t now)
{
	struct quic_conn *conn;

	if (!reclaim_is_due(m)) {
		m->short_since = UINT64_MAX;
		return;
	}
	if (m->short_since > now)
		m->short_since = now;
	if (now - m->short_since < ADMIT_PAUSE)
		return;
	m->short_since = now;
	if ((conn = most_excessive(m)) != NULL)
		close_for_memory(conn, now);
}

/* All is nearly used up: the largest connection makes room. */
static void
reclaim_all(struct quic_memory *m, uint64_t now)
{
	struct quic_conn *conn = largest_conn(m);
	bool exhausted = !is_free(m, EXHAUSTED_PART);
	unsigned n;

	if (!exhausted && now - m->reclaimed_at < RECLAIM_AGAIN)
		return;
	m->reclaimed_at = now;
	memory_trim(m);
	n = abort_some(conn, m->max / SHORT_PART,
	    exhausted ? STUCK_EXHAUSTED : STUCK, now);
	if (n > m->steps_max)
		m->steps_max = n;
	if (n == 0 && m->held - m->closing > m->max - m->max / EXHAUSTED_PART)
		close_one(conn, now);
}

/* ---- When ---- */

void
reclaim_check(struct quic_conn *conn, uint64_t now)
{
	struct quic_memory *m = conn->memory.all;

	if (beyond_streams(conn) > m->max / BEYOND_PART)
		close_for_memory(conn, now);
	if (!is_free(m, SHORT_PART))
		reclaim_all(m, now);
	reclaim_admit(m, now);
	if (memory_is_unread(conn) && conn->memory.reclaim_at == UINT64_MAX)
		reclaim_at(conn, now + RECLAIM_INTERVAL);
}

uint64_t
reclaim_deadline(const struct quic_conn *conn)
{
	return conn->memory.reclaim_at;
}

/* The connection's own streams wait: for memory, or for credit. */
void
reclaim_expire(struct quic_conn *conn, uint64_t now)
{
	struct conn_memory *m = &conn->memory;
	unsigned resumed, aborted = 0;

	if (m->reclaim_at > now)
		return;
	m->reclaim_at = UINT64_MAX;
	resumed = resume_waiting(conn);
	flow_resume(conn);
	if (TAILQ_EMPTY(&m->waiting) && !memory_is_unread(conn))
		return;
	if (resumed == 0)
		aborted = abort_some(conn, memory_limit(conn) / 4, STUCK, now);
	if (aborted > m->all->steps_max)
		m->all->steps_max = aborted;
	reclaim_at(conn,
	    now + (resumed + aborted > 0 ? RECLAIM_AGAIN : RECLAIM_INTERVAL));
}
