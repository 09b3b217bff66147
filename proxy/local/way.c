#include "proxy/local/way.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/log.h"

/* Milliseconds that a further connection is kept without a tunnel. */
#define EXTRA_IDLE_MS 5000

/* Milliseconds between looks at connections that are to end. */
#define TICK_MS 250

/* Milliseconds until a failure that is not news is a warning again. */
#define COMPLAIN_MS 60000

int
way_new(struct way **out, struct link_host *host, struct choice *choice,
    size_t index, const struct target *edge, struct quic_tls *tls)
{
	struct way *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->edge = *edge;
	w->index = index;
	w->choice = choice;
	w->tls = quic_tls_ref(tls);
	race_init(&w->race, host, &w->edge, w->tls);
	TAILQ_INIT(&w->links);
	*out = w;
	return 0;
}

void
way_renew(struct way *w, size_t index, struct quic_tls *tls, uint64_t now)
{
	struct quic_tls *old = w->tls;

	w->index = index;
	w->tls = quic_tls_ref(tls);
	race_set_tls(&w->race, w->tls);
	quic_tls_free(old);
	if (way_best(w) != NULL)
		choice_up(w->choice, index, now);
}

void
way_start(struct way *w, uint64_t now)
{
	choice_tried(w->choice, w->index, now);
	race_start(&w->race, now);
}

void
way_call_off(struct way *w)
{
	race_stop(&w->race);
	choice_called_off(w->choice, w->index);
}

/* ---- Losses ---- */

/* The same news every few seconds is no news. */
static bool
is_news(struct way *w, uint64_t now)
{
	if (strcmp(w->complaint, w->why) == 0 &&
	    now - w->complained < COMPLAIN_MS)
		return false;
	memcpy(w->complaint, w->why, sizeof(w->complaint));
	w->complained = now;
	return true;
}

static void
attempt_lost(struct way *w, uint64_t now)
{
	double pause = (double)choice_failed(w->choice, w->index, now,
	    w->race.hopeless) / 1000;
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
bury(struct way *w, struct link *link)
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
	link_close(link);
	return lost;
}

/* ---- Links ---- */

struct link *
way_best(const struct way *w)
{
	struct link *link, *any = NULL;

	TAILQ_FOREACH(link, &w->links, entry) {
		if (link->state != LINK_UP)
			continue;
		if (!link->doubted)
			return link;
		if (any == NULL)
			any = link;
	}
	return any;
}

size_t
way_width(const struct way *w)
{
	const struct link *link;
	size_t n = 0;

	TAILQ_FOREACH(link, &w->links, entry)
		n += link->state == LINK_UP;
	return n;
}

/* Further connections end when nobody has used them for a while. */
static void
retire(struct way *w, uint64_t now)
{
	struct link *link;
	bool first = true;

	TAILQ_FOREACH(link, &w->links, entry) {
		if (link->state != LINK_UP)
			continue;
		if (link_tunnels(link) > 0)
			link->idle_since = 0;
		else if (link->idle_since == 0)
			link->idle_since = now;
		else if (!first && now - link->idle_since >= EXTRA_IDLE_MS)
			link_drain(link);
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
tend(struct way *w, uint64_t now, uint64_t *at, struct ends *ends)
{
	bool restless = way_width(w) > 1;
	struct link *link, *next;
	uint64_t due;

	retire(w, now);
	for (link = TAILQ_FIRST(&w->links); link != NULL; link = next) {
		next = TAILQ_NEXT(link, entry);
		due = link_check(link, now);
		*at = due < *at ? due : *at;
		if (link->state == LINK_DRAINING && link_tunnels(link) == 0)
			link_end(link, "its last tunnel has ended");
		restless |= link->state == LINK_DRAINING;
		if (link->state != LINK_OVER)
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
run_race(struct way *w, uint64_t now, uint64_t *at)
{
	struct link *link;

	switch (race_step(&w->race, now, at)) {
	case RACE_WON:
		TAILQ_FOREACH(link, &w->links, entry)
			link_edge_answers(link);
		TAILQ_INSERT_TAIL(&w->links, w->race.winner, entry);
		choice_up(w->choice, w->index, now);
		w->complaint[0] = '\0';
		break;
	case RACE_LOST:
		attempt_lost(w, now);
		return true;
	case RACE_OFF:
	case RACE_ON:
		break;
	}
	return false;
}

/* What is left of the links is what the choice must know. */
static void
report(struct way *w, uint64_t now, const struct ends *ends)
{
	struct link *best = way_best(w);

	if (w->leaving || !w->choice->edges[w->index].up)
		return;
	if (best != NULL)
		choice_doubt(w->choice, w->index, best->doubted);
	else if (ends->spare && !ends->lost)
		choice_rest(w->choice, w->index, now);
	else {
		choice_down(w->choice, w->index, now);
		if (ends->hopeless)
			choice_failed(w->choice, w->index, now, true);
	}
}

bool
way_step(struct way *w, uint64_t now, uint64_t *at)
{
	struct ends ends = { .lost = false };
	bool failed = run_race(w, now, at);

	tend(w, now, at, &ends);
	report(w, now, &ends);
	return failed || ends.lost;
}

/* ---- The end ---- */

void
way_leave(struct way *w)
{
	struct link *link;

	w->leaving = true;
	race_fini(&w->race);
	TAILQ_FOREACH(link, &w->links, entry)
		link_drain(link);
}

void
way_end(struct way *w, const char *why)
{
	struct link *link;

	race_stop(&w->race);
	while ((link = TAILQ_FIRST(&w->links)) != NULL) {
		TAILQ_REMOVE(&w->links, link, entry);
		link_end(link, why);
		link_close(link);
	}
}

bool
way_is_gone(const struct way *w)
{
	return TAILQ_EMPTY(&w->links) && !w->race.looking_up;
}

void
way_free(struct way *w)
{
	quic_tls_free(w->tls);
	free(w);
}
