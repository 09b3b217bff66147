/*
 * How much memory each level may hold.
 *
 *   all          max: what all connections hold, and the pool
 *   connection   at a server half of what the others leave of nine tenths of
 *                max: one greedy connection gets 1/2 of that, two get 1/3
 *                each, n get 1/(n+1), and as much stays free for new ones;
 *                the last tenth is for what cannot be refused. One whose
 *                bytes do not leave gets less beside others: see STUCK_WEIGHT
 *                A client chose its connections itself, and each may hold
 *                three quarters of what is left
 *   direction    seven eighths of its connection's, so that the other goes on
 *   stream       three quarters of what is left of as much of its direction;
 *                the last quarter is for streams that hold nothing yet; and
 *                no more than a sixteenth of max, so that the rest is nearly
 *                as good as all of it when others hold much
 *
 * While grown windows of others are in use, they count as if they were full.
 *
 * So the largest holders are limited first, on both levels, and new ones find
 * room: the dynamic threshold that switches use for their queues. A connection
 * over its limit is not read from, and its streams get no first chunk; other
 * connections are not affected.
 *
 * Bytes that a peer was allowed to send cannot be refused when they arrive, and
 * the libraries free their own memory: when that is too much, see reclaim.c.
 */
#include "quic/memory.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "quic/internal.h"

/* The size of the first rank. */
#define RANK_FIRST_BITS 9 /* 512 bytes */

/*
 * Memory of a connection that is not counted as it is allocated: the TLS
 * session, with its keys and buffers.
 */
#define TLS_SESSION 18432 /* bytes, as measured with GnuTLS 3.7 */

/*
 * What a connection holds after its handshake without a stream. It is charged
 * from the start, or there would be too many handshakes under way.
 */
/* Bytes; with TLS_SESSION a little less than measured. */
#define HANDSHAKE 49152

/* Bytes that GnuTLS holds for each byte of a message; measured: 1.6. */
#define CRYPTO_COST 2

/* The most that a connection without streams needs, and each stream more. */
#define CONN_COST (TLS_SESSION + 2 * HANDSHAKE) /* bytes */
#define STREAM_COST_MAX (STREAM_COST / 2 * 3)	/* bytes */

/* The part of `max` that the connections of a server do not share. */
#define UNSHARED_PART 10

/*
 * A connection whose bytes do not leave, since the peer does not acknowledge
 * them or nobody reads them, may hold as much as others while it is alone, but
 * what others hold counts so many times: several of them get little more than
 * one.
 */
#define STUCK_WEIGHT 3

/*
 * But a part of what is left at least, so that a pause costs nobody its tunnels
 * while there is memory: a weight of what is left of a part of `max`, so that
 * all of them together do not exceed that; or, while that is less, of what is
 * left of all, but no more than an equal part of another part of `max`. In both
 * cases a crowd of them has about half of `max`, and the other half is enough
 * for those whose bytes leave.
 */
#define REST_SHARED_PART 2
#define REST_WEIGHT 8
#define REST_PART 6
#define EQUAL_PART 8

/*
 * What a connection holds beyond that follows from the bytes that left of late,
 * to begin with from a small part of `max`: as many as left in this time. A
 * sender's bytes are held for two round trips or so, and as it starts they
 * double in each. On a long path that is more time; but a peer that delays its
 * acknowledgements has a long path, too, and holds more memory for the same
 * traffic. So those have, beyond the least time, a weight of what is left.
 */
#define START_PART 64
#define EXPLAINED_MS 250      /* milliseconds */
#define EXPLAINED_MOST_MS 750 /* milliseconds: a round trip of 300 */
#define FAR_SHARED(max) ((max) / 4 * 3)
#define FAR_WEIGHT 2

/* A period: round trips, and its least and most nanoseconds. */
#define DRAIN_RTTS 2
#define DRAIN_MIN (100 * NS_PER_MS)
#define DRAIN_MAX NS_PER_S

/* The traffic of so many milliseconds is no waste. */
#define WASTE_MS 500
/* What left longer ago than so many nanoseconds does not excuse waste. */
#define DRAIN_PATIENCE NS_PER_S

/*
 * Bytes of streams that a connection may hold whatever the others hold, to
 * start with. All together have this part of `max`, since the full amount for
 * each of a thousand connections would be too much.
 */
#define CONN_LEAST 262144 /* bytes */
#define LEAST_PART 32

