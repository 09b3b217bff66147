#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_SUSPEND_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_SUSPEND_H

#include <stdint.h>

#include <uv.h>

/*
 * Detects that this machine resumes from suspend. The clock of all timers
 * (CLOCK_MONOTONIC) stands still during suspend, and does not show it.
 */
struct suspend;

/*
 * Calls resumed(arg, ns) from the loop right after a sleep of `ns` nanoseconds,
 * if it was more than a moment. 0 or a negative errno: then sleep is not
 * reported.
 */
int suspend_new(struct suspend **, uv_loop_t *,
    void (*resumed)(void *arg, uint64_t ns), void *arg);

/* Frees when the loop has closed the handle. NULL is a no-op. */
void suspend_free(struct suspend *);

/*
 * How long the machine slept between two readings of the clocks, in
 * nanoseconds; 0 for less than a second, which is how far two readings may be
 * apart on a busy machine. `*offset` is CLOCK_BOOTTIME minus CLOCK_MONOTONIC at
 * the last reading, and is updated. For suspend.c and its tests.
 */
uint64_t suspend_gap(uint64_t *offset, uint64_t boottime, uint64_t monotonic);

#endif
