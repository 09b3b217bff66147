#include "proxy/local/upstream/happy_eyeballs.h"

#include <stdio.h>
#include <string.h>

/* Milliseconds between two attempts (RFC 8305 §5). */
#define ATTEMPT_DELAY_MS 250

/*
 * Milliseconds for a look-up where addresses are known from an earlier one:
 * slow name servers must not keep us from an edge that is there.
 */
#define LOOKUP_MS 300

void
eyeballs_init(struct eyeballs *r, struct connection_host *host,
    const struct target *edge, struct quic_tls *tls)
{
	memset(r, 0, sizeof(*r));
	r->host = host;
	r->edge = edge;
	r->tls = tls;
	r->lookup.data = r;
	TAILQ_INIT(&r->links);
}

/* The reason that says most: one that time will not cure. */
static void
note(struct eyeballs *r, const char *address, const char *why, bool hopeless)
{
	char edge[TARGET_STRLEN];

	if (r->hopeless && !hopeless)
		return;
	target_format(r->edge, edge, sizeof(edge));
	snprintf(r->why, sizeof(r->why), "edge %s%s%s%s: %s", edge,
	    address != NULL ? " (" : "", address != NULL ? address : "",
	    address != NULL ? ")" : "", why);
	r->hopeless = hopeless;
}

/* ---- Addresses ---- */

static const struct addrinfo *
next_of(const struct addrinfo *ai, int family)
{
	while (ai != NULL && ai->ai_family != family)
		ai = ai->ai_next;
	return ai;
}

/* Adds an address, unless it is known, and goes on to the next of its kind. */
static const struct addrinfo *
add(struct eyeballs *r, const struct addrinfo *ai)
{
	struct sockaddr_storage address;

	if (ai == NULL)
		return NULL;
	memset(&address, 0, sizeof(address));
	memcpy(&address, ai->ai_addr, ai->ai_addrlen);
	for (size_t i = 0; i < r->naddresses; i++)
		if (memcmp(&r->addresses[i], &address, sizeof(address)) == 0)
			return next_of(ai->ai_next, ai->ai_family);
	if (r->naddresses < EYEBALLS_ADDRESSES_MAX)
		r->addresses[r->naddresses++] = address;
	return next_of(ai->ai_next, ai->ai_family);
}

/*
 * The families take turns (RFC 8305 §4), each in the resolver's order. While
 * earlier addresses are being tried, new ones come after them.
 */
static void
add_all(struct eyeballs *r, const struct addrinfo *list)
{
	const struct addrinfo *six = next_of(list, AF_INET6);
	const struct addrinfo *four = next_of(list, AF_INET);

	if (r->next == 0)
		r->naddresses = 0;
	while (six != NULL || four != NULL) {
		six = add(r, six);
		four = add(r, four);
	}
}

static void
on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct eyeballs *r = request->data;
	char why[QUIC_ERROR_MAX];

	r->looking_up = false;
	snprintf(why, sizeof(why), "the name does not resolve (%s)",
	    uv_strerror(status != 0 ? status : UV_EAI_NODATA));
	if (status == 0)
		add_all(r, list);
	if (status != 0 || r->naddresses == 0)
		note(r, NULL, why, false);
	uv_freeaddrinfo(list);
	r->host->changed(r->host->arg);
}

static void
look_up(struct eyeballs *r)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM,
		.ai_flags = AI_NUMERICSERV };
	char port[6];
	int rv;

	if (r->looking_up)
		return;
	snprintf(port, sizeof(port), "%u", r->edge->port);
	rv = uv_getaddrinfo(r->host->loop, &r->lookup, on_looked_up,
	    r->edge->host, port, &hints);
	if (rv == 0) {
		r->looking_up = true;
		return;
	}
	note(r, NULL, uv_strerror(rv), false);
	r->host->changed(r->host->arg);
}

/* ---- Attempts ---- */

