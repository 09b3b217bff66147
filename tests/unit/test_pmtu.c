#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "quic/pmtu.h"

/*
 * The search alone, on a model of a path: packets that fit arrive, but for
 * random loss, and the result of a probe is known a round trip later.
 */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NS_PER_S UINT64_C(1000000000)
#define RTT (NS_PER_S / 20)
#define ARRIVED (RTT)	   /* when the sender has the result ... */
#define LOST (RTT * 9 / 8) /* ... or misses it */
#define RAISE (600 * NS_PER_S)
#define V4 28 /* bytes of headers */
#define V6 48
#define FLIGHTS_MAX 64
#define SIZES 65536

struct flight {
	size_t size;
	bool arrives;
	uint64_t known_at;
};

struct model {
	struct pmtu p;
	uint64_t now, began_at;
	size_t path; /* bytes of UDP payload: longer packets are lost ... */
	size_t other_path; /* ... and half of those longer than this */
	unsigned loss;	   /* of 1000, so many are lost by chance */
	bool idle;	   /* carriers are rare */
	bool in_use;	   /* large packets are acknowledged all the time */
	uint64_t random;
	struct flight flights[FLIGHTS_MAX];
	size_t nflights;
	uint64_t proven[SIZES];	       /* when a size arrived last */
	uint64_t suspected, confirmed; /* when it was looked at last */
	uint64_t believed_since; /* earlier packets do not count any more */
	uint64_t suspected_at;
	unsigned changes; /* of the size */
};

static void
setup(struct model *m, size_t ip_max, size_t path, size_t headers)
{
	memset(m, 0, sizeof(*m));
	m->now = m->began_at = NS_PER_S;
	m->path = m->other_path = path - headers;
	m->random = 1;
	m->in_use = true;
	pmtu_init(&m->p, PMTU_BASE_SIZE);
	pmtu_start(&m->p, ip_max - headers, headers, m->now);
}

static uint64_t
draw(struct model *m, unsigned n)
{
	m->random = m->random * UINT64_C(6364136223846793005) + 1;
	return (m->random >> 33) % n;
}

static bool
by_chance(struct model *m)
{
	return draw(m, 1000) < m->loss;
}

static bool
fits(struct model *m, size_t size)
{
	return size <= m->path &&
	    (size <= m->other_path || draw(m, 1000) < 500);
}

/* Invariants. */
static void
check(struct model *m, size_t size_before)
{
	const struct pmtu *p = &m->p;

	if (p->suspected != m->suspected)
		m->suspected_at = m->now;
	if (p->confirmed != m->confirmed)
		m->believed_since = m->suspected_at;
	m->suspected = p->suspected;
	m->confirmed = p->confirmed;
	assert_true(p->size == PMTU_BASE_SIZE ||
	    m->proven[p->size] > m->believed_since);
	assert_in_range(p->size, PMTU_BASE_SIZE, p->ceiling);
	assert_true(pmtu_limit(p) <= p->size);
	assert_true(p->probes_acked + p->probes_lost <= p->probes_sent);
	m->changes += p->size != size_before;
}

static void
set_path(struct model *m, size_t size)
{
	m->path = m->other_path = size - V4;
}

static void
send_probes(struct model *m)
{
	size_t size;

	while ((size = pmtu_next_probe(&m->p, m->idle)) > 0) {
		bool arrives = fits(m, size) && !by_chance(m);

		assert_true(size <= m->p.ceiling);
		assert_true(m->nflights < FLIGHTS_MAX);
		m->flights[m->nflights++] = (struct flight){ size, arrives,
			m->now + (arrives ? ARRIVED : LOST) };
		pmtu_sent(&m->p, size);
	}
}

static void
land(struct model *m)
{
	struct flight f;

	for (size_t i = 0; i < m->nflights; i++) {
		f = m->flights[i];
		if (f.known_at > m->now)
			continue;
		m->flights[i--] = m->flights[--m->nflights];
		if (f.arrives) {
			m->proven[f.size] = m->now;
			pmtu_probe_acked(&m->p, f.size, m->now);
		} else
			pmtu_probe_lost(&m->p, f.size, m->now);
	}
}

