#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_H

#include "proxy/base/addr.h"
#include "proxy/local/outbound/outbound.h"

/* The outbounds that there are. They outlive the requests that they take. */
struct routes {
	struct outbound *edges; /* the pool */
};

/*
 * The outbound for a tunnel to `target` of a client that came to the listener
 * with this index: the one place that chooses. Never NULL.
 */
struct outbound *
route(const struct routes *, unsigned listener, const struct target *target);

#endif
