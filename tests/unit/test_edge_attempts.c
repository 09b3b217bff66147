#include <errno.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/local/upstream/edge_attempts.h"

/*
 * Attempts without a network: this file takes the place of name servers,
 * connections and time.
 */

#define CONNECTIONS_MAX 16
#define START 1000

static struct edge_attempts e;
static struct connection_context context;
static const struct target edge = { "edge.example", 443 };
static uint64_t now, at;
static unsigned changes;

/* Attempts in the order in which they were made. */
static struct connection *connections[CONNECTIONS_MAX];
static char tried[CONNECTIONS_MAX][ADDR_STRLEN];
static bool closed[CONNECTIONS_MAX];
static unsigned nconnections;
static const char *unreachable; /* an address without a route */

/* The name that is being resolved. */
static uv_getaddrinfo_t *lookup;
static uv_getaddrinfo_cb looked_up;
static unsigned lookups, cancelled;

int
connection_new(struct connection **out, struct connection_context *shared,
    struct quic_tls *tls, const char *name, const struct sockaddr *addr)
{
	struct connection *c;

	assert_ptr_equal(shared, &context);
	assert_null(tls);
	assert_string_equal(name, "edge.example");
	assert_true(nconnections < CONNECTIONS_MAX);
	addr_format(addr, tried[nconnections]);
	if (unreachable != NULL &&
	    strcmp(tried[nconnections], unreachable) == 0)
		return -ENETUNREACH;
	c = calloc(1, sizeof(*c));
	strcpy(c->address, tried[nconnections]);
	connections[nconnections++] = *out = c;
	return 0;
}

void
connection_free(struct connection *c)
{
	for (unsigned i = 0; i < nconnections; i++)
		if (connections[i] == c)
			closed[i] = true;
}

int
uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *request,
    uv_getaddrinfo_cb callback, const char *node, const char *service,
    const struct addrinfo *hints)
{
	(void)loop;
	assert_null(lookup);
	assert_string_equal(node, "edge.example");
	assert_string_equal(service, "443");
	assert_int_equal(hints->ai_family, AF_UNSPEC);
	lookup = request;
	looked_up = callback;
	lookups++;
	return 0;
}

void
uv_freeaddrinfo(struct addrinfo *list)
{
	(void)list;
}

int
uv_cancel(uv_req_t *request)
{
	assert_ptr_equal(request, lookup);
	cancelled++;
	return 0;
}

static void
on_changed(void *arg)
{
	assert_ptr_equal(arg, &e);
	changes++;
}

/* The name servers answer: addresses, separated by one blank, or nothing. */
static void
answer(int status, const char *addresses)
{
	struct sockaddr_storage addrs[CONNECTIONS_MAX];
	struct addrinfo list[CONNECTIONS_MAX] = { 0 };
	char copy[512], *word, *rest = copy;
	uv_getaddrinfo_t *request = lookup;
	size_t n = 0;

	strcpy(copy, addresses);
	while (addresses[0] != '\0' && (word = strsep(&rest, " ")) != NULL) {
		assert_int_equal(addr_parse(&addrs[n], word), 0);
		list[n].ai_addr = (struct sockaddr *)&addrs[n];
		list[n].ai_family = addrs[n].ss_family;
		list[n].ai_addrlen = addr_len(list[n].ai_addr);
		if (n > 0)
			list[n - 1].ai_next = &list[n];
		n++;
	}
	assert_non_null(request);
	lookup = NULL;
	looked_up(request, status, n > 0 ? list : NULL);
}

static enum edge_attempts_result
step(void)
{
	at = UINT64_MAX;
	return edge_attempts_step(&e, now, &at);
}

/* Starts with these addresses; the first attempt is under way. */
static void
begin_with(const char *addresses)
{
	edge_attempts_start(&e, now);
	answer(0, addresses);
	assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
}

static void
fail_attempt(unsigned i, const char *why, bool permanent)
{
	connections[i]->state = CONNECTION_CLOSED;
	connections[i]->permanent = permanent;
	strcpy(connections[i]->why, why);
}

static void
arrive(unsigned i)
{
	connections[i]->state = CONNECTION_UP;
	connections[i]->was_up = true;
}

static int
setup(void **state)
{
	(void)state;
	nconnections = lookups = cancelled = changes = 0;
	unreachable = NULL;
	lookup = NULL;
	now = START;
	memset(closed, 0, sizeof(closed));
	context = (struct connection_context){ .changed = on_changed,
		.arg = &e };
	edge_attempts_init(&e, &context, &edge, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	edge_attempts_fini(&e);
	for (unsigned i = 0; i < nconnections; i++)
		free(connections[i]);
	return 0;
}

static unsigned
count_closed(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nconnections; i++)
		n += closed[i];
	return n;
}

/* ---- Order and time ---- */

