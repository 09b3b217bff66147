/*
 * A search keeps two things: the largest size that was acknowledged, which is
 * `size` or a candidate above it, and `lost`, the sizes that were lost, with
 * counts. The smallest of those limits
 * the search from above as soon as it is lost once, which makes the search
 * quick, and is probed again up to the third loss before the search ends, which
 * makes it reliable: a probe that is lost by chance costs one round and changes
 * nothing else. A size that was lost must be acknowledged more often than that
 * to count.
 *
 * A round probes the ceiling and the sizes of common links, as many at once as
 * can be sent. The next rounds probe what is left between the two limits, until
 * they are PMTU_RESOLUTION apart.
 *
 * A suspicion changes only the limit, which falls to the base size. When small
 * packets are acknowledged, a series of large probes decides: random loss
 * affects both alike, an outage affects all, a black hole only the large ones.
 */
#include "quic/pmtu.h"

#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

/* After a false alarm there is no suspicion for this time. */
#define TRUST_INTERVAL (10 * NS_PER_S)

/*
 * The score of a suspicion: what each lost large probe adds, and each
 * acknowledged one subtracts. At SCORE_BLACK_HOLE the size does not pass, or
 * too seldom to be of use, if SMALL_ACKED small packets were acknowledged
 * meanwhile; at SCORE_FALSE_ALARM it does. Seven losses in a row are enough. At
 * 15 % random loss 1 suspicion in 10,000 ends wrongly, and a size that is lost
 * half of the time is detected 5 times of 6.
 */
#define LOST_SCORE 2
#define ACKED_SCORE 1
#define SCORE_BLACK_HOLE 14
#define SCORE_FALSE_ALARM (-4)
#define SMALL_ACKED 2

/* Smaller sizes that are probed in a suspicion, to fall back to. */
#define FALLBACKS_MAX 3

/*
 * IP packets of common links, tunnels and mobile networks, with headers of 28
 * or 48 bytes. In the order of probing, since only a few can be sent at times.
 */
static const uint16_t common_sizes[] = { 1500, 1400, 1300, 1280, 1460, 1420,
	1360, 1440, 1492, 1340, 1380, 1480, 9000, 4096, 2048, 16384, 32768,
	65535 };
#define COMMON_SIZES (sizeof(common_sizes) / sizeof(common_sizes[0]))

void
pmtu_init(struct pmtu *p, size_t base)
{
	memset(p, 0, sizeof(*p));
	p->sure = base;
	p->size = p->base = p->ceiling = p->max = base;
	pmtu_search_interval_reset(&p->next_search);
}

static void
set_size(struct pmtu *p, size_t size, enum pmtu_cause cause, uint64_t now)
{
	if (size == p->size)
		return;
	p->size = size;
	p->cause = cause;
	p->changed_at = now;
	pmtu_confirmation_reset(&p->confirmation, now);
}

/* ---- Lost sizes ---- */

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
		return; /* the largest are the least useful */
	if (p->nlost == PMTU_LOST_MAX)
		p->nlost--;
	memmove(&p->lost[at + 1], &p->lost[at],
	    (p->nlost - at) * sizeof(p->lost[0]));
	p->lost[at].size = size;
	p->lost[at].count = 1;
	p->lost[at].acked = 0;
	p->nlost++;
}

/* A size was acknowledged: it passes, unless it was lost as often before. */
static bool
outweighs_losses(struct pmtu *p, size_t size)
{
	for (size_t i = 0; i < p->nlost; i++)
		if (p->lost[i].size == size)
			return ++p->lost[i].acked > p->lost[i].count;
	return true;
}

static unsigned
count_lost(const struct pmtu *p, size_t up_to)
{
	unsigned n = 0;

	for (size_t i = 0; i < p->nlost && p->lost[i].size <= up_to; i++)
		n += p->lost[i].count;
	return n;
}

/* Up to this size none needs to be probed. */
static size_t
lower_bound(const struct pmtu *p)
{
	return p->candidate.size > p->size ? p->candidate.size : p->size;
}

/* From this size on none needs to be probed. */
static size_t
upper_bound(const struct pmtu *p)
{
	return p->nlost > 0 && p->lost[0].size <= p->ceiling ? p->lost[0].size
							     : p->ceiling + 1;
}

/* A size was acknowledged: losses up to it were random. */
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
	if (p->nqueue < PMTU_PARALLEL_MAX)
		p->queue[p->nqueue++] = size;
}