/*
 * The parts of `max` for one stream in one direction, and for the window of a
 * connection.
 */
#define STREAM_PART 16
#define WINDOW_PART 8

/*
 * The parts for the streams of one connection while they hold no bytes: of
 * `max` to start with, and of what the others leave of the shared part.
 */
#define FIRST_STREAMS_PART 32
#define STREAMS_SHARED_PART 2
#define STREAMS_PART 4
#define STREAMS_LEAST 100 /* streams: RFC 9114 §6.1 asks for as many */

/*
 * The first window of a connection. At a server many peers may use it at once,
 * and credit cannot be withdrawn. So all first windows have a part of `max`,
 * and each has a part of what is left of that; but enough for the first flight
 * of a sender and the next, since later windows grow as fast as that.
 */
#define FIRST_WINDOW (4 * 1048576)  /* bytes, of a client */
#define FIRST_WINDOW_SERVER 1048576 /* bytes */
#define FIRST_WINDOW_LEAST 32768    /* bytes */
#define FIRST_WINDOWS_PART 16
#define FIRST_WINDOW_PART 8

/* ---- All ---- */

void
memory_init(struct quic_memory *m, size_t max)
{
	*m = (struct quic_memory){ .max = max, .short_since = UINT64_MAX };
	TAILQ_INIT(&m->with_grown);
	TAILQ_INIT(&m->rotation);
	for (size_t i = 0; i < MEMORY_RANKS; i++)
		TAILQ_INIT(&m->conns[i]);
}

int
quic_memory_new(struct quic_memory **out, size_t max)
{
	struct quic_memory *m = malloc(sizeof(*m));

	if (m == NULL)
		return -ENOMEM;
	memory_init(m, max);
	*out = m;
	return 0;
}

void
quic_memory_resize(struct quic_memory *m, size_t max)
{
	m->max = max;
}

void
quic_memory_free(struct quic_memory *m)
{
	if (m == NULL)
		return;
	memory_trim(m);
	free(m);
}

void
quic_memory_stats(const struct quic_memory *m, struct quic_memory_stats *stats)
{
	stats->max = m->max;
	stats->held = m->held;
	stats->aborted = m->aborted;
	stats->closed = m->closed;
}

/* ---- Ranks ---- */

static unsigned
rank_of(size_t held)
{
	unsigned long units = held >> RANK_FIRST_BITS | 1;
	unsigned rank = 63 - (unsigned)__builtin_clzll(units);

	return rank < MEMORY_RANKS ? rank : MEMORY_RANKS - 1;
}

static void
conn_rank(struct quic_conn *conn)
{
	struct conn_memory *m = &conn->memory;
	unsigned rank = rank_of(m->held);

	if (rank == m->rank)
		return;
	TAILQ_REMOVE(&m->all->conns[m->rank], conn, memory.rank_entry);
	m->rank = rank;
	TAILQ_INSERT_TAIL(&m->all->conns[rank], conn, memory.rank_entry);
}

/* Within a rank, streams are in the order in which they moved last. */
static void
stream_rank(struct quic_stream *s, size_t held, bool moved)
{
	struct stream_rank *ranks = s->conn->memory.streams;
	struct stream_memory *m = &s->memory;
	unsigned rank = rank_of(held);

	if (m->held > 0 && held > 0 && rank == m->rank && !moved)
		goto out;
	if (m->held > 0)
		TAILQ_REMOVE(&ranks[m->rank], s, memory.rank_entry);
	m->rank = rank;
	if (held > 0)
		TAILQ_INSERT_TAIL(&ranks[rank], s, memory.rank_entry);
out:
	m->held = held;
}

void
memory_moved(struct quic_stream *s)
{
	s->memory.moved_at = s->conn->now;
	stream_rank(s, s->memory.held, true);
}

/* ---- What leaves ---- */

/* The bytes that the others hold, and what grown windows let them hold. */
static size_t
others(const struct quic_conn *conn)
{
	const struct quic_memory *m = conn->memory.all;

	return m->held - m->pooled - conn->memory.held + m->grown -
	    conn->memory.grown;
}

