#ifndef CULVERT_PROXY_LOCAL_HTTP_PINNED_H
#define CULVERT_PROXY_LOCAL_HTTP_PINNED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "proxy/base/addr.h"
#include "proxy/base/stream.h"

/*
 * Tunnels whose TCP connection, and not each request on it, is authenticated:
 * by NTLM, or by Negotiate (RFC 4559). Such a tunnel is only for the client
 * that has authenticated it. This is the set of one client's tunnels that it
 * does not use at present, because its request is for another origin.
 */

/*
 * Tunnels of one client. A browser uses a connection to a proxy for one origin
 * or for a few in turn, and many edges allow 100 streams for all clients.
 */
#define PINNED_MAX 16

struct pinned {
	/* Private. */
	TAILQ_HEAD(, pinned_tunnel) tunnels; /* in the order of their use */
	size_t n;
	void (*on_lost)(void *arg);
	void *arg;
};

/*
 * `on_lost` fires, from inside an event of the stream, when the origin or QUIC
 * has ended one of them.
 */
void pinned_init(struct pinned *, void (*on_lost)(void *arg), void *arg);

/* Ends all tunnels. */
void pinned_fini(struct pinned *);

/*
 * Keeps the tunnel to `origin`, and takes over its stream. With `handshake`
 * the client has begun to authenticate it, and its next message must come on
 * this connection. When there are too many tunnels, the one that is unused for
 * longest is ended, and one in a handshake only if there are no others; when
 * memory runs out, this tunnel is ended.
 */
void pinned_put(struct pinned *, const struct target *origin, bool handshake,
    struct stream *);

/*
 * Moves the tunnel to `origin`, if there is one, to `stream`, for the caller to
 * take over at once. Returns whether there is one.
 */
bool pinned_take(struct pinned *, const struct target *origin,
    struct stream *stream);

/* Whether both are the same host and port. */
bool pinned_same_origin(const struct target *, const struct target *);

#endif
