#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_POOL_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/base/addr.h"
#include "proxy/base/basic.h"
#include "proxy/local/upstream/failover.h"
#include "proxy/local/upstream/connection.h"
#include "proxy/local/upstream/connect_error.h"
#include "proxy/local/upstream/tunnel_request.h"
#include "quic/quic.h"
#include "quic/socket.h"

/*
 * The way to the edge: QUIC connections, made anew when they are lost, and the
 * tunnels that are asked for on them.
 */
struct pool;

/* Edges in order of preference. */
#define POOL_EDGES_MAX FAILOVER_EDGES_MAX

/*
 * Connections in all. One serves, a few more where an edge allows few tunnels,
 * and those that drain may take long: beyond, the oldest of them is cut.
 */
#define POOL_LINKS_MAX 32

struct pool_edge {
	struct target target;	/* host and UDP port */
	struct quic_tls *tls;	/* the uplink takes a reference of its own */
};

struct pool_settings {
	struct pool_edge edges[POOL_EDGES_MAX];
	size_t nedges;
	size_t connections;	 /* to one edge at once, at most; not 0 */
	uint64_t connect_timeout_ms; /* that a client waits for its tunnel */
	struct credentials user; /* for the edge; empty name: none */
	struct quic_settings quic;
	struct quic_via via;	 /* of every socket to the edge */
	const char *qlog_dir;	 /* must outlive the uplink; NULL: none */
};

/* Copies `settings`, and begins to connect. 0 or -ENOMEM. */
int pool_new(struct pool **, uv_loop_t *, const struct pool_settings *settings);

/*
 * Refuses who waits, closes the connections with H3_NO_ERROR and frees when
 * the loop has closed the handles. Not legal from inside one of the uplink's
 * callbacks. NULL is a no-op.
 */
void pool_free(struct pool *);

/*
 * Takes other settings, as pool_new() would. New tunnels are asked for under
 * the new user at once; the credentials of edges are for the connections to
 * come, and those that are up go on. Connections to an edge that is not among
 * them any more finish their tunnels. Without edges, those before stay. 0, or
 * -ENOMEM: nothing has changed.
 */
int pool_reload(struct pool *, const struct pool_settings *);

/*
 * Drops all connections, with every tunnel on them, and connects again. The
 * drop happens in the next turn of the loop.
 */
void pool_reconnect(struct pool *);

/* Looks for larger path MTUs now; nothing when it is not up. */
void pool_reprobe(struct pool *);

/* ---- Asking for a tunnel ---- */

/*
 * Asks the edge for a tunnel to `target`, which must stay where it is until
 * the answer: the events of tunnel_request.h tell of it, within the connect
 * time-out while there is no connection or no room, and TUNNEL_REQUEST_GRACE_MS
 * more once the edge was asked. At once, when it is known that no edge can be
 * used.
 */
void
pool_open(struct pool *, struct tunnel_request *, const struct target *target,
    const struct tunnel_request_events *events, void *arg);

/* Withdraws the request: no event follows. Fine when none is pending. */
void pool_cancel(struct tunnel_request *);

/* ---- Looking at it ---- */

enum pool_state {
	POOL_CONNECTING, /* a handshake is under way, or a name look-up */
	POOL_UP,
	POOL_DOWN /* the last attempt failed; the next one waits */
};

/* One connection to an edge. */
struct pool_connection {
	enum connection_state state;
	bool silent;		   /* the edge owes an answer for long */
	char edge[TARGET_STRLEN];  /* as configured */
	char address[ADDR_STRLEN];
	size_t tunnels;		   /* requests without an answer included */
};

struct pool_status {
	enum pool_state state;
	char edge[TARGET_STRLEN];  /* in use or last tried, as configured */
	char address[ADDR_STRLEN]; /* of it; empty before the look-up */
	char error[CONNECT_ERROR_TEXT_MAX]; /* why it is not up; empty: no
					       failure */
	uint64_t reconnects;	   /* connections that took over */
	uint64_t migrations;	   /* changes of path, of all connections */
	uint64_t opened;	   /* tunnels that the edge granted */
	uint64_t failed;	   /* tunnels that were refused or timed out */
	size_t open;		   /* tunnels on all connections */
	size_t waiting;		   /* clients that wait for a tunnel now */
	struct quic_stats quic;	   /* of the one in use; zero unless UP */
	struct pool_connection connections[POOL_LINKS_MAX];
	size_t nconnections;
};
void pool_status(const struct pool *, struct pool_status *);

#endif
