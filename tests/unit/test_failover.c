#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/local/upstream/failover.h"

/* Nobody asks for a time that is not a whole lot later than all of these. */
#define START 1000000
#define SECOND 1000
#define MINUTE (60 * SECOND)

static struct failover c;
static uint64_t now, at;

/* What chance gives: the least, or the most. */
static uint32_t
least(uint32_t below)
{
	assert_true(below > 0);
	return 0;
}

static uint32_t
most(uint32_t below)
{
	return below - 1;
}

static void
begin(size_t n)
{
	failover_init(&c, n, most);
	now = START;
}

/* Which edge is to be tried; `at` says when to ask again. */
static int
next(void)
{
	at = UINT64_MAX;
	return failover_next(&c, now, false, &at);
}

static int
serving(void)
{
	at = UINT64_MAX;
	return failover_active(&c, now, &at);
}

static void
bring_up(size_t i)
{
	failover_connecting(&c, i, now);
	failover_up(&c, i, now);
}

static uint64_t
lose(size_t i)
{
	failover_connecting(&c, i, now);
	return failover_failed(&c, i, now, false);
}

/* ---- Pauses ---- */

static void
pauses_double_to_half_a_minute(void **state)
{
	static const uint64_t pauses[] = { 250, 500, 1000, 2000, 4000, 8000,
		16000, 30000, 30000 };

	(void)state;
	begin(1);
	for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
		assert_int_equal(next(), 0);
		assert_int_equal(lose(0), pauses[i]);
		now += pauses[i] - 1;
		assert_int_equal(next(), -1);
		assert_int_equal(at, now + 1);
		now++;
	}
}

static void
chance_takes_up_to_half(void **state)
{
	(void)state;
	begin(1);
	c.random = least;
	assert_int_equal(lose(0), 125);
	assert_int_equal(lose(0), 250);
	c.random = most;
	assert_int_equal(lose(0), 1000);
}

static void
success_that_lasts_ends_the_doubling(void **state)
{
	(void)state;
	begin(1);
	lose(0);
	lose(0);
	bring_up(0);
	now += SECOND - 1;
	failover_down(&c, 0, now);
	assert_int_equal(next(), -1); /* that was a failure, too */
	assert_int_equal(at, now + 1000);
	now = at;
	bring_up(0);
	now += SECOND;
	failover_down(&c, 0, now);
	assert_int_equal(next(), 0);
	assert_int_equal(lose(0), 250);
}

/* The edge had better use for the room: it is not in demand. */
static void
a_rest_lasts_until_a_client_asks(void **state)
{
	(void)state;
	begin(1);
	bring_up(0);
	now += MINUTE;
	failover_evicted(&c, 0, now);
	assert_int_equal(serving(), -1);
	assert_int_equal(next(), -1);
	assert_in_range(at, now + MINUTE, now + 2 * MINUTE);
	assert_int_equal(failover_next(&c, now, true, &at), 0);
	failover_reset_backoff(&c);
	assert_int_equal(next(), 0);
	/* It was no failure. */
	assert_int_equal(lose(0), 250);
	c.random = least;
	bring_up(0);
	failover_evicted(&c, 0, now);
	assert_int_equal(next(), -1);
	assert_int_equal(at, now + MINUTE / 2);
}

static void
a_client_ends_the_pause(void **state)
{
	(void)state;
	begin(2);
	lose(0);
	lose(1);
	assert_int_equal(next(), -1);
	failover_reset_backoff(&c);
	assert_int_equal(next(), 0);
}

static void
pauses_are_short_while_clients_wait(void **state)
{
	(void)state;
	begin(1);
	for (int i = 0; i < 8; i++)
		lose(0);
	at = UINT64_MAX;
	assert_int_equal(failover_next(&c, now, true, &at), -1);
	assert_int_equal(at, now + 500);
	assert_int_equal(failover_next(&c, now + 500, true, &at), 0);
}

/* ---- The order of edges ---- */

static void
edges_are_tried_in_order(void **state)
{
	(void)state;
	begin(3);
	assert_int_equal(serving(), -1);
	assert_int_equal(next(), 0);
	lose(0);
	assert_int_equal(next(), 1);
	lose(1);
	assert_int_equal(next(), 2);
	bring_up(2);
	assert_int_equal(serving(), 2);
	assert_int_equal(next(), -1);
	assert_int_equal(at, now + 250); /* the first one again */
}

/* The second is due now; when it is up, it serves. */
static void
try_the_second(void)
{
	assert_int_equal(next(), 1);
	failover_connecting(&c, 1, now);
	assert_int_equal(next(), -1);
	failover_up(&c, 1, now);
	assert_int_equal(serving(), 1);
}

static void
the_next_edge_waits_a_little_for_the_first(void **state)
{
	(void)state;
	begin(2);
	failover_connecting(&c, 0, now);
	assert_int_equal(next(), -1);
	assert_int_equal(at, now + SECOND);
	now = at;
	try_the_second();
}

static void
who_comes_after_one_that_is_well_is_not_tried(void **state)
{
	(void)state;
	begin(2);
	bring_up(0);
	assert_int_equal(next(), -1);
	assert_int_equal(at, UINT64_MAX);
	assert_int_equal(serving(), 0);
}

