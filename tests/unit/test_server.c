#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/internal.h"
#include "tests/unit/world.h"

/* A server with clients that it does not know, and after a restart. */

#define EXCESSIVE_LOAD 0x107 /* RFC 9114 §8.1 */

/* ---- Losses ---- */

static bool
lose_up(struct link_datagram *d, void *arg)
{
	(void)arg;
	return !d->up;
}

/* ---- Addresses ---- */

/* Beyond one half-open handshake, clients must prove their address. */
static void
retry_validates_addresses(void **state)
{
	struct world *w = *state;

	w->server_settings.half_open_max = 1;
	world_serve(w);
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		world_dial(w, i);
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		assert_true(world_connected(w, i));
	assert_int_equal(server_stats(w).retries_sent, LINK_CLIENTS_MAX - 1);
	assert_true(link_run(w->link, NULL, NULL, LINK_S));
	assert_int_equal(server_stats(w).accepted, LINK_CLIENTS_MAX);
	assert_int_equal(server_stats(w).half_open, 0);
}

/* The token of an earlier connection is such a proof. */
static void
a_known_address_needs_no_retry(void **state)
{
	struct world *w = *state;

	w->server_settings.half_open_max = 1;
	world_up(w);
	link_run(w->link, NULL, NULL, LINK_S);
	link_drop_client(w->link, 0);
	world_dial(w, 1);
	world_dial(w, 0);
	assert_true(world_connected(w, 0));
	assert_true(world_connected(w, 1));
	assert_int_equal(server_stats(w).retries_sent, 0);
}

#define INVALID_TOKEN 0xb /* RFC 9000 §20.1 */

/* Two clients, and the second one has been sent a Retry. */
static void
require_proof(struct world *w)
{
	w->client_settings.handshake_timeout_ns = LONG;
	w->server_settings.half_open_max = 1;
	world_serve(w);
	world_dial(w, 0);
	world_dial(w, 1);
	link_run(w->link, NULL, NULL, RTT - LINK_MS);
	assert_int_equal(server_stats(w).retries_sent, 1);
}

/* Its token is refused at once, and with a new one it gets in. */
static void
token_is_refused(struct world *w)
{
	assert_true(link_run(w->link, is_some, &w->client[1].closed,
	    10 * LINK_S));
	assert_int_equal(w->client[1].why.cause, QUIC_CLOSED_BY_PEER);
	assert_false(w->client[1].why.application);
	assert_int_equal(w->client[1].why.code, INVALID_TOKEN);
	assert_text(&w->client[1], "rejected the address");
	assert_int_equal(server_stats(w).tokens_rejected, 1);
	link_drop_client(w->link, 1);
	world_dial(w, 1);
	assert_true(world_connected(w, 1));
}

/* A NAT gives the client another port before it answers the Retry. */
static void
a_token_of_another_address_is_refused(void **state)
{
	struct world *w = *state;

	require_proof(w);
	w->link->port[1]++;
	token_is_refused(w);
}

static void
a_stale_token_is_refused(void **state)
{
	struct world *w = *state;

	require_proof(w);
	w->link->tamper = lose_up;
	link_run(w->link, NULL, NULL, 11 * LINK_S);
	w->link->tamper = NULL;
	token_is_refused(w);
}

/* ---- Crowds ---- */

#define CROWD 12

/*
 * Four a second are admitted: the first four at once, and the others later,
 * without any time-out.
 */
static void
many_clients_are_admitted_in_parts(void **state)
{
	struct world *w = *state;
	uint64_t start = w->link->now;

	w->client_settings.handshake_timeout_ns = LONG;
	w->server_settings.handshakes_max = 4;
	world_serve(w);
	for (size_t i = 0; i < CROWD; i++)
		world_dial(w, i);
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(server_stats(w).accepted, 4);
	assert_true(server_stats(w).retries_sent >= CROWD - 4);
	for (size_t i = 0; i < CROWD; i++)
		assert_true(world_connected(w, i));
	assert_true(server_stats(w).postponed > 0);
	assert_true(w->link->now - start >= 2 * LINK_S);
}

/* Clients of other sources are served within a Retry. */
static void
many_clients_leave_room_for_others(void **state)
{
	struct world *w = *state;
	uint64_t start;

	w->server_settings.handshakes_max = 8;
	world_serve(w);
	for (size_t i = 1; i < LINK_CLIENTS_MAX; i++)
		world_dial(w, i);
	link_run(w->link, NULL, NULL, RTT);
	start = w->link->now;
	world_dial_from(w, 0, 1);
	assert_true(world_connected(w, 0));
	assert_in_range(w->link->now - start, RTT, 3 * RTT);
	for (size_t i = 1; i < LINK_CLIENTS_MAX; i++)
		assert_true(world_connected(w, i));
}

