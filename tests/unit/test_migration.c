#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/addr.h"
#include "proxy/local/upstream/migration.h"
#include "proxy/base/log.h"

/*
 * What migration.c does after each event, and when. This file takes the place
 * of the network, the connection, the loop and its clock: migration.o is linked
 * with nothing else.
 */

#define HERE "192.0.2.1"
#define THERE "198.51.100.1"
#define IDLE_S 30

static struct {
	/* The stage. */
	uint64_t now;	   /* milliseconds */
	const char *route; /* the kernel's choice of address; NULL: none */
	bool stranded;
	int migrate_error;
	struct quic_path path; /* in use */
	struct quic_stats stats;

	/* What migration.c does, as text. */
	uv_timer_t *timer;
	uint64_t due; /* UINT64_MAX: it is stopped */
	unsigned looks, pings, reprobes, moves, moves_at_once, tidies;
	unsigned given_up, left_behind;
	char why[QUIC_ERROR_MAX];
} s;

static struct migration *m;

static struct sockaddr_storage
address(const char *text)
{
	struct sockaddr_storage ss = { .ss_family = AF_INET };

	inet_pton(AF_INET, text, &((struct sockaddr_in *)&ss)->sin_addr);
	return ss;
}

/* ---- Functions that migration.c calls ---- */

void
log_info(const char *fmt, ...)
{
	(void)fmt;
}

void
log_debug(const char *fmt, ...)
{
	(void)fmt;
}

const char *
addr_format(const struct sockaddr *addr, char buf[ADDR_STRLEN])
{
	(void)addr;
	return strcpy(buf, "address");
}

uint64_t
uv_now(const uv_loop_t *loop)
{
	(void)loop;
	return s.now;
}

int
uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
	(void)loop;
	s.timer = timer;
	s.due = UINT64_MAX;
	return 0;
}

int
uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t timeout,
    uint64_t repeat)
{
	assert_int_equal(repeat, 0);
	timer->timer_cb = callback;
	s.due = s.now + timeout;
	return 0;
}

int
uv_timer_stop(uv_timer_t *timer)
{
	(void)timer;
	s.due = UINT64_MAX;
	return 0;
}

void
uv_close(uv_handle_t *handle, uv_close_cb callback)
{
	s.due = UINT64_MAX;
	callback(handle);
}

uint64_t
quic_io_now(void)
{
	return s.now * 1000000;
}

const struct quic_via *
quic_io_via(const struct quic_io *io)
{
	(void)io;
	return NULL;
}

const char *
quic_via_error(const struct quic_via *via, int error, char text[QUIC_ERROR_MAX])
{
	(void)via, (void)error;
	return strcpy(text, "error");
}

int
quic_io_new_path(const struct quic_io *io, struct quic_path *path)
{
	(void)io;
	s.looks++;
	if (s.route == NULL)
		return -ENETUNREACH;
	path->local = address(s.route);
	return 0;
}

bool
quic_io_path_is_down(const struct quic_io *io)
{
	(void)io;
	return s.stranded;
}

int
quic_io_migrate(struct quic_io *io, bool at_once)
{
	(void)io;
	if (s.migrate_error != 0)
		return s.migrate_error;
	s.moves++;
	s.moves_at_once += at_once;
	if (at_once) {
		s.path.local = address(s.route);
		s.stranded = false;
	}
	return 0;
}

void
quic_io_close_unused(struct quic_io *io)
{
	(void)io;
	s.tidies++;
}

const struct quic_path *
quic_conn_path(const struct quic_conn *conn)
{
	(void)conn;
	return &s.path;
}

void
quic_conn_stats(const struct quic_conn *conn, struct quic_stats *stats)
{
	(void)conn;
	*stats = s.stats;
}

uint64_t
quic_conn_idle_ns(const struct quic_conn *conn)
{
	(void)conn;
	return IDLE_S * UINT64_C(1000000000);
}

void
quic_conn_ping(struct quic_conn *conn)
{
	(void)conn;
	s.pings++;
}

void
quic_conn_reprobe(struct quic_conn *conn, uint64_t now)
{
	(void)conn, (void)now;
	s.reprobes++;
}

