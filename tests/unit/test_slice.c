#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/slice.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct slice
span(const char *text)
{
	return (struct slice){ text, strlen(text) };
}

static void
compares(void **state)
{
	(void)state;
	assert_true(slice_is(SLICE("GET"), "GET"));
	assert_false(slice_is(SLICE("get"), "GET"));
	assert_false(slice_is(SLICE("GET "), "GET"));
	assert_true(slice_is_nocase(SLICE("Via"), "vIA"));
	assert_false(slice_is_nocase(SLICE("Via"), "vi"));
	assert_false(slice_is_nocase(SLICE("Vi"), "via"));
	assert_false(slice_is_nocase(SLICE("[`{"), "{@["));
	assert_true(slice_equal_nocase(SLICE("a-B"), SLICE("A-b")));
	assert_false(slice_equal_nocase(SLICE("a"), SLICE("ab")));
	assert_true(slice_begins_nocase(SLICE("HTTP://x"), "http://"));
	assert_false(slice_begins_nocase(SLICE("http:/"), "http://"));
}

static void
knows_tokens(void **state)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";

	(void)state;
	assert_false(slice_is_token(SLICE("")));
	for (int c = 0; c < 256; c++) {
		char octet = (char)c;
		bool tchar = memchr(letters, c, sizeof(letters) - 1) != NULL;

		assert_int_equal(slice_is_token((struct slice){ &octet, 1 }),
		    tchar);
	}
	assert_false(slice_is_token(SLICE("a b")));
}

static void
reads_numbers(void **state)
{
	static const struct {
		const char *text;
		size_t max_digits;
		bool ok;
		uint64_t value;
	} rows[] = {
		{ "0", 1, true, 0 },
		{ "007", 3, true, 7 },
		{ "999999999999999999", 18, true, 999999999999999999 },
		{ "0000000000000000001", 18, false, 0 },
		{ "1234", 3, false, 0 },
		{ "", 3, false, 0 },
		{ "+1", 3, false, 0 },
		{ "-1", 3, false, 0 },
		{ " 1", 3, false, 0 },
		{ "1,1", 3, false, 0 },
		{ "0x1", 3, false, 0 },
	};
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(slice_number(span(rows[i].text),
				     rows[i].max_digits, &value),
		    rows[i].ok);
		if (rows[i].ok)
			assert_int_equal(value, rows[i].value);
	}
}

static void
trims_and_cuts(void **state)
{
	static const char *const members[] = { "a", "", "b c", "" };
	struct slice list = SLICE(" a ,,\tb c\t,"), member;
	size_t i = 0;

	(void)state;
	do {
		assert_true(i < COUNT(members));
		member = slice_trim(slice_cut(&list, ','));
		assert_true(slice_is(member, members[i++]));
	} while (list.p != NULL);
	assert_int_equal(i, COUNT(members));
	assert_int_equal(slice_trim(SLICE(" \t ")).len, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compares),
		cmocka_unit_test(knows_tokens),
		cmocka_unit_test(reads_numbers),
		cmocka_unit_test(trims_and_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
