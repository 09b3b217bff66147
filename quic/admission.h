/*
 * Which Initials open a connection of a server: a rate limit by token buckets,
 * and the connections of each source. Pure: counts and times. server.c calls it
 * once for each Initial.
 */
#ifndef CULVERT_QUIC_ADMISSION_H
#define CULVERT_QUIC_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>

#include "quic/evict.h"

#define ADMISSION_KEY_LEN 9 /* bytes: a family, and an IPv4 address or /64 */

/* Connections of one source, an IPv4 address or an IPv6 /64. */
struct admission_source {
	uint8_t
	    key[ADMISSION_KEY_LEN]; /* first: look-ups compare nothing else */
	size_t connections;
	struct evict_order order;
};

/*
 * Of the handshakes of a second each source has a share, an eighth. Beyond its
 * share a source is admitted only while more than a quarter of them is left,
 * and so is a client whose address is not validated: that reserve is for
 * validated sources within their share. Sources are hashed into slots with a
 * secret seed, so that a flood needs no more memory; two in one slot have one
 * share.
 */
#define ADMISSION_SHARES 8
#define ADMISSION_RESERVE 4
#define ADMISSION_SLOTS 1024

/* The caller sets the first part, and may change it at any time. */
struct admission {
	/* Handshakes under way; beyond it addresses are validated. */
	size_t half_open_max;
	unsigned per_second; /* handshakes that begin; not 0 */
	uint64_t seed;	     /* random; set once */

	/* Private; all zero at first. */
	uint64_t full_at; /* as `now`: when the bucket is full again */
	/* The same for the shares of sources. */
	uint64_t slots[ADMISSION_SLOTS];
	void *sources; /* tsearch(3) tree of struct admission_source */
};

enum admission_verdict {
	ADMISSION_ADMIT, /* begin the handshake; it is counted */
	ADMISSION_RETRY, /* validate the address first (RFC 9000 §8.1) */
	ADMISSION_DROP	 /* do not answer: the client sends its Initial again */
};

/*
 * What to do with an Initial from `remote`, an address that is `validated` or
 * not, while `half_open` handshakes are under way.
 */
enum admission_verdict
admission_decide(struct admission *, const struct sockaddr *remote,
    bool validated, size_t half_open, uint64_t now);

/* The source of that address. NULL: it has no connection. */
struct admission_source *
admission_find(const struct admission *, const struct sockaddr *remote);

/*
 * Counts a connection of that source, after a token or the handshake has
 * validated its address: spoofed packets must not count against a source. The
 * result is for admission_leave(), when the connection ends. NULL, if memory
 * was short, is allowed there.
 */
struct admission_source *
admission_enter(struct admission *, const struct sockaddr *remote);
void admission_leave(struct admission *, struct admission_source *);

#endif
