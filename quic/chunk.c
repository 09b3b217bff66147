/*
 * Runs of bytes in chunks: filled at the end, used up from the front. Chunks
 * come from the budget and go back to it, and nobody else holds any.
 */
#include <errno.h>

#include "quic/internal.h"

/* Makes sure that the last chunk has at least `room` bytes free. */
int
queue_grow(struct chunk_queue *q, struct quic_budget *budget, size_t room,
    enum chunk_size size)
{
	struct chunk *c;

	if (q->last != NULL && q->last->cap - q->last->end >= room)
		return 0;
	if ((c = budget_get(budget, size)) == NULL)
		return -ENOMEM;
	if (q->last == NULL)
		q->first = c;
	else
		q->last->next = c;
	q->last = c;
	return 0;
}

/* Drops `n` bytes from the front, and chunks but, if wanted, the last. */
void
queue_drop(struct chunk_queue *q, struct quic_budget *budget, size_t n,
    bool keep)
{
	struct chunk *c;
	size_t here;

	q->len -= n;
	while ((c = q->first) != NULL) {
		here = c->end - c->begin < n ? c->end - c->begin : n;
		c->begin += here;
		n -= here;
		if (c->begin < c->end || (keep && c == q->last))
			return;
		q->first = c->next;
		if (q->first == NULL)
			q->last = NULL;
		budget_put(budget, c);
	}
}

void
queue_clear(struct chunk_queue *q, struct quic_budget *budget)
{
	queue_drop(q, budget, q->len, false);
}
