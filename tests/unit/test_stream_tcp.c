/*
 * proxy/base/stream_tcp.c, where the tests of the relay do not reach: its
 * owner is the test, and so is liveness.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/stream_tcp.h"
#include "tests/unit/pattern.h"
#include "tests/unit/socket_end.h"

#define KB 1000		  /* bytes */
#define PATIENCE_MS 20000 /* until a test fails: far more than it takes */

/* An owner of the stream, and what it has seen. */
struct owner {
	struct stream stream;
	bool holds; /* consumes nothing */
	size_t sent, received;
	bool ended, spoilt;
	unsigned readable, writable, stopped, reset, aborted;
	const char *why;
	enum stream_end how;
};

static struct {
	uv_loop_t loop;
	struct stream_tcp_context context;
	bool context_gone, in_call;
	struct owner owner, heir;
	struct socket_end peer;
	struct liveness_watch *watch; /* the last one */
	unsigned watches;
} w;

/* ---- Liveness ---- */

const char liveness_failed[] = "failed", liveness_silent[] = "silent";

void
liveness_watch(struct liveness *liveness, struct liveness_watch *watch, int fd,
    unsigned timeout_s)
{
	assert_ptr_equal(liveness, &w);
	assert_int_equal(timeout_s, 7);
	assert_true(fd >= 0);
	w.watch = watch;
	w.watches++;
}

void
liveness_unwatch(struct liveness_watch *watch)
{
	assert_non_null(watch);
	w.watches--;
}

/* ---- The owner ---- */

static void
consume(struct owner *o)
{
	struct iovec iov;

	while (!o->holds && stream_peek(&o->stream, &iov, 1) > 0) {
		const uint8_t *data = iov.iov_base;

		for (size_t i = 0; i < iov.iov_len; i++)
			if (data[i] != pattern(0, o->received++))
				o->spoilt = true;
		stream_consume(&o->stream, iov.iov_len);
	}
	o->ended = stream_ended(&o->stream);
}

static void
on_readable(void *arg)
{
	struct owner *o = arg;

	assert_false(w.in_call);
	o->readable++;
	consume(o);
}

static void
on_writable(void *arg)
{
	struct owner *o = arg;

	assert_false(w.in_call);
	assert_true(stream_has_room(&o->stream));
	o->writable++;
}

static void
on_stopped(void *arg)
{
	assert_false(w.in_call);
	((struct owner *)arg)->stopped++;
}

static void
on_reset(void *arg, const char *why)
{
	struct owner *o = arg;

	assert_false(w.in_call);
	o->reset++;
	o->why = why;
}

static void
on_aborted(void *arg, enum stream_end how, const char *why)
{
	struct owner *o = arg;

	assert_false(stream_is_open(&o->stream));
	o->aborted++;
	o->how = how;
	o->why = why;
}

static const struct stream_events events = {
	.readable = on_readable,
	.writable = on_writable,
	.stopped = on_stopped,
	.reset = on_reset,
	.aborted = on_aborted,
};

