/*
 * What may be held, and who gives up when there is too much of it.
 *
 *   all          max: what all connections hold, and the pool
 *   connection   at a server half of what the others leave of nine tenths of
 *                max: one hog gets 1/2 of that, two get 1/3 each, n get
 *                1/(n+1), and as much stays free for whoever comes; the rest
 *                is for what cannot be refused. A client chose its connections
 *                itself, and each may hold three quarters of what is left
 *   direction    seven eighths of its connection's, so that the other goes on
 *   stream       two thirds of what is left of three quarters of its direction;
 *                the last quarter is for streams that hold nothing yet; and no
 *                more than a sixteenth of max, so that what is left when others
 *                hold much is as good as all of it
 *
 * So the largest holders stop first, at both levels, and a newcomer finds room:
 * the dynamic threshold that switches use for their queues. A connection over
 * its limit reads no more and its streams get no first chunk; those of others
 * do not notice.
 *
 * What a peer was allowed to send cannot be refused when it comes, and what the
 * libraries hold is theirs to free. So there is relief. A connection whose own
 * streams wait aborts those that have been stuck for long, largest first. When
 * all is nearly used up, the largest connection does so whether it waits or
 * not, and if that is not enough a connection is closed: one that was never
 * used, or the one whose peer makes us hold most without need, or the largest.
 */
#include "quic/memory.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "quic/internal.h"

/* Bytes of data, and the chunks of that size that stay in the pool: 2.6 MiB. */
static const struct {
	size_t data;
	size_t kept;
} sizes[CHUNK_SIZES] = {
	{ CHUNK_LEAST, 64 },
	{ 2048, 64 },
	{ CHUNK_FIRST, 64 },
	{ CHUNK_NEXT, 64 },
	{ CHUNK_MAX, 16 },
};

/* The size of the first rank. */
#define RANK_FIRST_BITS 9 /* 512 bytes */

/*
 * What a connection holds that is not counted as it is allocated: the TLS
 * session, with its keys and buffers.
 */
#define TLS_SESSION 18432 /* bytes, as measured with GnuTLS 3.7 */

/*
 * What a connection holds when its handshake is over and nothing is open: it is
 * charged so much from the start, or those under way would be too many.
 */
#define HANDSHAKE 49152 /* bytes, with the above a little less than measured */

/* The part of `max` that the connections of a server do not share. */
#define UNSHARED_PART 10

/*
 * Bytes of streams that a connection may hold whatever the others hold: for
 * its start. Many have a part of `max` between them, since so much for each of
 * a thousand is too much.
 */
#define CONN_LEAST 262144 /* bytes */
#define LEAST_PART 32

/* A stream with its head costs so much in this process, most of it in the
 * libraries: as measured, and some. */
#define STREAM_COST 2048 /* bytes */

/*
 * Part of `max` for one stream in one direction, for the streams of one
 * connection while they hold no bytes, and for the window of a connection.
 */
#define STREAM_PART 16
#define STREAMS_PART 8
#define WINDOW_PART 8

/*
 * Part of `max` that one connection may hold in the libraries: what the peer
 * makes them hold by streams that it opens and by gaps that it leaves.
 */
#define OTHER_PART 4

/*
 * When this part of `max` is free no more, or holds only bytes to send, which
 * make room, nobody new is let in; when that part is not, relief begins; and
 * when the last is not, a connection is closed.
 */
#define NEWCOMER_PART 4
#define SHORT_PART 16
#define EXHAUSTED_PART 32

/*
 * Who makes us hold so much without need is closed when nobody is let in for
 * some time: this part of `max` in bytes that are not read, and in what the
 * libraries hold beyond the cost of its streams.
 */
#define EXCESS_PART 64

/* A stream is stuck when its bytes have not moved for so long. */
#define STUCK (5 * NS_PER_S)
/* When memory is exhausted there is less patience. */
#define STUCK_EXHAUSTED NS_PER_S
/* Newcomers wait so long: until what is stuck is aborted, and some. */
#define SHUT (2 * STUCK)

/* One relief looks at so many streams and connections, so that it is short; */
#define RELIEF_STEPS 64
/* the next comes so much later, ... */
#define RELIEF_AGAIN (10 * NS_PER_MS)
/* ... or so much, when nothing was found to abort. */
#define RELIEF_INTERVAL (NS_PER_S / 4)

/* ---- All ---- */

void
memory_init(struct quic_memory *m, size_t max)
{
	*m = (struct quic_memory){ .max = max, .short_since = UINT64_MAX };
	for (size_t i = 0; i < MEMORY_RANKS; i++)
		TAILQ_INIT(&m->conns[i]);
}

