#ifndef CULVERT_PROXY_LOCAL_LISTENER_H
#define CULVERT_PROXY_LOCAL_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/local/limits.h"
#include "proxy/local/statistics.h"
#include "proxy/local/upstream/pool.h"
#include "proxy/base/users.h"

/*
 * The addresses where clients come in, and the sessions of all of them.
 */
struct listener;

/*
 * Makes a listener that gives its clients tunnels on `uplink` and, unless
 * `users` is NULL, demands a password. It looks at `limits` whenever a client
 * comes or asks for something, and counts hits there. All three must outlive
 * it. 0, or a negative errno.
 */
int listener_new(struct listener **, uv_loop_t *, struct pool *pool,
    struct users *users, struct limits *limits);

/* Accepts on one more address. 0, or a negative errno of bind or listen. */
int listener_add(struct listener *, const struct sockaddr *);

/* The addresses that were bound, with the port that the kernel chose. */
size_t listener_addresses(const struct listener *,
    struct sockaddr_storage *out, size_t max);

/*
 * Other users, or none, for clients that have not been let in yet; the caller
 * releases the former ones.
 */
void listener_set_users(struct listener *, struct users *);

/* Whether plain HTTP names this proxy to origins and clients; at first no. */
void listener_set_via(struct listener *, bool via);

/* Stops accepting; the clients that are here go on. */
void listener_stop(struct listener *);

/*
 * Whether a client would miss something. Browsers keep connections that they
 * have no use for yet, or any more.
 */
bool listener_is_busy(const struct listener *);

/*
 * Stops, closes every client with `reason` (static text), and frees once the
 * loop has closed all handles. NULL is a no-op.
 */
void listener_free(struct listener *, const char *reason);

/* ---- Statistics ---- */

void listener_totals(const struct listener *, struct client_totals *);

/* Fills in the use of those limits that count clients and descriptors. */
void listener_uses(struct listener *);

/* All of them, or the few that move the most bytes, the busiest first. */
void listener_each(const struct listener *,
    void (*each)(void *arg, const struct client_info *), void *arg);
void listener_top(struct listener *,
    void (*each)(void *arg, const struct client_info *), void *arg);

#endif
