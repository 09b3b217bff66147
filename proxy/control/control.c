/*
 * The control socket: a listener and a fixed number of peers, each of which
 * serves one request.
 *
 *	free ──accept──▶ reading ──a whole head, or an error──▶ writing
 *	  ▲                 │                                      │
 *	  └──handles closed─┴──EOF, time-out, control_close()──────┘ sent
 *
 * The peers are members of struct control, so that only the limit can make
 * taking one fail.  If none is free, libuv keeps the connection, stops
 * accepting, and continues once uv_accept() takes it.
 *
 * nhandles counts the open handles, and the last one that closes frees the
 * memory; until control_close() the listener is one of them.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/control/control.h"
#include "proxy/base/control_path.h"
#include "proxy/http1/http1.h"
#include "proxy/base/privsep.h"

/* Seconds that another culvert has to answer before its socket is stale. */
#define PROBE_TIMEOUT_S 1

/* Bytes of an answer's head with its NUL; it contains no foreign text. */
#define ANSWER_HEAD_SIZE 256

/* Digits of a number: without a limit 23.4 becomes 23.399999999999999. */
#define ANSWER_FORMAT (JSON_COMPACT | JSON_REAL_PRECISION(15))

/* Of a target without one. */
#define DEFAULT_PORT 443

struct peer {
	struct control *control;
	uv_pipe_t pipe;
	uv_timer_t timer;
	unsigned nhandles; /* open; 0: this peer is free */
	bool closing;

	char in[CONTROL_HEAD_MAX];
	size_t inlen, scanned;

	uv_write_t write;
	char head[ANSWER_HEAD_SIZE];
	char *body;
};

struct control {
	const struct control_events *events;
	void *arg;
	uv_pipe_t listener;
	unsigned nhandles; /* open ones, those of the peers included */
	bool closing;
	bool waiting; /* there is a connection without a free peer */
	struct sockaddr_un address;
	struct stat file; /* of the socket, to recognise it later */
	struct peer peers[CONTROL_PEERS_MAX];
};

/* ---- Closing ---- */

static void
release(struct control *control)
{
	if (--control->nhandles == 0)
		free(control);
}

static void accept_peer(struct control *);

static void
on_peer_closed(uv_handle_t *handle)
{
	struct peer *peer = handle->data;
	struct control *control = peer->control;

	if (--peer->nhandles == 0) {
		free(peer->body);
		peer->body = NULL;
		if (control->waiting && !control->closing)
			accept_peer(control);
	}
	release(control);
}

static void
peer_close(struct peer *peer)
{
	if (peer->closing || peer->nhandles == 0)
		return;
	peer->closing = true;
	uv_close((uv_handle_t *)&peer->timer, on_peer_closed);
	uv_close((uv_handle_t *)&peer->pipe, on_peer_closed);
}

/* ---- Answers ---- */

static void
on_written(uv_write_t *request, int status)
{
	(void)status;
	peer_close(request->data);
}

/* Sends the answer and then closes. Releases the object. */
static void
answer(struct peer *peer, int status, const char *fields, json_t *object)
{
	uv_buf_t bufs[2];
	size_t len;

	uv_read_stop((uv_stream_t *)&peer->pipe);
	peer->body = object != NULL ? json_dumps(object, ANSWER_FORMAT) : NULL;
	json_decref(object);
	if (peer->body == NULL)
		status = 500;
	bufs[1] = uv_buf_init(peer->body,
	    peer->body != NULL ? (unsigned)strlen(peer->body) : 0);
	len = http1_own_response(peer->head, sizeof(peer->head), status,
	    "application/json", bufs[1].len, fields);
	bufs[0] = uv_buf_init(peer->head, (unsigned)len);
	peer->write.data = peer;
	if (uv_write(&peer->write, (uv_stream_t *)&peer->pipe, bufs, 2,
		on_written) != 0)
		peer_close(peer);
}

static void
refuse(struct peer *peer, int status, const char *fields, const char *why)
{
	answer(peer, status, fields, json_pack("{s:s}", "error", why));
}

static json_t *
get_status(struct control *control, const struct target *target)
{
	(void)target;
	return control->events->status(control->arg);
}

static json_t *
get_tunnels(struct control *control, const struct target *target)
{
	(void)target;
	return control->events->tunnels(control->arg);
}

