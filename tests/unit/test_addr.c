#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "proxy/base/addr.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct sockaddr *
numeric(struct sockaddr_storage *addr, const char *s)
{
	assert_int_equal(addr_parse(addr, s), 0);
	return (const struct sockaddr *)addr;
}

static void
target_parse_accepts(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t default_port, port;
	} rows[] = {
		{ "name:443", "name", 0, 443 },
		{ "edge.example", "edge.example", 443, 443 },
		{ "edge.example:1", "edge.example", 443, 1 },
		{ "a_b-c.d.:65535", "a_b-c.d.", 0, 65535 },
		{ "xn--bcher-kva.example:00080", "xn--bcher-kva.example", 0,
		    80 },
		{ "192.0.2.1:80", "192.0.2.1", 0, 80 },
		{ "[2001:db8::1]:443", "2001:db8::1", 0, 443 },
		{ "[2001:db8::1]", "2001:db8::1", 443, 443 },
		{ "[192.0.2.1]:1", "192.0.2.1", 0, 1 },
		{ "[::ffff:192.0.2.1]:8", "::ffff:192.0.2.1", 0, 8 },
	};
	struct target target;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(target_parse(&target, rows[i].text,
				     strlen(rows[i].text),
				     rows[i].default_port),
		    0);
		assert_string_equal(target.host, rows[i].host);
		assert_int_equal(target.port, rows[i].port);
	}
}

static void
target_parse_refuses(void **state)
{
	static const char *const rows[] = {
		"",
		":",
		":443",
		"name",
		"name:",
		"name:0",
		"name:65536",
		"name:+1",
		"name: 1",
		"name:1 ",
		"name:0x50",
		"name:000001",
		"name:443:1",
		"name:99999999999999999999",
		"na me:1",
		"name/:1",
		"user@name:1",
		"na%6de:1",
		"na\tme:1",
		"n\xc3\xa4:1",
		"name\x7f:1",
		"2001:db8::1:443",
		"::1",
		"[",
		"[]",
		"[]:1",
		"[::1",
		"[::1]1",
		"[::1]:",
		"[::1]:0",
		"[::1]x:1",
		"[name]:1",
		"[192.0.2]:1",
		"[fe80::1%lo]:1",
		"[[::1]]:1",
		"[::g]:1",
		"[1:2:3:4:5:6:7:8:9]:1",
		"name,:1",
		"*:1",
	};
	struct target target = { .host = "kept", .port = 7 };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(target_parse(&target, rows[i], strlen(rows[i]),
				     0),
		    -EINVAL);
	assert_int_equal(target_parse(&target, "a\0b:1", 5, 0), -EINVAL);
	assert_int_equal(target_parse(&target, "[::1\0]:1", 8, 0), -EINVAL);
	assert_string_equal(target.host, "kept");
	assert_int_equal(target.port, 7);
}

static void
target_parse_stops_at_its_length(void **state)
{
	static const char text[] = "[::1]:4433";
	struct target target;

	(void)state;
	for (size_t len = 0; len < 5; len++)
		assert_int_equal(target_parse(&target, text, len, 1), -EINVAL);
	assert_int_equal(target_parse(&target, text, 5, 1), 0);
	assert_int_equal(target.port, 1);
	assert_int_equal(target_parse(&target, text, 6, 1), -EINVAL);
	assert_int_equal(target_parse(&target, text, 9, 1), 0);
	assert_int_equal(target.port, 443);
}

static void
target_set_bounds_the_host(void **state)
{
	char name[TARGET_HOST_MAX + 1];
	struct target target;

	(void)state;
	memset(name, 'a', sizeof(name));
	assert_int_equal(target_set(&target, name, TARGET_HOST_MAX, 1), 0);
	assert_int_equal(strlen(target.host), TARGET_HOST_MAX);
	assert_int_equal(target_set(&target, name, TARGET_HOST_MAX + 1, 1),
	    -EINVAL);
	assert_int_equal(target_set(&target, name, 0, 1), -EINVAL);
	assert_int_equal(target_set(&target, name, 1, 0), -EINVAL);
	assert_int_equal(target_set(&target, "[::1]", 5, 1), -EINVAL);
	assert_int_equal(target_set(&target, "a.b.", 4, 1), 0);
	assert_int_equal(target_set(&target, "::1", 3, 1), 0);
	assert_int_equal(target_set(&target, "a..b", 4, 1), -EINVAL);
	assert_int_equal(target_set(&target, "a.b..", 5, 1), -EINVAL);
	assert_int_equal(target_set(&target, ".a", 2, 1), -EINVAL);
	assert_int_equal(target_set(&target, ".", 1, 1), -EINVAL);
	assert_string_equal(target.host, "::1");
}

