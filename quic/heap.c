#include "quic/heap.h"

#include <errno.h>
#include <stdlib.h>

#include "quic/internal.h"

#define HEAP_FIRST 16 /* connections that there is room for at first */

static void
heap_put(struct heap *heap, size_t at, struct quic_conn *conn)
{
	heap->conns[at] = conn;
	conn->heap_index = at;
}

static void
heap_up(struct heap *heap, size_t at)
{
	struct quic_conn *conn = heap->conns[at];
	size_t parent;

	while (at > 0) {
		parent = (at - 1) / 2;
		if (heap->conns[parent]->heap_key <= conn->heap_key)
			break;
		heap_put(heap, at, heap->conns[parent]);
		at = parent;
	}
	heap_put(heap, at, conn);
}

static void
heap_down(struct heap *heap, size_t at)
{
	struct quic_conn *conn = heap->conns[at];
	size_t child;

	while ((child = 2 * at + 1) < heap->len) {
		if (child + 1 < heap->len &&
		    heap->conns[child + 1]->heap_key <
			heap->conns[child]->heap_key)
			child++;
		if (conn->heap_key <= heap->conns[child]->heap_key)
			break;
		heap_put(heap, at, heap->conns[child]);
		at = child;
	}
	heap_put(heap, at, conn);
}

int
heap_insert(struct heap *heap, struct quic_conn *conn)
{
	size_t cap = heap->cap ? 2 * heap->cap : HEAP_FIRST;
	struct quic_conn **conns = heap->conns;

	if (heap->len == heap->cap) {
		conns = reallocarray(conns, cap, sizeof(*conns));
		if (conns == NULL)
			return -ENOMEM;
		heap->conns = conns;
		heap->cap = cap;
	}
	conn->heap_key = quic_conn_deadline(conn);
	heap_put(heap, heap->len++, conn);
	heap_up(heap, conn->heap_index);
	return 0;
}

void
heap_remove(struct heap *heap, struct quic_conn *conn)
{
	size_t at = conn->heap_index;
	struct quic_conn *last = heap->conns[--heap->len];

	if (last == conn)
		return;
	heap_put(heap, at, last);
	heap_up(heap, at);
	heap_down(heap, last->heap_index);
}

void
heap_update(struct heap *heap, struct quic_conn *conn)
{
	uint64_t key = quic_conn_deadline(conn);

	if (key == conn->heap_key)
		return;
	conn->heap_key = key;
	heap_up(heap, conn->heap_index);
	heap_down(heap, conn->heap_index);
}

void
heap_defer_first(struct heap *heap)
{
	heap->conns[0]->heap_key = UINT64_MAX;
	heap_down(heap, 0);
}

uint64_t
heap_deadline(const struct heap *heap)
{
	return heap->len > 0 ? heap->conns[0]->heap_key : UINT64_MAX;
}

void
heap_fini(struct heap *heap)
{
	free(heap->conns);
}
