#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/local/outbound/route_table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct route_table table;
static uint32_t nadded;

static int
teardown(void **state)
{
	(void)state;
	route_table_free(&table);
	nadded = 0;
	return 0;
}

#define NONE (-1)

/* The value of a pattern is its number. */
static const char *
add_octets(const char *pattern, size_t len)
{
	struct route_value value = { nadded, 0, 0 };
	struct route_pattern parsed;
	const char *wrong = route_pattern_parse(&parsed, pattern, len);

	if (wrong != NULL)
		return wrong;
	wrong = route_table_add(&table, &parsed, &value);
	nadded += wrong == NULL;
	return wrong;
}

static const char *
add(const char *pattern)
{
	return add_octets(pattern, strlen(pattern));
}

static int
find(const char *host, uint16_t port)
{
	const struct route_value *value;
	struct target target;

	assert_int_equal(target_set(&target, host, strlen(host), port), 0);
	value = route_table_find(&table, &target);
	return value == NULL ? NONE : (int)value->line;
}

/* Whether the pattern alone covers the target. */
static bool
covers(const char *pattern, const char *host, uint16_t port)
{
	route_table_free(&table);
	nadded = 0;
	assert_null(add(pattern));
	return find(host, port) == 0;
}

struct row {
	const char *pattern, *host;
	bool covers;
	uint16_t port;
};

static void
check_rows(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (covers(rows[i].pattern, rows[i].host, rows[i].port) !=
		    rows[i].covers)
			fail_msg("%s, %s:%u", rows[i].pattern, rows[i].host,
			    rows[i].port);
}

