#ifndef CULVERT_PROXY_LOCAL_STATISTICS_H
#define CULVERT_PROXY_LOCAL_STATISTICS_H

#include <stddef.h>
#include <stdint.h>

/*
 * What the listener counts of its clients, and what the status shows of it.
 */

/* All clients together. */
struct client_totals {
	size_t open;		       /* clients now, in any state */
	uint64_t total;		       /* clients since the start */
	uint64_t bytes_up, bytes_down; /* payload of all of them */
};

/* One client, as culvertctl shows it. Valid during the call. */
struct client_info {
	const char *target; /* "host:port", or empty while it is not known */
	const char *client; /* its address */
	const char *kind;   /* "socks5", "socks4", "connect", "http", "new" */
	const char *state;  /* "negotiating", "waiting", "open", "closing" */
	uint64_t age_ms;
	uint64_t bytes_up, bytes_down;
};

#endif