static void
families_take_turns_and_ipv6_is_first(void **state)
{
	static const char *const order[] = { "[2001:db8::1]:443",
		"192.0.2.1:443", "[2001:db8::2]:443", "192.0.2.2:443",
		"192.0.2.3:443" };

	(void)state;
	assert_int_equal(step(), EDGE_ATTEMPTS_IDLE);
	edge_attempts_start(&e, now);
	assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
	assert_int_equal(nconnections, 0);
	answer(0,
	    "192.0.2.1:443 192.0.2.2:443 [2001:db8::1]:443 "
	    "192.0.2.3:443 [2001:db8::2]:443");
	assert_int_equal(changes, 1);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
		assert_int_equal(nconnections, i + 1);
		assert_string_equal(tried[i], order[i]);
		assert_int_equal(at, i < 4 ? now + 250 : UINT64_MAX);
		now += 249;
		assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
		assert_int_equal(nconnections, i + 1);
		now++;
	}
	assert_int_equal(count_closed(), 0);
}

static void
no_more_than_eight_and_each_once(void **state)
{
	(void)state;
	begin_with(
	    "192.0.2.1:1 192.0.2.1:1 192.0.2.2:1 192.0.2.3:1 "
	    "192.0.2.4:1 192.0.2.5:1 192.0.2.6:1 192.0.2.7:1 192.0.2.8:1 "
	    "192.0.2.9:1");
	for (int i = 0; i < 20; i++) {
		now += 250;
		step();
	}
	assert_int_equal(nconnections, EDGE_ATTEMPTS_ADDRESSES_MAX);
	assert_string_equal(tried[1], "192.0.2.2:1");
}

static void
a_failure_starts_the_next_attempt(void **state)
{
	(void)state;
	begin_with("[::1]:1 192.0.2.1:1 [::2]:1");
	now += 10;
	fail_attempt(0, "no answer", false);
	assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
	assert_true(closed[0]);
	assert_string_equal(tried[1], "192.0.2.1:1");
	assert_int_equal(at, now + 250);
}

static void
an_address_without_a_route_takes_no_time(void **state)
{
	(void)state;
	unreachable = "[::1]:1";
	begin_with("[::1]:1 192.0.2.1:1");
	assert_int_equal(nconnections, 1);
	assert_string_equal(connections[0]->address, "192.0.2.1:1");
	fail_attempt(0, "no answer", false);
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	assert_int_equal(step(), EDGE_ATTEMPTS_IDLE);
}

/* ---- Ends ---- */

static void
the_first_handshake_wins(void **state)
{
	(void)state;
	begin_with("[::1]:1 192.0.2.1:1 [::2]:1");
	now += 250;
	step();
	arrive(1);
	assert_int_equal(step(), EDGE_ATTEMPTS_CONNECTED);
	assert_ptr_equal(e.winner, connections[1]);
	assert_true(closed[0] && !closed[1]);
	assert_int_equal(nconnections, 2);
	assert_int_equal(step(), EDGE_ATTEMPTS_IDLE);
	edge_attempts_stop(&e);
	assert_false(closed[1]);
}

static void
a_connection_that_drains_at_once_wins(void **state)
{
	(void)state;
	begin_with("[::1]:1");
	arrive(0);
	connections[0]->state = CONNECTION_DRAINING;
	assert_int_equal(step(), EDGE_ATTEMPTS_CONNECTED);
}

static void
a_permanent_reason_is_kept(void **state)
{
	(void)state;
	begin_with("[::1]:1 192.0.2.1:1");
	now += 250;
	step();
	fail_attempt(0, "the certificate has expired", true);
	step();
	fail_attempt(1, "no answer", false);
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	assert_true(e.permanent);
	assert_string_equal(e.why,
	    "edge edge.example:443 ([::1]:1): "
	    "the certificate has expired");
	edge_attempts_start(&e, now);
	answer(0, "192.0.2.1:1");
	step();
	fail_attempt(2, "no answer", false);
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	assert_false(e.permanent);
	assert_string_equal(e.why,
	    "edge edge.example:443 (192.0.2.1:1): "
	    "no answer");
}

/* An address that worked before is tried first. */
static void
an_edge_that_worked_before_restarts(void **state)
{
	static const char why[] = "the server does not speak QUIC version 1";

	(void)state;
	begin_with("192.0.2.1:1");
	fail_attempt(0, why, true);
	connections[0]->no_h3 = true;
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	assert_true(e.permanent);
	assert_string_equal(e.why,
	    "edge edge.example:443 (192.0.2.1:1): "
	    "the server does not speak QUIC version 1");
	begin_with("192.0.2.1:1");
	arrive(1);
	assert_int_equal(step(), EDGE_ATTEMPTS_CONNECTED);
	begin_with("192.0.2.1:1");
	fail_attempt(2, why, true);
	connections[2]->no_h3 = true;
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	assert_false(e.permanent);
	assert_non_null(strstr(e.why, "it may be restarting"));
	begin_with("192.0.2.1:1");
	fail_attempt(3, "the certificate has expired", true);
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	assert_true(e.permanent);
}

static void
a_name_that_is_not_known(void **state)
{
	(void)state;
	edge_attempts_start(&e, now);
	answer(UV_EAI_NONAME, "");
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	assert_non_null(strstr(e.why,
	    "edge edge.example:443: the name does not resolve ("));
	edge_attempts_start(&e, now);
	answer(0, "");
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	assert_non_null(strstr(e.why, "the name does not resolve ("));
}

