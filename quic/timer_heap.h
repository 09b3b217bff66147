/*
 * The connections of a server by deadline, the earliest first: a binary heap. A
 * connection is in one heap at most, and knows its index there.
 */
#ifndef CULVERT_QUIC_TIMER_HEAP_H
#define CULVERT_QUIC_TIMER_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct quic_conn;

/* A connection's part. */
struct timer_heap_entry {
	size_t index; /* where it is in the heap */
	uint64_t key; /* the deadline by which it is there */
};

/* All zero at first. */
struct timer_heap {
	struct quic_conn **conns; /* the first has the earliest deadline */
	size_t len, cap;	  /* connections */
};

/* Adds a connection by its deadline. 0, or -ENOMEM: it is not added. */
int timer_heap_insert(struct timer_heap *, struct quic_conn *);

/* Removes a connection. */
void timer_heap_remove(struct timer_heap *, struct quic_conn *);

/* Updates the place of a connection whose deadline may have changed. */
void timer_heap_update(struct timer_heap *, struct quic_conn *);

/* Moves the first behind all others, until timer_heap_update(). */
void timer_heap_defer_first(struct timer_heap *);

/* The earliest deadline; UINT64_MAX: none. */
uint64_t timer_heap_deadline(const struct timer_heap *);

/* Frees the heap, but no connection. */
void timer_heap_fini(struct timer_heap *);

#endif