/* ---- The play ---- */

static void
on_gave_up(void *arg, const char *why)
{
	assert_ptr_equal(arg, &s);
	s.given_up++;
	snprintf(s.why, sizeof(s.why), "%s", why);
}

static void
on_left_behind(void *arg)
{
	assert_ptr_equal(arg, &s);
	s.left_behind++;
}

static const struct migration_events events = {
	.gave_up = on_gave_up,
	.left_behind = on_left_behind,
};

static int
setup(void **state)
{
	(void)state;
	memset(&s, 0, sizeof(s));
	s.now = 1000000;
	s.route = HERE;
	s.path.local = address(HERE);
	s.stats.rtt_ns = 50 * UINT64_C(1000000);
	return migration_new(&m, NULL, NULL, NULL, &events, &s);
}

static int
teardown(void **state)
{
	(void)state;
	migration_free(m);
	return 0;
}

/* Moves the clock, and fires the timer whenever it is due. */
static void
pass(uint64_t ms)
{
	uint64_t end = s.now + ms;

	while (s.due <= end) {
		assert_true(s.due >= s.now);
		s.now = s.due;
		s.due = UINT64_MAX;
		s.timer->timer_cb(s.timer);
	}
	s.now = end;
}

/* The edge answers from there. */
static void
arrive(void)
{
	s.path.local = address(s.route);
	s.stats.packets_received++;
	migration_migrated(m, true);
}

static void
without_events_no_timer_runs(void **state)
{
	(void)state;
	pass(3600 * 1000);
	assert_int_equal(s.looks, 0);
}

static void
a_change_of_another_network_is_checked(void **state)
{
	(void)state;
	migration_network_changed(m);
	assert_int_equal(s.looks, 0); /* not from inside the call */
	pass(0);
	assert_int_equal(s.looks, 1);
	assert_int_equal(s.pings, 1);
	assert_int_equal(s.reprobes, 1);
	assert_int_equal(s.moves, 0);
	pass(3600 * 1000);
	assert_int_equal(s.looks, 1);
}

static void
a_better_network_is_validated_first(void **state)
{
	(void)state;
	s.route = THERE;
	migration_network_changed(m);
	pass(0);
	assert_int_equal(s.moves, 1);
	assert_int_equal(s.moves_at_once, 0);
	migration_network_changed(m); /* that is known */
	pass(1000);
	assert_int_equal(s.moves, 1);
	arrive();
	assert_int_equal(s.tidies, 0); /* packets are still under way */
	pass(10 * 1000);
	assert_int_equal(s.tidies, 1);
	assert_int_equal(s.moves, 1);
}

static void
it_leaves_a_lost_network_at_once(void **state)
{
	(void)state;
	s.route = THERE;
	s.stranded = true;
	migration_network_changed(m);
	pass(0);
	assert_int_equal(s.moves_at_once, 1);
	arrive();
	pass(10 * 1000);
	assert_int_equal(s.moves, 1);
}

/* The address is the same, and the interface is another one. */
static void
an_address_may_have_moved(void **state)
{
	(void)state;
	s.stranded = true;
	migration_network_changed(m);
	pass(0);
	assert_int_equal(s.moves_at_once, 1);
}

static void
the_old_network_may_go_during_validation(void **state)
{
	(void)state;
	s.route = THERE;
	migration_network_changed(m);
	pass(100);
	s.stranded = true;
	migration_network_changed(m);
	pass(1000);
	assert_int_equal(s.moves, 2);
	assert_int_equal(s.moves_at_once, 1);
}

static void
a_better_network_that_fails_is_tried_later(void **state)
{
	(void)state;
	s.route = THERE;
	migration_network_changed(m);
	for (unsigned i = 1; i <= 10; i++) {
		pass(3000);
		migration_migrated(m, false);
		pass(i < 7 ? (UINT64_C(1000) << (i - 1)) - 1 : 59999);
		assert_int_equal(s.moves, i);
		pass(1);
		assert_int_equal(s.moves, i + 1);
	}
}

