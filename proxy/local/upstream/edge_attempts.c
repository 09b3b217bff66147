#include "proxy/local/upstream/edge_attempts.h"

#include <stdio.h>
#include <string.h>

/*
 * Milliseconds to resolve the name when addresses are known from before: slow
 * name servers must not delay a connection to an edge that is there.
 */
#define RESOLVE_MS 300

void
edge_attempts_init(struct edge_attempts *e, struct connection_context *context,
    const struct target *edge, struct quic_tls *tls)
{
	memset(e, 0, sizeof(*e));
	e->context = context;
	e->edge = edge;
	e->tls = tls;
	e->lookup.data = e;
	e->addresses.max = EDGE_ATTEMPTS_ADDRESSES_MAX;
	TAILQ_INIT(&e->attempts);
}

/* Keeps the reason of a failure; a permanent one outlasts the others. */
static void
note(struct edge_attempts *e, const char *address, const char *why,
    bool permanent)
{
	char edge[TARGET_STRLEN];

	if (e->permanent && !permanent)
		return;
	target_format(e->edge, edge, sizeof(edge));
	snprintf(e->why, sizeof(e->why), "edge %s%s%s%s: %s", edge,
	    address != NULL ? " (" : "", address != NULL ? address : "",
	    address != NULL ? ")" : "", why);
	e->permanent = permanent;
}

/* ---- Addresses ---- */

static const struct addrinfo *
next_of(const struct addrinfo *ai, int family)
{
	while (ai != NULL && ai->ai_family != family)
		ai = ai->ai_next;
	return ai;
}

/* Adds an address unless it is known. Returns the next of its family. */
static const struct addrinfo *
add(struct edge_attempts *e, const struct addrinfo *ai)
{
	if (ai == NULL)
		return NULL;
	(void)happy_eyeballs_add(&e->addresses, ai->ai_addr);
	return next_of(ai->ai_next, ai->ai_family);
}

/*
 * Adds alternately, so that the limit leaves room for both families. While
 * earlier addresses are being tried, new ones follow them.
 */
static void
add_all(struct edge_attempts *e, const struct addrinfo *list)
{
	const struct addrinfo *six = next_of(list, AF_INET6);
	const struct addrinfo *four = next_of(list, AF_INET);

	if (e->addresses.ntried == 0)
		happy_eyeballs_clear(&e->addresses);
	while (six != NULL || four != NULL) {
		six = add(e, six);
		four = add(e, four);
	}
}

static void
on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct edge_attempts *e = request->data;
	char why[QUIC_ERROR_MAX];

	e->resolving = false;
	snprintf(why, sizeof(why), "the name does not resolve (%s)",
	    uv_strerror(status != 0 ? status : UV_EAI_NODATA));
	if (status == 0)
		add_all(e, list);
	if (status != 0 || e->addresses.n == 0)
		note(e, NULL, why, false);
	uv_freeaddrinfo(list);
	e->context->changed(e->context->arg);
}

static void
resolve(struct edge_attempts *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM,
		.ai_flags = AI_NUMERICSERV };
	char port[6];
	int rv;

	if (e->resolving)
		return;
	snprintf(port, sizeof(port), "%u", e->edge->port);
	rv = uv_getaddrinfo(e->context->loop, &e->lookup, on_resolved,
	    e->edge->host, port, &hints);
	if (rv == 0) {
		e->resolving = true;
		return;
	}
	note(e, NULL, uv_strerror(rv), false);
	e->context->changed(e->context->arg);
}

/* ---- Attempts ---- */

void
edge_attempts_start(struct edge_attempts *e, uint64_t now)
{
	if (e->running)
		return;
	e->running = true;
	e->permanent = false;
	e->began = e->due = now;
	happy_eyeballs_rewind(&e->addresses);
	resolve(e);
}

static void
drop(struct edge_attempts *e, struct connection *c)
{
	TAILQ_REMOVE(&e->attempts, c, entry);
	connection_free(c);
}

