#ifndef CULVERT_PROXY_LOCAL_LISTENER_H
#define CULVERT_PROXY_LOCAL_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/local/limits.h"
#include "proxy/local/outbound/route.h"
#include "proxy/local/statistics.h"
#include "proxy/base/users.h"

/*
 * This folder serves the clients of the local proxy, in SOCKS and HTTP. The
 * listener accepts them on the configured addresses, within the limits.
 *
 *	listener.h	accepts clients; what the main program uses
 *	client.h	a client, from accept to close
 *	frontend.h	a protocol: client_socks.c, client_http.c, client_tls.c
 *	socks.h		SOCKS as a push machine
 *	builtin_pages.h, error_page.h, http_status.h
 *			the proxy's own HTTP responses
 *	limits.h	what clients may use
 *	traffic.h, statistics.h, status.h
 *			what is counted, and how it is shown
 *	http/		plain HTTP
 *	outbound/	what opens tunnels
 *	upstream/	the edges, which open most of them
 *
 * Used by the main program culvert. It uses every folder of proxy/ but edge/.
 */
struct listener;

/*
 * Makes a listener whose clients get tunnels by `routes` and, unless `users` is
 * NULL, need a password. It reads `limits` whenever a client comes or sends a
 * request, and counts hits there. All three must outlive it. 0, or a negative
 * errno.
 */
int listener_new(struct listener **, uv_loop_t *, const struct routes *,
    struct users *users, struct limits *limits);

/*
 * Accepts on one more address. Its clients speak a protocol of the proxy, or,
 * unless `forward` is NULL, all of them get tunnels to that target, which must
 * outlive the listener. 0, or a negative errno of bind or listen.
 */
int listener_add(struct listener *, const struct sockaddr *,
    const struct target *forward);

/* The addresses that were bound, with the port that the kernel chose. */
size_t listener_addresses(const struct listener *, struct sockaddr_storage *out,
    size_t max);

/*
 * Sets other users, or none, for clients that are not authenticated yet; the
 * caller releases the former users.
 */
void listener_set_users(struct listener *, struct users *);

/* Whether plain HTTP names this proxy in Via; at first no. */
void listener_set_via(struct listener *, bool via);

/* Stops accepting; the open clients go on. */
void listener_stop(struct listener *);

/*
 * Whether a client has a request or a tunnel under way. Browsers also keep
 * connections open that they do not use.
 */
bool listener_is_busy(const struct listener *);

/*
 * Stops, closes every client with `reason` (static text), and frees once the
 * loop has closed all handles. NULL is a no-op.
 */
void listener_free(struct listener *, const char *reason);

/* ---- Statistics ---- */

void listener_totals(const struct listener *, struct client_totals *);

/* Updates the use of the limits that count clients and descriptors. */
void listener_update_limits(struct listener *);

/* All clients, or the few that move the most bytes, the busiest first. */
void listener_each(const struct listener *,
    void (*each)(void *arg, const struct client_info *), void *arg);
void listener_top(struct listener *,
    void (*each)(void *arg, const struct client_info *), void *arg);

#endif
