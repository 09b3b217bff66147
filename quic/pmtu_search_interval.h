/*
 * How often the search for a larger path MTU is repeated: the raise timer of
 * RFC 8899 §5.1.1. Pure, a part of struct pmtu; all times are nanoseconds.
 */
#ifndef CULVERT_QUIC_PMTU_SEARCH_INTERVAL_H
#define CULVERT_QUIC_PMTU_SEARCH_INTERVAL_H

#include <stdbool.h>
#include <stdint.h>

struct pmtu_search_interval {
	uint64_t due_at;   /* the next search; UINT64_MAX: none */
	uint64_t interval; /* from the end of a search to the next one */
	uint64_t after_black_hole; /* the interval after the next black hole */
};

/* A new path: no search is due, and intervals have their usual length. */
void pmtu_search_interval_reset(struct pmtu_search_interval *);

/* A search is due when the interval is over; or none is due. */
void pmtu_search_interval_start(struct pmtu_search_interval *, uint64_t now);
void pmtu_search_interval_stop(struct pmtu_search_interval *);

/* A search has found nothing larger: the next intervals are longer. */
void pmtu_search_interval_grow(struct pmtu_search_interval *);

/*
 * A black hole is confirmed, `since_change` after the size changed last. The
 * intervals begin short, since the path may recover, unless the size passes
 * sometimes: then it would be found again.
 */
void pmtu_search_interval_black_hole(struct pmtu_search_interval *,
    bool passes_sometimes, uint64_t since_change);

#endif
