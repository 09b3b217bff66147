#ifndef CULVERT_PROXY_BASE_LIVENESS_H
#define CULVERT_PROXY_BASE_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uv.h>

/*
 * Detects TCP peers that are gone, even while the program does not read from
 * them: libuv does not poll such a socket.
 *
 * A socket error (an RST, or keep-alive without an answer) is reported at once,
 * by an epoll descriptor that all sockets share. Data that the peer does not
 * acknowledge is found by a periodic check of each socket: the kernel alone
 * would take a quarter of an hour, and its TCP_USER_TIMEOUT would also end the
 * connection to a peer that is alive but does not read.
 */
struct liveness;

/* The reasons that `on_gone` gives: static texts. */
extern const char liveness_failed[]; /* the socket has an error */
extern const char liveness_silent[]; /* the peer acknowledges nothing */

struct liveness_watch {
	struct liveness *liveness; /* NULL: not watched */
	int fd;
	bool has_options; /* keep-alive is on */
	uint64_t due_ms;  /* the next check */
	void (*on_gone)(struct liveness_watch *, const char *why);
	TAILQ_ENTRY(liveness_watch) entry; /* liveness->watches, by due_ms */
};

/* Makes one for a loop, or for some of its sockets. 0 or a negative errno. */
int liveness_new(struct liveness **, uv_loop_t *);

/* Call it after the last watch has ended. The loop closes the handles. */
void liveness_close(struct liveness *);

/*
 * Watches a connected TCP socket: turns on keep-alive after a part of the
 * time-out, which short tunnels do not live to see, and calls w->on_gone
 * from the loop if the socket has an error, or if the peer has data to
 * acknowledge and acknowledges nothing for `timeout_s` seconds (longer if it
 * had stopped reading). on_gone may be called more than once. After an error
 * there may still be input to read. Best effort: a failure is not reported.
 */
void liveness_watch(struct liveness *, struct liveness_watch *w, int fd,
    unsigned timeout_s);

/*
 * Call it right before uv_close(): an epoll descriptor forgets a socket that
 * closes. A no-op on a zeroed or ended watch.
 */
void liveness_unwatch(struct liveness_watch *);

#endif
