#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/world.h"

/*
 * Bulk under BBR through a bottleneck, whose queue holds what it carries in a
 * round trip: the queue stays short, and the line is used.
 */

#define BYTE_NS 400 /* 20 Mbit/s */
#define BULK 0	    /* the tunnel that is always full, upwards */

/* Returns the bytes of it that have arrived. */
static size_t
bulk_through_bottleneck(struct world *w)
{
	world_up(w);
	w->link->byte_ns = BYTE_NS;
	w->link->queue_max = RTT;
	w->near[BULK].to_send = SIZE_MAX;
	assert_int_equal(tunnel_open(w, BULK), 0);
	link_run(w->link, NULL, NULL, 5 * LINK_S);
	return w->far[BULK].received;
}

/* Bytes of bulk in that time, in percent of what the line carries. */
static uint64_t
use_of_line(struct world *w, size_t before, uint64_t time)
{
	return (w->far[BULK].received - before) * w->link->byte_ns * 100 / time;
}

/* How long a packet waits that comes before the line now. */
static uint64_t
queue(const struct link *link)
{
	uint64_t until = link->busy_until[true];

	return until > link->now ? until - link->now : 0;
}

static void
the_queue_stays_short(void **state)
{
	struct world *w = *state;
	uint64_t longest = 0;
	size_t before;

	before = bulk_through_bottleneck(w);
	for (unsigned i = 0; i < 30000; i++) {
		link_run(w->link, NULL, NULL, LINK_MS);
		if (queue(w->link) > longest)
			longest = queue(w->link);
	}
	assert_in_range(longest, LINK_MS, 35 * LINK_MS);
	assert_true(use_of_line(w, before, 30 * LINK_S) >= 80);
}

/*
 * The round trip is longer for good, and nothing waits anywhere. BBR by itself
 * uses some 70 %, and less than 40 if it is held back.
 */
static void
a_longer_path_is_no_queue(void **state)
{
	struct world *w = *state;
	size_t before;

	before = bulk_through_bottleneck(w);
	w->link->delay = 45 * LINK_MS;
	link_run(w->link, NULL, NULL, 20 * LINK_S);
	assert_true(use_of_line(w, before, 20 * LINK_S) >= 60);
}

/* The same all the time: 40 to 60 %, and less than 10. */
static void
jitter_is_no_queue(void **state)
{
	struct world *w = *state;
	size_t before;

	before = bulk_through_bottleneck(w);
	for (unsigned i = 0; i < 300; i++) {
		w->link->delay = (25 + link_random(w->link, 50)) * LINK_MS;
		link_run(w->link, NULL, NULL, 100 * LINK_MS);
	}
	assert_true(use_of_line(w, before, 30 * LINK_S) >= 25);
}

/* Five times the bandwidth, after a time with less. */
static void
a_wider_line_is_found(void **state)
{
	struct world *w = *state;
	size_t before;

	before = bulk_through_bottleneck(w);
	w->link->byte_ns = BYTE_NS / 5;
	link_run(w->link, NULL, NULL, 20 * LINK_S);
	assert_true(use_of_line(w, before, 20 * LINK_S) >= 60);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_queue_stays_short),
		TEST(a_longer_path_is_no_queue),
		TEST(jitter_is_no_queue),
		TEST(a_wider_line_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
