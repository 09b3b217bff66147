#include "quic/admission.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#define NS_PER_S UINT64_C(1000000000)

#define IPV6_PREFIX 8 /* bytes: what a network gives to one customer */

static void
set_key(struct admission_source *source, const struct sockaddr *addr)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)addr;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)addr;

	memset(source, 0, sizeof(*source));
	source->key[0] = (uint8_t)addr->sa_family;
	if (addr->sa_family == AF_INET6)
		memcpy(source->key + 1, &sin6->sin6_addr, IPV6_PREFIX);
	else
		memcpy(source->key + 1, &sin->sin_addr,
		    sizeof(sin->sin_addr));
}

static int
compare(const void *a, const void *b)
{
	const struct admission_source *x = a, *y = b;

	return memcmp(x->key, y->key, sizeof(x->key));
}

struct admission_source *
admission_find(const struct admission *gate, const struct sockaddr *addr)
{
	struct admission_source key, *const *found;

	set_key(&key, addr);
	found = tfind(&key, &gate->sources, compare);
	return found != NULL ? *found : NULL;
}

static uint64_t *
slot_of(struct admission *gate, const struct sockaddr *remote)
{
	struct admission_source key;
	uint64_t hash = gate->seed;

	set_key(&key, remote);
	for (size_t i = 0; i < sizeof(key.key); i++) {
		hash = (hash ^ key.key[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	return &gate->slots[hash % ADMISSION_SLOTS];
}

/*
 * Buckets that hold what fills them evenly in a second, kept as the time at
 * which each will be full: whether there is room for `cost`, in nanoseconds of
 * filling, and `spare` is left then.
 */
static bool
has(uint64_t full_at, uint64_t cost, uint64_t spare, uint64_t now)
{
	if (full_at < now)
		full_at = now;
	return full_at + cost + spare <= now + NS_PER_S;
}

static void
take(uint64_t *full_at, uint64_t cost, uint64_t now)
{
	if (*full_at < now)
		*full_at = now;
	*full_at += cost;
}

static uint64_t
at_most(uint64_t value, uint64_t most)
{
	return value < most ? value : most;
}

/* At least one in a second is there for whoever comes, and a source's share. */
static bool
take_turn(struct admission *gate, const struct sockaddr *remote, bool proven,
    uint64_t now)
{
	uint64_t cost = NS_PER_S / gate->per_second;
	uint64_t share = at_most(cost * ADMISSION_SHARES, NS_PER_S);
	uint64_t spare = at_most(NS_PER_S / ADMISSION_KEPT, NS_PER_S - cost);
	uint64_t *slot = slot_of(gate, remote);
	bool in_share = proven && has(*slot, share, 0, now);

	if (!has(gate->full_at, cost, in_share ? 0 : spare, now))
		return false;
	if (in_share)
		take(slot, share, now);
	take(&gate->full_at, cost, now);
	return true;
}

enum admission_verdict
admission_ask(struct admission *gate, const struct sockaddr *remote,
    bool proven, size_t half_open, uint64_t now)
{
	if (!proven && half_open >= gate->half_open_max)
		return ADMISSION_PROVE;
	if (take_turn(gate, remote, proven, now))
		return ADMISSION_ADMIT;
	return proven ? ADMISSION_LATER : ADMISSION_PROVE;
}

struct admission_source *
admission_enter(struct admission *gate, const struct sockaddr *remote)
{
	struct admission_source *source = malloc(sizeof(*source)), **found;

	if (source == NULL)
		return NULL;
	set_key(source, remote);
	evict_order_init(&source->order);
	found = tsearch(source, &gate->sources, compare);
	if (found == NULL || *found != source)
		free(source);
	if (found == NULL)
		return NULL;
	(*found)->connections++;
	return *found;
}

void
admission_leave(struct admission *gate, struct admission_source *source)
{
	if (source == NULL || --source->connections > 0)
		return;
	tdelete(source, &gate->sources, compare);
	free(source);
}
