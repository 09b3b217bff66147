#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "proxy/local/upstream/netlink.h"
#include "proxy/local/upstream/suspend.h"

/*
 * The kernel's events about changes, and how long a machine has slept.
 */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define S UINT64_C(1000000000) /* ns */

/* Messages as the kernel lays them out, one after another. */
struct messages {
	uint8_t data[4096];
	size_t len;
};

static void
append(struct messages *m, const void *data, size_t len)
{
	memcpy(m->data + m->len, data, len);
	m->len += NLMSG_ALIGN(len);
}

/* One message; an attribute of that type at its end, unless it is 0. */
static void
add(struct messages *m, unsigned type, const void *payload, size_t len,
    unsigned short attribute)
{
	struct rtattr attr = { sizeof(attr) + 4, attribute };
	struct nlmsghdr header = { .nlmsg_type = (uint16_t)type };
	uint32_t zero = 0;

	header.nlmsg_len = (uint32_t)(NLMSG_LENGTH(len) +
	    (attribute != 0 ? sizeof(attr) + sizeof(zero) : 0));
	append(m, &header, sizeof(header));
	append(m, payload, len);
	if (attribute == 0)
		return;
	append(m, &attr, sizeof(attr));
	append(m, &zero, sizeof(zero));
}

static bool
matters(unsigned type, const void *payload, size_t len,
    unsigned short attribute)
{
	struct messages m = { .len = 0 };

	add(&m, type, payload, len, attribute);
	return netlink_matters(m.data, m.len);
}

static void
changes_matter(void **state)
{
	static const unsigned types[] = { RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR,
		RTM_DELADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWRULE,
		RTM_DELRULE, NLMSG_OVERRUN };
	static const uint8_t zeros[32];

	(void)state;
	for (size_t i = 0; i < COUNT(types); i++)
		assert_true(matters(types[i], zeros, sizeof(zeros), 0));
	assert_false(matters(RTM_NEWNEIGH, zeros, sizeof(zeros), 0));
	assert_false(matters(NLMSG_DONE, zeros, sizeof(zeros), 0));
}

static void
radio_events_and_cached_routes_do_not(void **state)
{
	struct ifinfomsg link = { 0 };
	struct rtmsg route = { .rtm_flags = RTM_F_CLONED };

	(void)state;
	assert_true(matters(RTM_NEWLINK, &link, sizeof(link), IFLA_MTU));
	assert_false(matters(RTM_NEWLINK, &link, sizeof(link), IFLA_WIRELESS));
	assert_true(matters(RTM_DELLINK, &link, sizeof(link), IFLA_WIRELESS));
	assert_false(matters(RTM_NEWROUTE, &route, sizeof(route), 0));
	assert_false(matters(RTM_DELROUTE, &route, sizeof(route), 0));
}

/* It may come behind messages that do not matter. */
static void
every_message_is_checked(void **state)
{
	struct messages m = { .len = 0 };
	static const uint8_t zeros[13];

	(void)state;
	for (int i = 0; i < 50; i++)
		add(&m, RTM_NEWNEIGH, zeros, sizeof(zeros), 0);
	assert_false(netlink_matters(m.data, m.len));
	add(&m, RTM_NEWADDR, zeros, sizeof(zeros), 0);
	assert_true(netlink_matters(m.data, m.len));
}

/* Any length in a header, and any end: the sanitizers look on. */
static void
malformed_messages_are_harmless(void **state)
{
	struct ifinfomsg link = { 0 };
	struct messages m = { .len = 0 };
	uint8_t exact[4096];

	(void)state;
	add(&m, RTM_NEWNEIGH, &link, sizeof(link), IFLA_MTU);
	add(&m, RTM_NEWLINK, &link, sizeof(link), IFLA_MTU);
	for (size_t len = 0; len < m.len; len++) {
		memcpy(exact + sizeof(exact) - len, m.data, len);
		netlink_matters(exact + sizeof(exact) - len, len);
	}
	for (size_t at = 0; at < m.len; at++)
		for (unsigned byte = 0; byte < 256; byte++) {
			struct messages spoilt = m;

			spoilt.data[at] = (uint8_t)byte;
			netlink_matters(spoilt.data, spoilt.len);
		}
	memset(&m, 0, sizeof(m));
	assert_false(netlink_matters(m.data, sizeof(m.data)));
	memset(&m, 0xff, sizeof(m));
	assert_false(netlink_matters(m.data, sizeof(m.data)));
}

