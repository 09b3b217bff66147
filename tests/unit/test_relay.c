/*
 * proxy/relay.c between a real TCP socket, whose other end is the origin, and a
 * stream, over each provider: QUIC on the link in memory, and TCP. What the
 * stream's peer does is the same for both.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

/* First: termios.h, which uv.h includes, has an ECHO of its own. */
#include "tests/unit/world.h"

#include "proxy/base/stream_quic.h"
#include "proxy/base/stream_tcp.h"
#include "proxy/relay.h"
#include "quic/internal.h"
#include "tests/unit/socket_end.h"

/* Bytes that fill the sockets, and that every buffer on the way can hold. */
#define SOME (150 * KB)
/* Bytes: more than any buffer on the way takes. */
#define MUCH (10 * MB)
#define PATIENCE_MS 20000 /* until a test fails: far more than it takes */

/* ---- A play, and the provider of its stream ---- */

struct play;

/* What the stream's peer does, and what it has seen. */
struct provider {
	void (*begin)(struct play *, struct stream *);
	void (*run)(struct play *); /* lets a moment pass */
	void (*send)(struct play *, size_t n);
	void (*finish)(struct play *); /* FIN after what it sends */
	void (*hold)(struct play *, bool holds);
	void (*reset)(struct play *);
	void (*lose)(struct play *); /* what carries the stream is closed */
	size_t (*sent)(const struct play *);
	bool (*delivered)(const struct play *);
	size_t (*received)(const struct play *);
	bool (*ended)(const struct play *);
	bool (*was_reset)(const struct play *);
	bool (*is_spoilt)(const struct play *);
	void (*end)(struct play *);
};

struct play {
	const struct provider *provider;
	uv_loop_t loop;
	struct relay relay;
	struct socket_end origin;
	unsigned closed, moved;

	struct world *w;		   /* QUIC */
	struct stream_tcp_context context; /* TCP */
	struct socket_end peer;
};

static struct play play;

/* ---- QUIC ---- */

static void
quic_begin(struct play *p, struct stream *stream)
{
	struct world *w;

	assert_int_equal(world_new((void **)&p->w), 0);
	w = p->w;
	world_up(w);
	w->near[0].stays_open = w->far[0].stays_open = true;
	w->near[0].hears_reset = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, RTT);
	stream_quic_open(stream, w->far[0].stream);
	w->far[0].stream = NULL;
}

static void
quic_run(struct play *p)
{
	end_pump(&p->w->near[0]);
	link_run(p->w->link, NULL, NULL, LINK_MS);
}

static void
quic_send(struct play *p, size_t n)
{
	p->w->near[0].to_send += n;
}

static void
quic_finish(struct play *p)
{
	p->w->near[0].stays_open = false;
}

static void
quic_hold(struct play *p, bool holds)
{
	p->w->near[0].habit = holds ? HOLD : SINK;
}

static void
quic_reset(struct play *p)
{
	quic_stream_reset(p->w->near[0].stream, QUIC_H3_REQUEST_CANCELLED);
	p->w->near[0].stream = NULL;
}

static void
quic_lose(struct play *p)
{
	quic_conn_close(near_conn(p->w), QUIC_H3_NO_ERROR, "", p->w->link->now);
	link_run(p->w->link, NULL, NULL, RTT);
}

static size_t
quic_sent(const struct play *p)
{
	return p->w->near[0].sent;
}

static bool
quic_delivered(const struct play *p)
{
	const struct end *e = &p->w->near[0];

	return e->sent == e->to_send && e->stream->tx.len == 0;
}

static size_t
quic_received(const struct play *p)
{
	return p->w->near[0].received;
}

static bool
quic_ended(const struct play *p)
{
	return p->w->near[0].ended;
}

static bool
quic_was_reset(const struct play *p)
{
	return p->w->near[0].reset > 0 || p->w->near[0].aborted;
}

static bool
quic_is_spoilt(const struct play *p)
{
	return p->w->near[0].spoilt;
}

