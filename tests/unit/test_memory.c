#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/world.h"

/*
 * The memory that streams share: senders stop when it is short, and the other
 * streams go on.
 */

#define MIB 1048576
#define STOPPED 64	   /* tunnels that are not read any more */
#define CROWD 400	   /* tunnels whose first windows exceed the memory */
#define NEWCOMER 500	   /* the number of a tunnel that comes later */
#define PUSHED 40000	   /* bytes: more than a chunk */
#define FIRST_WINDOW 65536 /* bytes that a peer may send at first */

static struct quic_memory_stats
stats(const struct quic_memory *memory)
{
	struct quic_memory_stats now;

	quic_memory_stats(memory, &now);
	return now;
}

static struct quic_memory *
small_memory(void)
{
	struct quic_memory *memory;

	assert_int_equal(quic_memory_new(&memory, QUIC_MEMORY_MIN), 0);
	assert_int_equal(stats(memory).max, QUIC_MEMORY_MIN);
	assert_int_equal(stats(memory).held, 0);
	return memory;
}

/* The connections must go before the memory that they live in. */
static void
end_of(struct world *w, struct quic_memory *memory)
{
	world_down(w);
	assert_int_equal(stats(memory).held, 0);
	quic_memory_free(memory);
}

/* Downloads; each reads `taken` bytes and then nothing more. */
static void
stop_after(struct world *w, unsigned n, size_t taken)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(tunnel_open(w, i), 0);
	for (unsigned i = 0; i < n; i++) {
		while (w->near[i].received < taken)
			link_run(w->link, NULL, NULL, LINK_MS);
		w->near[i].habit = HOLD;
	}
	link_run(w->link, NULL, NULL, 2 * LINK_S);
}

static void
read_on(struct world *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		w->near[i].habit = w->far[i].habit = SINK;
		end_pump(&w->near[i]);
		end_pump(&w->far[i]);
	}
}

static void
a_newcomer_is_served(struct world *w, size_t len)
{
	w->near[NEWCOMER].to_send = w->far[NEWCOMER].to_send = len;
	assert_int_equal(tunnel_open(w, NEWCOMER), 0);
	assert_true(link_run(w->link, is_true, &w->near[NEWCOMER].ended, LONG));
	assert_true(link_run(w->link, is_true, &w->far[NEWCOMER].ended, LONG));
	assert_whole(&w->near[NEWCOMER], len);
	assert_whole(&w->far[NEWCOMER], len);
}

static void
one_large_reader_leaves_room(void **state)
{
	struct quic_memory *memory = small_memory();
	struct world *w = *state;

	w->client_settings.memory = memory;
	world_up(w);
	w->far[0].to_send = 20 * MB;
	stop_after(w, 1, 10 * MB);
	assert_in_range(buffered(w->near[0].stream), 2 * FIRST_WINDOW,
	    QUIC_MEMORY_MIN / 8);
	a_newcomer_is_served(w, 5 * MB);
	read_on(w, 1);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 20 * MB);
	end_of(w, memory);
}

static void
stopped_readers_share(void **state)
{
	struct quic_memory *memory = small_memory();
	struct world *w = *state;

	w->client_settings.memory = memory;
	world_up(w);
	for (unsigned i = 0; i < STOPPED; i++)
		w->far[i].to_send = MB;
	stop_after(w, STOPPED, 300 * KB);
	assert_in_range(stats(memory).held, STOPPED * FIRST_WINDOW / 2,
	    QUIC_MEMORY_MIN * 3 / 4);
	for (unsigned i = 0; i < STOPPED; i++)
		assert_in_range(buffered(w->near[i].stream), 1,
		    QUIC_MEMORY_MIN / 8);
	a_newcomer_is_served(w, MB);
	assert_int_equal(stats(memory).aborted, 0);
	read_on(w, STOPPED);
	assert_true(tunnels_done(w, STOPPED));
	for (unsigned i = 0; i < STOPPED; i++)
		assert_whole(&w->near[i], MB);
	end_of(w, memory);
}

/* Bytes that are not acknowledged or cannot be sent count as well. */
static void
senders_share(void **state)
{
	struct quic_memory *memory = small_memory();
	struct world *w = *state;

	w->server_settings.memory = memory;
	world_up(w);
	for (unsigned i = 0; i < STOPPED; i++) {
		w->near[i].habit = HOLD;
		w->far[i].to_send = MB;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, 2 * LINK_S);
	assert_in_range(stats(memory).held, QUIC_MEMORY_MIN / 4,
	    QUIC_MEMORY_MIN / 2 + STOPPED * FIRST_WINDOW / 2);
	for (unsigned i = 0; i < STOPPED; i++)
		assert_true(w->far[i].sent < MB);
	a_newcomer_is_served(w, MB);
	read_on(w, STOPPED);
	assert_true(tunnels_done(w, STOPPED));
	for (unsigned i = 0; i < STOPPED; i++)
		assert_whole(&w->near[i], MB);
	end_of(w, memory);
}

struct level {
	const struct quic_memory *memory;
	size_t most; /* bytes held, over all runs so far */
	const bool *done;
};

/* Seen after every step of a run. */
static bool
watch_level(void *arg)
{
	struct level *level = arg;
	size_t held = stats(level->memory).held;

	if (held > level->most)
		level->most = held;
	return *level->done;
}

