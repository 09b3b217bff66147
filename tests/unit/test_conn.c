#include <arpa/inet.h>
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/world.h"

/*
 * One connection through its life: the handshake, bad networks, new keys, and
 * every end that it can come to.
 */

/* ---- Handshake ---- */

static void
no_answer(void **state)
{
	struct world *w = *state;
	uint64_t start = w->link->now;

	world_dial(w, 0);
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_NO_ANSWER);
	assert_string_equal(w->client[0].why.text, "no answer");
	assert_in_range(w->link->now - start, 10 * LINK_S, 11 * LINK_S);
}

static void
a_request_waits_for_the_connection(void **state)
{
	struct world *w = *state;

	world_serve(w);
	world_dial(w, 0);
	assert_int_equal(tunnel_open(w, 0), -ENOTCONN);
	assert_true(world_connected(w, 0));
	assert_int_equal(tunnel_open(w, 0), 0);
	quic_conn_close(near_conn(w), QUIC_H3_NO_ERROR, "enough", w->link->now);
	assert_int_equal(tunnel_open(w, 1), -ENOTCONN);
}

static void
a_handshake_survives_loss(void **state)
{
	struct world *w = *state;

	w->client_settings.handshake_timeout_ns = 300 * LINK_S;
	w->server_settings.handshake_timeout_ns = 300 * LINK_S;
	w->client_settings.idle_timeout_ns = 300 * LINK_S;
	w->server_settings.idle_timeout_ns = 300 * LINK_S;
	w->link->loss = 300;
	world_serve(w);
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		world_dial(w, i);
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		assert_true(world_connected(w, i));
}

/* ---- Bad networks ---- */

static void
transfer_both_ways(struct world *w, size_t n)
{
	w->client_settings.handshake_timeout_ns = LONG;
	w->server_settings.handshake_timeout_ns = LONG;
	world_up(w);
	for (unsigned i = 0; i < 4; i++) {
		w->near[i].to_send = w->far[i].to_send = n / 4;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	assert_true(tunnels_done(w, 4));
	for (unsigned i = 0; i < 4; i++) {
		assert_whole(&w->near[i], n / 4);
		assert_whole(&w->far[i], n / 4);
	}
}

static void
some_is_lost(void **state)
{
	struct world *w = *state;

	w->link->loss = 50;
	transfer_both_ways(w, MB);
	assert_true(stats_of(near_conn(w)).packets_lost > 0);
}

static void
some_is_late(void **state)
{
	struct world *w = *state;

	w->link->late = 200;
	transfer_both_ways(w, MB);
}

static void
some_comes_twice(void **state)
{
	struct world *w = *state;

	w->link->twice = 200;
	transfer_both_ways(w, MB);
}

static void
all_of_it_at_once(void **state)
{
	struct world *w = *state;

	for (unsigned seed = 1; seed <= 5; seed++) {
		w->link->random = seed;
		w->link->loss = w->link->late = w->link->twice = 50;
		transfer_both_ways(w, MB);
		world_down(w);
	}
}

/*
 * A router marks packets that it would drop, and the senders slow down (RFC
 * 9002).
 */
static bool
mark_some(struct link_datagram *d, void *arg)
{
	unsigned *marked = arg;

	if (d->ecn == 2 && d->len > KB && ++*marked % 50 == 0)
		d->ecn = 3;
	return true;
}

static void
some_is_marked(void **state)
{
	struct world *w = *state;
	unsigned marked = 0;
	uint64_t cwnd;

	/* BBR reacts to marks differently. */
	w->client_settings.cc = w->server_settings.cc = QUIC_CC_CUBIC;
	transfer_both_ways(w, 4 * MB);
	cwnd = stats_of(near_conn(w)).cwnd;
	world_down(w);
	w->link->tamper = mark_some;
	w->link->tamper_arg = &marked;
	transfer_both_ways(w, 4 * MB);
	assert_true(marked > 1000);
	assert_true(stats_of(near_conn(w)).cwnd < cwnd / 2);
	assert_int_equal(stats_of(near_conn(w)).packets_lost, 0);
}

/* IPv4 and UDP take 28 bytes of the packet. */
static void
the_largest_packet_is_found(void **state)
{
	struct world *w = *state;
	struct quic_pulse pulse;

	world_up(w);
	link_run(w->link, NULL, NULL, 20 * LINK_S);
	assert_int_equal(stats_of(near_conn(w)).ip_mtu, 1500);
	quic_conn_pulse(near_conn(w), &pulse);
	assert_int_equal(pulse.ip_mtu, 1500);
	assert_string_equal(pulse.mtu_cause, stats_of(near_conn(w)).mtu_cause);
	assert_int_equal(stats_of(w->server.conn).udp_payload, 1472);
	link_drop_client(w->link, 0);
	w->link->size_max = 1400 - 28;
	world_dial(w, 0);
	assert_true(world_connected(w, 0));
	link_run(w->link, NULL, NULL, 20 * LINK_S);
	assert_int_equal(stats_of(near_conn(w)).ip_mtu, 1400);
}

/*
 * The server sees the client's address change, and change back before it has
 * probed the new one (RFC 9000 §9.3).
 */
static void
flap(struct world *w)
{
	world_up(w);
	w->far[0].habit = ECHO;
	w->near[0].to_send = 5 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	for (unsigned i = 0; i < 100; i++) {
		link_run(w->link, NULL, NULL, (i % 40) * LINK_MS);
		w->link->port[0] ^= 1;
	}
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 5 * MB);
	assert_int_equal(w->server.closed, 0);
}