/*
 * An edge that speaks another protocol than before is usually restarting, and
 * something else answers in its place for a while: that is not permanent.
 */
static void
note_failure(struct edge_attempts *e, const struct connection *c)
{
	char why[QUIC_ERROR_MAX + 64];

	if (!e->was_connected || !c->no_h3) {
		note(e, c->address, c->why, c->permanent);
		return;
	}
	snprintf(why, sizeof(why),
	    "%s (it worked before: it may be restarting)", c->why);
	note(e, c->address, why, false);
}

/* The attempt that has succeeded, if any. After a failure the next is due. */
static struct connection *
check_attempts(struct edge_attempts *e, uint64_t now)
{
	struct connection *c, *next;

	for (c = TAILQ_FIRST(&e->attempts); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (c->was_up && c->state != CONNECTION_CLOSED)
			return c;
		if (c->state != CONNECTION_CLOSED)
			continue;
		note_failure(e, c);
		drop(e, c);
		e->due = now;
	}
	return NULL;
}

/* Tries the next address, or the one after if there is no route to it. */
static void
start_next(struct edge_attempts *e, uint64_t now)
{
	const struct sockaddr *address;
	char why[QUIC_ERROR_MAX];
	struct connection *c;
	int rv;

	while ((address = happy_eyeballs_next(&e->addresses)) != NULL) {
		addr_format(address, e->address);
		rv = connection_new(&c, e->context, e->tls, e->edge->host,
		    address);
		if (rv == 0) {
			TAILQ_INSERT_TAIL(&e->attempts, c, entry);
			e->due = now + EDGE_ATTEMPTS_DELAY_MS;
			return;
		}
		note(e, e->address, quic_via_error(&e->context->via, rv, why),
		    false);
	}
}

/* Whether addresses may be tried: they are new, or resolving takes long. */
static bool
is_ready(const struct edge_attempts *e, uint64_t now)
{
	return !e->resolving || e->addresses.ntried > 0 ||
	    (e->addresses.n > 0 && now >= e->began + RESOLVE_MS);
}

static void
sooner(uint64_t *at, uint64_t other)
{
	if (other < *at)
		*at = other;
}

enum edge_attempts_result
edge_attempts_step(struct edge_attempts *e, uint64_t now, uint64_t *at)
{
	if (!e->running)
		return EDGE_ATTEMPTS_IDLE;
	if ((e->winner = check_attempts(e, now)) != NULL) {
		TAILQ_REMOVE(&e->attempts, e->winner, entry);
		e->was_connected = true;
		edge_attempts_stop(e);
		return EDGE_ATTEMPTS_CONNECTED;
	}
	if (!is_ready(e, now)) {
		if (e->addresses.n > 0)
			sooner(at, e->began + RESOLVE_MS);
		return EDGE_ATTEMPTS_RUNNING;
	}
	if (now >= e->due)
		start_next(e, now);
	if (e->addresses.ntried < e->addresses.n)
		sooner(at, e->due);
	else if (TAILQ_EMPTY(&e->attempts) && !e->resolving) {
		e->running = false;
		return EDGE_ATTEMPTS_FAILED;
	}
	return EDGE_ATTEMPTS_RUNNING;
}

void
edge_attempts_set_tls(struct edge_attempts *e, struct quic_tls *tls)
{
	edge_attempts_stop(e);
	e->tls = tls;
}

/* ---- The end ---- */

void
edge_attempts_stop(struct edge_attempts *e)
{
	e->running = false;
	happy_eyeballs_rewind(&e->addresses);
	while (!TAILQ_EMPTY(&e->attempts))
		drop(e, TAILQ_FIRST(&e->attempts));
}

void
edge_attempts_fini(struct edge_attempts *e)
{
	edge_attempts_stop(e);
	happy_eyeballs_clear(&e->addresses);
	e->addresses.max = 0; /* resolving may still succeed */
	if (e->resolving)
		uv_cancel((uv_req_t *)&e->lookup);
}
