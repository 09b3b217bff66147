/*
 * CLOCK_BOOTTIME goes on while the machine sleeps, and CLOCK_MONOTONIC does
 * not. When to compare them is told by a timer on the clock of the day: the
 * kernel cancels it when that clock is set, and it is set after every sleep.
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

/* When the timer is due, should nobody set the clock: it is armed again. */
#define DUE_S (30 * 24 * 3600) /* seconds */

struct suspend {
	int fd;
	uv_poll_t poll;
	uint64_t ahead;
	void (*slept)(void *arg, uint64_t ns);
	void *arg;
};

uint64_t
suspend_gap(uint64_t *ahead, uint64_t boottime, uint64_t monotonic)
{
	uint64_t now = boottime - monotonic, gap = now - *ahead;

	/* They are not read at once: a step back is no sleep. */
	if (now < *ahead || gap < GAP_MIN)
		return 0;
	*ahead = now;
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
arm(struct suspend *wake)
{
	struct itimerspec spec = { 0 };

	spec.it_value.tv_sec = time(NULL) + DUE_S;
	timerfd_settime(wake->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
	    &spec, NULL);
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
	struct suspend *wake = poll->data;
	uint64_t expirations, gap;

	(void)status, (void)events;
	/* ECANCELED is the news; a timer that is merely due is none. */
	if (read(wake->fd, &expirations, sizeof(expirations)) < 0 &&
	    errno != ECANCELED)
		return;
	arm(wake);
	gap = suspend_gap(&wake->ahead, read_clock(CLOCK_BOOTTIME),
	    read_clock(CLOCK_MONOTONIC));
	if (gap > 0)
		wake->slept(wake->arg, gap);
}

int
suspend_new(struct suspend **out, uv_loop_t *loop,
    void (*slept)(void *arg, uint64_t ns), void *arg)
{
	struct suspend *wake = calloc(1, sizeof(*wake));
	int rv;

	if (wake == NULL)
		return -ENOMEM;
	wake->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	rv = wake->fd < 0 ? -errno : uv_poll_init(loop, &wake->poll, wake->fd);
	if (rv != 0) {
		if (wake->fd >= 0)
			close(wake->fd);
		free(wake);
		return rv;
	}
	wake->poll.data = wake;
	wake->slept = slept;
	wake->arg = arg;
	suspend_gap(&wake->ahead, read_clock(CLOCK_BOOTTIME),
	    read_clock(CLOCK_MONOTONIC));
	arm(wake);
	uv_poll_start(&wake->poll, UV_READABLE, on_readable);
	*out = wake;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	struct suspend *wake = handle->data;

	close(wake->fd);
	free(wake);
}

void
suspend_free(struct suspend *wake)
{
	if (wake != NULL)
		uv_close((uv_handle_t *)&wake->poll, on_closed);
}