/* The sizes of common links between two limits. */
static void
enqueue_common(struct pmtu *p, size_t low, size_t high)
{
	for (size_t i = 0; i < COMMON_SIZES; i++)
		if (common_sizes[i] - p->headers > low &&
		    common_sizes[i] - p->headers < high)
			enqueue(p, common_sizes[i] - p->headers);
}

/* Equal steps between two limits, the middle first. */
static void
enqueue_steps(struct pmtu *p, size_t low, size_t high)
{
	size_t step = (high - low) / PMTU_PARALLEL_MAX, n, middle;

	if (step < PMTU_RESOLUTION)
		step = PMTU_RESOLUTION;
	n = (high - low - 1) / step;
	middle = (n + 1) / 2;
	enqueue(p, low + middle * step);
	for (size_t i = 1; i <= n; i++)
		if (i != middle)
			enqueue(p, low + i * step);
}

static bool
is_common(const struct pmtu *p, size_t size)
{
	for (size_t i = 0; i < COMMON_SIZES; i++)
		if (size + p->headers == common_sizes[i])
			return true;
	return false;
}

static void
end_search(struct pmtu *p, uint64_t now)
{
	p->state = PMTU_COMPLETE;
	p->hint = 0;
	p->data_flowed = false;
	p->raising = false;
	if (p->size < p->max)
		pmtu_search_interval_start(&p->next_search, now);
	else
		pmtu_search_interval_stop(&p->next_search);
	pmtu_search_interval_grow(&p->next_search);
}

/* The rest of a round confirms the candidate. */
static void
enqueue_candidate(struct pmtu *p)
{
	for (unsigned n = pmtu_candidate_missing(&p->candidate);
	     n > 0 && p->nqueue < PMTU_PARALLEL_MAX; n--)
		enqueue(p, p->candidate.size);
}

static void
plan_sizes(struct pmtu *p)
{
	size_t low = lower_bound(p), high = upper_bound(p);

	p->nqueue = 0;
	if (low >= p->ceiling)
		return;
	if (p->hint > low && p->hint < high)
		enqueue(p, p->hint);
	if (high > p->ceiling)
		enqueue(p, p->ceiling);
	else if (high - low <= PMTU_RESOLUTION) {
		if (!p->raising && p->lost[0].count < PMTU_LOSSES_MAX)
			enqueue(p, high);
		return;
	}
	/* A common size is probably the result: a little more confirms it. */
	if (is_common(p, low))
		enqueue(p, low + PMTU_RESOLUTION);
	else
		enqueue_common(p, low, high);
	if (p->nqueue == 0)
		enqueue_steps(p, low, high);
}

static void
plan_round(struct pmtu *p, uint64_t now)
{
	plan_sizes(p);
	enqueue_candidate(p);
	if (p->nqueue == 0)
		end_search(p, now);
}

static void
begin_search(struct pmtu *p, size_t from)
{
	p->state = PMTU_SEARCHING;
	p->nlost = p->nqueue = p->nin_flight = 0;
	p->searched_from = from;
	pmtu_candidate_clear(&p->candidate);
}

/* Probes the ceiling and a little more than the current size, once each. */
static void
begin_raise(struct pmtu *p)
{
	p->ceiling = p->max;
	if (p->size >= p->ceiling)
		return;
	begin_search(p, p->size);
	p->raising = true;
	pmtu_search_interval_stop(&p->next_search);
	enqueue(p, p->ceiling);
	if (p->size + PMTU_RESOLUTION < p->ceiling)
		enqueue(p, p->size + PMTU_RESOLUTION);
}

/* ---- Start and stop ---- */

void
pmtu_set_base(struct pmtu *p, size_t base)
{
	p->sure = base;
}

void
pmtu_start(struct pmtu *p, size_t max, size_t headers, uint64_t now)
{
	p->max = max > PMTU_BASE_SIZE ? max : PMTU_BASE_SIZE;
	p->base = p->sure < p->max ? p->sure : p->max;
	p->ceiling = p->max;
	set_size(p, p->base, PMTU_PATH_CHANGED, now);
	p->headers = headers;
	begin_search(p, p->size);
	p->suspicious = p->raising = p->unsteady = false;
	p->hint = 0;
	p->trusted_until = 0;
	pmtu_search_interval_reset(&p->next_search);
	plan_round(p, now);
}

