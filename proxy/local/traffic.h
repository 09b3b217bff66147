#ifndef CULVERT_PROXY_LOCAL_TRAFFIC_H
#define CULVERT_PROXY_LOCAL_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

/*
 * The bytes of all clients together, and the few clients that move the most of
 * them now. The time of a call does not grow with the number of clients, so
 * that the status may be read at any time.
 *
 * The busiest are found as heavy hitters (the "space saving" sketch): there are
 * TRAFFIC_TOP places, each with a weight; a client without a place takes the
 * place of the lowest weight, and adds to that weight. So a client with more
 * than one part in TRAFFIC_TOP of all bytes always has a place. Weights decay,
 * so that recent bytes count.
 */

/* Places: as many as fit on a screen, beside the other lines. */
#define TRAFFIC_TOP 16

/* One client's part. All zero at first; private. */
struct traffic_share {
	uint64_t up, down; /* bytes counted so far */
	unsigned place;	   /* its number, from 1; 0: none */
};

struct traffic {
	uint64_t up, down; /* bytes of all, for the owner to read */

	/* Private. All zero at first. */
	struct {
		struct traffic_share *share; /* or NULL */
		uint64_t weight;
	} places[TRAFFIC_TOP];
	uint64_t decayed_ms; /* when the weights last did */
};

/* Counts a client's bytes; `up` and `down` are its totals. */
void traffic_update(struct traffic *, struct traffic_share *, uint64_t up,
    uint64_t down, uint64_t now_ms);

/* The client is gone; its bytes stay in the sums. */
void traffic_forget(struct traffic *, struct traffic_share *);

/*
 * The clients that move bytes now or did a few seconds ago, the busiest first.
 * Returns how many.
 */
size_t traffic_top(struct traffic *, struct traffic_share *top[TRAFFIC_TOP],
    uint64_t now_ms);

#endif
