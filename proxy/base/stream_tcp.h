#ifndef CULVERT_PROXY_BASE_STREAM_TCP_H
#define CULVERT_PROXY_BASE_STREAM_TCP_H

#include <sys/queue.h>

#include <uv.h>

#include "proxy/base/chunk_queue.h"
#include "proxy/base/liveness.h"
#include "proxy/base/stream.h"

/*
 * A TCP connection as a struct stream (stream.h).
 *
 *	stream		TCP
 *	finish		FIN, after the last byte
 *	release		close, when the peer has acknowledged everything
 *	reset		RST
 *	readable, ended	bytes, FIN
 *	stopped		the peer accepts no more: a write failed, or RST came
 *	reset		RST or an error, after the bytes that came before it
 *
 * Both directions have a buffer of CHUNK_QUEUE_MAX bytes, which holds memory
 * only while there are bytes in it. If the owner does not consume, nothing more
 * is read, and TCP's own window stops the peer; if the peer does not read, there
 * is no room.
 */
struct stream_tcp;

/* What the streams of one loop share. */
struct stream_tcp_context {
	/* Private. */
	uv_loop_t *loop;
	struct liveness *liveness;
	unsigned keepalive_timeout_s;
	struct chunk_pool pool;
	LIST_HEAD(, stream_tcp) streams;
};

/*
 * Prepares a context. `liveness` watches the peers, see liveness.h, with that
 * time-out in seconds; NULL: they are not watched. Both must outlive it.
 */
void stream_tcp_context_init(struct stream_tcp_context *, uv_loop_t *,
    struct liveness *liveness, unsigned keepalive_timeout_s);

/*
 * Closes all streams of the context with RST, also those that were released
 * and still deliver. Owners learn it by `aborted`, within this call, with
 * STREAM_CLOSED and `why`, which is static text. The context's memory is not
 * used any more; the loop closes the handles.
 */
void stream_tcp_context_fini(struct stream_tcp_context *, const char *why);

/*
 * Fills `s`, which is not open, with the connected TCP socket `fd`, which it
 * owns from then on; sets TCP_NODELAY. Reading begins with stream_attach().
 * 0; -ENOMEM or libuv's error: `fd` is closed, and `s` is as it was.
 */
int stream_tcp_open(struct stream *s, struct stream_tcp_context *, int fd);

#endif
