#ifndef CULVERT_PROXY_CONTROL_CONTROL_H
#define CULVERT_PROXY_CONTROL_CONTROL_H

#include <jansson.h>
#include <uv.h>

#include "proxy/base/addr.h"

/*
 * proxy/control is the interface for administrators: the control socket, its
 * client, and the reports that culvertctl prints.  Only the programs culvert
 * and culvertctl use it.  It uses proxy/base and proxy/http1, and knows nothing
 * of the proxy itself: the answers come from the events below.
 *
 * The control socket of a running culvert: HTTP/1.1 (RFC 9112) on a Unix
 * stream socket, one request per connection, with an answer in JSON.  Clients
 * are culvertctl and programs such as "curl --unix-socket".
 *
 *	GET /status		200 and the status object
 *	GET /tunnels		200 and the list of tunnels
 *	GET /mtu		200 and the state of path MTU discovery
 *	GET /route?HOST:PORT	200 and the rule for that target
 *	POST /reprobe		200 and an empty object
 *	POST /reconnect		200 and an empty object
 *
 * The answer to anything else is an error status and {"error": "a sentence"}:
 * 404 for another path, 405 for another method, 400 for malformed HTTP, 431 for
 * a head over the limit, 500 if memory is exhausted.
 */
struct control;

/* Bytes of a request's head: curl sends 100. */
#define CONTROL_HEAD_MAX 8192

/*
 * Connections at once: one or two people and their monitoring.  Further ones
 * wait in the backlog until one of these closes.
 */
#define CONTROL_PEERS_MAX 16

/*
 * Milliseconds from accept to the last byte of the answer.  Peers are on this
 * machine: a slower one hangs, and its connection is closed without an answer.
 */
#define CONTROL_TIMEOUT_MS 5000

/* Bytes of an error text, with its NUL; includes a path. */
#define CONTROL_ERROR_MAX 256

/*
 * Handlers of the requests.  None may be NULL, and none may call
 * control_close().  The control socket becomes the owner of the returned
 * objects; NULL means that memory is exhausted.
 */
struct control_events {
	json_t *(*status)(void *arg);  /* see status_json() */
	json_t *(*tunnels)(void *arg); /* see status_tunnels() */
	json_t *(*mtu)(void *arg);     /* see status_mtu() */
	json_t *(*route)(void *arg, const struct target *target);
	void (*reconnect)(void *arg); /* see pool_reconnect() */
	void (*reprobe)(void *arg);   /* see pool_reprobe() */
};

/*
 * Binds the socket and begins to serve.  Its file has mode 0600 from the
 * moment it exists; in addition, peers of a user other than ours or root are
 * closed.  A stale socket of a dead culvert is replaced; any other file is left
 * alone.  Keeps `events` and `arg`, copies `path`.
 *
 * Returns 0; or a negative errno with *control NULL and in `error` a sentence
 * that names the path, for the caller to log:
 *	-EADDRINUSE	another culvert answers there
 *	-EEXIST		the file is not a socket
 *	-ENAMETOOLONG	the path is too long for a Unix socket
 *	others		of socket(2), bind(2), unlink(2) or malloc(3)
 */
int control_new(struct control **control, uv_loop_t *loop, const char *path,
    const struct control_events *events, void *arg,
    char error[CONTROL_ERROR_MAX]);

/*
 * Closes all connections, answered or not, and removes the socket's file if it
 * is still ours.  No event follows.  The memory is freed when the loop has
 * closed the handles.  Call it once; NULL is a no-op.
 */
void control_close(struct control *control);

#endif