static void
an_address_flaps(void **state)
{
	flap(*state);
}

static void
an_address_flaps_without_probes(void **state)
{
	struct world *w = *state;

	w->server_settings.no_mtu_probe = true;
	flap(w);
	assert_int_equal(stats_of(w->server.conn).udp_payload, 1200);
}

static void
an_address_changes_for_good(void **state)
{
	const struct sockaddr_storage *remote;
	struct world *w = *state;

	world_up(w);
	w->far[0].habit = ECHO;
	w->near[0].to_send = 2 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 4 * RTT);
	w->link->port[0] += 5;
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 2 * MB);
	remote = &quic_conn_path(w->server.conn)->remote;
	assert_int_equal(ntohs(((const struct sockaddr_in *)remote)->sin_port),
	    w->link->port[0]);
}

/* ---- Keys ---- */

static void
keys_are_updated_under_way(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[0].habit = ECHO;
	w->near[0].to_send = 20 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(quic_conn_update_keys(near_conn(w), w->link->now), 0);
	assert_int_equal(quic_conn_update_keys(near_conn(w), w->link->now),
	    -EAGAIN);
	while (quic_conn_update_keys(w->server.conn, w->link->now) == -EAGAIN)
		link_run(w->link, NULL, NULL, RTT);
	assert_true(w->near[0].received < 10 * MB);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 20 * MB);
}

/* ---- Ends of connections ---- */

static void
closed_by_the_client(void **state)
{
	char reason[] = "that will do";
	struct world *w = *state;

	world_up(w);
	w->near[0].stays_open = w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 2 * RTT);
	quic_conn_close(near_conn(w), QUIC_H3_INTERNAL_ERROR, reason,
	    w->link->now);
	memset(reason, 'x', sizeof(reason) - 1);
	quic_conn_close(near_conn(w), QUIC_H3_NO_ERROR, "again", w->link->now);
	assert_int_equal(w->client[0].closed, 1);
	assert_int_equal(w->client[0].why.cause, QUIC_CLOSED_HERE);
	assert_string_equal(w->client[0].why.text, "that will do");
	assert_true(w->near[0].aborted && w->near[0].connection_lost);
	assert_int_equal(w->near[0].cause, QUIC_CLOSED_HERE);

	assert_true(link_run(w->link, is_some, &w->server.closed, RTT));
	assert_int_equal(w->server.why.cause, QUIC_CLOSED_BY_PEER);
	assert_true(w->server.why.application);
	assert_int_equal(w->server.why.code, QUIC_H3_INTERNAL_ERROR);
	assert_text(&w->server, "HTTP/3 error 0x102, that will do");
	assert_true(w->far[0].aborted && w->far[0].connection_lost);
	assert_int_equal(w->far[0].cause, QUIC_CLOSED_BY_PEER);
	link_run(w->link, NULL, NULL, 10 * LINK_S);
	assert_int_equal(w->server.closed, 1);
	assert_int_equal(server_stats(w).connections, 0);
}

static void
closed_by_the_server(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].stays_open = w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 2 * RTT);
	quic_server_close(w->link->server, w->link->now);
	assert_int_equal(w->server.closed, 1);
	assert_int_equal(w->server.why.cause, QUIC_CLOSED_HERE);
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_CLOSED_BY_PEER);
	assert_int_equal(w->client[0].why.code, QUIC_H3_NO_ERROR);
	assert_int_equal(w->near[0].cause, QUIC_CLOSED_BY_PEER);
	world_dial(w, 1);
	assert_true(world_closed(w, 1));
	assert_int_equal(w->client[1].why.cause, QUIC_NO_ANSWER);
	assert_int_equal(server_stats(w).connections, 0);
}

