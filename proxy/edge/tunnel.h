#ifndef CULVERT_PROXY_EDGE_TUNNEL_H
#define CULVERT_PROXY_EDGE_TUNNEL_H

#include <sys/queue.h>

#include <uv.h>

#include "proxy/edge/dial.h"
#include "proxy/base/liveness.h"
#include "proxy/base/tally.h"
#include "proxy/base/users.h"
#include "quic/quic.h"

/*
 * One request at the edge: CONNECT → user → policy → name → dial → 200 → bytes.
 */
struct tunnel;

/* What all tunnels of an edge have in common, and their books. */
struct tunnel_host {
	uv_loop_t *loop;
	struct users *users; /* NULL: open */
	struct dialer dialer;
	struct liveness *liveness; /* of the sockets to origins */
	uint64_t tunnel_timeout_ms; /* without a byte; 0: none */
	unsigned keepalive_timeout_s;
	size_t tunnels_max;	   /* of all together */
	size_t tunnels_per_user;   /* of one user, or of one address */
	LIST_HEAD(, tunnel) tunnels;
	size_t open;
	struct tally shares;	   /* of users, or of addresses */
	uint64_t refused;	   /* for one of the two limits */
	uint64_t warned_ms;	   /* when the log last said so; 0: never */
	void (*on_gone)(struct tunnel_host *); /* a tunnel's memory is free */
};

/* Answers the request on `stream`, now or later, and takes the stream. */
void tunnel_new(struct tunnel_host *, struct quic_stream *stream,
    const struct quic_head *head);

/* Closes all tunnels; on_gone follows for each. Static text. */
void tunnels_close(struct tunnel_host *, const char *reason);

#endif
