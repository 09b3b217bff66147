#ifndef CULVERT_PROXY_BASE_STREAM_H
#define CULVERT_PROXY_BASE_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include <sys/uio.h>

/*
 * One end of an open tunnel: bytes in both directions, each with its own end,
 * whatever carries them. The users of tunnels (relay.c, local/, edge/) know
 * this header; a provider is known only to the part that opens the tunnel:
 *
 *	stream_quic.h	a stream of a QUIC connection
 *	stream_tcp.h	a TCP connection
 *
 * A struct stream is a part of its owner, and nothing is allocated for it. It
 * is open from the call of its provider that fills it until the owner ends it
 * with release, reset or flush-and-reset, or until `aborted`. While it is open
 * it stays where it is; stream_attach() moves it to another owner.
 *
 * Events fire from the loop, and from no call of this header. A handler may
 * make any of these calls. All calls but stream_is_open() are for open streams.
 */
struct stream;

/* How a stream has ended early. */
enum stream_end {
	STREAM_RESET,  /* the peer has reset it, or memory was short */
	STREAM_CLOSED, /* the peer has closed what carries it, in order */
	STREAM_LOST    /* what carries it was lost */
};

/* Why this side ends a stream early. */
enum stream_error {
	STREAM_CANCELLED,    /* it is not needed any more */
	STREAM_CONNECT_ERROR /* the tunnel's other connection has failed */
};

/* The events of a stream, for its owner. All members must be set. */
struct stream_events {
	/* Bytes have arrived, or the peer's FIN: see stream_ended(). */
	void (*readable)(void *arg);

	/* There was no room before, and now there is: stream_has_room(). */
	void (*writable)(void *arg);

	/*
	 * The peer accepts no more bytes. Bytes that it has not acknowledged
	 * are lost, and so are those that are committed from now on: see
	 * stream_lost(). The other direction goes on. Fires once, after
	 * `readable`, and again for an owner that attaches later. Does not
	 * fire if the peer has acknowledged everything and the FIN was sent.
	 */
	void (*stopped)(void *arg);

	/*
	 * The peer has ended its direction without a FIN. Bytes that were
	 * received before can still be consumed, and the owner ends the
	 * stream. Fires once, after `readable` and `stopped`. `why` is static
	 * text for the log.
	 */
	void (*reset)(void *arg, const char *why);

	/*
	 * Both directions have ended, and the stream is not open any more. The
	 * bytes from stream_peek() are freed after the handler has returned.
	 * `why` is static text for the log.
	 */
	void (*aborted)(void *arg, enum stream_end, const char *why);
};

/* What a provider implements: the calls below, on its own object. */
struct stream_ops {
	void (*attach)(struct stream *); /* events go to s->events, s->arg */
	size_t (*peek)(const void *, struct iovec *, size_t max);
	void (*consume)(void *, size_t n);
	bool (*ended)(const void *);
	bool (*has_room)(void *);
	void *(*reserve)(void *, size_t *len);
	void (*commit)(void *, size_t n);
	size_t (*push)(void *, const void *data, size_t len);
	bool (*lost)(const void *);
	void (*finish)(void *);
	void (*release)(void *);
	void (*reset)(void *, enum stream_error);
	void (*flush_and_reset)(void *, enum stream_error);
};

struct stream {
	/* Private to stream.c and to providers. */
	const struct stream_ops *ops; /* NULL: not open */
	void *provider;
	const struct stream_events *events;
	void *arg;
};

/* A zeroed stream is not open, nor is one that has ended or was moved. */
bool stream_is_open(const struct stream *);

/*
 * Moves the open stream `from` to `to`, which is not open: its owner takes it
 * over from the last one, or from its provider. From now on events go to
 * `events`, which is not copied, with `arg`. Bytes that have arrived before can
 * be consumed at once; no `readable` announces them.
 */
void stream_attach(struct stream *to, struct stream *from,
    const struct stream_events *events, void *arg);

/*
 * Moves it without a new owner, on the way to a stream_attach() that follows
 * before the loop goes on. `from` need not be open.
 */
void stream_move(struct stream *to, struct stream *from);

/*
 * Receiving. Peek fills up to `max` vectors with the bytes that are not
 * consumed yet, in order, and returns their number. The bytes stay in place
 * until they are consumed. Consume lets the peer send `n` bytes more: call it
 * only for bytes that have been delivered.
 */
size_t stream_peek(const struct stream *, struct iovec *, size_t max);
void stream_consume(struct stream *, size_t n);

/* The peer's FIN has arrived, and every byte before it is consumed. */
bool stream_ended(const struct stream *);

/* True: there is room for a reservation. If not, `writable` follows. */
bool stream_has_room(struct stream *);

/*
 * Sending without a copy. Reserve returns memory to read into, at least
 * STREAM_RESERVE_MIN bytes, and sets *len to its size; or NULL, if the stream
 * holds as much as it may (then `writable` follows), or if stream_has_room()
 * says otherwise: out of memory. Commit sends the first `n` bytes of it (0: the
 * reservation is dropped). There is one reservation at a time. Bytes that the
 * peer does not accept are dropped: see `stopped`.
 */
#define STREAM_RESERVE_MIN 4096 /* bytes: a smaller read is not worth a call */
void *stream_reserve(struct stream *, size_t *len);
void stream_commit(struct stream *, size_t n);

/*
 * Commits bytes that are in memory already, whether there is room or not.
 * Returns how many there was memory for.
 */
size_t stream_push(struct stream *, const void *data, size_t len);

/* Bytes were committed that the peer did not accept. */
bool stream_lost(const struct stream *);

/*
 * Sends the FIN after the committed bytes. Nothing may be committed after it.
 */
void stream_finish(struct stream *);

/*
 * These end the ownership of a stream: no event follows, and it is not open any
 * more. Release still delivers what was committed (with its FIN, if it is
 * finished; else the stream is reset). Reset drops everything in both
 * directions. Flush-and-reset resets after the peer has acknowledged what was
 * committed, or has made no progress for half a minute. The bytes from
 * stream_peek() are gone at once: a write of them must not go on.
 */
void stream_release(struct stream *);
void stream_reset(struct stream *, enum stream_error);
void stream_flush_and_reset(struct stream *, enum stream_error);

/* ---- For providers ---- */

/*
 * The stream is not open any more, and its owner learns it by `aborted`. From
 * the loop only.
 */
void stream_abort_owner(struct stream *, enum stream_end, const char *why);

#endif
