#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/internal.h"
#include "tests/unit/world.h"

/*
 * The work for one connection must not be work for all of them: calls are
 * counted, see the Makefile.
 */

#define TUNNELS 1000

void __real_conn_deliver(struct quic_conn *conn);
void __wrap_conn_deliver(struct quic_conn *conn);
size_t __real_ngtcp2_conn_get_stream_loss_count(ngtcp2_conn *, int64_t id);
size_t __wrap_ngtcp2_conn_get_stream_loss_count(ngtcp2_conn *, int64_t id);
int __real_ngtcp2_path_eq(const ngtcp2_path *a, const ngtcp2_path *b);
int __wrap_ngtcp2_path_eq(const ngtcp2_path *a, const ngtcp2_path *b);

bool __real_stream_conn_gone(struct quic_stream *);
bool __wrap_stream_conn_gone(struct quic_stream *);

void __real_stream_stop(struct quic_stream *, uint64_t code);
void __wrap_stream_stop(struct quic_stream *, uint64_t code);

void __real_goaway_begin(struct quic_conn *, uint64_t now);
void __wrap_goaway_begin(struct quic_conn *, uint64_t now);
void __real_h3_stop(struct quic_conn *);
void __wrap_h3_stop(struct quic_conn *);
void __real_stream_deliver(struct quic_stream *);
void __wrap_stream_deliver(struct quic_stream *);

void __real_quic_conn_expire(struct quic_conn *, uint64_t now);
void __wrap_quic_conn_expire(struct quic_conn *, uint64_t now);
void __real_quic_conn_receive(struct quic_conn *, const struct quic_rx *,
    size_t n, uint64_t now);
void __wrap_quic_conn_receive(struct quic_conn *, const struct quic_rx *,
    size_t n, uint64_t now);

static unsigned delivered, compared, asked;
static unsigned expired;	  /* connections */
static unsigned stopped;	  /* streams */
static unsigned run, longest_run; /* streams aborted in one call */
static unsigned served;		  /* streams of any connection */
static unsigned drained;	  /* connections */
static unsigned known;		  /* streams of nghttp3 at its end */

void
__wrap_goaway_begin(struct quic_conn *conn, uint64_t now)
{
	drained++;
	__real_goaway_begin(conn, now);
}

void
__wrap_h3_stop(struct quic_conn *conn)
{
	for (int64_t id = 0; conn->h3 != NULL && id < 4 * TUNNELS; id += 4)
		known += nghttp3_conn_set_stream_user_data(conn->h3, id,
			     NULL) == 0;
	__real_h3_stop(conn);
}

void
__wrap_stream_deliver(struct quic_stream *s)
{
	served++;
	__real_stream_deliver(s);
}

void
__wrap_quic_conn_expire(struct quic_conn *conn, uint64_t now)
{
	run = 0;
	expired++;
	__real_quic_conn_expire(conn, now);
}

void
__wrap_quic_conn_receive(struct quic_conn *conn, const struct quic_rx *rx,
    size_t n, uint64_t now)
{
	run = 0;
	__real_quic_conn_receive(conn, rx, n, now);
}

bool
__wrap_stream_conn_gone(struct quic_stream *s)
{
	served++;
	if (++run > longest_run)
		longest_run = run;
	return __real_stream_conn_gone(s);
}

void
__wrap_stream_stop(struct quic_stream *s, uint64_t code)
{
	stopped++;
	if (++run > longest_run)
		longest_run = run;
	__real_stream_stop(s, code);
}

size_t
__wrap_ngtcp2_conn_get_stream_loss_count(ngtcp2_conn *conn, int64_t id)
{
	asked++;
	return __real_ngtcp2_conn_get_stream_loss_count(conn, id);
}

void
__wrap_conn_deliver(struct quic_conn *conn)
{
	delivered++;
	run = 0;
	__real_conn_deliver(conn);
}

int
__wrap_ngtcp2_path_eq(const ngtcp2_path *a, const ngtcp2_path *b)
{
	compared++;
	return __real_ngtcp2_path_eq(a, b);
}

/* As many connections as the link has room for; the server's, in order. */
static void
crowd(struct world *w, struct quic_conn *conns[LINK_CLIENTS_MAX])
{
	world_serve(w);
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++) {
		world_dial(w, i);
		assert_true(world_connected(w, i));
		link_run(w->link, NULL, NULL, RTT);
		conns[i] = w->server.conn;
	}
	link_run(w->link, NULL, NULL, LINK_S);
}