/* Moves the clock. */
static void
run(struct model *m, uint64_t ns)
{
	uint64_t until = m->now + ns, next;
	size_t size;

	for (;;) {
		size = m->p.size;
		land(m);
		if (m->in_use)
			pmtu_large_acked(&m->p, true, m->now);
		pmtu_expire(&m->p, m->now);
		check(m, size);
		send_probes(m);
		next = pmtu_deadline(&m->p);
		for (size_t i = 0; i < m->nflights; i++)
			if (m->flights[i].known_at < next)
				next = m->flights[i].known_at;
		if (next > until)
			break;
		m->now = next;
	}
	m->now = until;
}

/* Runs to the end of the search; returns the round trips that it took. */
static unsigned
search(struct model *m)
{
	uint64_t began_at = m->now;

	for (unsigned i = 0; i < 1000; i++) {
		run(m, 0);
		if (m->p.state == PMTU_COMPLETE)
			break;
		run(m, RTT / 8);
	}
	assert_int_equal(m->p.state, PMTU_COMPLETE);
	return (unsigned)((m->now - began_at + RTT - 1) / RTT);
}

/* ---- Searches ---- */

static void
common_paths_are_found(void **state)
{
	static const struct {
		size_t ip_max, path, size;
		unsigned rtts, probes; /* at most; rtts: to that size */
	} rows[] = {
		{ 1500, 1500, 1500, 1, 8 },
		{ 1500, 1492, 1492, 4, 28 }, /* confirmed, after 1460 */
		{ 1500, 1400, 1400, 2, 11 },
		{ 1500, 1300, 1300, 2, 11 },
		{ 1500, 1281, 1280, 2, 11 },
		{ 1500, 1280, 1280, 2, 11 },
		{ 1500, 1372, 1368, 4, 24 },
		{ 1400, 1400, 1400, 1, 8 },
		{ 9000, 9000, 9000, 1, 8 },
		{ 9000, 1500, 1500, 2, 12 },
		{ 9000, 1400, 1400, 2, 12 },
		{ 65535, 9000, 9000, 4, 28 },
	};
	static const size_t headers[] = { V4, V6 };
	static struct model m;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		for (size_t h = 0; h < COUNT(headers); h++) {
			setup(&m, rows[i].ip_max, rows[i].path, headers[h]);
			search(&m);
			assert_in_range((m.p.changed_at - m.began_at) / RTT, 1,
			    rows[i].rtts);
			assert_int_equal(m.p.size + headers[h], rows[i].size);
			assert_in_range(m.p.probes_sent, 1, rows[i].probes);
			assert_int_equal(m.p.cause, PMTU_PROBE_ACKED);
		}
}

/* One probe at a time: the ceiling, then the commonest. */
static void
common_paths_are_found_in_idleness(void **state)
{
	static const struct {
		size_t path;
		unsigned rtts, probes;
	} rows[] = {
		{ 1500, 1, 1 },
		{ 1400, 3, 5 },
		{ 1300, 4, 6 },
		{ 1280, 5, 7 },
	};
	static struct model m;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		setup(&m, 1500, rows[i].path, V4);
		m.idle = true;
		search(&m);
		assert_int_equal(m.p.size + V4, rows[i].path);
		assert_in_range((m.p.changed_at - m.began_at) / RTT, 1,
		    rows[i].rtts);
		assert_in_range(m.p.probes_sent, 1, rows[i].probes);
	}
}

static void
every_path_is_found(void **state)
{
	static struct model m;

	(void)state;
	for (size_t path = 1200 + V4; path <= 1500; path++)
		for (unsigned idle = 0; idle < 2; idle++) {
			setup(&m, 1500, path, V4);
			m.idle = idle;
			assert_in_range(search(&m), 1, idle ? 40 : 9);
			assert_in_range(m.p.size, m.path - PMTU_RESOLUTION + 1,
			    m.path);
			assert_in_range(m.p.probes_sent, 1, 34);
		}
}

static void
the_ceiling_is_respected(void **state)
{
	static struct model m;

	(void)state;
	for (size_t ip_max = 1229; ip_max < 1600; ip_max++) {
		setup(&m, ip_max, 9000, V4);
		m.idle = true;
		assert_in_range(search(&m), 1, 2);
		assert_int_equal(m.p.size, ip_max - V4);
		run(&m, 2 * RAISE);
		assert_int_equal(m.p.probes_sent, 1);
	}
	setup(&m, 1228, 1500, V4);
	search(&m);
	assert_int_equal(m.p.size, PMTU_BASE_SIZE);
	assert_int_equal(m.p.probes_sent, 0);
}

