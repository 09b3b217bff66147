#ifndef CULVERT_PROXY_BASE_MALLOC_TRIM_H
#define CULVERT_PROXY_BASE_MALLOC_TRIM_H

#include <uv.h>

/*
 * Memory that was freed goes back to the system when there is quiet. Without
 * it a daemon stays for good as large as its busiest hour has made it, since
 * what little is in use lies between what is free.
 */
struct malloc_trim {
	uv_timer_t timer;
};

/*
 * Milliseconds of quiet: who opens one tunnel after another is not quiet, and
 * a connection that is closed is kept for a while (RFC 9000 §10.2).
 */
#define MALLOC_TRIM_DELAY_MS 3000

/* Makes the timer, which keeps no loop alive. To be closed by
 * malloc_trim_close(). */
void malloc_trim_init(struct malloc_trim *, uv_loop_t *);

/* The last session or a connection has gone: after a while memory goes ... */
void malloc_trim_quiet(struct malloc_trim *);

/* ... unless there is another one. */
void malloc_trim_busy(struct malloc_trim *);

/* Closes the timer; `on_closed` gets it when its memory is the caller's. */
void malloc_trim_close(struct malloc_trim *, uv_close_cb on_closed);

#endif
