#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/admission.h"

#define SECOND UINT64_C(1000000000) /* ns */
#define MANY 1000000

static struct admission admission;

static int
setup(void **state)
{
	(void)state;
	admission = (struct admission){ .half_open_max = MANY,
		.per_second = MANY };
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

/* How many of `n` simultaneous handshakes from there are admitted. */
static unsigned
admitted_from(const char *text, unsigned n, bool proven, uint64_t now)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		count += admission_decide(&admission, address(text), proven, 0,
			     now) == ADMISSION_ADMIT;
	return count;
}

/* ... or each from another place. */
static unsigned
admitted(unsigned n, uint64_t now)
{
	static unsigned places;
	unsigned count = 0;
	char text[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.1", places / 256 % 256,
		    places % 256);
		places++;
		count += admitted_from(text, 1, true, now);
	}
	return count;
}

static void
half_open_handshakes_cause_retry(void **state)
{
	struct sockaddr *who = address("192.0.2.1");

	(void)state;
	admission.half_open_max = 10;
	assert_int_equal(admission_decide(&admission, who, false, 9, 0),
	    ADMISSION_ADMIT);
	assert_int_equal(admission_decide(&admission, who, false, 10, 0),
	    ADMISSION_RETRY);
	assert_int_equal(admission_decide(&admission, who, true, 10, 0),
	    ADMISSION_ADMIT);
}

static void
handshakes_have_their_rate(void **state)
{
	(void)state;
	admission.per_second = 100;
	/* A quiet server takes a second's worth at once, and no more. */
	assert_int_equal(admitted(1000, 50 * SECOND), 100);
	assert_int_equal(admitted(1000, 50 * SECOND), 0);
	assert_int_equal(admitted(10, 50 * SECOND + SECOND / 100), 1);
	assert_int_equal(admitted(1000, 50 * SECOND + SECOND / 2), 49);
	assert_int_equal(admitted(1000, 90 * SECOND), 100);
	/* A change holds at once. */
	admission.per_second = 1000;
	assert_int_equal(admitted(1000, 90 * SECOND + SECOND / 2), 500);
}

static void
beyond_it_validated_clients_wait(void **state)
{
	struct sockaddr *who = address("192.0.2.1");

	(void)state;
	admission.per_second = 1;
	assert_int_equal(admission_decide(&admission, who, false, 0, 0),
	    ADMISSION_ADMIT);
	assert_int_equal(admission_decide(&admission, who, false, 0, 0),
	    ADMISSION_RETRY);
	assert_int_equal(admission_decide(&admission, who, true, 0, 0),
	    ADMISSION_DROP);
	assert_int_equal(admission_decide(&admission, who, true, 0, SECOND),
	    ADMISSION_ADMIT);
}

/* A source that takes all that it can leaves some for later ones. */
static void
a_source_leaves_a_quarter(void **state)
{
	uint64_t now = 50 * SECOND;
	unsigned taken = 0;

	(void)state;
	admission.per_second = 800;
	assert_int_equal(admitted_from("192.0.2.1", 10000, true, now), 600);
	/* The other sources have their shares, one after the other. */
	assert_int_equal(admitted_from("192.0.2.2", 10000, true, now), 100);
	assert_int_equal(admitted_from("2001:db8::1", 10000, true, now), 100);
	assert_int_equal(admitted_from("2001:db8::2", 10000, true, now), 0);
	assert_int_equal(admitted(1000, now), 0);
	/* A source that is alone may have all. */
	for (int i = 0; i < 100; i++)
		taken += admitted_from("192.0.2.1", 100, true,
		    now + SECOND + (uint64_t)i * SECOND / 10);
	assert_in_range(taken, 8000, 8600);
	assert_int_equal(admitted_from("192.0.2.3", 10000, true,
			     now + 11 * SECOND - SECOND / 10),
	    100);
}

/* Addresses that are made up, and those of others, leave it too. */
static void
a_forger_leaves_a_quarter(void **state)
{
	(void)state;
	admission.per_second = 100;
	assert_int_equal(admitted_from("192.0.2.1", 1000, false, SECOND), 75);
	assert_int_equal(admitted_from("192.0.2.1", 1000, true, SECOND), 12);
	assert_int_equal(admitted(1000, SECOND), 13);
}

static size_t
connections(const char *text)
{
	const struct admission_source *source = admission_find(&admission,
	    address(text));

	return source != NULL ? source->connections : 0;
}

static void
sources_are_counted(void **state)
{
	struct admission_source *a, *b, *other;

	(void)state;
	a = admission_enter(&admission, address("192.0.2.1"));
	assert_int_equal(connections("192.0.2.1"), 1);
	b = admission_enter(&admission, address("192.0.2.1"));
	assert_int_equal(connections("192.0.2.1"), 2);
	assert_int_equal(connections("192.0.2.2"), 0);
	other = admission_enter(&admission, address("192.0.2.2"));
	admission_leave(&admission, a);
	assert_int_equal(connections("192.0.2.1"), 1);
	admission_leave(&admission, other);
	admission_leave(&admission, b);
	admission_leave(&admission, NULL);
	assert_null(admission.sources);
}

static void
an_ipv6_source_is_a_network(void **state)
{
	struct admission_source *a, *b;

	(void)state;
	a = admission_enter(&admission, address("2001:db8:0:1::1"));
	assert_int_equal(connections("2001:db8:0:1:ffff::2"), 1);
	assert_int_equal(connections("2001:db8:0:2::1"), 0);
	/* Its first bytes are those of an IPv4 address. */
	b = admission_enter(&admission, address("c000:201::"));
	assert_int_equal(connections("192.0.2.1"), 0);
	admission_leave(&admission, a);
	admission_leave(&admission, b);
	assert_null(admission.sources);
}

#define ADMISSION_TEST(test) cmocka_unit_test_setup(test, setup)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		ADMISSION_TEST(half_open_handshakes_cause_retry),
		ADMISSION_TEST(handshakes_have_their_rate),
		ADMISSION_TEST(beyond_it_validated_clients_wait),
		ADMISSION_TEST(a_source_leaves_a_quarter),
		ADMISSION_TEST(a_forger_leaves_a_quarter),
		ADMISSION_TEST(sources_are_counted),
		ADMISSION_TEST(an_ipv6_source_is_a_network),
	};

	return cmocka_run_group_tests_name("admission", tests, NULL, NULL);
}