static void
nothing_is_probed_before_the_start(void **state)
{
	struct pmtu p;

	(void)state;
	pmtu_init(&p, PMTU_BASE_SIZE);
	assert_int_equal(p.state, PMTU_DISABLED);
	assert_int_equal(pmtu_next_probe(&p, false), 0);
	assert_int_equal(pmtu_limit(&p), PMTU_BASE_SIZE);
	assert_true(pmtu_deadline(&p) == UINT64_MAX);
	pmtu_reprobe(&p, 1);
	pmtu_suspect(&p, 1);
	assert_int_equal(p.suspected, 0);
	assert_int_equal(pmtu_next_probe(&p, false), 0);
}

/* A size is abandoned after three losses: by chance that is 1 in 300. */
static void
loss_by_chance_is_no_limit(void **state)
{
	static const size_t paths[] = { 1500, 1400, 1300, 1281 };
	static struct model m;
	unsigned low = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 2000; seed++) {
		setup(&m, 1500, paths[seed % COUNT(paths)], V4);
		m.random = seed * 77777;
		m.loss = seed % 2 ? 100 : 150;
		search(&m);
		low += m.p.size + PMTU_RESOLUTION <= m.path;
		assert_true(m.p.size <= m.path);
		run(&m, 6 * RAISE);
		assert_in_range(m.p.size, m.path - PMTU_RESOLUTION + 1, m.path);
	}
	assert_in_range(low, 0, 20);
}

/* ---- Later ---- */

static void
a_path_that_rises_is_noticed(void **state)
{
	static struct model m;
	uint64_t probes;

	(void)state;
	setup(&m, 1500, 1300, V4);
	search(&m);
	probes = m.p.probes_sent;
	set_path(&m, 1500);
	run(&m, RAISE - RTT);
	assert_int_equal(m.p.probes_sent, probes);
	run(&m, 3 * RTT);
	assert_int_equal(m.p.size, 1500 - V4);
	assert_in_range(m.p.probes_sent - probes, 1, 2);
	assert_int_equal(m.p.state, PMTU_COMPLETE);
	run(&m, 3 * RAISE);
	assert_in_range(m.p.probes_sent - probes, 1, 2);
}

/* The path grows to less than the ceiling: a search finds it. */
static void
a_path_that_rises_a_little_is_noticed(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1300, V4);
	search(&m);
	set_path(&m, 1403);
	run(&m, RAISE + 20 * RTT);
	assert_int_equal(m.p.state, PMTU_COMPLETE);
	assert_in_range(m.p.size, m.path - PMTU_RESOLUTION + 1, m.path);
}

/* At the base size every packet is small. */
static void
a_path_that_rises_from_the_base_is_noticed(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1228, V4);
	m.in_use = false;
	search(&m);
	assert_int_equal(m.p.size, PMTU_BASE_SIZE);
	set_path(&m, 1500);
	pmtu_small_acked(&m.p, m.now);
	run(&m, RAISE + 2 * RTT);
	assert_int_equal(m.p.size, 1500 - V4);
}

static void
an_unused_path_is_left_alone(void **state)
{
	static struct model m;
	uint64_t probes;

	(void)state;
	setup(&m, 1500, 1300, V4);
	search(&m);
	probes = m.p.probes_sent;
	m.in_use = m.p.data_flowed = false;
	run(&m, 10 * RAISE);
	assert_int_equal(m.p.probes_sent, probes);
	m.in_use = true;
	run(&m, 2 * RAISE);
	assert_true(m.p.probes_sent > probes);
}

static void
a_stable_path_costs_little(void **state)
{
	static struct model m;
	uint64_t probes;

	(void)state;
	setup(&m, 1500, 1400, V4);
	search(&m);
	probes = m.p.probes_sent;
	run(&m, 3600 * NS_PER_S);
	assert_in_range(m.p.probes_sent - probes, 1, 20);
	assert_int_equal(m.p.size, 1400 - V4);
}

