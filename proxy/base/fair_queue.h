#ifndef CULVERT_PROXY_BASE_FAIR_QUEUE_H
#define CULVERT_PROXY_BASE_FAIR_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

/*
 * A queue in which sources take turns, and within a source the names that it
 * gives: whoever fills it makes himself wait, and not the others.
 *
 *	source 192.0.2.7 ── name "alice" ── item, item, item
 *	                 └─ name "bob" ──── item
 *	source 2001:db8:: ─ name "carol" ── item
 *
 * goes alice, carol, bob, alice, alice. Pure: no I/O, no clock.
 */

/* Items of one source, and of all: some hundred bytes each, and seconds. */
#define FAIR_SOURCE_MAX 256
#define FAIR_MAX 2048

TAILQ_HEAD(fair_sources, fair_source);
TAILQ_HEAD(fair_items, fair_item);

/* Something that waits, in the caller's memory; private. */
struct fair_item {
	struct fair_name *name; /* NULL: it does not wait */
	TAILQ_ENTRY(fair_item) entry; /* of its name */
	TAILQ_ENTRY(fair_item) later; /* of all, in the order they came */
};

struct fair_queue {
	size_t n; /* items, for the owner to read */

	/* Private. */
	void *tree; /* tsearch(3), of struct fair_source */
	struct fair_sources turns; /* whose turn is next */
	struct fair_items ages;
};

/* An empty one; when it is empty again it holds no memory. */
void fair_queue_init(struct fair_queue *);

/*
 * Puts an item at the end of what `source` has under `name`; both are copied.
 * Returns 0; or -EAGAIN: there is no room for this source, or for this name of
 * it; or -ENOMEM. Where room can be made by taking a younger item from somebody
 * who has more, that one leaves the queue and comes back in `*out` (else NULL).
 */
int fair_queue_put(struct fair_queue *, struct fair_item *, const char *source,
    const char *name, struct fair_item **out);

/* Takes the next one out; NULL: it is empty. */
struct fair_item *fair_queue_take(struct fair_queue *);

/* The one that waits longest, still in the queue; NULL: it is empty. */
struct fair_item *fair_queue_oldest(const struct fair_queue *);

/* Takes this one out; a no-op when it does not wait. */
void fair_queue_remove(struct fair_queue *, struct fair_item *);

/*
 * The first item of the source and name that `matches`, or NULL: who asks for
 * the same can wait with it.
 */
struct fair_item *
fair_queue_find(const struct fair_queue *, const char *source, const char *name,
    bool (*matches)(const struct fair_item *, const void *arg),
    const void *arg);

#endif
