/*
 * Which connection of a server makes room when there is none for another: the
 * oldest that never had a request admitted, or else, when all are taken, the
 * one that has had no stream for the longest time. Every step takes the same
 * time however many there are.
 *
 *   FRESH ── a request is answered with 2xx ──▶ BUSY ◀── streams ──▶ RESTING
 */
#ifndef CULVERT_QUIC_EVICT_H
#define CULVERT_QUIC_EVICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

struct quic_conn;

/* Connections that stand in one line: all of a server, or those of a source. */
enum evict_scope { EVICT_ALL, EVICT_SOURCE, EVICT_SCOPES };

TAILQ_HEAD(evict_queue, quic_conn);
struct evict_order {
	struct evict_queue unused; /* the oldest first */
	size_t nunused; /* connections in it */
	struct evict_queue idle; /* idle for the longest time first */
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

/* A connection stands in that line as well, by the rank that it has. */
void evict_join(struct quic_conn *, enum evict_scope, struct evict_order *);

/* ... and in none any more. */
void evict_leave(struct quic_conn *);

/* A request of it was admitted. */
void evict_admitted(struct quic_conn *);

/* It has streams, or none: to be told when that may have changed. */
void evict_note(struct quic_conn *, uint64_t now);

/*
 * The first to go of those who have so many `places`, or NULL. One that has
 * ever had a request admitted goes only if all of them are taken.
 */
struct quic_conn *evict_first(const struct evict_order *, size_t places,
    bool full, uint64_t now);

#endif