static void
reprobe_searches_again(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1300, V4);
	search(&m);
	set_path(&m, 1500);
	pmtu_reprobe(&m.p, m.now);
	assert_in_range(search(&m), 1, 2);
	assert_int_equal(m.p.size, 1500 - V4);
	pmtu_reprobe(&m.p, m.now);
	assert_int_equal(pmtu_next_probe(&m.p, false), 0); /* at the ceiling */
	assert_int_equal(m.p.state, PMTU_COMPLETE);
}

static void
another_path_begins_anew(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1500, V4);
	search(&m);
	m.believed_since = m.now;
	set_path(&m, 1300);
	pmtu_start(&m.p, 1500 - V4, V4, m.now);
	assert_int_equal(m.p.size, PMTU_BASE_SIZE);
	assert_int_equal(m.p.cause, PMTU_PATH_CHANGED);
	assert_int_equal(m.p.changed_at, m.now);
	run(&m, RTT / 2);
	/* ... and once more, while probes of the path before are under way. */
	pmtu_start(&m.p, 1400 - V4, V4, m.now);
	assert_int_equal(m.p.ceiling, 1400 - V4);
	search(&m);
	assert_int_equal(m.p.size, 1300 - V4);
}

/* ---- Suspicions ---- */

static void
a_false_alarm_changes_nothing(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1500, V4);
	search(&m);
	pmtu_suspect(&m.p, m.now);
	assert_int_equal(m.p.suspected, 1);
	assert_int_equal(m.p.size, 1500 - V4);
	assert_int_equal(pmtu_limit(&m.p), PMTU_BASE_SIZE);
	pmtu_suspect(&m.p, m.now);
	assert_int_equal(m.p.suspected, 1);
	pmtu_small_acked(&m.p, m.now); /* so the path is not down */
	run(&m, RTT);
	assert_int_equal(m.p.state, PMTU_COMPLETE);
	assert_int_equal(pmtu_limit(&m.p), 1500 - V4);
	assert_int_equal(m.p.confirmed, 0);
	assert_int_equal(m.changes, 1);

	/* Then the path is trusted for a while. */
	pmtu_suspect(&m.p, m.now);
	assert_int_equal(m.p.suspected, 1);
	m.now = pmtu_suspicion_counts_at(&m.p);
	assert_in_range(m.now - m.p.changed_at, 5 * NS_PER_S, 20 * NS_PER_S);
	pmtu_suspect(&m.p, m.now);
	assert_int_equal(m.p.suspected, 2);
}

/* During a search, which then goes on. */
static void
a_false_alarm_ends_no_search(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1400, V4);
	while (m.p.size == PMTU_BASE_SIZE)
		run(&m, RTT / 8);
	assert_int_equal(m.p.state, PMTU_SEARCHING);
	pmtu_suspect(&m.p, m.now);
	assert_int_equal(m.p.state, PMTU_BASE);
	search(&m);
	assert_int_equal(m.p.confirmed, 0);
	assert_int_equal(m.p.size, 1400 - V4);
}

static void
at_the_base_size_nothing_is_suspected(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1228, V4);
	pmtu_suspect(&m.p, m.now);
	search(&m);
	pmtu_suspect(&m.p, m.now);
	assert_int_equal(m.p.suspected, 0);
	assert_true(pmtu_suspicion_counts_at(&m.p) == UINT64_MAX);
}

/* Falls to a size that passes, at once, and to the base size if that is all. */
static void
a_black_hole_is_left(void **state)
{
	static const size_t holes[] = { 1400, 1300, 1280, 1228 };
	static struct model m;

	(void)state;
	for (size_t i = 0; i < COUNT(holes); i++) {
		setup(&m, 1500, 1500, V4);
		search(&m);
		set_path(&m, holes[i]);
		pmtu_suspect(&m.p, m.now);
		run(&m, 4 * RTT);
		assert_int_equal(m.p.confirmed, 1);
		assert_int_equal(m.p.size, m.path);
		assert_int_equal(m.p.cause, PMTU_BLACK_HOLE);
		assert_in_range(search(&m), 0, 8);
		assert_int_equal(m.p.size, m.path);
		assert_int_equal(m.p.confirmed, 1);
	}
}

