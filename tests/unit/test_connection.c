#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/local/upstream/connection.h"
#include "proxy/local/upstream/migration.h"
#include "proxy/base/log.h"
#include "quic/io.h"

/*
 * One connection without a network: this file takes the place of the QUIC
 * connection under it, and decides what that has received.
 */

#define START 1000 /* milliseconds */

static struct connection_context context;
static struct connection *c;
static unsigned changes;

static struct quic_pulse pulse;
static const struct quic_events *events;
static void *events_arg, *unreachable_arg;
static void (*unreachable)(void *arg, int error);
static struct quic_conn *conn = (struct quic_conn *)&pulse;
static struct quic_io *io = (struct quic_io *)&context;
static struct migration *migration = (struct migration *)&changes;
static const struct migration_events *migration_events;
static void *migration_arg;
enum {
	NETLINK_CHANGED = 1,
	RESUMED = 2,
	SILENT = 4,
	MIGRATED = 8,
	NOT_MIGRATED = 16,
	EDGE_ANSWERS = 32
};
static unsigned events_seen; /* by the migration */
static unsigned opened, closed, freed, pings;
static int connect_error;
static char close_reason[64];
static struct quic_settings settings;

int
quic_io_connect(struct quic_io **out, uv_loop_t *loop,
    const struct sockaddr *remote, const struct quic_via *via,
    struct quic_path *path)
{
	(void)loop, (void)remote, (void)via, (void)path;
	if (connect_error != 0)
		return connect_error;
	*out = io;
	opened++;
	return 0;
}

void
quic_io_start(struct quic_io *started, struct quic_conn *of,
    void (*callback)(void *, int), void *arg)
{
	assert_ptr_equal(started, io);
	assert_ptr_equal(of, conn);
	unreachable = callback;
	unreachable_arg = arg;
}

void
quic_io_close(struct quic_io *of)
{
	closed += of != NULL;
}

uint64_t
quic_io_now(void)
{
	return START;
}

int
migration_new(struct migration **out, uv_loop_t *loop, struct quic_io *of,
    struct quic_conn *moving, const struct migration_events *callbacks,
    void *arg)
{
	(void)loop;
	assert_ptr_equal(of, io);
	assert_ptr_equal(moving, conn);
	migration_events = callbacks;
	migration_arg = arg;
	*out = migration;
	return 0;
}

void
migration_free(struct migration *of)
{
	(void)of;
}

void
migration_network_changed(struct migration *of)
{
	assert_ptr_equal(of, migration);
	events_seen |= NETLINK_CHANGED;
}

void
migration_resumed(struct migration *of, uint64_t ns)
{
	assert_ptr_equal(of, migration);
	assert_int_equal(ns, 7);
	events_seen |= RESUMED;
}

void
migration_edge_answers(struct migration *of)
{
	assert_ptr_equal(of, migration);
	events_seen |= EDGE_ANSWERS;
}

void
migration_silent(struct migration *of)
{
	assert_ptr_equal(of, migration);
	events_seen |= SILENT;
}

void
migration_migrated(struct migration *of, bool valid)
{
	assert_ptr_equal(of, migration);
	events_seen |= valid ? MIGRATED : NOT_MIGRATED;
}

int
quic_client_new(struct quic_conn **out, struct quic_tls *tls, const char *name,
    const struct quic_path *path, const struct quic_settings *given,
    const struct quic_events *callbacks, void *arg, uint64_t at)
{
	(void)tls, (void)path, (void)at;
	assert_string_equal(name, "edge.example");
	settings = *given;
	events = callbacks;
	events_arg = arg;
	*out = conn;
	return 0;
}

const struct quic_path *
quic_conn_path(const struct quic_conn *of)
{
	static const struct quic_path path;

	assert_ptr_equal(of, conn);
	return &path;
}

const char *
network_name(const struct quic_path *path, char name[NETWORK_NAME_MAX])
{
	(void)path;
	return strcpy(name, "192.0.2.1 eth0");
}

void
quic_conn_free(struct quic_conn *of)
{
	freed += of != NULL;
}

/* As the real one, where tunnels are few: `closed` fires within the call. */
bool
quic_conn_is_closing(const struct quic_conn *of)
{
	(void)of;
	return false;
}