/*
 * The CONNECTION_CLOSE is lost; a peer that goes on sending receives it again.
 */
static void
a_lost_close_is_repeated(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 30 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 2 * RTT);
	quic_conn_close(w->server.conn, QUIC_H3_NO_ERROR, "lost", w->link->now);
	w->link->loss = 1000;
	link_run(w->link, NULL, NULL, LINK_MS);
	w->link->loss = 0;
	assert_true(link_run(w->link, is_some, &w->client[0].closed, 10 * RTT));
	assert_int_equal(w->client[0].why.cause, QUIC_CLOSED_BY_PEER);
}

/*
 * The same after idle time: a peer that has missed the CONNECTION_CLOSE
 * receives it, and not a stateless reset.
 */
static void
a_lost_close_is_repeated_after_a_rest(void **state)
{
	struct world *w = *state;

	w->client_settings.keep_alive_ns = 3600 * LINK_S;
	world_up(w);
	link_run(w->link, NULL, NULL, 20 * LINK_S);
	w->link->loss = 1000;
	quic_conn_close(w->server.conn, QUIC_H3_NO_ERROR, "lost", w->link->now);
	link_run(w->link, NULL, NULL, LINK_S);
	w->link->loss = 0;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(link_run(w->link, is_some, &w->client[0].closed, RTT));
	assert_int_equal(w->client[0].why.cause, QUIC_CLOSED_BY_PEER);
	assert_text(&w->client[0], "lost");
}

/* A server with as many connections as the link has places. */
static void
crowd(struct world *w)
{
	world_serve(w);
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		world_dial(w, i);
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		assert_true(world_connected(w, i));
	link_run(w->link, NULL, NULL, 2 * w->link->delay);
	assert_int_equal(server_stats(w).connections, LINK_CLIENTS_MAX);
}

static void
crowd_is_dropped(struct world *w)
{
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		link_drop_client(w->link, i);
}

/* Bytes that the program has allocated. */
static size_t
memory(void)
{
	return mallinfo2().uordblks;
}

#define CLOSED_MAX 4096 /* bytes that a closed connection may take */

/* A closed connection is a packet and some IDs, whichever side closed it. */
static void
a_closed_connection_is_small(void **state)
{
	struct world *w = *state;
	size_t before;

	for (int here = 0; here < 2; here++) {
		world_serve(w);
		before = memory();
		link_drop_server(w->link);
		crowd(w);
		if (here)
			quic_server_close(w->link->server, w->link->now);
		else
			for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
				quic_conn_close(w->link->clients[i],
				    QUIC_H3_NO_ERROR, "enough", w->link->now);
		link_run(w->link, NULL, NULL, RTT);
		crowd_is_dropped(w);
		link_run(w->link, NULL, NULL, RTT);
		assert_int_equal(server_stats(w).connections, 0);
		assert_int_equal(server_stats(w).closing, LINK_CLIENTS_MAX);
		assert_in_range(memory(), 0,
		    before + LINK_CLIENTS_MAX * CLOSED_MAX);
		link_drop_server(w->link);
	}
}

/* The peer's clock and path are not ours: a close is over in seconds. */
static void
a_closed_connection_is_gone_in_seconds(void **state)
{
	struct world *w = *state;

	w->client_settings.handshake_timeout_ns = LONG;
	w->server_settings.handshake_timeout_ns = LONG;
	w->link->delay = 4 * LINK_S;
	crowd(w);
	quic_server_close(w->link->server, w->link->now);
	crowd_is_dropped(w);
	assert_int_equal(server_stats(w).closing, LINK_CLIENTS_MAX);
	link_run(w->link, NULL, NULL, 3 * LINK_S);
	assert_int_equal(server_stats(w).closing, 0);
	assert_int_equal(quic_server_deadline(w->link->server), UINT64_MAX);
}

/* There is no peer to receive it: nothing is kept. */
static void
a_silent_connection_is_gone_at_once(void **state)
{
	struct world *w = *state;

	crowd(w);
	crowd_is_dropped(w);
	assert_true(link_run(w->link, is_some, &w->server.closed, LONG));
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(w->server.closed, LINK_CLIENTS_MAX);
	assert_int_equal(w->server.why.cause, QUIC_IDLE);
	assert_int_equal(server_stats(w).connections, 0);
	assert_int_equal(quic_server_deadline(w->link->server), UINT64_MAX);
}

/*
 * A handler closes the connection while the last bytes of a stream are
 * delivered.
 */
