#ifndef CULVERT_PROXY_EDGE_DIAL_QUEUE_H
#define CULVERT_PROXY_EDGE_DIAL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include <sys/socket.h>

/*
 * Limits the attempts to connect to one origin: an address and a port, whatever
 * names resolve to it. Each attempt needs a slot, of which an origin has
 * dials_max, and further attempts wait in the order of their arrival. So a
 * thousand tunnels to an origin that does not answer neither flood it nor use
 * up the descriptors. An IPv6 origin is its /64, all of which one host may
 * have; an IPv4 address that is reached by NAT64 is the same as that address.
 */
struct dial_queue {
	size_t dials_max; /* per origin; may change at any time */

	/* For the owner to read. */
	size_t waiting; /* attempts without a slot, for all origins */

	/* Private; NULL initially, and again when no slot is in use. */
	void *tree; /* tsearch(3), of struct origin */
};

/*
 * Waiting attempts per origin, at most: as many as get a slot within the time
 * of a dial with 256 slots and round trips of 300 ms. Each takes 3 KB.
 */
#define ORIGIN_WAITING_MAX 8192

/* One address and port that is being dialled. */
struct origin;

/* A slot or the wait for one, in the caller's memory; private. */
struct dial_slot {
	struct dial_queue *queue; /* NULL: none was taken */
	struct origin *origin;
	bool waiting;
	void (*on_ready)(void *arg);
	void *arg;
	TAILQ_ENTRY(dial_slot) entry;
};

/*
 * Takes a slot to connect to `addr`. Returns 1 if one is free. Returns 0 if the
 * attempt must wait: `on_ready` is called once, from inside the
 * dial_slot_release() of another. Returns -EAGAIN if too many wait, or -ENOMEM;
 * then nothing was taken.
 */
int dial_slot_take(struct dial_slot *, struct dial_queue *,
    const struct sockaddr *addr, void (*on_ready)(void *arg), void *arg);

/*
 * Returns the slot after the attempt, or stops waiting. The on_ready of the
 * next attempt is called before this returns. A no-op if none was taken.
 */
void dial_slot_release(struct dial_slot *);

#endif
