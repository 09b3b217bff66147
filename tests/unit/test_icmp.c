#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/icmp.h"

#define NS_PER_S UINT64_C(1000000000)
#define QUOTED 48 /* bytes that a router quotes */

static struct icmp_quotes quotes;

static int
setup(void **state)
{
	(void)state;
	free(quotes.packets);
	memset(&quotes, 0, sizeof(quotes));
	return 0;
}

/* A datagram like no other: its number is all over it. */
static const uint8_t *
datagram(uint64_t number)
{
	static uint64_t words[QUOTED / sizeof(uint64_t)];

	for (size_t i = 0; i < QUOTED / sizeof(uint64_t); i++)
		words[i] = number + 1;
	return (const uint8_t *)words;
}

static void
note(uint64_t number)
{
	size_t missing = icmp_quotes_missing(&quotes);

	if (missing > 0)
		icmp_quotes_set(&quotes, realloc(quotes.packets, missing),
		    missing);
	icmp_quotes_note(&quotes, datagram(number), 1200 + number % 100);
}

static size_t
find(uint64_t number, uint64_t now)
{
	return icmp_quotes_find(&quotes, datagram(number), QUOTED, now);
}

static void
nothing_was_sent_yet(void **state)
{
	static const uint8_t zeros[QUOTED];

	(void)state;
	assert_int_equal(icmp_quotes_find(&quotes, zeros, QUOTED, 0), 0);
	assert_int_equal(quotes.seen, 1);
}

static void
the_last_ones_are_known(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < ICMP_QUOTES_MAX + 10; i++)
		note(i);
	assert_int_equal(find(9, 0), 0);
	assert_int_equal(find(10, 0), 1210);
	assert_int_equal(find(ICMP_QUOTES_MAX + 9, 0),
	    1200 + (ICMP_QUOTES_MAX + 9) % 100);
	assert_int_equal(find(ICMP_QUOTES_MAX + 10, 0), 0);
	assert_int_equal(quotes.seen, 4);
}

/*
 * Every byte that is compared counts; those before may be rewritten on the
 * path.
 */
static void
one_wrong_byte_is_a_forgery(void **state)
{
	uint8_t quote[QUOTED];

	(void)state;
	note(1);
	for (size_t i = 0; i < ICMP_QUOTE_AT + ICMP_QUOTE_LEN; i++) {
		memcpy(quote, datagram(1), sizeof(quote));
		quote[i] ^= 1;
		assert_int_equal(icmp_quotes_find(&quotes, quote, sizeof(quote),
				     i * NS_PER_S),
		    i < ICMP_QUOTE_AT ? 1201 : 0);
	}
}

static void
a_short_quote_proves_nothing(void **state)
{
	(void)state;
	note(1);
	assert_int_equal(icmp_quotes_find(&quotes, datagram(1),
			     ICMP_QUOTE_AT + ICMP_QUOTE_LEN - 1, 0),
	    0);
	assert_int_equal(icmp_quotes_find(&quotes, datagram(1),
			     ICMP_QUOTE_AT + ICMP_QUOTE_LEN, 0),
	    1201);
	assert_int_equal(icmp_quotes_find(&quotes, NULL, 0, 0), 0);
}

static void
a_flood_is_not_looked_at(void **state)
{
	(void)state;
	note(1);
	for (unsigned i = 0; i < 10000; i++)
		find(2, NS_PER_S + i);
	assert_int_equal(find(1, 2 * NS_PER_S - 1), 0);
	assert_int_equal(find(1, 2 * NS_PER_S), 1201);
	assert_int_equal(quotes.seen, 10002);
}

/* A connection that has sent little has little memory; an idle one none. */
static void
memory_grows_with_what_is_sent(void **state)
{
	(void)state;
	assert_int_equal(icmp_quotes_missing(&quotes), ICMP_QUOTES_FIRST * 8);
	icmp_quotes_note(&quotes, datagram(1), 1201);
	assert_int_equal(find(1, 0), 0);
	for (uint64_t i = 0; i < ICMP_QUOTES_FIRST; i++)
		note(i);
	assert_int_equal(icmp_quotes_missing(&quotes),
	    2 * ICMP_QUOTES_FIRST * 8);
	/* Without it the oldest is forgotten. */
	icmp_quotes_note(&quotes, datagram(50), 1250);
	assert_int_equal(find(0, 0), 0);
	assert_int_equal(find(1, 0), 1201);
	assert_int_equal(find(50, 0), 1250);
	free(quotes.packets);
	icmp_quotes_set(&quotes, NULL, 0);
	assert_int_equal(find(50, NS_PER_S), 0);
	note(51);
	assert_int_equal(find(51, NS_PER_S), 1251);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_was_sent_yet, setup),
		cmocka_unit_test_setup(the_last_ones_are_known, setup),
		cmocka_unit_test_setup(one_wrong_byte_is_a_forgery, setup),
		cmocka_unit_test_setup(a_short_quote_proves_nothing, setup),
		cmocka_unit_test_setup(a_flood_is_not_looked_at, setup),
		cmocka_unit_test_setup(memory_grows_with_what_is_sent, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
