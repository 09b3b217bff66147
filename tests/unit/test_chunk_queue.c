#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/chunk_queue.h"
#include "tests/unit/pattern.h"

#define MIN 4096 /* bytes of a reservation */

static struct chunk_pool pool;
static struct chunk_queue queue;

static int
begin(void **state)
{
	(void)state;
	chunk_pool_init(&pool);
	chunk_queue_init(&queue, &pool);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	chunk_queue_clear(&queue);
	chunk_pool_fini(&pool);
	return 0;
}

/* Puts up to `n` bytes of the pattern behind those that are there. */
static size_t
put(size_t at, size_t n)
{
	uint8_t *out;
	size_t room;

	out = chunk_queue_reserve(&queue, MIN, &room);
	assert_non_null(out);
	assert_true(room >= MIN);
	n = n < room ? n : room;
	for (size_t i = 0; i < n; i++)
		out[i] = pattern(0, at + i);
	chunk_queue_commit(&queue, n);
	return n;
}

/* All bytes are the pattern from that offset on, and in as many vectors. */
static void
assert_holds(size_t at, size_t len, size_t vectors)
{
	struct iovec iov[8];
	size_t n = chunk_queue_peek(&queue, iov, 8), sum = 0;

	assert_int_equal(n, vectors);
	assert_int_equal(queue.len, len);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *data = iov[i].iov_base;

		for (size_t j = 0; j < iov[i].iov_len; j++)
			assert_int_equal(data[j], pattern(0, at + sum++));
	}
	assert_int_equal(sum, len);
}

static void
bytes_come_out_as_they_went_in(void **state)
{
	size_t in = 0, out = 0;

	(void)state;
	while (in < 2 * CHUNK_BYTES) {
		in += put(in, 10007);
		if (in > 3 * 10007) {
			chunk_queue_drop(&queue, 9001);
			out += 9001;
		}
		assert_int_equal(queue.len, in - out);
	}
	while (queue.len > 9001) {
		chunk_queue_drop(&queue, 9001);
		out += 9001;
	}
	assert_holds(out, in - out, 1);
}

/* They stay where they are while others come and go. */
static void
bytes_do_not_move(void **state)
{
	struct iovec first, last[2];

	(void)state;
	put(0, CHUNK_BYTES);
	assert_int_equal(chunk_queue_peek(&queue, &first, 1), 1);
	put(CHUNK_BYTES, 100);
	chunk_queue_drop(&queue, 1000);
	put(CHUNK_BYTES + 100, 100);
	assert_int_equal(chunk_queue_peek(&queue, last, 2), 2);
	assert_ptr_equal(last[0].iov_base, (char *)first.iov_base + 1000);
	assert_holds(1000, CHUNK_BYTES + 200 - 1000, 2);
}

static void
room_ends_at_the_limit(void **state)
{
	size_t in = 0;

	(void)state;
	while (chunk_queue_has_room(&queue, MIN))
		in += put(in, CHUNK_BYTES);
	assert_int_equal(in, CHUNK_QUEUE_MAX);
	chunk_queue_drop(&queue, CHUNK_BYTES - 1);
	assert_false(chunk_queue_has_room(&queue, MIN));
	chunk_queue_drop(&queue, 1);
	assert_true(chunk_queue_has_room(&queue, MIN));
	in += put(in, CHUNK_BYTES);
	in += put(in, 10); /* whether there is room or not */
	assert_holds(CHUNK_BYTES, in - CHUNK_BYTES, 3);
}

static void
an_empty_queue_holds_no_memory(void **state)
{
	(void)state;
	put(0, 10);
	chunk_queue_drop(&queue, 10);
	assert_int_equal(queue.n, 0);
	assert_int_equal(pool.n, 1);
	put(0, 0);
	assert_int_equal(queue.n, 0);
	assert_int_equal(pool.n, 1); /* the same one */
	for (size_t in = 0; in < 20 * CHUNK_BYTES;)
		in += put(in, CHUNK_BYTES);
	chunk_queue_drop(&queue, 20 * CHUNK_BYTES);
	assert_int_equal(pool.n, CHUNK_POOL_MAX);
}

#define QUEUE_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		QUEUE_TEST(bytes_come_out_as_they_went_in),
		QUEUE_TEST(bytes_do_not_move),
		QUEUE_TEST(room_ends_at_the_limit),
		QUEUE_TEST(an_empty_queue_holds_no_memory),
	};

	return cmocka_run_group_tests_name("chunk_queue", tests, NULL, NULL);
}
