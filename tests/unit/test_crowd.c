#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "quic/internal.h"
#include "tests/unit/world.h"

/*
 * Thousands of tunnels on one connection: they open and end at once, and the
 * tunnel beside them goes on.
 */

#define CROWD 20000   /* tunnels */
#define OTHER CROWD   /* the number of the tunnel that must go on */
#define CANCELLED 400 /* streams in one packet */
#define FLIGHT 4000   /* requests that one batch of the line takes */

/* How the crowd ends. */
enum ending {
	NEAR_RESETS,
	FAR_RESETS,
	NEAR_STOPS, /* releases with its FIN sent: STOP_SENDING follows */
	FAR_FINISHES
};

static void
open_crowd(struct world *w, enum habit far)
{
	for (unsigned i = 0; i < CROWD; i++) {
		w->far[i].habit = far;
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
		if (i % FLIGHT == 0)
			link_run(w->link, NULL, NULL, RTT);
	}
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(w->requests, CROWD + 1);
}

static void
end_one(struct world *w, unsigned i, enum ending ending)
{
	struct end *e = ending == NEAR_RESETS || ending == NEAR_STOPS
	    ? &w->near[i] : &w->far[i];

	if (e->stream == NULL)
		return;
	if (ending == NEAR_RESETS || ending == FAR_RESETS) {
		quic_stream_reset(e->stream, QUIC_H3_REQUEST_CANCELLED);
	} else {
		quic_stream_finish(e->stream);
		quic_stream_release(e->stream);
	}
	e->stream = NULL;
}

/* All in one iteration: nothing runs between the first and the last. */
static void
end_crowd(struct world *w, enum ending ending)
{
	for (unsigned i = 0; i < CROWD; i++)
		end_one(w, i * 7919 % CROWD, ending);
}

static bool
crowd_is_gone(void *arg)
{
	struct world *w = arg;

	return stats_of(near_conn(w)).streams == 1 &&
	    stats_of(w->server.conn).streams == 1;
}

static void
the_other_goes_on(struct world *w)
{
	struct end *near = &w->near[OTHER], *far = &w->far[OTHER];
	size_t before = far->received;

	near->to_send += MB;
	end_pump(near);
	while (far->received < before + MB && w->client[0].closed == 0)
		link_run(w->link, NULL, NULL, RTT);
	assert_int_equal(w->client[0].closed, 0);
	assert_int_equal(w->server.closed, 0);
	assert_whole(far, before + MB);
}

static struct world *
crowded_world(void **state)
{
	struct world *w = *state;

	w->server_settings.streams_max = CROWD + 1;
	w->server_settings.heads_max = CROWD;
	world_up(w);
	w->near[OTHER].stays_open = w->far[OTHER].stays_open = true;
	assert_int_equal(tunnel_open(w, OTHER), 0);
	return w;
}

static void
ended_at_once(void **state, enum ending ending)
{
	struct world *w = crowded_world(state);

	open_crowd(w, SINK);
	end_crowd(w, ending);
	the_other_goes_on(w);
	if (ending == NEAR_STOPS)
		end_crowd(w, FAR_FINISHES);
	if (ending == FAR_FINISHES)
		end_crowd(w, NEAR_STOPS);
	assert_true(link_run(w->link, crowd_is_gone, w, LONG));
	the_other_goes_on(w);
}

static void
near_resets_all(void **state)
{
	ended_at_once(state, NEAR_RESETS);
}

static void
far_resets_all(void **state)
{
	ended_at_once(state, FAR_RESETS);
}

static void
near_stops_all(void **state)
{
	ended_at_once(state, NEAR_STOPS);
}

static void
far_finishes_all(void **state)
{
	ended_at_once(state, FAR_FINISHES);
}

/* Tunnels end one after the other, and new requests come all the while. */
static void
tunnels_come_and_go(void **state)
{
	struct world *w = crowded_world(state);

	for (unsigned i = 0; i < CROWD; i++) {
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
		if (i % 100 == 0)
			link_run(w->link, NULL, NULL, RTT);
		if (i >= 100)
			end_one(w, i - 100, i % 2 ? NEAR_RESETS : FAR_RESETS);
	}
	the_other_goes_on(w);
}

