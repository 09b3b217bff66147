#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/edge/policy.h"

struct expectation {
	const char *address;
	bool permitted;
};

static struct policy policy;

static bool
permits_port(const char *text, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_port = htons(port) };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6,
		.sin6_port = htons(port) };

	if (inet_pton(AF_INET, text, &sin.sin_addr) == 1)
		return policy_permits(&policy, (struct sockaddr *)&sin);
	assert_int_equal(inet_pton(AF_INET6, text, &sin6.sin6_addr), 1);
	return policy_permits(&policy, (struct sockaddr *)&sin6);
}

static bool
permits(const char *text)
{
	return permits_port(text, 443);
}

static void
expect_all(const struct expectation *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (permits(list[i].address) != list[i].permitted)
			fail_msg("%s: %s", list[i].address,
			    list[i].permitted ? "denied" : "permitted");
}
#define EXPECT_ALL(list) expect_all(list, sizeof(list) / sizeof((list)[0]))

/*
 * The registries of special-purpose addresses of IANA (RFC 6890, RFC 8190):
 * every entry, and whether it is globally reachable. Where an IPv4 address
 * inside decides, the registry says neither.
 */
enum reachable { NO, YES, EITHER };

static const struct entry {
	const char *block, *first, *last;
	enum reachable reachable;
	bool permitted;
} registries[] = {
	{ "0.0.0.0/8", "0.0.0.0", "0.255.255.255", NO, false },
	{ "0.0.0.0/32", "0.0.0.0", "0.0.0.0", NO, false },
	{ "10.0.0.0/8", "10.0.0.0", "10.255.255.255", NO, false },
	{ "100.64.0.0/10", "100.64.0.0", "100.127.255.255", NO, false },
	{ "127.0.0.0/8", "127.0.0.0", "127.255.255.255", NO, false },
	{ "169.254.0.0/16", "169.254.0.0", "169.254.255.255", NO, false },
	{ "172.16.0.0/12", "172.16.0.0", "172.31.255.255", NO, false },
	{ "192.0.0.0/24", "192.0.0.0", "192.0.0.255", NO, false },
	{ "192.0.0.0/29", "192.0.0.0", "192.0.0.7", NO, false },
	{ "192.0.0.8/32", "192.0.0.8", "192.0.0.8", NO, false },
	{ "192.0.0.9/32", "192.0.0.9", "192.0.0.9", YES, true },
	{ "192.0.0.10/32", "192.0.0.10", "192.0.0.10", YES, true },
	{ "192.0.0.170/32", "192.0.0.170", "192.0.0.170", NO, false },
	{ "192.0.0.171/32", "192.0.0.171", "192.0.0.171", NO, false },
	{ "192.0.2.0/24", "192.0.2.0", "192.0.2.255", NO, false },
	{ "192.31.196.0/24", "192.31.196.0", "192.31.196.255", YES, true },
	{ "192.52.193.0/24", "192.52.193.0", "192.52.193.255", YES, true },
	{ "192.88.99.0/24", "192.88.99.0", "192.88.99.255", EITHER, false },
	{ "192.88.99.2/32", "192.88.99.2", "192.88.99.2", NO, false },
	{ "192.168.0.0/16", "192.168.0.0", "192.168.255.255", NO, false },
	{ "192.175.48.0/24", "192.175.48.0", "192.175.48.255", YES, true },
	{ "198.18.0.0/15", "198.18.0.0", "198.19.255.255", NO, false },
	{ "198.51.100.0/24", "198.51.100.0", "198.51.100.255", NO, false },
	{ "203.0.113.0/24", "203.0.113.0", "203.0.113.255", NO, false },
	{ "240.0.0.0/4", "240.0.0.0", "255.255.255.255", NO, false },
	{ "255.255.255.255/32", "255.255.255.255", "255.255.255.255", NO,
	    false },

	{ "::1/128", "::1", "::1", NO, false },
	{ "::/128", "::", "::", NO, false },
	/* Here and below, the ends are 0.0.0.0 and 255.255.255.255. */
	{ "::ffff:0:0/96", "::ffff:0:0", "::ffff:ffff:ffff", NO, false },
	{ "64:ff9b::/96", "64:ff9b::", "64:ff9b::ffff:ffff", YES, false },
	{ "64:ff9b:1::/48", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
	    NO, false },
	{ "100::/64", "100::", "100::ffff:ffff:ffff:ffff", NO, false },
	{ "100:0:0:1::/64", "100:0:0:1::", "100::1:ffff:ffff:ffff:ffff", NO,
	    false },
	{ "2001::/23", "2001:4::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", NO,
	    false },
	{ "2001::/32", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", EITHER,
	    false },
	{ "2001:1::1/128", "2001:1::1", "2001:1::1", YES, true },
	{ "2001:1::2/128", "2001:1::2", "2001:1::2", YES, true },
	{ "2001:1::3/128", "2001:1::3", "2001:1::3", YES, true },
	{ "2001:2::/48", "2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff", NO,
	    false },
	{ "2001:3::/32", "2001:3::", "2001:3:ffff:ffff:ffff:ffff:ffff:ffff",
	    YES, true },
	{ "2001:4:112::/48",
	    "2001:4:112::", "2001:4:112:ffff:ffff:ffff:ffff:ffff", YES, true },
	{ "2001:10::/28", "2001:10::", "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff",
	    EITHER, false },
	{ "2001:20::/28", "2001:20::", "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff",
	    YES, true },
	{ "2001:30::/28", "2001:30::", "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff",
	    YES, true },
	{ "2001:db8::/32",
	    "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", NO, false },
	{ "2002::/16", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	    EITHER, false },
	{ "2620:4f:8000::/48", "2620:4f:8000::",
	    "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", YES, true },
	{ "3fff::/20", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", NO,
	    false },
	{ "5f00::/16", "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NO,
	    false },
	{ "fc00::/7", "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NO,
	    false },
	{ "fe80::/10", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NO,
	    false },
};

