#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/basic.h"

/* Parses from memory of exactly this size, so that a sanitizer sees more. */
static int
parse(const char *value, struct credentials *out)
{
	size_t len = strlen(value);
	char *copy = malloc(len > 0 ? len : 1);
	int rv;

	memcpy(copy, value, len);
	rv = basic_parse(copy, len, out);
	free(copy);
	return rv;
}

static void
values_are_read(void **state)
{
	static const struct {
		const char *value, *user, *password;
	} list[] = {
		/* The examples of RFC 7617 sections 2 and 2.1. */
		{ "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin",
		    "open sesame" },
		{ "Basic dGVzdDoxMjPCow==", "test", "123\xc2\xa3" },
		{ "basic dTpw", "u", "p" },
		{ "BASIC   dTpw", "u", "p" },
		{ "Basic dTo=", "u", "" },
		{ "Basic OnA=", "", "p" },
		{ "Basic Og==", "", "" },
		{ "Basic dTpwOnA6cA==", "u", "p:p:p" },
	};
	struct credentials c;

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		assert_int_equal(parse(list[i].value, &c), 0);
		assert_string_equal(c.user, list[i].user);
		assert_string_equal(c.password, list[i].password);
	}
}

static void
bad_values_are_refused(void **state)
{
	static const char *const list[] = {
		"",
		"Basic",
		"Basic ",
		"Basic dTp",
		"Basic dTpw=",
		"Basicd TpwdTpw",
		"Bearer dTpw",
		"Basic\tdTpw",
		"Basic dTpw ",
		"Basic dT pw",
		"Basic dT-_",
		"Basic dTpw\n",
		"Basic ====",
		"Basic dT==dTpw",
		"Basic d===",
		"Basic =dTp",
		"Basic dTo=dTpw",
		/* Unused bits that are set. */
		"Basic Oh==",
		"Basic dTp=",
		/* No colon; a NUL, a line feed, a DEL in it. */
		"Basic dXA=",
		"Basic dQA6cA==",
		"Basic dTpwAA==",
		"Basic dQo6cA==",
		"Basic dTpwfw==",
	};
	struct credentials c;
	static const struct credentials nothing;

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		memset(&c, 'x', sizeof(c));
		if (parse(list[i], &c) != -EINVAL)
			fail_msg("accepted: %s", list[i]);
		assert_memory_equal(&c, &nothing, sizeof(c));
	}
}

static void
fill(char *s, size_t len)
{
	memset(s, 'x', len);
	s[len] = '\0';
}

static void
lengths_are_bounded(void **state)
{
	char user[CREDENTIAL_MAX + 2], password[CREDENTIAL_MAX + 2];
	char value[BASIC_SIZE];
	struct credentials c;

	(void)state;
	fill(user, CREDENTIAL_MAX);
	fill(password, CREDENTIAL_MAX);
	assert_int_equal(basic_format(user, password, value, sizeof(value)),
	    BASIC_SIZE - 1);
	assert_int_equal(parse(value, &c), 0);
	assert_string_equal(c.user, user);
	assert_string_equal(c.password, password);
	assert_int_equal(basic_format(user, password, value, sizeof(value) - 1),
	    -ENOSPC);
	fill(user, CREDENTIAL_MAX + 1);
	assert_int_equal(basic_format(user, "", value, sizeof(value)), -EINVAL);
	assert_int_equal(basic_format("", user, value, sizeof(value)), -EINVAL);
}

/* One octet too many on either side of the colon, the whole within bounds. */
static void
long_halves_are_refused(void **state)
{
	/* "eHh4" is "xxx"; 256 octets are 85 of these and one more. */
	char value[1024] = "Basic ";
	struct credentials c;

	(void)state;
	for (int i = 0; i < 85; i++)
		strcat(value, "eHh4");
	strcat(value, "eDpw"); /* "x:p" */
	assert_int_equal(parse(value, &c), -EINVAL);
	strcpy(value, "Basic dTp4"); /* "u:x" */
	for (int i = 0; i < 85; i++)
		strcat(value, "eHh4");
	assert_int_equal(parse(value, &c), -EINVAL);
	for (int i = 0; i < 100; i++)
		strcat(value, "eHh4");
	assert_int_equal(parse(value, &c), -EINVAL);
}

static void
every_length_survives_the_round_trip(void **state)
{
	char user[CREDENTIAL_MAX + 1], value[BASIC_SIZE];
	struct credentials c;

	(void)state;
	for (size_t len = 0; len <= CREDENTIAL_MAX; len++) {
		int n;

		for (size_t i = 0; i < len; i++)
			user[i] = (char)(i % 2 ? 0xff - i % 64 : 'a' + i % 26);
		user[len] = '\0';
		n = basic_format(user, "p\xfe:", value, sizeof(value));
		assert_int_equal(n, strlen(value));
		assert_int_equal(parse(value, &c), 0);
		assert_string_equal(c.user, user);
		assert_string_equal(c.password, "p\xfe:");
	}
}

static void
bad_credentials_are_not_written(void **state)
{
	char value[BASIC_SIZE];

	(void)state;
	assert_int_equal(basic_format("a:b", "p", value, sizeof(value)),
	    -EINVAL);
	assert_int_equal(basic_format("a\n", "p", value, sizeof(value)),
	    -EINVAL);
	assert_int_equal(basic_format("a", "\x7f", value, sizeof(value)),
	    -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_read),
		cmocka_unit_test(bad_values_are_refused),
		cmocka_unit_test(lengths_are_bounded),
		cmocka_unit_test(long_halves_are_refused),
		cmocka_unit_test(every_length_survives_the_round_trip),
		cmocka_unit_test(bad_credentials_are_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
