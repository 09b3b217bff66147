/*
 * The memory that peers cause, on three levels: all connections, a connection,
 * a stream. This module alone allocates the bytes of streams, and it counts
 * what ngtcp2 and nghttp3 allocate, so that charges equal use. memory.c has the
 * limits, buffer.c the bytes, and reclaim.c acts when there is too much.
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
	MEMORY_RX,    /* chunks of bytes that are not consumed */
	MEMORY_TX,    /* chunks of bytes that are not acknowledged */
	MEMORY_OTHER, /* the connection, its streams, their fields */
	MEMORY_USES
};

/*
 * The sizes of a chunk's data, in bytes. A new stream, and one whose bytes wait
 * to be read, should not take much for a few bytes; 64 KiB is what one read
 * from a fast socket usually returns.
 */
#define CHUNK_SIZES 5
#define CHUNK_LEAST 512
#define CHUNK_FIRST 8192 /* to send, at first: two of QUIC_RESERVE_MIN */
#define CHUNK_NEXT 16384 /* to send after that; the most to receive */
#define CHUNK_MAX 65536

struct chunk {
	struct chunk *next;
	unsigned size; /* index of the size: below CHUNK_SIZES */
	size_t cap;    /* bytes of data */
	size_t begin;  /* first byte that is still used */
	size_t end;    /* one past the last byte that is filled */
	uint8_t data[];
};

/* A first-in first-out queue of bytes in chunks, of one stream. */
struct buffer {
	struct chunk *first, *last;
	size_t len;  /* bytes from first->begin to last->end */
	size_t held; /* bytes of memory of the chunks */
	enum memory_use use;
};

/*
 * The memory of a stream with its header section, most of it in the libraries,
 * as measured, and some spare.
 */
#define STREAM_COST 2048 /* bytes */

/*
 * Ranks by size: rank n has connections or streams that hold at least 512 << n
 * bytes; the last rank has all larger ones.
 */
#define MEMORY_RANKS 24
TAILQ_HEAD(conn_rank, quic_conn);
TAILQ_HEAD(stream_rank, quic_stream);

/* All connections. */
struct quic_memory {
	size_t max;	      /* bytes */
	size_t held;	      /* bytes, with `pooled` */
	size_t pooled;	      /* bytes */
	size_t sending;	      /* bytes of it that are MEMORY_TX */
	size_t closing;	      /* bytes of connections that are being closed */
	size_t grown;	      /* bytes that grown windows allow */
	size_t first_windows; /* bytes that first windows allow */
	/* With such windows, in order of use. */
	TAILQ_HEAD(, quic_conn) with_grown;
	struct conn_rank conns[MEMORY_RANKS];
	struct conn_rank rotation; /* all of them: reclaim.c */
	struct quic_conn *suspect; /* the most wasteful seen there; or NULL */
	size_t nconns, nstreams;
	uint64_t aborted, closed; /* streams, connections: memory was short */
	uint64_t reclaimed_at;	  /* as `now` */
	uint64_t short_since; /* as `now`; UINT64_MAX: memory is not short */
	unsigned steps_max;   /* steps of the longest call; for tests */
	uint64_t iteration;   /* of the loop: commit_quota.c */
	size_t nactive_now;   /* connections that committed bytes in it */
	size_t nactive;	      /* the same in the iteration before */
	uint64_t now;	      /* of the last datagram or expiry */
	struct chunk *pool[CHUNK_SIZES]; /* free chunks of each size */
	size_t npool[CHUNK_SIZES];
};

/* Bytes of a connection's streams that were consumed or acknowledged. */
struct conn_drain {
	size_t bytes, before; /* in this period, and in the one before */
	uint64_t period;      /* of this one, nanoseconds */
	uint64_t ends_at;     /* as `now` */
};

/* A connection's part, embedded in it as `memory`. */
struct conn_memory {
	struct quic_memory *all;
	size_t held; /* bytes: the sum of `used` */
	size_t used[MEMORY_USES];
	unsigned rank;
	TAILQ_ENTRY(quic_conn) rank_entry, rotation_entry;
	struct stream_rank streams[MEMORY_RANKS]; /* streams that hold chunks */
	/* Streams without room for a first chunk. */
	TAILQ_HEAD(, quic_stream) waiting;
	struct conn_drain drain;
	size_t handshake;    /* bytes charged for the handshake */
	size_t closing;	     /* bytes of it in all->closing */
	size_t grown;	     /* bytes of it in all->grown */
	size_t first_window; /* bytes of it in all->first_windows */
	/* In all->with_grown, if grown > 0. */
	TAILQ_ENTRY(quic_conn) grown_entry;
	uint64_t reclaim_at; /* reclaim_expire() is due; or UINT64_MAX */
	ngtcp2_mem quic_allocator;
	nghttp3_mem h3_allocator;
};

