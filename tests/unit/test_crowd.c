#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "quic/internal.h"
#include "tests/unit/world.h"

/*
 * Thousands of tunnels on one connection: they end at once, or make the server
 * hold as much as they can, while another connection goes on.
 */

#define PAUSED 30	  /* tunnels */
#define FEW 50		  /* tunnels of the connection beside it */
#define CROWD 20000	  /* tunnels */
#define OTHER CROWD	  /* the number of the tunnel that must go on */
#define USED (CROWD + 1)  /* ... of another one beside it */
#define CANCELLED 400	  /* streams in one packet */
#define MEMORY 1073741824 /* bytes: a crowd is more than the default is for */
#define FLIGHT 4000	  /* requests that one batch of the line takes */

static struct quic_memory *memory; /* of the server */

/* How the crowd ends. */
enum ending {
	NEAR_RESETS,
	FAR_RESETS,
	NEAR_STOPS, /* releases with its FIN sent: STOP_SENDING follows */
	FAR_FINISHES
};

/* Credit for more requests comes a round trip after those that need it. */
static int
open_next(struct world *w, unsigned i)
{
	int rv = tunnel_open(w, i);

	for (unsigned n = 0; rv == -EAGAIN && n < 4; n++) {
		link_run(w->link, NULL, NULL, RTT);
		rv = tunnel_open(w, i);
	}
	return rv;
}

static void
open_crowd(struct world *w, enum habit far)
{
	for (unsigned i = 0; i < CROWD; i++) {
		w->far[i].habit = far;
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(open_next(w, i), 0);
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
	    ? &w->near[i]
	    : &w->far[i];

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

	assert_int_equal(quic_memory_new(&memory, MEMORY), 0);
	w->server_settings.memory = memory;
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

/* Tunnels end one after the other, while new requests arrive. */
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
				     4 * n),
		    0);
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

/* The events that one call of the library may have fired, at most. */
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

/* Other connections are served while thousands of requests are handled. */
static void
requests_are_handled_in_parts(void **state)
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

/* No event fires for requests that arrive with their end. */
static void
reset_requests_fire_no_event(void **state)
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

/* ---- Memory ---- */

#define MOVED (20 * MB)
#define WINDOW 65536 /* bytes that a peer may send at first */

/* The memory that one connection makes the server hold. */
struct load {
	unsigned streams;
	size_t bytes; /* on each */
	bool unread;  /* received and not read, or sent and not acknowledged */
	size_t down;  /* bytes sent on each that the client does not read */
};

static size_t
held_now(void)
{
	struct quic_memory_stats stats;

	quic_memory_stats(memory, &stats);
	return stats.held;
}

static void
memory_world(struct world *w, size_t max)
{
	assert_int_equal(quic_memory_new(&memory, max), 0);
	w->server_settings.memory = memory;
	world_up(w);
	world_dial(w, 1);
	assert_true(world_connected(w, 1));
}

/* Nothing from client 0 arrives any more: it acknowledges nothing. */
static bool
drop_acks(struct link_datagram *d, void *arg)
{
	(void)arg;
	return !d->up || d->client != 0;
}

static void
put_load(struct world *w, const struct load *load)
{
	unsigned opened = 0;

	for (unsigned i = 0; i < load->streams; i++) {
		w->near[i].stays_open = w->far[i].stays_open = true;
		if (load->unread) {
			w->far[i].habit = HOLD;
			w->near[i].to_send = load->bytes;
		}
		if (load->down > 0) {
			w->near[i].habit = HOLD;
			w->far[i].to_send = load->down;
		}
		if (open_next(w, i) != 0)
			break; /* the server allows no more */
		opened++;
		if (i % 64 == 0)
			link_run(w->link, NULL, NULL, LINK_MS);
	}
	link_run(w->link, NULL, NULL, 4 * RTT);
	if (load->unread)
		return;
	w->link->tamper = drop_acks;
	for (unsigned i = 0; i < opened; i++) {
		w->far[i].to_send = load->bytes;
		end_pump(&w->far[i]);
	}
	link_run(w->link, NULL, NULL, RTT);
}

struct watched {
	const struct world *w;
	size_t most; /* bytes held at any time */
};

static bool
has_moved(void *arg)
{
	struct watched *watched = arg;
	size_t held = held_now();

	if (held > watched->most)
		watched->most = held;
	return watched->w->near[OTHER].ended && watched->w->far[OTHER].ended;
}