static void
the_only_network_is_tried_again_at_once(void **state)
{
	(void)state;
	s.route = THERE;
	s.stranded = true;
	migration_network_changed(m);
	pass(3000);
	migration_migrated(m, false);
	pass(0);
	assert_int_equal(s.pings, 0);
	assert_int_equal(s.looks, 2);
}

/* The edge needs a moment to give new connection IDs. */
static void
moves_keep_an_interval(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		s.route = i % 2 == 0 ? THERE : HERE;
		s.stranded = true;
		migration_network_changed(m);
		pass(20);
	}
	assert_int_equal(s.moves, 1);
	s.moves = 0;
	s.stats.rtt_ns = 600 * UINT64_C(1000000);
	for (int i = 0; i < 10; i++) {
		s.stranded = true;
		s.route = i % 2 == 0 ? THERE : HERE;
		migration_network_changed(m);
		pass(900);
		if (s.moves > 0)
			arrive();
	}
	assert_in_range(s.moves, 4, 6);
}

static void
without_a_route_it_waits(void **state)
{
	(void)state;
	s.route = NULL;
	s.stranded = true;
	migration_network_changed(m);
	pass(60 * 1000);
	assert_int_equal(s.moves, 0);
	assert_int_equal(s.given_up, 0);
	s.route = THERE; /* without an event */
	pass(1000);
	assert_int_equal(s.moves_at_once, 1);
}

/* ---- Silence ---- */

static void
silence_leads_to_ping_new_port_and_end(void **state)
{
	(void)state;
	migration_silent(m);
	pass(0);
	assert_int_equal(s.pings, 1);
	pass(1999);
	assert_int_equal(s.moves, 0);
	pass(1);
	assert_int_equal(s.moves, 1);
	assert_int_equal(s.moves_at_once, 0);
	pass(11 * 1000);
	assert_int_equal(s.given_up, 0);
	pass(2 * 1000);
	assert_int_equal(s.given_up, 1);
	assert_string_equal(s.why, "the edge is silent");
	pass(60 * 1000);
	migration_silent(m);
	migration_network_changed(m);
	migration_migrated(m, true);
	migration_resumed(m, UINT64_MAX);
	pass(60 * 1000);
	assert_int_equal(s.given_up, 1);
	assert_int_equal(s.moves, 1);
}

static void
a_packet_ends_the_silence(void **state)
{
	(void)state;
	migration_silent(m);
	pass(1500);
	s.stats.packets_received++;
	pass(60 * 1000);
	assert_int_equal(s.moves, 0);
	assert_int_equal(s.given_up, 0);
	assert_int_equal(s.looks, 2);
}

static void
a_new_port_ends_the_silence(void **state)
{
	(void)state;
	migration_silent(m);
	pass(2100);
	assert_int_equal(s.moves, 1);
	arrive();
	pass(60 * 1000);
	assert_int_equal(s.given_up, 0);
	assert_int_equal(s.moves, 1);
	assert_int_equal(s.tidies, 1);
}

/* The edge answers elsewhere, so it is this port. */
static void
a_new_port_is_tried_at_once_if_the_edge_answers(void **state)
{
	(void)state;
	migration_edge_answers(m);
	pass(100);
	assert_int_equal(s.looks, 0);
	migration_silent(m);
	pass(100);
	assert_int_equal(s.moves, 0);
	migration_edge_answers(m);
	pass(0);
	assert_int_equal(s.moves, 1);
	arrive();
	migration_silent(m);
	pass(1999);
	assert_int_equal(s.moves, 1);
	pass(1);
	assert_int_equal(s.moves, 2);
}

static void
one_new_port_after_another(void **state)
{
	(void)state;
	migration_silent(m);
	pass(2100);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(s.moves, i);
		pass(3000);
		migration_migrated(m, false);
		pass(10);
	}
	assert_int_equal(s.given_up, 0);
	pass(3000);
	assert_int_equal(s.given_up, 1);
}

/* The time without a network is not the edge's silence. */
static void
silence_does_not_count_without_a_route(void **state)
{
	(void)state;
	s.route = NULL;
	migration_silent(m);
	pass(25 * 1000);
	s.route = HERE;
	pass(5 * 1000);
	assert_int_equal(s.given_up, 0);
	assert_int_equal(s.moves, 1);
}

