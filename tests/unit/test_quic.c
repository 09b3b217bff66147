#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/world.h"

static void
handshake_and_echo(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[0].habit = ECHO;
	w->near[0].to_send = 100000;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(tunnels_done(w, 1));
	assert_string_equal(w->near[0].answer, "200");
	assert_int_equal(w->near[0].received, 100000);
	assert_false(w->near[0].spoilt);
	assert_null(w->far[0].stream);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(handshake_and_echo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