static void
a_black_hole_is_no_search_from_the_top(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 9000, 1500, V4);
	search(&m);
	set_path(&m, 1300);
	pmtu_suspect(&m.p, m.now);
	while (m.p.confirmed == 0)
		run(&m, RTT / 8);
	assert_int_equal(m.p.cause, PMTU_BLACK_HOLE);
	assert_int_equal(m.p.size, 1300 - V4);
	while (m.p.state != PMTU_COMPLETE) {
		assert_true(pmtu_next_probe(&m.p, false) < 1500 - V4);
		run(&m, RTT / 8);
	}
}

/*
 * Half of the large packets take a route that is too small for them. A search
 * may find that they pass, but only once: after a suspicion the size is left,
 * and not probed again before the raise timer.
 */
static void
half_a_black_hole_is_left(void **state)
{
	static struct model m;
	unsigned suspicions = 0, flaps = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 500; seed++) {
		setup(&m, 1500, 1500, V4);
		m.random = seed * 77777;
		m.other_path = 1400 - V4;
		search(&m);
		while (m.p.size > m.other_path) {
			suspicions++;
			m.now = pmtu_suspicion_counts_at(&m.p);
			pmtu_suspect(&m.p, m.now);
			while (m.p.suspicious)
				run(&m, RTT / 8);
		}
		assert_int_equal(m.p.size, m.other_path);
		run(&m, RAISE - 10 * NS_PER_S);
		flaps += m.changes > 2;
	}
	assert_in_range(suspicions, 1, 600);
	assert_in_range(flaps, 0, 3);
}

/* Small packets are lost as well: the size is not to blame. */
static void
an_outage_is_no_black_hole(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1500, V4);
	search(&m);
	m.loss = 1000;
	pmtu_suspect(&m.p, m.now);
	run(&m, 3 * NS_PER_S);
	assert_int_equal(m.p.confirmed, 0);
	assert_int_equal(m.p.size, 1500 - V4);
	assert_int_equal(pmtu_limit(&m.p), PMTU_BASE_SIZE);
	m.loss = 0;
	run(&m, 4 * RTT);
	assert_int_equal(m.p.confirmed, 0);
	assert_int_equal(m.p.state, PMTU_COMPLETE);
	assert_int_equal(pmtu_limit(&m.p), 1500 - V4);
	assert_int_equal(m.changes, 1);
}

/* Suspected all the time: at 15 % loss 1 verdict in 10,000 may be wrong. */
static void
loss_by_chance_is_no_black_hole(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1500, V4);
	search(&m);
	m.loss = 150;
	while (m.p.suspected < 20000) {
		m.now = pmtu_suspicion_counts_at(&m.p);
		pmtu_suspect(&m.p, m.now);
		while (m.p.suspicious)
			run(&m, RTT / 8);
		while (m.p.state != PMTU_COMPLETE || m.p.size < m.p.ceiling)
			run(&m, RTT);
	}
	assert_in_range(m.p.confirmed, 0, 4);
}

/* ---- The size in force ---- */

/* Small packets all the time. */
static void
use(struct model *m, uint64_t ns)
{
	for (uint64_t until = m->now + ns; m->now < until; run(m, NS_PER_S)) {
		pmtu_used(&m->p, m->now);
		if (m->p.suspicious)
			pmtu_small_acked(&m->p, m->now);
	}
}

static void
found(struct model *m, size_t ip_max, size_t path)
{
	setup(m, ip_max, path, V4);
	m->in_use = false;
	search(m);
}

static void
a_size_in_use_is_confirmed(void **state)
{
	static const struct {
		size_t path;
		unsigned least, most; /* probes in an hour */
	} rows[] = {
		{ 1228, 0, 0 },
		{ 1400, 58, 72 }, /* and probes of larger sizes */
		{ 1500, 58, 60 },
		{ 9000, 9, 10 },
	};
	static struct model m;
	uint64_t probes;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		found(&m, rows[i].path > 1500 ? 9000 : 1500, rows[i].path);
		probes = m.p.probes_sent;
		use(&m, 3600 * NS_PER_S);
		assert_in_range(m.p.probes_sent - probes, rows[i].least,
		    rows[i].most);
		assert_int_equal(m.p.size, rows[i].path - V4);
		assert_int_equal(m.p.suspected, 0);
	}
}

