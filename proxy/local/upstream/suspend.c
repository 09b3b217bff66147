/*
 * CLOCK_BOOTTIME goes on while the machine sleeps, and CLOCK_MONOTONIC does
 * not. A timer on CLOCK_REALTIME triggers the comparison: the kernel cancels
 * the timer when that clock is set, and it is set after every sleep.
 */
#include "proxy/local/upstream/suspend.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <sys/timerfd.h>

#define NS_PER_S UINT64_C(1000000000)

#define GAP_MIN NS_PER_S /* see suspend_gap() */

/* Seconds to the timer if the clock is not set: it is started again. */
#define DUE_S (30 * 24 * 3600)

struct suspend {
	int fd;
	uv_poll_t poll;
	uint64_t offset;
	void (*resumed)(void *arg, uint64_t ns);
	void *arg;
};

uint64_t
suspend_gap(uint64_t *offset, uint64_t boottime, uint64_t monotonic)
{
	uint64_t now = boottime - monotonic, gap = now - *offset;

	/* The clocks are read one after the other: a step back is no sleep. */
	if (now < *offset || gap < GAP_MIN)
		return 0;
	*offset = now;
	return gap;
}

static uint64_t
read_clock(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void
start_timer(struct suspend *s)
{
	struct itimerspec spec = { 0 };

	spec.it_value.tv_sec = time(NULL) + DUE_S;
	timerfd_settime(s->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
	    &spec, NULL);
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
	struct suspend *s = poll->data;
	uint64_t expirations, gap;

	(void)status, (void)events;
	/* ECANCELED: the clock was set. Otherwise the timer is only due. */
	if (read(s->fd, &expirations, sizeof(expirations)) < 0 &&
	    errno != ECANCELED)
		return;
	start_timer(s);
	gap = suspend_gap(&s->offset, read_clock(CLOCK_BOOTTIME),
	    read_clock(CLOCK_MONOTONIC));
	if (gap > 0)
		s->resumed(s->arg, gap);
}

int
suspend_new(struct suspend **out, uv_loop_t *loop,
    void (*resumed)(void *arg, uint64_t ns), void *arg)
{
	struct suspend *s = calloc(1, sizeof(*s));
	int rv;

	if (s == NULL)
		return -ENOMEM;
	s->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	rv = s->fd < 0 ? -errno : uv_poll_init(loop, &s->poll, s->fd);
	if (rv != 0) {
		if (s->fd >= 0)
			close(s->fd);
		free(s);
		return rv;
	}
	s->poll.data = s;
	s->resumed = resumed;
	s->arg = arg;
	suspend_gap(&s->offset, read_clock(CLOCK_BOOTTIME),
	    read_clock(CLOCK_MONOTONIC));
	start_timer(s);
	uv_poll_start(&s->poll, UV_READABLE, on_readable);
	*out = s;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	struct suspend *s = handle->data;

	close(s->fd);
	free(s);
}

void
suspend_free(struct suspend *s)
{
	if (s != NULL)
		uv_close((uv_handle_t *)&s->poll, on_closed);
}
