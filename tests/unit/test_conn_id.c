#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "quic/conn_id.h"

#define MANY 100000

static struct conn_id_map map;
static struct conn_ids list;
static struct conn_id *ids[MANY];

static int
setup(void **state)
{
	(void)state;
	memset(&map, 0, sizeof(map));
	memset(map.key, 'k', sizeof(map.key));
	LIST_INIT(&list);
	return 0;
}

/* Nothing is left when all IDs are freed. */
static int
teardown(void **state)
{
	(void)state;
	conn_ids_free(&map, &list);
	assert_int_equal(map.n, 0);
	for (size_t i = 0; i < CONN_ID_SEGMENTS; i++)
		assert_null(map.segments[i]);
	return 0;
}

static ngtcp2_cid
cid_of(unsigned n)
{
	ngtcp2_cid cid = { .datalen = 8 };

	memcpy(cid.data, &n, sizeof(n));
	return cid;
}

static struct conn_id *
add(unsigned n)
{
	ngtcp2_cid cid = cid_of(n);

	assert_int_equal(conn_id_add(&map, &list, NULL, &cid), 0);
	return LIST_FIRST(&list);
}

static struct conn_id *
find(unsigned n)
{
	ngtcp2_cid cid = cid_of(n);

	return conn_id_find(&map, &cid);
}

/* Of the key 00 01 ... and of data that begins 00 01 ...: by its authors. */
static void
siphash_is_what_its_authors_publish(void **state)
{
	static const struct {
		size_t len;
		uint64_t hash;
	} known[] = {
		{ 0, UINT64_C(0x726fdb47dd0e0e31) },
		{ 1, UINT64_C(0x74f839c593dc67fd) },
		{ 7, UINT64_C(0xab0200f58b01d137) },
		{ 8, UINT64_C(0x93f5f5799a932462) },
		{ 15, UINT64_C(0xa129ca6149be45e5) },
	};
	uint8_t key[SIPHASH_KEY_LEN], data[16];

	(void)state;
	for (uint8_t i = 0; i < 16; i++)
		key[i] = data[i] = i;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		assert_true(siphash(key, data, known[i].len) == known[i].hash);
}

static void
all_are_found_at_every_size(void **state)
{
	(void)state;
	assert_null(find(1));
	for (unsigned i = 0; i < MANY; i++) {
		ids[i] = add(i);
		assert_ptr_equal(find(i / 2), ids[i / 2]);
		assert_null(find(i + 1));
	}
	for (unsigned i = 0; i < MANY; i++)
		assert_ptr_equal(find(i), ids[i]);
	for (unsigned i = 0; i < MANY; i++) {
		conn_id_free(&map, ids[i]);
		assert_null(find(i));
		assert_ptr_equal(find((i + MANY) / 2),
		    i + 1 == MANY ? NULL : ids[(i + MANY) / 2]);
	}
}

static void
lengths_and_bytes_differ(void **state)
{
	ngtcp2_cid cid = cid_of(1);
	struct conn_id *id = add(1);

	(void)state;
	assert_int_equal(conn_id_add(&map, &list, NULL, &cid), -EEXIST);
	cid.datalen = 7;
	assert_null(conn_id_find(&map, &cid));
	assert_int_equal(conn_id_add(&map, &list, NULL, &cid), 0);
	assert_ptr_equal(conn_id_find(&map, &cid), LIST_FIRST(&list));
	assert_ptr_equal(find(1), id);
	cid.datalen = 0;
	assert_null(conn_id_find(&map, &cid));
}

/* One that was found last is not found after it is freed. */
static void
a_freed_one_is_not_remembered(void **state)
{
	struct conn_id *id = add(1);

	(void)state;
	add(2);
	assert_ptr_equal(find(1), id);
	conn_id_free(&map, id);
	assert_null(find(1));
}

/* The IDs whose bucket changes as one more is added, or one less. */
static size_t
longest_bucket(void)
{
	size_t longest = 0, n, in_first;
	struct conn_id *id;

	for (size_t b = 0; b < map.nbuckets; b++) {
		size_t segment = 0, first = 0;
		while (b >= (in_first = CONN_ID_BUCKETS << segment)) {
			first = in_first;
			segment++;
		}
		n = 0;
		LIST_FOREACH(id, &map.segments[segment][b - first],
		    bucket_entry)
			n++;
		longest = n > longest ? n : longest;
	}
	return longest;
}

/* So no call has many steps, with so many IDs and after most are freed. */
static void
buckets_stay_short(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		ids[i] = add(i);
	assert_in_range(map.nbuckets, MANY / 2, 2 * MANY);
	assert_in_range(longest_bucket(), 1, 16);
	for (unsigned i = 0; i < MANY - 1000; i++)
		conn_id_free(&map, ids[i]);
	assert_in_range(map.nbuckets, 500, 2000);
	assert_in_range(longest_bucket(), 1, 16);
}

#define CONN_ID_TEST(test) \
	cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(siphash_is_what_its_authors_publish),
		CONN_ID_TEST(all_are_found_at_every_size),
		CONN_ID_TEST(lengths_and_bytes_differ),
		CONN_ID_TEST(a_freed_one_is_not_remembered),
		CONN_ID_TEST(buckets_stay_short),
	};

	return cmocka_run_group_tests_name("conn_id", tests, NULL, NULL);
}