/* Those clients are connected, and each has a tunnel. */
static void
are_of_use(struct world *w, size_t n)
{
	for (unsigned i = 0; i < n; i++) {
		world_dial(w, i);
		assert_true(world_connected(w, i));
		w->near[i].client = i;
		w->near[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
		assert_true(link_run(w->link, is_true, &w->near[i].answered,
		    LONG));
	}
	link_run(w->link, NULL, NULL, RTT);
}

/* There is no room for that client until the first one goes. */
static void
waits_for_room(struct world *w, size_t i)
{
	world_dial(w, i);
	assert_true(world_closed(w, i));
	assert_int_equal(w->client[i].connected, 0);
	assert_text(&w->client[i], "accepts no new connections");
	assert_int_equal(server_stats(w).refused, 1);
	quic_conn_close(near_conn(w), QUIC_H3_NO_ERROR, "making room",
	    w->link->now);
	link_run(w->link, NULL, NULL, RTT);
	link_drop_client(w->link, i);
	world_dial(w, i);
	assert_true(world_connected(w, i));
}

/* They all come from one address, whatever the port. */
static void
a_source_has_its_share(void **state)
{
	struct world *w = *state;

	w->server_settings.source_max = 2;
	world_serve(w);
	are_of_use(w, 2);
	waits_for_room(w, 2);
}

/* A client of a full server has its answer at once. */
static void
all_sources_have_a_limit(void **state)
{
	struct world *w = *state;

	w->server_settings.connections_max = 1;
	world_serve(w);
	are_of_use(w, 1);
	waits_for_room(w, 1);
}

/* Only the first two packets of each client arrive: so far goes a Retry. */
static bool
fall_silent(struct link_datagram *d, void *arg)
{
	unsigned *sent = arg;

	return !d->up || ++sent[d->client] <= 2;
}

/*
 * A client that has proven its address and leaves handshakes unfinished has a
 * limit, too.
 */
static void
a_source_has_its_share_of_handshakes(void **state)
{
	unsigned sent[LINK_CLIENTS_MAX] = {
		1
	}; /* it need not prove its address */
	struct world *w = *state;

	w->server_settings.half_open_max = 1;
	w->server_settings.source_max = 2;
	w->link->tamper = fall_silent;
	w->link->tamper_arg = sent;
	world_serve(w);
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		world_dial(w, i);
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(server_stats(w).half_open, 1 + 2);
	assert_int_equal(server_stats(w).evicted, LINK_CLIENTS_MAX - 3);
	link_run(w->link, NULL, NULL, LONG);
	assert_int_equal(server_stats(w).connections, 0);
	w->link->tamper = NULL;
	link_drop_client(w->link, 0);
	world_dial(w, 0);
	assert_true(world_connected(w, 0));
}

/* ---- Room for newcomers ---- */

static void
connect_all(struct world *w, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		world_dial(w, i);
		assert_true(world_connected(w, i));
	}
	link_run(w->link, NULL, NULL, RTT);
}

/* The reason that client got: its place was needed. */
static void
assert_evicted(struct world *w, size_t i)
{
	assert_true(world_closed(w, i));
	assert_int_equal(w->client[i].why.cause, QUIC_CLOSED_BY_PEER);
	assert_true(w->client[i].why.application);
	assert_int_equal(w->client[i].why.code, EXCESSIVE_LOAD);
	assert_text(&w->client[i], "idle");
}

/* Connections without a request are evicted, the oldest first. */
static void
a_newcomer_takes_the_place_of_the_idle(void **state)
{
	struct world *w = *state;

	w->server_settings.connections_max = 4;
	world_serve(w);
	are_of_use(w, 1);
	connect_all(w, 1, 4);
	assert_int_equal(server_stats(w).connections, 4);
	for (size_t i = 4; i < LINK_CLIENTS_MAX; i++) {
		connect_all(w, i, i + 1);
		assert_evicted(w, i - 3);
		assert_int_equal(server_stats(w).connections, 4);
		assert_int_equal(w->client[i - 2].closed, 0);
	}
	assert_int_equal(server_stats(w).evicted, LINK_CLIENTS_MAX - 4);
	assert_int_equal(server_stats(w).refused, 0);
	w->near[0].to_send = KB;
	w->near[0].stays_open = false;
	end_pump(&w->near[0]);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->far[0], KB);
}

/* Before all places are taken: some are for clients that come at once. */
static void
some_room_is_kept(void **state)
{
	struct world *w = *state;

	w->server_settings.connections_max = LINK_CLIENTS_MAX;
	world_serve(w);
	connect_all(w, 0, LINK_CLIENTS_MAX);
	assert_int_equal(server_stats(w).connections,
	    LINK_CLIENTS_MAX - LINK_CLIENTS_MAX / 8);
	for (size_t i = 0; i < LINK_CLIENTS_MAX / 8; i++)
		assert_evicted(w, i);
}

/* A request that is refused does not count as use. */
static void
a_refused_request_keeps_no_room(void **state)
{
	struct world *w = *state;

	w->server_settings.connections_max = 2;
	world_serve(w);
	w->far[0].status = "407";
	are_of_use(w, 2);
	connect_all(w, 2, 3);
	assert_evicted(w, 0);
	assert_int_equal(w->client[1].closed, 0);
}