/* Each octet in turn: addr.c accepts nothing that it need not. */
static void
target_set_knows_every_octet(void **state)
{
	static const char legal[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	struct target target;

	(void)state;
	for (int c = 0; c < 256; c++) {
		char host[3] = { 'g', (char)c, 'g' };
		bool good = c != 0 && strchr(legal, c) != NULL;

		assert_int_equal(target_set(&target, host, sizeof(host), 1),
		    good ? 0 : -EINVAL);
	}
}

static void
target_format_adds_brackets(void **state)
{
	struct target name = { "edge.example", 443 }, ipv6 = { "::1", 65535 };
	char buf[TARGET_STRLEN];

	(void)state;
	assert_int_equal(target_format(&name, buf, sizeof(buf)), 16);
	assert_string_equal(buf, "edge.example:443");
	assert_int_equal(target_format(&ipv6, buf, sizeof(buf)), 11);
	assert_string_equal(buf, "[::1]:65535");
	assert_int_equal(target_format(&ipv6, buf, 12), 11);
	assert_int_equal(target_format(&ipv6, buf, 11), -ENOSPC);
	assert_string_equal(buf, "");
	assert_int_equal(target_format(&ipv6, NULL, 0), -ENOSPC);
}

static void
target_format_fits_the_longest(void **state)
{
	struct target target = { .port = 65535 };
	char buf[TARGET_STRLEN];

	(void)state;
	memset(target.host, ':', TARGET_HOST_MAX);
	assert_int_equal(target_format(&target, buf, sizeof(buf)),
	    TARGET_STRLEN - 1);
}

static void
addr_round_trips(void **state)
{
	static const char *const rows[] = {
		"192.0.2.1:443",
		"0.0.0.0:0",
		"[::1]:443",
		"[::]:0",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
		"[::ffff:192.0.2.1]:80",
	};
	struct sockaddr_storage addr;
	char buf[ADDR_STRLEN];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_string_equal(addr_format(numeric(&addr, rows[i]), buf),
		    rows[i]);
	addr.ss_family = AF_UNIX;
	assert_string_equal(addr_format((struct sockaddr *)&addr, buf), "?");
}

static void
addr_parse_refuses(void **state)
{
	static const char *const rows[] = {
		"",
		"1080",
		":1080",
		"127.0.0.1",
		"[::1]",
		"::1:80",
		"*:80",
		"localhost:80",
		"127.1:80",
		"[127.0.0.1]:80",
		"[fe80::1%lo]:1",
		"127.0.0.1:65536",
		"127.0.0.1:-1",
		"127.0.0.1:",
		"127.0.0.1: 1",
		"0x7f.0.0.1:1",
		"[::1]:80x",
		"[::1]80",
		"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1",
	};
	struct sockaddr_storage addr = { .ss_family = AF_UNIX };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(addr_parse(&addr, rows[i]), -EINVAL);
	assert_int_equal(addr.ss_family, AF_UNIX);
}

static void
addr_literal_is_no_inet_aton(void **state)
{
	struct sockaddr_storage addr;
	char buf[ADDR_STRLEN];

	(void)state;
	assert_false(addr_literal(&addr, "127.1", 1));
	assert_false(addr_literal(&addr, "2130706433", 1));
	assert_false(addr_literal(&addr, "0x7f000001", 1));
	assert_false(addr_literal(&addr, "edge.example", 1));
	assert_true(addr_literal(&addr, "192.0.2.1", 80));
	assert_string_equal(addr_format((struct sockaddr *)&addr, buf),
	    "192.0.2.1:80");
	assert_true(addr_literal(&addr, "2001:db8::1", 80));
	assert_string_equal(addr_format((struct sockaddr *)&addr, buf),
	    "[2001:db8::1]:80");
}

static void
loopback_is_recognized(void **state)
{
	static const struct {
		const char *text;
		bool loopback;
	} rows[] = {
		{ "127.0.0.1:1", true },
		{ "127.255.255.255:1", true },
		{ "[::1]:1", true },
		{ "[::ffff:127.0.0.1]:1", true },
		{ "126.255.255.255:1", false },
		{ "128.0.0.0:1", false },
		{ "0.0.0.0:1", false },
		{ "[::]:1", false },
		{ "[::2]:1", false },
		{ "[::ffff:128.0.0.1]:1", false },
		{ "[::127.0.0.1]:1", false },
	};
	struct sockaddr_storage addr;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(addr_is_loopback(numeric(&addr, rows[i].text)),
		    rows[i].loopback);
}

static void
addr_len_follows_the_family(void **state)
{
	struct sockaddr_storage addr;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	(void)state;
	assert_int_equal(addr_len(numeric(&addr, "127.0.0.1:1")),
	    sizeof(struct sockaddr_in));
	assert_int_equal(addr_len(numeric(&addr, "[::1]:1")),
	    sizeof(struct sockaddr_in6));
	assert_int_equal(addr_len((struct sockaddr *)&sun), 0);
}

static const char *
source(const char *addr)
{
	static char name[ADDR_SOURCE_STRLEN];
	struct sockaddr_storage parsed;

	assert_int_equal(addr_parse(&parsed, addr), 0);
	return addr_source((struct sockaddr *)&parsed, name);
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

static void
cidr_has_edges(void **state)
{
	static const struct {
		const char *range, *first, *last, *before, *after;
	} rows[] = {
		{ "10.0.0.0/8", "10.0.0.0:1", "10.255.255.255:1",
		    "9.255.255.255:1", "11.0.0.0:1" },
		{ "172.16.0.0/12", "172.16.0.0:1", "172.31.255.255:1",
		    "172.15.255.255:1", "172.32.0.0:1" },
		{ "192.0.2.4/31", "192.0.2.4:1", "192.0.2.5:1", "192.0.2.3:1",
		    "192.0.2.6:1" },
		{ "192.0.2.4", "192.0.2.4:1", "[::ffff:192.0.2.4]:1",
		    "192.0.2.3:1", "192.0.2.5:1" },
		{ "::ffff:10.0.0.0/104", "10.0.0.0:1", "10.255.255.255:1",
		    "9.255.255.255:1", "11.0.0.0:1" },
		{ "fc00::/7", "[fc00::]:1",
		    "[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1",
		    "[fbff:ffff::]:1", "[fe00::]:1" },
		{ "2001:db8::1", "[2001:db8::1]:1", "[2001:db8::1]:2",
		    "[2001:db8::]:1", "[2001:db8::2]:1" },
		{ "0.0.0.0/0", "0.0.0.0:1", "255.255.255.255:1", "[::1]:1",
		    "[ffff::]:1" },
	};
	struct sockaddr_storage addr;
	struct cidr cidr;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(cidr_parse(&cidr, rows[i].range), 0);
		assert_true(cidr_contains(&cidr,
		    numeric(&addr, rows[i].first)));
		assert_true(cidr_contains(&cidr, numeric(&addr, rows[i].last)));
		assert_false(cidr_contains(&cidr,
		    numeric(&addr, rows[i].before)));
		assert_false(cidr_contains(&cidr,
		    numeric(&addr, rows[i].after)));
	}
}

/* ::/0 is all of IPv6, and the mapped form of IPv4 is none of it. */
static void
cidr_keeps_families_apart(void **state)
{
	struct sockaddr_storage addr;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct cidr cidr;

	(void)state;
	assert_int_equal(cidr_parse(&cidr, "::/0"), 0);
	assert_int_equal(cidr.prefix, 0);
	assert_false(cidr_contains(&cidr, numeric(&addr, "192.0.2.1:1")));
	assert_false(cidr_contains(&cidr,
	    numeric(&addr, "[::ffff:192.0.2.1]:1")));
	assert_true(cidr_contains(&cidr, numeric(&addr, "[::fffe:0:0]:1")));
	assert_true(cidr_contains(&cidr, numeric(&addr, "[::1]:1")));
	assert_true(cidr_contains(&cidr, numeric(&addr, "[ffff::]:1")));
	assert_false(cidr_contains(&cidr, (struct sockaddr *)&sun));
	assert_int_equal(cidr_parse(&cidr, "::/80"), 0);
	assert_false(cidr_contains(&cidr, numeric(&addr, "0.0.0.1:1")));
	assert_int_equal(cidr_parse(&cidr, "0.0.0.0/0"), 0);
	assert_true(cidr_contains(&cidr,
	    numeric(&addr, "[::ffff:192.0.2.1]:1")));
	assert_false(cidr_contains(&cidr, numeric(&addr, "[::1]:1")));
}

static void
cidr_parse_refuses(void **state)
{
	static const char *const rows[] = {
		"",
		"/",
		"/8",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.0/-1",
		"10.0.0.0/8 ",
		"10.0.0.0/8/8",
		"10.0.0.1/8",
		"10.0.0/8",
		"::/129",
		"fc00::1/7",
		"2001:db8::/16",
		"example/8",
		"10.0.0.0/0x8",
		"[::1]/128",
		"10.0.0.0/1000",
		"128.0.0.0/0",
		"::ffff:0.0.0.0/95",
	};
	struct cidr cidr = { .prefix = 77 };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(cidr_parse(&cidr, rows[i]), -EINVAL);
	assert_int_equal(cidr.prefix, 77);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(target_parse_accepts),
		cmocka_unit_test(target_parse_refuses),
		cmocka_unit_test(target_parse_stops_at_its_length),
		cmocka_unit_test(target_set_bounds_the_host),
		cmocka_unit_test(target_set_knows_every_octet),
		cmocka_unit_test(target_format_adds_brackets),
		cmocka_unit_test(target_format_fits_the_longest),
		cmocka_unit_test(addr_round_trips),
		cmocka_unit_test(addr_parse_refuses),
		cmocka_unit_test(addr_literal_is_no_inet_aton),
		cmocka_unit_test(loopback_is_recognized),
		cmocka_unit_test(addr_len_follows_the_family),
		cmocka_unit_test(a_source_is_a_host),
		cmocka_unit_test(cidr_has_edges),
		cmocka_unit_test(cidr_keeps_families_apart),
		cmocka_unit_test(cidr_parse_refuses),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