void
pmtu_stop(struct pmtu *p, uint64_t now)
{
	p->base = p->sure;
	set_size(p, p->base, PMTU_PATH_CHANGED, now);
	p->state = PMTU_DISABLED;
	p->suspicious = p->raising = false;
	p->nlost = p->nqueue = p->nin_flight = 0;
	p->hint = 0;
	pmtu_search_interval_stop(&p->next_search);
}

void
pmtu_reprobe(struct pmtu *p, uint64_t now)
{
	(void)now;
	if (p->state == PMTU_COMPLETE)
		begin_raise(p);
}

/* ---- Probes ---- */

static size_t
count_in_flight(const struct pmtu *p, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < p->nin_flight; i++)
		n += p->in_flight[i] == size;
	return n;
}

static int
score(const struct pmtu *p)
{
	return LOST_SCORE * (int)p->large_lost -
	    ACKED_SCORE * (int)p->large_acked;
}

static int
worst_score(const struct pmtu *p)
{
	return score(p) + LOST_SCORE * (int)count_in_flight(p, p->tested);
}

/* The next smaller size to be probed in a suspicion, or 0. */
static size_t
next_fallback(const struct pmtu *p)
{
	unsigned n = 0;

	if (p->hint > p->base && p->hint < p->tested && n++ == p->nfallbacks)
		return p->hint;
	for (size_t i = 0; i < COMMON_SIZES && n < FALLBACKS_MAX; i++)
		if (common_sizes[i] - p->headers > p->base &&
		    common_sizes[i] - p->headers < p->tested &&
		    n++ == p->nfallbacks)
			return common_sizes[i] - p->headers;
	return 0;
}

/*
 * While no small packet is acknowledged the path may be down, and lost large
 * probes would mean nothing: then a small one is sent first. After large ones
 * are lost, smaller sizes are probed.
 */
static size_t
wanted_in_suspicion(const struct pmtu *p, bool idle)
{
	size_t large = count_in_flight(p, p->tested);

	if (p->nin_flight == PMTU_IN_FLIGHT_MAX || (idle && p->nin_flight > 0))
		return 0;
	if (p->small_acked > 0 && large < PMTU_PARALLEL_MAX &&
	    worst_score(p) < SCORE_BLACK_HOLE)
		return p->tested;
	if (p->small_acked < SMALL_ACKED && count_in_flight(p, p->base) == 0)
		return p->base;
	return p->small_acked > 0 && p->large_lost > 0 ? next_fallback(p) : 0;
}

bool
pmtu_confirms(const struct pmtu *p)
{
	return p->state == PMTU_COMPLETE && p->confirmation.due;
}

size_t
pmtu_next_probe(const struct pmtu *p, bool idle)
{
	if (p->suspicious)
		return wanted_in_suspicion(p, idle);
	if (pmtu_confirms(p))
		return p->nin_flight == 0 ? p->size : 0;
	if (p->state != PMTU_SEARCHING || p->nqueue == 0 ||
	    p->nin_flight >= PMTU_PARALLEL_MAX)
		return 0;
	return idle && p->nin_flight > 0 ? 0 : p->queue[0];
}

void
pmtu_sent(struct pmtu *p, size_t size)
{
	size_t at = 0;

	p->probes_sent++;
	if (p->nin_flight < PMTU_IN_FLIGHT_MAX)
		p->in_flight[p->nin_flight++] = size;
	if (p->suspicious && size == next_fallback(p))
		p->nfallbacks++;
	while (at < p->nqueue && p->queue[at] != size)
		at++;
	if (at == p->nqueue)
		return;
	p->nqueue--;
	memmove(&p->queue[at], &p->queue[at + 1],
	    (p->nqueue - at) * sizeof(p->queue[0]));
}

/* Removes a probe from the list. False: it belongs to an earlier search. */
static bool
take_in_flight(struct pmtu *p, size_t size)
{
	size_t at = 0;

	while (at < p->nin_flight && p->in_flight[at] != size)
		at++;
	if (at == p->nin_flight)
		return false;
	p->in_flight[at] = p->in_flight[--p->nin_flight];
	return true;
}

/* Removes sizes from the queue that the last result has decided. */
static void
trim_queue(struct pmtu *p)
{
	size_t low = lower_bound(p), high = upper_bound(p), n = 0;

	for (size_t i = 0; i < p->nqueue; i++)
		if (p->queue[i] > low && p->queue[i] <= p->ceiling &&
		    (p->queue[i] < high || p->nqueue == 1))
			p->queue[n++] = p->queue[i];
	p->nqueue = n;
}