/* Nor is one that was of use, and has had no stream for a minute. */
static void
a_long_rest_keeps_no_room(void **state)
{
	struct world *w = *state;

	w->server_settings.connections_max = 2;
	world_serve(w);
	are_of_use(w, 2);
	quic_stream_reset(w->near[1].stream, QUIC_H3_REQUEST_CANCELLED);
	link_run(w->link, NULL, NULL, 50 * LINK_S);
	world_dial(w, 2);
	assert_true(world_closed(w, 2));
	assert_text(&w->client[2], "accepts no new connections");
	link_run(w->link, NULL, NULL, 10 * LINK_S);
	link_drop_client(w->link, 2);
	connect_all(w, 2, 3);
	assert_evicted(w, 1);
	assert_int_equal(w->client[0].closed, 0);
	/* The tunnel has been open all the time. */
	link_run(w->link, NULL, NULL, LONG);
	connect_all(w, 3, 4);
	assert_evicted(w, 2);
	assert_int_equal(w->client[0].closed, 0);
}

/* ... even if that stream and the newcomer come at the same time. */
static void
a_rest_ends_with_a_request(void **state)
{
	struct world *w = *state;

	w->server_settings.connections_max = 1;
	world_serve(w);
	are_of_use(w, 1);
	quic_stream_reset(w->near[0].stream, QUIC_H3_REQUEST_CANCELLED);
	link_run(w->link, NULL, NULL, 2 * LONG);
	w->near[1].stays_open = true;
	assert_int_equal(tunnel_open(w, 1), 0);
	world_dial(w, 1);
	assert_true(world_closed(w, 1));
	assert_text(&w->client[1], "accepts no new connections");
	assert_int_equal(w->client[0].closed, 0);
	assert_true(w->near[1].answered);
}

/* The first packet of each client arrives, and no other. */
static bool
say_no_more(struct link_datagram *d, void *arg)
{
	unsigned *sent = arg;

	return !d->up || d->client == 0 || ++sent[d->client] <= 1;
}

/* An attacker can forge any address. */
static void
a_forged_address_takes_no_room(void **state)
{
	unsigned sent[LINK_CLIENTS_MAX] = { 0 };
	struct world *w = *state;

	w->server_settings.connections_max = 1;
	world_serve(w);
	connect_all(w, 0, 1);
	w->link->tamper = say_no_more;
	w->link->tamper_arg = sent;
	for (size_t i = 1; i < LINK_CLIENTS_MAX; i++)
		world_dial_from(w, i, 1);
	link_run(w->link, NULL, NULL, LONG);
	assert_true(server_stats(w).retries_sent >= LINK_CLIENTS_MAX - 1);
	assert_int_equal(server_stats(w).evicted, 0);
	assert_int_equal(w->client[0].closed, 0);
}

static bool
lose_first_up(struct link_datagram *d, void *arg)
{
	(void)arg;
	return !d->up || d->client != 0;
}

/* A client that does not end what was reset is idle all the same. */
static void
what_the_peer_keeps_open_is_idle(void **state)
{
	struct world *w = *state;

	w->server_settings.connections_max = 1;
	w->client_settings.idle_timeout_ns = 600 * LINK_S;
	w->server_settings.idle_timeout_ns = 600 * LINK_S;
	world_serve(w);
	connect_all(w, 0, 1);
	for (unsigned i = 0; i < 10; i++) {
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, LINK_S);
	w->link->tamper = lose_first_up;
	for (unsigned i = 0; i < 10; i++) {
		quic_stream_reset(w->far[i].stream, QUIC_H3_CONNECT_ERROR);
		w->far[i].stream = NULL;
	}
	link_run(w->link, NULL, NULL, 5 * QUIC_FLUSH_STALL_NS);
	assert_int_equal(server_stats(w).connections, 1);
	connect_all(w, 1, 2);
	assert_int_equal(server_stats(w).evicted, 1);
}

/* Connects a client from an address that it shares with those at `place`. */
static void
connect_from(struct world *w, size_t i, size_t place)
{
	world_dial_from(w, i, place);
	assert_true(world_connected(w, i));
	link_run(w->link, NULL, NULL, RTT);
}

/* A source that fills its places cannot take those of others. */
static void
a_source_makes_room_for_its_own(void **state)
{
	struct world *w = *state;

	w->server_settings.source_max = 2;
	w->server_settings.connections_max = 4;
	world_serve(w);
	connect_from(w, 0, 0);
	for (size_t i = 1; i < 8; i++)
		connect_from(w, i, 1);
	assert_int_equal(server_stats(w).connections, 3);
	assert_int_equal(server_stats(w).evicted, 5);
	assert_int_equal(w->client[0].closed, 0);
	connect_from(w, 8, 2);
	connect_from(w, 9, 3);
	assert_evicted(w, 0);
	assert_int_equal(server_stats(w).connections, 4);
}

/* ---- Versions ---- */

/* Stores the datagrams that a test checks. */
struct tap {
	bool up;
	unsigned n;
	size_t len; /* of the last */
	uint8_t data[LINK_DATAGRAM_MAX];
};

static bool
keep_last(struct link_datagram *d, void *arg)
{
	struct tap *tap = arg;

	if (d->up != tap->up)
		return true;
	tap->n++;
	tap->len = d->len;
	memcpy(tap->data, d->data, d->len);
	return true;
}

