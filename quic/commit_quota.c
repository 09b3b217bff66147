/*
 * A quota for what owners may commit in one iteration of their loop. Without it
 * an iteration would read every socket that has data, thousands for one
 * connection, before anything is sent.
 *
 * The connections that committed anything in the last iteration have equal
 * parts of the quota. A stream that finds the part of its connection used up
 * waits, and its `writable` fires in the next iteration. While streams wait,
 * each may commit one large read.
 */
#include "quic/internal.h"

/* For all connections: a few milliseconds of copying. */
#define QUOTA 4194304 /* bytes */
/* For each connection at least, and for a stream while others wait. */
#define QUOTA_LEAST CHUNK_MAX

/* Streams of a connection whose `writable` fires in one iteration. */
#define STEPS (QUOTA / QUOTA_LEAST)

static size_t
quota_of(const struct quic_memory *all)
{
	size_t part = QUOTA / (all->nactive > 0 ? all->nactive : 1);

	return part > QUOTA_LEAST ? part : QUOTA_LEAST;
}

/* Bytes that were committed in this iteration, not in an earlier one. */
static size_t
taken_now(const struct quic_conn *conn, const struct commit_quota *q)
{
	return q->iteration == conn->memory.all->iteration ? q->taken : 0;
}

static bool
is_used_up(const struct quic_conn *conn)
{
	return taken_now(conn, &conn->quota.used) >= quota_of(conn->memory.all);
}

bool
commit_quota_left(const struct quic_stream *s)
{
	const struct quic_conn *conn = s->conn;

	if (s->quota_waiting || is_used_up(conn))
		return false;
	return TAILQ_EMPTY(&conn->quota.waiting) ||
	    taken_now(conn, &s->quota) < QUOTA_LEAST;
}

static void
take(const struct quic_conn *conn, struct commit_quota *q, size_t n)
{
	q->taken = taken_now(conn, q) + n;
	q->iteration = conn->memory.all->iteration;
}

void
commit_quota_take(struct quic_stream *s, size_t n)
{
	struct quic_conn *conn = s->conn;

	if (taken_now(conn, &conn->quota.used) == 0)
		conn->memory.all->nactive_now++;
	take(conn, &conn->quota.used, n);
	take(conn, &s->quota, n);
}

void
commit_quota_wait(struct quic_stream *s)
{
	if (s->quota_waiting)
		return;
	s->quota_waiting = true;
	TAILQ_INSERT_TAIL(&s->conn->quota.waiting, s, quota_entry);
	conn_touch(s->conn);
}

void
commit_quota_wait_end(struct quic_stream *s)
{
	if (s->quota_waiting)
		TAILQ_REMOVE(&s->conn->quota.waiting, s, quota_entry);
	s->quota_waiting = false;
}

uint64_t
commit_quota_deadline(const struct quic_conn *conn)
{
	return TAILQ_EMPTY(&conn->quota.waiting) ? UINT64_MAX : conn->now;
}

/* These streams may find the quota used up again, and wait again. */
void
commit_quota_expire(struct quic_conn *conn)
{
	struct quic_stream *s;

	for (int i = 0; i < STEPS && !is_used_up(conn) &&
	     (s = TAILQ_FIRST(&conn->quota.waiting)) != NULL;
	     i++) {
		commit_quota_wait_end(s);
		stream_pend(s, PENDING_WRITABLE);
	}
}

/*
 * Committed bytes are about to be sent: for the quota, a new iteration begins.
 */
void
commit_quota_renew(struct quic_memory *all)
{
	if (all->nactive_now == 0)
		return;
	all->nactive = all->nactive_now;
	all->nactive_now = 0;
	all->iteration++;
}
