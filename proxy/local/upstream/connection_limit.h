#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_CONNECTION_LIMIT_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_CONNECTION_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How many connections an edge allows: most limit those of one source, which
 * several clients behind a NAT may share, and none states its limit. So a
 * refusal shows it. Up to that number connections are made again at any time;
 * one more is tried after a backoff that doubles with each refusal.
 *
 * Pure: no I/O, no clock. Times are milliseconds of the caller's clock.
 */
struct connection_limit {
	size_t max;	     /* connections; SIZE_MAX: none was refused */
	uint64_t retry_at;   /* one more is tried then */
	uint64_t backoff_ms; /* the next one */
	uint64_t refused_at; /* at last */
};

/* No connection was refused: at first, and when the network has changed. */
void connection_limit_init(struct connection_limit *);

/*
 * The edge has refused or closed a connection beside `n` others. `random` is
 * as in failover_init(). Returns the backoff in milliseconds.
 */
uint64_t connection_limit_refused(struct connection_limit *, size_t n,
    uint64_t now, uint32_t (*random)(uint32_t below));

/*
 * Whether to try a connection beside `n` others. If not, `*at` is made no later
 * than the time to ask again.
 */
bool connection_limit_allows(const struct connection_limit *, size_t n,
    uint64_t now, uint64_t *at);

#endif
