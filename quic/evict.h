/*
 * Which connection of a server is evicted for a new one: the oldest that never
 * had a request admitted, or else, when all places are in use, the one that has
 * had no stream for the longest time. All steps take constant time.
 *
 *   UNUSED ── a request is answered with 2xx ──▶ BUSY ◀── streams ──▶ IDLE
 */
#ifndef CULVERT_QUIC_EVICT_H
#define CULVERT_QUIC_EVICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

struct quic_conn;

/* The connections among which one is chosen: all, or those of one source. */
enum evict_scope { EVICT_ALL, EVICT_SOURCE, EVICT_SCOPES };

TAILQ_HEAD(evict_queue, quic_conn);
struct evict_order {
	struct evict_queue unused; /* the oldest first */
	size_t nunused;		   /* connections in it */
	struct evict_queue idle;   /* idle for the longest time first */
};

enum evict_rank { EVICT_UNUSED, EVICT_BUSY, EVICT_IDLE };

/* A connection's part; private to evict.c. */
struct evict_entry {
	enum evict_rank rank;
	struct {
		struct evict_order *order; /* NULL: not in this scope */
		TAILQ_ENTRY(quic_conn) entry;
	} places[EVICT_SCOPES];
	uint64_t idle_since; /* as `now`: without a stream, if EVICT_IDLE */
};

void evict_order_init(struct evict_order *);

/* Adds the connection to an order, by its rank. */
void evict_join(struct quic_conn *, enum evict_scope, struct evict_order *);

/* Removes the connection from all orders. */
void evict_leave(struct quic_conn *);

/* A request was admitted. */
void evict_admitted(struct quic_conn *);

/* Call it when a connection may have got its first stream or lost its last. */
void evict_update(struct quic_conn *, uint64_t now);

/*
 * The connection to be evicted, of those that have `places`, or NULL. One with
 * an admitted request is evicted only if the places are all in use: `full`.
 */
struct quic_conn *
evict_first(const struct evict_order *, size_t places, bool full, uint64_t now);

#endif