static void
names(void **state)
{
	static const struct row rows[] = {
		{ "example.com", "example.com", true, 443 },
		{ "example.com", "EXAMPLE.Com", true, 443 },
		{ "EXAMPLE.com", "example.com", true, 443 },
		{ "example.com", "example.com.", true, 443 },
		{ "example.com.", "example.com", true, 443 },
		{ "example.com", "www.example.com", false, 443 },
		{ "example.com", "notexample.com", false, 443 },
		{ "example.com", "example.co", false, 443 },
		{ "example.com", "com", false, 443 },
		{ "*.example.com", "www.example.com", true, 443 },
		{ "*.example.com", "a.b.c.example.com", true, 443 },
		{ "*.example.com", "WWW.example.com.", true, 443 },
		{ "*.example.com", "example.com", false, 443 },
		{ "*.example.com", "notexample.com", false, 443 },
		{ ".example.com", "example.com", true, 443 },
		{ ".example.com", "www.example.com", true, 443 },
		{ ".example.com", "notexample.com", false, 443 },
		{ "*.com", "example.com", true, 443 },
		{ "*.com", "com", false, 443 },
		{ "localhost", "localhost", true, 443 },
		{ "localhost", "localhost.", true, 443 },
		{ "localhost", "127.0.0.1", false, 443 },
		{ "my_service._tcp.example", "my_service._tcp.example", true,
		    443 },
		{ "b\xc3\xbc"
		  "cher.example",
		    "xn--bcher-kva.example", true, 443 },
		{ "B\xc3\x9c"
		  "CHER.example",
		    "xn--bcher-kva.example", true, 443 },
		{ "xn--bcher-kva.example", "XN--BCHER-KVA.example", true, 443 },
		{ "*.b\xc3\xbc"
		  "cher.example",
		    "www.xn--bcher-kva.example", true, 443 },
		{ "fa\xc3\x9f.de", "xn--fa-hia.de", true, 443 },
		{ "\xe4\xbe\x8b\xe3\x81\x88\xe3\x80\x82\xe3\x83\x86\xe3\x82\xb9"
		  "\xe3\x83\x88",
		    "xn--r8jz45g.xn--zckzah", true, 443 },
		{ "*", "example.com", true, 443 },
		{ "*", "192.0.2.1", true, 443 },
		{ "*", "2001:db8::1", true, 443 },
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void
addresses(void **state)
{
	static const struct row rows[] = {
		{ "192.0.2.1", "192.0.2.1", true, 443 },
		{ "192.0.2.1", "192.0.2.1.", true, 443 },
		{ "10.0.0.0/8", "10.255.0.1.", true, 443 },
		{ "192.0.2.1", "192.0.2.2", false, 443 },
		{ "192.0.2.1", "::ffff:192.0.2.1", true, 443 },
		{ "10.0.0.0/8", "10.255.0.1", true, 443 },
		{ "10.0.0.0/8", "11.0.0.1", false, 443 },
		{ "10.0.0.0/9", "10.127.255.255", true, 443 },
		{ "10.0.0.0/9", "10.128.0.0", false, 443 },
		{ "0.0.0.0/0", "192.0.2.1", true, 443 },
		{ "0.0.0.0/0", "2001:db8::1", false, 443 },
		{ "0.0.0.0/0", "example.com", false, 443 },
		{ "::/0", "2001:db8::1", true, 443 },
		{ "::/0", "192.0.2.1", false, 443 },
		{ "::/0", "::ffff:192.0.2.1", false, 443 },
		{ "fd00::/8", "fdff::1", true, 443 },
		{ "fd00::/8", "fe00::1", false, 443 },
		{ "2001:db8::1", "2001:db8:0::1", true, 443 },
		{ "[2001:db8::1]", "2001:db8::1", true, 443 },
		{ "[2001:db8::]/32", "2001:db8:ffff::1", true, 443 },
		{ "2001:db8::/33", "2001:db8:8000::1", false, 443 },
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void
ports(void **state)
{
	static const struct row rows[] = {
		{ "example.com:443", "example.com", true, 443 },
		{ "example.com:443", "example.com", false, 80 },
		{ "*.example.com:80-90", "a.example.com", true, 80 },
		{ "*.example.com:80-90", "a.example.com", true, 90 },
		{ "*.example.com:80-90", "a.example.com", false, 91 },
		{ "*.example.com:80-90", "a.example.com", false, 79 },
		{ "*:25", "example.com", true, 25 },
		{ "*:25", "192.0.2.1", false, 26 },
		{ ":25", "192.0.2.1", true, 25 },
		{ "192.0.2.1:22", "192.0.2.1", true, 22 },
		{ "192.0.2.1:22", "192.0.2.1", false, 23 },
		{ "10.0.0.0/8:1-1023", "10.1.1.1", true, 1023 },
		{ "[2001:db8::1]:22", "2001:db8::1", true, 22 },
		{ "[2001:db8::1]:22", "2001:db8::1", false, 23 },
		{ "fd00::/8:22", "fd00::1", true, 22 },
		{ "fd00::/8:22", "fd00::1", false, 2 },
	};

	(void)state;
	check_rows(rows, COUNT(rows));
}

static void
what_is_no_pattern(void **state)
{
	static const char *const rows[] = { "", ".", "*.", "..", "a..b",
		".a..b", "example.com:", "example.com:0", "example.com:65536",
		"example.com:a", "example.com:2-1", "example.com:1-", "a*.b",
		"*a.b", "a.*.b", "**.b", "*.*.b", "10.0.0.1/8", "10.0.0.0/33",
		"10.0.0", "10.0.0.256", "1.2.3.4.5", "2001:db8::/129",
		"fe80::1%1", "[192.0.2.1", "a b", "a/b", "http://a/", "a,b",
		"user@a", "\xff.example", "xn--\xc3\xbc.example", "-",
		"1234567890123456789012345678901234567890"
		"123456789012345678901234.example" };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (add(rows[i]) == NULL && strcmp(rows[i], "-") != 0)
			fail_msg("%s", rows[i]);
	assert_non_null(add_octets("a\0b", 3));
	assert_int_equal(find("a", 1), NONE);
}

static void
the_first_one_counts(void **state)
{
	(void)state;
	assert_null(add("www.example.com:443")); /* 0 */
	assert_null(add("*.example.com:80"));	 /* 1 */
	assert_null(add("www.example.com"));	 /* 2 */
	assert_null(add(".example.com"));	 /* 3 */
	assert_null(add("10.1.0.0/16"));	 /* 4 */
	assert_null(add("10.0.0.0/8:22"));	 /* 5 */
	assert_null(add("10.1.1.1"));		 /* 6 */
	assert_null(add("*"));			 /* 7 */
	assert_null(add("other.example"));	 /* 8 */
	assert_int_equal(find("www.example.com", 443), 0);
	assert_int_equal(find("www.example.com", 80), 1);
	assert_int_equal(find("www.example.com", 22), 2);
	assert_int_equal(find("a.example.com", 22), 3);
	assert_int_equal(find("example.com", 80), 3);
	assert_int_equal(find("10.1.1.1", 22), 4);
	assert_int_equal(find("10.2.1.1", 22), 5);
	assert_int_equal(find("10.2.1.1", 23), 7);
	assert_int_equal(find("other.example", 1), 7);
}

/* A look-up reads all rules of a name. */
static void
one_name_with_many_ports(void **state)
{
	char text[32];

	(void)state;
	for (int port = 1; port <= ROUTE_PORTS_MAX; port++) {
		snprintf(text, sizeof(text), "a.example:%d", port);
		assert_null(add(text));
		assert_null(add(text)); /* covered: not kept */
	}
	assert_non_null(add("a.example:60000"));
	assert_null(add("b.example:60000"));
	assert_int_equal(find("a.example", 60000), NONE);
	assert_int_equal(find("a.example", 100), 198);
}

/* ---- Beside the obvious way ---- */

static const char *const labels[] = { "a", "b", "c", "aa", "ab" };

/* A name of one to four labels. */
static void
random_name(char *name)
{
	int n = 1 + rand() % 4;

	for (name[0] = '\0'; n > 0; n--) {
		strcat(name, labels[(size_t)rand() % COUNT(labels)]);
		if (n > 1)
			strcat(name, ".");
	}
}

static bool
plainly_covers(char kind, const char *name, const char *host)
{
	size_t n = strlen(name), h = strlen(host);
	bool below = h > n && host[h - n - 1] == '.' &&
	    strcmp(host + h - n, name) == 0;
	bool itself = strcmp(host, name) == 0;

	return kind == '*' ? below : kind == '.' ? below || itself : itself;
}

static void
as_one_by_one(void **state)
{
	static struct {
		char kind, name[16];
		uint16_t port;
	} all[500];
	char text[32], host[16];
	uint16_t port;
	size_t expected;

	(void)state;
	srand(1);
	for (size_t i = 0; i < COUNT(all); i++) {
		all[i].kind = "*.="[rand() % 3];
		random_name(all[i].name);
		all[i].port = (uint16_t)(1 + rand() % 4);
		snprintf(text, sizeof(text), "%s%s:%u",
		    all[i].kind == '*'	     ? "*."
			: all[i].kind == '.' ? "."
					     : "",
		    all[i].name, all[i].port);
		assert_null(add(text));
	}
	route_table_shrink(&table);
	for (int i = 0; i < 20000; i++) {
		random_name(host);
		port = (uint16_t)(1 + rand() % 5);
		for (expected = 0; expected < COUNT(all); expected++)
			if (all[expected].port == port &&
			    plainly_covers(all[expected].kind,
				all[expected].name, host))
				break;
		assert_int_equal(find(host, port),
		    expected == COUNT(all) ? NONE : (int)expected);
	}
}

static void
many_names(void **state)
{
	char name[32];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		snprintf(name, sizeof(name), "%sa%d.example%d.com",
		    i % 2 == 0 ? "*." : "", i, i % 1000);
		assert_null(add(name));
	}
	route_table_shrink(&table);
	assert_true(route_table_size(&table) / 200000 <= 90);
	assert_int_equal(find("a77777.example777.com", 443), 77777);
	assert_int_equal(find("a77778.example777.com", 443), NONE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(names, teardown),
		cmocka_unit_test_teardown(addresses, teardown),
		cmocka_unit_test_teardown(ports, teardown),
		cmocka_unit_test_teardown(what_is_no_pattern, teardown),
		cmocka_unit_test_teardown(the_first_one_counts, teardown),
		cmocka_unit_test_teardown(one_name_with_many_ports, teardown),
		cmocka_unit_test_teardown(as_one_by_one, teardown),
		cmocka_unit_test_teardown(many_names, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
