#ifndef CULVERT_PROXY_BASE_LOGIN_FAILURES_H
#define CULVERT_PROXY_BASE_LOGIN_FAILURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/base/tally.h"

/*
 * Logins that failed, counted by the address they came from, and told in the
 * log: the first one at once, what follows once per interval, so that a flood
 * makes no flood of lines. No name is told: it may be a password.
 */

/* Milliseconds that one warning speaks for. */
#define LOGIN_FAILURES_INTERVAL_MS 10000
/* Addresses that are counted by themselves in one interval, ... */
#define LOGIN_FAILURES_SOURCES_MAX 64
/* ... and of these, with a line each, the worst. */
#define LOGIN_FAILURES_LINES_MAX 8

struct login_failures_source {
	char name[TALLY_SOURCE_STRLEN];
	uint64_t wrong, refused;
};

/* In the caller's memory, zeroed at first; private. */
struct login_failures {
	uv_timer_t timer;
	bool open; /* the timer is a handle of a loop */
	bool closed; /* nothing is counted any more */
	struct login_failures_source sources[LOGIN_FAILURES_SOURCES_MAX];
	size_t n;
	struct login_failures_source others;
};

/*
 * Counts one: a wrong name or password, or one that was `refused` unchecked.
 * `source` is what tally_source() wrote.
 */
void login_failures_note(
    struct login_failures *, uv_loop_t *, const char *source, bool refused);

/*
 * Tells what is left and closes. Returns whether `on_closed` will be called by
 * the loop, with the timer as its handle; until then the memory must stay.
 */
bool login_failures_close(struct login_failures *, uv_close_cb on_closed);

#endif