static void
silence_checks_the_network_without_an_event(void **state)
{
	(void)state;
	s.route = THERE;
	s.stranded = true;
	migration_silent(m);
	pass(0);
	assert_int_equal(s.moves_at_once, 1);
}

/* ---- Sleep, and edges that will not have it ---- */

static void
a_short_sleep_is_a_change(void **state)
{
	(void)state;
	migration_resumed(m, (IDLE_S - 1) * UINT64_C(1000000000));
	pass(0);
	assert_int_equal(s.pings, 1);
	assert_int_equal(s.given_up, 0);
}

static void
a_long_sleep_is_the_end(void **state)
{
	(void)state;
	migration_resumed(m, 95 * UINT64_C(1000000000));
	assert_int_equal(s.given_up, 1);
	assert_string_equal(s.why,
	    "this machine slept for 95 s, "
	    "longer than the idle time-out");
}

/* The old network is kept while there is one. */
static void
an_edge_may_forbid_it(void **state)
{
	(void)state;
	s.route = THERE;
	s.migrate_error = -EPERM;
	migration_network_changed(m);
	pass(0);
	assert_int_equal(s.left_behind, 1);
	migration_network_changed(m);
	pass(60 * 1000);
	assert_int_equal(s.left_behind, 1);
	assert_int_equal(s.given_up, 0);
	s.stranded = true;
	migration_network_changed(m);
	pass(0);
	assert_int_equal(s.given_up, 1);
	assert_string_equal(s.why,
	    "the network has changed, and "
	    "the edge does not support connection migration");
}

/* A fresh port is a move, too; without it there is only waiting. */
static void
forbidden_moves_do_not_end_a_silence(void **state)
{
	(void)state;
	s.migrate_error = -EPERM;
	migration_silent(m);
	pass(13 * 1000);
	assert_int_equal(s.left_behind, 0);
	assert_int_equal(s.given_up, 0);
	pass(2 * 1000);
	assert_int_equal(s.given_up, 1);
	assert_string_equal(s.why, "the edge is silent");
}

static void
a_handshake_is_not_migrated(void **state)
{
	(void)state;
	s.route = THERE;
	s.migrate_error = -ENOTCONN;
	migration_network_changed(m);
	pass(0);
	assert_int_equal(s.given_up, 1);
}

static void
a_move_that_cannot_begin_is_retried(void **state)
{
	(void)state;
	s.route = THERE;
	s.migrate_error = -EAGAIN;
	migration_network_changed(m);
	pass(120);
	assert_int_equal(s.looks, 3);
	s.migrate_error = 0;
	pass(50);
	assert_int_equal(s.moves, 1);
}

static void
null_is_a_no_op(void **state)
{
	(void)state;
	migration_network_changed(NULL);
	migration_resumed(NULL, 1);
	migration_silent(NULL);
	migration_edge_answers(NULL);
	migration_migrated(NULL, true);
	migration_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_events_no_timer_runs),
		TEST(a_change_of_another_network_is_checked),
		TEST(a_better_network_is_validated_first),
		TEST(it_leaves_a_lost_network_at_once),
		TEST(an_address_may_have_moved),
		TEST(the_old_network_may_go_during_validation),
		TEST(a_better_network_that_fails_is_tried_later),
		TEST(the_only_network_is_tried_again_at_once),
		TEST(moves_keep_an_interval),
		TEST(without_a_route_it_waits),
		TEST(silence_leads_to_ping_new_port_and_end),
		TEST(a_packet_ends_the_silence),
		TEST(a_new_port_ends_the_silence),
		TEST(a_new_port_is_tried_at_once_if_the_edge_answers),
		TEST(one_new_port_after_another),
		TEST(silence_does_not_count_without_a_route),
		TEST(silence_checks_the_network_without_an_event),
		TEST(a_short_sleep_is_a_change),
		TEST(a_long_sleep_is_the_end),
		TEST(an_edge_may_forbid_it),
		TEST(forbidden_moves_do_not_end_a_silence),
		TEST(a_handshake_is_not_migrated),
		TEST(a_move_that_cannot_begin_is_retried),
		TEST(null_is_a_no_op),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