static bool
is_full(void *arg)
{
	return stats(arg).held >= QUIC_MEMORY_MIN * 3 / 4;
}

/* Bytes in a chunk that exists need no more memory. */
static void
push(struct end *e)
{
	static uint8_t data[PUSHED];

	for (size_t i = 0; i < PUSHED; i++)
		data[i] = pattern(e->number, i);
	e->sent = quic_stream_push(e->stream, data, PUSHED);
	assert_int_equal(e->sent, PUSHED);
}

/*
 * More than fits, both ways, and no side reads. The limit holds; streams that
 * were not read for seconds are aborted, and the others go on.
 */
static void
a_crowd_does_not_stop_the_rest(void **state)
{
	struct quic_memory *memory = small_memory();
	struct world *w = *state;
	struct level level = { memory, 0, &w->far[NEWCOMER].ended };
	unsigned aborted = 0;

	w->client_settings.memory = memory;
	world_up(w);
	for (unsigned i = 0; i < CROWD; i++) {
		w->near[i].habit = w->far[i].habit = HOLD;
		w->near[i].to_send = w->far[i].to_send = 80 * KB;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	assert_true(link_run(w->link, is_full, memory, LONG));
	w->near[NEWCOMER].stays_open = w->far[NEWCOMER].stays_open = true;
	assert_int_equal(tunnel_open(w, NEWCOMER), 0);
	push(&w->near[NEWCOMER]);
	while (w->far[NEWCOMER].received < PUSHED)
		link_run(w->link, NULL, NULL, LINK_MS);
	assert_true(is_full(memory));
	assert_int_equal(w->far[NEWCOMER].received, PUSHED);
	w->near[NEWCOMER].to_send = MB;
	w->near[NEWCOMER].stays_open = false;
	end_pump(&w->near[NEWCOMER]);
	assert_true(link_run(w->link, watch_level, &level, LONG));
	assert_whole(&w->far[NEWCOMER], MB);
	assert_in_range(level.most, QUIC_MEMORY_MIN * 3 / 4, QUIC_MEMORY_MIN);

	assert_true(link_run(w->link, NULL, NULL, 10 * LINK_S));
	read_on(w, CROWD);
	assert_true(tunnels_done(w, CROWD));
	for (unsigned i = 0; i < CROWD; i++) {
		if (w->near[i].aborted) {
			assert_int_equal(w->near[i].code,
			    QUIC_H3_EXCESSIVE_LOAD);
			aborted++;
		} else
			assert_whole(&w->near[i], 80 * KB);
	}
	assert_in_range(aborted, 1, CROWD - 1);
	assert_int_equal(stats(memory).aborted, aborted);
	end_of(w, memory);
}

/* 1 Gbit/s over 50 ms, when no other connection uses the memory. */
static void
a_window_grows_with_the_path(void **state)
{
	struct world *w = *state;
	size_t before;

	world_up(w);
	w->far[0].to_send = 60 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	while (w->near[0].received < 30 * MB)
		link_run(w->link, NULL, NULL, LINK_MS);
	before = w->near[0].received;
	link_run(w->link, NULL, NULL, RTT);
	assert_true(w->near[0].received - before >= 6250 * KB);
	assert_true(w->link->now < 40 * RTT);
}

/* Windows that have grown and are used no more are not held against others. */
static void
idle_windows_are_forgotten(void **state)
{
	struct quic_memory *memory = small_memory();
	struct world *w = *state;
	uint64_t since;

	w->client_settings.memory = memory;
	world_up(w);
	for (unsigned i = 0; i < CROWD / 4; i++) {
		w->far[i].to_send = 500 * KB;
		w->far[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	for (unsigned i = 0; i < CROWD / 4; i++)
		while (w->near[i].received < 500 * KB)
			link_run(w->link, NULL, NULL, LINK_MS);
	link_run(w->link, NULL, NULL, 12 * LINK_S);
	since = w->link->now;
	a_newcomer_is_served(w, 10 * MB);
	/* With its first window it would take 150 round trips. */
	assert_true(w->link->now - since < 40 * RTT);
	end_of(w, memory);
}

/* A connection with much memory does not stop another. */
static void
connections_share(void **state)
{
	struct quic_memory *memory = small_memory();
	struct world *w = *state;

	w->client_settings.memory = memory;
	world_up(w);
	world_dial(w, 1);
	assert_true(world_connected(w, 1));
	for (unsigned i = 0; i < CROWD; i++) {
		w->near[i].habit = HOLD;
		w->far[i].to_send = 80 * KB;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, 2 * LINK_S);
	assert_in_range(stats(memory).held, QUIC_MEMORY_MIN / 2,
	    QUIC_MEMORY_MIN);
	w->near[NEWCOMER].client = 1;
	a_newcomer_is_served(w, 5 * MB);
	assert_int_equal(stats(memory).aborted, 0);
	link_drop_client(w->link, 0);
	link_drop_client(w->link, 1);
	link_drop_server(w->link);
	assert_int_equal(stats(memory).held, 0);
	quic_memory_free(memory);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(one_large_reader_leaves_room),
		TEST(stopped_readers_share),
		TEST(senders_share),
		TEST(a_crowd_does_not_stop_the_rest),
		TEST(a_window_grows_with_the_path),
		TEST(idle_windows_are_forgotten),
		TEST(connections_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
