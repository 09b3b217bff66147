#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/gate.h"

#define SECOND UINT64_C(1000000000) /* ns */
#define MANY 1000000

static struct gate gate;

static int
setup(void **state)
{
	(void)state;
	gate = (struct gate){ .half_open_max = MANY, .per_second = MANY };
	return 0;
}

static struct sockaddr *
address(const char *text)
{
	static struct sockaddr_storage ss;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&ss;
	struct sockaddr_in *sin = (struct sockaddr_in *)&ss;

	memset(&ss, 0, sizeof(ss));
	if (inet_pton(AF_INET, text, &sin->sin_addr) == 1)
		ss.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &sin6->sin6_addr) == 1)
		ss.ss_family = AF_INET6;
	return (struct sockaddr *)&ss;
}

/* How many of `n` who come at once are let in. */
static unsigned
admitted(unsigned n, bool proven, uint64_t now)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		count += gate_ask(&gate, proven, 0, now) == GATE_ADMIT;
	return count;
}

static void
half_open_handshakes_ask_for_proof(void **state)
{
	(void)state;
	gate.half_open_max = 10;
	assert_int_equal(gate_ask(&gate, false, 9, 0), GATE_ADMIT);
	assert_int_equal(gate_ask(&gate, false, 10, 0), GATE_PROVE);
	assert_int_equal(gate_ask(&gate, true, 10, 0), GATE_ADMIT);
}

static void
handshakes_have_their_rate(void **state)
{
	(void)state;
	gate.per_second = 100;
	/* A quiet server takes a second's worth at once, and no more. */
	assert_int_equal(admitted(1000, true, 50 * SECOND), 100);
	assert_int_equal(admitted(1000, true, 50 * SECOND), 0);
	assert_int_equal(admitted(10, true, 50 * SECOND + SECOND / 100), 1);
	assert_int_equal(admitted(1000, true, 50 * SECOND + SECOND / 2), 49);
	assert_int_equal(admitted(1000, true, 90 * SECOND), 100);
	/* A change holds at once. */
	gate.per_second = 1000;
	assert_int_equal(admitted(1000, true, 90 * SECOND + SECOND / 2), 500);
}

static void
beyond_it_who_is_proven_waits(void **state)
{
	(void)state;
	gate.per_second = 1;
	assert_int_equal(admitted(1, false, 0), 1);
	assert_int_equal(gate_ask(&gate, false, 0, 0), GATE_PROVE);
	assert_int_equal(gate_ask(&gate, true, 0, 0), GATE_LATER);
	assert_int_equal(gate_ask(&gate, true, 0, SECOND), GATE_ADMIT);
}

static size_t
connections(const char *text)
{
	const struct gate_source *source = gate_find(&gate, address(text));

	return source != NULL ? source->connections : 0;
}

static void
sources_are_counted(void **state)
{
	struct gate_source *a, *b, *other;

	(void)state;
	a = gate_enter(&gate, address("192.0.2.1"));
	assert_int_equal(connections("192.0.2.1"), 1);
	b = gate_enter(&gate, address("192.0.2.1"));
	assert_int_equal(connections("192.0.2.1"), 2);
	assert_int_equal(connections("192.0.2.2"), 0);
	other = gate_enter(&gate, address("192.0.2.2"));
	gate_leave(&gate, a);
	assert_int_equal(connections("192.0.2.1"), 1);
	gate_leave(&gate, other);
	gate_leave(&gate, b);
	gate_leave(&gate, NULL);
	assert_null(gate.sources);
}

static void
an_ipv6_source_is_a_network(void **state)
{
	struct gate_source *a, *b;

	(void)state;
	a = gate_enter(&gate, address("2001:db8:0:1::1"));
	assert_int_equal(connections("2001:db8:0:1:ffff::2"), 1);
	assert_int_equal(connections("2001:db8:0:2::1"), 0);
	/* Its first bytes are those of an IPv4 address. */
	b = gate_enter(&gate, address("c000:201::"));
	assert_int_equal(connections("192.0.2.1"), 0);
	gate_leave(&gate, a);
	gate_leave(&gate, b);
	assert_null(gate.sources);
}

#define GATE_TEST(test) cmocka_unit_test_setup(test, setup)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		GATE_TEST(half_open_handshakes_ask_for_proof),
		GATE_TEST(handshakes_have_their_rate),
		GATE_TEST(beyond_it_who_is_proven_waits),
		GATE_TEST(sources_are_counted),
		GATE_TEST(an_ipv6_source_is_a_network),
	};

	return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
