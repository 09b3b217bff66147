/*
 * Flow control: how much peers may send (RFC 9000 §4). Used by stream.c and
 * memory.c only.
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
 * What a peer may send on a stream without being asked (RFC 9000 §18.2). A
 * thousand streams that nobody reads hold 64 MiB of it, and an answer of that
 * size takes no more than one round trip.
 */
#define STREAM_WINDOW 65536 /* bytes */

/* A connection's part, embedded in it as `flow`. */
struct conn_flow {
	size_t window; /* bytes that the peer may send, or has sent ... */
	size_t owed; /* ... and credit for so many of them is due */
	size_t window_least; /* the first window; no later one is smaller */
	uint64_t credited_at; /* when the peer was last given credit, or 0 */
	uint64_t used_at; /* when bytes last came */
	bool quiet; /* not used for long: promises nothing */
	size_t promised; /* bytes that grown windows let the peer send */
	TAILQ_HEAD(, quic_stream) granted; /* the streams that have them */
};

/* A stream's part, embedded in it as `flow`. */
struct stream_flow {
	size_t window; /* bytes that the peer may send, or has sent */
	size_t owed; /* bytes of it that are consumed */
	size_t promised; /* bytes of it in conn->flow.promised */
	uint64_t credited_at; /* when the peer was last given credit; 0: not */
	uint64_t used_at; /* when bytes last came or were consumed */
	TAILQ_ENTRY(quic_stream) entry; /* in granted, if promised > 0 */
	bool quiet; /* not used for long: promises nothing */
};

/* The connection begins with a window of so many bytes. */
void flow_init(struct quic_conn *, size_t window);

void flow_open(struct quic_stream *);

/* `n` bytes have arrived and are in s->rx, or have been consumed from it. */
void flow_fill(struct quic_stream *, size_t n);
void flow_drain(struct quic_stream *, size_t n);

/* Nobody reads any more, and s->rx is empty. Idempotent. */
void flow_close(struct quic_stream *);

/* Gives credit that is due if the connection holds little enough by now. */
void flow_resume(struct quic_conn *);

/* Bytes of the chunk for `len` received bytes: more where more will follow. */
size_t flow_chunk(const struct quic_stream *, size_t len);

#endif