static void
the_server_names_its_versions(void **state)
{
	static const uint8_t head[] = { 0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8, 'd',
		'e', 's', 't', 'c', 'i', 'd', '1', 3, 's', 'r', 'c' };
	static const uint8_t answer[] = { 0, 0, 0, 0, 3, 's', 'r', 'c', 8, 'd',
		'e', 's', 't', 'c', 'i', 'd', '1', 0, 0, 0, 1 };
	uint8_t packet[1200] = { 0 };
	struct world *w = *state;
	struct tap tap = { .up = false };

	memcpy(packet, head, sizeof(head));
	w->link->tamper = keep_last;
	w->link->tamper_arg = &tap;
	world_serve(w);
	link_inject(w->link, true, 0, packet, sizeof(packet) - 1);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(tap.n, 0);
	link_inject(w->link, true, 0, packet, sizeof(packet));
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(tap.n, 1);
	assert_int_equal(tap.data[0] & 0x80, 0x80);
	assert_int_equal(tap.len, 1 + sizeof(answer));
	assert_memory_equal(tap.data + 1, answer, sizeof(answer));
}

/* Answers a client's Initial with a list of one version (RFC 9000 §17.2.1). */
static void
negotiate(struct world *w, const struct tap *initial, uint32_t version)
{
	size_t dcid = initial->data[5], scid = initial->data[6 + dcid], n = 5;
	uint8_t packet[64] = { 0x80 };

	packet[n++] = (uint8_t)scid;
	memcpy(packet + n, initial->data + 7 + dcid, scid);
	n += scid;
	packet[n++] = (uint8_t)dcid;
	memcpy(packet + n, initial->data + 6, dcid);
	n += dcid;
	for (int shift = 24; shift >= 0; shift -= 8)
		packet[n++] = (uint8_t)(version >> shift);
	link_inject(w->link, false, 0, packet, n);
}

static void
the_client_knows_one_version(void **state)
{
	struct world *w = *state;
	struct tap tap = { .up = true };

	w->link->tamper = keep_last;
	w->link->tamper_arg = &tap;
	world_dial(w, 0);
	link_run(w->link, NULL, NULL, LINK_MS);
	negotiate(w, &tap, 1); /* a lie, to be ignored */
	link_run(w->link, NULL, NULL, LINK_MS);
	assert_int_equal(w->client[0].closed, 0);
	negotiate(w, &tap, 0xff00001d);
	link_run(w->link, NULL, NULL, LINK_MS);
	assert_int_equal(w->client[0].closed, 1);
	assert_int_equal(w->client[0].why.cause, QUIC_NO_VERSION);
	assert_text(&w->client[0], "QUIC version 1");
}

/* ---- Restarts ---- */

/* The edge is started again: with its old secret it can say so. */
static void
restart(struct world *w)
{
	world_up(w);
	w->near[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, LINK_S);
	link_drop_server(w->link);
}

static void
a_restart_is_noticed(void **state)
{
	struct world *w = *state;
	uint64_t start;

	restart(w);
	world_serve(w);
	w->near[0].to_send = KB;
	end_pump(&w->near[0]);
	start = w->link->now;
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_RESET);
	assert_text(&w->client[0], "restarted");
	assert_in_range(w->link->now - start, RTT, RTT + LINK_MS);
	assert_int_equal(w->near[0].cause, QUIC_RESET);
	assert_true(server_stats(w).resets_sent > 0);
}

/* Even when the client has nothing but a PING to say. */
static void
a_restart_is_noticed_in_quiet(void **state)
{
	struct world *w = *state;
	uint64_t start;

	restart(w);
	world_serve(w);
	start = w->link->now;
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_RESET);
	assert_true(w->link->now - start < 16 * LINK_S);
}

static void
a_reset_cannot_be_forged(void **state)
{
	struct world *w = *state;

	restart(w);
	w->secret[0]++;
	world_serve(w);
	w->near[0].to_send = KB;
	end_pump(&w->near[0]);
	assert_true(world_closed(w, 0));
	assert_true(server_stats(w).resets_sent > 0);
	assert_int_equal(w->client[0].why.cause, QUIC_IDLE);
}

/* Nor does it delay a client's notice of a dead server. */
static void
what_cannot_be_opened_is_silence(void **state)
{
	struct world *w = *state;

	w->client_settings.silence_ns = LINK_S;
	restart(w);
	w->secret[0]++;
	world_serve(w);
	w->near[0].to_send = KB;
	end_pump(&w->near[0]);
	assert_true(link_run(w->link, is_some, &w->client[0].silent,
	    3 * LINK_S));
	assert_true(server_stats(w).resets_sent > 0);
}

/* ---- Heads that do not come ---- */

#define REQUEST_INCOMPLETE 0x10d

/* Every third packet of the client is lost, and all when `left` is 0. */
static bool
lose_ends(struct link_datagram *d, void *arg)
{
	unsigned *left = arg;

	if (!d->up)
		return true;
	return *left > 0 && --*left % 3 != 0;
}

