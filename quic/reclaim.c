/*
 * Frees memory when too much is held in spite of the limits of memory.c.
 *
 * A connection whose own streams wait aborts streams that have been stuck for
 * long, the largest first. When much of all memory is used, the connection that
 * wastes most does so whether its streams wait or not: it holds most bytes
 * beyond what its traffic explains. If that is not enough, a connection is
 * closed: an unused one, or the one that wastes most.
 */
#include "quic/internal.h"

/*
 * The part of `max` that one connection may hold in the libraries beyond the
 * cost of its streams, whose number is limited: the peer causes it by gaps in
 * its data, and by frames.
 */
#define BEYOND_PART 4

/*
 * If less than the first part of `max` is free or about to be (bytes to send
 * are), no new connection is admitted; if less than the second is free, memory
 * is reclaimed; if less than the third, a connection is closed.
 */
#define ADMIT_PART 4
#define SHORT_PART 16
#define EXHAUSTED_PART 32

/*
 * If less than this part of `max` is free, the connection that wastes most
 * aborts streams, if it wastes more than the second part, or more than an equal
 * part of the third: others have less than they need, and among many it need
 * not be large.
 */
#define CROWDED_PART 4
#define MUCH_PART 64
#define EQUAL_PART 4

/*
 * If no connection is admitted for some time, the one that wastes most is
 * closed, if it wastes at least this part of `max`.
 */
#define WASTE_PART 1024

/* A stream is stuck if its bytes have not moved for so long. */
#define STUCK (5 * NS_PER_S)
/* The same when memory is exhausted. */
#define STUCK_EXHAUSTED NS_PER_S
/*
 * So long no connection is admitted: until stuck streams are aborted, and some
 * more.
 */
#define ADMIT_PAUSE (2 * STUCK)

/* Streams that one call checks, so that it is short; and connections. */
#define RECLAIM_STEPS 64
#define ROTATION_STEPS 32
#define LARGEST_STEPS 32
/* The time until the next call. */
#define RECLAIM_AGAIN (10 * NS_PER_MS)
/* The time until the next call, if there was nothing to abort. */
#define RECLAIM_INTERVAL (NS_PER_S / 4)

/* True: 1/part of max is free. */
static bool
is_free(const struct quic_memory *m, size_t part)
{
	return m->held + m->max / part <= m->max;
}

bool
reclaim_is_due(const struct quic_memory *m)
{
	return m != NULL &&
	    (!is_free(m, EXHAUSTED_PART) ||
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

/* There is room for some of the streams that have no chunk. */
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

/* The largest stuck stream of the connection, or NULL. */
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
 * Aborts a stream. Its memory is freed by its owner's handler. Until then it
 * counts as moved, so that it is not found again.
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

/* Aborts stuck streams, as many as free `size` bytes. */
static unsigned
abort_some(struct quic_conn *conn, size_t size, uint64_t patience, uint64_t now)
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

/*
 * The memory is freed after the event, and after the CONNECTION_CLOSE is
 * written.
 */
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
	    "memory is short: connections that are unused or hold the most are "
	    "closed",
	    now);
}

/*
 * The one of two connections that wastes more, if that is more than `least`
 * bytes, or NULL. Each may be NULL.
 */
static struct quic_conn *
worse(struct quic_conn *a, struct quic_conn *b, size_t least)
{
	size_t waste[2] = { 0, 0 };

	if (a != NULL && a->state < CONN_CLOSING)
		waste[0] = memory_waste(a);
	if (b != NULL && b != a && b->state < CONN_CLOSING)
		waste[1] = memory_waste(b);
	if (waste[0] <= least && waste[1] <= least)
		return NULL;
	return waste[0] >= waste[1] ? a : b;
}

/*
 * Checks some connections in turn, so that one that wastes much is found beside
 * any number of larger ones.
 */
static void
rotate(struct quic_memory *m)
{
	struct quic_conn *conn;

	for (unsigned n = 0; n < ROTATION_STEPS && n < m->nconns; n++) {
		conn = TAILQ_FIRST(&m->rotation);
		TAILQ_REMOVE(&m->rotation, conn, memory.rotation_entry);
		TAILQ_INSERT_TAIL(&m->rotation, conn, memory.rotation_entry);
		m->suspect = worse(m->suspect, conn, 0);
	}
}

