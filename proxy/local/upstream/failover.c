#include "proxy/local/upstream/failover.h"

#include <string.h>

/*
 * Milliseconds of the pause after a failed attempt: at first, at most, and at
 * most while clients wait, who must not miss an edge that is back by much.
 */
#define PAUSE_FIRST_MS 250
#define PAUSE_MAX_MS 30000
#define PAUSE_WAITED_MS 500

/*
 * Milliseconds, on average, until an edge is tried again that needed the room
 * of an idle connection: nobody misses it until a client asks for a tunnel.
 */
#define REST_MS 60000

/* Milliseconds that an edge must be up for its attempt to have succeeded. */
#define STABLE_MS 1000

/*
 * Milliseconds that an edge is up before it takes over from one that is less
 * preferred: at first, and at most. It doubles when the edge is lost before it
 * was up for that most.
 */
#define TRUST_FIRST_MS 1500
#define TRUST_MAX_MS 300000

/*
 * Milliseconds that an attempt has before the next edge is tried beside it:
 * room for a lost packet, and not for a client's patience to run out.
 */
#define HEAD_START_MS 1000

static void
sooner(uint64_t *at, uint64_t other)
{
	if (other < *at)
		*at = other;
}

static uint64_t
at_most(uint64_t value, uint64_t most)
{
	return value < most ? value : most;
}

static bool
is_well(const struct failover_edge *e)
{
	return e->up && !e->doubted;
}

void
failover_init(struct failover *c, size_t n, uint32_t (*random)(uint32_t below))
{
	memset(c, 0, sizeof(*c));
	c->n = n;
	c->serving = -1;
	c->random = random;
	for (size_t i = 0; i < n; i++) {
		c->edges[i].pause = PAUSE_FIRST_MS;
		c->edges[i].trust = TRUST_FIRST_MS;
	}
}

/* ---- What happens to an edge ---- */

/* Half of the pause is certain, the other half is chance. */
static uint64_t
leave_alone(struct failover *c, struct failover_edge *e, uint64_t now)
{
	uint64_t pause = e->pause / 2 + c->random((uint32_t)e->pause / 2 + 1);

	e->failed = now;
	e->retry = now + pause;
	e->pause = at_most(2 * e->pause, PAUSE_MAX_MS);
	return pause;
}

/* Success is to have lasted: then a failure is the first one again. */
static void
settle(struct failover_edge *e, uint64_t now)
{
	if (e->up && now - e->since >= STABLE_MS)
		e->pause = PAUSE_FIRST_MS;
}

void
failover_tried(struct failover *c, size_t i, uint64_t now)
{
	c->edges[i].trying = true;
	c->edges[i].tried = now;
}

uint64_t
failover_failed(struct failover *c, size_t i, uint64_t now, bool hopeless)
{
	struct failover_edge *e = &c->edges[i];

	settle(e, now);
	e->trying = false;
	e->hopeless = hopeless;
	return leave_alone(c, e, now);
}

void
failover_up(struct failover *c, size_t i, uint64_t now)
{
	struct failover_edge *e = &c->edges[i];

	if (!is_well(e))
		e->since = now;
	e->trying = e->doubted = e->hopeless = false;
	e->up = true;
}

void
failover_called_off(struct failover *c, size_t i)
{
	c->edges[i].trying = false;
}

void
failover_doubt(struct failover *c, size_t i, bool doubted)
{
	c->edges[i].doubted = doubted;
}

void
failover_down(struct failover *c, size_t i, uint64_t now)
{
	struct failover_edge *e = &c->edges[i];
	uint64_t lasted = now - e->since;

	settle(e, now);
	e->up = e->doubted = false;
	if (lasted >= STABLE_MS)
		e->retry = now;
	else
		leave_alone(c, e, now);
	e->trust = lasted >= TRUST_MAX_MS ? TRUST_FIRST_MS
	    : at_most(2 * e->trust, TRUST_MAX_MS);
}

void
failover_rest(struct failover *c, size_t i, uint64_t now)
{
	struct failover_edge *e = &c->edges[i];

	settle(e, now);
	e->up = e->doubted = false;
	e->failed = 0;
	e->retry = now + REST_MS / 2 + c->random(REST_MS);
}

void
failover_wake(struct failover *c)
{
	for (size_t i = 0; i < c->n; i++)
		c->edges[i].retry = 0;
}

/* ---- What to do ---- */

static uint64_t
retry_at(const struct failover_edge *e, bool waited)
{
	return waited ? at_most(e->retry, e->failed + PAUSE_WAITED_MS)
		      : e->retry;
}

int
failover_next(const struct failover *c, uint64_t now, bool waited, uint64_t *at)
{
	const struct failover_edge *e;
	uint64_t due;

	for (size_t i = 0; i < c->n; i++) {
		e = &c->edges[i];
		if (is_well(e))
			return -1;
		due = e->trying ? e->tried + HEAD_START_MS
				: retry_at(e, waited);
		if (!e->trying && due <= now)
			return (int)i;
		/* Who has gone quiet gets no head start. */
		if (e->trying && (e->doubted || due <= now))
			continue;
		sooner(at, due);
		if (e->trying)
			return -1;
	}
	return -1;
}

bool
failover_may_add(const struct failover *c, size_t i, uint64_t now, uint64_t *at)
{
	const struct failover_edge *e = &c->edges[i];

	if (e->trying)
		return false;
	if (e->retry > now)
		sooner(at, e->retry);
	return e->retry <= now;
}

/* The first that is well, or else the first that is up. */
static int
best(const struct failover *c)
{
	int up = -1;

	for (int i = (int)c->n - 1; i >= 0; i--)
		if (c->edges[i].up)
			up = i;
	for (size_t i = 0; i < c->n; i++)
		if (is_well(&c->edges[i]))
			return (int)i;
	return up;
}

int
failover_serving(struct failover *c, uint64_t now, uint64_t *at)
{
	const struct failover_edge *e;

	if (c->serving < 0 || !is_well(&c->edges[c->serving])) {
		c->serving = best(c);
		return c->serving;
	}
	for (int i = 0; i < c->serving; i++) {
		e = &c->edges[i];
		if (is_well(e) && now - e->since >= e->trust) {
			c->serving = i;
			break;
		}
		if (is_well(e))
			sooner(at, e->since + e->trust);
	}
	return c->serving;
}

bool
failover_hopeless(const struct failover *c)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->edges[i].up || c->edges[i].trying ||
		    !c->edges[i].hopeless)
			return false;
	return true;
}
