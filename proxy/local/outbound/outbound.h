#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_OUTBOUND_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_OUTBOUND_H

#include "proxy/local/outbound/connect_error.h"
#include "proxy/local/outbound/tunnel_request.h"

/*
 * This folder holds what opens tunnels, as the clients see it: neither they nor
 * anything else above it knows what carries a tunnel.
 *
 *	outbound.h		a way to open tunnels
 *	tunnel_request.h	what it is asked for
 *	connect_error.h		why there is no tunnel
 *	route.h			which outbound a tunnel takes
 *	refuse_outbound.h	an outbound that refuses everything
 *
 * The other outbound is the pool of edges (proxy/local/upstream/pool.h). Used
 * by proxy/local/, proxy/local/http/, proxy/local/upstream/ and the main
 * program. It uses proxy/base/ alone.
 */

/* What an outbound implements. `provider` is its own object. */
struct outbound_ops {
	/*
	 * Takes the request. One of tunnel_request_opened() and
	 * tunnel_request_refused() follows, from the loop and not from inside
	 * this call, unless it is cancelled. The outbound limits the time.
	 */
	void (*open)(void *provider, struct tunnel_request *);

	/* Drops the request, which open() took, and ends its stream. */
	void (*cancel)(void *provider, struct tunnel_request *);
};

struct outbound {
	const struct outbound_ops *ops;
	void *provider;
};

/*
 * Asks for a tunnel of this kind to `target`, which stays where it is until the outcome, as
 * `events` does. The request is not under way. Exactly one of `opened` and
 * `refused` follows, never from inside this call, and `sent` may fire before
 * it. From either of the two the request may be used again.
 */
void outbound_open(struct outbound *, struct tunnel_request *,
    enum tunnel_kind kind, const struct target *target,
    const struct tunnel_request_events *events, void *arg);

/* Withdraws the request: no event follows. A no-op when none is under way. */
void outbound_cancel(struct tunnel_request *);

/* ---- For outbounds ---- */

/*
 * The outcome of a request that the outbound has let go: these fire its event,
 * and the request may be under way again, or freed, when they return. `stream`
 * is open, and belongs to the owner of the request from then on.
 */
void tunnel_request_opened(struct tunnel_request *, struct stream *stream);
void
tunnel_request_refused(struct tunnel_request *, const struct connect_error *);

#endif