void
quic_conn_expire(struct quic_conn *of, uint64_t now)
{
	(void)of, (void)now;
	fail();
}

void
quic_conn_close(struct quic_conn *of, uint64_t code, const char *reason,
    uint64_t now)
{
	struct quic_close why = { .cause = QUIC_CLOSED_HERE,
		.application = true,
		.code = code };

	(void)now;
	snprintf(why.text, sizeof(why.text), "%s", reason);
	snprintf(close_reason, sizeof(close_reason), "%s", reason);
	events->closed(of, &why, events_arg);
}

void
quic_conn_stats(const struct quic_conn *of, struct quic_stats *stats)
{
	(void)of;
	memset(stats, 0, sizeof(*stats));
	stats->tls_version = stats->tls_cipher = stats->mtu_cause = "";
}

void
quic_conn_pulse(const struct quic_conn *of, struct quic_pulse *out)
{
	assert_ptr_equal(of, conn);
	*out = pulse;
}

void
quic_conn_ping(struct quic_conn *of)
{
	assert_ptr_equal(of, conn);
	pings++;
}

static void
on_changed(void *arg)
{
	assert_ptr_equal(arg, &context);
	changes++;
}

static int
make(void)
{
	struct sockaddr_storage addr;

	assert_int_equal(addr_parse(&addr, "192.0.2.1:443"), 0);
	return connection_new(&c, &context, NULL, "edge.example",
	    (struct sockaddr *)&addr);
}

