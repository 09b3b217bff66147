#ifndef CULVERT_PROXY_EDGE_TUNNEL_H
#define CULVERT_PROXY_EDGE_TUNNEL_H

#include <sys/queue.h>

#include <uv.h>

#include "proxy/edge/dial.h"
#include "proxy/base/liveness.h"
#include "proxy/base/keyed_counter.h"
#include "proxy/base/users.h"
#include "quic/quic.h"

/*
 * One request at the edge: CONNECT → user → policy → name → dial → 200 → bytes.
 */
struct tunnel;

/* The common state of all tunnels of an edge, and their counts. */
struct tunnel_host {
	uv_loop_t *loop;
	struct users *users; /* NULL: open */
	struct dialer dialer;
	struct liveness *liveness;  /* of the sockets to origins */
	uint64_t tunnel_timeout_ms; /* without a byte; 0: none */
	unsigned keepalive_timeout_s;
	size_t tunnels_max;	 /* in total */
	size_t tunnels_per_user; /* of one user, or of one address */
	LIST_HEAD(, tunnel) tunnels;
	size_t open;
	struct keyed_counter shares; /* of users, or of addresses */
	uint64_t refused;	     /* because of one of the two limits */
	uint64_t warned_ms;	     /* time of the last warning; 0: never */
	void (*on_gone)(struct tunnel_host *); /* a tunnel was freed */
};

/* Answers the request on `stream`, now or later, and owns the stream. */
void tunnel_new(struct tunnel_host *, struct quic_stream *stream,
    const struct quic_header_section *head);

/* Closes all tunnels; on_gone follows for each. `reason` is static text. */
void tunnels_close(struct tunnel_host *, const char *reason);

#endif
