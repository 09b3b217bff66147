/*
 * Sockets, clock and loop.
 *
 *   poll ──▶ on_readable ──▶ quic_socket_receive ──▶ quic_*_receive ──▶ events
 *   timer ─▶ on_timer ─────▶ quic_*_expire ──▶ events
 *   ... the other callbacks of this iteration ...
 *   prepare, before the loop sleeps ──▶ quic_*_write ──▶ quic_socket_send
 *
 * A client that migrates has a socket for each path (RFC 9000 §9). A train
 * leaves by the socket with its local address.
 *
 * The timer is a timerfd: libuv's timers have a resolution of 1 ms, and the
 * pacing of a fast path needs microseconds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/queue.h>
#include <sys/timerfd.h>

#include "quic/io.h"
#include "quic/socket.h"

/* Receive calls in an iteration, so that other handles get their share. */
#define RX_ROUNDS_MAX 4
#define RX_TIME_MAX 2000000 /* nanoseconds, after which no call follows */
/* Trains in an iteration: 4 MiB, for the same reason. */
#define TX_TRAINS_MAX 64
#define ERRORS_MAX 64 /* errors in an iteration */

/* While a socket has no room, timers may be late by this. */
#define BLOCKED_DELAY 1000000 /* nanoseconds */

/*
 * If a timer is late by this, the process was stopped or busy. Packets that
 * have arrived in the meantime are read first: the peer was not silent.
 */
#define LATE 10000000 /* nanoseconds */

#define NS_PER_S UINT64_C(1000000000)

/* A socket on the loop. Freed when its poll handle has closed. */
struct port {
	struct quic_io *io;
	struct quic_socket socket;
	uv_poll_t poll;
	LIST_ENTRY(port) entry; /* io->ports, until it is closed */
};

struct quic_io {
	uv_loop_t *loop;
	LIST_HEAD(, port) ports; /* the newest first */
	int timer_fd;
	uv_poll_t timer;
	uv_prepare_t prepare;
	/* Open ones, with those of ports; at 0 the io is freed. */
	unsigned handles;
	bool closing;

	struct sockaddr_storage remote; /* client: of all ports */
	struct quic_via via;		/* client: of all ports */

	struct quic_conn *conn;	    /* client */
	struct quic_server *server; /* server */
	void (*unreachable)(void *arg, int error);
	void *arg;

	/* The port that has no room for the train, or NULL. */
	struct port *blocked;
	uint64_t timer_at;    /* UINT64_MAX: it is not armed */
	bool timer_has_fired; /* and is readable until it is set again */

	uint8_t *rx_memory; /* for quic_socket_receive() */
	struct quic_gso gso;
};

uint64_t
quic_io_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- The connection or the server ---- */

static void
drive_receive(struct quic_io *io, const struct quic_rx *rx, size_t n,
    uint64_t now)
{
	if (io->server != NULL)
		quic_server_receive(io->server, rx, n, now);
	else if (io->conn != NULL)
		quic_conn_receive(io->conn, rx, n, now);
}

static void
drive_expire(struct quic_io *io, uint64_t now)
{
	if (io->server != NULL)
		quic_server_expire(io->server, now);
	else if (io->conn != NULL)
		quic_conn_expire(io->conn, now);
}

static bool
drive_write(struct quic_io *io, uint64_t now)
{
	if (io->server != NULL)
		return quic_server_write(io->server, &io->gso, now);
	return io->conn != NULL && quic_conn_write(io->conn, &io->gso, now);
}

static void
drive_too_big(struct quic_io *io, const struct quic_too_big *report,
    uint64_t now)
{
	if (io->server != NULL)
		quic_server_too_big(io->server, report, now);
	else if (io->conn != NULL)
		quic_conn_too_big(io->conn, report, now);
}

static uint64_t
drive_deadline(const struct quic_io *io)
{
	if (io->server != NULL)
		return quic_server_deadline(io->server);
	return io->conn != NULL ? quic_conn_deadline(io->conn) : UINT64_MAX;
}

/* ---- Ports ---- */

static bool
same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	return memcmp(a, b, quic_socket_len((const struct sockaddr *)a)) == 0;
}

