#ifndef CULVERT_PROXY_LOCAL_CLIENT_H
#define CULVERT_PROXY_LOCAL_CLIENT_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/base/users.h"
#include "proxy/local/limits.h"
#include "proxy/local/statistics.h"
#include "proxy/local/traffic.h"
#include "proxy/local/upstream/pool.h"
#include "proxy/relay.h"

/*
 * One client from accept to close: which protocol it speaks, who it is, where
 * it wants to go, and then its tunnel.
 */
struct client;

/* Where a client came in. */
struct client_origin {
	struct sockaddr_storage peer;
	unsigned listener; /* which of the addresses, as the host counts them */
	struct tally_entry *share; /* of all from there; NULL: ... */
	bool crowded; /* ... they are too many: answer it, but no tunnel */
};

/* What all clients of a listener have in common, and their books. */
struct client_host {
	uv_loop_t *loop;
	struct pool *pool;
	struct users *users; /* NULL: no password */
	bool via;	     /* plain HTTP names this proxy */
	struct limits *limits;
	struct liveness *liveness;
	LIST_HEAD(, client) clients;
	uint64_t tls_warned_ms; /* when the log was told of TLS last, or 0 */
	struct client_totals totals; /* but for the bytes: */
	struct traffic traffic;
	/* A client is gone, and its descriptor free. */
	void (*on_gone)(struct client_host *, const struct client_origin *);
};

/*
 * Makes a session for a client that was just accepted on `fd`, which it owns
 * from then on; copies `origin`. 0, or -ENOMEM: `fd` is closed, and on_gone
 * does not fire.
 */
int client_new(struct client_host *, int fd,
    const struct client_origin *origin);

/*
 * Whether one of them has something under way: it has begun to ask for
 * something, and that is not over.
 */
bool clients_are_busy(const struct client_host *);

/* Closes all clients; on_gone follows for each from the loop. Static text. */
void clients_close(struct client_host *, const char *reason);

/* Calls `each` for the clients that move the most bytes, see traffic.h. */
void clients_top(struct client_host *,
    void (*each)(void *arg, const struct client_info *), void *arg);

/* Calls `each` for every client that is not closing. */
void clients_each(const struct client_host *,
    void (*each)(void *arg, const struct client_info *), void *arg);

#endif