static void
next_round(struct pmtu *p, uint64_t now)
{
	if (p->state != PMTU_SEARCHING || p->nin_flight > 0)
		return;
	if (!p->raising)
		p->nqueue = 0; /* plan it again with the latest results */
	if (p->nqueue == 0)
		plan_round(p, now);
}

/* ---- Larger sizes ---- */

/*
 * One raise of a search needs no more than a probe, and so does what is
 * acknowledged at the same time; or a router's word.
 */
static bool
may_raise(const struct pmtu *p, uint64_t now)
{
	if (p->unsteady)
		return false;
	return p->size == p->searched_from || p->candidate.size == p->hint ||
	    (p->cause == PMTU_PROBE_ACKED && p->changed_at == now);
}

static void
check_candidate(struct pmtu *p, uint64_t now)
{
	bool confirmed = pmtu_candidate_is_confirmed(&p->candidate);

	if (confirmed || may_raise(p, now)) {
		set_size(p, p->candidate.size, PMTU_PROBE_ACKED, now);
		pmtu_candidate_clear(&p->candidate);
		p->unsteady = p->unsteady && !confirmed;
	} else if (pmtu_candidate_is_rejected(&p->candidate)) {
		pmtu_candidate_clear(&p->candidate);
		p->unsteady = true;
		p->nqueue = p->nin_flight = 0;
		end_search(p, now);
	}
}

/* A size above that in force was acknowledged. */
static void
note_passed(struct pmtu *p, size_t size, uint64_t now)
{
	pmtu_candidate_acked(&p->candidate);
	if (size > p->candidate.size && outweighs_losses(p, size)) {
		p->candidate.size = size;
		pmtu_candidate_lost(&p->candidate, count_lost(p, size));
		forget_lost(p, size);
		p->raising = false;
	}
	if (p->candidate.size > 0)
		check_candidate(p, now);
}

/* ---- Black holes ---- */

static void
false_alarm(struct pmtu *p, uint64_t now)
{
	p->suspicious = false;
	p->nin_flight = 0;
	p->trusted_until = now + TRUST_INTERVAL;
	p->state = p->state_before;
	next_round(p, now);
}

/*
 * Falls back to the largest size that has just passed, and searches above it.
 * But a size that passes sometimes would be found again: then there is no
 * search.
 */
static void
black_hole(struct pmtu *p, uint64_t now)
{
	bool sometimes = p->large_acked > 0;

	pmtu_search_interval_black_hole(&p->next_search, sometimes,
	    now - p->changed_at);
	p->confirmed++;
	p->suspicious = p->raising = false;
	set_size(p, p->passed > p->base ? p->passed : p->base, PMTU_BLACK_HOLE,
	    now);
	begin_search(p, 0);
	p->hint = 0;
	for (int i = 0; i < PMTU_LOSSES_MAX; i++)
		note_lost(p, p->tested);
	p->unsteady |= sometimes;
	if (sometimes)
		end_search(p, now);
	else
		plan_round(p, now);
}

/* Probes in flight count as lost: acknowledgements come before losses. */
static void
decide(struct pmtu *p, uint64_t now)
{
	if (worst_score(p) <= SCORE_FALSE_ALARM)
		false_alarm(p, now);
	else if (score(p) >= SCORE_BLACK_HOLE &&
	    p->small_acked >= SMALL_ACKED && p->nin_flight == 0 &&
	    next_fallback(p) == 0)
		black_hole(p, now);
}

uint64_t
pmtu_suspicion_counts_at(const struct pmtu *p)
{
	if (p->suspicious || p->size <= p->base)
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
	p->large_lost = p->large_acked = p->small_lost = p->small_acked = 0;
	p->nfallbacks = 0;
	p->passed = 0;
	p->nin_flight = 0;
}

void
pmtu_small_acked(struct pmtu *p, uint64_t now)
{
	if (p->size == p->base)
		p->data_flowed = true;
	if (!p->suspicious)
		return;
	p->state = PMTU_BASE;
	p->small_acked++;
	decide(p, now);
}

/* In a suspicion: a large probe was acknowledged, or a smaller one. */
static void
score_ack(struct pmtu *p, size_t size, uint64_t now)
{
	if (size >= p->tested) {
		p->large_acked++;
		pmtu_confirmation_reset(&p->confirmation, now);
		decide(p, now);
		return;
	}
	if (size > p->passed)
		p->passed = size;
	pmtu_small_acked(p, now);
}

