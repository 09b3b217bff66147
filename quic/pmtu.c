/*
 * A search keeps two things: `size`, the largest that has arrived, and `lost`,
 * the sizes that have not, with how often. The smallest of those bounds the
 * search from above as soon as it is lost once, which makes it quick, and is
 * tried again to the third loss before the search ends, which makes it sure:
 * a probe that was lost by chance costs a round and changes nothing else.
 *
 * The first round is the ceiling alone, since most paths carry it. Then a
 * round asks for the sizes of common links at once, then for steps between
 * the two that are left, until they are PMTU_RESOLUTION apart.
 *
 * A suspicion changes nothing but the limit, which falls to the base size. The
 * verdict is a series of pairs, a packet of the size in doubt beside a small
 * one: loss by chance takes both alike, a black hole takes the large ones.
 */
#include "quic/pmtu.h"

#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

/* PMTU_RAISE_TIMER (RFC 8899 §5.1.1). */
#define RAISE_INTERVAL (600 * NS_PER_S)

/* After a black hole the path may heal soon: first 5 s, then ever later. */
#define HEAL_INTERVAL (5 * NS_PER_S)

/* A suspicion that proved wrong is not raised again for this long. */
#define TRUST_INTERVAL (10 * NS_PER_S)

/*
 * Large probes lost, none acknowledged, while at least SMALL_ACKED small ones
 * were: at 15 % random loss 1 suspicion in 13,000 would end wrongly.
 */
#define VERDICT_LOST 5
#define SMALL_ACKED 2

/* IP packets of common links, tunnels and phones; less headers: 48 and 28. */
static const uint16_t common_sizes[] = { 65535, 32768, 16384, 9000, 4096, 2048,
	1500, 1492, 1480, 1460, 1440, 1420, 1400, 1380, 1360, 1340, 1300,
	1281, 1280 };
#define COMMON_SIZES (sizeof(common_sizes) / sizeof(common_sizes[0]))

void
pmtu_init(struct pmtu *p)
{
	memset(p, 0, sizeof(*p));
	p->size = p->ceiling = PMTU_BASE_SIZE;
	p->raise_at = UINT64_MAX;
}

static void
set_size(struct pmtu *p, size_t size, enum pmtu_cause cause, uint64_t now)
{
	if (size == p->size)
		return;
	p->size = size;
	p->cause = cause;
	p->changed_at = now;
}

/* ---- What was lost ---- */

static void
note_lost(struct pmtu *p, size_t size)
{
	size_t at = 0;

	while (at < p->nlost && p->lost[at].size < size)
		at++;
	if (at < p->nlost && p->lost[at].size == size) {
		p->lost[at].count++;
		return;
	}
	if (at == PMTU_LOST_MAX)
		return; /* the largest say least */
	if (p->nlost == PMTU_LOST_MAX)
		p->nlost--;
	memmove(&p->lost[at + 1], &p->lost[at],
	    (p->nlost - at) * sizeof(p->lost[0]));
	p->lost[at].size = size;
	p->lost[at].count = 1;
	p->nlost++;
}

/* A size has arrived: losses at it and below were chance. */
static void
forget_lost(struct pmtu *p, size_t size)
{
	size_t n = 0;

	while (n < p->nlost && p->lost[n].size <= size)
		n++;
	p->nlost -= n;
	memmove(&p->lost[0], &p->lost[n], p->nlost * sizeof(p->lost[0]));
}

/* ---- Rounds ---- */

static void
enqueue(struct pmtu *p, size_t size)
{
	if (p->nqueue < PMTU_PARALLEL_MAX &&
	    (p->nqueue == 0 || p->queue[p->nqueue - 1] > size))
		p->queue[p->nqueue++] = size;
}