/* The port for packets from `local`. NULL: it is closed. */
static struct port *
port_of(const struct quic_io *io, const struct sockaddr_storage *local)
{
	struct port *port;

	LIST_FOREACH(port, &io->ports, entry)
		if (!port->socket.connected ||
		    same_address(&port->socket.local, local))
			return port;
	return NULL;
}

/* Not the port of an old path, or of one that is being validated. */
static bool
is_in_use(const struct port *port)
{
	const struct quic_conn *conn = port->io->conn;

	return conn == NULL ||
	    same_address(&port->socket.local, &quic_conn_path(conn)->local);
}

/* ---- Receiving ---- */

static void
receive_all(struct port *port)
{
	struct quic_rx rx[QUIC_SOCKET_BATCH];
	struct quic_io *io = port->io;
	uint64_t until = quic_io_now() + RX_TIME_MAX;
	int n;

	for (int round = 0; round < RX_ROUNDS_MAX && !io->closing; round++) {
		n = quic_socket_receive(&port->socket, io->rx_memory, rx);
		if (n > 0)
			drive_receive(io, rx, (size_t)n, quic_io_now());
		if ((n < QUIC_SOCKET_BATCH && (n >= 0 || n == -EAGAIN)) ||
		    quic_io_now() > until)
			return;
	}
}

/* Errors of a path that is not in use do not matter. */
static void
read_errors(struct port *port)
{
	struct quic_io *io = port->io;
	struct quic_too_big report;
	int rv;

	for (int n = 0; n < ERRORS_MAX && !io->closing; n++) {
		rv = quic_socket_error(&port->socket, &report);
		if (rv == -EAGAIN)
			return;
		if (rv == 0 || !is_in_use(port))
			continue;
		if (rv == -EMSGSIZE)
			drive_too_big(io, &report, quic_io_now());
		else if (io->unreachable != NULL)
			io->unreachable(io->arg, rv);
	}
}

/* ---- Sending ---- */

static void on_readable(uv_poll_t *, int status, int events);

static void
set_blocked(struct quic_io *io, struct port *port)
{
	if (io->blocked == port)
		return;
	if (io->blocked != NULL)
		uv_poll_start(&io->blocked->poll, UV_READABLE, on_readable);
	if (port != NULL)
		uv_poll_start(&port->poll, UV_READABLE | UV_WRITABLE,
		    on_readable);
	io->blocked = port;
}

/*
 * Sends trains. True: there may be more, for the next iteration; or there is an
 * error to read first.
 */
static bool
flush(struct quic_io *io)
{
	uint64_t now = quic_io_now();
	struct port *port;
	int rv = 0;

	for (int n = 0; n < TX_TRAINS_MAX && rv == 0; n++) {
		if (io->blocked == NULL && !drive_write(io, now))
			return false;
		port = port_of(io, &io->gso.path.local);
		if (port != NULL)
			rv = quic_socket_send(&port->socket, &io->gso);
		if (rv == -EAGAIN) {
			set_blocked(io, port);
			return false;
		}
		set_blocked(io, NULL);
	}
	return true;
}

/* ---- The loop ---- */

/*
 * A timer that fires too early does no harm, and deadlines move with every
 * packet. So it is set only to an earlier time, and again after it has fired.
 * To set it also does what a read would: it is not readable any more.
 */
