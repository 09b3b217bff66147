#ifndef CULVERT_PROXY_BASE_MALLOC_TRIM_H
#define CULVERT_PROXY_BASE_MALLOC_TRIM_H

#include <uv.h>

/*
 * Returns freed memory to the system once the process has been idle for a
 * while. Otherwise a daemon would keep the size of its busiest hour, since the
 * few blocks in use are scattered among the free ones.
 */
struct malloc_trim {
	uv_timer_t timer;
};

/*
 * Milliseconds without a session. A client that opens one tunnel after another
 * leaves shorter gaps, and the state of a closed connection is kept for a while
 * (RFC 9000 §10.2).
 */
#define MALLOC_TRIM_DELAY_MS 3000

/* Makes the timer, which does not keep the loop alive. */
void malloc_trim_init(struct malloc_trim *, uv_loop_t *);

/* Starts the delay: the last session, or a connection, has ended. */
void malloc_trim_quiet(struct malloc_trim *);

/* Stops it: there is a new session or connection. */
void malloc_trim_busy(struct malloc_trim *);

/* Closes the timer. `on_closed` is called when its memory is free. */
void malloc_trim_close(struct malloc_trim *, uv_close_cb on_closed);

#endif