static void
quic_end(struct play *p)
{
	assert_int_equal(world_free((void **)&p->w), 0);
}

static const struct provider quic = {
	.begin = quic_begin,
	.run = quic_run,
	.send = quic_send,
	.finish = quic_finish,
	.hold = quic_hold,
	.reset = quic_reset,
	.lose = quic_lose,
	.sent = quic_sent,
	.delivered = quic_delivered,
	.received = quic_received,
	.ended = quic_ended,
	.was_reset = quic_was_reset,
	.is_spoilt = quic_is_spoilt,
	.end = quic_end,
};

/* ---- TCP ---- */

static void
tcp_begin(struct play *p, struct stream *stream)
{
	int fds[2];

	stream_tcp_context_init(&p->context, &p->loop, NULL, 0);
	socket_end_pair(fds);
	assert_int_equal(stream_tcp_open(stream, &p->context, fds[0]), 0);
	p->peer.fd = fds[1];
}

static void
tcp_run(struct play *p)
{
	socket_end_pump(&p->peer);
}

static void
tcp_send(struct play *p, size_t n)
{
	p->peer.to_send += n;
}

static void
tcp_finish(struct play *p)
{
	p->peer.finishes = true;
}

static void
tcp_hold(struct play *p, bool holds)
{
	p->peer.holds = holds;
}

static void
tcp_reset(struct play *p)
{
	socket_end_reset(&p->peer);
}

static void
tcp_lose(struct play *p)
{
	stream_tcp_context_fini(&p->context, "the test is over");
}

static size_t
tcp_sent(const struct play *p)
{
	return p->peer.sent;
}

static bool
tcp_delivered(const struct play *p)
{
	return socket_end_delivered(&p->peer);
}

static size_t
tcp_received(const struct play *p)
{
	return p->peer.received;
}

static bool
tcp_ended(const struct play *p)
{
	return p->peer.ended;
}

static bool
tcp_was_reset(const struct play *p)
{
	return p->peer.reset;
}

static bool
tcp_is_spoilt(const struct play *p)
{
	return p->peer.spoilt;
}

static void
tcp_end(struct play *p)
{
	stream_tcp_context_fini(&p->context, "the test is over");
	if (p->peer.fd >= 0)
		close(p->peer.fd);
}

static const struct provider tcp = {
	.begin = tcp_begin,
	.run = tcp_run,
	.send = tcp_send,
	.finish = tcp_finish,
	.hold = tcp_hold,
	.reset = tcp_reset,
	.lose = tcp_lose,
	.sent = tcp_sent,
	.delivered = tcp_delivered,
	.received = tcp_received,
	.ended = tcp_ended,
	.was_reset = tcp_was_reset,
	.is_spoilt = tcp_is_spoilt,
	.end = tcp_end,
};

/* ---- The play ---- */

static void
on_closed(struct relay *r)
{
	((struct play *)r->tcp.loop->data)->closed++;
}

static void
on_moved(struct relay *r)
{
	((struct play *)r->tcp.loop->data)->moved++;
}

/* The initial state is the provider; then the state is the play. */
static int
begin(void **state)
{
	struct stream stream = { 0 };
	struct play *p = &play;
	int fds[2];

	*p = (struct play){ .provider = *state };
	*state = p;
	assert_int_equal(uv_loop_init(&p->loop), 0);
	p->loop.data = p;
	p->provider->begin(p, &stream);
	socket_end_pair(fds);
	p->origin.fd = fds[1];
	relay_init(&p->relay, &p->loop, on_closed);
	p->relay.moved = on_moved;
	p->relay.peer_closed = "closed in order";
	assert_int_equal(uv_tcp_open(&p->relay.tcp, fds[0]), 0);
	relay_start(&p->relay, &stream);
	assert_false(stream_is_open(&stream));
	return 0;
}

