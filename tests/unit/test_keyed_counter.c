#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/base/keyed_counter.h"

static void
names_have_their_share(void **state)
{
	struct keyed_counter counter = { 0 };
	struct key_count *a1, *a2, *b, *none = NULL;

	(void)state;
	assert_int_equal(keyed_counter_take(&counter, "alice", 2, &a1), 0);
	assert_int_equal(keyed_counter_take(&counter, "alice", 2, &a2), 0);
	assert_int_equal(keyed_counter_take(&counter, "alice", 2, &none),
	    -EDQUOT);
	assert_int_equal(keyed_counter_take(&counter, "bob", 2, &b), 0);
	assert_int_equal(keyed_counter_take(&counter, "bob", 1, &none),
	    -EDQUOT);
	assert_int_equal(keyed_counter_take(&counter, "carol", 0, &none),
	    -EDQUOT);
	assert_null(none);
	assert_int_equal(counter.names, 2);
	keyed_counter_give(&counter, a1);
	assert_int_equal(keyed_counter_take(&counter, "alice", 2, &a1), 0);
	keyed_counter_give(&counter, a1);
	keyed_counter_give(&counter, a2);
	keyed_counter_give(&counter, b);
	keyed_counter_give(&counter, NULL);
	assert_int_equal(counter.names, 0);
	assert_null(counter.tree);
}

static void
the_largest_is_found(void **state)
{
	struct keyed_counter counter = { 0 };
	struct key_count *e[100][3];
	const char *name = "?";
	char text[8];

	(void)state;
	assert_int_equal(keyed_counter_top(&counter, &name), 0);
	assert_null(name);
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "u%d", i);
		for (int n = 0; n < 1 + (i == 41) + (i % 2); n++)
			assert_int_equal(keyed_counter_take(&counter, text, 9,
					     &e[i][n]),
			    0);
	}
	assert_int_equal(keyed_counter_top(&counter, &name), 3);
	assert_string_equal(name, "u41");
	for (int i = 0; i < 100; i++)
		for (int n = 0; n < 1 + (i == 41) + (i % 2); n++)
			keyed_counter_give(&counter, e[i][n]);
	assert_null(counter.tree);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_have_their_share),
		cmocka_unit_test(the_largest_is_found),
	};

	return cmocka_run_group_tests_name("keyed_counter", tests, NULL, NULL);
}