void
eyeballs_start(struct eyeballs *r, uint64_t now)
{
	if (r->running)
		return;
	r->running = true;
	r->hopeless = false;
	r->began = r->due = now;
	r->next = 0;
	look_up(r);
}

static void
drop(struct eyeballs *r, struct connection *link)
{
	TAILQ_REMOVE(&r->links, link, entry);
	connection_close(link);
}

/*
 * An edge that speaks another protocol than it did before restarts, as a rule:
 * what answers in its place does so for a while.
 */
static void
note_link(struct eyeballs *r, const struct connection *link)
{
	char why[QUIC_ERROR_MAX + 64];

	if (!r->met || !link->foreign) {
		note(r, link->address, link->why, link->hopeless);
		return;
	}
	snprintf(why, sizeof(why),
	    "%s (it worked before: it may be restarting)", link->why);
	note(r, link->address, why, false);
}

/* The one who has arrived, if any; who has fallen lets the next one start. */
static struct connection *
look_at_links(struct eyeballs *r, uint64_t now)
{
	struct connection *link, *next;

	for (link = TAILQ_FIRST(&r->links); link != NULL; link = next) {
		next = TAILQ_NEXT(link, entry);
		if (link->was_up && link->state != CONNECTION_OVER)
			return link;
		if (link->state != CONNECTION_OVER)
			continue;
		note_link(r, link);
		drop(r, link);
		r->due = now;
	}
	return NULL;
}

/* Tries the next address; where there is no way to it, the one after. */
static void
start_next(struct eyeballs *r, uint64_t now)
{
	const struct sockaddr *address;
	char why[QUIC_ERROR_MAX];
	struct connection *link;
	int rv;

	while (r->next < r->naddresses) {
		address = (const struct sockaddr *)&r->addresses[r->next++];
		addr_format(address, r->address);
		rv = connection_new(
		    &link, r->host, r->tls, r->edge->host, address);
		if (rv == 0) {
			TAILQ_INSERT_TAIL(&r->links, link, entry);
			r->due = now + ATTEMPT_DELAY_MS;
			return;
		}
		note(r, r->address, quic_via_error(&r->host->via, rv, why),
		    false);
	}
}

/* Whether addresses may be tried: these are fresh, or will have to do. */
static bool
is_ready(const struct eyeballs *r, uint64_t now)
{
	return !r->looking_up || r->next > 0 ||
	    (r->naddresses > 0 && now >= r->began + LOOKUP_MS);
}

static void
sooner(uint64_t *at, uint64_t other)
{
	if (other < *at)
		*at = other;
}

enum eyeballs_result
eyeballs_step(struct eyeballs *r, uint64_t now, uint64_t *at)
{
	if (!r->running)
		return EYEBALLS_OFF;
	if ((r->winner = look_at_links(r, now)) != NULL) {
		TAILQ_REMOVE(&r->links, r->winner, entry);
		r->met = true;
		eyeballs_stop(r);
		return EYEBALLS_WON;
	}
	if (!is_ready(r, now)) {
		if (r->naddresses > 0)
			sooner(at, r->began + LOOKUP_MS);
		return EYEBALLS_ON;
	}
	if (now >= r->due)
		start_next(r, now);
	if (r->next < r->naddresses)
		sooner(at, r->due);
	else if (TAILQ_EMPTY(&r->links) && !r->looking_up) {
		r->running = false;
		return EYEBALLS_LOST;
	}
	return EYEBALLS_ON;
}

void
eyeballs_set_tls(struct eyeballs *r, struct quic_tls *tls)
{
	eyeballs_stop(r);
	r->tls = tls;
}

/* ---- The end ---- */

void
eyeballs_stop(struct eyeballs *r)
{
	r->running = false;
	r->next = 0;
	while (!TAILQ_EMPTY(&r->links))
		drop(r, TAILQ_FIRST(&r->links));
}

void
eyeballs_fini(struct eyeballs *r)
{
	eyeballs_stop(r);
	if (r->looking_up)
		uv_cancel((uv_req_t *)&r->lookup);
}