static void
closed_by_a_handler(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].habit = CLOSE;
	w->far[0].habit = HOLD;
	w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	quic_stream_finish(w->near[0].stream);
	link_run(w->link, NULL, NULL, 4 * RTT);
	w->far[0].habit = SINK;
	w->far[0].to_send = 100;
	w->far[0].stays_open = false;
	end_pump(&w->far[0]);
	assert_true(world_closed(w, 0));
	assert_true(w->near[0].aborted);
	assert_text(&w->client[0], "in the middle");
}

static void
closed_by_a_handler_of_the_server(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[0].habit = CLOSE;
	w->near[0].to_send = 100 * KB;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(world_closed(w, 0));
	assert_text(&w->client[0], "in the middle");
	assert_int_equal(w->near[0].cause, QUIC_CLOSED_BY_PEER);
	assert_int_equal(w->far[0].cause, QUIC_CLOSED_HERE);
	link_run(w->link, NULL, NULL, 10 * LINK_S);
	assert_int_equal(server_stats(w).connections, 0);
}

static void
silence_ends_it(void **state)
{
	struct world *w = *state;

	w->client_settings.keep_alive_ns = 3600 * LINK_S;
	world_up(w);
	w->near[0].stays_open = w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 29 * LINK_S);
	assert_int_equal(w->client[0].closed, 0);
	link_run(w->link, NULL, NULL, 2 * LINK_S);
	assert_int_equal(w->client[0].closed, 1);
	assert_int_equal(w->client[0].why.cause, QUIC_IDLE);
	assert_text(&w->client[0], "stopped responding");
	assert_int_equal(w->server.why.cause, QUIC_IDLE);
	assert_int_equal(w->near[0].cause, QUIC_IDLE);
	assert_true(w->far[0].aborted);
}

static void
keep_alive_keeps_it_up(void **state)
{
	struct world *w = *state;

	world_up(w);
	link_run(w->link, NULL, NULL, 600 * LINK_S);
	assert_int_equal(w->client[0].closed, 0);
	assert_int_equal(w->server.closed, 0);
	assert_true(w->link->sent_up < 200);
	w->link->loss = 1000;
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_IDLE);
}

static void
the_shorter_of_two_time_outs_counts(void **state)
{
	struct world *w = *state;

	w->server_settings.idle_timeout_ns = 5 * LINK_S;
	world_up(w);
	link_run(w->link, NULL, NULL, 600 * LINK_S);
	assert_int_equal(w->client[0].closed, 0);
	assert_in_range(w->link->sent_up, 240, 400);
}

#define DAY (24 * 3600 * LINK_S)

/* How long it takes to open a tunnel now, answer and all. */
static uint64_t
time_to_answer(struct world *w)
{
	uint64_t start = w->link->now;

	w->near[0].stays_open = w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(link_run(w->link, is_true, &w->near[0].answered, LONG));
	return w->link->now - start;
}

/* A day without a request; the next request need not wait. */
static void
a_day_of_idleness(void **state)
{
	struct world *w = *state;
	size_t sent;

	w->client_settings.silence_ns = LINK_S;
	world_up(w);
	sent = w->link->sent_up + w->link->sent_down;
	link_run(w->link, NULL, NULL, DAY);
	assert_int_equal(w->client[0].closed, 0);
	assert_int_equal(w->client[0].silent, 0);
	sent = w->link->sent_up + w->link->sent_down - sent;
	assert_in_range(sent, 2 * (DAY / (15 * LINK_S)),
	    3 * (DAY / (15 * LINK_S)));
	assert_in_range(time_to_answer(w), RTT, RTT + LINK_MS);
}

/* How long an upload takes, from its request on. */
static uint64_t
time_to_send(struct world *w, unsigned i)
{
	uint64_t start = w->link->now;

	w->near[i].to_send = 4 * MB;
	assert_int_equal(tunnel_open(w, i), 0);
	assert_true(link_run(w->link, is_true, &w->far[i].ended, LONG));
	return w->link->now - start;
}

/* BBR must not measure the path when there is something to send again. */
static void
a_rest_costs_no_time(void **state)
{
	struct world *w = *state;
	uint64_t busy = 0, sent;
	unsigned i, slow = 0;

	world_up(w);
	for (i = 0; i < 10; i++)
		busy = time_to_send(w, i);
	/* Rests of 10 to 14 seconds; it must measure now and then, ... */
	for (; i < 15; i++) {
		link_run(w->link, NULL, NULL, i * LINK_S);
		slow += time_to_send(w, i) > busy + LINK_MS;
	}
	/* ... and rests of 1.1 to 4.7 seconds. */
	for (; i < 55; i++) {
		link_run(w->link, NULL, NULL,
		    (i % 4 + 1) * LINK_S + (3 * i % 7 + 1) * LINK_S / 10);
		slow += time_to_send(w, i) > busy + LINK_MS;
	}
	assert_in_range(slow, 0, 4);
	/* It does not go on like that for ever. */
	link_run(w->link, NULL, NULL, 70 * LINK_S);
	sent = w->link->sent_up;
	link_run(w->link, NULL, NULL, 600 * LINK_S);
	assert_in_range(w->link->sent_up - sent, 40, 80);
}

