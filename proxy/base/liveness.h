#ifndef CULVERT_PROXY_BASE_LIVENESS_H
#define CULVERT_PROXY_BASE_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uv.h>

/*
 * Tells of TCP peers that are gone, also while nobody reads from them: libuv
 * does not poll a socket then.
 *
 * An error (RST, or that the kernel's keep-alive had no answer) is told at
 * once, by an epoll descriptor that all sockets share. Data that the peer does
 * not acknowledge is noticed by a look at each socket from time to time: the
 * kernel alone would take a quarter of an hour, and its TCP_USER_TIMEOUT would
 * also end a peer that lives and does not read.
 */
struct liveness;

/* What `on_gone` says of a peer: static texts. */
extern const char liveness_failed[]; /* the socket has an error ... */
extern const char liveness_silent[]; /* ... or its peer is silent */

struct liveness_watch {
	struct liveness *liveness; /* NULL: not watched */
	int fd;
	uint64_t due_ms; /* the next look */
	void (*on_gone)(struct liveness_watch *, const char *why);
	TAILQ_ENTRY(liveness_watch) entry; /* liveness->watches, by due_ms */
};

/* One for a loop, or for a part of its sockets. 0, or a negative errno. */
int liveness_new(struct liveness **, uv_loop_t *);

/* After the last watch has ended; the loop closes the handles. NULL is fine. */
void liveness_close(struct liveness *);

/*
 * Watches a connected TCP socket: has it ask for a sign of life, and calls
 * w->on_gone from the loop when the peer has not acknowledged anything for
 * `timeout_s` seconds though it should have (some more if it had stopped to
 * read), or when the socket has an error. It may be called more than once. An
 * error does not mean that all input was read. Best effort, without an error.
 */
void liveness_watch(struct liveness *, struct liveness_watch *w, int fd,
    unsigned timeout_s);

/* Before the descriptor is closed. Idempotent; fine for a zeroed watch. */
void liveness_unwatch(struct liveness_watch *);

#endif
