#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_REPAIR_HISTORY_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_REPAIR_HISTORY_H

#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/local/upstream/network_name.h"
#include "quic/quic.h"

/*
 * How much repair the paths to edges need, as earlier connections found, so
 * that the first packets of the next connection are repaired.
 *
 * Pure: no I/O, no clock.
 */

/* Paths that are remembered: some edges in the networks of one day. */
#define REPAIR_PATHS_MAX 16

struct repair_path {
	char network[NETWORK_NAME_MAX];
	char edge[ADDR_STRLEN];
	struct quic_repair repair;
	uint64_t used; /* as repair_history.uses; 0: free */
};

/* All zero at first. */
struct repair_history {
	struct repair_path paths[REPAIR_PATHS_MAX];
	uint64_t uses; /* so far */
};

/* What the path from that network to the address of an edge needs. */
void repair_history_note(struct repair_history *, const char *network,
    const char *edge, const struct quic_repair *);

/* The last note; zeros if there is none. */
struct quic_repair repair_history_find(const struct repair_history *,
    const char *network, const char *edge);

#endif