static void
a_smaller_path_is_noticed(void **state)
{
	static const size_t paths[] = { 1400, 1337, 1280, 1228 };
	static struct model m;

	(void)state;
	for (size_t i = 0; i < COUNT(paths); i++) {
		found(&m, 1500, 1500);
		set_path(&m, paths[i]);
		use(&m, 70 * NS_PER_S);
		assert_int_equal(m.p.state, PMTU_COMPLETE);
		assert_int_equal(m.p.confirmed, 1);
		assert_int_equal(m.p.cause,
		    m.p.size == 1400 - V4 || m.p.size == 1280 - V4 ||
			    m.p.size == 1200
			? PMTU_BLACK_HOLE
			: PMTU_PROBE_ACKED);
		assert_in_range(m.p.size, paths[i] - V4 - PMTU_RESOLUTION + 1,
		    paths[i] - V4);
	}
}

/* A suspicion needs three losses in a row, and a black hole more. */
static void
a_lost_confirmation_is_repeated(void **state)
{
	static struct model m;
	uint64_t probes;

	(void)state;
	found(&m, 1500, 1500);
	m.now += 60 * NS_PER_S;
	pmtu_used(&m.p, m.now);
	for (unsigned lost = 1; lost < 3; lost++) {
		assert_int_equal(pmtu_next_probe(&m.p, false), 1500 - V4);
		pmtu_sent(&m.p, 1500 - V4);
		assert_int_equal(pmtu_next_probe(&m.p, false), 0);
		pmtu_probe_lost(&m.p, 1500 - V4, m.now);
		assert_int_equal(m.p.suspected, 0);
	}
	pmtu_sent(&m.p, 1500 - V4);
	pmtu_large_acked(&m.p, false, m.now); /* another size: no matter */
	pmtu_probe_lost(&m.p, 1500 - V4, m.now);
	assert_int_equal(m.p.suspected, 1);
	assert_int_equal(m.p.size, 1500 - V4);
	run(&m, 2 * RTT);
	assert_int_equal(m.p.state, PMTU_COMPLETE);
	assert_int_equal(m.p.confirmed, 0);
	assert_int_equal(pmtu_limit(&m.p), 1500 - V4);

	/* Another minute; and a full packet makes the probe needless. */
	probes = m.p.probes_sent;
	use(&m, 55 * NS_PER_S);
	assert_int_equal(m.p.probes_sent, probes);
	m.now += 10 * NS_PER_S;
	pmtu_used(&m.p, m.now);
	assert_int_equal(pmtu_next_probe(&m.p, false), 1500 - V4);
	pmtu_large_acked(&m.p, true, m.now);
	assert_int_equal(pmtu_next_probe(&m.p, false), 0);
}

/* ---- Interfaces and routers ---- */

static void
an_interface_is_a_ceiling(void **state)
{
	static struct model m;

	(void)state;
	/* It is known before the first probe has left ... */
	setup(&m, 1500, 1500, V4);
	pmtu_set_ceiling(&m.p, 1400 - V4, m.now);
	assert_int_equal(pmtu_next_probe(&m.p, true), 1400 - V4);
	search(&m);
	assert_int_equal(m.p.size, 1400 - V4);
	assert_int_equal(m.p.ceiling, 1400 - V4);
	/*
	 * ... or during a search, of which the probes under way were not sent
	 * ...
	 */
	setup(&m, 1500, 1500, V4);
	run(&m, 0);
	for (size_t i = m.nflights; i-- > 0;)
		if (m.flights[i].size > 1300 - V4)
			m.flights[i] = m.flights[--m.nflights];
	pmtu_set_ceiling(&m.p, 1300 - V4, m.now);
	assert_true(pmtu_next_probe(&m.p, false) <= 1300 - V4);
	search(&m);
	assert_int_equal(m.p.size, 1300 - V4);
	/* ... or until the interface reports another MTU. */
	setup(&m, 1500, 1500, V4);
	search(&m);
	pmtu_set_ceiling(&m.p, 1400 - V4, m.now);
	assert_int_equal(m.p.size, 1400 - V4);
	assert_int_equal(pmtu_limit(&m.p), 1400 - V4);
	assert_int_equal(m.p.cause, PMTU_INTERFACE);
	assert_int_equal(m.p.state, PMTU_COMPLETE);
	run(&m, RAISE + 2 * RTT);
	assert_int_equal(m.p.size, 1500 - V4);
}