static void
a_lost_edge_is_tried_again_at_once(void **state)
{
	(void)state;
	begin(2);
	bring_up(0);
	assert_int_equal(serving(), 0);
	now += MINUTE;
	failover_down(&c, 0, now);
	assert_int_equal(serving(), -1);
	assert_int_equal(next(), 0);
}

static void
an_attempt_that_was_called_off_is_no_failure(void **state)
{
	(void)state;
	begin(1);
	failover_connecting(&c, 0, now);
	assert_int_equal(next(), -1);
	failover_cancelled(&c, 0);
	assert_int_equal(next(), 0);
}

/* ---- Coming back ---- */

static void
the_preferred_edge_takes_over_when_it_has_stayed(void **state)
{
	(void)state;
	begin(2);
	lose(0);
	bring_up(1);
	assert_int_equal(serving(), 1);
	now += MINUTE;
	bring_up(0);
	assert_int_equal(serving(), 1);
	assert_int_equal(at, now + 1500);
	now = at - 1;
	assert_int_equal(serving(), 1);
	now++;
	assert_int_equal(serving(), 0);
}

static void
who_comes_and_goes_is_trusted_ever_later(void **state)
{
	uint64_t trust = 1500;

	(void)state;
	begin(2);
	bring_up(1);
	assert_int_equal(serving(), 1);
	for (int i = 0; i < 10; i++) {
		bring_up(0);
		assert_int_equal(serving(), 1);
		assert_int_equal(at, now + trust);
		now += SECOND;
		failover_down(&c, 0, now);
		trust = trust < 150 * SECOND ? 2 * trust : 300 * SECOND;
	}
	assert_int_equal(trust, 300 * SECOND);
	bring_up(0);
	now += trust;
	assert_int_equal(serving(), 0);
	failover_down(&c, 0, now);
	assert_int_equal(serving(), 1);
	bring_up(0);
	assert_int_equal(serving(), 1);
	assert_int_equal(at, now + 1500);
}

/* ---- Doubt ---- */

static void
a_quiet_edge_is_tried_again_beside_the_next(void **state)
{
	(void)state;
	begin(2);
	bring_up(0);
	now += MINUTE;
	failover_set_suspect(&c, 0, true);
	assert_int_equal(serving(), 0); /* there is no other */
	assert_int_equal(next(), 0);
	failover_connecting(&c, 0, now);
	try_the_second();
}

static void
doubt_passes(void **state)
{
	(void)state;
	begin(2);
	bring_up(0);
	failover_set_suspect(&c, 0, true);
	assert_int_equal(serving(), 0);
	failover_set_suspect(&c, 0, false);
	assert_int_equal(serving(), 0);
	assert_int_equal(next(), -1);
}

/* ---- No hope ---- */

static void
all_must_be_hopeless(void **state)
{
	(void)state;
	begin(2);
	assert_false(failover_all_failed(&c));
	failover_connecting(&c, 0, now);
	failover_failed(&c, 0, now, true);
	assert_false(failover_all_failed(&c));
	failover_connecting(&c, 1, now);
	failover_failed(&c, 1, now, true);
	assert_true(failover_all_failed(&c));
	failover_connecting(&c, 0, now);
	assert_false(failover_all_failed(&c));
	failover_failed(&c, 0, now, false);
	assert_false(failover_all_failed(&c));
	failover_connecting(&c, 0, now);
	failover_up(&c, 0, now);
	failover_down(&c, 0, now + MINUTE);
	assert_false(failover_all_failed(&c));
}

/* ---- One more connection ---- */

static void
a_further_attempt_keeps_to_the_pauses(void **state)
{
	(void)state;
	begin(1);
	bring_up(0);
	at = UINT64_MAX;
	assert_true(failover_may_connect(&c, 0, now, &at));
	failover_connecting(&c, 0, now);
	assert_false(failover_may_connect(&c, 0, now, &at));
	failover_failed(&c, 0, now, false);
	assert_false(failover_may_connect(&c, 0, now, &at));
	assert_int_equal(at, now + 250);
	assert_true(failover_may_connect(&c, 0, at, &at));
	assert_int_equal(serving(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pauses_double_to_half_a_minute),
		cmocka_unit_test(chance_takes_up_to_half),
		cmocka_unit_test(success_that_lasts_ends_the_doubling),
		cmocka_unit_test(a_rest_lasts_until_a_client_asks),
		cmocka_unit_test(a_client_ends_the_pause),
		cmocka_unit_test(pauses_are_short_while_clients_wait),
		cmocka_unit_test(edges_are_tried_in_order),
		cmocka_unit_test(the_next_edge_waits_a_little_for_the_first),
		cmocka_unit_test(who_comes_after_one_that_is_well_is_not_tried),
		cmocka_unit_test(a_lost_edge_is_tried_again_at_once),
		cmocka_unit_test(an_attempt_that_was_called_off_is_no_failure),
		cmocka_unit_test(
		    the_preferred_edge_takes_over_when_it_has_stayed),
		cmocka_unit_test(who_comes_and_goes_is_trusted_ever_later),
		cmocka_unit_test(a_quiet_edge_is_tried_again_beside_the_next),
		cmocka_unit_test(doubt_passes),
		cmocka_unit_test(all_must_be_hopeless),
		cmocka_unit_test(a_further_attempt_keeps_to_the_pauses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
