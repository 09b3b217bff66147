#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/world.h"

/*
 * A connection that moves from network to network (RFC 9000 §9) with all its
 * tunnels, and one whose peer is silent.
 */

#define BUSY 8 /* tunnels */

static void
busy_tunnels(struct world *w, size_t each)
{
	world_up(w);
	for (unsigned i = 0; i < BUSY; i++) {
		w->near[i].to_send = w->far[i].to_send = each;
		assert_int_equal(tunnel_open(w, i), 0);
	}
}

static void
assert_all_whole(struct world *w, size_t each)
{
	assert_true(tunnels_done(w, BUSY));
	for (unsigned i = 0; i < BUSY; i++) {
		assert_whole(&w->near[i], each);
		assert_whole(&w->far[i], each);
	}
	assert_int_equal(w->client[0].closed, 0);
	assert_int_equal(w->server.closed, 0);
}

static void
pass(struct world *w, uint64_t time)
{
	link_run(w->link, NULL, NULL, time);
}

static int
move_again(struct world *w, size_t place, unsigned visit, bool at_once)
{
	struct quic_path path = link_path_again(0, place, visit);

	return quic_conn_migrate(near_conn(w), &path, at_once, w->link->now);
}

static int
move(struct world *w, size_t place, bool at_once)
{
	return move_again(w, place, 0, at_once);
}

static unsigned
last_byte(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const void *)ss;

	return ntohl(in->sin_addr.s_addr) & 0xff;
}

static bool
ends_agree(void *arg)
{
	const struct world *w = arg;

	return last_byte(&quic_conn_path(near_conn(w))->local) ==
	    last_byte(&quic_conn_path(w->server.conn)->remote);
}

/* The client has reached the new path, and the server follows. */
static void
assert_client_at(struct world *w, size_t place)
{
	assert_int_equal(last_byte(&quic_conn_path(near_conn(w))->local),
	    place + 1);
	assert_true(link_run(w->link, ends_agree, w, LONG));
}

/* ---- Moving ---- */

static void
a_dead_network_is_left_at_once(void **state)
{
	struct world *w = *state;
	uint64_t start;

	busy_tunnels(w, MB);
	pass(w, 3 * RTT);
	w->link->down[0] = true;
	start = w->link->now;
	assert_int_equal(move(w, 1, true), 0);
	assert_int_equal(stats_of(near_conn(w)).migrations, 1);
	assert_true(link_run(w->link, is_some, &w->client[0].migrated, LONG));
	assert_in_range(w->link->now - start, RTT, RTT + 5 * LINK_MS);
	assert_true(link_run(w->link, is_some, &w->server.migrated, LONG));
	assert_in_range(w->link->now - start, RTT, 2 * RTT + 5 * LINK_MS);
	assert_all_whole(w, MB);
	assert_client_at(w, 1);
	assert_int_equal(stats_of(near_conn(w)).migrations, 1);
	assert_int_equal(stats_of(w->server.conn).migrations, 1);
}

/* Meanwhile packets use the old path, and nothing is lost. */
static void
a_living_network_is_left_when_the_new_one_lives(void **state)
{
	struct world *w = *state;

	busy_tunnels(w, MB);
	pass(w, 3 * RTT);
	assert_int_equal(move(w, 1, false), 0);
	assert_int_equal(stats_of(near_conn(w)).migrations, 0);
	assert_true(link_run(w->link, is_some, &w->client[0].migrated, LONG));
	assert_int_equal(stats_of(near_conn(w)).migrations, 1);
	assert_all_whole(w, MB);
	assert_client_at(w, 1);
}

static void
a_living_network_is_not_left_for_a_dead_one(void **state)
{
	struct world *w = *state;

	busy_tunnels(w, MB);
	pass(w, 3 * RTT);
	w->link->down[1] = true;
	assert_int_equal(move(w, 1, false), 0);
	assert_all_whole(w, MB);
	assert_true(link_run(w->link, is_some, &w->client[0].stranded, LONG));
	assert_client_at(w, 0);
	assert_int_equal(stats_of(near_conn(w)).migrations, 0);
}

