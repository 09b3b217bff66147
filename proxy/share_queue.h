#ifndef CULVERT_PROXY_SHARE_QUEUE_H
#define CULVERT_PROXY_SHARE_QUEUE_H

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
#define SHARE_SOURCE_MAX 256
#define SHARE_MAX 2048

TAILQ_HEAD(share_sources, share_source);
TAILQ_HEAD(share_items, share_item);

/* Something that waits, in the caller's memory; private. */
struct share_item {
	struct share_name *name; /* NULL: it does not wait */
	TAILQ_ENTRY(share_item) entry; /* of its name */
	TAILQ_ENTRY(share_item) later; /* of all, in the order they came */
};

struct share_queue {
	size_t n; /* items, for the owner to read */

	/* Private. */
	void *tree; /* tsearch(3), of struct share_source */
	struct share_sources turns; /* whose turn is next */
	struct share_items ages;
};

/* An empty one; when it is empty again it holds no memory. */
void share_queue_init(struct share_queue *);

/*
 * Puts an item at the end of what `source` has under `name`; both are copied.
 * Returns 0; or -EAGAIN: there is no room for this source, or for this name of
 * it; or -ENOMEM. Where room can be made by taking a younger item from somebody
 * who has more, that one leaves the queue and comes back in `*out` (else NULL).
 */
int share_queue_put(struct share_queue *, struct share_item *,
    const char *source, const char *name, struct share_item **out);

/* Takes the next one out; NULL: it is empty. */
struct share_item *share_queue_take(struct share_queue *);

/* The one that waits longest, still in the queue; NULL: it is empty. */
struct share_item *share_queue_oldest(const struct share_queue *);

/* Takes this one out; a no-op when it does not wait. */
void share_queue_remove(struct share_queue *, struct share_item *);

/*
 * The first item of the source and name that `matches`, or NULL: who asks for
 * the same can wait with it.
 */
struct share_item *share_queue_find(const struct share_queue *,
    const char *source, const char *name,
    bool (*matches)(const struct share_item *, const void *arg),
    const void *arg);

#endif
