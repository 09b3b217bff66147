#ifndef CULVERT_PROXY_BASE_TALLY_H
#define CULVERT_PROXY_BASE_TALLY_H

#include <stddef.h>

#include <netinet/in.h>
#include <sys/socket.h>

/*
 * How many of something each name has: tunnels of users, clients of the
 * addresses they come from. A name is there as long as it has one.
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

/*
 * Writes the name under which a source of connections counts: an IPv4 address,
 * also one that IPv6 carries, or an IPv6 prefix of 64 bits, since a network
 * gives no customer less (RFC 6177). Returns `name`.
 */
#define TALLY_SOURCE_STRLEN INET6_ADDRSTRLEN
const char *tally_source(const struct sockaddr *,
    char name[TALLY_SOURCE_STRLEN]);

#endif
