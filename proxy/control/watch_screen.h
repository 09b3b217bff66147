#ifndef CULVERT_PROXY_CONTROL_WATCH_SCREEN_H
#define CULVERT_PROXY_CONTROL_WATCH_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

/* The screen of `culvertctl watch`: the status, refreshed periodically. */

#define WATCH_SCREEN_INTERVAL_MS 1000	 /* by default */
#define WATCH_SCREEN_INTERVAL_MIN_MS 100 /* nobody can read faster changes */
#define WATCH_SCREEN_INTERVAL_MAX_MS 86400000

struct watch_screen_settings {
	const char *path; /* of the control socket */
	uint64_t interval_ms;
	uint64_t count; /* of refreshes; 0: until a signal */
	bool as_json;	/* one object per line; else text for people */
};

/*
 * On a terminal each refresh replaces the one before and fits the window, and
 * the terminal is restored when the key q, SIGINT, SIGTERM or SIGHUP ends the
 * process or SIGTSTP stops it. Elsewhere refreshes are blocks of lines with a
 * blank line between them. If culvert does not answer, the next refresh tries
 * again.
 *
 * Returns the exit status: 0, or 1 if the last refresh had no answer or could
 * not be written.
 */
int watch_screen(const struct watch_screen_settings *);

#endif