static size_t
memory_of(unsigned size)
{
	return sizeof(struct chunk) + sizes[size].data;
}

void
memory_fini(struct quic_memory *m)
{
	struct chunk *c;

	for (unsigned i = 0; i < CHUNK_SIZES; i++) {
		while ((c = m->pool[i]) != NULL) {
			m->pool[i] = c->next;
			m->pooled -= memory_of(i);
			m->held -= memory_of(i);
			free(c);
		}
		m->npool[i] = 0;
	}
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
	memory_fini(m);
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

/* Whether that part of all is free: an eighth, say. */
static bool
is_free(const struct quic_memory *m, size_t part)
{
	return m->held + m->max / part <= m->max;
}

bool
memory_is_short(const struct quic_memory *m)
{
	return m != NULL && (!is_free(m, EXHAUSTED_PART) ||
	    m->held - m->pooled - m->sending + m->max / NEWCOMER_PART >
	    m->max);
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

/* Within a rank they are in the order in which they moved last. */
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
	void *p = calloc(n, size);

	if (p != NULL)
		charge(conn, MEMORY_OTHER, malloc_usable_size(p));
	return p;
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
	m->relief_at = UINT64_MAX;
	TAILQ_INIT(&m->hungry);
	for (size_t i = 0; i < MEMORY_RANKS; i++)
		TAILQ_INIT(&m->streams[i]);
	m->quic_allocator = (ngtcp2_mem){ conn, lib_malloc, lib_free,
		lib_calloc, lib_realloc };
	m->h3_allocator = (nghttp3_mem){ conn, lib_malloc, lib_free,
		lib_calloc, lib_realloc };
	TAILQ_INSERT_TAIL(&all->conns[0], conn, memory.rank_entry);
	all->nconns++;
	memory_charge(conn, sizeof(*conn) + TLS_SESSION);
	m->handshake = HANDSHAKE;
	memory_charge(conn, m->handshake);
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

	memory_handshake_done(conn);
	memory_discharge(conn, sizeof(*conn) + TLS_SESSION);
	m->all->doomed -= m->doomed;
	TAILQ_REMOVE(&m->all->conns[m->rank], conn, memory.rank_entry);
	m->all->nconns--;
}

/* Bytes of streams that any connection may hold. */
static size_t
conn_least(const struct quic_memory *m)
{
	size_t least = m->max / LEAST_PART / m->nconns;

	return least < CONN_LEAST ? least : CONN_LEAST;
}

/* Bytes that the connection may hold, of what the others leave. */
static size_t
conn_limit(const struct quic_conn *conn)
{
	const struct quic_memory *m = conn->memory.all;
	size_t others = m->held - m->pooled - conn->memory.held, left;
	size_t shared = m->max - m->max / UNSHARED_PART;
	size_t least = conn_least(m) + conn->memory.used[MEMORY_OTHER];

	if (conn->server == NULL)
		shared = m->max;
	left = others < shared ? shared - others : 0;
	left = conn->server != NULL ? left / 2 : left / 4 * 3;
	return left > least ? left : least;
}

static size_t
direction_limit(const struct quic_conn *conn)
{
	return conn_limit(conn) / 8 * 7;
}

static bool
is_over(const struct quic_conn *conn)
{
	return conn->memory.held >= conn_limit(conn);
}

/* What is left of a limit, or nothing when the connection is over its own. */
static size_t
left_of(const struct quic_conn *conn, size_t limit, size_t used)
{
	return used < limit && !is_over(conn) ? limit - used : 0;
}

size_t
memory_share(const struct quic_conn *conn, enum memory_use use)
{
	size_t most = conn->memory.all->max / STREAM_PART, left;
	size_t used = conn->memory.used[use];

	if (use == MEMORY_RX)
		used += conn->flow.promised;
	left = left_of(conn, direction_limit(conn) / 4 * 3, used) / 3 * 2;
	return left < most ? left : most;
}

bool
memory_is_unread(const struct quic_conn *conn)
{
	size_t unread = conn->memory.used[MEMORY_RX];

	/* With less it is no part of the problem. */
	return unread >= conn_least(conn->memory.all) / 2 &&
	    (is_over(conn) || unread >= direction_limit(conn));
}

uint64_t
memory_streams_max(const struct quic_conn *conn, uint64_t wanted)
{
	uint64_t most = conn->memory.all->max / STREAMS_PART / STREAM_COST;

	return wanted < most ? wanted : most;
}

size_t
memory_window(const struct quic_conn *conn, size_t wanted)
{
	size_t most = conn->memory.all->max / WINDOW_PART;

	return wanted < most ? wanted : most;
}

/* Has memory_expire() called by then. */
static void
relieve_at(struct quic_conn *conn, uint64_t at)
{
	if (at < conn->memory.relief_at)
		conn->memory.relief_at = at;
	conn_touch(conn);
}

/* ---- Chunks ---- */

static unsigned
size_for(size_t want)
{
	unsigned size = 0;

	while (size + 1 < CHUNK_SIZES && sizes[size].data < want)
		size++;
	return size;
}

static struct chunk *
chunk_get(struct quic_memory *m, unsigned size)
{
	struct chunk *c = m->pool[size];

	if (c != NULL) {
		m->pool[size] = c->next;
		m->npool[size]--;
		m->pooled -= memory_of(size);
		m->held -= memory_of(size);
	} else if ((c = malloc(memory_of(size))) == NULL)
		return NULL;
	c->next = NULL;
	c->begin = c->end = 0;
	c->size = size;
	c->cap = sizes[size].data;
	return c;
}

static void
chunk_put(struct quic_memory *m, struct chunk *c)
{
	if (m->npool[c->size] == sizes[c->size].kept) {
		free(c);
		return;
	}
	c->next = m->pool[c->size];
	m->pool[c->size] = c;
	m->npool[c->size]++;
	m->pooled += memory_of(c->size);
	m->held += memory_of(c->size);
}

/* Chunks of the stream have been added and removed, in bytes of memory. */
static void
note_held(struct quic_stream *s, struct chunk_queue *q, size_t added,
    size_t removed)
{
	if (s->memory.held == 0)
		s->memory.moved_at = s->conn->now;
	q->held = q->held + added - removed;
	stream_rank(s, s->memory.held + added - removed, false);
	charge(s->conn, q->use, added);
	discharge(s->conn, q->use, removed);
}

int
queue_grow(struct quic_stream *s, struct chunk_queue *q, size_t room,
    size_t want)
{
	struct conn_memory *m = &s->conn->memory;
	struct chunk *c;

	if (q->last != NULL && q->last->cap - q->last->end >= room)
		return 0;
	if ((c = chunk_get(m->all, size_for(want))) == NULL)
		return -ENOMEM;
	if (q->last == NULL)
		q->first = c;
	else
		q->last->next = c;
	q->last = c;
	note_held(s, q, memory_of(c->size), 0);
	return 0;
}

void
queue_trim(struct quic_stream *s, struct chunk_queue *q, size_t n)
{
	struct quic_memory *m = s->conn->memory.all;
	struct chunk *c, *old = q->first;

	if (n > CHUNK_LEAST || old->size == 0 || old != q->last ||
	    old->end > 0 || (c = chunk_get(m, 0)) == NULL)
		return;
	memcpy(c->data, old->data, n);
	q->first = q->last = c;
	note_held(s, q, memory_of(c->size), memory_of(old->size));
	chunk_put(m, old);
}

void
queue_drop(struct quic_stream *s, struct chunk_queue *q, size_t n, bool keep)
{
	struct conn_memory *m = &s->conn->memory;
	size_t here, removed = 0;
	struct chunk *c;

	q->len -= n;
	while ((c = q->first) != NULL) {
		here = c->end - c->begin < n ? c->end - c->begin : n;
		c->begin += here;
		n -= here;
		if (c->begin < c->end || (keep && c == q->last))
			break;
		q->first = c->next;
		if (q->first == NULL)
			q->last = NULL;
		removed += memory_of(c->size);
		chunk_put(m->all, c);
	}
	if (removed == 0)
		return;
	note_held(s, q, 0, removed);
	if (!TAILQ_EMPTY(&m->hungry) && !is_over(s->conn))
		relieve_at(s->conn, s->conn->now);
}

void
queue_clear(struct quic_stream *s, struct chunk_queue *q)
{
	queue_drop(s, q, q->len, false);
}

/* ---- To send ---- */

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

void
memory_wait(struct quic_stream *s)
{
	if (s->memory.hungry)
		return;
	s->memory.hungry = true;
	TAILQ_INSERT_TAIL(&s->conn->memory.hungry, s, memory.hungry_entry);
	relieve_at(s->conn, s->conn->now + RELIEF_AGAIN);
}

void
memory_wait_end(struct quic_stream *s)
{
	if (!s->memory.hungry)
		return;
	s->memory.hungry = false;
	TAILQ_REMOVE(&s->conn->memory.hungry, s, memory.hungry_entry);
}

/* Room has appeared, for some of those that have none at all. */
static unsigned
feed(struct quic_conn *conn)
{
	struct quic_stream *s;
	unsigned n;

	for (n = 0; n < RELIEF_STEPS &&
	    (s = TAILQ_FIRST(&conn->memory.hungry)) != NULL &&
	    memory_to_send(s) > 0; n++) {
		memory_wait_end(s);
		stream_pend(s, PENDING_WRITABLE);
	}
	return n;
}

/* ---- Relief ---- */

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
	s->memory.moved_at = now;
	stream_rank(s, s->memory.held, true);
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

	for (n = 0; n < RELIEF_STEPS && freed < size &&
	    (s = stuck_stream(conn, patience, now)) != NULL; n++) {
		freed += s->memory.held;
		abort_stuck(s, now);
	}
	return n;
}

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
	m->doomed = m->held;
	m->all->doomed += m->doomed;
	m->all->closed++;
	quic_conn_close(conn, QUIC_H3_EXCESSIVE_LOAD,
	    "memory is short, and this connection is the first to go: it was "
	    "never used, or it holds the most", now);
}

