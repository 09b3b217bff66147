#ifndef CULVERT_PROXY_EDGE_EDGE_H
#define CULVERT_PROXY_EDGE_EDGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/edge/policy.h"
#include "proxy/edge/resolver.h"
#include "proxy/base/users.h"
#include "quic/quic.h"

/*
 * The far side: an HTTP/3 forward proxy for CONNECT. The same code runs as
 * culvert-edge and inside culvert (--embedded-edge).
 */
struct edge;

/* Limits, and what a 0 in struct edge_limits means. */
#define EDGE_TUNNELS_MAX 65536	   /* of all clients; beyond, 503 */
/*
 * Beyond, 503. A tunnel whose client takes nothing keeps a chunk of 16 KiB: no
 * user alone can fill what memory there is for these, 192 MiB.
 */
#define EDGE_TUNNELS_PER_USER 10240
#define EDGE_DIALS_PER_ORIGIN 256  /* attempts; beyond, they wait */
#define EDGE_KEEPALIVE_S 120	   /* s: that an origin does not answer */

struct edge_limits {
	size_t tunnels;
	size_t tunnels_per_user; /* without users: of a client's address */
	size_t dials_per_origin;
	uint64_t connect_timeout_ms; /* of a dial; DIAL_TIMEOUT_MS */
	uint64_t tunnel_timeout_ms; /* without a byte; none */
	unsigned keepalive_timeout_s; /* EDGE_KEEPALIVE_S */
};

struct edge_settings {
	struct quic_tls *tls;		 /* the edge takes a reference */
	uint8_t secret[QUIC_SECRET_LEN]; /* see quic_server_new() */
	struct quic_settings quic;
	struct users *users;		 /* NULL: open; else the edge's */
	struct policy policy;
	struct edge_limits limits;
	const char *resolvers;		 /* see resolver_new() */
	const char *qlog_dir;		 /* NULL: none */
};

/*
 * Copies `settings`. 0, and `users` belongs to the edge; or a negative errno,
 * and it stays the caller's.
 */
int edge_new(struct edge **, uv_loop_t *, const struct edge_settings *);

/*
 * Takes other settings, as edge_new() would, but for the secret, resolvers and
 * qlog_dir, which stay, and reads /etc/resolv.conf again. What is open goes on.
 */
void edge_reload(struct edge *, const struct edge_settings *);

/* The same for an edge of which nothing else has changed than one of these. */
void edge_reload_policy(struct edge *, const struct policy *);
void edge_reload_limits(struct edge *, const struct edge_limits *);

/*
 * Serves on one more UDP address. On success `bound` (or NULL) gets it with
 * the port that was chosen. 0, or a negative errno of bind(2).
 */
int edge_listen(struct edge *, const struct sockaddr *addr,
    struct sockaddr_storage *bound);

/*
 * Takes no more connections and requests, and tells the clients so (see
 * quic_server_drain()); tunnels go on. The rest is over when edge_connections()
 * is 0, or when the caller loses patience. Idempotent.
 */
void edge_drain(struct edge *);

/* Connections of clients that are open now, handshakes included. */
size_t edge_connections(const struct edge *);

/* Logs how much of each limit is in use, and how often it was met. */
void edge_report(const struct edge *);

/*
 * Closes all connections and tunnels, and frees once the loop has closed all
 * handles. NULL is a no-op.
 */
void edge_free(struct edge *);

#endif