/* ---- The kernel itself ---- */

static void
on_changed(void *arg)
{
	(void)arg;
}

/* Opening and closing leaves nothing behind: the loop ends. */
static void
it_opens_and_closes(void **state)
{
	struct netlink *network;
	struct suspend *suspend;
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(netlink_new(&network, &loop, on_changed, NULL), 0);
	assert_int_equal(suspend_new(&suspend, &loop, NULL, NULL), 0);
	uv_run(&loop, UV_RUN_NOWAIT);
	netlink_free(network);
	suspend_free(suspend);
	netlink_free(NULL);
	suspend_free(NULL);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
}

/* A network namespace of its own, for changes at will. */
#define BURST 3000	/* changes: more than a socket's buffer holds */
#define PATIENCE_S 10	/* seconds: then the child is killed */
#define NO_NAMESPACE 77 /* exit status of the child */

static void
change(int fd, int mtu)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_mtu = mtu };

	if (ioctl(fd, SIOCSIFMTU, &request) != 0)
		_exit(2);
}

static void
count(void *arg)
{
	++*(int *)arg;
}

/*
 * The child's part; a loop that ends too early or not at all has lost a change.
 */
static void
overrun(void)
{
	struct netlink *network;
	int fd, seen = 0;
	uv_loop_t loop;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		_exit(NO_NAMESPACE);
	alarm(PATIENCE_S);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || uv_loop_init(&loop) != 0 ||
	    netlink_new(&network, &loop, count, &seen) != 0)
		_exit(2);
	for (int i = 0; i < BURST; i++)
		change(fd, 1400 + i % 2);
	while (seen == 0)
		uv_run(&loop, UV_RUN_ONCE);
	while (uv_run(&loop, UV_RUN_NOWAIT) != 0 && seen == 1)
		change(fd, 1300);
	_exit(seen == 2 ? 0 : 1);
}

/* More changes than the kernel keeps are one, and not the last one. */
static void
overruns_are_survived(void **state)
{
	int status;
	pid_t child;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		overrun();
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NAMESPACE) {
		fprintf(stderr, "no network namespace may be made here\n");
		skip();
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- Sleep ---- */

static void
sleep_is_the_gap_between_the_clocks(void **state)
{
	uint64_t ahead = 0;

	(void)state;
	assert_int_equal(suspend_gap(&ahead, 150 * S, 50 * S), 100 * S);
	assert_int_equal(suspend_gap(&ahead, 160 * S, 60 * S), 0);
	assert_int_equal(suspend_gap(&ahead, 260 * S, 70 * S), 90 * S);
	assert_int_equal(suspend_gap(&ahead, 261 * S, 71 * S), 0);
}

/* Between the two readings time passes; short sleeps add up. */
static void
short_gaps_are_no_sleep(void **state)
{
	uint64_t ahead = 0;

	(void)state;
	assert_int_equal(suspend_gap(&ahead, 100 * S, 50 * S), 50 * S);
	assert_int_equal(suspend_gap(&ahead, 110 * S + S / 2, 60 * S), 0);
	assert_int_equal(suspend_gap(&ahead, 120 * S, 70 * S + S / 2), 0);
	assert_int_equal(suspend_gap(&ahead, 130 * S + S / 2, 80 * S), 0);
	assert_int_equal(suspend_gap(&ahead, 141 * S, 90 * S), S);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes_matter),
		cmocka_unit_test(radio_events_and_cached_routes_do_not),
		cmocka_unit_test(every_message_is_checked),
		cmocka_unit_test(malformed_messages_are_harmless),
		cmocka_unit_test(it_opens_and_closes),
		cmocka_unit_test(overruns_are_survived),
		cmocka_unit_test(sleep_is_the_gap_between_the_clocks),
		cmocka_unit_test(short_gaps_are_no_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
