#include "quic/timer_heap.h"

#include <errno.h>
#include <stdlib.h>

#include "quic/internal.h"

#define TIMER_HEAP_FIRST 16 /* connections that there is room for at first */

static void
timer_heap_put(struct timer_heap *heap, size_t at, struct quic_conn *conn)
{
	heap->conns[at] = conn;
	conn->server.timer.index = at;
}

static void
timer_heap_up(struct timer_heap *heap, size_t at)
{
	struct quic_conn *conn = heap->conns[at];
	size_t parent;

	while (at > 0) {
		parent = (at - 1) / 2;
		if (heap->conns[parent]->server.timer.key <=
		    conn->server.timer.key)
			break;
		timer_heap_put(heap, at, heap->conns[parent]);
		at = parent;
	}
	timer_heap_put(heap, at, conn);
}

static void
timer_heap_down(struct timer_heap *heap, size_t at)
{
	struct quic_conn *conn = heap->conns[at];
	size_t child;

	while ((child = 2 * at + 1) < heap->len) {
		if (child + 1 < heap->len &&
		    heap->conns[child + 1]->server.timer.key <
			heap->conns[child]->server.timer.key)
			child++;
		if (conn->server.timer.key <=
		    heap->conns[child]->server.timer.key)
			break;
		timer_heap_put(heap, at, heap->conns[child]);
		at = child;
	}
	timer_heap_put(heap, at, conn);
}

int
timer_heap_insert(struct timer_heap *heap, struct quic_conn *conn)
{
	size_t cap = heap->cap ? 2 * heap->cap : TIMER_HEAP_FIRST;
	struct quic_conn **conns = heap->conns;

	if (heap->len == heap->cap) {
		conns = reallocarray(conns, cap, sizeof(*conns));
		if (conns == NULL)
			return -ENOMEM;
		heap->conns = conns;
		heap->cap = cap;
	}
	conn->server.timer.key = quic_conn_deadline(conn);
	timer_heap_put(heap, heap->len++, conn);
	timer_heap_up(heap, conn->server.timer.index);
	return 0;
}

void
timer_heap_remove(struct timer_heap *heap, struct quic_conn *conn)
{
	size_t at = conn->server.timer.index;
	struct quic_conn *last = heap->conns[--heap->len];

	if (last == conn)
		return;
	timer_heap_put(heap, at, last);
	timer_heap_up(heap, at);
	timer_heap_down(heap, last->server.timer.index);
}

void
timer_heap_update(struct timer_heap *heap, struct quic_conn *conn)
{
	uint64_t key = quic_conn_deadline(conn);

	if (key == conn->server.timer.key)
		return;
	conn->server.timer.key = key;
	timer_heap_up(heap, conn->server.timer.index);
	timer_heap_down(heap, conn->server.timer.index);
}

void
timer_heap_defer_first(struct timer_heap *heap)
{
	heap->conns[0]->server.timer.key = UINT64_MAX;
	timer_heap_down(heap, 0);
}

uint64_t
timer_heap_deadline(const struct timer_heap *heap)
{
	return heap->len > 0 ? heap->conns[0]->server.timer.key : UINT64_MAX;
}

void
timer_heap_fini(struct timer_heap *heap)
{
	free(heap->conns);
}