/* Requests of three packets each, none of which is complete. */
static void
request_in_part(struct world *w, unsigned n)
{
	static unsigned left;
	char value[3000];
	struct quic_field field = { "x", value };

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	w->client_settings.no_mtu_probe = true;
	world_up(w);
	link_run(w->link, NULL, NULL, LINK_S);
	left = 3 * n;
	w->link->tamper = lose_ends;
	w->link->tamper_arg = &left;
	for (unsigned i = 0; i < n; i++) {
		w->near[i].stays_open = true;
		assert_int_equal(tunnel_open_with(w, i, &field), 0);
	}
	link_run(w->link, NULL, NULL, RTT);
	assert_int_equal(stats_of(w->server.conn).streams, n);
	assert_int_equal(w->requests, 0);
}

static void
a_head_must_come_in_time(void **state)
{
	struct world *w = *state;

	/* It comes again before twice that time has passed. */
	request_in_part(w, 1);
	link_run(w->link, NULL, NULL, 4 * LINK_S);
	w->link->tamper = NULL;
	assert_true(link_run(w->link, is_true, &w->near[0].answered, LONG));
	world_down(w);
	w->requests = 0;
	request_in_part(w, 1);
	link_run(w->link, NULL, NULL, 10 * LINK_S);
	w->link->tamper = NULL;
	assert_true(link_run(w->link, is_true, &w->near[0].aborted, LONG));
	assert_int_equal(w->near[0].code, REQUEST_INCOMPLETE);
	link_run(w->link, NULL, NULL, 20 * LINK_S);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
	/* The time limit does not hold for complete requests. */
	w->near[1].stays_open = true;
	assert_int_equal(tunnel_open(w, 1), 0);
	link_run(w->link, NULL, NULL, LONG);
	assert_true(w->near[1].answered && !w->near[1].aborted);
}

static void
few_heads_come_at_a_time(void **state)
{
	struct world *w = *state;

	w->server_settings.heads_max = 2;
	request_in_part(w, 4);
	w->link->tamper = NULL;
	link_run(w->link, NULL, NULL, LONG);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(w->near[i].aborted, i < 2);
		assert_int_equal(w->near[i].answered, i >= 2);
	}
	assert_int_equal(w->near[0].code, EXCESSIVE_LOAD);
	assert_int_equal(w->requests, 2);
}

/* ---- Reloads ---- */

/*
 * The old connection does not notice, and the next one sees the new
 * certificate.
 */
static void
a_reload_is_for_new_connections(void **state)
{
	struct world *w = *state;
	char *cert, *key;

	world_up(w);
	w->near[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(quic_tls_self_signed("other.example", UNIX_NOW - 1,
			     &cert, &key),
	    0);
	world_present(w, cert, key, NULL);
	w->server_settings.streams_max = 1;
	quic_server_reload(w->link->server, w->server_tls, &w->server_settings);
	/* With the ticket the server would not send its certificate. */
	world_dial(w, 1);
	assert_true(world_closed(w, 1));
	assert_int_equal(w->client[1].why.cause, QUIC_BAD_CERTIFICATE);
	world_trust(w, cert, NULL, NULL, NULL);
	w->server_name = "other.example";
	world_dial(w, 2);
	assert_true(world_connected(w, 2));
	w->near[0].to_send = MB;
	w->near[0].stays_open = false;
	end_pump(&w->near[0]);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->far[0], MB);
	/* Settings are new, too. */
	link_drop_client(w->link, 0);
	world_dial(w, 0);
	assert_true(world_connected(w, 0));
	tunnels_forget(w);
	w->near[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_int_equal(tunnel_open(w, 1), -EAGAIN);
	free(cert);
	free(key);
}

/* ---- Drains ---- */

/* A server with one tunnel that is open both ways, and then drains. */
static void
drain_with_a_tunnel(struct world *w)
{
	world_up(w);
	w->near[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 2 * RTT);
	assert_true(w->near[0].answered);
	quic_server_drain(w->link->server, w->link->now);
}

static void
finish_tunnel(struct world *w)
{
	w->near[0].stays_open = false;
	end_pump(&w->near[0]);
	assert_true(tunnels_done(w, 1));
}

static void
a_drain_lets_tunnels_end(void **state)
{
	struct world *w = *state;

	drain_with_a_tunnel(w);
	assert_true(link_run(w->link, is_some, &w->client[0].draining, RTT));
	assert_int_equal(tunnel_open(w, 1), -EPIPE);
	assert_int_equal(stats_of(near_conn(w)).streams, 1);
	link_run(w->link, NULL, NULL, LONG);
	quic_server_drain(w->link->server, w->link->now);
	assert_int_equal(w->client[0].closed, 0);
	w->near[0].to_send = MB;
	finish_tunnel(w);
	assert_whole(&w->far[0], MB);
	assert_false(w->near[0].aborted);
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_CLOSED_BY_PEER);
	assert_int_equal(w->client[0].why.code, QUIC_H3_NO_ERROR);
	assert_int_equal(w->client[0].draining, 1);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(server_stats(w).connections, 0);
}

/* The owner releases the stream after all is acknowledged. */
static void
a_drain_waits_for_its_owner(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = KB;
	w->far[0].habit = HOLD;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 2 * RTT);
	quic_server_drain(w->link->server, w->link->now);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(w->client[0].closed, 0);
	w->far[0].habit = SINK;
	end_pump(&w->far[0]);
	assert_null(w->far[0].stream);
	assert_true(link_run(w->link, is_some, &w->client[0].closed, RTT));
}

