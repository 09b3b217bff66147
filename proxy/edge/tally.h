#ifndef CULVERT_PROXY_EDGE_TALLY_H
#define CULVERT_PROXY_EDGE_TALLY_H

#include <stddef.h>

/*
 * How many of something each name has: tunnels of users. A name is there as
 * long as it has one.
 */
struct tally {
	size_t names; /* for the owner to read */
	void *tree;   /* private; tsearch(3), of struct tally_entry */
};

/* A name and its count. */
struct tally_entry;

/*
 * Counts one more for `name`, which is copied, unless it has `max` already.
 * Returns 0, and the entry for tally_give(); -EDQUOT; or -ENOMEM.
 */
int tally_take(struct tally *, const char *name, size_t max,
    struct tally_entry **);

/* Counts one less; the entry may be gone. NULL is a no-op. */
void tally_give(struct tally *, struct tally_entry *);

/*
 * The largest count, and the name that has it: valid until the next call, NULL
 * when there is none.
 */
size_t tally_top(const struct tally *, const char **name);

#endif