/* The sizes of common links between two bounds, the largest first. */
static void
enqueue_common(struct pmtu *p, size_t low, size_t high)
{
	size_t headers = p->headers, n = 0, skip, i;
	size_t fit[COMMON_SIZES];

	for (i = 0; i < COMMON_SIZES; i++)
		if (common_sizes[i] - headers > low &&
		    common_sizes[i] - headers < high)
			fit[n++] = common_sizes[i] - headers;
	/* More than fit a round: every second or third of them. */
	skip = (n + PMTU_PARALLEL_MAX - 1) / PMTU_PARALLEL_MAX;
	for (i = 0; i < n; i += skip > 0 ? skip : 1)
		enqueue(p, fit[i]);
}

/* Equal steps between two bounds, and the one that would end the search. */
static void
enqueue_steps(struct pmtu *p, size_t low, size_t high)
{
	size_t parts = PMTU_PARALLEL_MAX;
	size_t step = (high - low) / parts;

	if (step < PMTU_RESOLUTION)
		step = PMTU_RESOLUTION;
	for (size_t i = parts - 1; i >= 2; i--)
		if (low + i * step < high)
			enqueue(p, low + i * step);
	enqueue(p, low + PMTU_RESOLUTION);
}

static bool
is_common(const struct pmtu *p, size_t size)
{
	for (size_t i = 0; i < COMMON_SIZES; i++)
		if (size + p->headers == common_sizes[i])
			return true;
	return false;
}

/* How far a size lies from all that is known or asked already. */
static size_t
distance(const struct pmtu *p, size_t size)
{
	size_t high = p->nlost > 0 ? p->lost[0].size : p->ceiling + 1;
	size_t d = size - p->size;

	if (high > size && high - size < d)
		d = high - size;
	for (size_t i = 0; i < p->nflying; i++) {
		size_t other = p->flying[i] > size ? p->flying[i] - size
						   : size - p->flying[i];
		d = other < d ? other : d;
	}
	return d;
}

/*
 * Which size of the round to ask for next: there may be room for a few only,
 * so first the one that splits what is open best. On a common size, a little
 * more is what most probably ends the search.
 */
static size_t
pick(const struct pmtu *p)
{
	size_t best = p->queue[0];

	if (p->nflying == 0 && is_common(p, p->size) &&
	    p->queue[p->nqueue - 1] == p->size + PMTU_RESOLUTION)
		return p->size + PMTU_RESOLUTION;
	for (size_t i = 1; i < p->nqueue; i++)
		if (distance(p, p->queue[i]) > distance(p, best))
			best = p->queue[i];
	return best;
}

static void
end_search(struct pmtu *p, uint64_t now)
{
	p->state = PMTU_COMPLETE;
	p->data_flowed = false;
	p->raising = false;
	p->raise_at = p->size >= p->ceiling ? UINT64_MAX : now + p->backoff;
	p->backoff = 2 * p->backoff < RAISE_INTERVAL ? 2 * p->backoff
						     : RAISE_INTERVAL;
}

static void
plan_round(struct pmtu *p, uint64_t now)
{
	size_t low = p->size;
	size_t high = p->nlost > 0 ? p->lost[0].size : p->ceiling + 1;

	p->nqueue = 0;
	if (low >= p->ceiling) {
		end_search(p, now);
		return;
	}
	if (p->nlost == 0)
		enqueue(p, p->ceiling);
	else if (high - low <= PMTU_RESOLUTION) {
		if (p->raising || p->lost[0].count >= PMTU_LOSSES_MAX)
			end_search(p, now);
		else
			enqueue(p, high);
	} else {
		enqueue_common(p, low, high);
		if (p->nqueue == 0)
			enqueue_steps(p, low, high);
	}
}

/* Asks for the ceiling and for a little more than there is, once each. */
static void
begin_raise(struct pmtu *p, uint64_t now)
{
	if (p->size >= p->ceiling)
		return;
	p->state = PMTU_SEARCHING;
	p->nlost = p->nqueue = p->nflying = 0;
	p->raising = true;
	p->raise_at = UINT64_MAX;
	enqueue(p, p->ceiling);
	enqueue(p, p->size + PMTU_RESOLUTION);
	(void)now;
}