static void
from_one_dead_network_to_the_next(void **state)
{
	struct world *w = *state;

	busy_tunnels(w, MB);
	pass(w, 3 * RTT);
	w->link->down[0] = w->link->down[1] = true;
	assert_int_equal(move(w, 1, true), 0);
	assert_true(link_run(w->link, is_some, &w->client[0].stranded, LONG));
	assert_int_equal(move(w, 2, true), 0);
	assert_all_whole(w, MB);
	assert_client_at(w, 2);
	assert_int_equal(w->client[0].migrated, 1);
	assert_int_equal(w->client[0].stranded, 1);
}

/* There and back again, a hundred times. */
static void
a_client_that_moves_back_and_forth(void **state)
{
	struct world *w = *state;

	busy_tunnels(w, 4 * MB);
	for (unsigned i = 1; i <= 100; i++) {
		pass(w, 3 * RTT);
		assert_int_equal(move_again(w, i % 3, i, i % 2 == 0), 0);
	}
	assert_all_whole(w, 4 * MB);
	assert_client_at(w, 100 % 3);
	assert_int_equal(w->client[0].migrated, 100);
}

static void
a_move_in_a_bad_network(void **state)
{
	struct world *w = *state;

	w->link->loss = w->link->late = w->link->twice = 50;
	busy_tunnels(w, MB);
	for (size_t i = 1; i <= 3; i++) {
		pass(w, 10 * RTT);
		w->link->down[i - 1] = true;
		while (move(w, i, true) == -EAGAIN)
			pass(w, RTT);
	}
	assert_all_whole(w, MB);
	assert_client_at(w, 3);
}

static void
every_network_has_its_own_size(void **state)
{
	struct world *w = *state;
	size_t first;

	w->link->place_size_max[1] = 1300 - 28;
	busy_tunnels(w, 4 * MB);
	pass(w, 10 * RTT);
	first = stats_of(near_conn(w)).ip_mtu;
	assert_int_equal(first, 1500);
	w->link->down[0] = true;
	assert_int_equal(move(w, 1, true), 0);
	assert_int_equal(stats_of(near_conn(w)).udp_payload, 1200);
	assert_all_whole(w, 4 * MB);
	assert_in_range(stats_of(near_conn(w)).ip_mtu, 1292, 1300);
	assert_in_range(stats_of(w->server.conn).ip_mtu, 1292, 1300);
	assert_int_equal(stats_of(near_conn(w)).black_holes_suspected, 0);
	assert_int_equal(stats_of(w->server.conn).black_holes_suspected, 0);
}

/* Another port of the same host is no other network. */
/* ---- Change of the address family ---- */

struct families {
	struct link *link;
	bool crossed;	/* the family that the client's packets use */
	size_t largest; /* bytes of IP that the server has sent there */
};

/* A network between them translates, for a server with both addresses. */
static bool
cross(struct link_datagram *d, void *arg)
{
	struct families *f = arg;
	bool v6 = link_v6 != f->crossed;
	size_t ip = d->len + (v6 ? 48 : 28);
	struct quic_path path;

	if (ip > 1500)
		return false;
	if (!f->crossed || d->place != 0)
		return true;
	if (!d->up) {
		f->largest = ip > f->largest ? ip : f->largest;
		return true;
	}
	link_v6 = !link_v6;
	path = link_path_at(0, 0);
	link_v6 = !link_v6;
	d->path.local = path.remote;
	d->path.remote = path.local;
	((struct sockaddr_in *)&d->path.remote)->sin_port =
	    htons(f->link->port[0]);
	return true;
}

/* How large packets may be follows the family, both ways. */
static void
a_family_has_its_own_headers(void **state)
{
	struct world *w = *state;
	struct families f = { .link = w->link };

	w->link->tamper = cross;
	w->link->tamper_arg = &f;
	for (int v6 = 0; v6 < 2; v6++) {
		link_v6 = v6 != 0;
		f.crossed = false;
		f.largest = 0;
		world_up(w);
		pass(w, 5 * LINK_S);
		assert_int_equal(stats_of(w->server.conn).ip_mtu, 1500);
		assert_int_equal(stats_of(w->server.conn).udp_payload,
		    v6 ? 1452 : 1472);
		f.crossed = true;
		quic_conn_ping(near_conn(w));
		pass(w, 10 * LINK_S);
		assert_int_equal(quic_conn_path(w->server.conn)
				     ->remote.ss_family,
		    v6 ? AF_INET : AF_INET6);
		assert_int_equal(stats_of(w->server.conn).ip_mtu, 1500);
		assert_int_equal(stats_of(w->server.conn).udp_payload,
		    v6 ? 1472 : 1452);
		assert_int_equal(stats_of(w->server.conn).ip_mtu_ceiling, 1500);
		assert_int_equal(f.largest, 1500);
		link_v6 = false;
		world_down(w);
	}
}

