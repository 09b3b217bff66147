#ifndef CULVERT_PROXY_LOCAL_TRAFFIC_H
#define CULVERT_PROXY_LOCAL_TRAFFIC_H

#include <stddef.h>
#include <stdint.h>

/*
 * The bytes of all clients together, and the few clients that move the most of
 * them now. No call takes longer because there are more clients, so that the
 * status may be asked for at any time.
 *
 * The busiest are found as heavy hitters are (the "space saving" sketch): there
 * are some places, each with a weight; a client without a place takes that of
 * the lowest weight, and its weight besides. So a client with more than its
 * share, one part in TRAFFIC_TOP of all bytes, always has a place. Weights
 * fade, so that it is the present that counts.
 */

/* Places: what fits on a screen, beside the other lines. */
#define TRAFFIC_TOP 16

/* One client's part. All zero at first; private. */
struct traffic_share {
	uint64_t up, down; /* bytes that have been noted */
	unsigned place;	   /* its number, from 1; 0: none */
};

struct traffic {
	uint64_t up, down; /* bytes of all, for the owner to read */

	/* Private. All zero at first. */
	struct {
		struct traffic_share *share; /* or NULL */
		uint64_t weight;
	} places[TRAFFIC_TOP];
	uint64_t faded_ms; /* when the weights last faded */
};

/* Notes all bytes that the client has moved since it is there. */
void traffic_note(struct traffic *, struct traffic_share *, uint64_t up,
    uint64_t down, uint64_t now_ms);

/* The client goes; its bytes stay in the sums. */
void traffic_forget(struct traffic *, struct traffic_share *);

/*
 * The clients that move bytes now or did a few seconds ago, the busiest first.
 * Returns how many.
 */
size_t traffic_top(struct traffic *, struct traffic_share *top[TRAFFIC_TOP],
    uint64_t now_ms);

#endif
