#include "proxy/edge/dial_queue.h"

#include <errno.h>
#include <netinet/in.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define IPV4_AT 12 /* the offset of an IPv4 address, mapped or of NAT64 */

/* IPv4 in mapped form, IPv6 without the interface identifier. */
struct key {
	uint8_t host[16];
	in_port_t port;
};

/* It exists while it has slots in use or attempts that wait. */
struct origin {
	struct key key; /* first: the tree compares it */
	size_t dials;	/* slots in use */
	size_t nwaiting;
	TAILQ_HEAD(, dial_slot) waiting;
};

static const uint8_t mapped[IPV4_AT] = { [10] = 0xff, 0xff };
static const uint8_t nat64[IPV4_AT] = { 0, 0x64, 0xff, 0x9b };

static struct key
key_of(const struct sockaddr *addr)
{
	const struct sockaddr_in6 *sin6 = (const void *)addr;
	const struct sockaddr_in *sin = (const void *)addr;
	struct key key = { .port = sin->sin_port }; /* the same in IPv6 */

	memcpy(key.host, mapped, IPV4_AT);
	if (addr->sa_family == AF_INET)
		memcpy(key.host + IPV4_AT, &sin->sin_addr, 4);
	else if (memcmp(&sin6->sin6_addr, mapped, IPV4_AT) == 0 ||
	    memcmp(&sin6->sin6_addr, nat64, IPV4_AT) == 0)
		memcpy(key.host + IPV4_AT, &sin6->sin6_addr.s6_addr[IPV4_AT],
		    4);
	else {
		memset(key.host, 0, sizeof(key.host));
		memcpy(key.host, &sin6->sin6_addr, 8);
	}
	return key;
}

static int
compare(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return memcmp(x->host, y->host, sizeof(x->host));
}

static struct origin *
find_or_make(struct dial_queue *queue, const struct key *key)
{
	struct origin *const *found = tfind(key, &queue->tree, compare);
	struct origin *o;

	if (found != NULL)
		return *found;
	if ((o = calloc(1, sizeof(*o))) == NULL)
		return NULL;
	o->key = *key;
	TAILQ_INIT(&o->waiting);
	if (tsearch(o, &queue->tree, compare) == NULL) {
		free(o);
		return NULL;
	}
	return o;
}

int
dial_slot_take(struct dial_slot *s, struct dial_queue *queue,
    const struct sockaddr *addr, void (*on_ready)(void *arg), void *arg)
{
	struct key key = key_of(addr);
	struct origin *o = find_or_make(queue, &key);

	*s = (struct dial_slot){ .origin = o,
		.on_ready = on_ready,
		.arg = arg };
	if (o == NULL)
		return -ENOMEM;
	/* The origin stays: others use it. */
	if (o->nwaiting == ORIGIN_WAITING_MAX)
		return -EAGAIN;
	s->queue = queue;
	if (o->dials < queue->dials_max) {
		o->dials++;
		return 1;
	}
	s->waiting = true;
	o->nwaiting++;
	TAILQ_INSERT_TAIL(&o->waiting, s, entry);
	queue->waiting++;
	return 0;
}

static void
stop_waiting(struct dial_slot *s)
{
	TAILQ_REMOVE(&s->origin->waiting, s, entry);
	s->origin->nwaiting--;
	s->queue->waiting--;
	s->waiting = false;
}

static void
free_if_done(struct dial_queue *queue, struct origin *o)
{
	if (o->dials > 0 || !TAILQ_EMPTY(&o->waiting))
		return;
	tdelete(o, &queue->tree, compare);
	free(o);
}

/*
 * The next attempt inherits the slot before its on_ready is called, so that the
 * origin still exists if that call ends the attempt.
 */
void
dial_slot_release(struct dial_slot *s)
{
	struct dial_queue *queue = s->queue;
	struct origin *o = s->origin;
	struct dial_slot *next = NULL;

	if (queue == NULL)
		return;
	if (s->waiting)
		stop_waiting(s);
	else if (o->dials <= queue->dials_max &&
	    (next = TAILQ_FIRST(&o->waiting)) != NULL)
		stop_waiting(next);
	else
		o->dials--;
	s->queue = NULL;
	if (next != NULL)
		next->on_ready(next->arg);
	else
		free_if_done(queue, o);
}