static void
a_request_under_way_is_served(void **state)
{
	struct world *w = *state;

	drain_with_a_tunnel(w);
	w->near[1].to_send = w->far[1].to_send = 10 * KB;
	assert_int_equal(tunnel_open(w, 1), 0);
	assert_int_equal(w->client[0].draining, 0);
	finish_tunnel(w);
	assert_true(world_closed(w, 0));
	assert_whole(&w->near[1], 10 * KB);
	assert_whole(&w->far[1], 10 * KB);
	assert_int_equal(w->requests, 2);
}

static bool
lose_down(struct link_datagram *d, void *arg)
{
	(void)arg;
	return d->up;
}

/*
 * The GOAWAY has not arrived: the server has not processed the request, either.
 */
static void
a_late_request_is_rejected(void **state)
{
	struct world *w = *state;

	drain_with_a_tunnel(w);
	w->link->tamper = lose_down;
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(w->client[0].draining, 0);
	assert_int_equal(tunnel_open(w, 1), 0);
	link_run(w->link, NULL, NULL, RTT);
	w->link->tamper = NULL;
	assert_true(link_run(w->link, is_true, &w->near[1].aborted, LONG));
	assert_int_equal(w->near[1].code, QUIC_H3_REQUEST_REJECTED);
	assert_false(w->near[1].connection_lost);
	assert_int_equal(w->requests, 1);
	finish_tunnel(w);
	assert_false(w->near[0].aborted);
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.code, QUIC_H3_NO_ERROR);
}

/* GOAWAY says that the request was not processed: a reset is not needed. */
static void
a_request_that_is_lost_is_rejected(void **state)
{
	struct world *w = *state;

	drain_with_a_tunnel(w);
	w->link->tamper = lose_up;
	assert_int_equal(tunnel_open(w, 1), 0);
	assert_true(link_run(w->link, is_true, &w->near[1].aborted, LONG));
	assert_int_equal(w->near[1].code, QUIC_H3_REQUEST_REJECTED);
	assert_int_equal(w->requests, 1);
}

#define CONTROL 3 /* the server's control stream */

/* GOAWAY with an ID that our own server would not name. */
static void
go_away(struct world *w, uint8_t id)
{
	uint8_t frame[] = { 0x07, 1, id }, packet[1200];
	ngtcp2_vec vec = { frame, sizeof(frame) };
	ngtcp2_path_storage ps;
	ngtcp2_ssize n, taken;
	ngtcp2_pkt_info pi;

	ngtcp2_path_storage_zero(&ps);
	mtu_probe_watch(w->server.conn);
	n = ngtcp2_conn_writev_stream(w->server.conn->quic, &ps.path, &pi,
	    packet, sizeof(packet), &taken, 0, CONTROL, &vec, 1, w->link->now);
	mtu_probe_watch(NULL);
	assert_true(n > 0);
	assert_int_equal(taken, sizeof(frame));
	link_inject(w->link, false, 0, packet, (size_t)n);
}

/* Streams 0 and 4 have their answers, and 8 has not. */
static void
an_answer_outweighs_a_goaway(void **state)
{
	struct world *w = *state;

	world_up(w);
	for (unsigned i = 0; i < 3; i++) {
		w->near[i].stays_open = w->far[i].stays_open = true;
		if (i == 2)
			w->link->tamper = lose_up;
		assert_int_equal(tunnel_open(w, i), 0);
		link_run(w->link, NULL, NULL, 2 * RTT);
	}
	w->link->tamper = NULL;
	go_away(w, 4);
	assert_true(link_run(w->link, is_some, &w->client[0].draining, RTT));
	go_away(w, 0);
	link_run(w->link, NULL, NULL, RTT);
	assert_true(w->near[2].aborted);
	assert_int_equal(w->near[2].code, QUIC_H3_REQUEST_REJECTED);
	for (unsigned i = 0; i < 2; i++) {
		w->far[i].to_send = w->near[i].to_send = MB;
		w->near[i].stays_open = w->far[i].stays_open = false;
		end_pump(&w->near[i]);
		end_pump(&w->far[i]);
	}
	assert_true(tunnels_done(w, 2));
	for (unsigned i = 0; i < 2; i++) {
		assert_whole(&w->near[i], MB);
		assert_whole(&w->far[i], MB);
	}
}

#define UNANSWERED 1000

struct rejected {
	struct world *w;
	unsigned most, all; /* aborted, in one step and in all ... */
	unsigned due;	    /* ... or about to be, at most at a time */
};

static bool
all_rejected(void *arg)
{
	struct rejected *r = arg;
	unsigned n = 0, due = 0;

	for (unsigned i = 0; i < UNANSWERED; i++) {
		n += r->w->near[i].aborted;
		due += r->w->near[i].stream != NULL &&
		    r->w->near[i].stream->pending != 0;
	}
	if (due > r->due)
		r->due = due;
	if (n - r->all > r->most)
		r->most = n - r->all;
	r->all = n;
	return n == UNANSWERED;
}

