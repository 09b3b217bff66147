/*
 * Accepts clients. It polls the sockets itself, since libuv's listeners accept
 * and drop clients when descriptors run out. Here accepting pauses: clients
 * wait in the kernel's queue until an open one has gone.
 *
 *   too many in total, or out of descriptors   all sockets pause
 *   too many at one address to listen on       that socket pauses
 *   too many from one source                   refused, REFUSED_MAX at once;
 *                                              the rest is reset
 */
#include "proxy/local/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proxy/base/addr.h"
#include "proxy/local/client.h"
#include "proxy/base/log.h"
#include "proxy/base/keyed_counter.h"
#include "proxy/base/tcp.h"
#include "proxy/base/malloc_trim.h"

/* Addresses: those of the configuration. */
#define SOCKETS_MAX (CONFIG_LISTEN_MAX + CONFIG_FORWARD_MAX)
#define BACKLOG 1024   /* clients in the kernel's queue, for bursts */
#define ACCEPTS_MAX 64 /* in one loop iteration, for fairness */
#define PAUSE_MS 100   /* until descriptors are tried again */

/* Milliseconds between two warnings: at a limit, each iteration pauses. */
#define WARN_INTERVAL_MS 10000

/*
 * Clients over the limit of their source that are being refused at once, of all
 * sources: a refusal takes a moment, and a flood must not fill the memory.
 */
#define REFUSED_MAX 256

/*
 * Descriptors that clients may not use: for the control socket's peers, and for
 * the socket of the next connection to the edge.
 */
#define DESCRIPTORS_RESERVED 24

struct socket {
	uv_poll_t poll;
	int fd;
	size_t open;		      /* clients of this address */
	const struct target *forward; /* of all of them; NULL: they say it */
	struct listener *listener;
};

struct listener {
	struct clients clients; /* first: on_closed finds the listener by it */
	struct socket sockets[SOCKETS_MAX];
	unsigned nsockets;
	struct keyed_counter sources; /* clients by source address */
	size_t nrefused; /* clients over the limit of their source */
	uv_timer_t pause;
	struct malloc_trim trim;
	unsigned handles; /* open, apart from those of clients */
	bool waiting;	  /* at least one socket pauses */
	bool paused;	  /* all sockets do */
	bool stopped, freeing;
	uint64_t warned_ms; /* last warning; 0: none */
};

static void on_readable(uv_poll_t *, int status, int events);

/* ---- Pauses ---- */

static void
resume(struct listener *l)
{
	if (l->stopped || !l->waiting)
		return;
	uv_timer_stop(&l->pause);
	l->waiting = l->paused = false;
	for (unsigned i = 0; i < l->nsockets; i++)
		uv_poll_start(&l->sockets[i].poll, UV_READABLE, on_readable);
}

static void
on_pause_over(uv_timer_t *timer)
{
	resume(timer->data);
}

static void
warn(struct listener *l, const char *what, const char *why)
{
	uint64_t now = uv_now(l->clients.loop);

	if (l->warned_ms != 0 && now - l->warned_ms <= WARN_INTERVAL_MS)
		return;
	log_warn("%s: %s", what, why);
	l->warned_ms = now;
}

/* Until a client has gone, or for PAUSE_MS. */
static void
pause_socket(struct socket *s, const char *why)
{
	struct listener *l = s->listener;

	warn(l, "no clients are accepted", why);
	l->waiting = true;
	uv_poll_stop(&s->poll);
	uv_timer_start(&l->pause, on_pause_over, PAUSE_MS, 0);
}

static void
pause_accepting(struct listener *l, const char *why)
{
	l->paused = true;
	for (unsigned i = 0; i < l->nsockets; i++)
		pause_socket(&l->sockets[i], why);
}

/* ---- Accepting ---- */