static void
an_interface_ends_a_suspicion(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1500, V4);
	search(&m);
	pmtu_suspect(&m.p, m.now);
	pmtu_set_ceiling(&m.p, 1400 - V4, m.now);
	assert_int_equal(pmtu_limit(&m.p), 1400 - V4);
	assert_int_equal(m.p.state, PMTU_COMPLETE);
	/* No size is smaller than QUIC's minimum. */
	pmtu_set_ceiling(&m.p, 600, m.now);
	assert_int_equal(pmtu_limit(&m.p), PMTU_BASE_SIZE);
}

/*
 * A router reports the size: it is the next one to be probed, and nearly the
 * last.
 */
static void
a_router_knows_the_path(void **state)
{
	static const size_t paths[] = { 1499, 1437, 1400, 1333, 1229 };
	static struct model m;

	(void)state;
	for (size_t i = 0; i < COUNT(paths); i++) {
		setup(&m, 1500, paths[i], V4);
		m.idle = true;
		run(&m, 0);
		assert_true(pmtu_too_big(&m.p, 1500 - V4, m.path, m.now));
		search(&m);
		assert_int_equal(m.p.size, m.path);
		assert_in_range(m.p.probes_sent, 3, 5);
		assert_in_range((m.p.changed_at - m.began_at) / RTT, 1, 2);
	}
}

static void
a_router_knows_a_black_hole(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1500, V4);
	search(&m);
	set_path(&m, 1333);
	assert_true(pmtu_too_big(&m.p, 1500 - V4, m.path, m.now));
	assert_int_equal(m.p.suspected, 1);
	assert_int_equal(pmtu_limit(&m.p), PMTU_BASE_SIZE);
	run(&m, 4 * RTT);
	assert_int_equal(m.p.size, m.path);
	assert_int_equal(m.changes, 2);
}

/* False reports cost a few probes, and change nothing. */
static void
a_router_that_lies(void **state)
{
	static struct model m;
	uint64_t probes;

	(void)state;
	setup(&m, 1500, 1500, V4);
	run(&m, 0);
	assert_true(pmtu_too_big(&m.p, 1500 - V4, 1300 - V4, m.now));
	search(&m);
	assert_int_equal(m.p.size, 1500 - V4);
	m.changes = 0;
	probes = m.p.probes_sent;
	for (unsigned i = 0; i < 600; i++) {
		pmtu_too_big(&m.p, 1500 - V4, 1300 - V4, m.now);
		run(&m, NS_PER_S / 10);
	}
	assert_int_equal(m.changes, 0);
	assert_int_equal(m.p.confirmed, 0);
	assert_in_range(m.p.probes_sent - probes, 1, 6 * 9);
}

static void
invalid_reports_are_ignored(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1400, V4);
	search(&m);
	assert_false(pmtu_too_big(&m.p, 1400 - V4, 1400 - V4, m.now));
	assert_false(pmtu_too_big(&m.p, 1400 - V4, 1500 - V4, m.now));
	assert_false(pmtu_too_big(&m.p, 1400 - V4, 1199, m.now));
	assert_false(pmtu_too_big(&m.p, 1400 - V4, 0, m.now));
	assert_int_equal(m.p.suspected, 0);
	pmtu_init(&m.p, PMTU_BASE_SIZE);
	assert_false(pmtu_too_big(&m.p, 1400 - V4, 1300 - V4, m.now));
}

/* A configured minimum is not probed, and always used. */
static void
the_base_may_be_larger(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1500, V4);
	pmtu_init(&m.p, 1400 - V4);
	pmtu_start(&m.p, 1500 - V4, V4, m.now);
	m.proven[1400 - V4] = m.now;
	assert_int_equal(pmtu_limit(&m.p), 1400 - V4);
	search(&m);
	assert_int_equal(m.p.size, 1500 - V4);
	set_path(&m, 1400);
	pmtu_suspect(&m.p, m.now);
	assert_int_equal(pmtu_limit(&m.p), 1400 - V4);
	assert_int_equal(pmtu_next_probe(&m.p, false), 1400 - V4);
	m.proven[1400 - V4] = m.now + 1;
	run(&m, 4 * RTT);
	assert_int_equal(m.p.confirmed, 1);
	assert_int_equal(m.p.size, 1400 - V4);
	set_path(&m, 1300);
	assert_false(pmtu_too_big(&m.p, 1400 - V4, 1300 - V4, m.now));
	pmtu_suspect(&m.p, m.now);
	assert_int_equal(m.p.suspected, 1);
	assert_int_equal(pmtu_limit(&m.p), 1400 - V4);
	/* But an interface that has no room for it is stronger. */
	pmtu_set_ceiling(&m.p, 1300 - V4, m.now);
	assert_int_equal(pmtu_limit(&m.p), 1300 - V4);
}