static void
registries_of_iana(void **state)
{
	(void)state;
	policy_init(&policy, false);
	for (size_t i = 0; i < sizeof(registries) / sizeof(registries[0]);
	     i++) {
		const struct entry *e = &registries[i];
		bool first = permits(e->first), last = permits(e->last);

		if (first != e->permitted || last != e->permitted)
			fail_msg("%s: %s is %s, %s is %s", e->block, e->first,
			    first ? "permitted" : "denied", e->last,
			    last ? "permitted" : "denied");
		/* No address that is not globally reachable is allowed. */
		assert_false(e->permitted && e->reachable != YES);
	}
}

/* Both ends of every range of IPv4 that is denied, and their neighbours. */
static const struct expectation inet4[] = {
	{ "0.0.0.0", false },
	{ "0.255.255.255", false },
	{ "1.0.0.0", true },
	{ "9.255.255.255", true },
	{ "10.0.0.0", false },
	{ "10.255.255.255", false },
	{ "11.0.0.0", true },
	{ "100.63.255.255", true },
	{ "100.64.0.0", false },
	{ "100.100.100.200", false },
	{ "100.127.255.255", false },
	{ "100.128.0.0", true },
	{ "126.255.255.255", true },
	{ "127.0.0.0", false },
	{ "127.0.0.1", false },
	{ "127.255.255.255", false },
	{ "128.0.0.0", true },
	{ "168.63.129.15", true },
	{ "168.63.129.16", false },
	{ "168.63.129.17", true },
	{ "169.253.255.255", true },
	{ "169.254.0.0", false },
	{ "169.254.169.254", false },
	{ "169.254.255.255", false },
	{ "169.255.0.0", true },
	{ "172.15.255.255", true },
	{ "172.16.0.0", false },
	{ "172.31.255.255", false },
	{ "172.32.0.0", true },
	{ "191.255.255.255", true },
	{ "192.0.0.0", false },
	{ "192.0.0.11", false },
	{ "192.0.0.192", false },
	{ "192.0.0.255", false },
	{ "192.0.1.0", true },
	{ "192.0.1.255", true },
	{ "192.0.2.0", false },
	{ "192.0.2.255", false },
	{ "192.0.3.0", true },
	{ "192.88.98.255", true },
	{ "192.88.99.0", false },
	{ "192.88.99.255", false },
	{ "192.88.100.0", true },
	{ "192.167.255.255", true },
	{ "192.168.0.0", false },
	{ "192.168.255.255", false },
	{ "192.169.0.0", true },
	{ "198.17.255.255", true },
	{ "198.18.0.0", false },
	{ "198.19.255.255", false },
	{ "198.20.0.0", true },
	{ "198.51.99.255", true },
	{ "198.51.100.0", false },
	{ "198.51.100.255", false },
	{ "198.51.101.0", true },
	{ "203.0.112.255", true },
	{ "203.0.113.0", false },
	{ "203.0.113.255", false },
	{ "203.0.114.0", true },
	{ "223.255.255.255", true },
	{ "224.0.0.0", false },
	{ "239.255.255.255", false },
	{ "240.0.0.0", false },
	{ "255.255.255.254", false },
	{ "255.255.255.255", false },
	{ "8.8.8.8", true },
};

