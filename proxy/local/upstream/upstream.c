#include "proxy/local/upstream/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log.h"

/* Milliseconds that a further connection is kept without a tunnel. */
#define EXTRA_IDLE_MS 5000

/* Milliseconds between looks at connections that are to end. */
#define TICK_MS 250

/* Milliseconds until a failure that is not news is a warning again. */
#define COMPLAIN_MS 60000

int
upstream_new(struct upstream **out, struct connection_host *host,
    struct failover *choice, size_t index, const struct target *edge,
    struct quic_tls *tls)
{
	struct upstream *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->edge = *edge;
	w->index = index;
	w->choice = choice;
	w->tls = quic_tls_ref(tls);
	eyeballs_init(&w->race, host, &w->edge, w->tls);
	TAILQ_INIT(&w->links);
	*out = w;
	return 0;
}

void
upstream_renew(
    struct upstream *w, size_t index, struct quic_tls *tls, uint64_t now)
{
	struct quic_tls *old = w->tls;

	w->index = index;
	w->tls = quic_tls_ref(tls);
	eyeballs_set_tls(&w->race, w->tls);
	quic_tls_free(old);
	if (upstream_best(w) != NULL)
		failover_up(w->choice, index, now);
}

void
upstream_start(struct upstream *w, uint64_t now)
{
	failover_tried(w->choice, w->index, now);
	eyeballs_start(&w->race, now);
}

void
upstream_call_off(struct upstream *w)
{
	eyeballs_stop(&w->race);
	failover_called_off(w->choice, w->index);
}

/* ---- Losses ---- */

/* The same news every few seconds is no news. */
static bool
is_news(struct upstream *w, uint64_t now)
{
	if (strcmp(w->complaint, w->why) == 0 &&
	    now - w->complained < COMPLAIN_MS)
		return false;
	memcpy(w->complaint, w->why, sizeof(w->complaint));
	w->complained = now;
	return true;
}

static void
attempt_lost(struct upstream *w, uint64_t now)
{
	double pause = (double)failover_failed(
			   w->choice, w->index, now, w->race.hopeless) /
		       1000;
	char next[64];

	memcpy(w->why, w->race.why, sizeof(w->why));
	snprintf(next, sizeof(next),
	    "next attempt in %.1f s, sooner if a client is waiting", pause);
	if (is_news(w, now))
		log_warn("%s; %s", w->why, next);
	else
		log_debug("%s; %s", w->why, next);
}

/* A link has ended, and its tunnels with it. True: that was not our wish. */
static bool
bury(struct upstream *w, struct connection *link)
{
	bool lost = !link->drained && !link->spare;
	char edge[TARGET_STRLEN];

	if (lost) {
		target_format(&w->edge, edge, sizeof(edge));
		snprintf(w->why, sizeof(w->why), "edge %s (%s): %s", edge,
		    link->address, link->why);
		log_warn("connection lost: %s", w->why);
	} else
		log_info("connection to %s ended: %s", link->address,
		    link->why);
	TAILQ_REMOVE(&w->links, link, entry);
	connection_close(link);
	return lost;
}

/* ---- Links ---- */

struct connection *
upstream_best(const struct upstream *w)
{
	struct connection *link, *any = NULL;

	TAILQ_FOREACH(link, &w->links, entry) {
		if (link->state != CONNECTION_UP)
			continue;
		if (!link->doubted)
			return link;
		if (any == NULL)
			any = link;
	}
	return any;
}

size_t
upstream_width(const struct upstream *w)
{
	const struct connection *link;
	size_t n = 0;

	TAILQ_FOREACH(link, &w->links, entry)
	n += link->state == CONNECTION_UP;
	return n;
}

/* Further connections end when nobody has used them for a while. */
static void
retire(struct upstream *w, uint64_t now)
{
	struct connection *link;
	bool first = true;

	TAILQ_FOREACH(link, &w->links, entry) {
		if (link->state != CONNECTION_UP)
			continue;
		if (connection_tunnels(link) > 0)
			link->idle_since = 0;
		else if (link->idle_since == 0)
			link->idle_since = now;
		else if (!first && now - link->idle_since >= EXTRA_IDLE_MS)
			connection_drain(link);
		first = false;
	}
}

/* What has become of links that are OVER. */
struct ends {
	bool lost;     /* one ended against our wish ... */
	bool hopeless; /* ... for a reason that stays */
	bool spare;    /* one was not missed */
};

static void
tend(struct upstream *w, uint64_t now, uint64_t *at, struct ends *ends)
{
	bool restless = upstream_width(w) > 1;
	struct connection *link, *next;
	uint64_t due;

	retire(w, now);
	for (link = TAILQ_FIRST(&w->links); link != NULL; link = next) {
		next = TAILQ_NEXT(link, entry);
		due = connection_check(link, now);
		*at = due < *at ? due : *at;
		if (link->state == CONNECTION_DRAINING &&
		    connection_tunnels(link) == 0)
			connection_end(link, "its last tunnel has ended");
		restless |= link->state == CONNECTION_DRAINING;
		if (link->state != CONNECTION_OVER)
			continue;
		ends->hopeless |= link->hopeless;
		ends->spare |= link->spare;
		ends->lost |= bury(w, link);
	}
	if (restless && now + TICK_MS < *at)
		*at = now + TICK_MS;
}

/* ---- The step ---- */

static bool
run_race(struct upstream *w, uint64_t now, uint64_t *at)
{
	struct connection *link;

	switch (eyeballs_step(&w->race, now, at)) {
	case EYEBALLS_WON:
		TAILQ_FOREACH(link, &w->links, entry)
		connection_edge_answers(link);
		TAILQ_INSERT_TAIL(&w->links, w->race.winner, entry);
		failover_up(w->choice, w->index, now);
		w->complaint[0] = '\0';
		break;
	case EYEBALLS_LOST:
		attempt_lost(w, now);
		return true;
	case EYEBALLS_OFF:
	case EYEBALLS_ON:
		break;
	}
	return false;
}

/* What is left of the links is what the choice must know. */
static void
report(struct upstream *w, uint64_t now, const struct ends *ends)
{
	struct connection *best = upstream_best(w);

	if (w->leaving || !w->choice->edges[w->index].up)
		return;
	if (best != NULL)
		failover_doubt(w->choice, w->index, best->doubted);
	else if (ends->spare && !ends->lost)
		failover_rest(w->choice, w->index, now);
	else {
		failover_down(w->choice, w->index, now);
		if (ends->hopeless)
			failover_failed(w->choice, w->index, now, true);
	}
}

bool
upstream_step(struct upstream *w, uint64_t now, uint64_t *at)
{
	struct ends ends = { .lost = false };
	bool failed = run_race(w, now, at);

	tend(w, now, at, &ends);
	report(w, now, &ends);
	return failed || ends.lost;
}

/* ---- The end ---- */

void
upstream_leave(struct upstream *w)
{
	struct connection *link;

	w->leaving = true;
	eyeballs_fini(&w->race);
	TAILQ_FOREACH(link, &w->links, entry)
	connection_drain(link);
}

void
upstream_end(struct upstream *w, const char *why)
{
	struct connection *link;

	eyeballs_stop(&w->race);
	while ((link = TAILQ_FIRST(&w->links)) != NULL) {
		TAILQ_REMOVE(&w->links, link, entry);
		connection_end(link, why);
		connection_close(link);
	}
}

bool
upstream_is_gone(const struct upstream *w)
{
	return TAILQ_EMPTY(&w->links) && !w->race.looking_up;
}

void
upstream_free(struct upstream *w)
{
	quic_tls_free(w->tls);
	free(w);
}