/* All of them wait to be written, since the socket is full, say. */
static void
a_datagram_is_one_connections_work(void **state)
{
	struct quic_conn *conns[LINK_CLIENTS_MAX];
	static struct quic_gso gso;
	struct world *w = *state;
	struct quic_rx rx;

	crowd(w, conns);
	quic_conn_ping(near_conn(w));
	assert_true(quic_conn_write(near_conn(w), &gso, w->link->now));
	rx = (struct quic_rx){ .path = *quic_conn_path(conns[0]),
		.data = gso.buf,
		.len = gso.len };
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		conn_touch(conns[i]);
	delivered = 0;
	quic_server_receive(w->link->server, &rx, 1, w->link->now);
	assert_int_equal(delivered, 1);
}

/* A router may report this, and so may an attacker. */
static void
a_path_report_is_work_of_one_connection(void **state)
{
	struct quic_conn *conns[LINK_CLIENTS_MAX];
	struct quic_too_big news = { .ip_mtu = 1400, .len = QUIC_QUOTE_MAX };
	struct world *w = *state;

	crowd(w, conns);
	for (size_t i = 0; i < 2; i++) {
		news.remote = quic_conn_path(conns[7])->remote;
		compared = 0;
		quic_server_too_big(w->link->server, &news, w->link->now);
		assert_int_equal(compared, 0);
		for (size_t j = 0; j < LINK_CLIENTS_MAX; j++)
			assert_int_equal(stats_of(conns[j]).ptb_seen,
			    j == 7 ? i + 1 : 0);
		/* They find it at another port, too. */
		w->link->port[7]++;
		quic_conn_ping(w->link->clients[7]);
		link_run(w->link, NULL, NULL, LINK_S);
	}
	/* All clients have moved. */
	news.remote = link_path(7).local;
	quic_server_too_big(w->link->server, &news, w->link->now);
	assert_int_equal(stats_of(conns[7]).ptb_seen, 2);
}

/* Statistics do not scan all streams. */
static void
numbers_cost_the_same_for_any_streams(void **state)
{
	struct world *w = *state;
	uint64_t lost;

	world_up(w);
	w->link->loss = 100;
	for (unsigned i = 0; i < 50; i++) {
		w->near[i].to_send = 20 * KB;
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, 10 * LINK_S);
	w->link->loss = 0;
	asked = 0;
	lost = stats_of(near_conn(w)).packets_lost;
	assert_int_equal(asked, 0);
	assert_true(lost > 50);
	for (unsigned i = 0; i < 50; i++) {
		assert_whole(&w->far[i], 20 * KB);
		quic_stream_reset(w->near[i].stream, QUIC_H3_CONNECT_ERROR);
		w->near[i].stream = NULL;
	}
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_in_range(stats_of(near_conn(w)).packets_lost, lost, lost + 5);
}

struct ended {
	const struct end *ends;
	const unsigned *closed;
};

static bool
all_told(void *arg)
{
	const struct ended *e = arg;

	for (unsigned i = 0; i < TUNNELS; i++)
		if (e->ends[i].stream != NULL)
			return false;
	return *e->closed > 0;
}

/* Tunnels in every state: some are let go, some have bytes to read or to go. */
static void
open_tunnels(struct world *w)
{
	world_up(w);
	for (unsigned i = 0; i < TUNNELS; i++) {
		w->near[i].stays_open = w->far[i].stays_open = true;
		w->near[i].habit = w->far[i].habit = i % 3 == 0 ? HOLD : SINK;
		w->near[i].to_send = w->far[i].to_send = i % 5 * KB;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, LINK_S);
	for (unsigned i = 0; i < TUNNELS; i += 7) {
		quic_stream_reset(w->near[i].stream, QUIC_H3_CONNECT_ERROR);
		w->near[i].stream = NULL;
	}
}

/*
 * Thousands of tunnels end with their connection, a few in each call, and all
 * before any time has passed. The other end does the same when the close
 * arrives.
 */
