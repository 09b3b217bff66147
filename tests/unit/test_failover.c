#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/local/upstream/failover.h"

/* Times in these tests are less than an hour after all of these. */
#define START 1000000
#define SECOND 1000
#define MINUTE (60 * SECOND)

static struct failover c;
static uint64_t now, at;

/* The result of the random function: the least, or the most. */
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

/* The edge to try; `at` is when to call again. */
static int
next(void)
{
	at = UINT64_MAX;
	return failover_next(&c, now, false, &at);
}

static int
active(void)
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
backoff_doubles_to_half_a_minute(void **state)
{
	static const uint64_t backoffs[] = { 250, 500, 1000, 2000, 4000, 8000,
		16000, 30000, 30000 };

	(void)state;
	begin(1);
	for (size_t i = 0; i < sizeof(backoffs) / sizeof(backoffs[0]); i++) {
		assert_int_equal(next(), 0);
		assert_int_equal(lose(0), backoffs[i]);
		now += backoffs[i] - 1;
		assert_int_equal(next(), -1);
		assert_int_equal(at, now + 1);
		now++;
	}
}

static void
up_to_half_of_the_backoff_is_random(void **state)
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
lasting_success_resets_the_backoff(void **state)
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
an_evicted_edge_is_idle_until_a_request(void **state)
{
	(void)state;
	begin(1);
	bring_up(0);
	now += MINUTE;
	failover_evicted(&c, 0, now);
	assert_int_equal(active(), -1);
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
a_client_ends_the_backoff(void **state)
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
backoff_is_short_while_clients_wait(void **state)
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
	assert_int_equal(active(), -1);
	assert_int_equal(next(), 0);
	lose(0);
	assert_int_equal(next(), 1);
	lose(1);
	assert_int_equal(next(), 2);
	bring_up(2);
	assert_int_equal(active(), 2);
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
	assert_int_equal(active(), 1);
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
edges_after_one_that_works_are_not_tried(void **state)
{
	(void)state;
	begin(2);
	bring_up(0);
	assert_int_equal(next(), -1);
	assert_int_equal(at, UINT64_MAX);
	assert_int_equal(active(), 0);
}

static void
a_lost_edge_is_tried_again_at_once(void **state)
{
	(void)state;
	begin(2);
	bring_up(0);
	assert_int_equal(active(), 0);
	now += MINUTE;
	failover_down(&c, 0, now);
	assert_int_equal(active(), -1);
	assert_int_equal(next(), 0);
}

static void
a_cancelled_attempt_is_no_failure(void **state)
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
the_preferred_edge_takes_over_after_the_hold_down(void **state)
{
	(void)state;
	begin(2);
	lose(0);
	bring_up(1);
	assert_int_equal(active(), 1);
	now += MINUTE;
	bring_up(0);
	assert_int_equal(active(), 1);
	assert_int_equal(at, now + 1500);
	now = at - 1;
	assert_int_equal(active(), 1);
	now++;
	assert_int_equal(active(), 0);
}

static void
the_hold_down_doubles_for_an_edge_that_flaps(void **state)
{
	uint64_t hold_down = 1500;

	(void)state;
	begin(2);
	bring_up(1);
	assert_int_equal(active(), 1);
	for (int i = 0; i < 10; i++) {
		bring_up(0);
		assert_int_equal(active(), 1);
		assert_int_equal(at, now + hold_down);
		now += SECOND;
		failover_down(&c, 0, now);
		hold_down = hold_down < 150 * SECOND ? 2 * hold_down
						     : 300 * SECOND;
	}
	assert_int_equal(hold_down, 300 * SECOND);
	bring_up(0);
	now += hold_down;
	assert_int_equal(active(), 0);
	failover_down(&c, 0, now);
	assert_int_equal(active(), 1);
	bring_up(0);
	assert_int_equal(active(), 1);
	assert_int_equal(at, now + 1500);
}

/* ---- Doubt ---- */

static void
a_suspect_edge_is_tried_again_beside_the_next(void **state)
{
	(void)state;
	begin(2);
	bring_up(0);
	now += MINUTE;
	failover_set_suspect(&c, 0, true);
	assert_int_equal(active(), 0); /* there is no other */
	assert_int_equal(next(), 0);
	failover_connecting(&c, 0, now);
	try_the_second();
}

static void
suspicion_passes(void **state)
{
	(void)state;
	begin(2);
	bring_up(0);
	failover_set_suspect(&c, 0, true);
	assert_int_equal(active(), 0);
	failover_set_suspect(&c, 0, false);
	assert_int_equal(active(), 0);
	assert_int_equal(next(), -1);
}

/* ---- No hope ---- */

static void
all_edges_must_fail_permanently(void **state)
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
a_further_attempt_respects_the_backoff(void **state)
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
	assert_int_equal(active(), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backoff_doubles_to_half_a_minute),
		cmocka_unit_test(up_to_half_of_the_backoff_is_random),
		cmocka_unit_test(lasting_success_resets_the_backoff),
		cmocka_unit_test(an_evicted_edge_is_idle_until_a_request),
		cmocka_unit_test(a_client_ends_the_backoff),
		cmocka_unit_test(backoff_is_short_while_clients_wait),
		cmocka_unit_test(edges_are_tried_in_order),
		cmocka_unit_test(the_next_edge_waits_a_little_for_the_first),
		cmocka_unit_test(edges_after_one_that_works_are_not_tried),
		cmocka_unit_test(a_lost_edge_is_tried_again_at_once),
		cmocka_unit_test(a_cancelled_attempt_is_no_failure),
		cmocka_unit_test(
		    the_preferred_edge_takes_over_after_the_hold_down),
		cmocka_unit_test(the_hold_down_doubles_for_an_edge_that_flaps),
		cmocka_unit_test(a_suspect_edge_is_tried_again_beside_the_next),
		cmocka_unit_test(suspicion_passes),
		cmocka_unit_test(all_edges_must_fail_permanently),
		cmocka_unit_test(a_further_attempt_respects_the_backoff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
