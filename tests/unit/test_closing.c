#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/closing.h"

#define SECOND UINT64_C(1000000000) /* ns */
#define MANY 4096		    /* that are kept at a time */

static struct conn_id_map map;
static struct closings closings;
static struct quic_gso gso;

static int
setup(void **state)
{
	(void)state;
	map = (struct conn_id_map){ .n = 0 };
	closings_init(&closings, &map);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	closings_fini(&closings);
	assert_int_equal(map.n, 0);
	return 0;
}

static ngtcp2_cid
id(unsigned n)
{
	ngtcp2_cid cid = { .datalen = 8 };

	memcpy(cid.data, &n, sizeof(n));
	return cid;
}

/* Two IDs, `n` and 1000000 more, of a connection that ends with a packet. */
static void
close_one(unsigned n, size_t len, uint64_t now)
{
	static const struct quic_path path;
	static const uint8_t packet[1200] = { 'c' };
	struct conn_ids ids = LIST_HEAD_INITIALIZER(ids);
	ngtcp2_cid first = id(n), second = id(n + 1000000);

	assert_int_equal(conn_id_add(&map, &ids, NULL, &first), 0);
	assert_int_equal(conn_id_add(&map, &ids, NULL, &second), 0);
	closings_add(&closings, &ids, &path, packet, len, now);
	assert_true(LIST_EMPTY(&ids));
}

static struct closing *
find(unsigned n)
{
	ngtcp2_cid cid = id(n);
	struct conn_id *found = conn_id_find(&map, &cid);

	return found != NULL ? found->closing : NULL;
}

static unsigned
written(void)
{
	unsigned n = 0;

	while (closings_write(&closings, &gso))
		n++;
	return n;
}

/*
 * A packet with any of its IDs is answered, from any path, for three seconds.
 */
static void
a_close_is_kept_for_seconds(void **state)
{
	(void)state;
	assert_int_equal(closings_deadline(&closings), UINT64_MAX);
	close_one(1, 100, SECOND);
	assert_non_null(find(1));
	assert_ptr_equal(find(1), find(1000001));
	assert_int_equal(closings_deadline(&closings), 4 * SECOND);
	closings_expire(&closings, 4 * SECOND - 1);
	assert_int_equal(closings.n, 1);
	closings_expire(&closings, 4 * SECOND);
	assert_int_equal(closings.n, 0);
	assert_null(find(1));
	assert_int_equal(closings_deadline(&closings), UINT64_MAX);
}

static void
it_is_sent_ever_more_rarely(void **state)
{
	unsigned n = 0;

	(void)state;
	close_one(1, 100, 0);
	assert_int_equal(written(), 1);
	assert_int_equal(gso.len, 100);
	assert_int_equal(gso.buf[0], 'c');
	for (unsigned i = 0; i < 1000; i++) {
		closing_received(&closings, find(1), 1200);
		n += written();
	}
	assert_int_equal(n, 10);
}

/* Small packets from a forged address cause no large ones. */
static void
it_does_not_amplify(void **state)
{
	(void)state;
	close_one(1, 100, 0);
	written();
	closing_received(&closings, find(1), 33);
	assert_int_equal(written(), 0);
	closing_received(&closings, find(1), 34);
	assert_int_equal(written(), 1);
}

static void
a_peer_that_has_closed_is_not_answered(void **state)
{
	(void)state;
	close_one(1, 0, 0);
	assert_int_equal(written(), 0);
	closing_received(&closings, find(1), 1200);
	assert_int_equal(written(), 0);
	assert_int_equal(closings.n, 1);
}

static void
the_oldest_makes_room(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MANY + 1000; i++)
		close_one(i, 100, i);
	assert_int_equal(closings.n, MANY);
	assert_null(find(999));
	assert_null(find(1000999));
	assert_non_null(find(1000));
	assert_int_equal(written(), MANY);
}

/* Packets that wait in a train are sent first. */
static void
a_train_that_is_taken_is_left_alone(void **state)
{
	(void)state;
	close_one(1, 100, 0);
	gso.held_len = 1;
	assert_int_equal(written(), 0);
	gso.held_len = 0;
	assert_int_equal(written(), 1);
}

#define CLOSING_TEST(test) \
	cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		CLOSING_TEST(a_close_is_kept_for_seconds),
		CLOSING_TEST(it_is_sent_ever_more_rarely),
		CLOSING_TEST(it_does_not_amplify),
		CLOSING_TEST(a_peer_that_has_closed_is_not_answered),
		CLOSING_TEST(the_oldest_makes_room),
		CLOSING_TEST(a_train_that_is_taken_is_left_alone),
	};

	return cmocka_run_group_tests_name("closing", tests, NULL, NULL);
}