static void
an_end_is_reported_in_parts(void **state)
{
	struct world *w = *state;
	struct ended near = { w->near, &w->client[0].closed };
	struct ended far = { w->far, &w->server.closed };

	for (int up = 0; up < 2; up++) {
		open_tunnels(w);
		longest_run = 0;
		known = 0;
		quic_conn_close(up ? near_conn(w) : w->server.conn,
		    QUIC_H3_NO_ERROR, "", w->link->now);
		assert_int_equal(*(up ? near : far).closed, 0);
		assert_true(quic_conn_is_closing(up ? near_conn(w)
						    : w->server.conn));
		assert_true(link_run(w->link, all_told, up ? &near : &far, 0));
		assert_true(link_run(w->link, all_told, up ? &far : &near,
		    RTT / 2));
		assert_int_equal(*near.closed, 1);
		assert_int_equal(*far.closed, 1);
		assert_in_range(longest_run, 32, 64);
		assert_int_equal(known, 0);
		assert_int_equal(server_stats(w).connections, 0);
		for (unsigned i = 0; i < TUNNELS; i++)
			assert_int_equal(w->near[i].connection_lost, i % 7 > 0);
		world_down(w);
	}
}

/* A server that shuts down asks clients to end what was refused. */
static void
a_drain_stops_the_refused_in_parts(void **state)
{
	struct world *w = *state;

	world_up(w);
	for (unsigned i = 0; i < TUNNELS; i++) {
		w->near[i].stays_open = true;
		w->far[i].status = "403";
		w->far[i].lets_go = true;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, LINK_S);
	stopped = longest_run = 0;
	quic_server_drain(w->link->server, w->link->now);
	assert_true(link_run(w->link, is_some, &w->client[0].closed, LINK_S));
	assert_int_equal(stopped, TUNNELS);
	assert_in_range(longest_run, 32, 64);
}

#define SILENT 200 /* connections */

/* Many connections that fall silent at once are freed a few at a time. */
static void
timers_run_in_parts(void **state)
{
	struct world *w = *state;
	unsigned calls = 0;

	world_serve(w);
	for (unsigned i = 0; i < SILENT; i++) {
		world_dial(w, 0);
		assert_true(world_connected(w, 0));
		link_drop_client(w->link, 0);
		w->client[0].connected = 0;
	}
	assert_int_equal(server_stats(w).connections, SILENT);
	w->link->now += 2 * LONG;
	while (server_stats(w).connections > 0) {
		assert_true(quic_server_deadline(w->link->server) <=
		    w->link->now);
		expired = 0;
		quic_server_expire(w->link->server, w->link->now);
		assert_in_range(expired, 1, 64);
		calls++;
	}
	assert_in_range(calls, SILENT / 64, SILENT);
}

#define SHARED 128 /* streams of all connections in one call */

/* Many connections with many tunnels fall silent at once. */
static void
connections_share_a_call(void **state)
{
	static struct quic_gso gso;
	struct world *w = *state;
	unsigned calls = 0;

	world_serve(w);
	for (unsigned i = 0; i < LINK_CLIENTS_MAX; i++) {
		world_dial(w, i);
		assert_true(world_connected(w, i));
	}
	for (unsigned i = 0; i < TUNNELS; i++) {
		w->near[i].client = i % LINK_CLIENTS_MAX;
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, LINK_S);
	for (unsigned i = 0; i < LINK_CLIENTS_MAX; i++)
		link_drop_client(w->link, i);
	w->link->now += 2 * LONG;
	while (server_stats(w).connections > 0) {
		assert_true(quic_server_deadline(w->link->server) <=
		    w->link->now);
		served = 0;
		quic_server_expire(w->link->server, w->link->now);
		assert_in_range(served, 1, SHARED);
		while (quic_server_write(w->link->server, &gso, w->link->now))
			continue;
		calls++;
	}
	assert_in_range(calls, TUNNELS / SHARED, TUNNELS / SHARED * 2);
	for (unsigned i = 0; i < TUNNELS; i++)
		assert_true(w->far[i].connection_lost);
}

/* A server with many connections begins to shut down some at a time. */
static void
a_drain_begins_in_parts(void **state)
{
	struct world *w = *state;

	world_serve(w);
	for (size_t i = 0; i < LINK_CROWD_MAX; i++) {
		world_dial(w, i);
		assert_true(world_connected(w, i));
	}
	link_run(w->link, NULL, NULL, LINK_S);
	drained = 0;
	quic_server_drain(w->link->server, w->link->now);
	assert_in_range(drained, 1, 64);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(drained, LINK_CROWD_MAX);
	for (size_t i = 0; i < LINK_CROWD_MAX; i++)
		assert_int_equal(w->client[i].draining, 1);
}

