#ifndef CULVERT_PROXY_BASE_TALLY_H
#define CULVERT_PROXY_BASE_TALLY_H

#include <stddef.h>

#include <netinet/in.h>
#include <sys/socket.h>

/*
 * Counts by name: the tunnels of each user, the clients of each address. A name
 * whose count is zero takes no memory.
 */
struct tally {
	size_t names; /* for the owner to read */
	void *tree;   /* private; tsearch(3), of struct tally_entry */
};

/* A name and its count. */
struct tally_entry;

/*
 * Adds one to the count of `name`, which is copied, unless it is `max` already.
 * Returns 0, and the entry for tally_give(); -EDQUOT; or -ENOMEM.
 */
int
tally_take(struct tally *, const char *name, size_t max, struct tally_entry **);

/* Subtracts one; at zero the entry is freed. NULL is a no-op. */
void tally_give(struct tally *, struct tally_entry *);

/*
 * Returns the largest count, and the name that has it, which is valid until the
 * next call, and NULL if there is none.
 */
size_t tally_top(const struct tally *, const char **name);

/*
 * Writes the name under which a client address is counted: an IPv4 address,
 * also if IPv4-mapped, or an IPv6 prefix of 64 bits, the least that a provider
 * assigns to a customer (RFC 6177). Returns `name`.
 */
#define TALLY_SOURCE_STRLEN INET6_ADDRSTRLEN
const char *
tally_source(const struct sockaddr *, char name[TALLY_SOURCE_STRLEN]);

#endif
