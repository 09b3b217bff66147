#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/addr.h"
#include "proxy/base/happy_eyeballs.h"

static struct happy_eyeballs order;

static int
add(const char *text)
{
	struct sockaddr_storage addr;

	assert_int_equal(addr_parse(&addr, text), 0);
	return happy_eyeballs_add(&order, (const struct sockaddr *)&addr);
}

/* The next address is this one; NULL: there is none. */
static void
assert_next(const char *text)
{
	const struct sockaddr *addr = happy_eyeballs_next(&order);
	char found[ADDR_STRLEN];

	if (text == NULL) {
		assert_null(addr);
		return;
	}
	assert_non_null(addr);
	assert_string_equal(addr_format(addr, found), text);
}

static int
setup(void **state)
{
	(void)state;
	order = (struct happy_eyeballs){ .max = 8 };
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	happy_eyeballs_clear(&order);
	assert_null(order.v);
	return 0;
}

static void
families_alternate(void **state)
{
	(void)state;
	add("[2001:db8::1]:1");
	add("[2001:db8::2]:1");
	add("192.0.2.1:1");
	add("192.0.2.2:1");
	add("192.0.2.3:1");
	assert_next("[2001:db8::1]:1");
	assert_next("192.0.2.1:1");
	assert_next("[2001:db8::2]:1");
	assert_next("192.0.2.2:1");
	assert_next("192.0.2.3:1");
	assert_next(NULL);
	assert_int_equal(order.ntried, 5);
}

static void
the_first_family_is_that_of_the_first_address(void **state)
{
	(void)state;
	add("192.0.2.1:1");
	add("192.0.2.2:1");
	assert_next("192.0.2.1:1");
	/* Late addresses of the other family are next. */
	add("[2001:db8::1]:1");
	assert_next("[2001:db8::1]:1");
	assert_next("192.0.2.2:1");
	assert_next(NULL);
	add("[2001:db8::2]:1");
	assert_next("[2001:db8::2]:1");
}

static void
an_address_is_tried_once(void **state)
{
	(void)state;
	assert_int_equal(add("192.0.2.1:1"), 0);
	assert_int_equal(add("192.0.2.1:1"), -EEXIST);
	assert_int_equal(add("192.0.2.1:2"), 0);
	assert_next("192.0.2.1:1");
	assert_int_equal(add("192.0.2.1:1"), -EEXIST);
	assert_next("192.0.2.1:2");
	assert_next(NULL);
}

static void
there_is_a_limit(void **state)
{
	(void)state;
	order.max = 3;
	assert_int_equal(add("192.0.2.1:1"), 0);
	assert_int_equal(add("192.0.2.2:1"), 0);
	assert_int_equal(add("192.0.2.3:1"), 0);
	assert_int_equal(add("192.0.2.4:1"), -ENOSPC);
	assert_int_equal(add("192.0.2.3:1"), -EEXIST);
	assert_int_equal(order.n, 3);
}

static void
another_round_has_the_same_order(void **state)
{
	(void)state;
	add("[2001:db8::1]:1");
	add("192.0.2.1:1");
	for (int i = 0; i < 2; i++) {
		assert_next("[2001:db8::1]:1");
		assert_next("192.0.2.1:1");
		assert_next(NULL);
		happy_eyeballs_rewind(&order);
		assert_int_equal(order.ntried, 0);
	}
	assert_next("[2001:db8::1]:1");
	happy_eyeballs_rewind(&order);
	assert_next("[2001:db8::1]:1");
	happy_eyeballs_clear(&order);
	assert_next(NULL);
	assert_int_equal(add("192.0.2.9:1"), 0);
	assert_next("192.0.2.9:1");
}

static void
many_addresses_are_tried_faster(void **state)
{
	(void)state;
	assert_int_equal(happy_eyeballs_delay(&order, 250, UINT64_MAX), 250);
	assert_int_equal(happy_eyeballs_delay(&order, 250, 0), 10);
	for (uint16_t i = 0; i < 5; i++)
		add((const char *[]){ "192.0.2.1:1", "192.0.2.2:1",
		    "192.0.2.3:1", "192.0.2.4:1", "192.0.2.5:1" }[i]);
	happy_eyeballs_next(&order);
	assert_int_equal(happy_eyeballs_delay(&order, 250, UINT64_MAX), 250);
	assert_int_equal(happy_eyeballs_delay(&order, 250, 1000), 250);
	assert_int_equal(happy_eyeballs_delay(&order, 250, 400), 100);
	assert_int_equal(happy_eyeballs_delay(&order, 250, 39), 10);
}

#define ORDER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		ORDER_TEST(families_alternate),
		ORDER_TEST(the_first_family_is_that_of_the_first_address),
		ORDER_TEST(an_address_is_tried_once),
		ORDER_TEST(there_is_a_limit),
		ORDER_TEST(another_round_has_the_same_order),
		ORDER_TEST(many_addresses_are_tried_faster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
