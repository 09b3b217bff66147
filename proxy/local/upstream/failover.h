#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_FAILOVER_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_FAILOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Which edge to connect to, and which edge gets the new tunnels: the most
 * preferred one that works. After a failure an edge is not tried for a backoff
 * that doubles every time; an edge that comes back must stay up for a while
 * (the hold-down) before it takes over, so that tunnels do not flap.
 *
 * Pure: no I/O, no clock. Times are milliseconds of the caller's clock. Edges
 * are indices from 0, the most preferred. The caller makes the connections,
 * reports how they went, and asks what to do next.
 */

/* A longer list would never be tried to its end. */
#define FAILOVER_EDGES_MAX 8

struct failover_edge {
	bool connecting;	   /* an attempt is under way ... */
	uint64_t connecting_since; /* ... since then */
	bool up;		   /* a connection takes requests ... */
	uint64_t up_since;	   /* ... since then */
	bool suspect;		   /* the edge is silent: do not rely on it */
	bool permanent;		   /* the last failure will repeat */
	uint64_t failed_at;	   /* the last failure */
	uint64_t retry_at;	   /* no attempt before then */
	uint64_t backoff_ms;	   /* the next one, at most */
	uint64_t hold_down_ms;	   /* up for so long before it takes over */
};

struct failover {
	struct failover_edge edges[FAILOVER_EDGES_MAX];
	size_t n;
	int active; /* the last result of failover_active() */
	uint32_t (*random)(uint32_t below);
};

/*
 * `n` edges, none of which was tried. `random` returns a number below its
 * argument, as arc4random_uniform(3) does: it spreads the attempts of many
 * clients that lost the same edge.
 */
void
failover_init(struct failover *, size_t n, uint32_t (*random)(uint32_t below));

/* ---- Reports ---- */

/* An attempt to connect to edge `i` begins ... */
void failover_connecting(struct failover *, size_t i, uint64_t now);

/*
 * ... and has failed; `permanent` if the next one will fail the same way.
 * Returns the backoff in milliseconds.
 */
uint64_t
failover_failed(struct failover *, size_t i, uint64_t now, bool permanent);

/* ... or succeeded ... */
void failover_up(struct failover *, size_t i, uint64_t now);

/* ... or was cancelled. Does nothing when there was none. */
void failover_cancelled(struct failover *, size_t i);

/* Whether all connections to edge `i`, which is up, are silent. */
void failover_set_suspect(struct failover *, size_t i, bool suspect);

/*
 * Edge `i` takes no more requests: the last connection to it was lost or
 * drains. It may be tried again at once, unless it had only just come up,
 * which counts as a failed attempt.
 */
void failover_down(struct failover *, size_t i, uint64_t now);

/*
 * The same, because the edge needed the room of an idle connection. It is
 * tried again when a client asks for a tunnel, or much later.
 */
void failover_evicted(struct failover *, size_t i, uint64_t now);

/* Ends all backoffs: a client asks for a tunnel, or the network changed. */
void failover_reset_backoff(struct failover *);

/* ---- Decisions; `*at`, when to ask again, is only ever made earlier ---- */

/*
 * The edge to try now, or -1. Edges after one that works are not tried; those
 * after one that is being tried wait a little. Backoffs are short while
 * `clients_wait`. Call it until it returns -1.
 */
int failover_next(const struct failover *, uint64_t now, bool clients_wait,
    uint64_t *at);

/* Whether edge `i`, which is up, may get a further connection now. */
bool failover_may_connect(const struct failover *, size_t i, uint64_t now,
    uint64_t *at);

/* The edge for new tunnels, or -1 when none is up. */
int failover_active(struct failover *, uint64_t now, uint64_t *at);

/* All edges have failed permanently: no client need wait. */
bool failover_all_failed(const struct failover *);

#endif
