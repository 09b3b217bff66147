#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "quic/loss_window.h"

#define MS UINT64_C(1000000) /* ns */
#define START (1000 * MS)
#define SIZE 1000 /* bytes of a packet */

static struct loss_window w;
static struct loss_count c;
static uint64_t now, number;

static int
begin(void **state)
{
	(void)state;
	now = START;
	number = 7;
	loss_window_init(&w, number, now);
	return 0;
}

/* The next packet arrives, or is lost. */
static void
packet(bool arrives)
{
	if (arrives) {
		loss_window_add(&w, number, SIZE, now);
		loss_window_arrived(&w, number, number);
		loss_window_delivered(&w, SIZE, now);
	}
	number++;
}

/* One packet a millisecond for so long; of each `of` one is lost. */
static void
carry(unsigned ms, unsigned of)
{
	for (unsigned i = 1; i <= ms; i++, now += MS)
		packet(of == 0 || i % of != 0);
}

/* The same with one packet in ten milliseconds. */
static void
carry_slowly(unsigned n, unsigned of)
{
	for (unsigned i = 1; i <= n; i++, now += 10 * MS)
		packet(of == 0 || i % of != 0);
}

/* Both intervals end. */
static void
end(void)
{
	packet(true);
	loss_window_next(&w, number, &c);
	loss_window_next(&w, number, &c);
}

static void
gaps_are_losses(void **state)
{
	(void)state;
	carry(1000, 10);
	end();
	assert_int_equal(c.packets, 1001);
	assert_int_equal(c.lost, 100);
}

static void
what_is_late_is_not_lost(void **state)
{
	(void)state;
	carry(100, 10);
	packet(true);
	loss_window_next(&w, number, &c);
	assert_int_equal(c.packets, 0);
	/* Once and twice, one by one and in a range that was sent in part. */
	assert_int_equal(loss_window_arrived(&w, 16, 16), 1);
	assert_int_equal(loss_window_arrived(&w, 16, 16), 0);
	assert_int_equal(loss_window_arrived(&w, 20, 49), 3);
	assert_int_equal(loss_window_arrived(&w, number, number + 9), 0);
	loss_window_next(&w, number, &c);
	assert_int_equal(c.packets, 101);
	assert_int_equal(c.lost, 6);
}

static void
more_than_is_kept_is_not_counted(void **state)
{
	(void)state;
	carry(2 * LOSS_WINDOW_NUMBERS, 10);
	end();
	assert_int_equal(c.packets, 0);
	carry(100, 10);
	end();
	assert_int_equal(c.packets, 101);
	assert_int_equal(c.lost, 10);
}

/* Whatever the numbers of a peer are, it takes no longer than the window. */
static void
numbers_may_leap(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		packet(true);
		number += UINT64_C(1) << 31;
	}
	packet(true);
	assert_int_equal(loss_window_arrived(&w, 0, UINT64_C(1) << 62),
	    LOSS_WINDOW_NUMBERS - 1);
	end();
	assert_int_equal(c.packets, 0);
}

/* Losses at full speed may be a queue's; much below it they are not. */
static void
losses_at_full_speed_are_not_calm(void **state)
{
	(void)state;
	carry(1000, 10);
	end();
	assert_int_equal(c.lost, 100);
	assert_int_equal(c.calm_packets, 0);
	carry_slowly(100, 10);
	end();
	assert_int_equal(c.lost, 10);
	assert_in_range(c.calm_packets, 90, 101);
	assert_in_range(c.calm_lost, 8, 10);
}

/* A burst of a queue's length, whose last packet is missed much later. */
static void
losses_of_bursts_are_not_calm(void **state)
{
	(void)state;
	carry(1000, 0);
	end();
	for (int i = 0; i < 20; i++) {
		carry(8, 8);
		now += 100 * MS;
	}
	end();
	assert_int_equal(c.lost, 20);
	assert_int_equal(c.calm_lost, 0);
}

/* One packet in four milliseconds, and of each `of` one is lost. */
static void
carry_at_a_quarter(unsigned ms, unsigned of)
{
	for (unsigned i = 1; i <= ms / 4; i++, now += 4 * MS)
		packet(of == 0 || i % of != 0);
}

/* What a line carried long ago does not count. */
static void
lines_change(void **state)
{
	(void)state;
	carry(1000, 0);
	end();
	carry_at_a_quarter(400, 10);
	end();
	assert_int_equal(c.lost, 10);
	assert_in_range(c.calm_lost, 8, 10);
	carry_at_a_quarter(25000, 0);
	end();
	carry_at_a_quarter(400, 10);
	end();
	assert_int_equal(c.lost, 10);
	assert_int_equal(c.calm_lost, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(gaps_are_losses, begin),
		cmocka_unit_test_setup(what_is_late_is_not_lost, begin),
		cmocka_unit_test_setup(more_than_is_kept_is_not_counted, begin),
		cmocka_unit_test_setup(numbers_may_leap, begin),
		cmocka_unit_test_setup(losses_at_full_speed_are_not_calm,
		    begin),
		cmocka_unit_test_setup(losses_of_bursts_are_not_calm, begin),
		cmocka_unit_test_setup(lines_change, begin),
	};

	return cmocka_run_group_tests_name("loss_window", tests, NULL, NULL);
}
