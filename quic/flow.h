/*
 * Flow control: how much peers may send (RFC 9000 §4). Used by stream.c,
 * memory.c and reclaim.c only.
 */
#ifndef CULVERT_QUIC_FLOW_H
#define CULVERT_QUIC_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

struct quic_conn;
struct quic_stream;

/*
 * The initial window of a stream (RFC 9000 §18.2). A thousand streams that
 * nobody reads hold 64 MiB with it, and a response of that size takes no more
 * than one round trip.
 */
#define STREAM_WINDOW 65536 /* bytes */

/* A connection's part, embedded in it as `flow`. */
struct conn_flow {
	size_t window;	      /* bytes that the peer may send, or has sent */
	size_t credit_due;    /* bytes of it for which credit is due */
	size_t window_least;  /* the first window; later ones are not smaller */
	uint64_t credited_at; /* when credit was sent last, or 0 */
	uint64_t used_at;     /* when bytes were last received */
	bool quiet;	      /* not used for long: `grown` is 0 */
	size_t grown;	      /* bytes that grown windows of streams allow */
	TAILQ_HEAD(, quic_stream) with_grown; /* streams with such windows */
};

/* A stream's part, embedded in it as `flow`. */
struct stream_flow {
	size_t window;	      /* bytes that the peer may send, or has sent */
	size_t credit_due;    /* bytes of it for which credit is due */
	size_t grown;	      /* bytes of it in conn->flow.grown */
	uint64_t credited_at; /* when credit was sent last, or 0 */
	uint64_t used_at;     /* when bytes were last received or consumed */
	TAILQ_ENTRY(quic_stream) entry; /* in with_grown, if grown > 0 */
	bool quiet;			/* not used for long: `grown` is 0 */
};

/* The first window of the connection is `window` bytes. */
void flow_init(struct quic_conn *, size_t window);

void flow_open(struct quic_stream *);

/* `n` bytes have been received into s->rx, or consumed from it. */
void flow_fill(struct quic_stream *, size_t n);
void flow_drain(struct quic_stream *, size_t n);

/* The stream is not read any more, and s->rx is empty. Idempotent. */
void flow_close(struct quic_stream *);

/* Sends credit that is due, if the connection holds little enough by now. */
void flow_resume(struct quic_conn *);

/* The size of a chunk for `len` received bytes: larger if more will follow. */
size_t flow_chunk(const struct quic_stream *, size_t len);

#endif
