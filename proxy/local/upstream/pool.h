#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_POOL_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/base/addr.h"
#include "proxy/base/basic.h"
#include "proxy/local/outbound/outbound.h"
#include "proxy/local/upstream/failover.h"
#include "proxy/local/upstream/connection.h"
#include "quic/quic.h"
#include "quic/socket.h"

/*
 * This folder carries tunnels to an edge. The pool holds the QUIC connections
 * to the edges, replaces those that are lost, and opens tunnels on them.
 *
 *	pool.h			all edges
 *	tunnel_queue.h		requests that wait or were sent
 *	edge_response.h		why the edge gives no tunnel
 *	upstream_edge.h, failover.h, edge_attempts.h, connection.h
 *				one edge; which edge; which address; one
 *				connection
 *	connection_limit.h, edge_silence.h
 *				how many connections an edge allows, and which
 *				of them work
 *	edge_losses.h, spread.h, network_name.h
 *				which lines lose packets at random
 *	migration.h, netlink.h, suspend.h
 *				what keeps a connection when the network
 *				changes
 *
 * The main program makes the pool, proxy/local/ shows its status, and clients
 * get tunnels from it as an outbound. It uses proxy/base/,
 * proxy/local/outbound/ and quic/, and knows no protocol of a client.
 */
struct pool;

/* Edges in order of preference. */
#define POOL_EDGES_MAX FAILOVER_EDGES_MAX

/*
 * Connections that the status shows. One is active, and there are more where an
 * edge allows few tunnels or the line loses packets, and while some drain.
 */
#define POOL_CONNECTIONS_MAX 32

struct pool_edge {
	struct target target; /* host and UDP port */
	struct quic_tls *tls; /* the pool takes a reference of its own */
};

struct pool_settings {
	struct pool_edge edges[POOL_EDGES_MAX];
	size_t nedges;
	size_t connections;	     /* to one edge at once, at most; not 0 */
	size_t spread;		     /* the same, on a lossy line; not 0 */
	uint64_t connect_timeout_ms; /* that a client waits for its tunnel */
	struct credentials user;     /* for the edge; empty name: none */
	struct quic_settings quic;
	struct quic_via via;  /* of every socket to the edge */
	const char *qlog_dir; /* must outlive the pool; NULL: none */
};

/* Copies `settings`, and begins to connect. 0 or -ENOMEM. */
int pool_new(struct pool **, uv_loop_t *, const struct pool_settings *settings);

/*
 * Refuses the requests that wait, closes the connections with H3_NO_ERROR and
 * frees when the loop has closed the handles. Not from inside one of the pool's
 * callbacks. NULL is a no-op.
 */
void pool_free(struct pool *);

/*
 * Replaces the settings. The user counts for new tunnels at once; the edges'
 * credentials count for new connections, and those that are up go on.
 * Connections to an edge that is no longer configured finish their tunnels.
 * Without edges in `settings` the former edges stay. 0, or -ENOMEM: nothing has
 * changed.
 */
int pool_reload(struct pool *, const struct pool_settings *);

/*
 * Closes all connections, with every tunnel on them, and connects again, both
 * in the next loop iteration.
 */
void pool_reconnect(struct pool *);

/* Probes for a larger path MTU now, on every connection that is up. */
void pool_reprobe(struct pool *);

/*
 * Opens tunnels on the edges; valid until pool_free(). The outcome of a request
 * comes within the connect time-out, and at once if no edge can be used.
 */
struct outbound *pool_outbound(struct pool *);

/* ---- Status ---- */

enum pool_state {
	POOL_CONNECTING, /* resolving the name, or in a handshake */
	POOL_UP,
	POOL_DOWN /* the last attempt failed; in backoff */
};

/* One connection to an edge. */
struct pool_connection {
	enum connection_state state;
	bool silent;		  /* an answer of the edge is overdue */
	char edge[TARGET_STRLEN]; /* as configured */
	char address[ADDR_STRLEN];
	size_t tunnels; /* requests without a response included */
};

struct pool_status {
	enum pool_state state;
	char edge[TARGET_STRLEN];  /* in use or last tried, as configured */
	char address[ADDR_STRLEN]; /* of it; empty before it is resolved */
	char error[CONNECT_ERROR_TEXT_MAX]; /* why not UP; empty: no failure */
	uint64_t reconnects;		    /* connections that took over */
	uint64_t migrations;	/* changes of path, of all connections */
	uint64_t opened;	/* tunnels that the edge granted */
	uint64_t failed;	/* tunnels that were refused or timed out */
	size_t open;		/* tunnels on all connections */
	size_t waiting;		/* clients that wait for a tunnel now */
	size_t spread;		/* connections for new tunnels: 1, or more if
				   the line is lossy */
	struct quic_stats quic; /* of the one in use; zero unless UP */
	struct pool_connection connections[POOL_CONNECTIONS_MAX];
	size_t nconnections;
};
void pool_status(const struct pool *, struct pool_status *);

#endif