/* Other implementations cancel every stream that ends (RFC 9204 §4.4.2). */
static void
the_peer_cancels_all(void **state)
{
	struct world *w = crowded_world(state);
	struct quic_conn *conn;

	link_run(w->link, NULL, NULL, RTT);
	conn = w->server.conn;
	for (int64_t n = 1; n <= CROWD; n++) {
		assert_int_equal(nghttp3_conn_shutdown_stream_read(conn->h3,
		    4 * n), 0);
		/* nghttp3 refuses to queue more than 2,000 bytes of them. */
		if (n % CANCELLED != 0)
			continue;
		conn_touch(conn);
		link_run(w->link, NULL, NULL, LINK_MS);
	}
	the_other_goes_on(w);
}

static void
requests_rejected_all(void **state)
{
	struct world *w = crowded_world(state);

	open_crowd(w, REJECT);
	assert_true(link_run(w->link, crowd_is_gone, w, LONG));
	the_other_goes_on(w);
}

/* What one call of the library may have told of, at most. */
struct pace {
	struct world *w;
	unsigned requests; /* that were seen before this step ... */
	size_t calls;	   /* ... and receive calls */
	unsigned most;	   /* requests in a call, on average of a step's */
};

static bool
note_pace(void *arg)
{
	struct pace *pace = arg;
	struct world *w = pace->w;
	size_t calls = w->link->delivered - pace->calls + 1; /* and expire */
	unsigned most = (w->requests - pace->requests + (unsigned)calls - 1) /
	    (unsigned)calls;

	pace->most = most > pace->most ? most : pace->most;
	pace->calls = w->link->delivered;
	pace->requests = w->requests;
	return w->requests == FLIGHT;
}

/* Datagrams that have left and shall arrive together. */
struct held {
	struct link_datagram *datagrams[FLIGHT];
	size_t n;
};

static bool
hold_up(struct link_datagram *d, void *arg)
{
	struct held *held = arg;

	if (!d->up || held->n == FLIGHT)
		return true;
	held->datagrams[held->n] = malloc(sizeof(*d));
	*held->datagrams[held->n++] = *d;
	return false;
}

static void
let_go(struct link *link, struct held *held)
{
	link->tamper = NULL;
	for (size_t i = 0; i < held->n; i++) {
		link_inject(link, true, 0, held->datagrams[i]->data,
		    held->datagrams[i]->len);
		free(held->datagrams[i]);
	}
}

/* Thousands of requests that leave together; none has arrived. */
static void
open_flight(struct world *w, struct held *held)
{
	world_up(w);
	/* The window grows until all of them fit. */
	w->near[FLIGHT].to_send = 4 * MB;
	assert_int_equal(tunnel_open(w, FLIGHT), 0);
	assert_true(tunnels_done(w, FLIGHT + 1));
	w->link->tamper = hold_up;
	w->link->tamper_arg = held;
	held->n = 0;
	for (unsigned i = 0; i < FLIGHT; i++)
		assert_int_equal(tunnel_open(w, i), 0);
	link_run(w->link, NULL, NULL, RTT / 4);
	w->requests = 0;
}

/* Others have their turn while thousands of requests are seen to. */
static void
requests_take_turns(void **state)
{
	struct world *w = *state;
	struct pace pace = { .w = w };
	static struct held held;

	open_flight(w, &held);
	let_go(w->link, &held);
	pace.calls = w->link->delivered;
	assert_true(link_run(w->link, note_pace, &pace, LONG));
	assert_in_range(pace.most, 1, 64);
	assert_true(tunnels_done(w, FLIGHT));
	for (unsigned i = 0; i < FLIGHT; i++)
		assert_whole(&w->near[i], 0);
}

/* Nobody is told of requests that come with their end. */
static void
what_is_taken_back_is_not_told(void **state)
{
	struct world *w = *state;
	static struct held held;

	open_flight(w, &held);
	for (unsigned i = 0; i < FLIGHT; i++)
		end_one(w, i, NEAR_RESETS);
	link_run(w->link, NULL, NULL, RTT / 4);
	let_go(w->link, &held);
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_true(tunnels_done(w, FLIGHT));
	assert_in_range(w->requests, 1, FLIGHT / 4);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(near_resets_all),
		TEST(far_resets_all),
		TEST(near_stops_all),
		TEST(far_finishes_all),
		TEST(tunnels_come_and_go),
		TEST(requests_take_turns),
		TEST(what_is_taken_back_is_not_told),
		TEST(the_peer_cancels_all),
		TEST(requests_rejected_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
