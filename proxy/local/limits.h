#ifndef CULVERT_PROXY_LOCAL_LIMITS_H
#define CULVERT_PROXY_LOCAL_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/config/config.h"

/*
 * What clients may use of the local proxy. Each limit is an option of the same
 * name, and culvert(1) says what happens when it is reached.
 */
enum limit {
	/* The use of these is known. */
	LIMIT_CLIENTS,	    /* clients at once, in total */
	LIMIT_PER_LISTENER, /* clients at once of one address to listen on */
	LIMIT_PER_SOURCE,   /* clients at once from one address */
	LIMIT_DESCRIPTORS,  /* of this process, by setrlimit(2) */
	LIMIT_MEMORY,	    /* bytes: see quic_memory_new() */

	/* These count for each client by itself. */
	LIMIT_HEAD,	      /* bytes of a request's header section */
	LIMIT_HEAD_TIME,      /* seconds from its first byte to its last */
	LIMIT_IDLE_TIME,      /* seconds without a request */
	LIMIT_CONNECT_TIME,   /* seconds that a client waits for a tunnel */
	LIMIT_TUNNEL_TIME,    /* seconds that a tunnel or exchange is idle */
	LIMIT_LINGER_TIME,    /* seconds to read the last answer */
	LIMIT_KEEPALIVE_TIME, /* seconds until a silent client is gone */

	LIMITS
};
#define LIMITS_COUNTED LIMIT_HEAD /* the use is known below this one */

struct limits {
	struct {
		uint64_t max;  /* 0: there is no limit */
		uint64_t use;  /* the highest, where there are several */
		uint64_t hits; /* times that it was reached, since the start */
	} v[LIMITS];
};

/* Sets the maxima from the configuration, and keeps use and hits. */
void limits_set(struct limits *, const struct config *);

/* Whether `n` are too many for one more, which counts as a hit. */
bool limits_hit(struct limits *, enum limit, uint64_t n);

/* A limit in seconds as milliseconds. */
uint64_t limits_ms(const struct limits *, enum limit);

/* Its name, as a member of the status object. */
const char *limits_name(enum limit);

#endif