/* Bytes that the peer makes us hold, beyond what its streams call for. */
static size_t
excess(const struct quic_conn *conn)
{
	size_t other = conn->memory.used[MEMORY_OTHER];
	size_t streams = conn->nstreams * STREAM_COST;

	return conn->memory.used[MEMORY_RX] +
	    (other > streams ? other - streams : 0);
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
			if (n++ == RELIEF_STEPS)
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

	if (largest->server != NULL)
		conn = server_unused(largest->server);
	if (conn == NULL)
		conn = most_excessive(largest->memory.all);
	close_for_memory(conn != NULL ? conn : largest, now);
}

/* Nobody is let in, and that must not last because of a few. */
static void
relieve_newcomers(struct quic_memory *m, uint64_t now)
{
	struct quic_conn *conn;

	if (!memory_is_short(m)) {
		m->short_since = UINT64_MAX;
		return;
	}
	if (m->short_since > now)
		m->short_since = now;
	if (now - m->short_since < SHUT)
		return;
	m->short_since = now;
	if ((conn = most_excessive(m)) != NULL)
		close_for_memory(conn, now);
}

/* All is nearly used up: the largest connection makes room. */
static void
relieve_all(struct quic_memory *m, uint64_t now)
{
	struct quic_conn *conn = largest_conn(m);
	bool exhausted = !is_free(m, EXHAUSTED_PART);
	unsigned n;

	if (!exhausted && now - m->relieved_at < RELIEF_AGAIN)
		return;
	m->relieved_at = now;
	memory_fini(m);
	n = abort_some(conn, m->max / SHORT_PART,
	    exhausted ? STUCK_EXHAUSTED : STUCK, now);
	if (n > m->steps_max)
		m->steps_max = n;
	if (n == 0 && m->held - m->doomed > m->max - m->max / EXHAUSTED_PART)
		close_one(conn, now);
}

