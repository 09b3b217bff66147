#ifndef CULVERT_PROXY_BASE_SIGNALS_H
#define CULVERT_PROXY_BASE_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

/*
 * The signals of a daemon. Its end has two steps, so that what is open may
 * come to its own:
 *
 *	SIGTERM, SIGINT ─▶ drain ─▶ busy? ─(no more, or the grace is over,
 *	                                    or a second signal)─▶ finish
 *	SIGHUP ─▶ reload		SIGUSR1 ─▶ report
 *
 * The service manager is told of both (sd_notify(3)).
 */
struct signals_events {
	/* Reads the configuration again, and says in the log how it went. */
	void (*reload)(void *arg);

	/* SIGUSR1: says in the log how things stand. NULL: it is ignored. */
	void (*report)(void *arg);

	/* Nothing new from now on; what is open goes on. */
	void (*drain)(void *arg);

	/* Whether something is still open; asked often from then on. */
	bool (*busy)(void *arg);

	/* The end: closes everything, by signals_close() the signals too. */
	void (*finish)(void *arg);
};

/* In the caller's memory; private, but for the first line. */
struct signals {
	uint64_t grace_ms; /* may change at any time */
	uv_signal_t term, interrupt, hangup, user1;
	uv_timer_t grace;
	uint64_t ends_ms; /* of the loop's clock; 0: not stopping */
	const struct signals_events *events;
	void *arg;
};

/*
 * Handles signals from now on, in the loop. `grace_ms` is how long what is
 * open has after the first signal.
 */
void signals_init(struct signals *, uv_loop_t *, uint64_t grace_ms,
    const struct signals_events *, void *arg);

/* Closes the handles; no event fires any more. */
void signals_close(struct signals *);

#endif
