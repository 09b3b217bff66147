#include "quic/gate.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#define NS_PER_S UINT64_C(1000000000)

#define IPV6_PREFIX 8 /* bytes: what a network gives to one customer */

static void
set_key(struct gate_source *source, const struct sockaddr *addr)
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
	const struct gate_source *x = a, *y = b;

	return memcmp(x->key, y->key, sizeof(x->key));
}

struct gate_source *
gate_find(const struct gate *gate, const struct sockaddr *addr)
{
	struct gate_source key, *const *found;

	set_key(&key, addr);
	found = tfind(&key, &gate->sources, compare);
	return found != NULL ? *found : NULL;
}

/*
 * A bucket that holds a second's worth of handshakes and fills evenly, kept as
 * the time at which it will be full.
 */
static bool
take_turn(struct gate *gate, uint64_t now)
{
	uint64_t cost = NS_PER_S / gate->per_second;

	if (gate->full_at < now)
		gate->full_at = now;
	if (gate->full_at + cost > now + NS_PER_S)
		return false;
	gate->full_at += cost;
	return true;
}

enum gate_verdict
gate_ask(struct gate *gate, bool proven, size_t half_open, uint64_t now)
{
	if (!proven && half_open >= gate->half_open_max)
		return GATE_PROVE;
	if (take_turn(gate, now))
		return GATE_ADMIT;
	return proven ? GATE_LATER : GATE_PROVE;
}

struct gate_source *
gate_enter(struct gate *gate, const struct sockaddr *remote)
{
	struct gate_source *source = malloc(sizeof(*source)), **found;

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
gate_leave(struct gate *gate, struct gate_source *source)
{
	if (source == NULL || --source->connections > 0)
		return;
	tdelete(source, &gate->sources, compare);
	free(source);
}
