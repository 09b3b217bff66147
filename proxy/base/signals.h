#ifndef CULVERT_PROXY_BASE_SIGNALS_H
#define CULVERT_PROXY_BASE_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

/*
 * The signals of a daemon. It stops in two steps, so that open tunnels can
 * finish:
 *
 *	SIGTERM, SIGINT ─▶ drain ─▶ busy? ─(no more, or the grace is over,
 *	                                    or a second signal)─▶ finish
 *	SIGHUP ─▶ reload		SIGUSR1 ─▶ report
 *
 * The service manager is notified of both (sd_notify(3)).
 */
struct signals_events {
	/* Reads the configuration again and logs the outcome. */
	void (*reload)(void *arg);

	/* SIGUSR1: logs statistics. NULL: the signal is ignored. */
	void (*report)(void *arg);

	/* Accepts nothing new from now on; open tunnels continue. */
	void (*drain)(void *arg);

	/* Whether tunnels are still open; polled after drain. */
	bool (*busy)(void *arg);

	/* Closes everything, the signals too, by signals_close(). */
	void (*finish)(void *arg);
};

/* In the caller's memory; private except for the first member. */
struct signals {
	uint64_t grace_ms; /* may change at any time */
	uv_signal_t term, interrupt, hangup, user1;
	uv_timer_t grace;
	uint64_t ends_ms; /* of the loop's clock; 0: not stopping */
	const struct signals_events *events;
	void *arg;
};

/*
 * Handles signals from now on, in the loop. Open tunnels have `grace_ms` to
 * finish after the first signal.
 */
void signals_init(struct signals *, uv_loop_t *, uint64_t grace_ms,
    const struct signals_events *, void *arg);

/* Closes the handles; no more events fire. */
void signals_close(struct signals *);

#endif