/* The lowest free descriptor: about as many are in use. */
static int
lowest_descriptor(const struct listener *l)
{
	int fd = fcntl(l->sockets[0].fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return fd;
}

static bool
is_short_of_descriptors(struct listener *l)
{
	uint64_t max = l->clients.limits->v[LIMIT_DESCRIPTORS].max;
	int lowest;

	if (l->clients.totals.open < max / 4)
		return false;
	lowest = lowest_descriptor(l);
	return limits_hit(l->clients.limits, LIMIT_DESCRIPTORS,
	    lowest >= 0 ? (uint64_t)lowest + DESCRIPTORS_RESERVED : max);
}

static bool
has_room(struct socket *s)
{
	struct listener *l = s->listener;

	if (limits_hit(l->clients.limits, LIMIT_CLIENTS,
		l->clients.totals.open))
		pause_accepting(l, "too many clients");
	else if (is_short_of_descriptors(l))
		pause_accepting(l, "out of file descriptors");
	else if (limits_hit(l->clients.limits, LIMIT_PER_LISTENER, s->open))
		pause_socket(s, "too many clients at one listener");
	else
		return true;
	return false;
}

/* Counts a new client. False: it cannot even be refused. */
static bool
count_client(struct listener *l, struct client_source *source)
{
	struct limits *limits = l->clients.limits;
	uint64_t max = limits->v[LIMIT_PER_SOURCE].max;
	char name[ADDR_SOURCE_STRLEN];
	int rv;

	rv = keyed_counter_take(&l->sources,
	    addr_source((struct sockaddr *)&source->peer, name),
	    max > 0 ? max : SIZE_MAX, &source->count);
	if (rv == -EDQUOT) {
		limits->v[LIMIT_PER_SOURCE].hits++;
		if (l->nrefused == REFUSED_MAX)
			return false;
		source->over_limit = true;
		l->nrefused++;
	} else if (rv != 0)
		return false;
	l->sockets[source->listener].open++;
	return true;
}

static void
uncount_client(struct listener *l, const struct client_source *source)
{
	keyed_counter_give(&l->sources, source->count);
	l->nrefused -= source->over_limit;
	l->sockets[source->listener].open--;
}

static void
add_client(struct socket *s, int fd, struct client_source *source)
{
	struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	struct listener *l = s->listener;

	if (!count_client(l, source)) {
		warn(l, "clients are being reset", "too many from one address");
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
	} else if (client_new(&l->clients, fd, source) != 0) {
		uncount_client(l, source);
		pause_accepting(l, "out of memory");
	}
}

/* Accepts one client. False: none is waiting, or accepting has paused. */
static bool
accept_one(struct socket *s)
{
	struct listener *l = s->listener;
	struct client_source source = { .listener = (unsigned)(s - l->sockets),
		.forward = s->forward };
	socklen_t len = sizeof(source.peer);
	int fd;

	if (!has_room(s))
		return false;
	fd = accept4(s->fd, (struct sockaddr *)&source.peer, &len,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		malloc_trim_busy(&l->trim);
		add_client(s, fd, &source);
		return true;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
	    errno == ENOMEM) {
		l->clients.limits->v[LIMIT_DESCRIPTORS].hits++;
		pause_accepting(l, "out of file descriptors");
	}
	return errno == ECONNABORTED || errno == EINTR;
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
	struct socket *s = poll->data;

	(void)status, (void)events;
	for (int i = 0; i < ACCEPTS_MAX && !s->listener->paused; i++)
		if (!accept_one(s))
			return;
}

int
listener_add(struct listener *l, const struct sockaddr *addr,
    const struct target *forward)
{
	struct socket *s = &l->sockets[l->nsockets];
	int on = 1, fd, rv = 0;

	if (l->nsockets == SOCKETS_MAX)
		return -ENOSPC;
	fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (addr->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	tcp_set_nodelay(fd); /* accepted sockets inherit them */
	if (bind(fd, addr, addr_len(addr)) != 0 || listen(fd, BACKLOG) != 0)
		rv = -errno;
	else
		rv = uv_poll_init(l->clients.loop, &s->poll, fd);
	if (rv != 0) {
		close(fd);
		return rv;
	}
	s->fd = fd;
	s->forward = forward;
	s->listener = l;
	s->poll.data = s;
	l->nsockets++;
	l->handles++;
	return uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

size_t
listener_addresses(const struct listener *l, struct sockaddr_storage *out,
    size_t max)
{
	socklen_t len;
	size_t i;

	for (i = 0; i < l->nsockets && i < max; i++) {
		len = sizeof(out[i]);
		if (getsockname(l->sockets[i].fd, (struct sockaddr *)&out[i],
			&len) != 0)
			break;
	}
	return i;
}

/* ---- Life ---- */

static void
free_if_done(struct listener *l)
{
	if (!l->freeing || l->handles > 0 || !LIST_EMPTY(&l->clients.list))
		return;
	liveness_close(l->clients.liveness);
	free(l);
}

static void
on_closed(struct clients *clients, const struct client_source *source)
{
	struct listener *l = (struct listener *)clients;

	uncount_client(l, source);
	resume(l);
	if (l->clients.totals.open == 0)
		malloc_trim_quiet(&l->trim);
	free_if_done(l);
}

int
listener_new(struct listener **out, uv_loop_t *loop,
    const struct routes *routes, struct users *users, struct limits *limits)
{
	struct listener *l = calloc(1, sizeof(*l));
	struct rlimit limit;
	int rv;

	if (l == NULL)
		return -ENOMEM;
	if ((rv = liveness_new(&l->clients.liveness, loop)) != 0) {
		free(l);
		return rv;
	}
	l->clients.loop = loop;
	l->clients.routes = routes;
	l->clients.users = users;
	l->clients.limits = limits;
	l->clients.on_closed = on_closed;
	LIST_INIT(&l->clients.list);
	getrlimit(RLIMIT_NOFILE, &limit);
	limits->v[LIMIT_DESCRIPTORS].max = limit.rlim_cur < INT_MAX
	    ? limit.rlim_cur
	    : INT_MAX;
	uv_timer_init(loop, &l->pause);
	malloc_trim_init(&l->trim, loop);
	l->pause.data = l->trim.timer.data = l;
	l->handles = 2;
	*out = l;
	return 0;
}

static void
on_socket_closed(uv_handle_t *handle)
{
	struct socket *s = handle->data;
	struct listener *l = s->listener;

	close(s->fd);
	l->handles--;
	free_if_done(l);
}

static void
on_timer_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	l->handles--;
	free_if_done(l);
}

void
listener_set_users(struct listener *l, struct users *users)
{
	l->clients.users = users;
}

void
listener_set_via(struct listener *l, bool via)
{
	l->clients.via = via;
}

void
listener_stop(struct listener *l)
{
	if (l->stopped)
		return;
	l->stopped = true;
	for (size_t i = 0; i < l->nsockets; i++)
		uv_close((uv_handle_t *)&l->sockets[i].poll, on_socket_closed);
	uv_close((uv_handle_t *)&l->pause, on_timer_closed);
	malloc_trim_close(&l->trim, on_timer_closed);
}

void
listener_free(struct listener *l, const char *reason)
{
	if (l == NULL || l->freeing)
		return;
	listener_stop(l);
	l->freeing = true;
	clients_close(&l->clients, reason);
	free_if_done(l);
}

/* ---- Statistics ---- */

void
listener_totals(const struct listener *l, struct client_totals *totals)
{
	*totals = l->clients.totals;
	totals->bytes_up = l->clients.traffic.up;
	totals->bytes_down = l->clients.traffic.down;
}

bool
listener_is_busy(const struct listener *l)
{
	return clients_are_busy(&l->clients);
}

void
listener_update_limits(struct listener *l)
{
	struct limits *limits = l->clients.limits;
	const char *name;
	uint64_t fullest = 0;
	int lowest;

	for (unsigned i = 0; i < l->nsockets; i++)
		if (l->sockets[i].open > fullest)
			fullest = l->sockets[i].open;
	lowest = l->nsockets > 0 && !l->stopped ? lowest_descriptor(l) : -1;
	limits->v[LIMIT_CLIENTS].use = l->clients.totals.open;
	limits->v[LIMIT_PER_LISTENER].use = fullest;
	limits->v[LIMIT_PER_SOURCE].use = keyed_counter_top(&l->sources, &name);
	limits->v[LIMIT_DESCRIPTORS].use = lowest >= 0 ? (uint64_t)lowest : 0;
}

void
listener_top(struct listener *l,
    void (*each)(void *arg, const struct client_info *), void *arg)
{
	clients_top(&l->clients, each, arg);
}

void
listener_each(const struct listener *l,
    void (*each)(void *arg, const struct client_info *), void *arg)
{
	clients_each(&l->clients, each, arg);
}