static int
end(void **state)
{
	struct play *p = *state;

	relay_close(&p->relay, "the test is over");
	p->provider->end(p);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	if (p->closed != 1 || uv_loop_close(&p->loop) != 0)
		return -1;
	if (p->origin.fd >= 0)
		close(p->origin.fd);
	return 0;
}

static void
play_on(struct play *p)
{
	uv_run(&p->loop, UV_RUN_NOWAIT);
	p->provider->run(p);
	socket_end_pump(&p->origin);
}

/* Runs until the condition holds; it must. */
#define play_until(p, condition) \
	do { \
		uint64_t start_ = uv_hrtime() / 1000000; \
		while (!(condition) && \
		    uv_hrtime() / 1000000 - start_ < PATIENCE_MS) \
			play_on(p); \
		assert_true(condition); \
	} while (0)

/* Runs until nothing moves any more. */
static void
play_out(struct play *p)
{
	uint64_t before = 0, now = 1;

	for (unsigned idle = 0; idle < 100;
	     idle = now == before ? idle + 1 : 0) {
		before = now;
		play_on(p);
		now = p->relay.to_stream + p->relay.to_tcp + p->origin.sent +
		    p->provider->sent(p) + p->provider->received(p);
	}
}

static void
assert_origin(const struct play *p, size_t received, bool ended, bool reset)
{
	assert_false(p->origin.spoilt);
	assert_int_equal(p->origin.received, received);
	assert_int_equal(p->origin.ended, ended);
	assert_int_equal(p->origin.reset, reset);
}

static void
assert_peer(const struct play *p, size_t received, bool ended, bool reset)
{
	assert_false(p->provider->is_spoilt(p));
	assert_int_equal(p->provider->received(p), received);
	assert_int_equal(p->provider->ended(p), ended);
	assert_int_equal(p->provider->was_reset(p), reset);
}

/* ---- FIN ---- */

static void
the_peer_half_closes_first(void **state)
{
	struct play *p = *state;

	p->provider->send(p, SOME);
	p->provider->finish(p);
	play_until(p, p->origin.ended);
	assert_origin(p, SOME, true, false);
	p->origin.to_send = MB;
	play_until(p, p->provider->received(p) == MB);
	assert_peer(p, MB, false, false);
	assert_int_equal(p->closed, 0);
	p->origin.finishes = true;
	play_until(p, p->closed == 1 && p->provider->ended(p));
	assert_peer(p, MB, true, false);
	assert_string_equal(p->relay.reason, "done");
	assert_int_equal(p->relay.to_tcp, SOME);
	assert_int_equal(p->relay.to_stream, MB);
}

static void
the_origin_half_closes_first(void **state)
{
	struct play *p = *state;

	p->origin.to_send = SOME;
	p->origin.finishes = true;
	play_until(p, p->provider->ended(p));
	assert_peer(p, SOME, true, false);
	p->provider->send(p, MB);
	play_until(p, p->origin.received == MB);
	assert_origin(p, MB, false, false);
	assert_int_equal(p->closed, 0);
	p->provider->finish(p);
	play_until(p, p->closed == 1 && p->origin.ended);
	assert_origin(p, MB, true, false);
	assert_string_equal(p->relay.reason, "done");
}

static void
both_end_without_a_byte(void **state)
{
	struct play *p = *state;

	p->provider->finish(p);
	p->origin.finishes = true;
	play_until(p,
	    p->closed == 1 && p->origin.ended && p->provider->ended(p));
	assert_origin(p, 0, true, false);
	assert_peer(p, 0, true, false);
	assert_string_equal(p->relay.reason, "done");
}

/* ---- Reset ---- */

/* What has arrived is delivered, to a reader that was slow, and then RST. */
static void
a_reset_of_the_peer_comes_after_its_bytes(void **state)
{
	struct play *p = *state;

	p->origin.holds = true;
	p->provider->send(p, SOME);
	play_until(p, p->provider->delivered(p));
	assert_in_range(p->relay.to_tcp, 1, SOME - 1);
	p->provider->reset(p);
	play_out(p);
	assert_int_equal(p->closed, 0);
	p->origin.holds = false;
	play_until(p, p->closed == 1 && (p->origin.reset || p->origin.ended));
	assert_origin(p, SOME, false, true);
	assert_string_equal(p->relay.reason, "reset by the peer");
}

