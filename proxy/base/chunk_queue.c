#include "proxy/base/chunk_queue.h"

#include <stdlib.h>

struct queue_chunk {
	TAILQ_ENTRY(queue_chunk) entry;
	size_t begin, end; /* of its bytes */
	char data[];
};

/* ---- The pool ---- */

void
chunk_pool_init(struct chunk_pool *pool)
{
	TAILQ_INIT(&pool->list);
	pool->n = 0;
}

static struct queue_chunk *
chunk_get(struct chunk_pool *pool)
{
	struct queue_chunk *c = TAILQ_FIRST(&pool->list);

	if (c != NULL) {
		TAILQ_REMOVE(&pool->list, c, entry);
		pool->n--;
	} else if ((c = malloc(sizeof(*c) + CHUNK_BYTES)) == NULL)
		return NULL;
	c->begin = c->end = 0;
	return c;
}

static void
chunk_put(struct chunk_pool *pool, struct queue_chunk *c)
{
	if (pool->n == CHUNK_POOL_MAX) {
		free(c);
		return;
	}
	TAILQ_INSERT_HEAD(&pool->list, c, entry);
	pool->n++;
}

void
chunk_pool_fini(struct chunk_pool *pool)
{
	struct queue_chunk *c;

	while ((c = TAILQ_FIRST(&pool->list)) != NULL) {
		TAILQ_REMOVE(&pool->list, c, entry);
		free(c);
	}
	pool->n = 0;
}

/* ---- The queue ---- */

void
chunk_queue_init(struct chunk_queue *q, struct chunk_pool *pool)
{
	*q = (struct chunk_queue){ .pool = pool };
	TAILQ_INIT(&q->chunks);
}

static void
remove_first(struct chunk_queue *q)
{
	struct queue_chunk *c = TAILQ_FIRST(&q->chunks);

	TAILQ_REMOVE(&q->chunks, c, entry);
	q->n--;
	chunk_put(q->pool, c);
}

void
chunk_queue_clear(struct chunk_queue *q)
{
	while (q->n > 0)
		remove_first(q);
	q->len = 0;
}

/* Bytes of the last chunk that are free. */
static size_t
tail_room(const struct chunk_queue *q)
{
	const struct queue_chunk *c = TAILQ_LAST(&q->chunks, chunk_list);

	return c != NULL ? CHUNK_BYTES - c->end : 0;
}

bool
chunk_queue_has_room(const struct chunk_queue *q, size_t min)
{
	const size_t max = CHUNK_QUEUE_MAX / CHUNK_BYTES;

	return q->n < max || (q->n == max && tail_room(q) >= min);
}

void *
chunk_queue_reserve(struct chunk_queue *q, size_t min, size_t *len)
{
	struct queue_chunk *c;

	if (tail_room(q) < min) {
		if ((c = chunk_get(q->pool)) == NULL)
			return NULL;
		TAILQ_INSERT_TAIL(&q->chunks, c, entry);
		q->n++;
	}
	c = TAILQ_LAST(&q->chunks, chunk_list);
	*len = CHUNK_BYTES - c->end;
	return c->data + c->end;
}

void
chunk_queue_commit(struct chunk_queue *q, size_t n)
{
	struct queue_chunk *c = TAILQ_LAST(&q->chunks, chunk_list);

	if (n > 0)
		c->end += n;
	else if (q->len == 0)
		chunk_queue_clear(q);
	q->len += n;
}

size_t
chunk_queue_peek(const struct chunk_queue *q, struct iovec *iov, size_t max)
{
	struct queue_chunk *c;
	size_t n = 0;

	TAILQ_FOREACH(c, &q->chunks, entry) {
		if (n == max || c->begin == c->end)
			break;
		iov[n].iov_base = c->data + c->begin;
		iov[n].iov_len = c->end - c->begin;
		n++;
	}
	return n;
}

void
chunk_queue_drop(struct chunk_queue *q, size_t n)
{
	struct queue_chunk *c;
	size_t here;

	q->len -= n;
	while (n > 0) {
		c = TAILQ_FIRST(&q->chunks);
		here = c->end - c->begin;
		here = here < n ? here : n;
		c->begin += here;
		n -= here;
		if (c->begin == c->end)
			remove_first(q);
	}
	if (q->len == 0)
		chunk_queue_clear(q);
}