/* ---- Beginning ---- */

void
pmtu_start(struct pmtu *p, size_t ceiling, size_t headers, uint64_t now)
{
	set_size(p, PMTU_BASE_SIZE, PMTU_PATH_CHANGED, now);
	p->ceiling = ceiling > PMTU_BASE_SIZE ? ceiling : PMTU_BASE_SIZE;
	p->headers = headers;
	p->state = PMTU_SEARCHING;
	p->suspicious = p->raising = false;
	p->nlost = p->nqueue = p->nflying = 0;
	p->trusted_until = 0;
	p->raise_at = UINT64_MAX;
	p->backoff = RAISE_INTERVAL;
	plan_round(p, now);
}

void
pmtu_reprobe(struct pmtu *p, uint64_t now)
{
	if (p->state == PMTU_COMPLETE)
		begin_raise(p, now);
}

/* ---- Probes ---- */

static size_t
count_flying(const struct pmtu *p, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < p->nflying; i++)
		n += p->flying[i] == size;
	return n;
}

/* Pairs for the verdict, as many at once as there is room for. */
static size_t
wanted_for_verdict(const struct pmtu *p, bool idle)
{
	size_t small = count_flying(p, PMTU_BASE_SIZE);
	size_t large = count_flying(p, p->tested);

	if (idle && p->nflying > 0)
		return 0;
	if (p->nflying == PMTU_PARALLEL_MAX)
		return 0;
	if (large + p->large_lost < VERDICT_LOST &&
	    (large <= 2 * small || p->small_acked >= SMALL_ACKED))
		return p->tested;
	if (small + p->small_acked < SMALL_ACKED)
		return PMTU_BASE_SIZE;
	return 0;
}

size_t
pmtu_wanted(const struct pmtu *p, bool idle)
{
	if (p->suspicious)
		return wanted_for_verdict(p, idle);
	if (p->state != PMTU_SEARCHING || p->nqueue == 0 ||
	    p->nflying == PMTU_PARALLEL_MAX)
		return 0;
	return idle && p->nflying > 0 ? 0 : pick(p);
}

void
pmtu_sent(struct pmtu *p, size_t size)
{
	size_t at = 0;

	p->probes_sent++;
	if (p->nflying < PMTU_PARALLEL_MAX)
		p->flying[p->nflying++] = size;
	while (at < p->nqueue && p->queue[at] != size)
		at++;
	if (at == p->nqueue)
		return;
	p->nqueue--;
	memmove(&p->queue[at], &p->queue[at + 1],
	    (p->nqueue - at) * sizeof(p->queue[0]));
}

/* Takes a probe off the list; false: it belongs to an earlier search. */
static bool
landed(struct pmtu *p, size_t size)
{
	size_t at = 0;

	while (at < p->nflying && p->flying[at] != size)
		at++;
	if (at == p->nflying)
		return false;
	p->flying[at] = p->flying[--p->nflying];
	return true;
}

/* Sizes that are still to be asked for, and that the answer has settled. */
static void
trim_queue(struct pmtu *p)
{
	size_t high = p->nlost > 0 ? p->lost[0].size : p->ceiling + 1;
	size_t n = 0;

	for (size_t i = 0; i < p->nqueue; i++)
		if (p->queue[i] > p->size &&
		    (p->queue[i] < high || p->nqueue == 1))
			p->queue[n++] = p->queue[i];
	p->nqueue = n;
}

static void
next_round(struct pmtu *p, uint64_t now)
{
	if (p->state != PMTU_SEARCHING || p->nflying > 0)
		return;
	if (!p->raising)
		p->nqueue = 0; /* what is left was planned on less knowledge */
	if (p->nqueue == 0)
		plan_round(p, now);
}

/* ---- Black holes ---- */