static void
a_new_port_keeps_the_size(void **state)
{
	struct world *w = *state;

	busy_tunnels(w, 4 * MB);
	pass(w, 10 * RTT);
	assert_int_equal(stats_of(w->server.conn).ip_mtu, 1500);
	w->link->port[0]++;
	pass(w, RTT / 2);
	assert_int_equal(stats_of(w->server.conn).ip_mtu, 1500);
	assert_all_whole(w, 4 * MB);
	pass(w, 4 * RTT);
	assert_int_equal(w->server.migrated, 1);
	assert_int_equal(w->client[0].migrated, 0);
}

/* A NAT forgets, and its client moves before the new port has proven itself. */
static void
a_new_port_and_a_new_network(void **state)
{
	struct world *w = *state;

	busy_tunnels(w, 8 * MB);
	for (size_t i = 1; i <= 4; i++) {
		pass(w, 10 * RTT);
		w->link->port[0]++;
		pass(w, RTT / 2);
		assert_int_equal(move(w, i % 3, true), 0);
	}
	assert_all_whole(w, 8 * MB);
	assert_client_at(w, 1);
}

/* ---- When it cannot be ---- */

static void
only_a_connected_client_migrates(void **state)
{
	struct world *w = *state;

	world_serve(w);
	world_dial(w, 0);
	assert_int_equal(move(w, 1, true), -ENOTCONN);
	assert_true(world_connected(w, 0));
	assert_int_equal(move(w, 1, true), -EAGAIN); /* not confirmed yet */
	pass(w, 2 * RTT);
	assert_int_equal(move(w, 0, true), -EINVAL);
	assert_int_equal(move(w, 1, true), 0);
	pass(w, 2 * RTT);
	quic_conn_close(near_conn(w), QUIC_H3_NO_ERROR, "enough", w->link->now);
	assert_int_equal(move(w, 2, true), -ENOTCONN);
}

/* The peer provides connection IDs, and must be asked for more. */
static void
moves_wait_for_connection_ids(void **state)
{
	struct world *w = *state;
	unsigned moves = 0;
	int rv;

	world_up(w);
	pass(w, 2 * RTT);
	w->link->down[1] = w->link->down[2] = true;
	while ((rv = move(w, 1 + moves % 2, false)) == 0)
		moves++;
	assert_int_equal(rv, -EAGAIN);
	assert_in_range(moves, 3, 8);
	pass(w, 4 * RTT);
	assert_int_equal(move(w, 3, false), 0);
	assert_true(link_run(w->link, is_some, &w->client[0].migrated, LONG));
}

/* ---- Silence ---- */

static void
silence_is_reported_once(void **state)
{
	struct world *w = *state;
	uint64_t start;

	w->client_settings.silence_ns = LINK_S;
	busy_tunnels(w, MB);
	pass(w, 3 * RTT);
	w->link->down[0] = true;
	start = w->link->now;
	assert_true(link_run(w->link, is_some, &w->client[0].silent, LONG));
	assert_in_range(w->link->now - start, LINK_S, LINK_S + RTT);
	pass(w, 5 * LINK_S);
	assert_int_equal(w->client[0].silent, 1);
	w->link->down[0] = false;
	assert_all_whole(w, MB);
	assert_int_equal(w->client[0].silent, 1);
}

static void
silence_of_an_idle_connection_is_none(void **state)
{
	struct world *w = *state;

	w->client_settings.silence_ns = LINK_S;
	world_up(w);
	pass(w, 10 * LINK_S);
	assert_int_equal(w->client[0].silent, 0);
	w->link->down[0] = true;
	quic_conn_ping(near_conn(w));
	pass(w, 2 * LINK_S);
	assert_int_equal(w->client[0].silent, 1);
}