void
pmtu_probe_acked(struct pmtu *p, size_t size, uint64_t now)
{
	p->probes_acked++;
	if (!take_in_flight(p, size))
		return;
	if (p->suspicious) {
		score_ack(p, size, now);
		return;
	}
	if (size > p->size)
		note_passed(p, size, now);
	else if (size == p->size) {
		pmtu_confirmation_reset(&p->confirmation, now);
		p->data_flowed = true;
	}
	trim_queue(p);
	next_round(p, now);
}

/*
 * Several probes of the size in force were lost: they count in the suspicion,
 * and so do the packets that were acknowledged later.
 */
static void
confirmation_failed(struct pmtu *p, uint64_t now)
{
	pmtu_suspect(p, now);
	if (!p->suspicious)
		return;
	p->large_lost = PMTU_LOSSES_MAX;
	p->small_acked = 1;
}

void
pmtu_probe_lost(struct pmtu *p, size_t size, uint64_t now)
{
	p->probes_lost++;
	if (!take_in_flight(p, size))
		return;
	if (p->suspicious) {
		if (size >= p->tested)
			p->large_lost++;
		else if (size == p->base &&
		    ++p->small_lost >= PMTU_LOSSES_MAX && p->small_acked == 0)
			p->state = PMTU_ERROR;
		decide(p, now);
		return;
	}
	if (size > lower_bound(p))
		note_lost(p, size);
	else if (size > p->size) {
		pmtu_candidate_lost(&p->candidate, 1);
		check_candidate(p, now);
	} else if (pmtu_confirms(p) && size == p->size &&
	    pmtu_confirmation_lost(&p->confirmation, now))
		confirmation_failed(p, now);
	next_round(p, now);
}

/* ---- Interfaces and routers ---- */

static void
forget_in_flight(struct pmtu *p, size_t above)
{
	size_t n = 0;

	for (size_t i = 0; i < p->nin_flight; i++)
		if (p->in_flight[i] <= above)
			p->in_flight[n++] = p->in_flight[i];
	p->nin_flight = n;
}

void
pmtu_set_ceiling(struct pmtu *p, size_t ceiling, uint64_t now)
{
	if (ceiling > p->max)
		ceiling = p->max;
	if (ceiling < PMTU_BASE_SIZE)
		ceiling = PMTU_BASE_SIZE;
	p->ceiling = ceiling;
	if (p->base > ceiling)
		p->base = ceiling;
	if (p->size > ceiling)
		set_size(p, ceiling, PMTU_INTERFACE, now);
	if (p->candidate.size > ceiling)
		pmtu_candidate_clear(&p->candidate);
	forget_in_flight(p, ceiling);
	if (p->suspicious && p->tested > ceiling) {
		p->suspicious = false;
		p->state = p->state_before;
	}
	if (p->state == PMTU_COMPLETE && p->size < p->max &&
	    p->next_search.due_at == UINT64_MAX)
		pmtu_search_interval_start(&p->next_search, now);
	trim_queue(p);
	next_round(p, now);
}

bool
pmtu_too_big(struct pmtu *p, size_t quoted, size_t size, uint64_t now)
{
	if (p->state == PMTU_DISABLED || size < p->base || size >= quoted)
		return false;
	p->hint = size;
	if (size < p->size) {
		pmtu_suspect(p, now);
		return true;
	}
	if (p->state == PMTU_SEARCHING && size >= lower_bound(p) &&
	    size + 1 < upper_bound(p)) {
		note_lost(p, size + 1);
		trim_queue(p);
		next_round(p, now);
	}
	return true;
}

void
pmtu_large_acked(struct pmtu *p, bool full, uint64_t now)
{
	p->data_flowed = true;
	if (full)
		pmtu_confirmation_reset(&p->confirmation, now);
}

void
pmtu_used(struct pmtu *p, uint64_t now)
{
	if (p->size > p->base)
		pmtu_confirmation_used(&p->confirmation, p->size, now);
}

/* ---- Time ---- */

void
pmtu_expire(struct pmtu *p, uint64_t now)
{
	if (now < p->next_search.due_at)
		return;
	if (p->data_flowed)
		begin_raise(p);
	else
		pmtu_search_interval_start(&p->next_search, now);
}

uint64_t
pmtu_deadline(const struct pmtu *p)
{
	return p->next_search.due_at;
}

size_t
pmtu_limit(const struct pmtu *p)
{
	return p->suspicious ? p->base : p->size;
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
		"new path", "interface" };

	return names[cause];
}