/* How long client 1 takes to move 20 MB up and as many down. */
static uint64_t
time_to_move(struct world *w, size_t max)
{
	struct watched watched = { w, 0 };
	uint64_t start = w->link->now;

	w->near[OTHER].client = 1;
	w->near[OTHER].to_send = w->far[OTHER].to_send = MOVED;
	assert_int_equal(tunnel_open(w, OTHER), 0);
	assert_true(link_run(w->link, has_moved, &watched, LONG));
	assert_whole(&w->near[OTHER], MOVED);
	assert_whole(&w->far[OTHER], MOVED);
	assert_true(watched.most <= max);
	return w->link->now - start;
}

static void
memory_world_down(struct world *w)
{
	w->link->tamper = NULL;
	link_drop_client(w->link, 1);
	world_down(w);
	assert_int_equal(held_now(), 0);
	quic_memory_free(memory);
	memory = NULL;
}

/*
 * A connection that takes all the memory that it can does not slow another, and
 * does not exceed the limit.
 */
static void
one_load_slows_nobody(struct world *w, size_t max)
{
	static const unsigned counts[] = { 1, 1000, 16000 };
	uint64_t alone, beside;

	memory_world(w, max);
	alone = time_to_move(w, max);
	memory_world_down(w);
	for (size_t i = 0; i < 4 * COUNT(counts); i++) {
		struct load load = { counts[i / 4], i % 2 ? WINDOW : 1,
			i / 2 % 2 != 0, 0 };

		memory_world(w, max);
		put_load(w, &load);
		assert_true(held_now() <= max);
		beside = time_to_move(w, max);
		printf("max %zu MiB, %u streams, %zu bytes %s: %.2f\n",
		    max >> 20, load.streams, load.bytes,
		    load.unread ? "unread" : "unacknowledged",
		    (double)alone / (double)beside);
		assert_true(10 * alone >= 8 * beside);
		memory_world_down(w);
	}
}

static void
a_large_connection_slows_no_other(void **state)
{
	one_load_slows_nobody(*state, QUIC_MEMORY_DEFAULT);
}

static void
with_little_memory_it_slows_no_other(void **state)
{
	one_load_slows_nobody(*state, QUIC_MEMORY_MIN);
}

/* One that takes all it can get in both directions takes no more. */
static void
large_both_ways_it_slows_no_other(void **state)
{
	struct load load = { 1000, WINDOW, true, 8 * WINDOW };
	struct world *w = *state;
	uint64_t alone, beside;

	memory_world(w, QUIC_MEMORY_MIN);
	alone = time_to_move(w, QUIC_MEMORY_MIN);
	memory_world_down(w);
	memory_world(w, QUIC_MEMORY_MIN);
	put_load(w, &load);
	beside = time_to_move(w, QUIC_MEMORY_MIN);
	assert_true(10 * alone >= 8 * beside);
	memory_world_down(w);
}

/* The same of all clients but 1 and those after `*arg`. */
static bool
drop_acks_of_loads(struct link_datagram *d, void *arg)
{
	return !d->up || d->client == 1 || d->client > *(unsigned *)arg;
}

/* These are the clients 0 and from 2 on. */
static void
put_loads(struct world *w, unsigned n, const struct load *load)
{
	static unsigned last;

	for (unsigned i = 2; i <= n; i++) {
		world_dial(w, i);
		assert_true(world_connected(w, i));
	}
	for (unsigned i = 0; i < load->streams; i++) {
		w->near[i].client = i % n == 0 ? 0 : i % n + 1;
		w->near[i].stays_open = w->far[i].stays_open = true;
		w->near[i].habit = w->far[i].habit = HOLD;
		w->near[i].to_send = load->unread ? load->bytes : 0;
		w->far[i].to_send = load->down;
		if (open_next(w, i) != 0)
			break; /* the server allows no more */
		if (i % 64 == 0)
			link_run(w->link, NULL, NULL, LINK_MS);
	}
	link_run(w->link, NULL, NULL, 4 * RTT);
	if (load->unread)
		return;
	last = n;
	w->link->tamper = drop_acks_of_loads;
	w->link->tamper_arg = &last;
	for (unsigned i = 0; i < load->streams; i++) {
		w->far[i].to_send += load->bytes;
		if (w->far[i].stream != NULL)
			end_pump(&w->far[i]);
	}
	link_run(w->link, NULL, NULL, RTT);
}

