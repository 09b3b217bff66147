/*
 * The memory that peers make us hold, in three levels: all connections, a
 * connection, a stream. This module alone allocates the bytes of streams, and
 * it counts what ngtcp2 and nghttp3 allocate, so that what is charged is what
 * is held. Used by the files of quic/ only; memory.c has the limits, buffer.c
 * the bytes, and reclaim.c what happens beyond the limits.
 */
#ifndef CULVERT_QUIC_MEMORY_H
#define CULVERT_QUIC_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2.h>

struct quic_conn;
struct quic_stream;

/* What a connection holds memory for. */
enum memory_use {
	MEMORY_RX, /* chunks of bytes that nobody has consumed */
	MEMORY_TX, /* chunks of bytes that are not acknowledged */
	MEMORY_OTHER, /* the connection, its streams, their heads */
	MEMORY_USES
};

/*
 * Bytes of a chunk's data, of each size there is. A stream that begins, and one
 * whose bytes wait to be read, should not take much for a few bytes; 64 KiB is
 * what one read from a socket usually has to offer at speed.
 */
#define CHUNK_SIZES 5
#define CHUNK_LEAST 512
#define CHUNK_FIRST 8192 /* to send, at first: two of QUIC_RESERVE_MIN */
#define CHUNK_NEXT 16384 /* to send after that; the most to receive */
#define CHUNK_MAX 65536

struct chunk {
	struct chunk *next;
	unsigned size; /* index: below CHUNK_SIZES */
	size_t cap; /* bytes of data */
	size_t begin; /* first byte that is still wanted */
	size_t end; /* one past the last byte that is filled */
	uint8_t data[];
};

/* A first-in first-out run of bytes in chunks, of one stream. */
struct buffer {
	struct chunk *first, *last;
	size_t len; /* bytes from first->begin to last->end */
	size_t held; /* bytes of memory of the chunks */
	enum memory_use use;
};

/*
 * A stream with its head costs so much in this process, most of it in the
 * libraries: as measured, and some.
 */
#define STREAM_COST 2048 /* bytes */

/* By size: rank n holds what has at least 512 << n bytes; the last, more. */
#define MEMORY_RANKS 24
TAILQ_HEAD(conn_rank, quic_conn);
TAILQ_HEAD(stream_rank, quic_stream);

/* All connections. */
struct quic_memory {
	size_t max; /* bytes */
	size_t held; /* bytes, with those of the pool: */
	size_t pooled; /* bytes */
	size_t sending; /* bytes of it that are MEMORY_TX */
	size_t closing; /* bytes of connections that are being closed for it */
	size_t promised; /* bytes that grown windows let peers send, ... */
	TAILQ_HEAD(, quic_conn) granted; /* ... by when they were used */
	struct conn_rank conns[MEMORY_RANKS];
	size_t nconns, nstreams;
	uint64_t aborted, closed; /* streams, connections, for want of memory */
	uint64_t reclaimed_at; /* as `now` */
	uint64_t short_since; /* as `now`; UINT64_MAX: it is not short */
	unsigned steps_max; /* looks of the longest relief; for tests */
	uint64_t iteration; /* of the owners' loop: quota.c */
	size_t takers_now; /* connections with bytes committed in it */
	size_t takers; /* ... and in the last one */
	struct chunk *pool[CHUNK_SIZES]; /* a few chunks that are kept warm */
	size_t npool[CHUNK_SIZES];
};

/* A connection's part, embedded in it as `memory`. */
struct conn_memory {
	struct quic_memory *all;
	size_t held; /* bytes: the sum of `used` */
	size_t used[MEMORY_USES];
	unsigned rank;
	TAILQ_ENTRY(quic_conn) rank_entry;
	struct stream_rank streams[MEMORY_RANKS]; /* those that hold chunks */
	TAILQ_HEAD(, quic_stream) waiting; /* wait for their first chunk */
	size_t handshake; /* bytes charged for what is to come */
	size_t closing; /* bytes of it in all->closing */
	size_t promised; /* bytes of it in all->promised */
	TAILQ_ENTRY(quic_conn) granted_entry; /* if that is not 0 */
	uint64_t reclaim_at; /* look after them; UINT64_MAX: no need */
	ngtcp2_mem quic_allocator;
	nghttp3_mem h3_allocator;
};

