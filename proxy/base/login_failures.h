#ifndef CULVERT_PROXY_BASE_LOGIN_FAILURES_H
#define CULVERT_PROXY_BASE_LOGIN_FAILURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/base/addr.h"

/*
 * Failed logins, counted by source address and logged: the first one at once,
 * the others once per interval, so that a flood of attempts does not flood the
 * log. Names are never logged: one may be a password.
 */

/* Milliseconds that one warning covers. */
#define LOGIN_FAILURES_INTERVAL_MS 10000
/* Addresses that are counted one by one in an interval. */
#define LOGIN_FAILURES_SOURCES_MAX 64
/* Addresses that get a line of their own: those with the most failures. */
#define LOGIN_FAILURES_LINES_MAX 8

struct login_failures_source {
	char name[ADDR_SOURCE_STRLEN];
	uint64_t wrong, refused;
};

/* In the caller's memory, initially zero; private. */
struct login_failures {
	uv_timer_t timer;
	bool open;   /* the timer is a handle of a loop */
	bool closed; /* login_failures_close() was called */
	struct login_failures_source sources[LOGIN_FAILURES_SOURCES_MAX];
	size_t n;
	struct login_failures_source others;
};

/*
 * Counts a login with a wrong name or password, or one that was `refused`
 * without a check. `source` is the text of addr_source().
 */
void login_failures_note(struct login_failures *, uv_loop_t *,
    const char *source, bool refused);

/*
 * Logs what remains and closes. Returns whether the loop will call `on_closed`
 * with the timer as its handle; until then the memory must remain.
 */
bool login_failures_close(struct login_failures *, uv_close_cb on_closed);

#endif
