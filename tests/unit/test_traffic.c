#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/local/traffic.h"

#define CLIENTS 10000
#define SECOND 1000 /* ms */

static struct traffic traffic;
static struct traffic_share clients[CLIENTS], *top[TRAFFIC_TOP];

static int
setup(void **state)
{
	(void)state;
	traffic = (struct traffic){ 0 };
	for (size_t i = 0; i < CLIENTS; i++)
		clients[i] = (struct traffic_share){ 0 };
	return 0;
}

/* Moves so many bytes more, half of them each way. */
static void
move(struct traffic_share *share, uint64_t bytes, uint64_t now)
{
	traffic_update(&traffic, share, share->up + bytes / 2,
	    share->down + bytes / 2, now);
}

static void
bytes_are_summed(void **state)
{
	(void)state;
	traffic_update(&traffic, &clients[0], 5, 0, 1);
	traffic_update(&traffic, &clients[1], 10, 100, 1);
	traffic_update(&traffic, &clients[0], 7, 3, 2);
	traffic_update(&traffic, &clients[0], 7, 3, 2);
	assert_int_equal(traffic.up, 17);
	assert_int_equal(traffic.down, 103);
	traffic_forget(&traffic, &clients[0]);
	traffic_forget(&traffic, &clients[0]);
	assert_int_equal(traffic.up, 17);
	assert_int_equal(traffic_top(&traffic, top, 2), 1);
	assert_ptr_equal(top[0], &clients[1]);
}

/* However many others move a little, and in whatever order. */
static void
the_busiest_are_found_among_many(void **state)
{
	uint64_t now = 1234567;

	(void)state;
	for (int round = 0; round < 10; round++)
		for (size_t i = 0; i < CLIENTS; i++) {
			move(&clients[i], 10, now + i / 10);
			if (i % 100 == 17)
				move(&clients[17], 2000, now + i / 10);
			if (i % 100 == 42)
				move(&clients[42], 4000, now + i / 10);
		}
	assert_in_range(traffic_top(&traffic, top, now + SECOND), 2,
	    TRAFFIC_TOP);
	assert_ptr_equal(top[0], &clients[42]);
	assert_ptr_equal(top[1], &clients[17]);
	assert_int_equal(traffic.up + traffic.down,
	    10 * (CLIENTS * 10 + 100 * 6000));
}

static void
the_busiest_come_first(void **state)
{
	(void)state;
	for (size_t i = 0; i < TRAFFIC_TOP; i++)
		move(&clients[i], 100 + 2 * (i * 7 % TRAFFIC_TOP), 1);
	assert_int_equal(traffic_top(&traffic, top, 1), TRAFFIC_TOP);
	for (size_t i = 1; i < TRAFFIC_TOP; i++)
		assert_true(top[i]->up < top[i - 1]->up);
}

/* Bytes of long ago do not count. */
static void
old_traffic_decays(void **state)
{
	(void)state;
	move(&clients[0], 1000000, SECOND);
	for (uint64_t s = 1; s < 5; s++)
		move(&clients[1], 20000, s * SECOND);
	assert_int_equal(traffic_top(&traffic, top, 5 * SECOND), 2);
	assert_ptr_equal(top[0], &clients[1]);
	assert_int_equal(traffic_top(&traffic, top, 20 * SECOND), 0);
	assert_int_equal(traffic_top(&traffic, top, UINT64_MAX), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bytes_are_summed, setup),
		cmocka_unit_test_setup(the_busiest_are_found_among_many, setup),
		cmocka_unit_test_setup(the_busiest_come_first, setup),
		cmocka_unit_test_setup(old_traffic_decays, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