static void
dial_more(struct world *w, size_t first, size_t n)
{
	for (size_t i = first; i < n; i++) {
		world_dial(w, i);
		assert_true(world_connected(w, i));
	}
}

static void
drop_more(struct world *w, size_t first, size_t n)
{
	for (size_t i = first; i < n; i++)
		link_drop_client(w->link, i);
}

/* Several of them take little more than one. */
static void
several_loads_slow_nobody(struct world *w, size_t max)
{
	static const unsigned counts[] = { 3, 10, 15 };
	static const struct load loads[] = {
		{ 16000, WINDOW, true, 0 },
		{ 16000, WINDOW, true, 8 * WINDOW },
		{ 2000, WINDOW, false, 0 },
	};
	uint64_t alone, beside;

	memory_world(w, max);
	alone = time_to_move(w, max);
	memory_world_down(w);
	for (size_t i = 0; i < COUNT(counts) * COUNT(loads); i++) {
		unsigned n = counts[i / COUNT(loads)];
		const struct load *load = &loads[i % COUNT(loads)];

		memory_world(w, max);
		put_loads(w, n, load);
		beside = time_to_move(w, max);
		printf(
		    "max %zu MiB, %u loaded connections, %s, %zu bytes down: %.2f\n",
		    max >> 20, n, load->unread ? "unread" : "unacknowledged",
		    load->down, (double)alone / (double)beside);
		assert_true(10 * alone >= 8 * beside);
		assert_int_equal(memory->closed, 0);
		for (unsigned k = 2; k <= n; k++)
			link_drop_client(w->link, k);
		memory_world_down(w);
	}
}

static uint64_t
time_alone(struct world *w, size_t max)
{
	uint64_t alone;

	memory_world(w, max);
	alone = time_to_move(w, max);
	memory_world_down(w);
	return alone;
}

#define PATIENCE (5 * LINK_S) /* of a newcomer */

/* Client 1 comes back. It dials again and again, as a proxy does. */
static void
comes_in(struct world *w)
{
	uint64_t start = w->link->now;

	link_drop_client(w->link, 1);
	world_dial(w, 1);
	while (!world_connected(w, 1) && w->link->now < start + PATIENCE) {
		link_drop_client(w->link, 1);
		link_run(w->link, NULL, NULL, LINK_S / 2);
		world_dial(w, 1);
	}
	assert_int_equal(w->client[1].connected, 1);
}

#define RARE (500 * LINK_MS) /* between acknowledgements */
#define LAZY 10		     /* clients that acknowledge so rarely */

/*
 * Bytes that are acknowledged late are held for long. That is no reason to hold
 * many of them.
 */
static void
rare_acknowledgements_slow_no_other(void **state)
{
	struct world *w = *state;
	uint64_t alone = time_alone(w, QUIC_MEMORY_MIN), beside;

	memory_world(w, QUIC_MEMORY_MIN);
	dial_more(w, 2, LAZY + 1);
	for (unsigned i = 0; i < 4 * LAZY; i++) {
		w->near[i].client = i % LAZY == 0 ? 0 : i % LAZY + 1;
		w->link->batch_ns[w->near[i].client] = RARE;
		w->near[i].stays_open = w->far[i].stays_open = true;
		w->far[i].to_send = 5 * MOVED;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, 4 * LINK_S);
	comes_in(w);
	beside = time_to_move(w, QUIC_MEMORY_MIN);
	printf("%u acknowledge every %ju ms: %.2f\n", LAZY,
	    (uintmax_t)(RARE / LINK_MS), (double)alone / (double)beside);
	assert_true(10 * alone >= 8 * beside);
	for (unsigned i = 0; i < 4 * LAZY; i++)
		assert_true(w->near[i].received > 100 * KB);
	drop_more(w, 2, LAZY + 1);
	memory_world_down(w);
}

static void
many_with_much_memory_slow_no_other(void **state)
{
	several_loads_slow_nobody(*state, QUIC_MEMORY_DEFAULT);
}

static void
many_with_little_memory_slow_no_other(void **state)
{
	several_loads_slow_nobody(*state, QUIC_MEMORY_MIN);
}

#define MANY \
	48 /* connections that have two thirds of the memory, if each ... */