/*
 * Of the largest connections and those of the rotation, the one that wastes
 * most, if that is more than `least` bytes. A busy connection may hold more,
 * but its bytes leave within a round trip. NULL: there is none.
 */
static struct quic_conn *
most_wasteful(struct quic_memory *m, size_t least)
{
	struct quic_conn *conn, *worst;
	unsigned n = 0;

	rotate(m);
	worst = worse(m->suspect, NULL, least);
	for (unsigned rank = MEMORY_RANKS; rank-- > 0;)
		TAILQ_FOREACH(conn, &m->conns[rank], memory.rank_entry) {
			if (n++ == LARGEST_STEPS)
				return worst;
			worst = worse(worst, conn, least);
		}
	return worst;
}

/* Memory is used up, even without what is being freed: closes a connection. */
static void
close_one(struct quic_conn *worst, uint64_t now)
{
	struct quic_conn *conn = NULL;

	if (conn_is_server(worst))
		conn = worst->server.ops->take_unused(worst->server.owner);
	close_for_memory(conn != NULL ? conn : worst, now);
}

/* No connection is admitted, and a few peers must not make that last. */
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
	if ((conn = most_wasteful(m, m->max / WASTE_PART)) != NULL)
		close_for_memory(conn, now);
}

/* A connection that wastes less is not the cause. */
static size_t
much(const struct quic_memory *m)
{
	size_t equal = m->nconns > 0 ? m->max / EQUAL_PART / m->nconns : 0;

	return equal < m->max / MUCH_PART ? equal : m->max / MUCH_PART;
}

/* Not more than it wastes, while others are not in need yet. */
static size_t
to_free(const struct quic_conn *conn, bool is_short)
{
	const struct quic_memory *m = conn->memory.all;
	size_t waste = memory_waste(conn), least = much(m);

	if (is_short || waste - least > m->max / SHORT_PART)
		return m->max / SHORT_PART;
	return waste - least;
}

/* A connection aborts streams: the one that wastes most, or the largest. */
static void
reclaim_all(struct quic_memory *m, uint64_t now)
{
	bool is_short = !is_free(m, SHORT_PART);
	bool exhausted = !is_free(m, EXHAUSTED_PART);
	struct quic_conn *conn;
	unsigned n;

	if (!exhausted && now - m->reclaimed_at < RECLAIM_AGAIN)
		return;
	m->reclaimed_at = now;
	conn = most_wasteful(m, is_short ? 0 : much(m));
	if (conn == NULL && is_short)
		conn = largest_conn(m);
	if (conn == NULL)
		return;
	if (is_short)
		memory_trim(m);
	n = abort_some(conn, to_free(conn, is_short),
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

	m->now = now;
	if (memory_beyond(conn) > m->max / BEYOND_PART)
		close_for_memory(conn, now);
	if (!is_free(m, CROWDED_PART))
		reclaim_all(m, now);
	reclaim_admit(m, now);
	if (memory_is_blocked(conn) && conn->memory.reclaim_at == UINT64_MAX)
		reclaim_at(conn, now + RECLAIM_INTERVAL);
}

uint64_t
reclaim_deadline(const struct quic_conn *conn)
{
	return conn->memory.reclaim_at;
}

/* Streams of the connection wait: for memory, or for credit. */
void
reclaim_expire(struct quic_conn *conn, uint64_t now)
{
	struct conn_memory *m = &conn->memory;
	unsigned resumed, aborted = 0;

	m->all->now = now;
	if (m->reclaim_at > now)
		return;
	m->reclaim_at = UINT64_MAX;
	resumed = resume_waiting(conn);
	flow_resume(conn);
	if (TAILQ_EMPTY(&m->waiting) && !memory_is_blocked(conn))
		return;
	if (resumed == 0)
		aborted = abort_some(conn, memory_limit(conn) / 4, STUCK, now);
	if (aborted > m->all->steps_max)
		m->all->steps_max = aborted;
	reclaim_at(conn,
	    now + (resumed + aborted > 0 ? RECLAIM_AGAIN : RECLAIM_INTERVAL));
}
