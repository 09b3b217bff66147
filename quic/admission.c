#include "quic/admission.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#define NS_PER_S UINT64_C(1000000000)

#define IPV6_PREFIX 8 /* bytes: what a customer of a network has */

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
		memcpy(source->key + 1, &sin->sin_addr, sizeof(sin->sin_addr));
}

static int
compare(const void *a, const void *b)
{
	const struct admission_source *x = a, *y = b;

	return memcmp(x->key, y->key, sizeof(x->key));
}

struct admission_source *
admission_find(const struct admission *admission, const struct sockaddr *addr)
{
	struct admission_source key, *const *found;

	set_key(&key, addr);
	found = tfind(&key, &admission->sources, compare);
	return found != NULL ? *found : NULL;
}

static uint64_t *
slot_of(struct admission *admission, const struct sockaddr *remote)
{
	struct admission_source key;
	uint64_t hash = admission->seed;

	set_key(&key, remote);
	for (size_t i = 0; i < sizeof(key.key); i++) {
		hash = (hash ^ key.key[i]) * UINT64_C(0x9e3779b97f4a7c15);
		hash ^= hash >> 32;
	}
	return &admission->slots[hash % ADMISSION_SLOTS];
}

/*
 * A bucket is full after one second, and is kept as the time at which it will
 * be full. True: it has `cost`, in nanoseconds of filling, and `spare` is left
 * then.
 */
static bool
has_tokens(uint64_t full_at, uint64_t cost, uint64_t spare, uint64_t now)
{
	if (full_at < now)
		full_at = now;
	return full_at + cost + spare <= now + NS_PER_S;
}

static void
spend(uint64_t *full_at, uint64_t cost, uint64_t now)
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

/*
 * The total allows at least one handshake in a second, and so does each share.
 */
static bool
take_tokens(struct admission *admission, const struct sockaddr *remote,
    bool validated, uint64_t now)
{
	uint64_t cost = NS_PER_S / admission->per_second;
	uint64_t share = at_most(cost * ADMISSION_SHARES, NS_PER_S);
	uint64_t spare = at_most(NS_PER_S / ADMISSION_RESERVE, NS_PER_S - cost);
	uint64_t *slot = slot_of(admission, remote);
	bool in_share = validated && has_tokens(*slot, share, 0, now);

	if (!has_tokens(admission->full_at, cost, in_share ? 0 : spare, now))
		return false;
	if (in_share)
		spend(slot, share, now);
	spend(&admission->full_at, cost, now);
	return true;
}

enum admission_verdict
admission_decide(struct admission *admission, const struct sockaddr *remote,
    bool validated, size_t half_open, uint64_t now)
{
	if (!validated && half_open >= admission->half_open_max)
		return ADMISSION_RETRY;
	if (take_tokens(admission, remote, validated, now))
		return ADMISSION_ADMIT;
	return validated ? ADMISSION_DROP : ADMISSION_RETRY;
}

struct admission_source *
admission_enter(struct admission *admission, const struct sockaddr *remote)
{
	struct admission_source *source = malloc(sizeof(*source)), **found;

	if (source == NULL)
		return NULL;
	set_key(source, remote);
	evict_order_init(&source->order);
	found = tsearch(source, &admission->sources, compare);
	if (found == NULL || *found != source)
		free(source);
	if (found == NULL)
		return NULL;
	(*found)->connections++;
	return *found;
}

void
admission_leave(struct admission *admission, struct admission_source *source)
{
	if (source == NULL || --source->connections > 0)
		return;
	tdelete(source, &admission->sources, compare);
	free(source);
}