#define PART 64 /* ... has nearly so small a part of it */
/* A crowd in which nobody is large slows neither a newcomer nor another. */
static void
a_crowd_slows_nobody(struct world *w, size_t max, bool unread)
{
	unsigned n = MANY;
	struct load load = { n * (unsigned)(max / PART / WINDOW - 1), WINDOW,
		unread, 0 };
	uint64_t alone = time_alone(w, max), beside;

	memory_world(w, max);
	w->client_settings.idle_timeout_ns = 600 * LINK_S;
	put_loads(w, n, &load);
	link_run(w->link, NULL, NULL, 2 * LINK_S);
	comes_in(w);
	beside = time_to_move(w, max);
	printf("max %zu MiB, %u that hold little %s: %.2f\n", max >> 20, n,
	    unread ? "unread" : "unacknowledged",
	    (double)alone / (double)beside);
	assert_true(10 * alone >= 8 * beside);
	drop_more(w, 2, n + 1);
	memory_world_down(w);
}

static void
crowds_slow_nobody(void **state)
{
	a_crowd_slows_nobody(*state, QUIC_MEMORY_DEFAULT, true);
	a_crowd_slows_nobody(*state, QUIC_MEMORY_DEFAULT, false);
	a_crowd_slows_nobody(*state, QUIC_MEMORY_MIN, true);
	a_crowd_slows_nobody(*state, QUIC_MEMORY_MIN, false);
}

/* Ten of them at once, none of which has to exceed the limit. */
static void
large_connections_slow_no_other(void **state)
{
	struct load load = { 1000, WINDOW, true, 0 };
	struct world *w = *state;

	memory_world(w, QUIC_MEMORY_MIN);
	/* One that was never used would be the first to go. */
	w->near[USED].client = 1;
	w->near[USED].stays_open = w->far[USED].stays_open = true;
	assert_int_equal(tunnel_open(w, USED), 0);
	link_run(w->link, NULL, NULL, 2 * RTT);
	for (unsigned i = 2; i < 12; i++) {
		world_dial(w, i);
		assert_true(world_connected(w, i));
	}
	for (unsigned i = 0; i < load.streams; i++) {
		w->near[i].client = i % 11 == 0 ? 0 : i % 11 + 1;
		w->near[i].stays_open = w->far[i].stays_open = true;
		w->far[i].habit = HOLD;
		w->near[i].to_send = load.bytes;
		if (tunnel_open(w, i) != 0)
			continue;
		assert_true(held_now() <= QUIC_MEMORY_MIN);
		link_run(w->link, NULL, NULL, LINK_MS);
	}
	time_to_move(w, QUIC_MEMORY_MIN);
	for (unsigned i = 2; i < 12; i++)
		link_drop_client(w->link, i);
	link_drop_client(w->link, 0);
	memory_world_down(w);
}

/* New connections are refused before existing ones must free memory. */
static void
newcomers_do_not_fill_memory(void **state)
{
	struct load load = { 300, WINDOW, true, 0 };
	struct world *w = *state;
	size_t used;

	memory_world(w, QUIC_MEMORY_MIN);
	put_load(w, &load);
	link_run(w->link, NULL, NULL, LINK_S);
	used = memory->held - memory->pooled;
	quic_memory_resize(memory, used + used / 16);
	world_dial(w, 2);
	assert_false(world_connected(w, 2));
	assert_text(&w->client[2], "accepts no new connections");
	assert_int_equal(w->server.closed, 0);
	quic_memory_resize(memory, QUIC_MEMORY_MIN);
	world_dial(w, 3);
	assert_true(world_connected(w, 3));
	for (unsigned i = 2; i < 4; i++)
		link_drop_client(w->link, i);
	memory_world_down(w);
}

/* Streams that are not read are aborted, and never many in one iteration. */
static void
reclaim_takes_small_steps(void **state)
{
	struct load load = { 16000, WINDOW, true, 0 };
	struct world *w = *state;
	unsigned aborted = 0;

	memory_world(w, QUIC_MEMORY_DEFAULT);
	put_load(w, &load);
	link_run(w->link, NULL, NULL, 20 * LINK_S);
	/* The client may have given up some of its own, too. */
	for (unsigned i = 0; i < load.streams; i++)
		aborted += w->far[i].aborted &&
		    w->far[i].code == QUIC_H3_EXCESSIVE_LOAD;
	assert_in_range(aborted, 64, load.streams);
	assert_int_equal(memory->aborted, aborted);
	assert_in_range(memory->steps_max, 1, 64);
	assert_int_equal(w->client[0].closed, 0);
	assert_int_equal(w->client[1].closed, 0);
	time_to_move(w, QUIC_MEMORY_DEFAULT);
	memory_world_down(w);
}