/*
 * A day passes in one moment. The connection is over at once, whatever still
 * arrives from the day before, and the next one takes a round trip, as does
 * the answer to its first request.
 */
static void
a_day_of_sleep(void **state)
{
	struct world *w = *state;
	uint64_t woken;

	world_up(w);
	w->near[1].stays_open = w->far[1].stays_open = true;
	assert_int_equal(tunnel_open(w, 1), 0);
	link_run(w->link, NULL, NULL, LINK_S);
	w->far[1].to_send = 10;
	end_pump(&w->far[1]);
	link_run(w->link, NULL, NULL, LINK_MS);
	w->link->now += DAY;
	woken = w->link->now;
	assert_true(world_closed(w, 0));
	assert_int_equal(w->link->now, woken);
	assert_int_equal(w->client[0].why.cause, QUIC_IDLE);
	assert_true(w->near[1].aborted);
	link_drop_client(w->link, 0);
	world_dial(w, 0);
	assert_true(world_connected(w, 0));
	assert_true(stats_of(near_conn(w)).resumed);
	time_to_answer(w);
	assert_in_range(w->link->now - woken, 2 * RTT, 2 * RTT + LINK_MS);
}

/* A peer cannot have a packet in every millisecond. */
static void
no_patience_is_no_order(void **state)
{
	struct world *w = *state;

	w->server_settings.idle_timeout_ns = LINK_MS;
	world_up(w);
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_IDLE);
	assert_true(w->link->sent_up < 20);
}

/* ---- qlog ---- */

struct text {
	size_t len;
	char data[1 << 20];
};

static void
on_qlog(struct quic_conn *conn, const void *data, size_t len, void *arg)
{
	struct text *text = arg;

	(void)conn;
	assert_true(text->len + len < sizeof(text->data));
	memcpy(text->data + text->len, data, len);
	text->len += len;
}

static void
a_log_is_written(void **state)
{
	static const struct quic_events events = { .qlog = on_qlog };
	static struct text text;
	struct quic_path path = link_path(0);
	struct world *w = *state;

	world_serve(w);
	assert_int_equal(quic_client_new(&w->link->clients[0], w->client_tls,
			     SERVER_NAME, &path, &w->client_settings, &events,
			     &text, w->link->now),
	    0);
	assert_true(link_run(w->link, is_some, &w->server.connected, LONG));
	assert_int_equal(text.data[0], 0x1e); /* RFC 7464 */
	assert_non_null(strstr(text.data, "packet_sent"));
	assert_non_null(strstr(text.data, "packet_received"));
	link_run(w->link, NULL, NULL, LINK_S);
	assert_non_null(strstr(text.data,
	    "\"name\":\"quic:mtu_updated\","
	    "\"data\":{\"old\":1228,\"new\":1500,\"done\":true}}\n"));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(no_answer),
		TEST(a_request_waits_for_the_connection),
		TEST(a_handshake_survives_loss),
		TEST(some_is_lost),
		TEST(some_is_late),
		TEST(some_comes_twice),
		TEST(all_of_it_at_once),
		TEST(some_is_marked),
		TEST(the_largest_packet_is_found),
		TEST(an_address_flaps),
		TEST(an_address_flaps_without_probes),
		TEST(an_address_changes_for_good),
		TEST(keys_are_updated_under_way),
		TEST(closed_by_the_client),
		TEST(closed_by_the_server),
		TEST(a_lost_close_is_repeated),
		TEST(a_lost_close_is_repeated_after_a_rest),
		TEST(a_closed_connection_is_small),
		TEST(a_closed_connection_is_gone_in_seconds),
		TEST(a_silent_connection_is_gone_at_once),
		TEST(closed_by_a_handler),
		TEST(closed_by_a_handler_of_the_server),
		TEST(silence_ends_it),
		TEST(keep_alive_keeps_it_up),
		TEST(the_shorter_of_two_time_outs_counts),
		TEST(a_day_of_idleness),
		TEST(a_rest_costs_no_time),
		TEST(a_day_of_sleep),
		TEST(no_patience_is_no_order),
		TEST(a_log_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
