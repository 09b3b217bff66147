#include "proxy/base/signals.h"

#include <signal.h>
#include <stdio.h>

#include "proxy/base/log.h"

/* Milliseconds between two checks whether tunnels are still open. */
#define GRACE_STEP_MS 50

static void
on_grace(uv_timer_t *timer)
{
	struct signals *s = timer->data;

	if (s->events->busy(s->arg) && uv_now(timer->loop) < s->ends_ms)
		return;
	s->events->finish(s->arg);
}

/* The first signal begins the grace period, the second one ends it. */
static void
on_stop(uv_signal_t *handle, int signum)
{
	struct signals *s = handle->data;
	uint64_t now = uv_now(handle->loop);

	if (s->ends_ms != 0) {
		s->ends_ms = now;
		return;
	}
	log_info("%s: finishing open tunnels, at most %u s",
	    signum == SIGTERM ? "SIGTERM" : "SIGINT",
	    (unsigned)(s->grace_ms / 1000));
	log_notify("STOPPING=1");
	s->ends_ms = now + s->grace_ms;
	s->events->drain(s->arg);
	uv_timer_start(&s->grace, on_grace, 0, GRACE_STEP_MS);
}

/* systemd needs the time of the beginning, or it waits for another reload. */
static void
on_hangup(uv_signal_t *handle, int signum)
{
	struct signals *s = handle->data;
	char state[sizeof("RELOADING=1\nMONOTONIC_USEC=") + 20];

	(void)signum;
	if (s->ends_ms != 0)
		return;
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)(uv_hrtime() / 1000));
	log_notify(state);
	s->events->reload(s->arg);
	log_notify("READY=1");
}

static void
on_user1(uv_signal_t *handle, int signum)
{
	struct signals *s = handle->data;

	(void)signum;
	if (s->events->report != NULL)
		s->events->report(s->arg);
}

void
signals_init(struct signals *s, uv_loop_t *loop, uint64_t grace_ms,
    const struct signals_events *events, void *arg)
{
	*s = (struct signals){ .grace_ms = grace_ms,
		.events = events,
		.arg = arg };
	uv_signal_init(loop, &s->term);
	uv_signal_init(loop, &s->interrupt);
	uv_signal_init(loop, &s->hangup);
	uv_signal_init(loop, &s->user1);
	uv_timer_init(loop, &s->grace);
	log_start(loop);
	s->term.data = s->interrupt.data = s->hangup.data = s;
	s->user1.data = s->grace.data = s;
	uv_signal_start(&s->term, on_stop, SIGTERM);
	uv_signal_start(&s->interrupt, on_stop, SIGINT);
	uv_signal_start(&s->hangup, on_hangup, SIGHUP);
	uv_signal_start(&s->user1, on_user1, SIGUSR1);
}

/*
 * libuv restores the default actions. Block the signals, so that another one
 * cannot end the process before it has closed everything.
 */
void
signals_close(struct signals *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	uv_close((uv_handle_t *)&s->term, NULL);
	uv_close((uv_handle_t *)&s->interrupt, NULL);
	uv_close((uv_handle_t *)&s->hangup, NULL);
	uv_close((uv_handle_t *)&s->user1, NULL);
	uv_close((uv_handle_t *)&s->grace, NULL);
	log_stop();
}
