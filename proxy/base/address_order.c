#include "proxy/base/address_order.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/addr.h"

struct address_order_entry {
	struct sockaddr_in6 addr;
	bool tried;
};

int
address_order_add(struct address_order *o, const struct sockaddr *addr)
{
	struct address_order_entry *v = o->v;
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
	v[o->n++] = (struct address_order_entry){ .addr = copy };
	return 0;
}

/* The first that is untried, of the family that is next if there is one. */
static struct address_order_entry *
find_next(struct address_order *o)
{
	struct address_order_entry *other = NULL;

	for (unsigned i = 0; i < o->n; i++) {
		struct address_order_entry *e = &o->v[i];

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
address_order_next(struct address_order *o)
{
	struct address_order_entry *e = find_next(o);

	if (e == NULL)
		return NULL;
	e->tried = true;
	o->ntried++;
	o->family = e->addr.sin6_family == AF_INET ? AF_INET6 : AF_INET;
	return (const struct sockaddr *)&e->addr;
}

void
address_order_rewind(struct address_order *o)
{
	for (unsigned i = 0; i < o->n; i++)
		o->v[i].tried = false;
	o->ntried = 0;
	if (o->n > 0)
		o->family = o->v[0].addr.sin6_family;
}

void
address_order_clear(struct address_order *o)
{
	free(o->v);
	*o = (struct address_order){ .max = o->max };
}

uint64_t
address_order_delay(const struct address_order *o, uint64_t within_ms)
{
	unsigned left = o->n - o->ntried;
	uint64_t delay = within_ms / (left > 0 ? left : 1);

	if (delay > ADDRESS_DELAY_MS)
		return ADDRESS_DELAY_MS;
	return delay > ADDRESS_DELAY_MIN_MS ? delay : ADDRESS_DELAY_MIN_MS;
}