static size_t
left_by(size_t held, size_t all)
{
	return held < all ? all - held : 0;
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static uint64_t
drain_period(const struct quic_conn *conn)
{
	ngtcp2_conn_info info;
	uint64_t period;

	ngtcp2_conn_get_conn_info(conn->quic, &info);
	period = DRAIN_RTTS * info.smoothed_rtt;
	if (period < DRAIN_MIN)
		return DRAIN_MIN;
	return period < DRAIN_MAX ? period : DRAIN_MAX;
}

void
memory_drained(struct quic_stream *s, size_t n)
{
	struct conn_drain *d = &s->conn->memory.drain;
	uint64_t now = s->conn->now;

	memory_moved(s);
	if (now >= d->ends_at) {
		d->before = now < d->ends_at + d->period ? d->bytes : 0;
		d->bytes = 0;
		d->period = drain_period(s->conn);
		d->ends_at = now + d->period;
	}
	d->bytes += n;
}

/*
 * The bytes that left in `ms` milliseconds, at the rate of this period and the
 * last. 0: none did since `patience` nanoseconds before.
 */
static size_t
drained(const struct quic_conn *conn, uint64_t ms, uint64_t patience)
{
	const struct conn_drain *d = &conn->memory.drain;
	uint64_t now = conn->memory.all->now, span = d->period;

	if (span == 0 || now >= d->ends_at + patience)
		return 0;
	if (d->before > 0 && now + span > d->ends_at)
		span += smaller(now + span - d->ends_at, span);
	return (d->bytes + d->before) * ms / (span / NS_PER_MS);
}

size_t
memory_beyond(const struct quic_conn *conn)
{
	return left_by(CONN_COST + conn->streams.n * STREAM_COST_MAX,
	    conn->memory.used[MEMORY_OTHER]);
}

size_t
memory_waste(const struct quic_conn *conn)
{
	const size_t *used = conn->memory.used;

	return left_by(drained(conn, WASTE_MS, DRAIN_PATIENCE),
	    used[MEMORY_RX] + used[MEMORY_TX] + memory_beyond(conn));
}

/* ---- Charges ---- */

static void
charge(struct quic_conn *conn, enum memory_use use, size_t size)
{
	conn->memory.used[use] += size;
	conn->memory.held += size;
	conn->memory.all->held += size;
	if (use == MEMORY_TX)
		conn->memory.all->sending += size;
	conn_rank(conn);
}

static void
discharge(struct quic_conn *conn, enum memory_use use, size_t size)
{
	conn->memory.used[use] -= size;
	conn->memory.held -= size;
	conn->memory.all->held -= size;
	if (use == MEMORY_TX)
		conn->memory.all->sending -= size;
	conn_rank(conn);
}

void
memory_note(struct quic_stream *s, enum memory_use use, size_t added,
    size_t removed)
{
	if (s->memory.held == 0)
		s->memory.moved_at = s->conn->now;
	stream_rank(s, s->memory.held + added - removed, false);
	charge(s->conn, use, added);
	discharge(s->conn, use, removed);
}

void
memory_charge(struct quic_conn *conn, size_t size)
{
	charge(conn, MEMORY_OTHER, size);
}

void
memory_discharge(struct quic_conn *conn, size_t size)
{
	discharge(conn, MEMORY_OTHER, size);
}

/* ---- Memory that is not bytes of streams ---- */

void *
memory_realloc(struct quic_conn *conn, void *old, size_t size)
{
	size_t before = malloc_usable_size(old);
	void *p = realloc(old, size);

	if (p == NULL)
		return NULL;
	discharge(conn, MEMORY_OTHER, before);
	charge(conn, MEMORY_OTHER, malloc_usable_size(p));
	return p;
}

void *
memory_calloc(struct quic_conn *conn, size_t size)
{
	void *p = calloc(1, size);

	if (p != NULL)
		charge(conn, MEMORY_OTHER, malloc_usable_size(p));
	return p;
}

void
memory_release(struct quic_conn *conn, void *p)
{
	discharge(conn, MEMORY_OTHER, malloc_usable_size(p));
	free(p);
}

static void *
lib_malloc(size_t size, void *conn)
{
	return memory_realloc(conn, NULL, size);
}

static void *
lib_calloc(size_t n, size_t size, void *conn)
{
	size_t len;

	return __builtin_mul_overflow(n, size, &len) ? NULL
						     : memory_calloc(conn, len);
}

static void *
lib_realloc(void *old, size_t size, void *conn)
{
	return memory_realloc(conn, old, size);
}

static void
lib_free(void *p, void *conn)
{
	memory_release(conn, p);
}

/* ---- A connection ---- */

void
memory_attach(struct quic_conn *conn, struct quic_memory *all)
{
	struct conn_memory *m = &conn->memory;

	m->all = all;
	m->reclaim_at = UINT64_MAX;
	TAILQ_INIT(&m->waiting);
	for (size_t i = 0; i < MEMORY_RANKS; i++)
		TAILQ_INIT(&m->streams[i]);
	m->quic_allocator = (ngtcp2_mem){ conn, lib_malloc, lib_free,
		lib_calloc, lib_realloc };
	m->h3_allocator = (nghttp3_mem){ conn, lib_malloc, lib_free, lib_calloc,
		lib_realloc };
	TAILQ_INSERT_TAIL(&all->conns[0], conn, memory.rank_entry);
	TAILQ_INSERT_TAIL(&all->rotation, conn, memory.rotation_entry);
	all->nconns++;
	memory_charge(conn, sizeof(*conn) + TLS_SESSION);
	m->handshake = HANDSHAKE;
	memory_charge(conn, m->handshake);
}

void
memory_handshake(struct quic_conn *conn, size_t len)
{
	struct conn_memory *m = &conn->memory;
	size_t size = HANDSHAKE + CRYPTO_COST * len;

	if (size <= m->handshake)
		return;
	memory_charge(conn, size - m->handshake);
	m->handshake = size;
}

void
memory_handshake_done(struct quic_conn *conn)
{
	memory_discharge(conn, conn->memory.handshake);
	conn->memory.handshake = 0;
}

void
memory_detach(struct quic_conn *conn)
{
	struct conn_memory *m = &conn->memory;

	memory_set_grown(conn, 0);
	memory_set_first_window(conn, 0);
	memory_handshake_done(conn);
	memory_discharge(conn, sizeof(*conn) + TLS_SESSION);
	m->all->closing -= m->closing;
	TAILQ_REMOVE(&m->all->conns[m->rank], conn, memory.rank_entry);
	TAILQ_REMOVE(&m->all->rotation, conn, memory.rotation_entry);
	if (m->all->suspect == conn)
		m->all->suspect = NULL;
	m->all->nconns--;
}

void
memory_set_grown(struct quic_conn *conn, size_t size)
{
	struct conn_memory *m = &conn->memory;

	if (m->grown > 0)
		TAILQ_REMOVE(&m->all->with_grown, conn, memory.grown_entry);
	if (size > 0)
		TAILQ_INSERT_TAIL(&m->all->with_grown, conn,
		    memory.grown_entry);
	m->all->grown = m->all->grown - m->grown + size;
	m->grown = size;
}

/* Bytes of streams that any connection may hold. */
static size_t
conn_least(const struct quic_memory *m)
{
	size_t least = m->max / LEAST_PART / m->nconns;

	return least < CONN_LEAST ? least : CONN_LEAST;
}

/* What a connection may hold whose bytes do not leave, beside many. */
static size_t
rest_of(const struct quic_conn *conn, size_t left)
{
	const struct quic_memory *m = conn->memory.all;
	size_t shared = left_by(others(conn) + m->first_windows,
	    m->max / REST_SHARED_PART);
	size_t equal = m->max / EQUAL_PART / m->nconns;

	return larger(shared / REST_WEIGHT, smaller(equal, left / REST_PART));
}

/* What it may hold since as much has left. */
static size_t
explained(const struct quic_conn *conn)
{
	const struct quic_memory *m = conn->memory.all;
	uint64_t period = conn->memory.drain.period;
	/* 2.5 round trips, if they are long. */
	uint64_t ms = smaller(period / NS_PER_MS * 5 / 4, EXPLAINED_MOST_MS);
	size_t least = drained(conn, EXPLAINED_MS, period);
	size_t left = left_by(others(conn), FAR_SHARED(m->max)) / FAR_WEIGHT;

	return larger(least, smaller(drained(conn, ms, period), left));
}

/*
 * The bytes that the connection of a server may hold, of what the others leave.
 */
static size_t
server_limit(const struct quic_conn *conn)
{
	const struct quic_memory *m = conn->memory.all;
	size_t held = others(conn), shared = m->max - m->max / UNSHARED_PART;
	size_t left = left_by(held, shared) / 2;
	size_t stuck = left_by(held, shared / STUCK_WEIGHT) / 2 * STUCK_WEIGHT;
	size_t rest = rest_of(conn, left);
	size_t start = smaller(m->max / START_PART, rest);

	return smaller(left,
	    larger(larger(stuck, rest), start + explained(conn)));
}

size_t
memory_limit(const struct quic_conn *conn)
{
	const struct quic_memory *m = conn->memory.all;
	size_t least = conn_least(m) + conn->memory.used[MEMORY_OTHER];
	size_t limit = conn_is_server(conn)
	    ? server_limit(conn)
	    : left_by(others(conn), m->max) / 4 * 3;

	return limit > least ? limit : least;
}

static size_t
direction_limit(const struct quic_conn *conn)
{
	return memory_limit(conn) / 8 * 7;
}

bool
memory_is_over(const struct quic_conn *conn)
{
	return conn->memory.held >= memory_limit(conn);
}

/* What is left of a limit, or 0 if the connection is over its own. */
static size_t
left_of(const struct quic_conn *conn, size_t limit, size_t used)
{
	return used < limit && !memory_is_over(conn) ? limit - used : 0;
}

size_t
memory_share(const struct quic_conn *conn, enum memory_use use)
{
	size_t most = conn->memory.all->max / STREAM_PART, left;
	size_t used = conn->memory.used[use];

	if (use == MEMORY_RX)
		used += conn->flow.grown;
	left = left_of(conn, direction_limit(conn) / 4 * 3, used) / 4 * 3;
	return left < most ? left : most;
}

/* True: the unread bytes will be too many with `to_come` more. */
static bool
is_too_much(const struct quic_conn *conn, size_t to_come)
{
	size_t unread = conn->memory.used[MEMORY_RX];

	/* A connection with less is not the cause. */
	return unread >= conn_least(conn->memory.all) / 2 &&
	    (conn->memory.held + to_come >= memory_limit(conn) ||
		unread + to_come >= direction_limit(conn));
}

bool
memory_defers_credit(const struct quic_conn *conn)
{
	return is_too_much(conn, conn->flow.window - conn->flow.credit_due);
}

bool
memory_is_blocked(const struct quic_conn *conn)
{
	size_t to_come = conn->flow.window - conn->flow.credit_due;
	size_t least = conn->flow.window_least;

	return is_too_much(conn, to_come < least ? to_come : least);
}

uint64_t
memory_streams_max(const struct quic_conn *conn, uint64_t nopen)
{
	const struct quic_memory *m = conn->memory.all;
	uint64_t most = left_by(others(conn), m->max / STREAMS_SHARED_PART) /
	    STREAMS_PART / STREAM_COST;
	uint64_t next = m->max / FIRST_STREAMS_PART / STREAM_COST;

	if (next < 2 * nopen)
		next = 2 * nopen;
	if (next > most)
		next = most;
	return next > STREAMS_LEAST ? next : STREAMS_LEAST;
}

size_t
memory_first_window(const struct quic_conn *conn)
{
	const struct quic_memory *m = conn->memory.all;
	size_t most = conn_is_server(conn) ? FIRST_WINDOW_SERVER : FIRST_WINDOW;
	size_t part = m->max / WINDOW_PART;

	if (conn_is_server(conn))
		part = left_by(m->first_windows, m->max / FIRST_WINDOWS_PART) /
		    FIRST_WINDOW_PART;
	if (part < FIRST_WINDOW_LEAST)
		part = FIRST_WINDOW_LEAST;
	return most < part ? most : part;
}

void
memory_set_first_window(struct quic_conn *conn, size_t size)
{
	struct conn_memory *m = &conn->memory;

	m->all->first_windows = m->all->first_windows - m->first_window + size;
	m->first_window = size;
}

size_t
memory_window(const struct quic_conn *conn, size_t wanted)
{
	size_t most = conn->memory.all->max / WINDOW_PART;
	size_t left = left_of(conn, direction_limit(conn),
			  conn->memory.used[MEMORY_RX]) /
	    2;

	most = most < left ? most : left;
	return wanted < most ? wanted : most;
}

size_t
memory_to_send(const struct quic_stream *s)
{
	const struct quic_conn *conn = s->conn;
	size_t first, share = memory_share(conn, MEMORY_TX);

	if (s->tx.len > 0)
		return share;
	first = left_of(conn, direction_limit(conn),
	    conn->memory.used[MEMORY_TX]);
	if (first > CHUNK_FIRST)
		first = first / 8 > CHUNK_FIRST ? first / 8 : CHUNK_FIRST;
	return share > first ? share : first;
}
