#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_FAILOVER_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_FAILOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which edge to try, and which one gets the new tunnels: the most preferred one
 * that is well. An edge that fails is left alone for a while, and longer every
 * time; one that comes back must stay before it is trusted again, lest tunnels
 * flap between two.
 *
 * Pure: no I/O, no clock. Times are milliseconds of the caller's clock. Edges
 * are numbers from 0, the preferred one; the caller makes the connections, says
 * how they went, and asks what to do next.
 */

/* Edges in order of preference: a longer list would never be tried out. */
#define FAILOVER_EDGES_MAX 8

struct failover_edge {
	bool trying;	 /* an attempt is under way ... */
	uint64_t tried;	 /* ... since then */
	bool up;	 /* there is a connection that takes requests ... */
	uint64_t since;	 /* ... since then */
	bool doubted;	 /* it has gone quiet: do not rely on it */
	bool hopeless;	 /* the last attempt failed for good (certificate) */
	uint64_t failed; /* when it failed last */
	uint64_t retry;	 /* not tried before then */
	uint64_t pause;	 /* milliseconds, most of the next pause */
	uint64_t trust;	 /* milliseconds that it must be up to be trusted */
};

struct failover {
	struct failover_edge edges[FAILOVER_EDGES_MAX];
	size_t n;
	int serving; /* the last answer of failover_serving() */
	uint32_t (*random)(uint32_t below);
};

/*
 * `n` edges, none of which was tried. `random` gives a number below its
 * argument, as arc4random_uniform(3) does: it spreads the attempts of many
 * clients whose edge has gone.
 */
void
failover_init(struct failover *, size_t n, uint32_t (*random)(uint32_t below));

/* An attempt to connect to edge `i` begins ... */
void failover_tried(struct failover *, size_t i, uint64_t now);

/*
 * ... and has failed; `hopeless` if the next one will fail the same way. The
 * edge is left alone for a pause, which is returned (milliseconds).
 */
uint64_t
failover_failed(struct failover *, size_t i, uint64_t now, bool hopeless);

/* ... or succeeded ... */
void failover_up(struct failover *, size_t i, uint64_t now);

/* ... or was called off. Nothing if there was none. */
void failover_called_off(struct failover *, size_t i);

/* Whether all connections to edge `i`, which is up, have gone quiet. */
void failover_doubt(struct failover *, size_t i, bool doubted);

/*
 * Edge `i` takes no more requests: the last connection to it was lost or
 * drains. It may be tried again at once, unless it had only just come up:
 * that was a failed attempt.
 */
void failover_down(struct failover *, size_t i, uint64_t now);

/*
 * The same, because the edge had better use for the room of a connection that
 * nobody used. It is tried again when a client asks for a tunnel, or later.
 */
void failover_rest(struct failover *, size_t i, uint64_t now);

/* Ends all pauses: somebody asks for a tunnel, or the network has changed. */
void failover_wake(struct failover *);

/*
 * The edge to try now, or -1: ask again at `*at`, which is only ever made
 * earlier. Those who come after an edge that is well are not tried; those
 * after one that is being tried wait a little. While `waited`, because clients
 * wait, pauses are short. To be asked until it says -1.
 */
int
failover_next(const struct failover *, uint64_t now, bool waited, uint64_t *at);

/* A further attempt at edge `i`, which is up, is not under way nor too soon. */
bool
failover_may_add(const struct failover *, size_t i, uint64_t now, uint64_t *at);

/* The edge for new tunnels, or -1 when none is up; `*at` as above. */
int failover_serving(struct failover *, uint64_t now, uint64_t *at);

/* All edges have failed for good: nobody need wait. */
bool failover_hopeless(const struct failover *);

#endif
