#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "quic/black_hole.h"

static struct black_hole hole;
static struct pmtu pmtu;
static uint64_t now;

static int
setup(void **state)
{
	(void)state;
	memset(&hole, 0, sizeof(hole));
	pmtu_init(&pmtu, PMTU_BASE_SIZE);
	now = 1;
	return 0;
}

static void
send_packets(enum black_hole_kind kind, unsigned n)
{
	while (n-- > 0)
		black_hole_sent(&hole, hole.next_number, kind, now);
}

/* The answer to a datagram that acknowledges these. */
static bool
acked(uint64_t first, uint64_t last)
{
	black_hole_opened(&hole);
	black_hole_acked(&hole, &pmtu, first, last, now);
	return black_hole_progressed(&hole) && black_hole_is_suspected(&hole);
}

static bool
last_acked(void)
{
	return acked(hole.next_number - 1, hole.next_number - 1);
}

static void
large_ones_vanish_before_small_ones(void **state)
{
	(void)state;
	send_packets(BLACK_HOLE_LARGE, 3);
	send_packets(BLACK_HOLE_SMALL, 3);
	/* The third may only be late. */
	assert_false(acked(3, 4));
	assert_true(acked(5, 5));
}

/*
 * Hundreds of frames may acknowledge the same packets again and again: no more
 * numbers are checked than one frame can have.
 */
static void
a_packet_is_looked_at_once(void **state)
{
	(void)state;
	send_packets(BLACK_HOLE_LARGE, 3);
	send_packets(BLACK_HOLE_SMALL, 1000);
	black_hole_opened(&hole);
	for (int i = 0; i < 300; i++)
		black_hole_acked(&hole, &pmtu, 3, 1002, now);
	black_hole_acked(&hole, &pmtu, 0, 0, now);
	assert_int_equal(hole.large_waiting, 3);
	/* The next packet is another matter. */
	black_hole_opened(&hole);
	black_hole_acked(&hole, &pmtu, 0, 0, now);
	assert_int_equal(hole.large_waiting, 0);
}

static void
two_large_ones_may_be_lost(void **state)
{
	(void)state;
	send_packets(BLACK_HOLE_LARGE, 2);
	send_packets(BLACK_HOLE_SMALL, 9);
	assert_false(acked(2, 10));
}

static void
one_that_arrives_clears_the_others(void **state)
{
	(void)state;
	send_packets(BLACK_HOLE_LARGE, 3);
	send_packets(BLACK_HOLE_SMALL, 3);
	assert_false(acked(1, 1));
	assert_false(acked(3, 5));
	assert_true(pmtu.data_flowed);
}

/* One of `n` large ones is lost, 40 times; then a small one arrives. */
static bool
loses_one_of(unsigned n)
{
	uint64_t first;

	for (int i = 0; i < 40; i++) {
		first = hole.next_number;
		send_packets(BLACK_HOLE_LARGE, n);
		if (acked(first + 1, first + n - 1))
			return true;
	}
	send_packets(BLACK_HOLE_SMALL, 1);
	return last_acked();
}

static void
loss_by_half_betrays(void **state)
{
	(void)state;
	assert_true(loses_one_of(2));
}

static void
loss_by_chance_does_not(void **state)
{
	(void)state;
	assert_false(loses_one_of(4));
}

static void
a_queue_that_ran_over_passes(void **state)
{
	(void)state;
	send_packets(BLACK_HOLE_LARGE, 1000);
	send_packets(BLACK_HOLE_LARGE, 40);
	assert_false(acked(1000, 1009));
	assert_false(acked(1010, 1039));
	send_packets(BLACK_HOLE_SMALL, 1);
	assert_false(last_acked());
}

static void
what_has_not_left_is_no_evidence(void **state)
{
	(void)state;
	send_packets(BLACK_HOLE_LARGE, 20);
	black_hole_discard(&hole);
	send_packets(BLACK_HOLE_SMALL, 9);
	assert_false(acked(20, 28));
}

static void
what_has_had_its_say_is_silent(void **state)
{
	(void)state;
	send_packets(BLACK_HOLE_LARGE, 3);
	send_packets(BLACK_HOLE_SMALL, 3);
	assert_true(acked(3, 5));
	black_hole_clear(&hole);
	send_packets(BLACK_HOLE_SMALL, 1);
	assert_false(last_acked());
}

static void
only_ack_eliciting_packets_count(void **state)
{
	(void)state;
	send_packets(BLACK_HOLE_NONE, 1);
	assert_false(hole.waiting);
	send_packets(BLACK_HOLE_SMALL, 2);
	assert_true(hole.waiting);
	assert_int_equal(hole.progress_at, 1);
	now = 2;
	acked(1, 1);
	assert_int_equal(hole.progress_at, 2);
	now = 3;
	acked(0, 1); /* nothing of it is new */
	assert_int_equal(hole.progress_at, 2);
	black_hole_idle(&hole);
	assert_false(hole.waiting);
}

static void
what_is_forgotten_may_have_been_large(void **state)
{
	(void)state;
	send_packets(BLACK_HOLE_LARGE, 3);
	send_packets(BLACK_HOLE_SMALL, BLACK_HOLE_HISTORY);
	assert_false(acked(0, hole.next_number - 1));
}

#define BLACK_HOLE_TEST(test) cmocka_unit_test_setup(test, setup)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		BLACK_HOLE_TEST(large_ones_vanish_before_small_ones),
		BLACK_HOLE_TEST(a_packet_is_looked_at_once),
		BLACK_HOLE_TEST(two_large_ones_may_be_lost),
		BLACK_HOLE_TEST(one_that_arrives_clears_the_others),
		BLACK_HOLE_TEST(loss_by_half_betrays),
		BLACK_HOLE_TEST(loss_by_chance_does_not),
		BLACK_HOLE_TEST(a_queue_that_ran_over_passes),
		BLACK_HOLE_TEST(what_has_not_left_is_no_evidence),
		BLACK_HOLE_TEST(what_has_had_its_say_is_silent),
		BLACK_HOLE_TEST(only_ack_eliciting_packets_count),
		BLACK_HOLE_TEST(what_is_forgotten_may_have_been_large),
	};

	return cmocka_run_group_tests_name("black_hole", tests, NULL, NULL);
}
