#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/base/addr.h"
#include "proxy/base/tally.h"

static void
names_have_their_share(void **state)
{
	struct tally tally = { 0 };
	struct tally_entry *a1, *a2, *b, *none = NULL;

	(void)state;
	assert_int_equal(tally_take(&tally, "alice", 2, &a1), 0);
	assert_int_equal(tally_take(&tally, "alice", 2, &a2), 0);
	assert_int_equal(tally_take(&tally, "alice", 2, &none), -EDQUOT);
	assert_int_equal(tally_take(&tally, "bob", 2, &b), 0);
	assert_int_equal(tally_take(&tally, "bob", 1, &none), -EDQUOT);
	assert_int_equal(tally_take(&tally, "carol", 0, &none), -EDQUOT);
	assert_null(none);
	assert_int_equal(tally.names, 2);
	tally_give(&tally, a1);
	assert_int_equal(tally_take(&tally, "alice", 2, &a1), 0);
	tally_give(&tally, a1);
	tally_give(&tally, a2);
	tally_give(&tally, b);
	tally_give(&tally, NULL);
	assert_int_equal(tally.names, 0);
	assert_null(tally.tree);
}

static void
the_largest_is_found(void **state)
{
	struct tally tally = { 0 };
	struct tally_entry *e[100][3];
	const char *name = "?";
	char text[8];

	(void)state;
	assert_int_equal(tally_top(&tally, &name), 0);
	assert_null(name);
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "u%d", i);
		for (int n = 0; n < 1 + (i == 41) + (i % 2); n++)
			assert_int_equal(tally_take(&tally, text, 9, &e[i][n]),
			    0);
	}
	assert_int_equal(tally_top(&tally, &name), 3);
	assert_string_equal(name, "u41");
	for (int i = 0; i < 100; i++)
		for (int n = 0; n < 1 + (i == 41) + (i % 2); n++)
			tally_give(&tally, e[i][n]);
	assert_null(tally.tree);
}

static const char *
source(const char *addr)
{
	static char name[TALLY_SOURCE_STRLEN];
	struct sockaddr_storage parsed;

	assert_int_equal(addr_parse(&parsed, addr), 0);
	return tally_source((struct sockaddr *)&parsed, name);
}

static void
a_source_is_a_host(void **state)
{
	(void)state;
	assert_string_equal(source("192.0.2.1:7"), "192.0.2.1");
	assert_string_equal(source("[::ffff:192.0.2.1]:7"), "192.0.2.1");
	assert_string_equal(source("[2001:db8:1:2::1]:7"), "2001:db8:1:2::");
	assert_string_equal(source("[2001:db8:1:2:f::2]:7"), "2001:db8:1:2::");
	assert_string_equal(source("[2001:db8:1:3::1]:7"), "2001:db8:1:3::");
	assert_string_equal(source("[::1]:7"), "::");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_have_their_share),
		cmocka_unit_test(the_largest_is_found),
		cmocka_unit_test(a_source_is_a_host),
	};

	return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