void
memory_check(struct quic_conn *conn, uint64_t now)
{
	struct quic_memory *m = conn->memory.all;

	if (conn->memory.used[MEMORY_OTHER] > m->max / OTHER_PART)
		close_for_memory(conn, now);
	if (!is_free(m, SHORT_PART))
		relieve_all(m, now);
	relieve_newcomers(m, now);
	if (memory_is_unread(conn) && conn->memory.relief_at == UINT64_MAX)
		relieve_at(conn, now + RELIEF_INTERVAL);
}

uint64_t
memory_deadline(const struct quic_conn *conn)
{
	return conn->memory.relief_at;
}

/* The connection's own streams wait: for memory, or for credit. */
void
memory_expire(struct quic_conn *conn, uint64_t now)
{
	struct conn_memory *m = &conn->memory;
	unsigned fed, aborted = 0;

	if (m->relief_at > now)
		return;
	m->relief_at = UINT64_MAX;
	fed = feed(conn);
	flow_resume(conn);
	if (TAILQ_EMPTY(&m->hungry) && !memory_is_unread(conn))
		return;
	if (fed == 0)
		aborted = abort_some(conn, conn_limit(conn) / 4, STUCK, now);
	if (aborted > m->all->steps_max)
		m->all->steps_max = aborted;
	relieve_at(conn, now + (fed + aborted > 0 ? RELIEF_AGAIN
						   : RELIEF_INTERVAL));
}
