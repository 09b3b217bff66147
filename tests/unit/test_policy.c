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
permits(const char *text)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &sin.sin_addr) == 1)
		return policy_permits(&policy, (struct sockaddr *)&sin);
	assert_int_equal(inet_pton(AF_INET6, text, &sin6.sin6_addr), 1);
	return policy_permits(&policy, (struct sockaddr *)&sin6);
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

/* Both ends of every range of the built-in table, and their neighbours. */
static const struct expectation inet4[] = {
	{ "0.0.0.0", false }, { "0.255.255.255", false }, { "1.0.0.0", true },
	{ "9.255.255.255", true }, { "10.0.0.0", false },
	{ "10.255.255.255", false }, { "11.0.0.0", true },
	{ "100.63.255.255", true }, { "100.64.0.0", false },
	{ "100.100.100.200", false }, { "100.127.255.255", false },
	{ "100.128.0.0", true },
	{ "126.255.255.255", true }, { "127.0.0.0", false },
	{ "127.0.0.1", false }, { "127.255.255.255", false },
	{ "128.0.0.0", true },
	{ "169.253.255.255", true }, { "169.254.0.0", false },
	{ "169.254.169.254", false }, { "169.254.255.255", false },
	{ "169.255.0.0", true },
	{ "172.15.255.255", true }, { "172.16.0.0", false },
	{ "172.31.255.255", false }, { "172.32.0.0", true },
	{ "191.255.255.255", true }, { "192.0.0.0", false },
	{ "192.0.0.192", false }, { "192.0.0.255", false },
	{ "192.0.1.0", true }, { "192.0.1.255", true },
	{ "192.0.2.0", false }, { "192.0.2.255", false },
	{ "192.0.3.0", true },
	{ "192.88.98.255", true }, { "192.88.99.0", false },
	{ "192.88.99.255", false }, { "192.88.100.0", true },
	{ "192.167.255.255", true }, { "192.168.0.0", false },
	{ "192.168.255.255", false }, { "192.169.0.0", true },
	{ "198.17.255.255", true }, { "198.18.0.0", false },
	{ "198.19.255.255", false }, { "198.20.0.0", true },
	{ "198.51.99.255", true }, { "198.51.100.0", false },
	{ "198.51.100.255", false }, { "198.51.101.0", true },
	{ "203.0.112.255", true }, { "203.0.113.0", false },
	{ "203.0.113.255", false }, { "203.0.114.0", true },
	{ "223.255.255.255", true }, { "224.0.0.0", false },
	{ "239.255.255.255", false }, { "240.0.0.0", false },
	{ "255.255.255.254", false }, { "255.255.255.255", false },
	{ "8.8.8.8", true },
};

