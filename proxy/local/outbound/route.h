#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_H

#include "proxy/base/addr.h"
#include "proxy/local/outbound/outbound.h"
#include "proxy/local/outbound/route_rules.h"

/* The outbounds that there are. They outlive the requests that they take. */
struct routes {
	struct outbound *edges;	   /* the pool */
	struct outbound *direct;   /* direct_outbound.h */
	struct outbound *block;	   /* refuses, see route_explain() */
	struct route_rules *rules; /* NULL: everything goes to `edges` */
	unsigned generation;	   /* of the rules: 1 more for others */
};

/*
 * The outbound for a tunnel to `target` of a client that came to the listener
 * with this index: the one place that chooses. Never NULL.
 */
struct outbound *
route(const struct routes *, unsigned listener, const struct target *target);

/* Why the rules block the target: which rule, and where it is written. */
void route_explain(const struct routes *, const struct target *target,
    struct connect_error *);

#endif
