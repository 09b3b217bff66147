#ifndef CULVERT_PROXY_LOCAL_CLIENT_H
#define CULVERT_PROXY_LOCAL_CLIENT_H

#include <stdbool.h>
#include <sys/queue.h>

#include "proxy/local/listener.h"
#include "proxy/relay.h"

/*
 * One client from accept to close: which protocol it speaks, who it is, where
 * it wants to go, and then its tunnel.
 */
struct client;

/* What all clients of a listener have in common, and their books. */
struct client_host {
	uv_loop_t *loop;
	struct uplink *uplink;
	struct users *users; /* NULL: no password */
	LIST_HEAD(, client) clients;
	struct listener_totals totals;
	/* A client is gone, and its descriptor free. */
	void (*on_gone)(struct client_host *);
};

/*
 * Makes a session for a client that was just accepted on `fd`, which it owns
 * from then on. 0, or -ENOMEM: `fd` is closed.
 */
int client_new(struct client_host *, int fd, const struct sockaddr *peer);

/*
 * Whether one of them has something under way: it has begun to ask for
 * something, and that is not over.
 */
bool clients_are_busy(const struct client_host *);

/* Closes all clients; on_gone follows for each from the loop. Static text. */
void clients_close(struct client_host *, const char *reason);

/* Calls `each` for every client that is not closing. */
void clients_each(const struct client_host *,
    void (*each)(void *arg, const struct tunnel_info *), void *arg);

#endif
