#include "proxy/local/upstream/upstream_edge.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log.h"
#include "proxy/local/upstream/migration.h"

/* Milliseconds that a further connection is kept without a tunnel. */
#define EXTRA_IDLE_MS 5000

/* Milliseconds between checks of connections that are to end. */
#define TICK_MS 250

/* Milliseconds until the same failure is logged as a warning again. */
#define WARN_INTERVAL_MS 60000

int
upstream_edge_new(struct upstream_edge **out,
    struct connection_context *context, struct failover *failover, size_t index,
    const struct target *edge, struct quic_tls *tls)
{
	struct upstream_edge *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return -ENOMEM;
	u->edge = *edge;
	u->index = index;
	u->failover = failover;
	u->tls = quic_tls_ref(tls);
	edge_attempts_init(&u->edge_attempts, context, &u->edge, u->tls);
	TAILQ_INIT(&u->connections);
	connection_limit_init(&u->limit);
	edge_losses_init(&u->losses);
	*out = u;
	return 0;
}

void
upstream_edge_update(struct upstream_edge *u, size_t index,
    struct quic_tls *tls, uint64_t now)
{
	struct quic_tls *old = u->tls;

	u->index = index;
	u->tls = quic_tls_ref(tls);
	connection_limit_init(&u->limit);
	edge_attempts_set_tls(&u->edge_attempts, u->tls);
	quic_tls_free(old);
	if (upstream_edge_best(u) != NULL)
		failover_up(u->failover, index, now);
}

static size_t
count_all(const struct upstream_edge *u)
{
	const struct connection *c;
	size_t n = 0;

	TAILQ_FOREACH(c, &u->connections, entry)
		n++;
	return n;
}

/* Whether tunnels can be had without any other connection. */
static bool
has_better(const struct upstream_edge *u)
{
	const struct connection *best = upstream_edge_best(u);

	return best != NULL && !best->suspect;
}

void
upstream_edge_connect(struct upstream_edge *u, uint64_t now)
{
	failover_connecting(u->failover, u->index, now);
	edge_attempts_start(&u->edge_attempts, now);
}

void
upstream_edge_cancel(struct upstream_edge *u)
{
	edge_attempts_stop(&u->edge_attempts);
	failover_cancelled(u->failover, u->index);
}

bool
upstream_edge_may_add(const struct upstream_edge *u, uint64_t now, uint64_t *at)
{
	size_t n = count_all(u);

	return n < UPSTREAM_EDGE_CONNECTIONS_MAX &&
	    failover_may_connect(u->failover, u->index, now, at) &&
	    connection_limit_allows(&u->limit, n, now, at);
}

void
upstream_edge_forget_failures(struct upstream_edge *u)
{
	connection_limit_init(&u->limit);
}

/* ---- Failures ---- */

/* A failure that repeats every few seconds is not worth a warning. */
static bool
is_new(struct upstream_edge *u, uint64_t now)
{
	if (strcmp(u->last_warning, u->why) == 0 &&
	    now - u->warned_ms < WARN_INTERVAL_MS)
		return false;
	memcpy(u->last_warning, u->why, sizeof(u->last_warning));
	u->warned_ms = now;
	return true;
}

/* The edge refuses a further connection, which is nobody's fault. */
static void
further_refused(struct upstream_edge *u, uint64_t now, const char *why)
{
	size_t n = count_all(u);
	uint64_t pause = connection_limit_refused(&u->limit, n, now,
	    u->failover->random);

	log_debug("no further connection beside %zu: %s; next attempt in %llu "
		  "s",
	    n, why, (unsigned long long)pause / 1000);
}

static void
attempt_failed(struct upstream_edge *u, uint64_t now)
{
	double pause = (double)failover_failed(u->failover, u->index, now,
			   u->edge_attempts.permanent) /
	    1000;
	char next[64];

	memcpy(u->why, u->edge_attempts.why, sizeof(u->why));
	snprintf(next, sizeof(next),
	    "next attempt in %.1f s, sooner if a client is waiting", pause);
	if (is_new(u, now))
		log_warn("%s; %s", u->why, next);
	else
		log_debug("%s; %s", u->why, next);
}

/*
 * A connection that the edge has closed before it carried anything, beside
 * another one: the edge makes room, or does not want so many.
 */
static bool
is_refused(const struct upstream_edge *u, const struct connection *c)
{
	return (!c->drained || c->goaway) && (c->evicted || !c->carried) &&
	    has_better(u);
}

/* Frees a connection that is CLOSED. True: it was lost. */
static bool
remove_closed(struct upstream_edge *u, struct connection *c, uint64_t now)
{
	bool refused = is_refused(u, c);
	bool lost = !c->drained && !c->evicted && !refused;
	char edge[TARGET_STRLEN];

	TAILQ_REMOVE(&u->connections, c, entry);
	if (refused)
		further_refused(u, now, c->why);
	else if (lost) {
		target_format(&u->edge, edge, sizeof(edge));
		snprintf(u->why, sizeof(u->why), "edge %s (%s): %s", edge,
		    c->address, c->why);
		log_warn("connection lost: %s", u->why);
	} else
		log_info("connection to %s ended: %s", c->address, c->why);
	connection_free(c);
	return lost;
}

/* ---- Connections ---- */

struct connection *
upstream_edge_best(const struct upstream_edge *u)
{
	return edge_silence_best(&u->connections);
}

