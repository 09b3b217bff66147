#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/addr.h"
#include "proxy/edge/own_addresses.h"

/* The kernel's answers, in a network namespace that ip(8) makes. */

#define SOON_MS 10000 /* after which a thing does not happen any more */

static bool
is_own(struct own_addresses *route, const char *host)
{
	struct sockaddr_storage addr;

	assert_true(addr_literal(&addr, host, 80));
	return own_addresses_is_own(route, (struct sockaddr *)&addr);
}

static void
loopback_is_own(void **state)
{
	struct own_addresses route;

	(void)state;
	assert_int_equal(own_addresses_open(&route), 0);
	assert_true(is_own(&route, "127.0.0.1"));
	assert_true(is_own(&route, "127.9.9.9"));
	assert_false(is_own(&route, "8.8.8.8"));
	assert_false(is_own(&route, "2001:4860:4860::8888"));
	own_addresses_close(&route);
	own_addresses_close(&route);
	/* Without netlink. */
	assert_true(is_own(&route, "127.0.0.1"));
	assert_false(is_own(&route, "8.8.8.8"));
	assert_false(is_own(&route, "2001:4860:4860::8888"));
}

static void
run(const char *command)
{
	if (system(command) != 0)
		fail_msg("%s", command);
}

/*
 * The kernel has an IPv6 address in its routes a moment after ip(8) has returned,
 * even without a look for duplicates.
 */
static void
expect_own_soon(struct own_addresses *route, const char *host)
{
	for (int ms = 0; ms < SOON_MS && !is_own(route, host); ms++)
		usleep(1000);
	assert_true(is_own(route, host));
}

static void
addresses_come_and_go(void **state)
{
	struct own_addresses route, none = { .fd = -1 };

	(void)state;
	if (unshare(CLONE_NEWNET) != 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
		print_message("no network of our own: %s\n", strerror(errno));
		skip();
	}
	if (system("ip link set lo up && ip tuntap add tap0 mode tap && "
		   "ip link set tap0 up && "
		   "ip address add 198.20.7.1/24 brd + dev tap0") != 0) {
		print_message("ip(8) cannot make a network\n");
		skip();
	}
	assert_int_equal(own_addresses_open(&route), 0);
	assert_true(is_own(&route, "198.20.7.1"));
	assert_true(is_own(&none, "198.20.7.1"));
	assert_false(is_own(&route, "198.20.7.2"));
	assert_false(is_own(&none, "198.20.7.2"));
	assert_true(is_own(&route, "198.20.7.255"));
	/* Of both families, and now. */
	run("ip address add 198.20.8.1/32 dev tap0");
	run("ip address add 2a00:7::1/64 dev tap0 nodad");
	assert_true(is_own(&route, "198.20.8.1"));
	expect_own_soon(&route, "2a00:7::1");
	assert_true(is_own(&none, "2a00:7::1"));
	assert_false(is_own(&route, "2a00:7::2"));
	assert_false(is_own(&none, "2a00:7::2"));
	run("ip address del 198.20.8.1/32 dev tap0");
	assert_false(is_own(&route, "198.20.8.1"));
	/* Addresses that only a route makes local, whatever the source. */
	run("ip route add local 198.20.9.0/24 dev lo src 198.20.7.1");
	run("ip -6 route add local 2a00:9::/64 dev lo");
	assert_true(is_own(&route, "198.20.9.77"));
	assert_true(is_own(&route, "2a00:9::77"));
	/* Nowhere at all is not here. */
	run("ip route add unreachable 198.20.10.0/24");
	run("ip route add blackhole 198.20.11.0/24");
	run("ip route add prohibit 198.20.12.0/24");
	assert_false(is_own(&route, "198.20.10.1"));
	assert_false(is_own(&route, "198.20.11.1"));
	assert_false(is_own(&route, "198.20.12.1"));
	assert_false(is_own(&route, "1.1.1.1"));
	own_addresses_close(&route);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loopback_is_own),
		cmocka_unit_test(addresses_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
