#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_SPREAD_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_SPREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/local/upstream/network_name.h"
#include "quic/quic.h"

/*
 * Which lines to an edge lose packets at random. One connection has one
 * congestion controller, which such a line slows more than the dozens that a
 * browser has without a proxy; so new tunnels are spread over several
 * connections there.
 *
 * A line is the path from one network to the edge. What was learned of it is
 * kept, so that the next connections are made at once. A line becomes lossy
 * soon and stays so for a while, so that tunnels do not flap.
 *
 * Pure: no I/O, no clock. Times are milliseconds of the caller's clock.
 */

/* Lines that are remembered: the networks that a laptop sees on one day. */
#define SPREAD_LINES_MAX 8

enum spread_direction { SPREAD_SENT, SPREAD_RECEIVED, SPREAD_DIRECTIONS };

/* What was lost in both directions. */
struct spread_losses {
	struct quic_loss of[SPREAD_DIRECTIONS];
};

/* Packets since the last decision. */
struct spread_count {
	uint64_t packets, lost;
	unsigned notes, bad; /* intervals, and those with losses */
};

struct spread_line {
	char name[NETWORK_NAME_MAX]; /* empty: free */
	struct spread_count counts[SPREAD_DIRECTIONS];
	bool lossy;
	uint64_t since;	  /* it was or was not lossy, at last */
	uint64_t used_at; /* the last note */
	uint64_t aged_at; /* old packets were last halved */
};

struct spread {
	struct spread_line lines[SPREAD_LINES_MAX];
};

/* Nothing is known. */
void spread_init(struct spread *);

/*
 * What the line of that network has carried and lost in an interval, in all
 * connections. True: the line has become lossy, or ceased to be.
 */
bool spread_note(struct spread *, const char *network, enum spread_direction,
    const struct quic_loss *, uint64_t now);

/* Whether the line is lossy; one that is not known is not. */
bool spread_is_lossy(const struct spread *, const char *network);

#endif