/* A stream's part, embedded in it as `memory`. */
struct stream_memory {
	size_t held; /* bytes of its chunks */
	unsigned rank;
	TAILQ_ENTRY(quic_stream) rank_entry;
	uint64_t moved_at; /* when bytes last moved, as `now` */
	TAILQ_ENTRY(quic_stream) waiting_entry;
	bool waiting;
};

/* ---- All ---- */

void memory_init(struct quic_memory *, size_t max);
void memory_trim(struct quic_memory *); /* frees the pool; buffer.c */

/* ---- A connection ---- */

void memory_attach(struct quic_conn *, struct quic_memory *);

/* `len` bytes of one TLS message have been received. */
void memory_handshake(struct quic_conn *, size_t len);

/* The handshake is over: the connection has allocated what it needs. */
void memory_handshake_done(struct quic_conn *);

/* After everything else of the connection is freed. */
void memory_detach(struct quic_conn *);

/*
 * Memory of the connection other than bytes of streams; as malloc(3) and its
 * relatives: `old` may be NULL. memory_charge() is for memory that others
 * allocate.
 */
void *memory_calloc(struct quic_conn *, size_t size);
void *memory_realloc(struct quic_conn *, void *old, size_t size);
void memory_release(struct quic_conn *, void *);
void memory_charge(struct quic_conn *, size_t size);
void memory_discharge(struct quic_conn *, size_t size);

/* The bytes that one more stream may hold in that direction. */
size_t memory_share(const struct quic_conn *, enum memory_use);

/*
 * The connection holds more unread bytes than it may, or will with the bytes
 * that its window allows: send no credit.
 */
bool memory_defers_credit(const struct quic_conn *);

/* The same, and the peer has hardly any credit left: streams wait. */
bool memory_is_blocked(const struct quic_conn *);

/*
 * The concurrent requests that the connection may have, for one that has
 * `nopen`: about twice as many, as far as memory goes.
 */
uint64_t memory_streams_max(const struct quic_conn *, uint64_t nopen);

/* The first window is `size` bytes. */
void memory_set_first_window(struct quic_conn *, size_t size);

/* The peer may send `size` bytes more than the first window allows. */
void memory_set_grown(struct quic_conn *, size_t size);

/* The first window of the connection; a later one, at most `wanted` bytes. */
size_t memory_first_window(const struct quic_conn *);
size_t memory_window(const struct quic_conn *, size_t wanted);

/* The bytes that the connection may hold, and whether it holds more. */
size_t memory_limit(const struct quic_conn *);
bool memory_is_over(const struct quic_conn *);

/*
 * The bytes that the libraries hold beyond the cost of the connection and its
 * streams.
 */
size_t memory_beyond(const struct quic_conn *);

/*
 * The bytes that the connection holds beyond what its traffic explains. Idle
 * streams are no waste: max_streams.c limits them.
 */
size_t memory_waste(const struct quic_conn *);

/*
 * reclaim.c. While it is due, a new connection is admitted only if another is
 * evicted. reclaim_check() follows every datagram, and costs nothing while
 * there is memory. The next two are for streams of the connection that wait,
 * and reclaim_at() sets when they are due.
 */
bool reclaim_is_due(const struct quic_memory *); /* NULL: false */
/* A new connection is refused. */
void reclaim_admit(struct quic_memory *, uint64_t now);
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
 * The first `n` bytes of the only chunk are about to be committed: if they are
 * few, they move to a chunk of the smallest size.
 */
void buffer_trim(struct quic_stream *, struct buffer *, size_t n);

/* Drops `n` bytes from the front, and empty chunks; `keep`: not the last. */
void buffer_drop(struct quic_stream *, struct buffer *, size_t n, bool keep);
void buffer_clear(struct quic_stream *, struct buffer *);

/* The memory that the stream may hold to send; 0: not even one chunk. */
size_t memory_to_send(const struct quic_stream *);

/* Fires the writable event when the stream may have its first chunk. */
void reclaim_wait(struct quic_stream *);
void reclaim_wait_end(struct quic_stream *);

/* Bytes of the stream have moved: its memory is not stuck. */
void memory_moved(struct quic_stream *);

/*
 * The same, and so many bytes of it were consumed or acknowledged: the
 * connection may hold more.
 */
void memory_drained(struct quic_stream *, size_t n);

#endif
