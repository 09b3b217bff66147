#include "proxy/local/upstream/connection_limit.h"

/*
 * Milliseconds of the backoff, at first and at most: a further connection is
 * useful, and nothing waits for it alone. A random part of it is added, since
 * all clients of an edge may be refused at once.
 */
#define BACKOFF_FIRST_MS 30000
#define BACKOFF_MAX_MS 1800000
#define RANDOM_PART 4

/* Milliseconds without a refusal, after which the backoff begins anew. */
#define FORGET_MS (2 * BACKOFF_MAX_MS)

void
connection_limit_init(struct connection_limit *l)
{
	*l = (struct connection_limit){ .max = SIZE_MAX,
		.backoff_ms = BACKOFF_FIRST_MS };
}

uint64_t
connection_limit_refused(struct connection_limit *l, size_t n, uint64_t now,
    uint32_t (*random)(uint32_t below))
{
	uint64_t wait;

	if (now - l->refused_at >= FORGET_MS)
		l->backoff_ms = BACKOFF_FIRST_MS;
	wait = l->backoff_ms;
	wait += random((uint32_t)wait / RANDOM_PART);
	l->backoff_ms = 2 * l->backoff_ms < BACKOFF_MAX_MS ? 2 * l->backoff_ms
							   : BACKOFF_MAX_MS;
	l->max = n;
	l->refused_at = now;
	l->retry_at = now + wait;
	return wait;
}

bool
connection_limit_allows(const struct connection_limit *l, size_t n,
    uint64_t now, uint64_t *at)
{
	if (n < l->max || now >= l->retry_at)
		return true;
	if (l->retry_at < *at)
		*at = l->retry_at;
	return false;
}
