#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_EDGE_LOSSES_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_EDGE_LOSSES_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/local/upstream/connection.h"
#include "proxy/local/upstream/spread.h"

/* Milliseconds of an interval, in which all connections of a line count. */
#define EDGE_LOSSES_INTERVAL_MS 250

/*
 * What the connections to an edge lose, for the spread of their lines. Private.
 */
struct edge_losses {
	struct spread spread;
	uint64_t learned_ms; /* the last interval ended */
};

void edge_losses_init(struct edge_losses *);

/*
 * Ends an interval if it is due. `now` is milliseconds of the loop's clock. Not
 * from inside a connection's events.
 */
void edge_losses_learn(struct edge_losses *, const struct connection_list *,
    uint64_t now);

/* Whether the line of that connection loses packets at random. */
bool
edge_losses_is_lossy(const struct edge_losses *, const struct connection *);

/*
 * The connection has lost so much that BBR has given up most of its rate, and
 * does not find it again (ngtcp2 reacts to a loss of 2 % in a round trip). New
 * tunnels do better on another one.
 */
bool edge_losses_is_worn(const struct connection *);

#endif
