#ifndef CULVERT_PROXY_LOCAL_LIMITS_H
#define CULVERT_PROXY_LOCAL_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/config/config.h"

/*
 * What clients may take of the local proxy. Each limit is an option of the
 * same name, and culvert(1) says what happens where it is reached.
 */
enum limit {
	/* These have a use that can be told. */
	LIMIT_CLIENTS,	    /* clients at once, in all */
	LIMIT_PER_LISTENER, /* clients at once of one address to listen on */
	LIMIT_PER_SOURCE,   /* clients at once from one address */
	LIMIT_DESCRIPTORS,  /* of this process; the system's */
	LIMIT_MEMORY,	    /* bytes: see quic_memory_new() */

	/* These are for each client by itself. */
	LIMIT_HEAD,	    /* bytes of a request's head */
	LIMIT_HEAD_TIME,    /* seconds from its first byte to its last */
	LIMIT_IDLE_TIME,    /* seconds that a client has asked for nothing */
	LIMIT_CONNECT_TIME, /* seconds that it waits for a tunnel */
	LIMIT_TUNNEL_TIME,  /* seconds that a tunnel or exchange is idle */
	LIMIT_LINGER_TIME,  /* seconds to read our last word */
	LIMIT_KEEPALIVE_TIME, /* seconds that it owes us a sign of life */

	LIMITS
};
#define LIMITS_COUNTED LIMIT_HEAD /* from here on there is no use */

struct limits {
	struct {
		uint64_t max;  /* 0: there is no limit */
		uint64_t use;  /* the fullest, where there are several */
		uint64_t hits; /* how often it was reached, since the start */
	} v[LIMITS];
};

/* Sets what the configuration says, and leaves use and hits alone. */
void limits_set(struct limits *, const struct config *);

/* Whether there is no room for one more than `n`, which counts as a hit. */
bool limits_hit(struct limits *, enum limit, uint64_t n);

/* A limit in seconds as milliseconds. */
uint64_t limits_ms(const struct limits *, enum limit);

/* Its name, as a member of the status object. */
const char *limits_name(enum limit);

#endif