/* ---- Healing ---- */

static uint64_t
time_to_heal(struct model *m)
{
	uint64_t began_at = m->now;

	set_path(m, 1500);
	while (m->p.size < m->path)
		run(m, RTT);
	return m->now - began_at;
}

static void
fall(struct model *m)
{
	set_path(m, 1300);
	pmtu_suspect(&m->p, m->now);
	run(m, 4 * RTT);
	search(m);
	assert_int_equal(m->p.size, 1300 - V4);
}

static void
a_black_hole_heals(void **state)
{
	static struct model m;

	(void)state;
	setup(&m, 1500, 1500, V4);
	search(&m);
	fall(&m);
	assert_in_range(time_to_heal(&m), 1, 10 * NS_PER_S);
	/*
	 * A black hole that comes again and again is probed ever more rarely.
	 */
	for (uint64_t seconds = 10; seconds < 600; seconds *= 2) {
		fall(&m);
		assert_in_range(time_to_heal(&m), (seconds - 1) * NS_PER_S,
		    (seconds + 1) * NS_PER_S);
	}
	fall(&m);
	assert_in_range(time_to_heal(&m), RAISE - NS_PER_S, RAISE + NS_PER_S);
	/* ... until there was none for long. */
	run(&m, 2 * RAISE);
	fall(&m);
	assert_in_range(time_to_heal(&m), 1, 10 * NS_PER_S);
}

static void
a_black_hole_that_stays_costs_little(void **state)
{
	static struct model m;
	uint64_t probes;

	(void)state;
	setup(&m, 1500, 1500, V4);
	search(&m);
	fall(&m);
	probes = m.p.probes_sent;
	run(&m, 3600 * NS_PER_S);
	assert_in_range(m.p.probes_sent - probes, 2, 40);
	assert_int_equal(m.p.size, 1300 - V4);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(common_paths_are_found),
		cmocka_unit_test(common_paths_are_found_in_idleness),
		cmocka_unit_test(every_path_is_found),
		cmocka_unit_test(the_ceiling_is_respected),
		cmocka_unit_test(nothing_is_probed_before_the_start),
		cmocka_unit_test(loss_by_chance_is_no_limit),
		cmocka_unit_test(a_path_that_rises_is_noticed),
		cmocka_unit_test(a_path_that_rises_a_little_is_noticed),
		cmocka_unit_test(a_path_that_rises_from_the_base_is_noticed),
		cmocka_unit_test(an_unused_path_is_left_alone),
		cmocka_unit_test(a_stable_path_costs_little),
		cmocka_unit_test(reprobe_searches_again),
		cmocka_unit_test(another_path_begins_anew),
		cmocka_unit_test(a_false_alarm_changes_nothing),
		cmocka_unit_test(a_false_alarm_ends_no_search),
		cmocka_unit_test(at_the_base_size_nothing_is_suspected),
		cmocka_unit_test(a_black_hole_is_left),
		cmocka_unit_test(a_black_hole_is_no_search_from_the_top),
		cmocka_unit_test(half_a_black_hole_is_left),
		cmocka_unit_test(an_outage_is_no_black_hole),
		cmocka_unit_test(loss_by_chance_is_no_black_hole),
		cmocka_unit_test(a_size_in_use_is_confirmed),
		cmocka_unit_test(a_smaller_path_is_noticed),
		cmocka_unit_test(a_lost_confirmation_is_repeated),
		cmocka_unit_test(an_interface_is_a_ceiling),
		cmocka_unit_test(an_interface_ends_a_suspicion),
		cmocka_unit_test(a_router_knows_the_path),
		cmocka_unit_test(a_router_knows_a_black_hole),
		cmocka_unit_test(a_router_that_lies),
		cmocka_unit_test(invalid_reports_are_ignored),
		cmocka_unit_test(the_base_may_be_larger),
		cmocka_unit_test(a_black_hole_heals),
		cmocka_unit_test(a_black_hole_that_stays_costs_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
