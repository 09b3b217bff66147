#ifndef CULVERT_PROXY_EDGE_DESCRIPTORS_H
#define CULVERT_PROXY_EDGE_DESCRIPTORS_H

#include <stddef.h>

#include "proxy/base/tally.h"

/*
 * The descriptors of sockets to origins, and each user's share of them. Where
 * the system permits few open files, one user must not take them all.
 *
 * A user may hold DESCRIPTORS_FACTOR times as many as are left: alone five
 * sixths of all, and less the more others there are, so that the next one
 * always finds some. What waits for a turn to connect holds none.
 */
#define DESCRIPTORS_FACTOR 5

struct descriptors {
	int end; /* the first that is none of these; may change at any time */

	/* Private; 0 at first. */
	size_t n; /* taken */
	size_t used; /* of the process, at least, when one was last taken */
	struct tally users;
};

/*
 * Counts the open descriptor `fd` for the user, or where there are no users the
 * address, of that name. Returns 0 and sets `*share`, which is to be given back
 * when `fd` is closed; or -EMFILE when none is left for anybody, -EDQUOT when
 * the rest is for other users, or -ENOMEM: the caller closes it.
 */
int descriptors_take(struct descriptors *, int fd, const char *name,
    struct tally_entry **share);

/* NULL is a no-op. */
void descriptors_give(struct descriptors *, struct tally_entry *share);

/* How many one user may hold, as things were when one was last taken. */
size_t descriptors_share(const struct descriptors *);

#endif
