/*
 * Buffers: bytes in chunks, written at the end and read from the front. A pool
 * keeps a few chunks of each size, since they are used for every packet.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "quic/internal.h"

/* The pool holds at most this part of quic_memory.max. */
#define POOL_PART 64

/* Bytes of data, and the number of chunks in the pool: 2.6 MiB in total. */
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

static size_t
memory_of(unsigned size)
{
	return sizeof(struct chunk) + sizes[size].data;
}

void
memory_trim(struct quic_memory *m)
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
	if (m->npool[c->size] == sizes[c->size].kept ||
	    m->pooled + memory_of(c->size) > m->max / POOL_PART) {
		free(c);
		return;
	}
	c->next = m->pool[c->size];
	m->pool[c->size] = c;
	m->npool[c->size]++;
	m->pooled += memory_of(c->size);
	m->held += memory_of(c->size);
}

/* Chunks of the buffer have been added and removed, in bytes of memory. */
static void
note(struct quic_stream *s, struct buffer *q, size_t added, size_t removed)
{
	q->held = q->held + added - removed;
	memory_note(s, q->use, added, removed);
}

int
buffer_grow(struct quic_stream *s, struct buffer *q, size_t room, size_t want)
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
	note(s, q, memory_of(c->size), 0);
	return 0;
}

void
buffer_trim(struct quic_stream *s, struct buffer *q, size_t n)
{
	struct quic_memory *m = s->conn->memory.all;
	struct chunk *c, *old = q->first;

	if (n > CHUNK_LEAST || old->size == 0 || old != q->last ||
	    old->end > 0 || (c = chunk_get(m, 0)) == NULL)
		return;
	memcpy(c->data, old->data, n);
	q->first = q->last = c;
	note(s, q, memory_of(c->size), memory_of(old->size));
	chunk_put(m, old);
}

void
buffer_drop(struct quic_stream *s, struct buffer *q, size_t n, bool keep)
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
	note(s, q, 0, removed);
	if (!TAILQ_EMPTY(&m->waiting) && !memory_is_over(s->conn))
		reclaim_at(s->conn, s->conn->now);
}

void
buffer_clear(struct quic_stream *s, struct buffer *q)
{
	buffer_drop(s, q, q->len, false);
}