static int
begin(void **state)
{
	struct stream stream = { 0 };
	int fds[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	uv_loop_init(&w.loop);
	stream_tcp_context_init(&w.context, &w.loop, (void *)&w, 7);
	socket_end_pair(fds);
	w.peer.fd = fds[1];
	if (stream_tcp_open(&stream, &w.context, fds[0]) != 0)
		return -1;
	stream_attach(&w.owner.stream, &stream, &events, &w.owner);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	if (!w.context_gone)
		stream_tcp_context_fini(&w.context, "the test is over");
	uv_run(&w.loop, UV_RUN_DEFAULT);
	if (w.peer.fd >= 0)
		close(w.peer.fd);
	return w.watches > 0 || uv_loop_close(&w.loop) != 0;
}

static void
run(void)
{
	uv_run(&w.loop, UV_RUN_NOWAIT);
	socket_end_pump(&w.peer);
}

#define run_until(condition) \
	do { \
		uint64_t start_ = uv_hrtime() / 1000000; \
		while (!(condition) && \
		    uv_hrtime() / 1000000 - start_ < PATIENCE_MS) \
			run(); \
		assert_true(condition); \
	} while (0)

static void
run_out(void)
{
	for (unsigned i = 0; i < 100; i++)
		run();
}

/* Commits as much as there is room for; events may not fire meanwhile. */
static void
fill(struct owner *o)
{
	uint8_t *out;
	size_t room;

	w.in_call = true;
	while ((out = stream_reserve(&o->stream, &room)) != NULL) {
		assert_true(room >= STREAM_RESERVE_MIN);
		for (size_t i = 0; i < room; i++)
			out[i] = pattern(0, o->sent++);
		stream_commit(&o->stream, room);
	}
	w.in_call = false;
}

static void
assert_peer(size_t received, bool ended, bool reset)
{
	assert_false(w.peer.spoilt);
	assert_int_equal(w.peer.received, received);
	assert_int_equal(w.peer.ended, ended);
	assert_int_equal(w.peer.reset, reset);
}

/* ---- Sending ---- */

static void
room_comes_back_when_the_peer_reads(void **state)
{
	struct owner *o = &w.owner;

	(void)state;
	w.peer.holds = true;
	fill(o);
	run_out();
	assert_int_equal(o->writable, 0);
	assert_false(stream_has_room(&o->stream));
	assert_in_range(o->sent, CHUNK_QUEUE_MAX, CHUNK_QUEUE_MAX + 400 * KB);
	w.peer.holds = false;
	run_until(o->writable == 1);
	run_until(w.peer.received == o->sent);
	assert_int_equal(o->writable, 1); /* nobody asked for room again */
	fill(o);
	run_until(w.peer.received == o->sent);
	assert_peer(o->sent, false, false);
}

static void
a_push_needs_no_room(void **state)
{
	static uint8_t data[700 * KB];
	struct owner *o = &w.owner;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = pattern(0, i);
	w.peer.holds = true;
	assert_int_equal(stream_push(&o->stream, data, 10), 10);
	assert_int_equal(stream_push(&o->stream, data + 10, sizeof(data) - 10),
	    sizeof(data) - 10);
	assert_false(stream_has_room(&o->stream));
	stream_finish(&o->stream);
	w.peer.holds = false;
	run_until(w.peer.ended);
	assert_peer(sizeof(data), true, false);
	assert_int_equal(o->stopped, 0);
}

/* The peer is slow, and sends what nobody reads. */
static void
a_release_delivers_everything(void **state)
{
	struct owner *o = &w.owner;

	(void)state;
	w.peer.holds = true;
	w.peer.to_send = 100 * KB;
	fill(o);
	stream_finish(&o->stream);
	stream_release(&o->stream);
	run_out();
	assert_int_equal(w.watches, 1);
	w.peer.holds = false;
	run_until(w.peer.ended || w.peer.reset);
	assert_int_equal(w.peer.received, o->sent);
	run_until(w.watches == 0);
}

static void
an_unfinished_release_is_a_reset(void **state)
{
	struct owner *o = &w.owner;

	(void)state;
	fill(o);
	stream_release(&o->stream);
	assert_int_equal(w.watches, 0);
	run_until(w.peer.ended || w.peer.reset);
	assert_true(w.peer.reset);
}

static void
a_flush_ends_with_a_reset(void **state)
{
	struct owner *o = &w.owner;

	(void)state;
	w.peer.holds = true;
	fill(o);
	stream_flush_and_reset(&o->stream, STREAM_CONNECT_ERROR);
	run_out();
	w.peer.holds = false;
	run_until(w.peer.ended || w.peer.reset);
	assert_peer(o->sent, false, true);
	run_until(w.watches == 0);
}

/* ---- Failures ---- */

static void
a_reset_comes_once_and_stopped_again(void **state)
{
	struct owner *o = &w.owner;

	(void)state;
	w.peer.to_send = 10 * KB;
	run_until(o->received == 10 * KB);
	socket_end_reset(&w.peer);
	run_until(o->reset == 1);
	assert_int_equal(o->stopped, 1);
	assert_string_equal(o->why, "reset by the peer");
	assert_false(o->ended || stream_lost(&o->stream));
	w.in_call = true;
	stream_attach(&w.heir.stream, &o->stream, &events, &w.heir);
	w.in_call = false;
	run_out();
	assert_int_equal(w.heir.stopped, 1);
	assert_int_equal(w.heir.reset, 0);
	assert_int_equal(o->stopped, 1);
	stream_reset(&w.heir.stream, STREAM_CANCELLED);
}

/*
 * The write takes the error of the socket, so the end of the input looks like
 * a FIN and is none. What came before it is still there.
 */
static void
a_failed_write_hides_no_reset(void **state)
{
	struct owner *o = &w.owner;
	size_t room;

	(void)state;
	o->holds = true;
	w.peer.to_send = 1000 * KB;
	run_out();
	assert_in_range(w.peer.sent, CHUNK_QUEUE_MAX, 999 * KB);
	socket_end_reset(&w.peer);
	w.in_call = true;
	assert_non_null(stream_reserve(&o->stream, &room));
	stream_commit(&o->stream, 10);
	w.in_call = false;
	run_until(o->stopped == 1);
	assert_int_equal(o->reset, 0);
	assert_true(stream_lost(&o->stream));
	assert_true(stream_has_room(&o->stream));
	o->holds = false;
	consume(o);
	run_until(o->reset == 1 || o->ended);
	assert_int_equal(o->reset, 1);
	assert_false(o->ended || o->spoilt);
	assert_in_range(o->received, CHUNK_QUEUE_MAX, w.peer.sent);
}

/* A writer that waits for room learns that it waits for nothing. */
static void
a_refused_writer_gets_room(void **state)
{
	struct owner *o = &w.owner;

	(void)state;
	w.peer.holds = true;
	fill(o);
	socket_end_reset(&w.peer);
	run_until(o->reset == 1);
	assert_int_equal(o->writable, 1);
	assert_int_equal(o->stopped, 1);
	assert_true(stream_lost(&o->stream));
}

/* While nothing is read, only liveness sees the error. */
static void
a_failure_comes_after_the_input(void **state)
{
	struct owner *o = &w.owner;

	(void)state;
	o->holds = true;
	w.peer.to_send = 1000 * KB;
	run_out();
	w.peer.to_send = w.peer.sent;
	socket_end_reset(&w.peer);
	w.watch->on_gone(w.watch, liveness_failed);
	assert_int_equal(o->stopped, 1);
	assert_int_equal(o->reset, 0);
	o->holds = false;
	consume(o);
	run_until(o->reset == 1);
	assert_int_equal(o->stopped, 1);
	assert_true(o->received > CHUNK_QUEUE_MAX);
	assert_false(o->spoilt);
}

static void
a_silent_peer_is_a_reset(void **state)
{
	struct owner *o = &w.owner;

	(void)state;
	w.watch->on_gone(w.watch, liveness_silent);
	w.watch->on_gone(w.watch, liveness_silent);
	assert_int_equal(o->stopped, 1);
	assert_int_equal(o->reset, 1);
	assert_string_equal(o->why, "silent");
}

/* Between the opening and the first owner: that learns it when it attaches. */
static void
a_failure_waits_for_the_owner(void **state)
{
	struct stream stream = { 0 };
	int fds[2];

	(void)state;
	socket_end_pair(fds);
	assert_int_equal(stream_tcp_open(&stream, &w.context, fds[0]), 0);
	w.watch->on_gone(w.watch, liveness_silent);
	w.in_call = true;
	stream_attach(&w.heir.stream, &stream, &events, &w.heir);
	w.in_call = false;
	run_until(w.heir.reset == 1);
	assert_int_equal(w.heir.stopped, 1);
	close(fds[1]);
}

/* After the peer's FIN there is only the other direction to fail. */
static void
a_failure_after_fin_is_no_reset(void **state)
{
	struct owner *o = &w.owner;

	(void)state;
	w.peer.finishes = true;
	run_until(o->ended);
	socket_end_reset(&w.peer);
	w.watch->on_gone(w.watch, liveness_failed);
	w.watch->on_gone(w.watch, liveness_silent);
	assert_int_equal(o->stopped, 1);
	run_out();
	assert_int_equal(o->reset, 0);
}

/* An end of everything: owners learn it, and those that drain just end. */
static void
the_context_ends_its_streams(void **state)
{
	struct stream stream = { 0 };
	struct owner *o = &w.owner;
	int fds[2];

	(void)state;
	w.peer.holds = true;
	fill(o);
	stream_finish(&o->stream);
	stream_release(&o->stream);
	run_out();
	socket_end_pair(fds);
	assert_int_equal(stream_tcp_open(&stream, &w.context, fds[0]), 0);
	stream_attach(&w.heir.stream, &stream, &events, &w.heir);
	stream_tcp_context_fini(&w.context, "the end");
	w.context_gone = true;
	assert_int_equal(w.watches, 0);
	assert_int_equal(o->aborted, 0);
	assert_int_equal(w.heir.aborted, 1);
	assert_int_equal(w.heir.how, STREAM_CLOSED);
	assert_string_equal(w.heir.why, "the end");
	w.peer.holds = false;
	run_until(w.peer.reset || w.peer.ended);
	assert_true(w.peer.reset);
	close(fds[1]);
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		STREAM_TEST(room_comes_back_when_the_peer_reads),
		STREAM_TEST(a_push_needs_no_room),
		STREAM_TEST(a_release_delivers_everything),
		STREAM_TEST(an_unfinished_release_is_a_reset),
		STREAM_TEST(a_flush_ends_with_a_reset),
		STREAM_TEST(a_reset_comes_once_and_stopped_again),
		STREAM_TEST(a_failed_write_hides_no_reset),
		STREAM_TEST(a_refused_writer_gets_room),
		STREAM_TEST(a_failure_comes_after_the_input),
		STREAM_TEST(a_silent_peer_is_a_reset),
		STREAM_TEST(a_failure_waits_for_the_owner),
		STREAM_TEST(a_failure_after_fin_is_no_reset),
		STREAM_TEST(the_context_ends_its_streams),
	};

	signal(SIGPIPE, SIG_IGN); /* as the daemons do */
	return cmocka_run_group_tests_name("stream_tcp", tests, NULL, NULL);
}
