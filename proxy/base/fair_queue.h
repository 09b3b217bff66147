#ifndef CULVERT_PROXY_BASE_FAIR_QUEUE_H
#define CULVERT_PROXY_BASE_FAIR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

/*
 * A queue that serves sources in round robin, and within a source the names
 * that it uses: a source that fills the queue delays itself and no other.
 *
 *	source 192.0.2.7 ── name "alice" ── item, item, item
 *	                 └─ name "bob" ──── item
 *	source 2001:db8:: ─ name "carol" ── item
 *
 * yields alice, carol, bob, alice, alice. Pure: no I/O, no clock.
 */

/*
 * Items of one source, and of all: each takes some hundred bytes, and up to
 * seconds to be served.
 */
#define FAIR_SOURCE_MAX 256
#define FAIR_MAX 2048

TAILQ_HEAD(fair_sources, fair_source);
TAILQ_HEAD(fair_items, fair_item);

/* An item, in the caller's memory; private. */
struct fair_item {
	struct fair_name *name;	      /* NULL: it is not in a queue */
	TAILQ_ENTRY(fair_item) entry; /* among those of its name */
	TAILQ_ENTRY(fair_item) later; /* among all, oldest first */
};

struct fair_queue {
	size_t n; /* items, for the owner to read */

	/* Private. */
	void *tree;		   /* tsearch(3), of struct fair_source */
	struct fair_sources round; /* the next source first */
	struct fair_items ages;	   /* all items, oldest first */
};

/* Makes an empty queue. A queue holds memory only while it holds items. */
void fair_queue_init(struct fair_queue *);

/*
 * Appends an item to those that `source` has under `name`; both are copied.
 * If the queue or the source is full, the newest item of a source or name that
 * has more makes room: it leaves the queue and is returned in `*out` (else
 * NULL). Returns 0; -EAGAIN if no other has more; or -ENOMEM.
 */
int fair_queue_put(struct fair_queue *, struct fair_item *, const char *source,
    const char *name, struct fair_item **out);

/* Removes and returns the next item; NULL if the queue is empty. */
struct fair_item *fair_queue_take(struct fair_queue *);

/* Returns the item that waits longest, which stays; NULL if there is none. */
struct fair_item *fair_queue_oldest(const struct fair_queue *);

/* Removes an item; a no-op if it is not in the queue. */
void fair_queue_remove(struct fair_queue *, struct fair_item *);

/*
 * Returns the first item of the source and name for which `matches` is true,
 * or NULL: a second request for the same can share it.
 */
struct fair_item *
fair_queue_find(const struct fair_queue *, const char *source, const char *name,
    bool (*matches)(const struct fair_item *, const void *arg),
    const void *arg);

#endif