static json_t *
get_mtu(struct control *control, const struct target *target)
{
	(void)target;
	return control->events->mtu(control->arg);
}

static json_t *
get_route(struct control *control, const struct target *target)
{
	return control->events->route(control->arg, target);
}

static json_t *
post_reprobe(struct control *control, const struct target *target)
{
	(void)target;
	control->events->reprobe(control->arg);
	return json_object();
}

static json_t *
post_reconnect(struct control *control, const struct target *target)
{
	(void)target;
	control->events->reconnect(control->arg);
	return json_object();
}

static const struct resource {
	const char *path;
	const char *method;
	const char *allow; /* the field that a 405 needs (RFC 9110 15.5.6) */
	json_t *(*serve)(struct control *control, const struct target *target);
	bool has_target; /* after a question mark; else it is zero */
} resources[] = {
	{ "/status", "GET", "Allow: GET\r\n", get_status, false },
	{ "/tunnels", "GET", "Allow: GET\r\n", get_tunnels, false },
	{ "/mtu", "GET", "Allow: GET\r\n", get_mtu, false },
	{ "/route", "GET", "Allow: GET\r\n", get_route, true },
	{ "/reprobe", "POST", "Allow: POST\r\n", post_reprobe, false },
	{ "/reconnect", "POST", "Allow: POST\r\n", post_reconnect, false },
};

static const struct resource *
find_resource(const struct http1_request *request, struct slice path)
{
	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
		if (request->form == HTTP1_ORIGIN &&
		    slice_is(path, resources[i].path))
			return &resources[i];
	}
	return NULL;
}

static void
serve(struct peer *peer, const struct http1_request *request)
{
	struct slice query = request->path, path = slice_cut(&query, '?');
	const struct resource *resource = find_resource(request, path);
	struct target target = { .port = 0 };

	if (resource == NULL || (!resource->has_target && query.len > 0))
		refuse(peer, 404, "", "unknown path");
	else if (!slice_is(request->method, resource->method))
		refuse(peer, 405, resource->allow,
		    "this path requires another method");
	else if (resource->has_target &&
	    target_parse(&target, query.p, query.len, DEFAULT_PORT) != 0)
		refuse(peer, 400, "",
		    "the target is not HOST or HOST:PORT; an IPv6 address "
		    "needs brackets");
	else
		answer(peer, 200, "", resource->serve(peer->control, &target));
}

/* ---- Peers ---- */

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct peer *peer = handle->data;

	(void)suggested;
	buf->base = peer->in + peer->inlen;
	buf->len = sizeof(peer->in) - peer->inlen;
}

static void
on_read(uv_stream_t *pipe, ssize_t n, const uv_buf_t *buf)
{
	struct peer *peer = pipe->data;
	struct http1_request request;
	int len;

	(void)buf;
	if (n < 0) {
		peer_close(peer);
		return;
	}
	peer->inlen += (size_t)n;
	len = http1_request_parse(&request, peer->in, peer->inlen,
	    &peer->scanned);
	if (len > 0)
		serve(peer, &request);
	else if (len < 0)
		refuse(peer, http1_error_status(len), "", request.head.why);
	else if (peer->inlen == sizeof(peer->in))
		refuse(peer, 431, "", "the head is too long");
}

static void
on_timeout(uv_timer_t *timer)
{
	peer_close(timer->data);
}

/* The mode of the file keeps other users out, but it may be changed. */
static bool
is_authorized(const struct peer *peer)
{
	struct ucred ucred;
	socklen_t size = sizeof(ucred);
	uv_os_fd_t fd;

	if (uv_fileno((const uv_handle_t *)&peer->pipe, &fd) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &size) != 0)
		return false;
	return ucred.uid == 0 || ucred.uid == geteuid();
}

static struct peer *
free_peer(struct control *control)
{
	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++) {
		if (control->peers[i].nhandles == 0)
			return &control->peers[i];
	}
	return NULL;
}

static void
peer_start(struct peer *peer, struct control *control)
{
	peer->control = control;
	peer->closing = false;
	peer->inlen = peer->scanned = 0;
	uv_pipe_init(control->listener.loop, &peer->pipe, 0);
	uv_timer_init(control->listener.loop, &peer->timer);
	peer->pipe.data = peer->timer.data = peer;
	peer->nhandles = 2;
	control->nhandles += 2;
}

