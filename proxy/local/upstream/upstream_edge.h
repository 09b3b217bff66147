#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_UPSTREAM_EDGE_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_UPSTREAM_EDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/addr.h"
#include "proxy/local/upstream/failover.h"
#include "proxy/local/upstream/connection.h"
#include "proxy/local/upstream/connection_limit.h"
#include "proxy/local/upstream/edge_attempts.h"
#include "proxy/local/upstream/edge_losses.h"
#include "proxy/local/upstream/edge_silence.h"
#include "proxy/local/outbound/connect_error.h"

/*
 * Connections to one edge, in any state, beyond which none is added to those
 * that take requests. Further ones only replace connections that have failed,
 * and end with their tunnels, which they keep.
 */
#define UPSTREAM_EDGE_CONNECTIONS_MAX 16

/*
 * One edge: the attempt to connect to it, and the connections that came of it.
 * It reports to the failover how the edge does.
 *
 * None of these calls may be made from inside a connection's events. `now` is
 * milliseconds of the loop's clock, and `*at` is made no later than the time
 * of the next call.
 */
struct upstream_edge {
	/* For the owner to set: connections that are kept though idle. */
	size_t wanted;

	/* For the owner to read. */
	struct target edge; /* as configured */
	size_t index;	    /* in the failover */
	bool removed;	    /* no longer in the failover */
	struct edge_attempts edge_attempts;
	struct connection_list connections; /* oldest first; none is CLOSED
					       after a step */
	char why[CONNECT_ERROR_TEXT_MAX];   /* the last failure, a sentence */
	struct edge_losses losses;	    /* its lines that are lossy */

	TAILQ_ENTRY(upstream_edge) entry; /* for the owner to use */

	/* Private. */
	struct failover *failover;
	struct connection_limit limit;
	struct quic_tls *tls;
	char last_warning[CONNECT_ERROR_TEXT_MAX];
	uint64_t warned_ms; /* when it was logged */
};

TAILQ_HEAD(upstream_edge_list, upstream_edge);

/*
 * Takes a reference to `tls` and copies `edge`; the context and the failover
 * must outlive it. 0 or -ENOMEM.
 */
int upstream_edge_new(struct upstream_edge **, struct connection_context *,
    struct failover *, size_t index, const struct target *edge,
    struct quic_tls *tls);

/*
 * After the failover was initialized anew: the edge's index in it, and the
 * credentials for connections to come.
 */
void upstream_edge_update(struct upstream_edge *, size_t index,
    struct quic_tls *tls, uint64_t now);

/* Begins to make a connection, or cancels that. */
void upstream_edge_connect(struct upstream_edge *, uint64_t now);
void upstream_edge_cancel(struct upstream_edge *);

/*
 * Whether a connection beside those that there are may be made now: there are
 * fewer than UPSTREAM_EDGE_CONNECTIONS_MAX of them, and the edge refused none
 * shortly before.
 */
bool
upstream_edge_may_add(const struct upstream_edge *, uint64_t now, uint64_t *at);

/* The network has changed, so what has failed before may work now. */
void upstream_edge_forget_failures(struct upstream_edge *);

/*
 * Does what is due. True: an attempt has failed or a connection was lost, for
 * the reason in `why`.
 */
bool upstream_edge_step(struct upstream_edge *, uint64_t now, uint64_t *at);

/* edge_silence_best() of its connections. */
struct connection *upstream_edge_best(const struct upstream_edge *);

/* How many connections are UP. */
size_t upstream_edge_count(const struct upstream_edge *);

/* Makes no more connections; those that exist finish their tunnels. */
void upstream_edge_remove(struct upstream_edge *);

/* Closes all connections, with their tunnels, and stops attempts. */
void upstream_edge_close(struct upstream_edge *, const char *why);

/* Whether a removed or closed edge has no connection, and may be freed. */
bool upstream_edge_is_closed(const struct upstream_edge *);
void upstream_edge_free(struct upstream_edge *);

#endif