/* A stream that was reset takes no memory, and the peer must end it in time. */
static void
unfinished_streams_are_counted(void **state)
{
	struct load load = { 400, WINDOW, false, 0 };
	struct world *w = *state;
	size_t held;

	w->client_settings.idle_timeout_ns = 600 * LINK_S;
	w->server_settings.idle_timeout_ns = 600 * LINK_S;
	memory_world(w, QUIC_MEMORY_DEFAULT);
	held = held_now();
	put_load(w, &load);
	assert_true(held_now() > held + load.streams * WINDOW);
	for (unsigned i = 0; i < load.streams; i++)
		end_one(w, i, FAR_RESETS);
	assert_true(held_now() < held + load.streams * 8 * KB);
	assert_true(link_run(w->link, is_some, &w->server.closed, 90 * LINK_S));
	assert_int_equal(w->server.why.code, QUIC_H3_EXCESSIVE_LOAD);
	assert_text(&w->server, "does not end the streams");
	memory_world_down(w);
}

/* A peer must also end a stream that was refused. */
static void
refused_streams_are_counted(void **state)
{
	struct load load = { 1000, 0, false, 0 };
	struct world *w = *state;

	w->client_settings.idle_timeout_ns = 600 * LINK_S;
	w->server_settings.idle_timeout_ns = 600 * LINK_S;
	memory_world(w, QUIC_MEMORY_DEFAULT);
	put_load(w, &load);
	for (unsigned i = 0; i < load.streams; i++)
		end_one(w, i, FAR_FINISHES);
	assert_true(link_run(w->link, is_some, &w->server.closed,
	    4 * QUIC_FLUSH_STALL_NS));
	assert_int_equal(w->server.why.code, QUIC_H3_EXCESSIVE_LOAD);
	assert_text(&w->server, "does not end the streams");
	memory_world_down(w);
}

#define BUSY 15		/* clients: all that the line has but one */
#define BUSY_TUNNELS 40 /* of each */
#define DOWNLOAD (400 * KB)

