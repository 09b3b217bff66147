#ifndef CULVERT_PROXY_CONTROL_CONTROL_H
#define CULVERT_PROXY_CONTROL_CONTROL_H

#include <jansson.h>
#include <uv.h>

/*
 * The control socket of a running culvert: HTTP/1.1 (RFC 9112) on a Unix
 * stream socket, one request a connection, answered in JSON.  culvertctl asks
 * here, and so can "curl --unix-socket".
 *
 *	GET /status		200 and the status object
 *	GET /tunnels		200 and the list of tunnels
 *	GET /mtu		200 and what is known of the path MTU
 *	POST /reprobe		200 and an empty object
 *	POST /reconnect		200 and an empty object
 *
 * Anything else is refused by its status and {"error": "a sentence"}: 404 and
 * 405 for what is not in that table, 400 for what is not HTTP, 431 for a head
 * over the limit, 500 when memory is out.
 */
struct control;

/* Bytes of a request's head: curl sends 100, and there is nothing to add. */
#define CONTROL_HEAD_MAX 8192

/*
 * Connections at once: a person or two and their monitoring.  Whoever comes
 * after them waits in the backlog until one of them is done.
 */
#define CONTROL_PEERS_MAX 16

/*
 * Milliseconds from accept to the last byte of the answer.  All of it happens
 * on this machine: who takes longer is stuck and is dropped without a word.
 */
#define CONTROL_TIMEOUT_MS 5000

/* Bytes of a sentence about an error, with its NUL; a path fits in. */
#define CONTROL_ERROR_MAX 256

/*
 * What is asked for.  None may be NULL, and none may call control_close().
 * The objects that are returned belong to the control socket from then on;
 * NULL means that there was no memory for one.
 */
struct control_events {
	json_t *(*status)(void *arg); /* see status_json() */
	json_t *(*tunnels)(void *arg); /* see status_tunnels() */
	json_t *(*mtu)(void *arg); /* see status_mtu() */
	void (*reconnect)(void *arg); /* see pool_reconnect() */
	void (*reprobe)(void *arg); /* see pool_reprobe() */
};

/*
 * Binds the socket and begins to answer.  Its file has mode 0600 from the
 * moment it exists, and peers of another user than ours or root are dropped
 * besides.  The file of a culvert that has died is replaced; every other file
 * stays as it is.  Keeps `events` and `arg`, copies `path`.
 *
 * Returns 0; or a negative errno with *control NULL and a sentence that names
 * the path in `error`, upon which the caller says it and exits:
 *	-EADDRINUSE	another culvert answers there
 *	-EEXIST		the file there is no socket
 *	-ENAMETOOLONG	no Unix socket can have that path
 *	others		of socket(2), bind(2), unlink(2) or malloc(3)
 */
int control_new(struct control **control, uv_loop_t *loop, const char *path,
    const struct control_events *events, void *arg,
    char error[CONTROL_ERROR_MAX]);

/*
 * Drops every peer, answered or not, and removes the socket's file if it is
 * still ours.  No event follows, and the memory goes when the loop has closed
 * the handles, so the loop must run on.  Call it once; NULL is a no-op.
 */
void control_close(struct control *control);

#endif
