#include "proxy/base/liveness.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

const char liveness_failed[] = "the TCP side failed";
const char liveness_silent[] = "the TCP peer does not respond";

/* Sockets handled in one call; the rest follows in the next iteration. */
#define BATCH_MAX 64

/* Unanswered keep-alive probes after which the kernel reports an error. */
#define KEEPALIVE_PROBES 4
/*
 * The interval between two of them is this fraction of the time-out. A socket
 * is idle for three of eight before the first one: it is up to one old when
 * keep-alive is turned on, and four are for the probes.
 */
#define KEEPALIVE_PARTS 8
#define KEEPALIVE_IDLE_PARTS 3

/* The least interval between two checks of a socket. */
#define CHECK_MIN_MS 500

/*
 * Unanswered probes of a closed window that mean silence. One may be lost, and
 * it is not repeated soon.
 */
#define WINDOW_PROBES 2

/* Seconds: the kernel's limit for TCP_KEEPIDLE and TCP_KEEPINTVL. */
#define KEEPALIVE_MAX 32767

/*
 * Since Linux 6.15: the longest pause between two retransmissions, or between
 * two probes of a closed window, in milliseconds from 1000 to 120000.
 */
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif
#define RTO_MAX_LEAST 1000
#define RTO_MAX_MOST 120000

struct liveness {
	uv_poll_t poll; /* of `epoll`, which polls all sockets for errors */
	uv_timer_t timer;
	unsigned handles; /* poll and timer */
	int epoll;
	unsigned timeout_s;
	TAILQ_HEAD(, liveness_watch) watches;
};

/* ---- Errors ---- */

static void
on_errors(uv_poll_t *poll, int status, int events)
{
	struct liveness *l = poll->data;
	struct epoll_event found[BATCH_MAX];
	struct liveness_watch *w;
	int n = epoll_wait(l->epoll, found, BATCH_MAX, 0);

	(void)status, (void)events;
	for (int i = 0; i < n; i++) {
		w = found[i].data.ptr;
		/* A handler in this batch may have ended this watch. */
		if (w->liveness != NULL && (found[i].events & EPOLLERR) != 0)
			w->on_gone(w, liveness_failed);
	}
}

/* ---- Keep-alive ---- */

static void
set(int fd, int option, unsigned value)
{
	int n = (int)value;

	setsockopt(fd, IPPROTO_TCP, option, &n, sizeof(n));
}

static unsigned
within(unsigned value, unsigned least, unsigned most)
{
	return value < least ? least : value < most ? value : most;
}

/*
 * These are five system calls, so only sockets get them that are open at their
 * first check: most of a busy proxy's are not.
 */
static void
set_options(int fd, unsigned timeout_s)
{
	unsigned interval = timeout_s / KEEPALIVE_PARTS;
	int on = 1;

	set(fd, TCP_KEEPIDLE,
	    within(timeout_s * KEEPALIVE_IDLE_PARTS / KEEPALIVE_PARTS, 1,
		KEEPALIVE_MAX));
	set(fd, TCP_KEEPINTVL, within(interval, 1, KEEPALIVE_MAX));
	set(fd, TCP_KEEPCNT, KEEPALIVE_PROBES);
	set(fd, TCP_RTO_MAX_MS,
	    within(interval, RTO_MAX_LEAST / 1000, RTO_MAX_MOST / 1000) * 1000);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

/* ---- Silence ---- */

static uint64_t
period_ms(const struct liveness *l)
{
	uint64_t ms = UINT64_C(1000) * l->timeout_s / KEEPALIVE_PARTS;

	return ms > CHECK_MIN_MS ? ms : CHECK_MIN_MS;
}

/*
 * Aligns all checks to multiples of the period, so that an idle process wakes
 * up once per period.
 */
static void
schedule(struct liveness *l, struct liveness_watch *w)
{
	uint64_t period = period_ms(l), now = uv_now(l->timer.loop);

	w->due_ms = (now / period + 1) * period;
	TAILQ_INSERT_TAIL(&l->watches, w, entry);
}

static bool
is_silent(const struct liveness *l, int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
		return false;
	return info.tcpi_last_ack_recv >= UINT64_C(1000) * l->timeout_s &&
	    (info.tcpi_unacked > 0 || info.tcpi_probes >= WINDOW_PROBES);
}

static void on_timer(uv_timer_t *);

/* At least one millisecond: libuv may run a timer of 0 in an endless loop. */
static void
arm(struct liveness *l)
{
	const struct liveness_watch *w = TAILQ_FIRST(&l->watches);
	uint64_t now = uv_now(l->timer.loop);

	if (w == NULL)
		uv_timer_stop(&l->timer);
	else
		uv_timer_start(&l->timer, on_timer,
		    w->due_ms > now ? w->due_ms - now : 1, 0);
}

static void
on_timer(uv_timer_t *timer)
{
	struct liveness *l = timer->data;
	struct liveness_watch *w;

	for (int i = 0; i < BATCH_MAX; i++) {
		w = TAILQ_FIRST(&l->watches);
		if (w == NULL || w->due_ms > uv_now(timer->loop))
			break;
		TAILQ_REMOVE(&l->watches, w, entry);
		schedule(l, w);
		if (!w->has_options)
			set_options(w->fd, l->timeout_s);
		w->has_options = true;
		if (is_silent(l, w->fd))
			w->on_gone(w, liveness_silent);
	}
	arm(l);
}

/* ---- The sockets ---- */

/* epoll(7) always reports errors; with EPOLLET it does so once. */
void
liveness_watch(struct liveness *l, struct liveness_watch *w, int fd,
    unsigned timeout_s)
{
	struct epoll_event event = { .events = EPOLLET, .data.ptr = w };

	l->timeout_s = timeout_s;
	w->liveness = l;
	w->has_options = false;
	w->fd = fd;
	epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &event);
	schedule(l, w);
	if (TAILQ_FIRST(&l->watches) == w)
		arm(l);
}

void
liveness_unwatch(struct liveness_watch *w)
{
	struct liveness *l = w->liveness;

	if (l == NULL)
		return;
	TAILQ_REMOVE(&l->watches, w, entry);
	w->liveness = NULL;
	if (TAILQ_EMPTY(&l->watches))
		arm(l);
}

/* ---- Life cycle ---- */

int
liveness_new(struct liveness **out, uv_loop_t *loop)
{
	struct liveness *l = calloc(1, sizeof(*l));
	int rv;

	if (l == NULL)
		return -ENOMEM;
	TAILQ_INIT(&l->watches);
	if ((l->epoll = epoll_create1(EPOLL_CLOEXEC)) < 0) {
		rv = -errno;
		free(l);
		return rv;
	}
	if ((rv = uv_poll_init(loop, &l->poll, l->epoll)) != 0) {
		close(l->epoll);
		free(l);
		return rv;
	}
	uv_timer_init(loop, &l->timer);
	l->poll.data = l->timer.data = l;
	l->handles = 2;
	uv_poll_start(&l->poll, UV_READABLE, on_errors);
	*out = l;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	struct liveness *l = handle->data;

	if (--l->handles > 0)
		return;
	close(l->epoll);
	free(l);
}

void
liveness_close(struct liveness *l)
{
	if (l == NULL)
		return;
	uv_close((uv_handle_t *)&l->poll, on_closed);
	uv_close((uv_handle_t *)&l->timer, on_closed);
}