/* quic_server_close() ends all at once. */
static void
a_server_may_close_at_once(void **state)
{
	struct world *w = *state;

	open_tunnels(w);
	quic_server_close(w->link->server, w->link->now);
	assert_int_equal(w->server.closed, 1);
	for (unsigned i = 0; i < TUNNELS; i++)
		assert_null(w->far[i].stream);
	assert_int_equal(server_stats(w).connections, 0);
}

#define READERS 200
#define QUOTA 4194304 /* bytes that an iteration may commit */

/* Commits bytes as from a socket that always has some. */
static size_t
commit_all(struct quic_stream *s)
{
	size_t n = 0, room;
	void *out;

	while ((out = quic_stream_reserve(s, &room)) != NULL) {
		memset(out, 0, room);
		quic_stream_commit(s, room);
		n += room;
	}
	return n;
}

/* Tunnels of client 0, and one of client 1: open, and nothing sent yet. */
static void
open_readers(struct world *w)
{
	world_up(w);
	world_dial(w, 1);
	assert_true(world_connected(w, 1));
	w->near[READERS].client = 1;
	for (unsigned i = 0; i <= READERS; i++) {
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, LINK_S);
	for (unsigned i = 0; i <= READERS; i++)
		assert_non_null(w->far[i].stream);
}

/* Hundreds of origins have something to say at once, of one connection. */
static void
an_iteration_reads_a_few(void **state)
{
	struct world *w = *state;
	unsigned some = 0;
	size_t n = 0;

	open_readers(w);
	for (unsigned i = 0; i < READERS; i++)
		n += commit_all(w->far[i].stream);
	assert_in_range(n, QUOTA / 2, QUOTA + CHUNK_MAX);
	assert_true(commit_all(w->far[READERS].stream) > 0);

	/* All streams become writable in the end, and few in each iteration. */
	link_run(w->link, NULL, NULL, 0);
	for (unsigned i = 0; i < READERS; i++)
		some += w->far[i].writable;
	assert_true(some < READERS);
	link_run(w->link, NULL, NULL, 10 * LINK_S);
	for (unsigned i = 0; i < READERS; i++)
		assert_true(w->far[i].writable > 0 || w->near[i].received > 0);
}

/* While others wait in line, each of them reads once, and waits again. */
static void
waiting_streams_are_served_in_parts(void **state)
{
	struct world *w = *state;
	size_t n;

	open_readers(w);
	for (unsigned i = 1; i < READERS; i++)
		commit_all(w->far[i].stream);
	commit_quota_renew(w->far[0].stream->conn->memory.all);
	n = commit_all(w->far[0].stream);
	assert_in_range(n, CHUNK_MAX, 2 * CHUNK_MAX - 1);
}

/* Bytes that are dropped count as read, too. */
static void
a_stream_that_drops_waits_as_others(void **state)
{
	struct world *w = *state;
	size_t n = 0, room;

	open_readers(w);
	for (unsigned i = 0; i < READERS; i++)
		stream_stopped(w->far[i].stream);
	for (unsigned i = 0; i < READERS; i++)
		while (n < 2 * QUOTA &&
		    quic_stream_reserve(w->far[i].stream, &room) != NULL) {
			quic_stream_commit(w->far[i].stream, room);
			n += room;
		}
	assert_in_range(n, QUOTA / 2, QUOTA + CHUNK_MAX);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_datagram_is_one_connections_work),
		TEST(a_path_report_is_work_of_one_connection),
		TEST(numbers_cost_the_same_for_any_streams),
		TEST(an_end_is_reported_in_parts),
		TEST(a_drain_stops_the_refused_in_parts),
		TEST(timers_run_in_parts),
		TEST(connections_share_a_call),
		TEST(a_drain_begins_in_parts),
		TEST(a_server_may_close_at_once),
		TEST(an_iteration_reads_a_few),
		TEST(waiting_streams_are_served_in_parts),
		TEST(a_stream_that_drops_waits_as_others),
	};

	return cmocka_run_group_tests_name("steps", tests, NULL, NULL);
}