/* The same in IPv6; outside 2000::/3 there is no global unicast but NAT64. */
static const struct expectation inet6[] = {
	{ "::", false },
	{ "::1", false },
	{ "::2", false },
	{ "::1:0:0:0", false },
	{ "64:ff9b:0:ffff::1", false },
	{ "64:ff9b::1:0:0", false },
	{ "64:ff9b:1::808:808", false },
	{ "64:ff9b:2::", false },
	{ "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false },
	{ "100:0:0:2::", false },
	{ "200::", false },
	{ "200::1", false },
	{ "3ff:ffff::", false },
	{ "400::", false },
	{ "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false },
	{ "2000::", true },
	{ "2001:1::", false },
	{ "2001:1::4", false },
	{ "2001:1:0:0:0:0:1:1", false },
	{ "2001:4:111::", false },
	{ "2001:4:113::", false },
	{ "2001:40::", false },
	{ "2001:1ff:ffff::", false },
	{ "2001:200::", true },
	{ "2001:db7:ffff::", true },
	{ "2001:db9::", true },
	{ "3ffe:ffff::", true },
	{ "3fff:1000::", true },
	{ "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true },
	{ "4000::", false },
	{ "5eff:ffff::", false },
	{ "5f01::", false },
	{ "8000::", false },
	{ "fbff:ffff::", false },
	{ "fd00:ec2::254", false },
	{ "fe00::", false },
	{ "fe7f:ffff::", false },
	{ "fe80::1", false },
	{ "fec0::", false },
	{ "feff:ffff::", false },
	{ "ff00::", false },
	{ "ff02::1", false },
	{ "ff0e::1", false },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false },
	{ "2a00:1450:4001:80e::200e", true },
};

static void
ends_of_ranges(void **state)
{
	(void)state;
	policy_init(&policy, false);
	EXPECT_ALL(inet4);
	EXPECT_ALL(inet6);
}

/*
 * Forms of IPv6 that hold an IPv4 address, each as a format for its two halves
 * or for the four octets, and whether it is permitted when that address is.
 */
static const struct form {
	const char *format;
	bool by_halves, turned;
	bool permitted;
} forms[] = {
	{ "::ffff:%u.%u.%u.%u", false, false, true },
	{ "::%u.%u.%u.%u", false, false, false },
	{ "::ffff:0:%u.%u.%u.%u", false, false, false },
	{ "64:ff9b::%u.%u.%u.%u", false, false, true },
	{ "64:ff9b:1::%u.%u.%u.%u", false, false, false },
	{ "2002:%x:%x::1", true, false, true },
	{ "2001:0:%x:%x::f7f7:f7f7", true, false, true },
	{ "2001:0:808:808::%x:%x", true, true, true },
	{ "2a00:1450:4001:80e:0:5efe:%u.%u.%u.%u", false, false, true },
	{ "2a00:1450:4001:80e:200:5efe:%u.%u.%u.%u", false, false, true },
};

static const char *
embed(const struct form *form, const char *inet4_text)
{
	static char text[INET6_ADDRSTRLEN];
	unsigned turn = form->turned ? 0xff : 0;
	uint8_t o[4];

	assert_int_equal(inet_pton(AF_INET, inet4_text, o), 1);
	for (int i = 0; i < 4; i++)
		o[i] ^= (uint8_t)turn;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	if (form->by_halves)
		snprintf(text, sizeof(text), form->format,
		    (unsigned)(o[0] << 8 | o[1]), (unsigned)(o[2] << 8 | o[3]));
	else
		snprintf(text, sizeof(text), form->format, o[0], o[1], o[2],
		    o[3]);
#pragma GCC diagnostic pop
	return text;
}

static void
expect_forms(const char *address, bool permitted)
{
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		const char *text = embed(&forms[i], address);

		if (permits(text) != (permitted && forms[i].permitted))
			fail_msg("%s: %s", text,
			    permits(text) ? "permitted" : "denied");
	}
}

static void
ipv4_inside_is_checked_as_itself(void **state)
{
	(void)state;
	policy_init(&policy, false);
	for (size_t i = 0; i < sizeof(inet4) / sizeof(inet4[0]); i++)
		expect_forms(inet4[i].address, inet4[i].permitted);
	/* Not these alone: rules of the administrator about IPv4 count, too. */
	policy_deny(&policy, "8.8.8.8");
	expect_forms("8.8.8.8", false);
	policy_init(&policy, false);
	policy_allow(&policy, "10.1.0.0/16");
	expect_forms("10.1.2.3", true);
	expect_forms("10.2.2.3", false);
}

/* A rule for IPv6 does not allow the IPv4 address inside. */
static void
allowing_the_form_is_not_allowing_the_address(void **state)
{
	static const char *const ranges[] = {
		"::ffff:0:0:0/96",
		"::/96",
		"64:ff9b::/96",
		"64:ff9b:1::/48",
		"2002::/16",
		"2001::/32",
		"2a00::/16",
		"::/0",
	};
	static const char *const inside[] = {
		"127.0.0.1",
		"10.0.0.1",
		"169.254.169.254",
		"168.63.129.16",
		"192.168.0.1",
	};

	(void)state;
	policy_init(&policy, false);
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		assert_int_equal(policy_allow(&policy, ranges[i]), 0);
	for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
		expect_forms(inside[i], false);
	assert_true(permits("64:ff9b:1::8.8.8.8"));
	assert_true(permits("::8.8.8.8"));
	assert_true(permits("::ffff:0:8.8.8.8"));
	assert_true(permits("fd00::1"));
	assert_true(permits("::1"));
}

/* RFC 6052 2.2: behind 48, 56, 64 or 96 bits, around the octet of zeros. */
static void
local_nat64_has_four_places(void **state)
{
	static const struct expectation list[] = {
		{ "64:ff9b:1:808:8:800::", true },
		{ "64:ff9b:1:7f00:0:100::", false },
		{ "64:ff9b:1:7f00:0:100:808:808", false },
		{ "64:ff9b:1:8:8:808::", true },
		{ "64:ff9b:1:7f:0:1::", false },
		{ "64:ff9b:1::8:808:800:0", true },
		{ "64:ff9b:1::7f:0:100:0", false },
		{ "64:ff9b:1::808:808", true },
		{ "64:ff9b:1::7f00:1", false },
		{ "64:ff9b:1::", false },
	};

	(void)state;
	policy_init(&policy, false);
	assert_int_equal(policy_allow(&policy, "64:ff9b:1::/48"), 0);
	EXPECT_ALL(list);
}

static void
families_are_apart(void **state)
{
	(void)state;
	policy_init(&policy, false);
	assert_int_equal(policy_allow(&policy, "::/0"), 0);
	assert_false(permits("127.0.0.1"));
	assert_false(permits("::ffff:127.0.0.1"));
	assert_true(permits("fd00::1"));
	policy_init(&policy, false);
	assert_int_equal(policy_allow(&policy, "0.0.0.0/0"), 0);
	assert_true(permits("127.0.0.1"));
	assert_true(permits("::ffff:127.0.0.1"));
	assert_false(permits("::1"));
	assert_false(permits("fd00::1"));
	policy_init(&policy, false);
	assert_int_equal(policy_deny(&policy, "::/0"), 0);
	assert_true(permits("8.8.8.8"));
	assert_true(permits("::ffff:8.8.8.8"));
	assert_false(permits("2a00::1"));
	policy_init(&policy, false);
	assert_int_equal(policy_deny(&policy, "0.0.0.0/0"), 0);
	assert_false(permits("8.8.8.8"));
	assert_false(permits("64:ff9b::8.8.8.8"));
	assert_true(permits("2a00::1"));
	/* The mapped form of a range is the range. */
	policy_init(&policy, false);
	assert_int_equal(policy_allow(&policy, "::ffff:10.0.0.0/104"), 0);
	assert_true(permits("10.0.0.1"));
}

static void
allow_lifts_the_table(void **state)
{
	static const struct expectation list[] = {
		{ "10.1.0.1", true },
		{ "10.2.0.1", false },
		{ "::ffff:10.1.0.1", true },
		{ "64:ff9b::10.1.0.1", true },
		{ "64:ff9b::10.2.0.1", false },
		{ "2002:a01:1::", true },
		{ "fd12::1", true },
		{ "fd13::1", false },
		{ "::1", true },
		{ "127.0.0.1", false },
		{ "8.8.8.8", true },
	};

	(void)state;
	policy_init(&policy, false);
	assert_int_equal(policy_allow(&policy, "10.1.0.0/16"), 0);
	assert_int_equal(policy_allow(&policy, "fd12::/16"), 0);
	assert_int_equal(policy_allow(&policy, "::1"), 0);
	EXPECT_ALL(list);
}

static void
deny_beats_allow(void **state)
{
	static const struct expectation list[] = {
		{ "10.0.0.1", true },
		{ "10.9.0.1", false },
		/* Not even a longer allowed prefix lifts it. */
		{ "10.9.9.9", false },
		{ "::ffff:10.9.0.1", false },
		{ "64:ff9b::10.9.0.1", false },
		{ "64:ff9b::10.0.0.1", true },
		{ "64:ff9b::127.0.0.1", false },
		{ "8.8.8.8", false },
		{ "8.8.4.4", true },
		{ "64:ff9b::8.8.8.8", false },
		{ "2002:808:808::1", false },
		{ "2a00::1", false },
		{ "2a01::1", true },
	};

	(void)state;
	policy_init(&policy, false);
	assert_int_equal(policy_allow(&policy, "10.0.0.0/8"), 0);
	assert_int_equal(policy_allow(&policy, "10.9.9.9"), 0);
	assert_int_equal(policy_allow(&policy, "64:ff9b::/96"), 0);
	assert_int_equal(policy_deny(&policy, "10.9.0.0/16"), 0);
	assert_int_equal(policy_deny(&policy, "8.8.8.8/32"), 0);
	assert_int_equal(policy_deny(&policy, "2a00::/16"), 0);
	EXPECT_ALL(list);
}

static void
rules_may_name_ports(void **state)
{
	(void)state;
	policy_init(&policy, false);
	assert_int_equal(policy_deny(&policy, "8.8.8.0/24:53"), 0);
	assert_int_equal(policy_deny(&policy, ":6660-6669"), 0);
	assert_int_equal(policy_allow(&policy, "10.0.0.0/8:443"), 0);
	assert_int_equal(policy_allow(&policy, "[fd00::1]:443"), 0);
	assert_false(permits_port("8.8.8.8", 53));
	assert_false(permits_port("64:ff9b::8.8.8.8", 53));
	assert_true(permits_port("8.8.8.8", 443));
	assert_true(permits_port("8.8.9.8", 53));
	assert_false(permits_port("1.1.1.1", 6660));
	assert_false(permits_port("2a00::1", 6669));
	assert_true(permits_port("1.1.1.1", 6670));
	assert_true(permits_port("10.0.0.1", 443));
	assert_false(permits_port("10.0.0.1", 80));
	assert_true(permits_port("fd00::1", 443));
	assert_false(permits_port("fd00::1", 444));
	/* Deny beats allow here, too. */
	assert_int_equal(policy_deny(&policy, "10.0.0.1:443"), 0);
	assert_false(permits_port("10.0.0.1", 443));
	assert_true(permits_port("10.0.0.2", 443));
}

static void
mail_takes_a_rule_that_says_so(void **state)
{
	(void)state;
	policy_init(&policy, false);
	assert_false(permits_port("8.8.8.8", 25));
	assert_false(permits_port("2a00::1", 25));
	assert_false(permits_port("::ffff:8.8.8.8", 25));
	assert_true(permits_port("8.8.8.8", 587));
	assert_int_equal(policy_allow(&policy, "0.0.0.0/0"), 0);
	assert_int_equal(policy_allow(&policy, "10.0.0.0/8:80"), 0);
	assert_false(permits_port("8.8.8.8", 25));
	assert_false(permits_port("10.0.0.1", 25));
	assert_int_equal(policy_allow(&policy, "10.0.0.1:25"), 0);
	assert_true(permits_port("10.0.0.1", 25));
	assert_false(permits_port("10.0.0.2", 25));
	/*
	 * A rule with only a port overrides the built-in ports, and nothing
	 * else.
	 */
	policy_init(&policy, false);
	assert_int_equal(policy_allow(&policy, ":25"), 0);
	assert_true(permits_port("8.8.8.8", 25));
	assert_true(permits_port("2a00::1", 25));
	assert_false(permits_port("127.0.0.1", 25));
	assert_false(permits_port("127.0.0.1", 80));
}

/* Public addresses that are this machine's: 198.20.0.1 and 2a00::/64. */
static bool
is_own(void *arg, const struct sockaddr *addr)
{
	struct cidr own4, own6;

	*(int *)arg += 1;
	assert_int_equal(cidr_parse(&own4, "198.20.0.1"), 0);
	assert_int_equal(cidr_parse(&own6, "2a00::/64"), 0);
	return cidr_contains(&own4, addr) || cidr_contains(&own6, addr);
}

static void
own_addresses_are_denied(void **state)
{
	int asked = 0;

	(void)state;
	policy_init(&policy, false);
	policy.is_own = is_own;
	policy.arg = &asked;
	assert_false(permits("198.20.0.1"));
	assert_true(permits("198.20.0.2"));
	expect_forms("198.20.0.1", false);
	assert_false(permits("2a00::1"));
	assert_true(permits("2a00:0:0:1::1"));
	/* The table is not read for a target that is denied anyway. */
	asked = 0;
	assert_false(permits("127.0.0.1"));
	assert_int_equal(asked, 0);
	assert_int_equal(policy_allow(&policy, "198.20.0.1:443"), 0);
	assert_true(permits_port("198.20.0.1", 443));
	assert_false(permits_port("198.20.0.1", 22));
}

static void
open_reads_no_table(void **state)
{
	static const struct expectation list[] = {
		{ "127.0.0.1", true },
		{ "::1", true },
		{ "10.0.0.1", true },
		{ "192.168.1.1", false },
		{ "64:ff9b::192.168.1.1", false },
		{ "64:ff9b:1::1", true },
		{ "64:ff9b:1::", true },
		{ "::ffff:192.168.1.1", false },
	};

	(void)state;
	policy_init(&policy, true);
	assert_int_equal(policy_deny(&policy, "192.168.0.0/16"), 0);
	EXPECT_ALL(list);
	assert_true(permits_port("127.0.0.1", 25));
}

static void
bad_rule_is_refused(void **state)
{
	(void)state;
	policy_init(&policy, false);
	assert_int_equal(policy_allow(&policy, "10.0.0.0/33"), -EINVAL);
	assert_int_equal(policy_deny(&policy, "example.org"), -EINVAL);
	assert_int_equal(policy.nallow, 0);
	assert_int_equal(policy.ndeny, 0);
}

static void
lists_are_bounded(void **state)
{
	(void)state;
	policy_init(&policy, false);
	for (int i = 0; i < POLICY_RULES_MAX; i++)
		assert_int_equal(policy_deny(&policy, "192.0.2.0/24"), 0);
	assert_int_equal(policy_deny(&policy, "192.0.2.0/24"), -ENOSPC);
	assert_int_equal(policy_allow(&policy, "192.0.2.0/24"), 0);
}

static void
other_families_are_denied(void **state)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNIX };

	(void)state;
	policy_init(&policy, true);
	assert_false(policy_permits(&policy, (struct sockaddr *)&ss));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registries_of_iana),
		cmocka_unit_test(ends_of_ranges),
		cmocka_unit_test(ipv4_inside_is_checked_as_itself),
		cmocka_unit_test(allowing_the_form_is_not_allowing_the_address),
		cmocka_unit_test(local_nat64_has_four_places),
		cmocka_unit_test(families_are_apart),
		cmocka_unit_test(allow_lifts_the_table),
		cmocka_unit_test(deny_beats_allow),
		cmocka_unit_test(rules_may_name_ports),
		cmocka_unit_test(mail_takes_a_rule_that_says_so),
		cmocka_unit_test(own_addresses_are_denied),
		cmocka_unit_test(open_reads_no_table),
		cmocka_unit_test(bad_rule_is_refused),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(other_families_are_denied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