/* A few at a time, and one after another without a pause. */
static void
a_goaway_is_handled_in_parts(void **state)
{
	struct world *w = *state;
	struct rejected r = { .w = w };
	uint64_t now;

	world_up(w);
	link_run(w->link, NULL, NULL, 2 * RTT);
	w->link->tamper = lose_up;
	for (unsigned i = 0; i < UNANSWERED; i++)
		assert_int_equal(tunnel_open(w, i), 0);
	link_run(w->link, NULL, NULL, LINK_MS);
	go_away(w, 0);
	now = w->link->now;
	assert_true(link_run(w->link, all_rejected, &r, RTT));
	assert_int_equal(w->link->now, now);
	assert_in_range(r.most, 1, 2 * 64); /* two calls a step */
	assert_in_range(r.due, 0, 2 * 64);
}

/* A client may keep its half of a refused request open. */
static void
a_drain_does_not_wait_for_the_refused(void **state)
{
	struct world *w = *state;

	world_up(w);
	for (unsigned i = 0; i < 2; i++) {
		w->near[i].stays_open = true;
		w->far[i].status = "403";
		w->far[i].lets_go = true;
		assert_int_equal(tunnel_open(w, i), 0);
		if (i == 0)
			link_run(w->link, NULL, NULL, LINK_S);
	}
	link_run(w->link, NULL, NULL, RTT / 2);
	quic_server_drain(w->link->server, w->link->now);
	assert_true(link_run(w->link, is_some, &w->client[0].closed, 10 * RTT));
	assert_true(w->near[1].ended);
}

static void
a_drain_closes_what_is_idle(void **state)
{
	struct world *w = *state;
	uint64_t start;

	world_up(w);
	world_dial(w, 1);
	link_run(w->link, NULL, NULL, RTT - LINK_MS); /* its last flight */
	start = w->link->now;
	assert_int_equal(w->client[1].connected, 0);
	quic_server_drain(w->link->server, w->link->now);
	for (size_t i = 0; i < 2; i++) {
		assert_true(world_closed(w, i));
		assert_int_equal(w->client[i].connected, 1);
		assert_int_equal(w->client[i].draining, 1);
		assert_int_equal(w->client[i].why.code, QUIC_H3_NO_ERROR);
	}
	assert_true(w->link->now - start < 10 * RTT);
}

/* The peer's clock and path are not ours: that takes seconds at most. */
static void
a_drain_waits_for_no_slow_peer(void **state)
{
	struct world *w = *state;

	w->client_settings.handshake_timeout_ns = LONG;
	w->server_settings.handshake_timeout_ns = LONG;
	w->link->delay = 4 * LINK_S;
	world_up(w);
	link_run(w->link, NULL, NULL, LONG);
	quic_server_drain(w->link->server, w->link->now);
	link_run(w->link, NULL, NULL, 4 * LINK_S);
	assert_int_equal(server_stats(w).connections, 0);
}

static void
a_drain_refuses_new_clients(void **state)
{
	struct world *w = *state;
	uint64_t start;

	drain_with_a_tunnel(w);
	start = w->link->now;
	world_dial(w, 1);
	assert_true(world_closed(w, 1));
	assert_int_equal(w->link->now - start, RTT);
	assert_int_equal(w->client[1].why.cause, QUIC_CLOSED_BY_PEER);
	assert_text(&w->client[1], "accepts no new connections");
	assert_int_equal(server_stats(w).refused, 1);
	assert_int_equal(server_stats(w).connections, 1);
}

/* ---- Garbage ---- */

static void
inject_noise(struct link *link, bool up, size_t len)
{
	uint8_t data[LINK_DATAGRAM_MAX];

	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)link_random(link, 256);
	link_inject(link, up, up ? 1 : 0, data, len);
}

static void
noise_is_ignored(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[0].habit = ECHO;
	w->near[0].to_send = 2 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	for (size_t len = 0; len <= LINK_DATAGRAM_MAX; len++) {
		inject_noise(w->link, true, len);
		inject_noise(w->link, false, len);
		if (len % 16 == 0)
			link_run(w->link, NULL, NULL, LINK_MS);
	}
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 2 * MB);
	assert_true(server_stats(w).datagrams_dropped > 1000);
	assert_int_equal(server_stats(w).connections, 1);
}

/*
 * Flips bits of a datagram, or truncates it. Not those of the version: with 0
 * it is a Version Negotiation, which a client must accept.
 */
static void
spoil(struct link *link, struct link_datagram *d)
{
	size_t flips = 1 + link_random(link, 8), at;

	if (link_random(link, 4) == 0)
		d->len = link_random(link, d->len + 1);
	while (d->len > 0 && flips-- > 0) {
		at = link_random(link, d->len);
		if (at == 0 || at > 4)
			d->data[at] ^= (uint8_t)(1 << link_random(link, 8));
	}
}

static bool
spoil_some(struct link_datagram *d, void *arg)
{
	struct link *link = arg;

	if (link_random(link, 10) == 0)
		spoil(link, d);
	return true;
}

static void
corrupted_packets_are_lost_packets(void **state)
{
	struct world *w = *state;

	w->link->tamper = spoil_some;
	w->link->tamper_arg = w->link;
	w->client_settings.handshake_timeout_ns = LONG;
	w->server_settings.handshake_timeout_ns = LONG;
	world_up(w);
	w->far[0].habit = ECHO;
	w->near[0].to_send = MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], MB);
}