static void
arm_timer(struct quic_io *io, uint64_t at)
{
	struct itimerspec spec = { 0 };

	if (at >= io->timer_at && !io->timer_has_fired)
		return;
	io->timer_at = at;
	io->timer_has_fired = false;
	if (at != UINT64_MAX) {
		spec.it_value.tv_sec = (time_t)(at / NS_PER_S);
		spec.it_value.tv_nsec = (long)(at % NS_PER_S);
	}
	if (at == 0)
		spec.it_value.tv_nsec = 1; /* zero would disarm it */
	timerfd_settime(io->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void
on_prepare(uv_prepare_t *handle)
{
	struct quic_io *io = handle->data;
	uint64_t at;

	at = io->blocked == NULL && flush(io) ? 0 : drive_deadline(io);
	/* Pacing deadlines pass while a socket has no room: do not spin. */
	if (io->blocked != NULL && at < quic_io_now() + BLOCKED_DELAY)
		at = quic_io_now() + BLOCKED_DELAY;
	arm_timer(io, at);
}

static void
on_timer(uv_poll_t *handle, int status, int events)
{
	struct quic_io *io = handle->data;
	uint64_t at = io->timer_at;
	struct port *port;

	(void)status, (void)events;
	io->timer_has_fired = true;
	io->timer_at = UINT64_MAX;
	if (quic_io_now() > at + LATE)
		LIST_FOREACH(port, &io->ports, entry)
			receive_all(port);
	if (!io->closing)
		drive_expire(io, quic_io_now());
}

static void
on_readable(uv_poll_t *handle, int status, int events)
{
	struct port *port = handle->data;
	struct quic_io *io = port->io;

	/* libuv stops polling a socket that has an error: start again. */
	if (status < 0) {
		uv_poll_start(handle,
		    io->blocked == port ? UV_READABLE | UV_WRITABLE
					: UV_READABLE,
		    on_readable);
		read_errors(port);
	}
	if (io->closing)
		return;
	if (status < 0 || (events & UV_READABLE) != 0)
		receive_all(port);
	if (!io->closing && io->blocked == port && (events & UV_WRITABLE) != 0)
		flush(io);
}

/* ---- Closing ---- */

static void
io_free(struct quic_io *io)
{
	close(io->timer_fd);
	free(io->rx_memory);
	free(io);
}

static void
on_closed(uv_handle_t *handle)
{
	struct quic_io *io = handle->data;

	if (--io->handles == 0)
		io_free(io);
}

static void
on_port_closed(uv_handle_t *handle)
{
	struct port *port = handle->data;
	struct quic_io *io = port->io;

	quic_socket_close(&port->socket);
	free(port);
	if (--io->handles == 0)
		io_free(io);
}

/* Closes a socket. A train that waits for it is dropped. */
static void
port_close(struct port *port)
{
	if (port->io->blocked == port)
		set_blocked(port->io, NULL);
	LIST_REMOVE(port, entry);
	uv_close((uv_handle_t *)&port->poll, on_port_closed);
}

void
quic_io_close(struct quic_io *io)
{
	if (io == NULL || io->closing)
		return;
	/*
	 * The CONNECTION_CLOSEs of a server may be more than one iteration's.
	 */
	while (io->blocked == NULL && flush(io))
		continue;
	io->closing = true;
	io->conn = NULL;
	io->server = NULL;
	while (!LIST_EMPTY(&io->ports))
		port_close(LIST_FIRST(&io->ports));
	uv_close((uv_handle_t *)&io->timer, on_closed);
	uv_close((uv_handle_t *)&io->prepare, on_closed);
}

/* ---- Opening ---- */

/* Makes an io without its handles. On failure nothing is left. */
static int
io_alloc(struct quic_io **out, uv_loop_t *loop)
{
	struct quic_io *io = calloc(1, sizeof(*io));

	if (io == NULL)
		return -ENOMEM;
	io->loop = loop;
	io->timer_at = UINT64_MAX;
	LIST_INIT(&io->ports);
	io->rx_memory = malloc((size_t)QUIC_SOCKET_BATCH * QUIC_SOCKET_RX_SIZE);
	io->timer_fd = timerfd_create(CLOCK_MONOTONIC,
	    TFD_NONBLOCK | TFD_CLOEXEC);
	if (io->rx_memory == NULL || io->timer_fd < 0) {
		int rv = io->rx_memory == NULL ? -ENOMEM : -errno;
		if (io->timer_fd >= 0)
			close(io->timer_fd);
		free(io->rx_memory);
		free(io);
		return rv;
	}
	*out = io;
	return 0;
}

/* Takes a socket over. It is the newest port. */
static int
port_add(struct quic_io *io, const struct quic_socket *socket)
{
	struct port *port = calloc(1, sizeof(*port));
	int rv;

	if (port == NULL)
		return -ENOMEM;
	if ((rv = uv_poll_init(io->loop, &port->poll, socket->fd)) != 0) {
		free(port);
		return rv;
	}
	port->io = io;
	port->socket = *socket;
	port->poll.data = port;
	io->handles++;
	LIST_INSERT_HEAD(&io->ports, port, entry);
	uv_poll_start(&port->poll, UV_READABLE, on_readable);
	return 0;
}

/*
 * Makes an io with its first socket, which it takes over, or closes on failure.
 */
static int
io_new(struct quic_io **out, uv_loop_t *loop, struct quic_socket *socket)
{
	struct quic_io *io = NULL;
	int rv;

	if ((rv = io_alloc(&io, loop)) != 0) {
		quic_socket_close(socket);
		return rv;
	}
	if ((rv = port_add(io, socket)) != 0) {
		quic_socket_close(socket);
		io_free(io);
		return rv;
	}
	uv_poll_init(loop, &io->timer, io->timer_fd);
	uv_prepare_init(loop, &io->prepare);
	io->timer.data = io->prepare.data = io;
	io->handles += 2;
	uv_poll_start(&io->timer, UV_READABLE, on_timer);
	uv_prepare_start(&io->prepare, on_prepare);
	*out = io;
	return 0;
}

int
quic_io_connect(struct quic_io **out, uv_loop_t *loop,
    const struct sockaddr *remote, const struct quic_via *via,
    struct quic_path *path)
{
	struct quic_via any = { 0 };
	struct quic_socket socket;
	int rv;

	if (via == NULL)
		via = &any;
	if ((rv = quic_socket_connect(&socket, remote, via)) != 0 ||
	    (rv = io_new(out, loop, &socket)) != 0)
		return rv;
	(*out)->via = *via;
	memcpy(&(*out)->remote, remote, quic_socket_len(remote));
	path->local = socket.local;
	path->remote = (*out)->remote;
	return 0;
}

void
quic_io_start(struct quic_io *io, struct quic_conn *conn,
    void (*unreachable)(void *arg, int error), void *arg)
{
	io->conn = conn;
	io->unreachable = unreachable;
	io->arg = arg;
}

int
quic_io_listen(struct quic_io **out, uv_loop_t *loop,
    const struct sockaddr *addr, struct quic_server *server)
{
	struct quic_socket socket;
	int rv;

	if ((rv = quic_socket_bind(&socket, addr)) != 0 ||
	    (rv = io_new(out, loop, &socket)) != 0)
		return rv;
	(*out)->server = server;
	return 0;
}

/* ---- Migration ---- */

int
quic_io_new_path(const struct quic_io *io, struct quic_path *path)
{
	struct quic_socket socket;
	int rv = quic_socket_connect(&socket,
	    (const struct sockaddr *)&io->remote, &io->via);

	if (rv != 0)
		return rv;
	path->local = socket.local;
	path->remote = io->remote;
	quic_socket_close(&socket);
	return 0;
}

const struct quic_via *
quic_io_via(const struct quic_io *io)
{
	return &io->via;
}

bool
quic_io_path_is_down(const struct quic_io *io)
{
	const struct port *port = port_of(io, &quic_conn_path(io->conn)->local);

	return port == NULL || quic_socket_is_down(&port->socket);
}

void
quic_io_close_unused(struct quic_io *io)
{
	struct port *port, *next;

	for (port = LIST_FIRST(&io->ports); port != NULL; port = next) {
		next = LIST_NEXT(port, entry);
		if (!is_in_use(port))
			port_close(port);
	}
}

int
quic_io_migrate(struct quic_io *io, bool at_once)
{
	struct quic_path path = { .remote = io->remote };
	struct quic_socket socket;
	struct port *left;
	int rv;

	quic_io_close_unused(io);
	rv = quic_socket_connect(&socket, (const struct sockaddr *)&io->remote,
	    &io->via);
	if (rv != 0)
		return rv;
	if ((rv = port_add(io, &socket)) != 0) {
		quic_socket_close(&socket);
		return rv;
	}
	path.local = socket.local;
	left = port_of(io, &quic_conn_path(io->conn)->local);
	rv = quic_conn_migrate(io->conn, &path, at_once, quic_io_now());
	if (rv != 0)
		port_close(LIST_FIRST(&io->ports));
	if (left != NULL && (rv == 0 ? !at_once : rv == -EPERM))
		quic_socket_pin(&left->socket);
	return rv;
}

const struct sockaddr *
quic_io_local(const struct quic_io *io)
{
	const struct port *port = LIST_FIRST(&io->ports);

	return (const struct sockaddr *)&port->socket.local;
}