static const struct expectation inet6[] = {
	{ "::", false }, { "::1", false },
	{ "64:ff9b:0:ffff::1", true }, { "64:ff9b:1::", false },
	{ "64:ff9b:1::808:808", false },
	{ "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", false },
	{ "64:ff9b:2::", true },
	{ "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true },
	{ "100::", false }, { "100::ffff:ffff:ffff:ffff", false },
	{ "100:0:0:1::", true },
	{ "2001:1:ffff:ffff:ffff:ffff:ffff:ffff", true },
	{ "2001:2::", false }, { "2001:2:0:ffff:ffff:ffff:ffff:ffff", false },
	{ "2001:2:1::", true },
	{ "2001:f:ffff:ffff:ffff:ffff:ffff:ffff", true },
	{ "2001:10::", false }, { "2001:1f:ffff::", false },
	{ "2001:20::", true },
	{ "2001:db7:ffff::", true }, { "2001:db8::", false },
	{ "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false },
	{ "2001:db9::", true },
	{ "3ffe:ffff::", true }, { "3fff::", false },
	{ "3fff:fff:ffff::", false }, { "3fff:1000::", true },
	{ "5eff:ffff::", true }, { "5f00::", false },
	{ "5f00:ffff::", false }, { "5f01::", true },
	{ "fbff:ffff::", true }, { "fc00::", false },
	{ "fd00:ec2::254", false },
	{ "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false },
	{ "fe00::", true },
	{ "fe7f:ffff::", true }, { "fe80::", false }, { "fe80::1", false },
	{ "febf:ffff::", false }, { "fec0::", false },
	{ "feff:ffff::", false }, { "ff00::", false }, { "ff02::1", false },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false },
	{ "2a00:1450:4001:80e::200e", true },
};

static const struct expectation embeddings[] = {
	/* IPv4-mapped */
	{ "::ffff:127.0.0.1", false }, { "::ffff:10.1.2.3", false },
	{ "::ffff:169.254.169.254", false }, { "::ffff:0.0.0.0", false },
	{ "::ffff:8.8.8.8", true },
	/* IPv4-compatible */
	{ "::127.0.0.1", false }, { "::192.168.0.1", false },
	{ "::8.8.8.8", true },
	/* NAT64 */
	{ "64:ff9b::127.0.0.1", false }, { "64:ff9b::10.0.0.1", false },
	{ "64:ff9b::169.254.169.254", false }, { "64:ff9b::", false },
	{ "64:ff9b::8.8.8.8", true },
	/* 6to4: 127.0.0.1, 10.0.0.1, 8.8.8.8 */
	{ "2002:7f00:1::", false }, { "2002:a00:1::1", false },
	{ "2002:808:808::1", true },
	/* Teredo: server, then client with every bit turned over */
	{ "2001:0:808:808::f7f7:f7f7", true },
	{ "2001:0:808:808::80ff:fffe", false },
	{ "2001:0:808:808::f5ff:fffe", false },
	{ "2001:0:7f00:1::f7f7:f7f7", false },
};

static void
built_in_table(void **state)
{
	(void)state;
	policy_init(&policy, false);
	EXPECT_ALL(inet4);
	EXPECT_ALL(inet6);
	EXPECT_ALL(embeddings);
}

static void
mapped_form_is_the_ipv4_address(void **state)
{
	char mapped[INET6_ADDRSTRLEN];

	(void)state;
	policy_init(&policy, false);
	for (size_t i = 0; i < sizeof(inet4) / sizeof(inet4[0]); i++) {
		snprintf(mapped, sizeof(mapped), "::ffff:%s",
		    inet4[i].address);
		assert_int_equal(permits(mapped), inet4[i].permitted);
	}
}

static void
allow_lifts_the_table(void **state)
{
	static const struct expectation list[] = {
		{ "10.1.0.1", true }, { "10.2.0.1", false },
		{ "::ffff:10.1.0.1", true }, { "64:ff9b::10.1.0.1", true },
		{ "64:ff9b::10.2.0.1", false }, { "2002:a01:1::", true },
		{ "fd12::1", true }, { "fd13::1", false }, { "::1", true },
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
		{ "10.0.0.1", true }, { "10.9.0.1", false },
		/* Not even a longer allowed prefix lifts it. */
		{ "10.9.9.9", false },
		{ "::ffff:10.9.0.1", false },
		{ "64:ff9b::10.9.0.1", false }, { "64:ff9b::10.0.0.1", true },
		{ "64:ff9b::127.0.0.1", true },
		{ "8.8.8.8", false }, { "8.8.4.4", true },
		{ "64:ff9b::8.8.8.8", false },
		{ "2002:808:808::1", false },
		{ "2a00::1", false }, { "2a01::1", true },
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
open_asks_no_table(void **state)
{
	static const struct expectation list[] = {
		{ "127.0.0.1", true }, { "::1", true }, { "10.0.0.1", true },
		{ "192.168.1.1", false }, { "64:ff9b::192.168.1.1", false },
	};

	(void)state;
	policy_init(&policy, true);
	assert_int_equal(policy_deny(&policy, "192.168.0.0/16"), 0);
	EXPECT_ALL(list);
}

static void
bad_range_is_refused(void **state)
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
	for (int i = 0; i < POLICY_RANGES_MAX; i++)
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
		cmocka_unit_test(built_in_table),
		cmocka_unit_test(mapped_form_is_the_ipv4_address),
		cmocka_unit_test(allow_lifts_the_table),
		cmocka_unit_test(deny_beats_allow),
		cmocka_unit_test(open_asks_no_table),
		cmocka_unit_test(bad_range_is_refused),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(other_families_are_denied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
