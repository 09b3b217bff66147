#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_SUSPEND_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_SUSPEND_H

#include <stdint.h>

#include <uv.h>

/*
 * The moment when this machine wakes from sleep, which the clock of all timers
 * (CLOCK_MONOTONIC) knows nothing of: it stood still.
 */
struct suspend;

/*
 * Calls slept(arg, ns) from the loop right after a sleep of `ns` nanoseconds,
 * if it was more than a moment. 0 or a negative errno: then nobody will tell.
 */
int suspend_new(struct suspend **, uv_loop_t *,
    void (*slept)(void *arg, uint64_t ns), void *arg);

/* Frees when the loop has closed the handle. NULL is a no-op. */
void suspend_free(struct suspend *);

/*
 * How long the machine slept between two looks at the clocks, in nanoseconds;
 * 0 for less than a second, which is how far two readings may be apart on a
 * busy machine. `*ahead` is by how much CLOCK_BOOTTIME was before the other at
 * the last look, and is updated. For suspend.c and its tests.
 */
uint64_t suspend_gap(uint64_t *ahead, uint64_t boottime, uint64_t monotonic);

#endif