static void
a_reset_of_the_origin_comes_after_its_bytes(void **state)
{
	struct play *p = *state;

	p->provider->hold(p, true);
	p->origin.to_send = SOME;
	play_until(p,
	    socket_end_delivered(&p->origin) && p->relay.to_stream == SOME);
	socket_end_reset(&p->origin);
	play_out(p);
	assert_int_equal(p->provider->received(p), 0);
	p->provider->hold(p, false);
	play_until(p,
	    p->closed == 1 &&
		(p->provider->was_reset(p) || p->provider->ended(p)));
	assert_peer(p, SOME, false, true);
}

/* The origin sends on to a peer that is gone: both ends see a reset. */
static void
a_reset_ends_a_transfer_the_other_way(void **state)
{
	struct play *p = *state;

	p->origin.to_send = MUCH;
	play_until(p, p->provider->received(p) > 0);
	p->provider->reset(p);
	play_until(p, p->closed == 1 && p->origin.reset);
	assert_true(p->origin.sent < MUCH);
	assert_string_equal(p->relay.reason, "reset by the peer");
}

/* What carries the stream ends: what has arrived is delivered, then RST. */
static void
a_close_below_the_stream_is_a_reset(void **state)
{
	struct play *p = *state;

	p->provider->send(p, 10 * KB);
	play_until(p, p->relay.to_tcp == 10 * KB);
	p->provider->lose(p);
	play_until(p, p->closed == 1 && (p->origin.reset || p->origin.ended));
	assert_origin(p, 10 * KB, false, true);
	assert_string_equal(p->relay.reason, "closed in order");
}

/* ---- Pace ---- */

/* A slow reader stops its sender, and receives everything in the end. */
static void
a_slow_origin_stops_the_peer(void **state)
{
	struct play *p = *state;

	p->origin.holds = true;
	p->provider->send(p, MUCH);
	p->provider->finish(p);
	play_out(p);
	assert_in_range(p->relay.to_tcp, 1, MB);
	assert_in_range(p->provider->sent(p), 1, MUCH - 1);
	p->origin.to_send = 10 * KB; /* the other direction goes on */
	play_until(p, p->provider->received(p) == 10 * KB);
	p->origin.holds = false;
	play_until(p, p->origin.ended);
	assert_origin(p, MUCH, true, false);
}

static void
a_slow_peer_stops_the_origin(void **state)
{
	struct play *p = *state;

	p->provider->hold(p, true);
	p->origin.to_send = MUCH;
	p->origin.finishes = true;
	play_out(p);
	assert_in_range(p->relay.to_stream, 1, MUCH / 2);
	assert_in_range(p->origin.sent, 1, MUCH - 1);
	p->provider->send(p, 10 * KB);
	play_until(p, p->origin.received == 10 * KB);
	p->provider->hold(p, false);
	play_until(p, p->provider->ended(p));
	assert_peer(p, MUCH, true, false);
}

/* ---- Closing, in each state ---- */

static void
nothing(struct play *p)
{
	(void)p;
}

static void
bytes_wait_for_the_origin(struct play *p)
{
	p->origin.holds = true;
	p->provider->send(p, SOME);
	play_until(p, p->relay.writing > 0);
}

static void
bytes_wait_for_the_peer(struct play *p)
{
	p->provider->hold(p, true);
	p->origin.to_send = SOME;
	play_until(p, p->relay.to_stream > 0);
}

static void
the_peer_has_finished(struct play *p)
{
	p->provider->finish(p);
	play_until(p, p->origin.ended);
	p->origin.ended = false;
}

static void
the_origin_has_finished(struct play *p)
{
	p->origin.finishes = true;
	play_until(p, p->provider->ended(p));
}

