#ifndef CULVERT_PROXY_EDGE_DESCRIPTORS_H
#define CULVERT_PROXY_EDGE_DESCRIPTORS_H

#include <stddef.h>

#include "proxy/base/keyed_counter.h"

/*
 * The descriptors of sockets to origins, and each user's share of them. If the
 * system permits few open files, one user must not take them all.
 *
 * A user may hold DESCRIPTORS_FACTOR times as many as are free: five sixths of
 * all if it is alone, and less with more users, so that there are always some
 * for the next one. An attempt that waits for a dial slot holds none.
 */
#define DESCRIPTORS_FACTOR 5

struct descriptors {
	int end; /* one past the last of them; may change at any time */

	/* Private; initially 0. */
	size_t n;    /* taken */
	size_t used; /* by the process, at least, when one was last taken */
	struct keyed_counter users;
};

/*
 * Counts the open descriptor `fd` for `name`: a user, or without users the
 * address of a client. Returns 0 and sets `*share`, which the caller gives back
 * when it closes `fd`. Returns -EMFILE if no descriptor is left, -EDQUOT if the
 * rest is reserved for other users, or -ENOMEM: the caller closes `fd`.
 */
int descriptors_take(struct descriptors *, int fd, const char *name,
    struct key_count **share);

/* NULL is a no-op. */
void descriptors_give(struct descriptors *, struct key_count *share);

/* How many one user may hold, as of the last descriptor that was taken. */
size_t descriptors_share(const struct descriptors *);

#endif