static void
false_alarm(struct pmtu *p, uint64_t now)
{
	p->suspicious = false;
	p->nflying = 0;
	p->trusted_until = now + TRUST_INTERVAL;
	p->state = p->state_before;
	next_round(p, now);
}

static void
black_hole(struct pmtu *p, uint64_t now)
{
	p->confirmed++;
	p->suspicious = false;
	p->raising = false;
	set_size(p, PMTU_BASE_SIZE, PMTU_BLACK_HOLE, now);
	p->nlost = p->nqueue = p->nflying = 0;
	for (int i = 0; i < PMTU_LOSSES_MAX; i++)
		note_lost(p, p->tested);
	if (p->backoff >= RAISE_INTERVAL)
		p->backoff = HEAL_INTERVAL;
	p->state = PMTU_SEARCHING;
	plan_round(p, now);
}

static void
weigh(struct pmtu *p, uint64_t now)
{
	if (p->large_lost >= VERDICT_LOST && p->small_acked >= SMALL_ACKED)
		black_hole(p, now);
	else if (p->large_lost >= VERDICT_LOST && p->nflying == 0) {
		/* Small ones do not arrive either: this is no question of size. */
		p->state = PMTU_ERROR;
		p->large_lost = p->small_acked = 0;
	}
}

uint64_t
pmtu_suspicion_counts_at(const struct pmtu *p)
{
	if (p->suspicious || p->size <= PMTU_BASE_SIZE)
		return UINT64_MAX;
	return p->trusted_until;
}

void
pmtu_suspect(struct pmtu *p, uint64_t now)
{
	if (now < pmtu_suspicion_counts_at(p))
		return;
	p->suspicious = true;
	p->suspected++;
	p->state_before = p->state;
	p->state = PMTU_BASE;
	p->tested = p->size;
	p->large_lost = p->small_acked = 0;
	p->nflying = 0;
}

void
pmtu_probe_acked(struct pmtu *p, size_t size, uint64_t now)
{
	p->probes_acked++;
	if (!landed(p, size))
		return;
	if (p->suspicious && size >= p->tested)
		false_alarm(p, now);
	else if (p->suspicious) {
		p->state = PMTU_BASE;
		p->small_acked++;
		weigh(p, now);
	} else {
		forget_lost(p, size);
		if (size > p->size) {
			set_size(p, size, PMTU_PROBE_ACKED, now);
			p->raising = false;
		}
		trim_queue(p);
		next_round(p, now);
	}
}

void
pmtu_probe_lost(struct pmtu *p, size_t size, uint64_t now)
{
	p->probes_lost++;
	if (!landed(p, size))
		return;
	if (p->suspicious) {
		p->large_lost += size >= p->tested;
		weigh(p, now);
		return;
	}
	if (size > p->size)
		note_lost(p, size);
	if (p->raising && p->nlost == 2)
		end_search(p, now);
	next_round(p, now);
}

void
pmtu_packet_acked(struct pmtu *p, uint64_t now)
{
	(void)now;
	p->data_flowed = true;
}

/* ---- Time ---- */

void
pmtu_expire(struct pmtu *p, uint64_t now)
{
	if (now < p->raise_at)
		return;
	if (p->data_flowed)
		begin_raise(p, now);
	else
		p->raise_at = now + p->backoff;
}

uint64_t
pmtu_deadline(const struct pmtu *p)
{
	return p->raise_at;
}

size_t
pmtu_limit(const struct pmtu *p)
{
	return p->suspicious ? PMTU_BASE_SIZE : p->size;
}

const char *
pmtu_state_name(enum pmtu_state state)
{
	static const char *const names[] = { "disabled", "base", "searching",
		"complete", "error" };

	return names[state];
}

const char *
pmtu_cause_name(enum pmtu_cause cause)
{
	static const char *const names[] = { "none", "probe", "black hole",
		"new path" };

	return names[cause];
}