static void
the_peer_has_reset(struct play *p)
{
	bytes_wait_for_the_origin(p);
	play_until(p, p->provider->delivered(p));
	p->provider->reset(p);
	play_until(p, p->relay.ending);
}

static void
the_origin_takes_no_more(struct play *p)
{
	bytes_wait_for_the_origin(p);
	p->provider->hold(p, true);
	socket_end_reset(&p->origin);
}

/* An end that has not ended by itself sees a reset, and no FIN. */
static void
a_close_is_legal_in_each_state(void **state)
{
	static void (*const states[])(struct play *) = { nothing,
		bytes_wait_for_the_origin, bytes_wait_for_the_peer,
		the_peer_has_finished, the_origin_has_finished,
		the_peer_has_reset, the_origin_takes_no_more };
	const struct provider *provider = ((struct play *)*state)->provider;
	struct play *p = *state;

	for (size_t i = 0; i < COUNT(states); i++) {
		states[i](p);
		relay_close(&p->relay, "closed here");
		relay_close(&p->relay, "closed twice");
		p->origin.holds = false;
		if (states[i] != the_peer_has_reset)
			p->provider->hold(p, false);
		play_until(p, p->closed == 1);
		assert_string_equal(p->relay.reason, "closed here");
		if (p->origin.fd >= 0)
			play_until(p, p->origin.reset || p->origin.ended);
		assert_true(p->origin.fd < 0 || p->origin.reset);
		assert_false(p->origin.spoilt || provider->is_spoilt(p));
		if (states[i] != the_peer_has_reset &&
		    states[i] != the_origin_has_finished)
			play_until(p, provider->was_reset(p));
		*state = p;
		assert_int_equal(end(state), 0);
		*state = (void *)(uintptr_t)provider;
		begin(state);
	}
}

/* ---- STOP_SENDING, which TCP does not have ---- */

/* What the origin gets rid of, of so many bytes, until nothing moves. */
static size_t
send_all(struct play *p, size_t n)
{
	size_t before = p->origin.sent;

	p->origin.to_send = before + n;
	play_out(p);
	return p->origin.sent - before;
}

/*
 * A client that stops its download has no more of it read than what its origin
 * may have under way, and that does not keep the tunnel from being idle. What
 * the client sends still arrives.
 */
static void
a_stopped_download_is_not_read(void **state)
{
	struct play *p = *state;

	p->origin.to_send = MB;
	play_until(p, p->origin.sent == MB);
	stream_stop(p->w->near[0].stream, QUIC_H3_NO_ERROR);
	play_out(p);
	p->moved = 0;
	assert_in_range(send_all(p, 100 * MB), RELAY_DROP_MAX - MB,
	    RELAY_DROP_MAX + MB);
	assert_int_equal(p->moved, 0);
	p->provider->send(p, KB);
	play_until(p, p->origin.received == KB);
	assert_int_equal(p->closed, 0);
}

#define OVER(provider, name) \
	{ \
#name " over " #provider, name, begin, end, \
		    (void *)(uintptr_t)&provider \
	}
#define OVER_BOTH(name) OVER(quic, name), OVER(tcp, name)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		OVER_BOTH(the_peer_half_closes_first),
		OVER_BOTH(the_origin_half_closes_first),
		OVER_BOTH(both_end_without_a_byte),
		OVER_BOTH(a_reset_of_the_peer_comes_after_its_bytes),
		OVER_BOTH(a_reset_of_the_origin_comes_after_its_bytes),
		OVER_BOTH(a_reset_ends_a_transfer_the_other_way),
		OVER_BOTH(a_close_below_the_stream_is_a_reset),
		OVER_BOTH(a_slow_origin_stops_the_peer),
		OVER_BOTH(a_slow_peer_stops_the_origin),
		OVER_BOTH(a_close_is_legal_in_each_state),
		OVER(quic, a_stopped_download_is_not_read),
	};

	signal(SIGPIPE, SIG_IGN); /* as the daemons do */
	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
