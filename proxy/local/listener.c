/*
 * Accepting. The sockets are polled and not libuv's listeners, since those
 * accept and drop clients when descriptors run out. Here accepting pauses: the
 * clients wait in the kernel's queue until one that is here has gone.
 */
#include "proxy/local/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "proxy/addr.h"
#include "proxy/local/client.h"
#include "proxy/log.h"
#include "proxy/trim.h"

#define SOCKETS_MAX 16	 /* addresses: those of the configuration */
#define BACKLOG 1024	 /* clients in the kernel's queue, for bursts */
#define ACCEPTS_MAX 64	 /* a turn of the loop: then others have their say */
#define PAUSE_MS 100	 /* until descriptors are tried again */

/* Milliseconds between two warnings: a full house pauses at every turn. */
#define WARN_INTERVAL_MS 10000

/*
 * Descriptors that clients leave to the rest of us: the control socket's
 * peers, and the socket of the next connection to the edge.
 */
#define RESERVE 24

struct socket {
	uv_poll_t poll;
	int fd;
	struct listener *listener;
};

struct listener {
	struct client_host host; /* first: on_gone finds us by it */
	struct socket sockets[SOCKETS_MAX];
	size_t nsockets;
	uv_timer_t pause;
	struct trim trim;
	unsigned handles; /* of ours; and the clients must be gone, too */
	bool stopped, paused, freeing;
	uint64_t warned_ms; /* 0: not yet */
	int descriptors_max; /* that the system lets us have */
};

static void on_readable(uv_poll_t *, int status, int events);

static void
set_paused(struct listener *l, bool paused)
{
	l->paused = paused;
	for (size_t i = 0; i < l->nsockets && !l->stopped; i++) {
		if (paused)
			uv_poll_stop(&l->sockets[i].poll);
		else
			uv_poll_start(&l->sockets[i].poll, UV_READABLE,
			    on_readable);
	}
}

static void
on_pause_over(uv_timer_t *timer)
{
	set_paused(timer->data, false);
}

static void
pause_accepting(struct listener *l, const char *why)
{
	uint64_t now = uv_now(l->host.loop);

	if (l->paused)
		return;
	if (l->warned_ms == 0 || now - l->warned_ms > WARN_INTERVAL_MS) {
		log_warn("accepting pauses: %s", why);
		l->warned_ms = now;
	}
	set_paused(l, true);
	uv_timer_start(&l->pause, on_pause_over, PAUSE_MS, 0);
}

/* The lowest free descriptor tells how many are in use. */
static bool
is_short_of_descriptors(const struct listener *l, int fd)
{
	int lowest;

	if (l->host.totals.open < (size_t)l->descriptors_max / 4)
		return false;
	lowest = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (lowest >= 0)
		close(lowest);
	return lowest < 0 || lowest >= l->descriptors_max - RESERVE;
}

/* Accepts one client. False: nobody is there, or we cannot. */
static bool
accept_one(struct socket *s)
{
	struct listener *l = s->listener;
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	int fd;

	if (l->host.totals.open >= LISTENER_CLIENTS_MAX) {
		pause_accepting(l, "too many clients");
		return false;
	}
	if (is_short_of_descriptors(l, s->fd)) {
		pause_accepting(l, "out of file descriptors");
		return false;
	}
	fd = accept4(s->fd, (struct sockaddr *)&peer, &len,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM)
			pause_accepting(l, "out of file descriptors");
		return errno == ECONNABORTED || errno == EINTR;
	}
	trim_busy(&l->trim);
	if (client_new(&l->host, fd, (struct sockaddr *)&peer) != 0)
		pause_accepting(l, "out of memory");
	return true;
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
listener_add(struct listener *l, const struct sockaddr *addr)
{
	struct socket *s = &l->sockets[l->nsockets];
	int on = 1, fd, rv = 0;

	if (l->nsockets == SOCKETS_MAX)
		return -ENOSPC;
	fd = socket(addr->sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (addr->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	relay_socket_options(fd); /* for the clients: they inherit it */
	if (bind(fd, addr, addr_len(addr)) != 0 || listen(fd, BACKLOG) != 0)
		rv = -errno;
	else
		rv = uv_poll_init(l->host.loop, &s->poll, fd);
	if (rv != 0) {
		close(fd);
		return rv;
	}
	s->fd = fd;
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
	if (l->freeing && l->handles == 0 && LIST_EMPTY(&l->host.clients))
		free(l);
}

static void
on_gone(struct client_host *host)
{
	struct listener *l = (struct listener *)host;

	if (l->paused && !l->stopped) {
		uv_timer_stop(&l->pause);
		set_paused(l, false);
	}
	if (l->host.totals.open == 0)
		trim_quiet(&l->trim);
	free_if_done(l);
}

int
listener_new(struct listener **out, uv_loop_t *loop, struct uplink *uplink,
    struct users *users)
{
	struct listener *l = calloc(1, sizeof(*l));
	struct rlimit limit;

	if (l == NULL)
		return -ENOMEM;
	l->host.loop = loop;
	l->host.uplink = uplink;
	l->host.users = users;
	l->host.on_gone = on_gone;
	LIST_INIT(&l->host.clients);
	getrlimit(RLIMIT_NOFILE, &limit);
	l->descriptors_max = limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur
						      : INT_MAX;
	uv_timer_init(loop, &l->pause);
	trim_init(&l->trim, loop);
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
	l->host.users = users;
}

void
listener_stop(struct listener *l)
{
	if (l->stopped)
		return;
	l->stopped = true;
	for (size_t i = 0; i < l->nsockets; i++)
		uv_close((uv_handle_t *)&l->sockets[i].poll,
		    on_socket_closed);
	uv_close((uv_handle_t *)&l->pause, on_timer_closed);
	trim_close(&l->trim, on_timer_closed);
}

void
listener_free(struct listener *l, const char *reason)
{
	if (l == NULL || l->freeing)
		return;
	listener_stop(l);
	l->freeing = true;
	clients_close(&l->host, reason);
	free_if_done(l);
}

/* ---- Looking at it ---- */

static void
add_bytes(void *arg, const struct tunnel_info *info)
{
	struct listener_totals *totals = arg;

	totals->bytes_up += info->bytes_up;
	totals->bytes_down += info->bytes_down;
}

void
listener_totals(const struct listener *l, struct listener_totals *totals)
{
	*totals = l->host.totals;
	listener_each(l, add_bytes, totals);
}

bool
listener_is_busy(const struct listener *l)
{
	return clients_are_busy(&l->host);
}

void
listener_each(const struct listener *l,
    void (*each)(void *arg, const struct tunnel_info *), void *arg)
{
	clients_each(&l->host, each, arg);
}
