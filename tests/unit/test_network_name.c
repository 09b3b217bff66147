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
#include "proxy/local/upstream/network_name.h"

/* The names of networks that ip(8) makes, in a namespace of this process. */

static char name[NETWORK_NAME_MAX];

static const char *
name_of(const char *local, const char *remote)
{
	struct quic_path path = { 0 };

	assert_true(addr_literal(&path.local, local, 1));
	assert_true(addr_literal(&path.remote, remote, 443));
	return network_name(&path, name);
}

/* Runs commands of ip(8), one a line. */
static bool
ip(const char *commands)
{
	FILE *pipe = popen("ip -batch - >/dev/null 2>&1", "w");

	if (pipe == NULL)
		return false;
	fputs(commands, pipe);
	return pclose(pipe) == 0;
}

static int
begin(void **state)
{
	static bool entered;

	(void)state;
	if (!entered && unshare(CLONE_NEWNET) != 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return 0;
	entered = true;
	ip("link del home0\n");
	*state = ip("tuntap add name home0 mode tap\n"
		    "address add 192.168.1.7/24 dev home0\n"
		    "address add 2001:db8:1::7/64 dev home0 nodad\n"
		    "link set home0 up\n"
		    "route add default via 192.168.1.1\n"
		    "route add default via fe80::1 dev home0\n")
	    ? name
	    : NULL;
	return 0;
}

static void
need_a_namespace(void **state)
{
	if (*state != NULL)
		return;
	print_message("no network namespace or no ip(8) here\n");
	skip();
}

/* Many networks are 192.168.1.0/24: the gateway tells them apart. */
static void
gateways_tell_networks_apart(void **state)
{
	char home[NETWORK_NAME_MAX];

	need_a_namespace(state);
	assert_true(ip("neighbour replace 192.168.1.1 lladdr "
		       "02:00:00:00:00:01 dev home0 nud permanent\n"));
	strcpy(home, name_of("192.168.1.7", "203.0.113.1"));
	assert_non_null(strstr(home, "192.168.1.7 "));
	assert_non_null(strstr(home, " 02:00:00:00:00:01"));
	assert_string_equal(name_of("192.168.1.7", "203.0.113.99"), home);
	assert_true(ip("neighbour replace 192.168.1.1 lladdr "
		       "02:00:00:00:00:02 dev home0 nud permanent\n"));
	assert_string_not_equal(name_of("192.168.1.7", "203.0.113.1"), home);
	assert_true(ip("neighbour replace 192.168.1.1 lladdr "
		       "02:00:00:00:00:01 dev home0 nud permanent\n"));
	assert_string_equal(name_of("192.168.1.7", "203.0.113.1"), home);
}

/* Temporary addresses of IPv6 have one prefix, and one name. */
static void
a_prefix_is_one_network(void **state)
{
	char home[NETWORK_NAME_MAX];

	need_a_namespace(state);
	assert_true(ip("neighbour replace fe80::1 lladdr 02:00:00:00:00:01 "
		       "dev home0 nud permanent\n"
		       "address add 2001:db8:1::8/64 dev home0 nodad\n"));
	strcpy(home, name_of("2001:db8:1::7", "2001:db8:2::1"));
	assert_non_null(strstr(home, "2001:db8:1:: "));
	assert_non_null(strstr(home, " 02:00:00:00:00:01"));
	assert_string_equal(name_of("2001:db8:1::8", "2001:db8:2::1"), home);
}

/* An edge in the same network is its own gateway. */
static void
an_edge_may_be_a_neighbour(void **state)
{
	need_a_namespace(state);
	assert_true(ip("neighbour replace 192.168.1.9 lladdr "
		       "02:00:00:00:00:09 dev home0 nud permanent\n"));
	assert_non_null(strstr(name_of("192.168.1.7", "192.168.1.9"),
	    " 02:00:00:00:00:09"));
}

/* Without a gateway that is known, or a route, there is still a name. */
static void
a_name_may_be_short(void **state)
{
	need_a_namespace(state);
	assert_null(strchr(name_of("192.168.1.7", "203.0.113.1"), ':'));
	assert_true(ip("route del default via 192.168.1.1\n"));
	assert_string_equal(name_of("192.168.1.7", "203.0.113.1"),
	    "192.168.1.7 0");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(gateways_tell_networks_apart, begin),
		cmocka_unit_test_setup(a_prefix_is_one_network, begin),
		cmocka_unit_test_setup(an_edge_may_be_a_neighbour, begin),
		cmocka_unit_test_setup(a_name_may_be_short, begin),
	};

	return cmocka_run_group_tests_name("network_name", tests, NULL, NULL);
}