static void
stopping_drops_all_attempts(void **state)
{
	(void)state;
	begin_with("[::1]:1 192.0.2.1:1");
	now += 250;
	step();
	edge_attempts_stop(&e);
	assert_int_equal(count_closed(), 2);
	assert_int_equal(step(), EDGE_ATTEMPTS_IDLE);
	edge_attempts_start(&e, now);
	edge_attempts_fini(&e);
	assert_int_equal(cancelled, 1);
	assert_true(e.resolving);
	answer(UV_ECANCELED, "");
	assert_false(e.resolving);
	assert_int_equal(step(), EDGE_ATTEMPTS_IDLE);
}

/* ---- Look-ups that do not end ---- */

static void
earlier_addresses_are_used_if_name_servers_are_slow(void **state)
{
	(void)state;
	begin_with("192.0.2.1:1");
	fail_attempt(0, "no answer", false);
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	now += 250;
	edge_attempts_start(&e, now);
	assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
	assert_int_equal(at, now + 300);
	now = at;
	assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
	assert_int_equal(nconnections, 2);
	assert_string_equal(tried[1], "192.0.2.1:1");
	/* Their later results are ignored. */
	answer(0, "192.0.2.2:1 192.0.2.1:1");
	now += 250;
	assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
	assert_int_equal(nconnections, 3);
	assert_string_equal(tried[2], "192.0.2.2:1");
	assert_int_equal(at, UINT64_MAX);
}

static void
it_does_not_fail_while_resolving(void **state)
{
	(void)state;
	begin_with("192.0.2.1:1");
	fail_attempt(0, "no answer", false);
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
	edge_attempts_start(&e, now);
	now += 300;
	step();
	fail_attempt(1, "no answer", false);
	assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
	answer(UV_EAI_AGAIN, "");
	assert_int_equal(step(), EDGE_ATTEMPTS_FAILED);
}

static void
earlier_addresses_are_used_if_there_are_none(void **state)
{
	(void)state;
	begin_with("192.0.2.1:1");
	edge_attempts_stop(&e);
	edge_attempts_start(&e, now);
	answer(UV_EAI_AGAIN, "");
	assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
	assert_int_equal(nconnections, 2);
	assert_string_equal(tried[1], "192.0.2.1:1");
}

static void
fresh_addresses_replace_the_earlier_ones(void **state)
{
	(void)state;
	begin_with("192.0.2.1:1 192.0.2.2:1");
	edge_attempts_stop(&e);
	begin_with("192.0.2.3:1");
	assert_string_equal(tried[1], "192.0.2.3:1");
	assert_int_equal(at, UINT64_MAX);
}

/* A look-up that outlasts a stop serves the next start. */
static void
one_name_is_resolved_at_a_time(void **state)
{
	(void)state;
	edge_attempts_start(&e, now);
	edge_attempts_stop(&e);
	edge_attempts_start(&e, now);
	assert_int_equal(lookups, 1);
	answer(0, "192.0.2.1:1");
	assert_int_equal(step(), EDGE_ATTEMPTS_RUNNING);
	assert_int_equal(nconnections, 1);
}

/* The name resolves although it was too late to cancel that. */
static void
addresses_after_the_end_are_not_kept(void **state)
{
	(void)state;
	edge_attempts_start(&e, now);
	edge_attempts_fini(&e);
	assert_int_equal(cancelled, 1);
	answer(0, "192.0.2.1:1");
	assert_int_equal(e.addresses.n, 0);
	assert_int_equal(changes, 1);
}

#define EDGE_ATTEMPTS_TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		EDGE_ATTEMPTS_TEST(families_take_turns_and_ipv6_is_first),
		EDGE_ATTEMPTS_TEST(no_more_than_eight_and_each_once),
		EDGE_ATTEMPTS_TEST(a_failure_starts_the_next_attempt),
		EDGE_ATTEMPTS_TEST(an_address_without_a_route_takes_no_time),
		EDGE_ATTEMPTS_TEST(the_first_handshake_wins),
		EDGE_ATTEMPTS_TEST(a_connection_that_drains_at_once_wins),
		EDGE_ATTEMPTS_TEST(a_permanent_reason_is_kept),
		EDGE_ATTEMPTS_TEST(an_edge_that_worked_before_restarts),
		EDGE_ATTEMPTS_TEST(a_name_that_is_not_known),
		EDGE_ATTEMPTS_TEST(stopping_drops_all_attempts),
		EDGE_ATTEMPTS_TEST(
		    earlier_addresses_are_used_if_name_servers_are_slow),
		EDGE_ATTEMPTS_TEST(it_does_not_fail_while_resolving),
		EDGE_ATTEMPTS_TEST(
		    earlier_addresses_are_used_if_there_are_none),
		EDGE_ATTEMPTS_TEST(fresh_addresses_replace_the_earlier_ones),
		EDGE_ATTEMPTS_TEST(one_name_is_resolved_at_a_time),
		EDGE_ATTEMPTS_TEST(addresses_after_the_end_are_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
