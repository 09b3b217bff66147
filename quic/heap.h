/*
 * The connections of a server by deadline, the next one first: a binary heap.
 * A connection is in one heap at most, and knows its place there.
 */
#ifndef CULVERT_QUIC_HEAP_H
#define CULVERT_QUIC_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct quic_conn;

/* All zero at first. */
struct heap {
	struct quic_conn **conns; /* the next deadline is that of the first */
	size_t len, cap;	  /* connections */
};

/* Puts a connection in, by its deadline. 0, or -ENOMEM: it is not in. */
int heap_insert(struct heap *, struct quic_conn *);

/* Takes it out. */
void heap_remove(struct heap *, struct quic_conn *);

/* Its deadline may have changed. */
void heap_update(struct heap *, struct quic_conn *);

/* Puts the first behind all others, until heap_update(). */
void heap_defer_first(struct heap *);

/* The next deadline; UINT64_MAX: none. */
uint64_t heap_deadline(const struct heap *);

/* Frees the heap, not what is in it. */
void heap_fini(struct heap *);

#endif
