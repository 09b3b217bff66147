#ifndef CULVERT_PROXY_RELAY_H
#define CULVERT_PROXY_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/base/liveness.h"
#include "quic/quic.h"

/*
 * A TCP connection and a QUIC stream, each the other's far side. Both daemons
 * use it: to the local proxy the TCP peer is the client, to the edge it is the
 * origin.
 *
 *	relay_init ──▶ the owner accepts, connects, talks on relay.tcp
 *	           ──▶ relay_start ──▶ bytes ──▶ relay_close ──▶ on_closed
 *
 * When one side fails, what it had sent before is delivered first, and then
 * the other side is reset. A side that only takes no more goes on to its own
 * end; the other is reset then if it has said what nobody took. Of that
 * RELAY_DROP_MAX bytes are read, and are no movement to an idle time-out.
 */
struct relay {
	uv_tcp_t tcp; /* the owner's until relay_start */

	/* For the owner to read, at any time. */
	uint64_t to_stream;	/* bytes from TCP, handed to the stream */
	uint64_t to_tcp;	/* bytes from the stream that the kernel took */
	const char *reason;	/* why it was or will be closed; static text */

	/* For the owner to set: its peer must see a reset, not an end. */
	bool cut_short;

	/* The same, or NULL: bytes were counted. It closes nothing. */
	void (*moved)(struct relay *);

	/* For the owner to set: the reason if the QUIC peer closes in order. */
	const char *peer_closed;

	/* Private. */
	struct quic_stream *stream;
	void (*on_closed)(struct relay *);
	struct liveness_watch watch;
	void (*on_gone)(struct relay *, const char *why);
	uv_write_t write;
	size_t writing;	   /* bytes in the write that is under way */
	size_t dropped;	   /* bytes from TCP that nobody takes */
	uv_timer_t timer;  /* of a drain; open if has_timer */
	unsigned handles;  /* tcp and timer */
	uint64_t mark;	   /* how far a drain was, when last looked at ... */
	uint64_t mark_ms;  /* ... and since when */
	uint64_t look_ms;  /* from one look to the next */
	bool reading : 1;  /* libuv polls TCP, and tells of an error */
	bool failed : 1;   /* ... of which it has not told yet */
	bool eof_seen : 1; /* TCP has sent FIN, and so has the stream */
	bool shut : 1;	   /* the stream's FIN was passed on to TCP */
	bool stopped : 1;  /* the stream's peer takes no more */
	bool tcp_failed : 1; /* what it sent before is still read */
	bool ending : 1;   /* no more to write: RST when TCP has it all */
	bool has_timer : 1;
	bool started : 1;
	bool closing : 1;
};

/*
 * How long a side that still lives may take nothing of what the other had sent
 * before it failed. Longer than a reader's pause, and no time to hold a tunnel
 * for nothing.
 */
#define RELAY_STALL_MS 30000

/*
 * What is read from TCP and dropped, once the stream's peer takes no more: as
 * much as an origin may have to get rid of before it reads on. A peer that
 * stops its downloads would have them read at full speed otherwise, at no cost
 * to itself.
 */
#define RELAY_DROP_MAX 16777216 /* bytes */

/*
 * Sets what a relay wants of its TCP socket: no delay of small writes. Linux
 * hands it from a listening socket to those that it accepts. Best effort.
 */
void relay_socket_options(int fd);

/*
 * Makes the TCP handle on `loop`. From now on the relay must be closed by
 * relay_close(), and `on_closed` fires once when its memory is free again.
 */
void relay_init(struct relay *, uv_loop_t *loop,
    void (*on_closed)(struct relay *));

/*
 * Has a TCP handle with a descriptor watched until it is closed. When the peer
 * is gone a relay that was started sees to it. Before that, `on_gone` is called
 * if nothing is read, or the peer is silent; else libuv tells of the error.
 */
void relay_watch(struct relay *, struct liveness *, unsigned timeout_s,
    void (*on_gone)(struct relay *, const char *why));

/* For the owner, before relay_start: uv_read_start and uv_read_stop. */
void relay_read_start(struct relay *, uv_alloc_cb, uv_read_cb);
void relay_read_stop(struct relay *);

/*
 * Joins a connected TCP side and a stream, whose events it takes over; what
 * the stream has received already is written at once. The relay closes itself
 * when both directions have ended or one has failed.
 *
 * Who reads from the TCP handle already goes on reading, since to stop and
 * start costs system calls, and calls these two from its own callbacks.
 */
void relay_start(struct relay *, struct quic_stream *stream);
void relay_alloc(uv_handle_t *, size_t suggested, uv_buf_t *);
void relay_read(uv_stream_t *, ssize_t n, const uv_buf_t *);

/*
 * Whether TCP has ended by FIN. When its last bytes and its end are there at
 * once, libuv says EOF without a look: but a reset may have cut it short.
 */
bool relay_tcp_ended(const struct relay *);

/*
 * Closes in any state; the first call counts. A relay that was started and
 * whose directions have not both ended resets TCP and stream, so that what was
 * cut short looks cut short: TCP at once, the stream when its peer has what
 * was read from TCP. `reason` is static text.
 */
void relay_close(struct relay *, const char *reason);

/*
 * Stops to read, and closes by a reset of TCP when the peer has acknowledged
 * all that was written, or nothing more of it for RELAY_STALL_MS. Nobody
 * writes after this.
 */
void relay_end(struct relay *, const char *reason);

#endif