/* A tunnel by which ten bytes have come, and all that was sent is answered. */
static void
listen_for_more(struct world *w)
{
	w->client_settings.silence_ns = LINK_S;
	w->client_settings.no_mtu_probe = true;
	w->server_settings.no_mtu_probe = true;
	world_up(w);
	w->far[0].to_send = 10;
	w->near[0].stays_open = w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	pass(w, LINK_S / 2);
	assert_int_equal(w->near[0].received, 10);
}

static void
send_more(struct world *w)
{
	w->far[0].to_send += 10;
	end_pump(&w->far[0]);
}

/* A side that only receives has nothing to acknowledge. */
static void
receivers_send_pings(void **state)
{
	struct world *w = *state;

	listen_for_more(w);
	w->link->down[0] = true;
	send_more(w);
	assert_true(link_run(w->link, is_some, &w->client[0].silent,
	    3 * LINK_S));
}

/* A NAT without a mapping passes nothing in before a packet goes out. */
static bool
forget(struct link_datagram *datagram, void *arg)
{
	bool *known = arg;

	*known = *known || datagram->up;
	return *known;
}

static void
they_are_found_at_another_port(void **state)
{
	struct world *w = *state;
	bool known = false;

	listen_for_more(w);
	w->link->port[0]++;
	w->link->tamper = forget;
	w->link->tamper_arg = &known;
	send_more(w);
	pass(w, 2 * LINK_S);
	assert_int_equal(w->near[0].received, 20);
	assert_int_equal(w->client[0].silent, 0);
}

/* Once, not all the time. */
static void
a_pause_costs_one_packet(void **state)
{
	struct world *w = *state;
	uint64_t sent;

	listen_for_more(w);
	sent = stats_of(near_conn(w)).packets_sent;
	pass(w, 10 * LINK_S);
	assert_int_equal(stats_of(near_conn(w)).packets_sent, sent + 1);
}

/* A peer that answers a PING is there: one packet is enough. */
static void
a_ping_is_answered(void **state)
{
	struct world *w = *state;
	uint64_t sent, received;

	w->client_settings.no_mtu_probe = true;
	w->server_settings.no_mtu_probe = true;
	world_up(w);
	pass(w, 5 * LINK_S);
	sent = stats_of(near_conn(w)).packets_sent;
	received = stats_of(near_conn(w)).packets_received;
	quic_conn_ping(near_conn(w));
	pass(w, RTT + 50 * LINK_MS);
	assert_int_equal(stats_of(near_conn(w)).packets_sent, sent + 1);
	assert_int_equal(stats_of(near_conn(w)).packets_received, received + 1);
	pass(w, 5 * LINK_S);
	assert_int_equal(stats_of(near_conn(w)).packets_sent, sent + 1);
}

static void
the_shorter_idle_time_out_counts(void **state)
{
	struct world *w = *state;

	w->client_settings.idle_timeout_ns = 40 * LINK_S;
	w->server_settings.idle_timeout_ns = 20 * LINK_S;
	world_serve(w);
	world_dial(w, 0);
	assert_int_equal(quic_conn_idle_ns(near_conn(w)), 40 * LINK_S);
	assert_true(world_connected(w, 0));
	assert_int_equal(quic_conn_idle_ns(near_conn(w)), 20 * LINK_S);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_dead_network_is_left_at_once),
		TEST(a_living_network_is_left_when_the_new_one_lives),
		TEST(a_living_network_is_not_left_for_a_dead_one),
		TEST(from_one_dead_network_to_the_next),
		TEST(a_client_that_moves_back_and_forth),
		TEST(a_move_in_a_bad_network),
		TEST(every_network_has_its_own_size),
		TEST(a_family_has_its_own_headers),
		TEST(a_new_port_keeps_the_size),
		TEST(a_new_port_and_a_new_network),
		TEST(only_a_connected_client_migrates),
		TEST(moves_wait_for_connection_ids),
		TEST(silence_is_reported_once),
		TEST(silence_of_an_idle_connection_is_none),
		TEST(receivers_send_pings),
		TEST(they_are_found_at_another_port),
		TEST(a_pause_costs_one_packet),
		TEST(a_ping_is_answered),
		TEST(the_shorter_idle_time_out_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