/* A stream's part, embedded in it as `memory`. */
struct stream_memory {
	size_t held; /* bytes of its chunks */
	unsigned rank;
	TAILQ_ENTRY(quic_stream) rank_entry;
	uint64_t moved_at; /* when bytes last found their way, as `now` */
	TAILQ_ENTRY(quic_stream) waiting_entry;
	bool waiting;
};

/* ---- All ---- */

void memory_init(struct quic_memory *, size_t max);
void memory_trim(struct quic_memory *); /* frees the pool; buffer.c */

/* ---- A connection ---- */

void memory_attach(struct quic_conn *, struct quic_memory *);

/* So many bytes of one message of the handshake have come. */
void memory_handshake(struct quic_conn *, size_t len);

/* The handshake is over: the connection holds what it needs by now. */
void memory_handshake_done(struct quic_conn *);

/* After everything else of the connection is freed. */
void memory_detach(struct quic_conn *);

/*
 * Memory of the connection that is not bytes of streams; as malloc(3) and its
 * kin, `old` may be NULL. memory_charge() is for what others allocate.
 */
void *memory_calloc(struct quic_conn *, size_t size);
void *memory_realloc(struct quic_conn *, void *old, size_t size);
void memory_release(struct quic_conn *, void *);
void memory_charge(struct quic_conn *, size_t size);
void memory_discharge(struct quic_conn *, size_t size);

/* Bytes that one more stream of the connection may hold in that direction. */
size_t memory_share(const struct quic_conn *, enum memory_use);

/*
 * The connection holds more unread bytes than it may, or will when what its
 * window allows has come: give no credit.
 */
bool memory_is_granted(const struct quic_conn *);

/* So it is, and its peer can hardly send any more: streams wait. */
bool memory_is_unread(const struct quic_conn *);

/* Requests at once that the connection may be allowed, of `wanted`. */
uint64_t memory_streams_max(const struct quic_conn *, uint64_t wanted);

/* So many bytes more than its first window lets the peer send may come. */
void memory_promise(struct quic_conn *, size_t size);

/* The window that the connection begins with; the next, of `wanted` bytes. */
size_t memory_first_window(const struct quic_conn *);
size_t memory_window(const struct quic_conn *, size_t wanted);

/* Bytes that the connection may hold, and whether it holds more. */
size_t memory_limit(const struct quic_conn *);
bool memory_is_over(const struct quic_conn *);

/*
 * reclaim.c. While relief is due, a newcomer is let in only if it takes the
 * place of another. reclaim_check() comes after every datagram and costs
 * nothing while there is room; the next two serve the connection's own streams
 * that wait, and reclaim_at() has them called by then.
 */
bool reclaim_is_due(const struct quic_memory *); /* NULL is fine */
void reclaim_admit(struct quic_memory *, uint64_t now); /* a newcomer knocks */
void reclaim_check(struct quic_conn *, uint64_t now);
uint64_t reclaim_deadline(const struct quic_conn *);
void reclaim_expire(struct quic_conn *, uint64_t now);
void reclaim_at(struct quic_conn *, uint64_t at);

/* ---- A stream ---- */

/* Its chunks have grown by `added` bytes of memory, and shrunk by `removed`. */
void memory_note(struct quic_stream *, enum memory_use, size_t added,
    size_t removed);

/*
 * buffer.c. Makes sure that the last chunk has `room` bytes free, or adds a
 * chunk of `want` bytes or more, up to CHUNK_MAX. -ENOMEM.
 */
int
buffer_grow(struct quic_stream *, struct buffer *, size_t room, size_t want);

/*
 * The first `n` bytes of the only chunk are about to be filled in: if they are
 * few, they move to a chunk that is no larger than they need.
 */
void buffer_trim(struct quic_stream *, struct buffer *, size_t n);

/* Drops `n` bytes from the front, and chunks but, if wanted, the last. */
void buffer_drop(struct quic_stream *, struct buffer *, size_t n, bool keep);
void buffer_clear(struct quic_stream *, struct buffer *);

/* Bytes of memory that the stream may hold to send; 0: not even a chunk. */
size_t memory_to_send(const struct quic_stream *);

/* Owes the stream a writable event for when it may have its first chunk. */
void reclaim_wait(struct quic_stream *);
void reclaim_wait_end(struct quic_stream *);

/* Bytes of the stream have found their way: its memory is not stuck. */
void memory_moved(struct quic_stream *);

#endif
