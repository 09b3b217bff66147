#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_DIRECT_OUTBOUND_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_DIRECT_OUTBOUND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/local/outbound/outbound.h"

/*
 * An outbound that connects from this machine, without an edge. Names are
 * looked up as other programs look them up, by getaddrinfo(3) in a thread of
 * the pool; addresses are tried as RFC 8305 has it.
 */
struct direct_outbound;

struct direct_settings {
	uint64_t timeout_ms;	      /* for the look-up and all attempts */
	unsigned keepalive_timeout_s; /* see liveness_watch() */

	/* False: no connection to this address. NULL: to every address. */
	bool (*permits)(void *arg, const struct sockaddr *addr);
	void *arg;
};

/* Addresses tried for one target: more than any normal name has. */
#define DIRECT_ADDRESSES_MAX 128

/*
 * Milliseconds after which the next address is tried, too, if there is no
 * answer yet (RFC 8305 §5); less if the addresses are many.
 */
#define DIRECT_ATTEMPT_DELAY_MS 250

/* 0 or a negative errno. The settings are copied. */
int direct_outbound_new(struct direct_outbound **, uv_loop_t *,
    const struct direct_settings *);

/* For the requests that follow. */
void
direct_outbound_set(struct direct_outbound *, const struct direct_settings *);

/* To open tunnels with; valid until it is freed. */
struct outbound *direct_outbound_get(struct direct_outbound *);

/*
 * Refuses the requests that wait and closes the streams, within this call, and
 * frees when the loop has closed the handles. No request may come any more.
 * NULL is a no-op.
 */
void direct_outbound_free(struct direct_outbound *);

#endif