static void
accept_peer(struct control *control)
{
	struct peer *peer = free_peer(control);

	control->waiting = peer == NULL;
	if (peer == NULL)
		return;
	peer_start(peer, control);
	if (uv_accept((uv_stream_t *)&control->listener,
		(uv_stream_t *)&peer->pipe) != 0 ||
	    !is_authorized(peer) ||
	    uv_timer_start(&peer->timer, on_timeout, CONTROL_TIMEOUT_MS, 0) !=
		0 ||
	    uv_read_start((uv_stream_t *)&peer->pipe, on_alloc, on_read) != 0)
		peer_close(peer);
}

static void
on_connection(uv_stream_t *listener, int status)
{
	if (status == 0)
		accept_peer(listener->data);
}

/* ---- The listener ---- */

/* Only the owner may connect, from the moment that the file exists. */
static int
bind_private(int fd, const struct sockaddr_un *address)
{
	mode_t mask = umask(0177);
	int error = bind(fd, (const struct sockaddr *)address,
			sizeof(*address)) == 0
	    ? 0
	    : -errno;

	umask(mask);
	return error;
}

/* Removes the stale socket of a dead culvert, and nothing else. */
static int
remove_stale(const char *path)
{
	struct stat file;
	int fd;

	if (lstat(path, &file) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(file.st_mode))
		return -EEXIST;
	fd = control_path_connect(path, PROBE_TIMEOUT_S);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || fd == -EAGAIN)
		return -EADDRINUSE;
	if (fd != -ECONNREFUSED && fd != -ENOENT)
		return fd;
	return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int
bind_path(int fd, const struct sockaddr_un *address)
{
	int error = bind_private(fd, address);

	if (error != -EADDRINUSE)
		return error;
	error = remove_stale(address->sun_path);
	return error != 0 ? error : bind_private(fd, address);
}

/* Hands the listening socket to the loop; closes it on failure. */
static int
listen_on(struct control *control, uv_loop_t *loop, int fd)
{
	int error;

	uv_pipe_init(loop, &control->listener, 0);
	control->listener.data = control;
	control->nhandles = 1;
	error = uv_pipe_open(&control->listener, fd);
	if (error != 0) {
		close(fd);
		return error;
	}
	return uv_listen((uv_stream_t *)&control->listener, CONTROL_PEERS_MAX,
	    on_connection);
}

static int
open_socket(struct control *control, uv_loop_t *loop)
{
	int fd, error;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	error = bind_path(fd, &control->address);
	if (error != 0) {
		close(fd);
		return error;
	}
	if (lstat(control->address.sun_path, &control->file) != 0)
		memset(&control->file, 0, sizeof(control->file));
	return listen_on(control, loop, fd);
}

static int
explain(int error, const char *path, char text[CONTROL_ERROR_MAX])
{
	const char *why = strerror(-error);

	if (error == -EADDRINUSE)
		why = "another culvert is using it";
	else if (error == -EEXIST)
		why = "a file that is not a socket is in the way";
	else if (error == -ENAMETOOLONG)
		why = "the path is too long for a socket";
	snprintf(text, CONTROL_ERROR_MAX, "control socket %s: %s", path, why);
	return error;
}

int
control_new(struct control **result, uv_loop_t *loop, const char *path,
    const struct control_events *events, void *arg,
    char text[CONTROL_ERROR_MAX])
{
	struct control *control = calloc(1, sizeof(*control));
	int error;

	*result = NULL;
	if (control == NULL)
		return explain(-ENOMEM, path, text);
	control->events = events;
	control->arg = arg;
	error = control_path_address(path, &control->address);
	if (error == 0)
		error = open_socket(control, loop);
	if (error == 0)
		*result = control;
	else if (control->nhandles == 0)
		free(control);
	else
		control_close(control);
	return error == 0 ? 0 : explain(error, path, text);
}

static void
on_listener_closed(uv_handle_t *handle)
{
	release(handle->data);
}

void
control_close(struct control *control)
{
	if (control == NULL || control->closing)
		return;
	control->closing = true;
	/* Unless another file has replaced it. */
	(void)privsep_remove(control->address.sun_path, &control->file);
	uv_close((uv_handle_t *)&control->listener, on_listener_closed);
	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++)
		peer_close(&control->peers[i]);
}
