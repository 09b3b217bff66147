#ifndef CULVERT_PROXY_BASE_CHUNK_QUEUE_H
#define CULVERT_PROXY_BASE_CHUNK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>
#include <sys/uio.h>

/*
 * A queue of bytes that never move: they are read into a chunk, and stay there
 * until they are dropped. An empty queue holds no chunk. Empty chunks go to a
 * pool, which many queues share, so that a read or a write allocates nothing
 * as a rule.
 */
struct queue_chunk;

TAILQ_HEAD(chunk_list, queue_chunk);

/* Bytes of a chunk: as many as a read of a fast connection returns. */
#define CHUNK_BYTES 65536

/* Chunks that a pool keeps: half a MiB, enough for a few busy connections. */
#define CHUNK_POOL_MAX 8

struct chunk_pool {
	/* Private. */
	struct chunk_list list;
	size_t n;
};

void chunk_pool_init(struct chunk_pool *);

/* Frees what it keeps. The queues that share it must be empty. */
void chunk_pool_fini(struct chunk_pool *);

struct chunk_queue {
	size_t len; /* for the owner to read: bytes */

	/* Private. */
	struct chunk_pool *pool;
	struct chunk_list chunks;
	size_t n; /* chunks */
};

/* Bytes that a queue with room may hold. */
#define CHUNK_QUEUE_MAX (2 * CHUNK_BYTES)

/* The pool must outlive the queue. */
void chunk_queue_init(struct chunk_queue *, struct chunk_pool *);

/* Drops all bytes. Nothing may point to them. */
void chunk_queue_clear(struct chunk_queue *);

/* Whether `min` bytes fit without going beyond CHUNK_QUEUE_MAX. */
bool chunk_queue_has_room(const struct chunk_queue *, size_t min);

/*
 * Memory for *len bytes at the end, at least `min` (up to CHUNK_BYTES), whether
 * there is room or not; NULL: out of memory. The next call for this queue is
 * the commit of the first `n` bytes, or of none.
 */
void *chunk_queue_reserve(struct chunk_queue *, size_t min, size_t *len);
void chunk_queue_commit(struct chunk_queue *, size_t n);

/*
 * Fills up to `max` vectors with the bytes from the first one on, and returns
 * their number.
 */
size_t chunk_queue_peek(const struct chunk_queue *, struct iovec *, size_t max);

/* Drops the first `n` bytes; so many are there. */
void chunk_queue_drop(struct chunk_queue *, size_t n);

#endif
