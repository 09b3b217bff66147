#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/base/address_rule.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool
covers(const struct rule *rule, const char *text)
{
	struct sockaddr_storage addr;

	assert_int_equal(addr_parse(&addr, text), 0);
	return rule_covers(rule, (struct sockaddr *)&addr);
}

static void
rules_have_edges(void **state)
{
	static const struct {
		const char *rule, *in, *also, *out, *neither;
	} rows[] = {
		{ "10.0.0.0/8", "10.0.0.1:1", "10.255.255.255:65535",
		    "11.0.0.1:1", "[::1]:1" },
		{ "10.0.0.0/8:25", "10.0.0.1:25", "[::ffff:10.1.1.1]:25",
		    "10.0.0.1:26", "11.0.0.1:25" },
		{ "192.0.2.1:80-443", "192.0.2.1:80", "192.0.2.1:443",
		    "192.0.2.1:444", "192.0.2.2:80" },
		{ "192.0.2.1", "192.0.2.1:80", "192.0.2.1:0", "192.0.2.2:80",
		    "[::1]:80" },
		{ "fc00::/7", "[fd00::1]:1", "[fc00::]:25", "[fe00::]:1",
		    "10.0.0.1:1" },
		{ "fc00::/7:25", "[fd00::1]:25", "[fc00::]:25", "[fd00::1]:26",
		    "[fe00::]:25" },
		{ "[fc00::]/7:25", "[fd00::1]:25", "[fc00::]:25",
		    "[fd00::1]:26", "[fe00::]:25" },
		{ "[fc00::/7]:25", "[fd00::1]:25", "[fc00::]:25",
		    "[fd00::1]:26", "[fe00::]:25" },
		{ "[2001:db8::1]:25", "[2001:db8::1]:25", "[2001:db8::1]:25",
		    "[2001:db8::1]:24", "[2001:db8::2]:25" },
		{ "[2001:db8::1]", "[2001:db8::1]:25", "[2001:db8::1]:1",
		    "[2001:db8::2]:25", "10.0.0.1:25" },
		/* A last group, not a port. */
		{ "2001:db8::25", "[2001:db8::25]:1", "[2001:db8::25]:2",
		    "[2001:db8::]:25", "10.0.0.1:25" },
		{ ":25", "10.0.0.1:25", "[::1]:25", "10.0.0.1:24", "[::1]:26" },
		{ ":6660-6669", "10.0.0.1:6660", "[::1]:6669", "10.0.0.1:6659",
		    "[::1]:6670" },
		{ "0.0.0.0/0:1-65535", "10.0.0.1:1", "1.1.1.1:65535",
		    "[::1]:25", "10.0.0.1:0" },
	};
	struct rule rule;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(rule_parse(&rule, rows[i].rule), 0);
		assert_true(covers(&rule, rows[i].in));
		assert_true(covers(&rule, rows[i].also));
		assert_false(covers(&rule, rows[i].out));
		assert_false(covers(&rule, rows[i].neither));
	}
}

static void
rule_parse_refuses(void **state)
{
	static const char *const rows[] = {
		"",
		":",
		"/",
		"/8",
		"25",
		"example.org",
		"example.org:25",
		"*:25",
		"10.0.0.0/8:",
		"10.0.0.0/8:0",
		"10.0.0.0/8:65536",
		"10.0.0.0/8:25-",
		"10.0.0.0/8:-25",
		"10.0.0.0/8:26-25",
		"10.0.0.0/8:25-26-27",
		"10.0.0.0/8:25,26",
		"10.0.0.0/8:+25",
		"10.0.0.0/8: 25",
		"10.0.0.0/8:25 ",
		"10.0.0.1/8:25",
		"10.0.0.0/33:25",
		"10.0.0.0:25/8",
		"[10.0.0.1]:25",
		"[::1",
		"::1]:25",
		"[::1]25",
		"[::1]]:25",
		"[[::1]]:25",
		"[]:25",
		"[::1/128]/128:25",
		"[::1]/:25",
		"::1/128:smtp",
		"[::]/129",
		":25:26",
		"[fc00::/7",
		"[fc00::]/7:25:26",
		"10.0.0.1:25:26",
		"[1111:1111:1111:1111:1111:1111:1111:11111111111111111]/128:1",
	};
	struct rule rule = { .first = 77 };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (rule_parse(&rule, rows[i]) != -EINVAL)
			fail_msg("'%s' is taken", rows[i]);
	assert_int_equal(rule.first, 77);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_have_edges),
		cmocka_unit_test(rule_parse_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
