#include "proxy/base/happy_eyeballs.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/addr.h"

struct happy_eyeballs_entry {
	struct sockaddr_in6 addr;
	bool tried;
};

int
happy_eyeballs_add(struct happy_eyeballs *o, const struct sockaddr *addr)
{
	struct happy_eyeballs_entry *v = o->v;
	struct sockaddr_in6 copy = { 0 };

	memcpy(&copy, addr, addr_len(addr));
	for (unsigned i = 0; i < o->n; i++)
		if (memcmp(&v[i].addr, &copy, sizeof(copy)) == 0)
			return -EEXIST;
	if (o->n == o->max)
		return -ENOSPC;
	/* The capacity is the next power of two. */
	if ((o->n & (o->n - 1)) == 0)
		v = realloc(v, (o->n > 0 ? 2 * o->n : 1) * sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	o->v = v;
	if (o->n == 0)
		o->family = addr->sa_family;
	v[o->n++] = (struct happy_eyeballs_entry){ .addr = copy };
	return 0;
}

/* The first that is untried, of the family that is next if there is one. */
static struct happy_eyeballs_entry *
find_next(struct happy_eyeballs *o)
{
	struct happy_eyeballs_entry *other = NULL;

	for (unsigned i = 0; i < o->n; i++) {
		struct happy_eyeballs_entry *e = &o->v[i];

		if (e->tried)
			continue;
		if (e->addr.sin6_family == o->family)
			return e;
		if (other == NULL)
			other = e;
	}
	return other;
}

const struct sockaddr *
happy_eyeballs_next(struct happy_eyeballs *o)
{
	struct happy_eyeballs_entry *e = find_next(o);

	if (e == NULL)
		return NULL;
	e->tried = true;
	o->ntried++;
	o->family = e->addr.sin6_family == AF_INET ? AF_INET6 : AF_INET;
	return (const struct sockaddr *)&e->addr;
}

void
happy_eyeballs_rewind(struct happy_eyeballs *o)
{
	for (unsigned i = 0; i < o->n; i++)
		o->v[i].tried = false;
	o->ntried = 0;
	if (o->n > 0)
		o->family = o->v[0].addr.sin6_family;
}

void
happy_eyeballs_clear(struct happy_eyeballs *o)
{
	free(o->v);
	*o = (struct happy_eyeballs){ .max = o->max };
}

uint64_t
happy_eyeballs_delay(const struct happy_eyeballs *o, uint64_t usual_ms,
    uint64_t within_ms)
{
	unsigned left = o->n - o->ntried;
	uint64_t delay = within_ms / (left > 0 ? left : 1);

	if (delay > usual_ms)
		return usual_ms;
	return delay > HAPPY_EYEBALLS_DELAY_MIN_MS
	    ? delay
	    : HAPPY_EYEBALLS_DELAY_MIN_MS;
}