/* Many connections with much memory are no reason to close any of them. */
static void
the_busy_share(void **state)
{
	struct world *w = *state;
	unsigned n = BUSY * BUSY_TUNNELS;

	memory_world(w, QUIC_MEMORY_MIN);
	dial_more(w, 2, BUSY);
	for (unsigned i = 0; i < n; i++) {
		w->near[i].client = i % BUSY;
		w->far[i].to_send = DOWNLOAD;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_true(held_now() > QUIC_MEMORY_MIN / 2);
	dial_more(w, BUSY, BUSY + 1);
	assert_true(tunnels_done(w, n));
	assert_int_equal(memory->aborted, 0);
	assert_int_equal(memory->closed, 0);
	for (unsigned i = 0; i < n; i++)
		assert_whole(&w->near[i], DOWNLOAD);
	drop_more(w, 2, BUSY + 1);
	memory_world_down(w);
}

#define GAPPERS 5 /* clients, without client 1, which does no harm */
#define GAPS 300  /* tunnels of each with a gap */

/* Senders that leave gaps are ignored. */
static bool
drop_others(struct link_datagram *d, void *arg)
{
	(void)arg;
	return !d->up || d->client == 1 || d->client >= GAPPERS;
}

/* Of each tunnel a byte is lost, and the next one arrives. */
static void
leave_gaps(struct world *w, unsigned first, unsigned n)
{
	w->link->tamper = drop_others;
	for (size_t len = 1; len < 3; len++) {
		for (unsigned i = first; i < n; i++) {
			w->near[i].to_send = len;
			end_pump(&w->near[i]);
		}
		link_run(w->link, NULL, NULL, 10 * LINK_MS);
		w->link->tamper = len == 1 ? NULL : drop_others;
	}
	link_run(w->link, NULL, NULL, RTT);
}

/* A few connections that make the library hold much do not keep others out. */
static void
gaps_do_not_shut_the_door(void **state)
{
	struct world *w = *state;
	unsigned n = GAPPERS * GAPS;

	w->client_settings.idle_timeout_ns = 600 * LINK_S;
	w->server_settings.idle_timeout_ns = 600 * LINK_S;
	memory_world(w, QUIC_MEMORY_MIN);
	dial_more(w, 2, GAPPERS);
	for (unsigned i = 0; i < n; i++) {
		w->near[i].client = i % GAPPERS;
		w->near[i].stays_open = w->far[i].stays_open = true;
		/* The windows grow until all the second bytes fit. */
		w->near[i].to_send = i < GAPPERS ? 2 * MB : 0;
		assert_int_equal(tunnel_open(w, i), 0);
		if (i % GAPPERS == 0)
			link_run(w->link, NULL, NULL, LINK_MS);
	}
	link_run(w->link, NULL, NULL, 3 * LINK_S);
	leave_gaps(w, GAPPERS, n);
	assert_int_equal(w->server.closed, 0);
	assert_true(held_now() > QUIC_MEMORY_MIN / 2);
	quic_memory_resize(memory, held_now() + held_now() / 24);
	for (unsigned i = 0; i < 20; i++) {
		w->near[1].to_send += KB;
		end_pump(&w->near[1]);
		link_run(w->link, NULL, NULL, LINK_S);
	}
	dial_more(w, GAPPERS, GAPPERS + 1);
	assert_whole(&w->far[1], w->near[1].to_send);
	w->link->tamper = NULL;
	drop_more(w, 2, GAPPERS + 1);
	memory_world_down(w);
}

/* Paused tunnels beside a load wait, since there is memory. */
static void
a_pause_beside_a_load_ends_nothing(void **state)
{
	struct load load = { 16000, WINDOW, true, 0 };
	struct world *w = *state;

	memory_world(w, QUIC_MEMORY_DEFAULT);
	w->client_settings.idle_timeout_ns = 600 * LINK_S;
	put_load(w, &load);
	for (unsigned i = CROWD - PAUSED; i < CROWD; i++) {
		w->near[i].client = 1;
		w->near[i].stays_open = w->far[i].stays_open = true;
		w->far[i].habit = HOLD;
		w->near[i].to_send = WINDOW;
		w->near[i].habit = HOLD;
		w->far[i].to_send = 3 * WINDOW;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	time_to_move(w, QUIC_MEMORY_DEFAULT);
	link_run(w->link, NULL, NULL, 20 * LINK_S);
	for (unsigned i = CROWD - PAUSED; i < CROWD; i++) {
		assert_false(w->far[i].aborted);
		assert_false(w->near[i].aborted);
	}
	memory_world_down(w);
}

/* Whoever came when memory was used gets credit when it is free again. */
static void
credit_for_requests_comes_back(void **state)
{
	struct load load = { 16000, 1, true, 0 };
	struct world *w = *state;
	unsigned i = CROWD - 500;

	memory_world(w, QUIC_MEMORY_MIN);
	put_load(w, &load);
	quic_memory_resize(memory, 2 * held_now());
	world_dial(w, 2);
	assert_true(world_connected(w, 2));
	for (;; i++) {
		w->near[i].client = 2;
		w->near[i].stays_open = w->far[i].stays_open = true;
		if (tunnel_open(w, i) != 0)
			break;
		link_run(w->link, NULL, NULL, 2 * RTT);
	}
	assert_in_range(i, CROWD - 500 + 90, CROWD - 500 + 200);
	quic_memory_resize(memory, QUIC_MEMORY_DEFAULT);
	w->near[i - 1].to_send += 1;
	end_pump(&w->near[i - 1]);
	link_run(w->link, NULL, NULL, 2 * RTT);
	assert_int_equal(tunnel_open(w, i), 0);
	link_drop_client(w->link, 2);
	memory_world_down(w);
}

/*
 * When memory is used up, a connection whose peer went silent loses streams or
 * is closed, and not one that holds a few unread bytes while it moves others.
 */
static void
the_silent_are_closed_first(void **state)
{
	struct world *w = *state;

	memory_world(w, QUIC_MEMORY_DEFAULT);
	w->near[OTHER].client = 1;
	for (unsigned i = 1; i <= FEW; i++) {
		w->near[i].client = 1;
		w->near[i].stays_open = w->far[i].stays_open = true;
		w->far[i].habit = HOLD;
		w->near[i].to_send = WINDOW;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	w->far[0].to_send = 4 * MOVED;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, LINK_S);
	w->link->tamper = drop_acks;
	link_run(w->link, NULL, NULL, 2 * LINK_S);
	w->near[OTHER].to_send = w->far[OTHER].to_send = 4 * MOVED;
	assert_int_equal(tunnel_open(w, OTHER), 0);
	link_run(w->link, NULL, NULL, 6 * RTT);
	assert_false(w->near[OTHER].ended);
	quic_memory_resize(memory, held_now() + held_now() / 64);
	assert_true(link_run(w->link, is_true, &w->near[OTHER].ended, LONG));
	assert_int_equal(w->client[1].closed, 0);
	assert_true(memory->aborted + memory->closed > 0);
	assert_whole(&w->near[OTHER], 4 * MOVED);
	memory_world_down(w);
}

/*
 * Nor do many that hold a hundredth each and send nothing more, while new ones
 * try to connect. The link has few clients: the test holds memory for the rest.
 */
static void
many_small_ones_do_not_block_admission(void **state)
{
	struct load load = { 100, WINDOW / 2, true, 0 };
	struct world *w = *state;
	size_t held, rest;
	bool in = false;

	w->client_settings.idle_timeout_ns = 600 * LINK_S;
	w->server_settings.idle_timeout_ns = 600 * LINK_S;
	memory_world(w, QUIC_MEMORY_DEFAULT);
	put_load(w, &load);
	w->near[OTHER].client = 1;
	w->near[OTHER].stays_open = w->far[OTHER].stays_open = true;
	assert_int_equal(tunnel_open(w, OTHER), 0);
	link_run(w->link, NULL, NULL, 2 * LINK_S);
	held = held_now();
	quic_memory_resize(memory, 100 * held);
	rest = 74 * held + held / 2;
	memory->held += rest;
	for (unsigned i = 2; i < LINK_CLIENTS_MAX && !in; i++) {
		world_dial(w, i);
		in = world_connected(w, i);
		link_run(w->link, NULL, NULL, 5 * LINK_S);
		link_drop_client(w->link, i);
	}
	assert_true(in);
	assert_int_equal(memory->closed, 1);
	assert_int_equal(w->client[0].closed, 1);
	assert_int_equal(w->client[1].closed, 0);
	memory->held -= rest;
	memory_world_down(w);
}

/* A newcomer dials once in a second, while memory is short. */
static void
knock(struct world *w, unsigned i, unsigned times)
{
	for (unsigned n = 0; n < times && w->client[i].connected == 0; n++) {
		link_drop_client(w->link, i);
		link_run(w->link, NULL, NULL, LINK_S);
		world_dial(w, i);
		world_connected(w, i);
	}
}

#define IDLE 2000 /* tunnels */

/*
 * Nor is a connection with many idle tunnels closed for a newcomer, while
 * another holds less, but wastes it.
 */
static void
idle_tunnels_are_no_waste(void **state)
{
	struct world *w = *state;
	size_t held, rest;

	w->client_settings.idle_timeout_ns = 600 * LINK_S;
	w->server_settings.idle_timeout_ns = 600 * LINK_S;
	memory_world(w, QUIC_MEMORY_DEFAULT);
	w->near[0].stays_open = w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	for (unsigned i = CROWD - IDLE; i < CROWD; i++) {
		w->near[i].client = 1;
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(open_next(w, i), 0);
		if (i % 64 == 0)
			link_run(w->link, NULL, NULL, LINK_MS);
	}
	link_run(w->link, NULL, NULL, 2 * LINK_S);
	memory_charge(w->far[0].stream->conn, MB);
	held = held_now();
	quic_memory_resize(memory, 20 * held);
	rest = 14 * held + MB / 2;
	memory->held += rest;
	knock(w, 2, 15);
	assert_int_equal(w->client[0].closed, 1);
	assert_int_equal(w->client[1].closed, 0);
	memory->held -= rest + MB;
	link_drop_client(w->link, 2);
	memory_world_down(w);
}

#define LARGE 66     /* connections */
#define WASTE 150000 /* bytes that client 0 makes the libraries hold */

/*
 * All connections hold memory of the libraries; but all except that of client 0
 * hold more, and their traffic explains it.
 */
static size_t
hold_much(struct world *w, const struct quic_conn *first)
{
	struct quic_conn *conn;
	size_t all = 0, n;

	TAILQ_FOREACH(conn, &memory->rotation, memory.rotation_entry) {
		n = conn == first ? WASTE : 3 * WASTE;
		memory_charge(conn, n);
		all += n;
		if (conn == first)
			continue;
		conn->memory.drain = (struct conn_drain){ .bytes = MEMORY,
			.period = LINK_S,
			.ends_at = w->link->now + LONG };
	}
	return all;
}

/* A connection that wastes memory is found beside any number of larger ones. */
static void
waste_is_found_beside_many(void **state)
{
	struct world *w = *state;
	size_t rest;

	w->client_settings.idle_timeout_ns = 600 * LINK_S;
	w->server_settings.idle_timeout_ns = 600 * LINK_S;
	memory_world(w, QUIC_MEMORY_DEFAULT);
	dial_more(w, 2, LARGE);
	/* One that was never used would be the first to go. */
	for (unsigned i = 0; i < LARGE; i++) {
		w->near[i].client = i;
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, LINK_S);
	rest = hold_much(w, w->far[0].stream->conn);
	quic_memory_resize(memory, held_now() / 10 * 11);
	knock(w, LARGE, 15);
	assert_int_equal(w->client[0].closed, 1);
	assert_int_equal(w->client[1].closed, 0);
	assert_int_equal(memory->closed, 1);
	memory->held -= rest;
	drop_more(w, 2, LARGE + 1);
	memory_world_down(w);
}

#define SLOW_BYTE 125000 /* ns: 8 KB/s, as a phone has with a weak signal */
#define SLOW_TUNNELS 30
#define SLOW_DOWNLOAD (40 * KB)

/*
 * A stream that the scheduler has not served for long is not the fault of its
 * peer.
 */
static void
finished_streams_wait_for_the_scheduler(void **state)
{
	struct world *w = *state;
	bool done = false;

	world_up(w);
	w->link->byte_ns = SLOW_BYTE;
	w->link->queue_max = 2 * LINK_S;
	for (unsigned i = 0; i < SLOW_TUNNELS; i++) {
		w->far[i].to_send = SLOW_DOWNLOAD;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	for (unsigned i = 0; i < 5 && !done; i++)
		done = tunnels_done(w, SLOW_TUNNELS);
	assert_true(done);
	for (unsigned i = 0; i < SLOW_TUNNELS; i++)
		assert_whole(&w->near[i], SLOW_DOWNLOAD);
}

static int
crowd_free(void **state)
{
	int rv = world_free(state);

	quic_memory_free(memory);
	memory = NULL;
	return rv;
}

#define CROWDED(name) \
	cmocka_unit_test_setup_teardown(name, world_new, crowd_free)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		CROWDED(requests_are_handled_in_parts),
		CROWDED(reset_requests_fire_no_event),
		CROWDED(near_resets_all),
		CROWDED(far_resets_all),
		CROWDED(near_stops_all),
		CROWDED(far_finishes_all),
		CROWDED(tunnels_come_and_go),
		CROWDED(the_peer_cancels_all),
		CROWDED(requests_rejected_all),
		CROWDED(a_large_connection_slows_no_other),
		CROWDED(with_little_memory_it_slows_no_other),
		CROWDED(large_both_ways_it_slows_no_other),
		CROWDED(many_with_much_memory_slow_no_other),
		CROWDED(many_with_little_memory_slow_no_other),
		CROWDED(rare_acknowledgements_slow_no_other),
		CROWDED(crowds_slow_nobody),
		CROWDED(large_connections_slow_no_other),
		CROWDED(newcomers_do_not_fill_memory),
		CROWDED(reclaim_takes_small_steps),
		CROWDED(unfinished_streams_are_counted),
		CROWDED(refused_streams_are_counted),
		CROWDED(the_busy_share),
		CROWDED(finished_streams_wait_for_the_scheduler),
		CROWDED(gaps_do_not_shut_the_door),
		CROWDED(a_pause_beside_a_load_ends_nothing),
		CROWDED(credit_for_requests_comes_back),
		CROWDED(the_silent_are_closed_first),
		CROWDED(many_small_ones_do_not_block_admission),
		CROWDED(idle_tunnels_are_no_waste),
		CROWDED(waste_is_found_beside_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
