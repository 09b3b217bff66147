#ifndef CULVERT_PROXY_BASE_KEYED_COUNTER_H
#define CULVERT_PROXY_BASE_KEYED_COUNTER_H

#include <stddef.h>

/*
 * Counts by name: the tunnels of each user, the clients of each address. A name
 * whose count is zero takes no memory.
 */
struct keyed_counter {
	size_t names; /* for the owner to read */
	void *tree;   /* private; tsearch(3), of struct key_count */
};

/* A name and its count. */
struct key_count;

/*
 * Adds one to the count of `name`, which is copied, unless it is `max` already.
 * Returns 0, and the entry for keyed_counter_give(); -EDQUOT; or -ENOMEM.
 */
int keyed_counter_take(struct keyed_counter *, const char *name, size_t max,
    struct key_count **);

/* Subtracts one; at zero the entry is freed. NULL is a no-op. */
void keyed_counter_give(struct keyed_counter *, struct key_count *);

/*
 * Returns the largest count, and the name that has it, which is valid until the
 * next call, and NULL if there is none.
 */
size_t keyed_counter_top(const struct keyed_counter *, const char **name);

#endif
