#ifndef CULVERT_PROXY_EDGE_ORIGIN_H
#define CULVERT_PROXY_EDGE_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "proxy/addr.h"

/*
 * Turns to dial an origin. Few dials to one host and port are under way at a
 * time, and the others wait in the order of their coming: a thousand tunnels to
 * an origin that does not answer must not take the descriptors of all others.
 */
struct origins {
	size_t dials_max; /* to one origin at once; may change at any time */

	/* For the owner to read. */
	size_t waiting; /* for their turn, whatever the origin */

	/* Private; NULL at first, and again when no turn is out. */
	void *tree; /* tsearch(3), of struct origin */
};

/* One host and port that is being dialled. */
struct origin;

/* A turn, in the caller's memory. */
struct turn {
	struct origins *origins; /* NULL: none was taken */
	struct origin *origin;
	bool waiting;
	void (*go)(void *arg);
	void *arg;
	TAILQ_ENTRY(turn) entry;
};

/*
 * Takes a turn to dial `target`. Returns 1 when it is there; 0 when it is to
 * come: then `go` is called once, from inside somebody's turn_end(); or
 * -ENOMEM, and nothing was taken.
 */
int turn_take(struct turn *, struct origins *, const struct target *target,
    void (*go)(void *arg), void *arg);

/*
 * The dial is over, or has given up waiting. Whoever comes next is told to go
 * before this returns. No-op when none was taken.
 */
void turn_end(struct turn *);

#endif
