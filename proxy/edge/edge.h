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
 * proxy/edge is the remote side: an HTTP/3 forward proxy that answers CONNECT
 * with TCP connections to origins. Only the programs use it: it runs as
 * culvert-edge and inside culvert (--embedded-edge). It uses proxy/base,
 * proxy/relay.h and quic/, and never proxy/local.
 *
 *	edge       sockets, QUIC servers, settings and limits
 *	tunnel     one CONNECT request, from its user to its end
 *	dial       from a host and port to a connected socket (RFC 8305)
 *	           policy, dial_queue, descriptors: what it may dial, and when
 *	           resolver, dns_question, dns_query, name_servers,
 *	           dns_channel: from names to addresses
 */
struct edge;

/* Limits, which are also the meaning of a 0 in struct edge_limits. */
#define EDGE_TUNNELS_MAX 65536 /* of all clients; beyond, 503 */
/*
 * Beyond, 503. A tunnel whose client reads nothing keeps a buffer of 16 KiB: no
 * user alone can fill the memory that there is for these, 192 MiB.
 */
#define EDGE_TUNNELS_PER_USER 10240
#define EDGE_DIALS_PER_ORIGIN 256 /* attempts; beyond, they wait */
#define EDGE_KEEPALIVE_S 120	  /* s without an answer of an origin */

struct edge_limits {
	size_t tunnels;
	size_t tunnels_per_user; /* without users: of a client's address */
	size_t dials_per_origin;
	uint64_t connect_timeout_ms;  /* of a dial; 0: DIAL_TIMEOUT_MS */
	uint64_t tunnel_timeout_ms;   /* without a byte; 0: none */
	unsigned keepalive_timeout_s; /* EDGE_KEEPALIVE_S */
};

struct edge_settings {
	struct quic_tls *tls;		 /* the edge takes a reference */
	uint8_t secret[QUIC_SECRET_LEN]; /* see quic_server_new() */
	struct quic_settings quic;
	struct users *users; /* NULL: open; owned by the edge */
	struct policy policy;
	struct edge_limits limits;
	const char *resolvers; /* see resolver_new() */
	const char *qlog_dir;  /* NULL: none */
};

/*
 * Copies `settings`. Returns 0, and the edge becomes the owner of `users`; or a
 * negative errno, and the caller stays the owner.
 */
int edge_new(struct edge **, uv_loop_t *, const struct edge_settings *);

/*
 * Applies new settings, as edge_new() does, except secret, resolvers and
 * qlog_dir, which stay, and reads /etc/resolv.conf again. Connections continue.
 */
void edge_reload(struct edge *, const struct edge_settings *);

/* The same if only one of these has changed. */
void edge_reload_policy(struct edge *, const struct policy *);
void edge_reload_limits(struct edge *, const struct edge_limits *);

/*
 * Serves on one more UDP address. On success `bound`, which may be NULL, is the
 * address with the actual port. Returns 0 or a negative errno of bind(2).
 */
int edge_listen(struct edge *, const struct sockaddr *addr,
    struct sockaddr_storage *bound);

/*
 * Accepts no more connections and requests, and informs the clients (see
 * quic_server_drain()); tunnels continue. The drain is complete when
 * edge_connections() is 0, but the caller may free the edge before. Idempotent.
 */
void edge_drain(struct edge *);

/* Returns the number of open connections, handshakes included. */
size_t edge_connections(const struct edge *);

/* Logs how much of each limit is in use, and how often it was reached. */
void edge_report(const struct edge *);

/*
 * Closes all connections and tunnels, and frees once the loop has closed all
 * handles. NULL is a no-op.
 */
void edge_free(struct edge *);

#endif
