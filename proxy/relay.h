#ifndef CULVERT_PROXY_RELAY_H
#define CULVERT_PROXY_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/base/liveness.h"
#include "proxy/base/stream.h"
#include "proxy/base/tcp.h"

/*
 * Bytes between a TCP connection and a stream, which is the other end of the
 * tunnel, whatever carries it. Both daemons use it: for the local proxy the TCP
 * peer is the client, for the edge it is the origin. It uses only proxy/base.
 *
 *	relay_init ──▶ the owner uses relay.tcp: accept, connect, handshake
 *	           ──▶ relay_start ──▶ bytes ──▶ relay_close ──▶ on_closed
 *
 * If one side fails, the bytes that it sent before are delivered first, and
 * then the other side is reset. If the stream's peer only stops reading, its
 * own direction continues to its end; then TCP is reset if it sent bytes that
 * were dropped. At most RELAY_DROP_MAX such bytes are read, and they do not
 * count as activity for an idle time-out.
 */
struct relay {
	uv_tcp_t tcp; /* the owner's until relay_start */

	/* For the owner to read, at any time. */
	uint64_t to_stream; /* bytes from TCP, passed to the stream */
	uint64_t to_tcp;    /* bytes from the stream, written to TCP */
	const char *reason; /* why it was or will be closed; static text */

	/* For the owner to set: TCP must end with a reset, not a FIN. */
	bool cut_short;

	/* The same, or NULL: called when bytes were counted; must not close. */
	void (*moved)(struct relay *);

	/* For the owner to set: the reason if the stream ends STREAM_CLOSED. */
	const char *peer_closed;

	/* Private. */
	struct stream stream;
	void (*on_closed)(struct relay *);
	struct liveness_watch watch;
	void (*on_gone)(struct relay *, const char *why);
	uv_write_t write;
	size_t writing;	  /* bytes of the pending write */
	size_t dropped;	  /* bytes from TCP after the stream stopped */
	uv_timer_t timer; /* of a drain; open if has_timer */
	unsigned handles; /* tcp and timer */
	struct tcp_drain drain;
	bool reading : 1;    /* libuv polls TCP, and will report an error */
	bool failed : 1;     /* ... which it has not reported yet */
	bool eof_seen : 1;   /* TCP's FIN was passed on to the stream */
	bool shut : 1;	     /* the stream's FIN was passed on to TCP */
	bool stopped : 1;    /* the stream's peer accepts no more */
	bool tcp_failed : 1; /* writing failed; earlier input is still read */
	bool ending : 1;     /* RST once TCP's peer has acknowledged all */
	bool has_timer : 1;
	bool started : 1;
	bool closing : 1;
};

/*
 * The bytes that are read from TCP and dropped after `stopped`: as many as
 * an origin may have to write before it reads again. Without a limit, a peer
 * that stops its downloads would have them read at full speed, at no cost to
 * itself.
 */
#define RELAY_DROP_MAX 16777216 /* bytes */

/*
 * Makes the TCP handle on `loop`. From now on the relay must be closed by
 * relay_close(), and `on_closed` fires once when its memory may be freed.
 */
void
relay_init(struct relay *, uv_loop_t *loop, void (*on_closed)(struct relay *));

/*
 * Watches the TCP peer (liveness.h) until the relay is closed; the handle must
 * have a descriptor. If the peer is gone, a started relay closes itself. Before
 * relay_start, `on_gone` is called, except for an error while the owner reads,
 * which libuv reports.
 */
void relay_watch(struct relay *, struct liveness *, unsigned timeout_s,
    void (*on_gone)(struct relay *, const char *why));

/* For the owner, before relay_start: uv_read_start and uv_read_stop. */
void relay_read_start(struct relay *, uv_alloc_cb, uv_read_cb);
void relay_read_stop(struct relay *);

/*
 * Connects the TCP side, which must be connected, to a stream, which it takes
 * over; bytes that the stream has already received are written at once.
 * The relay closes itself when both directions have ended or one has failed.
 *
 * An owner that reads from the TCP handle already does not stop, since stopping
 * and starting costs system calls, but calls the next two functions from its
 * callbacks.
 */
void relay_start(struct relay *, struct stream *stream);
void relay_alloc(uv_handle_t *, size_t suggested, uv_buf_t *);
void relay_read(uv_stream_t *, ssize_t n, const uv_buf_t *);

/*
 * Closes in any state; only the first call has an effect. If the relay was
 * started and its directions have not both ended, it resets TCP and stream, so
 * that a truncated transfer looks truncated: TCP at once, the stream when its
 * peer has received the bytes that were read from TCP. `reason` is static text.
 */
void relay_close(struct relay *, const char *reason);

/*
 * Stops reading, and closes with a reset of TCP when the peer has acknowledged
 * all written bytes, or no more of them for TCP_STALL_MS. The owner must not
 * write after this.
 */
void relay_end(struct relay *, const char *reason);

#endif
