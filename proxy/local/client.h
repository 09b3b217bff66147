#ifndef CULVERT_PROXY_LOCAL_CLIENT_H
#define CULVERT_PROXY_LOCAL_CLIENT_H

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/base/users.h"
#include "proxy/local/limits.h"
#include "proxy/local/outbound/route.h"
#include "proxy/local/statistics.h"
#include "proxy/local/traffic.h"
#include "proxy/relay.h"

/*
 * One client, from accept to close: its protocol (frontend.h), its password,
 * its target, and then its tunnel. The listener makes clients and counts them.
 */
struct client;

/* Where a client comes from. */
struct client_source {
	struct sockaddr_storage peer;
	unsigned listener; /* index of the address that accepted it */
	const struct target *forward; /* where it goes; NULL: it says it */
	struct key_count *count; /* counts this source's clients, or NULL: */
	bool over_limit; /* they are too many; this one is only refused */
};

/* All clients of a listener, and what they share. */
struct clients {
	uv_loop_t *loop;
	const struct routes *routes;
	struct users *users; /* NULL: no password is required */
	bool via;	     /* plain HTTP names this proxy */
	struct limits *limits;
	struct liveness *liveness;
	LIST_HEAD(, client) list;
	uint64_t tls_warned_ms;	     /* last warning about TLS, or 0 */
	struct client_totals totals; /* without its bytes, which are in ... */
	struct traffic traffic;

	/* A client is gone, and its descriptor is free. */
	void (*on_closed)(struct clients *, const struct client_source *);
};

/*
 * Makes a client for the connection `fd` that was just accepted. The client
 * owns `fd` from then on, and copies `source`. 0, or -ENOMEM: `fd` is closed,
 * and on_closed does not fire.
 */
int client_new(struct clients *, int fd, const struct client_source *source);

/* Whether a client has a request or a tunnel under way. */
bool clients_are_busy(const struct clients *);

/*
 * Closes all clients; on_closed fires for each from the loop. `reason` is
 * static text.
 */
void clients_close(struct clients *, const char *reason);

/* Calls `each` for the clients that move the most bytes, see traffic.h. */
void clients_top(struct clients *,
    void (*each)(void *arg, const struct client_info *), void *arg);

/* Calls `each` for every client that is not closing. */
void clients_each(const struct clients *,
    void (*each)(void *arg, const struct client_info *), void *arg);

#endif
