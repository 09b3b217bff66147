/*
 * The memory that streams may take, of all connections together.
 *
 *   0 ───────────── 1/3 ───────────────── 3/4 ──────── all of it
 *   │ held and       │ what cannot be      │ what is on │
 *   │ promised       │ denied              │ its way    │
 *
 * Nobody may hold more than a quarter of what is left of the first third. So
 * the largest holders stop first, and whoever comes later finds something
 * left: the dynamic threshold that switches use for their queues. Up to three
 * quarters it is for what a peer may send before it is asked (STREAM_WINDOW),
 * and for the first chunk of a stream that has nothing to send yet: more than
 * a thousand streams that nobody reads find room there. Beyond it connections
 * wait, and the last quarter takes what their credit lets them send meanwhile,
 * with the chunks half filled.
 */
#include <errno.h>
#include <stdlib.h>

#include "quic/internal.h"

static const struct {
	size_t data; /* bytes */
	size_t kept; /* chunks that stay warm in the pool: 4 MiB */
} sizes[CHUNK_SIZES] = {
	[CHUNK_SMALL] = { CHUNK_SMALL_DATA, 256 },
	[CHUNK_LARGE] = { CHUNK_LARGE_DATA, 64 },
};

/* Bytes of memory that a chunk of that size takes. */
static size_t
memory_of(enum chunk_size size)
{
	return sizeof(struct chunk) + sizes[size].data;
}

void
budget_init(struct quic_budget *b, size_t max)
{
	*b = (struct quic_budget){ .max = max };
	LIST_INIT(&b->conns);
	TAILQ_INIT(&b->hungry);
}

void
budget_fini(struct quic_budget *b)
{
	struct chunk *c;

	for (size_t i = 0; i < CHUNK_SIZES; i++) {
		while ((c = b->pool[i]) != NULL) {
			b->pool[i] = c->next;
			free(c);
		}
		b->npool[i] = 0;
	}
}

int
quic_budget_new(struct quic_budget **out, size_t max)
{
	struct quic_budget *b = malloc(sizeof(*b));

	if (b == NULL)
		return -ENOMEM;
	budget_init(b, max);
	*out = b;
	return 0;
}

void
quic_budget_free(struct quic_budget *b)
{
	if (b == NULL)
		return;
	budget_fini(b);
	free(b);
}

void
quic_budget_stats(const struct quic_budget *b, struct quic_budget_stats *stats)
{
	stats->max = b->max;
	stats->held = b->held;
	stats->aborted = b->aborted;
}

static size_t
full_at(const struct quic_budget *b)
{
	return b->max - b->max / 4;
}

/* Whether connections must wait, and streams that hold nothing yet. */
bool
budget_is_full(const struct quic_budget *b)
{
	return b->held >= full_at(b);
}

/* ---- Chunks ---- */

struct chunk *
budget_get(struct quic_budget *b, enum chunk_size size)
{
	struct chunk *c = b->pool[size];

	if (c != NULL) {
		b->pool[size] = c->next;
		b->npool[size]--;
	} else if ((c = malloc(memory_of(size))) == NULL)
		return NULL;
	c->next = NULL;
	c->begin = c->end = 0;
	c->size = size;
	c->cap = sizes[size].data;
	b->held += memory_of(size);
	return c;
}

/* Room has appeared, for as many as have none at all. */
static void
feed(struct quic_budget *b)
{
	size_t n = budget_is_full(b) ? 0
	    : 1 + (full_at(b) - b->held) / memory_of(CHUNK_SMALL);
	struct quic_stream *s;

	for (; n > 0 && (s = TAILQ_FIRST(&b->hungry)) != NULL; n--) {
		budget_sated(s);
		stream_pend(s, PENDING_WRITABLE);
		conn_touch(s->conn);
	}
}

void
budget_put(struct quic_budget *b, struct chunk *c)
{
	b->held -= memory_of(c->size);
	if (b->npool[c->size] < sizes[c->size].kept) {
		c->next = b->pool[c->size];
		b->pool[c->size] = c;
		b->npool[c->size]++;
	} else
		free(c);
	if (!TAILQ_EMPTY(&b->hungry))
		feed(b);
}

void
quic_budget_resize(struct quic_budget *b, size_t max)
{
	b->max = max;
	feed(b);
}

/* ---- Shares ---- */

/* Bytes that a stream may hold, in one direction. */
size_t
budget_share(const struct quic_budget *b)
{
	size_t used = b->held + b->promised;

	return used < b->max / 3 ? (b->max / 3 - used) / 4 : 0;
}

/* Owes the stream a writable event for when the budget is full no more. */
void
budget_hungry(struct quic_stream *s)
{
	if (s->hungry)
		return;
	s->hungry = true;
	TAILQ_INSERT_TAIL(&s->conn->budget->hungry, s, hungry_entry);
}

void
budget_sated(struct quic_stream *s)
{
	if (!s->hungry)
		return;
	s->hungry = false;
	TAILQ_REMOVE(&s->conn->budget->hungry, s, hungry_entry);
}