size_t
upstream_edge_count(const struct upstream_edge *u)
{
	const struct connection *c;
	size_t n = 0;

	TAILQ_FOREACH(c, &u->connections, entry)
		n += c->state == CONNECTION_UP;
	return n;
}

/* ---- The step ---- */

/* Whether it has been idle for so long that it may end if it is not needed. */
static bool
is_idle(struct connection *c, uint64_t now)
{
	if (connection_tunnels(c) > 0)
		c->idle_since = 0;
	else if (c->idle_since == 0)
		c->idle_since = now;
	return c->idle_since != 0 && now - c->idle_since >= EXTRA_IDLE_MS;
}

/*
 * Connections but the best end when they have been idle for a while, unless
 * tunnels are spread over them. None ends while it is in doubt which works.
 */
static void
drain_idle(struct upstream_edge *u, uint64_t now)
{
	struct connection *c, *best = upstream_edge_best(u);
	uint64_t at = UINT64_MAX;
	bool sure = best != NULL && edge_silence_works(best, now, &at);
	size_t n = 0;

	TAILQ_FOREACH(c, &u->connections, entry) {
		if (c->state != CONNECTION_UP)
			continue;
		if (is_idle(c, now) && sure && c != best && !c->suspect &&
		    (n >= u->wanted || edge_losses_is_worn(c)))
			connection_drain(c);
		n++;
	}
}

/* How connections have ended. */
struct ends {
	bool lost;	/* one was lost ... */
	bool permanent; /* ... for a reason that will repeat */
	bool evicted;	/* one was closed while idle */
};

static void
step_connections(struct upstream_edge *u, uint64_t now, uint64_t *at,
    struct ends *ends)
{
	bool ticking = upstream_edge_count(u) > 1;
	struct connection *c, *next;
	uint64_t due;

	edge_silence_step(&u->connections, now, at);
	drain_idle(u, now);
	for (c = TAILQ_FIRST(&u->connections); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		due = connection_check(c, now);
		*at = due < *at ? due : *at;
		if (c->state == CONNECTION_DRAINING &&
		    connection_tunnels(c) == 0)
			connection_close(c, "its last tunnel has ended");
		ticking |= c->state == CONNECTION_DRAINING;
		if (c->state != CONNECTION_CLOSED)
			continue;
		ends->permanent |= c->permanent;
		ends->evicted |= c->evicted;
		ends->lost |= remove_closed(u, c, now);
	}
	if (ticking && now + TICK_MS < *at)
		*at = now + TICK_MS;
}

static bool
step_eyeballs(struct upstream_edge *u, uint64_t now, uint64_t *at)
{
	struct connection *c;

	switch (edge_attempts_step(&u->edge_attempts, now, at)) {
	case EDGE_ATTEMPTS_CONNECTED:
		TAILQ_FOREACH(c, &u->connections, entry)
			connection_edge_answers(c);
		TAILQ_INSERT_TAIL(&u->connections, u->edge_attempts.winner,
		    entry);
		failover_up(u->failover, u->index, now);
		u->last_warning[0] = '\0';
		break;
	case EDGE_ATTEMPTS_FAILED:
		if (has_better(u)) {
			failover_cancelled(u->failover, u->index);
			further_refused(u, now, u->edge_attempts.why);
			break;
		}
		attempt_failed(u, now);
		return true;
	case EDGE_ATTEMPTS_IDLE:
	case EDGE_ATTEMPTS_RUNNING:
		break;
	}
	return false;
}

/* Tells the failover what the connections have come to. */
static void
report(struct upstream_edge *u, uint64_t now, const struct ends *ends)
{
	struct connection *best = upstream_edge_best(u);

	if (u->removed || !u->failover->edges[u->index].up)
		return;
	if (best != NULL)
		failover_set_suspect(u->failover, u->index, best->suspect);
	else if (ends->evicted && !ends->lost)
		failover_evicted(u->failover, u->index, now);
	else {
		failover_down(u->failover, u->index, now);
		if (ends->permanent)
			failover_failed(u->failover, u->index, now, true);
	}
}

bool
upstream_edge_step(struct upstream_edge *u, uint64_t now, uint64_t *at)
{
	struct ends ends = { .lost = false };
	bool failed = step_eyeballs(u, now, at);

	step_connections(u, now, at, &ends);
	report(u, now, &ends);
	return failed || ends.lost;
}

/* ---- The end ---- */

void
upstream_edge_remove(struct upstream_edge *u)
{
	struct connection *c;

	u->removed = true;
	edge_attempts_fini(&u->edge_attempts);
	TAILQ_FOREACH(c, &u->connections, entry)
		connection_drain(c);
}

void
upstream_edge_close(struct upstream_edge *u, const char *why)
{
	struct connection *c;

	edge_attempts_stop(&u->edge_attempts);
	while ((c = TAILQ_FIRST(&u->connections)) != NULL) {
		TAILQ_REMOVE(&u->connections, c, entry);
		connection_close(c, why);
		connection_free(c);
	}
}

bool
upstream_edge_is_closed(const struct upstream_edge *u)
{
	return TAILQ_EMPTY(&u->connections) && !u->edge_attempts.resolving;
}

void
upstream_edge_free(struct upstream_edge *u)
{
	quic_tls_free(u->tls);
	free(u);
}