static int
setup(void **state)
{
	(void)state;
	log_init("test_connection", LOG_QUIET, LOG_TEXT);
	opened = closed = freed = pings = changes = events_seen = 0;
	connect_error = 0;
	close_reason[0] = '\0';
	pulse = (struct quic_pulse){ .packets_received = 10 };
	context = (struct connection_context){ .changed = on_changed,
		.arg = &context };
	assert_int_equal(make(), 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	connection_free(c);
	assert_int_equal(opened, closed);
	assert_int_equal(freed, 1);
	return 0;
}

static void
bring_up(void)
{
	events->connected(conn, events_arg);
	assert_int_equal(c->state, CONNECTION_UP);
}

static void
end_with(enum quic_cause cause, bool application, uint64_t code)
{
	struct quic_close why = { .cause = cause,
		.application = application,
		.code = code,
		.text = "because" };

	events->closed(conn, &why, events_arg);
}

/* ---- States ---- */

static void
a_handshake_times_out_before_a_client(void **state)
{
	(void)state;
	assert_int_equal(c->state, CONNECTION_CONNECTING);
	assert_int_equal(settings.handshake_timeout_ns, 4000000000);
	assert_string_equal(c->address, "192.0.2.1:443");
}

static void
it_drains_once(void **state)
{
	(void)state;
	connection_drain(c);
	assert_int_equal(c->state, CONNECTION_CONNECTING);
	bring_up();
	assert_int_equal(changes, 1);
	events->draining(conn, events_arg);
	assert_int_equal(c->state, CONNECTION_DRAINING);
	assert_int_equal(changes, 2);
	end_with(QUIC_CLOSED_BY_PEER, true, QUIC_H3_NO_ERROR);
	assert_int_equal(c->state, CONNECTION_CLOSED);
	assert_true(c->was_up && c->drained);
	assert_string_equal(c->why, "because");
	assert_int_equal(changes, 3);
}

static void
the_owner_learns_of_free_streams(void **state)
{
	(void)state;
	bring_up();
	c->at_stream_limit = true;
	events->streams_available(conn, events_arg);
	assert_false(c->at_stream_limit);
	assert_int_equal(changes, 2);
}

static void
permanent_failures(void **state)
{
	static const struct {
		enum quic_cause cause;
		bool application;
		uint64_t code;
		bool permanent;
	} rows[] = {
		{ QUIC_BAD_CERTIFICATE, false, 0, true },
		{ QUIC_NO_H3, false, 0, true },
		{ QUIC_NO_VERSION, false, 0, true },
		{ QUIC_CLOSED_BY_PEER, false, 0x100, true },
		{ QUIC_CLOSED_BY_PEER, false, 0x1ff, true },
		{ QUIC_CLOSED_BY_PEER, false, 0x200, false },
		{ QUIC_CLOSED_BY_PEER, false, 2, false },
		{ QUIC_CLOSED_BY_PEER, true, QUIC_H3_NO_ERROR, false },
		{ QUIC_NO_ANSWER, false, 0, false },
		{ QUIC_RESET, false, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		c->state = CONNECTION_CONNECTING;
		end_with(rows[i].cause, rows[i].application, rows[i].code);
		assert_int_equal(c->permanent, rows[i].permanent);
	}
}

/* The edge is at its limit, and this connection is idle. */
static void
evictions(void **state)
{
	struct quic_close why = { .cause = QUIC_CLOSED_BY_PEER,
		.application = true,
		.code = QUIC_H3_EXCESSIVE_LOAD };

	(void)state;
	for (int row = 0; row < 4; row++) {
		c->state = row == 1 ? CONNECTION_CONNECTING : CONNECTION_UP;
		why.streams = row == 2;
		why.application = row != 3;
		events->closed(conn, &why, events_arg);
		assert_int_equal(c->evicted, row == 0);
	}
}

static void
without_a_route_there_is_no_connection(void **state)
{
	struct connection *first = c;

	(void)state;
	connect_error = -ENETUNREACH;
	assert_int_equal(make(), -ENETUNREACH);
	assert_ptr_equal(c, first);
	assert_int_equal(freed, 0);
}

/* ---- ICMP and the network ---- */

static void
unreachable_ends_a_handshake(void **state)
{
	(void)state;
	unreachable(unreachable_arg, -ECONNREFUSED);
	assert_int_equal(c->state, CONNECTION_CLOSED);
	assert_string_equal(c->why,
	    "no answer: no edge is listening on this UDP port");
	assert_false(c->permanent);
	/* A change that the connection has not noticed is too late. */
	events->connected(conn, events_arg);
	end_with(QUIC_CLOSED_BY_PEER, false, 0);
	assert_int_equal(c->state, CONNECTION_CLOSED);
	assert_string_equal(c->why,
	    "no answer: no edge is listening on this UDP port");
}

static void
unreachable_and_silent_is_gone(void **state)
{
	(void)state;
	bring_up();
	unreachable(unreachable_arg, -ECONNREFUSED);
	assert_true(c->suspect);
	assert_int_equal(pings, 1);
	assert_int_equal(changes, 2);
	unreachable(unreachable_arg, -ECONNREFUSED);
	assert_int_equal(pings, 1);
	assert_int_equal(c->state, CONNECTION_UP);
	events->silent(conn, events_arg);
	assert_int_equal(c->state, CONNECTION_CLOSED);
	assert_string_equal(close_reason,
	    "the edge stopped "
	    "listening on its UDP port");
}

static void
silent_and_unreachable_is_gone(void **state)
{
	(void)state;
	bring_up();
	events->silent(conn, events_arg);
	assert_int_equal(c->state, CONNECTION_UP);
	unreachable(unreachable_arg, -ECONNREFUSED);
	assert_int_equal(c->state, CONNECTION_CLOSED);
	assert_string_equal(close_reason,
	    "the edge stopped "
	    "listening on its UDP port");
}

static void
a_forged_icmp_changes_nothing(void **state)
{
	(void)state;
	bring_up();
	unreachable(unreachable_arg, -ECONNREFUSED);
	pulse.packets_received++; /* the answer to the ping */
	assert_int_equal(connection_check(c, START), UINT64_MAX);
	assert_false(c->suspect);
	events->silent(conn, events_arg);
	assert_int_equal(c->state, CONNECTION_UP);
}

/* ---- Silence ---- */

static void
a_silent_edge_is_suspect_until_it_answers(void **state)
{
	(void)state;
	assert_int_equal(settings.silence_ns, 1000000000);
	bring_up();
	assert_int_equal(connection_check(c, START), UINT64_MAX);
	events->silent(conn, events_arg);
	assert_true(c->suspect);
	assert_int_equal(changes, 2);
	assert_int_equal(connection_check(c, START), START + 250);
	assert_true(c->suspect);
	pulse.packets_received++;
	assert_int_equal(connection_check(c, START + 250), UINT64_MAX);
	assert_false(c->suspect);
	events->silent(conn, events_arg);
	assert_true(c->suspect);
}

/* A drained connection is not looked at for requests, but its tunnels wait. */
static void
silence_does_not_end_a_connection(void **state)
{
	(void)state;
	bring_up();
	connection_drain(c);
	events->silent(conn, events_arg);
	connection_check(c, START + 100000);
	assert_int_equal(c->state, CONNECTION_DRAINING);
}

/* ---- Moving ---- */

static void
the_migration_gets_all_events(void **state)
{
	(void)state;
	bring_up();
	connection_network_changed(c);
	assert_int_equal(events_seen, NETLINK_CHANGED);
	connection_resumed(c, 7);
	assert_int_equal(events_seen, NETLINK_CHANGED | RESUMED);
	events->silent(conn, events_arg);
	assert_int_equal(events_seen, NETLINK_CHANGED | RESUMED | SILENT);
	connection_edge_answers(c);
	assert_int_equal(events_seen,
	    NETLINK_CHANGED | RESUMED | SILENT | EDGE_ANSWERS);
	events->migrated(conn, false, events_arg);
	assert_int_equal(context.migrations, 0);
	events->migrated(conn, true, events_arg);
	assert_int_equal(context.migrations, 1);
	assert_int_equal(events_seen,
	    NETLINK_CHANGED | RESUMED | SILENT | EDGE_ANSWERS | MIGRATED |
		NOT_MIGRATED);
}

static void
a_migration_that_gives_up_ends_the_connection(void **state)
{
	(void)state;
	bring_up();
	migration_events->gave_up(migration_arg, "the edge is silent");
	assert_int_equal(c->state, CONNECTION_CLOSED);
	assert_string_equal(c->why, "the edge is silent");
}

/* It works, and must be replaced all the same, also after packets. */
static void
one_that_is_left_behind_is_suspect_for_good(void **state)
{
	(void)state;
	bring_up();
	changes = 0;
	migration_events->left_behind(migration_arg);
	assert_int_equal(changes, 1);
	assert_int_equal(c->state, CONNECTION_UP);
	assert_true(c->suspect);
	pulse.packets_received++;
	assert_true(connection_check(c, 1000) == UINT64_MAX);
	assert_true(c->suspect);
}

/* What one connection needed, the next one knows, if it was known. */
static void
what_a_path_needs_is_kept(void **state)
{
	(void)state;
	bring_up();
	assert_int_equal(settings.repair.sent, 0);
	pulse.repair = (struct quic_repair){ 30, 10 };
	for (int known = 0; known < 2; known++) {
		pulse.repair_known = known > 0;
		connection_free(c);
		freed = 0;
		assert_int_equal(make(), 0);
		assert_int_equal(settings.repair.sent, known > 0 ? 30 : 0);
		assert_int_equal(settings.repair.received, known > 0 ? 10 : 0);
	}
}

#define CONNECTION_TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CONNECTION_TEST(a_handshake_times_out_before_a_client),
		CONNECTION_TEST(it_drains_once),
		CONNECTION_TEST(the_owner_learns_of_free_streams),
		CONNECTION_TEST(permanent_failures),
		CONNECTION_TEST(evictions),
		CONNECTION_TEST(without_a_route_there_is_no_connection),
		CONNECTION_TEST(unreachable_ends_a_handshake),
		CONNECTION_TEST(unreachable_and_silent_is_gone),
		CONNECTION_TEST(silent_and_unreachable_is_gone),
		CONNECTION_TEST(a_forged_icmp_changes_nothing),
		CONNECTION_TEST(a_silent_edge_is_suspect_until_it_answers),
		CONNECTION_TEST(silence_does_not_end_a_connection),
		CONNECTION_TEST(the_migration_gets_all_events),
		CONNECTION_TEST(a_migration_that_gives_up_ends_the_connection),
		CONNECTION_TEST(one_that_is_left_behind_is_suspect_for_good),
		CONNECTION_TEST(what_a_path_needs_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