/* Sends a spoilt copy along with every packet of a handshake and a transfer. */
static bool
add_spoilt(struct link_datagram *d, void *arg)
{
	struct link_datagram copy = *d;
	struct link *link = arg;

	spoil(link, &copy);
	link_inject(link, copy.up, copy.client, copy.data, copy.len);
	return true;
}

static void
corrupted_copies_do_no_harm(void **state)
{
	struct world *w = *state;

	w->link->tamper = add_spoilt;
	w->link->tamper_arg = w->link;
	world_serve(w);
	for (unsigned round = 0; round < 200; round++) {
		tunnels_forget(w);
		w->far[0].habit = ECHO;
		w->near[0].to_send = 10 * KB;
		world_dial(w, 0);
		assert_true(world_connected(w, 0));
		assert_int_equal(tunnel_open(w, 0), 0);
		assert_true(tunnels_done(w, 1));
		assert_whole(&w->near[0], 10 * KB);
		quic_conn_close(near_conn(w), QUIC_H3_NO_ERROR, "next",
		    w->link->now);
		link_run(w->link, NULL, NULL, RTT);
		link_drop_client(w->link, 0);
	}
	link_run(w->link, NULL, NULL, LONG);
	assert_int_equal(server_stats(w).connections, 0);
	assert_int_equal(server_stats(w).half_open, 0);
}

#define HELLO 20000	/* bytes of a message: far more than any client sends */
#define TLS_ALERT 0x100 /* in an error code of QUIC (RFC 9001 §4.8) */

/* The header of a TLS message that never ends, and bytes that may follow. */
static void
submit_message(struct quic_conn *conn, ngtcp2_encryption_level level,
    uint8_t type)
{
	static uint8_t message[HELLO];

	message[0] = type;
	message[1] = 1; /* 64 KiB and more */
	assert_int_equal(ngtcp2_conn_submit_crypto_data(conn->quic, level,
			     message, sizeof(message)),
	    0);
	conn_touch(conn);
}

/* Bytes that are not counted are not stored for an unknown client. */
static void
a_hello_has_a_limit(void **state)
{
	struct world *w = *state;

	world_serve(w);
	world_dial(w, 0);
	submit_message(near_conn(w), NGTCP2_ENCRYPTION_LEVEL_INITIAL, 1);
	assert_true(link_run(w->link, is_some, &w->client[0].closed, LINK_S));
	assert_int_equal(w->client[0].why.code, TLS_ALERT + 50);
}

/* A client has nothing to say when its handshake is over. */
static void
no_message_follows_the_handshake(void **state)
{
	struct world *w = *state;

	world_up(w);
	submit_message(near_conn(w), NGTCP2_ENCRYPTION_LEVEL_1RTT, 4);
	assert_true(link_run(w->link, is_some, &w->client[0].closed, LINK_S));
	assert_int_equal(w->client[0].why.code, TLS_ALERT + 10);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(retry_validates_addresses),
		TEST(a_known_address_needs_no_retry),
		TEST(a_token_of_another_address_is_refused),
		TEST(a_stale_token_is_refused),
		TEST(many_clients_are_admitted_in_parts),
		TEST(many_clients_leave_room_for_others),
		TEST(a_source_has_its_share),
		TEST(a_source_has_its_share_of_handshakes),
		TEST(all_sources_have_a_limit),
		TEST(a_newcomer_takes_the_place_of_the_idle),
		TEST(some_room_is_kept),
		TEST(a_refused_request_keeps_no_room),
		TEST(a_long_rest_keeps_no_room),
		TEST(a_rest_ends_with_a_request),
		TEST(a_forged_address_takes_no_room),
		TEST(what_the_peer_keeps_open_is_idle),
		TEST(a_source_makes_room_for_its_own),
		TEST(the_server_names_its_versions),
		TEST(the_client_knows_one_version),
		TEST(a_restart_is_noticed),
		TEST(a_restart_is_noticed_in_quiet),
		TEST(a_reset_cannot_be_forged),
		TEST(what_cannot_be_opened_is_silence),
		TEST(a_head_must_come_in_time),
		TEST(few_heads_come_at_a_time),
		TEST(a_reload_is_for_new_connections),
		TEST(a_drain_lets_tunnels_end),
		TEST(a_drain_waits_for_its_owner),
		TEST(a_request_under_way_is_served),
		TEST(a_late_request_is_rejected),
		TEST(a_request_that_is_lost_is_rejected),
		TEST(an_answer_outweighs_a_goaway),
		TEST(a_goaway_is_handled_in_parts),
		TEST(a_drain_does_not_wait_for_the_refused),
		TEST(a_drain_closes_what_is_idle),
		TEST(a_drain_waits_for_no_slow_peer),
		TEST(a_drain_refuses_new_clients),
		TEST(a_hello_has_a_limit),
		TEST(no_message_follows_the_handshake),
		TEST(noise_is_ignored),
		TEST(corrupted_packets_are_lost_packets),
		TEST(corrupted_copies_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
