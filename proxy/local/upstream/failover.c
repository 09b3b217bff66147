#include "proxy/local/upstream/failover.h"

#include <string.h>

/*
 * Milliseconds of the backoff after a failed attempt: at first, at most, and at
 * most while clients wait, so that an edge that is back serves them soon.
 */
#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 30000
#define BACKOFF_CLIENTS_WAIT_MS 500

/*
 * Milliseconds, on average, until an edge that evicted an idle connection is
 * tried again, if no client asks for a tunnel before.
 */
#define EVICTED_MS 60000

/* Milliseconds that an edge must be up for its attempt to have succeeded. */
#define STABLE_MS 1000

/*
 * Milliseconds that an edge is up before it takes over from one that is less
 * preferred: at first, and at most. They double when the edge is lost before
 * it was up for HOLD_DOWN_MAX_MS.
 */
#define HOLD_DOWN_FIRST_MS 1500
#define HOLD_DOWN_MAX_MS 300000

/*
 * Milliseconds that an attempt has before the next edge is tried beside it:
 * enough for a lost packet, and short for a client that waits.
 */
#define ATTEMPT_DELAY_MS 1000

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
works(const struct failover_edge *e)
{
	return e->up && !e->suspect;
}

void
failover_init(struct failover *f, size_t n, uint32_t (*random)(uint32_t below))
{
	memset(f, 0, sizeof(*f));
	f->n = n;
	f->active = -1;
	f->random = random;
	for (size_t i = 0; i < n; i++) {
		f->edges[i].backoff_ms = BACKOFF_FIRST_MS;
		f->edges[i].hold_down_ms = HOLD_DOWN_FIRST_MS;
	}
}

/* ---- Reports ---- */

/* Half of the backoff is fixed, the other half is random. */
static uint64_t
begin_backoff(struct failover *f, struct failover_edge *e, uint64_t now)
{
	uint64_t half = e->backoff_ms / 2;
	uint64_t wait = half + f->random((uint32_t)half + 1);

	e->failed_at = now;
	e->retry_at = now + wait;
	e->backoff_ms = at_most(2 * e->backoff_ms, BACKOFF_MAX_MS);
	return wait;
}

/* After a connection that has up_ms, the backoff begins anew. */
static void
reset_if_stable(struct failover_edge *e, uint64_t now)
{
	if (e->up && now - e->up_since >= STABLE_MS)
		e->backoff_ms = BACKOFF_FIRST_MS;
}

void
failover_connecting(struct failover *f, size_t i, uint64_t now)
{
	f->edges[i].connecting = true;
	f->edges[i].connecting_since = now;
}

uint64_t
failover_failed(struct failover *f, size_t i, uint64_t now, bool permanent)
{
	struct failover_edge *e = &f->edges[i];

	reset_if_stable(e, now);
	e->connecting = false;
	e->permanent = permanent;
	return begin_backoff(f, e, now);
}

void
failover_up(struct failover *f, size_t i, uint64_t now)
{
	struct failover_edge *e = &f->edges[i];

	if (!works(e))
		e->up_since = now;
	e->connecting = e->suspect = e->permanent = false;
	e->up = true;
}

void
failover_cancelled(struct failover *f, size_t i)
{
	f->edges[i].connecting = false;
}

void
failover_set_suspect(struct failover *f, size_t i, bool doubted)
{
	f->edges[i].suspect = doubted;
}

void
failover_down(struct failover *f, size_t i, uint64_t now)
{
	struct failover_edge *e = &f->edges[i];
	uint64_t up_ms = now - e->up_since;

	reset_if_stable(e, now);
	e->up = e->suspect = false;
	if (up_ms >= STABLE_MS)
		e->retry_at = now;
	else
		begin_backoff(f, e, now);
	e->hold_down_ms = up_ms >= HOLD_DOWN_MAX_MS
	    ? HOLD_DOWN_FIRST_MS
	    : at_most(2 * e->hold_down_ms, HOLD_DOWN_MAX_MS);
}

void
failover_evicted(struct failover *f, size_t i, uint64_t now)
{
	struct failover_edge *e = &f->edges[i];

	reset_if_stable(e, now);
	e->up = e->suspect = false;
	e->failed_at = 0;
	e->retry_at = now + EVICTED_MS / 2 + f->random(EVICTED_MS);
}

void
failover_reset_backoff(struct failover *f)
{
	for (size_t i = 0; i < f->n; i++)
		f->edges[i].retry_at = 0;
}

/* ---- Decisions ---- */

static uint64_t
next_retry(const struct failover_edge *e, bool clients_wait)
{
	return clients_wait
	    ? at_most(e->retry_at, e->failed_at + BACKOFF_CLIENTS_WAIT_MS)
	    : e->retry_at;
}

int
failover_next(const struct failover *f, uint64_t now, bool clients_wait,
    uint64_t *at)
{
	const struct failover_edge *e;
	uint64_t due;

	for (size_t i = 0; i < f->n; i++) {
		e = &f->edges[i];
		if (works(e))
			return -1;
		due = e->connecting ? e->connecting_since + ATTEMPT_DELAY_MS
				    : next_retry(e, clients_wait);
		if (!e->connecting && due <= now)
			return (int)i;
		/* The next edge does not wait for an edge that is suspect. */
		if (e->connecting && (e->suspect || due <= now))
			continue;
		sooner(at, due);
		if (e->connecting)
			return -1;
	}
	return -1;
}

bool
failover_may_connect(const struct failover *f, size_t i, uint64_t now,
    uint64_t *at)
{
	const struct failover_edge *e = &f->edges[i];

	if (e->connecting)
		return false;
	if (e->retry_at > now)
		sooner(at, e->retry_at);
	return e->retry_at <= now;
}

/* The first that works, or else the first that is up. */
static int
best(const struct failover *f)
{
	int up = -1;

	for (int i = (int)f->n - 1; i >= 0; i--)
		if (f->edges[i].up)
			up = i;
	for (size_t i = 0; i < f->n; i++)
		if (works(&f->edges[i]))
			return (int)i;
	return up;
}

int
failover_active(struct failover *f, uint64_t now, uint64_t *at)
{
	const struct failover_edge *e;

	if (f->active < 0 || !works(&f->edges[f->active])) {
		f->active = best(f);
		return f->active;
	}
	for (int i = 0; i < f->active; i++) {
		e = &f->edges[i];
		if (works(e) && now - e->up_since >= e->hold_down_ms) {
			f->active = i;
			break;
		}
		if (works(e))
			sooner(at, e->up_since + e->hold_down_ms);
	}
	return f->active;
}

bool
failover_all_failed(const struct failover *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->edges[i].up || f->edges[i].connecting ||
		    !f->edges[i].permanent)
			return false;
	return true;
}
