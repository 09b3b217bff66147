#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "quic/internal.h"
#include "tests/unit/world.h"

/*
 * Streams: heads, bytes both ways, the two halves of a close, resets, and the
 * limits.
 */

/* ---- Heads ---- */

static void
heads_go_both_ways(void **state)
{
	struct quic_field user = { "proxy-authorization", "Basic dTpw" };
	struct world *w = *state;

	world_up(w);
	w->far[7].status = "502";
	w->far[7].proxy_status = "culvert; error=connection_refused";
	assert_int_equal(tunnel_open_with(w, 7, &user), 0);
	assert_true(link_run(w->link, is_some, &w->requests, LONG));
	assert_int_equal(w->nseen, 3);
	assert_string_equal(seen(w, ":method"), "CONNECT");
	assert_string_equal(seen(w, ":authority"), "tunnel.example:7");
	assert_string_equal(seen(w, "proxy-authorization"), "Basic dTpw");
	assert_false(w->near[7].answered);
	assert_true(link_run(w->link, is_true, &w->near[7].answered, LONG));
	assert_int_equal(w->nseen, 2);
	assert_string_equal(seen(w, ":status"), "502");
	assert_string_equal(seen(w, "proxy-status"),
	    "culvert; error=connection_refused");
}

static void
a_request_too_large_is_refused(void **state)
{
	static char value[QUIC_HEADER_SECTION_MAX];
	struct quic_field large = { "x-large", value };
	struct world *w = *state;

	memset(value, 'v', sizeof(value) - 1);
	world_up(w);
	w->far[1].habit = ECHO;
	w->near[0].stays_open = true;
	w->near[1].to_send = 10;
	assert_int_equal(tunnel_open_with(w, 0, &large), 0);
	assert_int_equal(tunnel_open(w, 1), 0);
	assert_true(tunnels_done(w, 2));
	assert_true(w->near[0].aborted);
	assert_int_equal(w->near[0].code, 0x107); /* H3_EXCESSIVE_LOAD */
	assert_int_equal(w->requests, 1);
	assert_whole(&w->near[1], 10);
	value[QUIC_HEADER_SECTION_MAX / 2] = '\0';
	assert_int_equal(tunnel_open_with(w, 2, &large), 0);
	assert_true(tunnels_done(w, 3));
	assert_false(w->near[2].aborted);
	assert_string_equal(seen(w, ":status"), "200");
}

static void
a_response_too_large_is_refused(void **state)
{
	static char value[QUIC_HEADER_SECTION_MAX];
	struct world *w = *state;

	memset(value, 'v', sizeof(value) - 1);
	world_up(w);
	w->near[0].stays_open = w->far[0].stays_open = true;
	w->far[0].proxy_status = value;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(link_run(w->link, is_true, &w->near[0].aborted, LONG));
	assert_int_equal(w->near[0].code, 0x107);
	assert_false(w->near[0].answered);
	assert_false(w->far[0].aborted);
	assert_true(link_run(w->link, is_true, &w->far[0].aborted, LONG));
	assert_int_equal(w->far[0].code, 0x107);
}

static void
too_many_fields_do_not_leave(void **state)
{
	static struct quic_field fields[QUIC_FIELDS_MAX + 1];
	static const struct quic_stream_events none;
	struct quic_stream *s;
	struct world *w = *state;

	world_up(w);
	for (size_t i = 0; i < COUNT(fields); i++)
		fields[i] = (struct quic_field){ "x", "" };
	assert_int_equal(quic_stream_request(near_conn(w), fields,
			     COUNT(fields), &none, NULL, &s),
	    -EINVAL);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(w->requests, 0);
	assert_int_equal(w->client[0].closed, 0);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
}

/* ---- Streams ---- */

static void
a_hundred_at_once(void **state)
{
	struct world *w = *state;

	world_up(w);
	for (unsigned i = 0; i < 100; i++) {
		w->far[i].habit = ECHO;
		w->near[i].to_send = 10 * KB + i * 900;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	assert_int_equal(stats_of(near_conn(w)).streams, 100);
	assert_true(tunnels_done(w, 100));
	for (unsigned i = 0; i < 100; i++) {
		assert_whole(&w->near[i], 10 * KB + i * 900);
		assert_whole(&w->far[i], 10 * KB + i * 900);
	}
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
	/* The packets came in trains. */
	assert_true(4 * w->link->delivered <
	    w->link->sent_up + w->link->sent_down);
}

static void
tunnels_come_and_go(void **state)
{
	struct world *w = *state;

	world_up(w);
	for (unsigned round = 0; round < 30; round++) {
		tunnels_forget(w);
		for (unsigned i = 0; i < 100; i++) {
			w->far[i].habit = i % 10 == 0 ? REJECT : ECHO;
			w->near[i].to_send = i;
			assert_int_equal(tunnel_open(w, i), 0);
		}
		assert_true(tunnels_done(w, 100));
		for (unsigned i = 0; i < 100; i++)
			assert_true(w->near[i].aborted == (i % 10 == 0));
	}
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(w->requests, 3000);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
}

/* The far end goes on long after the near end's FIN. */
static void
half_closed_by_the_client(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 10 * KB;
	w->far[0].to_send = 500 * KB;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(link_run(w->link, is_true, &w->far[0].ended, LONG));
	assert_true(w->near[0].received < 400 * KB);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 500 * KB);
	assert_whole(&w->far[0], 10 * KB);
}

static void
half_closed_by_the_server(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 500 * KB;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(link_run(w->link, is_true, &w->near[0].ended, LONG));
	assert_true(w->far[0].received < 400 * KB);
	assert_true(tunnels_done(w, 1));
	assert_true(link_run(w->link, is_true, &w->far[0].ended, LONG));
	assert_whole(&w->far[0], 500 * KB);
}

static void
reset_by_the_client(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = w->far[0].to_send = 10 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 6 * RTT);
	assert_true(w->far[0].received > 0);
	quic_stream_reset(w->near[0].stream, QUIC_H3_CONNECT_ERROR);
	w->near[0].stream = NULL;
	assert_true(link_run(w->link, is_true, &w->far[0].aborted, RTT));
	assert_int_equal(w->far[0].code, QUIC_H3_CONNECT_ERROR);
	assert_false(w->far[0].connection_lost);
	assert_false(w->near[0].aborted);
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
}

static void
reset_by_the_server(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = w->far[0].to_send = 10 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 6 * RTT);
	quic_stream_reset(w->far[0].stream, 0xabcd);
	w->far[0].stream = NULL;
	/* The window is full: a round trip to get room, and half of one. */
	assert_true(link_run(w->link, is_true, &w->near[0].aborted, 2 * RTT));
	assert_int_equal(w->near[0].code, 0xabcd);
	assert_false(w->near[0].connection_lost);
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
}

/* Resets the stream while the near end sends. */
static void
cut(struct end *e)
{
	quic_stream_flush_and_reset(e->stream, QUIC_H3_CONNECT_ERROR);
	e->stream = NULL;
}

static void
a_reset_may_wait_for_the_bytes(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->link->loss = w->link->late = 100;
	for (unsigned i = 0; i < 20; i++) {
		w->near[i].to_send = 100 * KB;
		w->near[i].stays_open = w->far[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
		assert_int_equal(w->near[i].sent, 100 * KB);
		cut(&w->near[i]);
	}
	for (unsigned i = 0; i < 20; i++) {
		assert_true(link_run(w->link, is_true, &w->far[i].aborted,
		    LONG));
		assert_int_equal(w->far[i].received, 100 * KB);
		assert_false(w->far[i].spoilt);
		assert_int_equal(w->far[i].code, QUIC_H3_CONNECT_ERROR);
	}
	w->link->loss = 0;
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
}

static void
a_reset_does_not_wait_for_ever(void **state)
{
	struct world *w = *state;

	world_up(w);
	for (unsigned i = 0; i < 100; i++) {
		w->near[i].to_send = MB;
		w->far[i].habit = HOLD;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	link_run(w->link, NULL, NULL, 10 * RTT);
	for (unsigned i = 0; i < 100; i++)
		cut(&w->near[i]);
	link_run(w->link, NULL, NULL, QUIC_FLUSH_STALL_NS / 2);
	assert_int_equal(stats_of(near_conn(w)).streams, 100);
	assert_true(tunnels_done(w, 100));
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
}

static void
a_lost_connection_ends_a_flush(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = MB;
	w->far[0].habit = HOLD;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 4 * RTT);
	cut(&w->near[0]);
	quic_conn_close(near_conn(w), QUIC_H3_NO_ERROR, "enough", w->link->now);
	link_run(w->link, NULL, NULL, LONG);
	assert_true(w->far[0].connection_lost);
}

static void
what_came_before_a_reset_is_there(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 50 * KB;
	w->near[0].stays_open = true;
	w->far[0].habit = HOLD;
	w->far[0].stays_open = w->far[0].hears_reset = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	cut(&w->near[0]);
	assert_true(link_run(w->link, is_some, &w->far[0].reset, LONG));
	link_run(w->link, NULL, NULL, LONG);
	assert_int_equal(w->far[0].reset, 1);
	assert_int_equal(w->far[0].code, QUIC_H3_CONNECT_ERROR);
	assert_false(w->far[0].aborted);
	assert_int_equal(w->far[0].received, 0);
	w->far[0].habit = SINK;
	end_pump(&w->far[0]);
	assert_int_equal(w->far[0].received, 50 * KB);
	assert_false(w->far[0].spoilt);
	assert_false(w->far[0].ended);
	quic_stream_reset(w->far[0].stream, QUIC_H3_CONNECT_ERROR);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
}

/* Sends STOP_SENDING. */
static void
stop_sending(struct end *e, uint64_t code)
{
	struct quic_conn *conn = quic_stream_conn(e->stream);

	assert_int_equal(ngtcp2_conn_shutdown_stream_read(conn->quic, 0,
			     quic_stream_id(e->stream), code),
	    0);
	conn_touch(conn);
}

/*
 * One end sends all its data and FIN, and STOP_SENDING; the other reads late.
 * The data is delivered whole, with any error code, and whether or not the
 * other end had more to send.
 */
static void
said_all_and_stopped(struct world *w, bool up, uint64_t code, bool talks)
{
	struct end *from = up ? w->near : w->far, *to = up ? w->far : w->near;

	tunnels_forget(w);
	from->to_send = 60 * KB;
	from->habit = to->habit = HOLD;
	from->stays_open = to->stays_open = true;
	from->hears_reset = to->hears_reset =
	    true; /* of a stream that is stopped */
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, RTT);
	from->stays_open = false;
	end_pump(from);
	stop_sending(from, code);
	link_run(w->link, NULL, NULL, 4 * RTT);
	to->to_send = talks ? MB : 0;
	end_pump(to);
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(to->sent, to->to_send);
	assert_int_equal(quic_stream_lost(to->stream), talks);
	assert_int_equal(to->stopped, 1);
	assert_int_equal(to->reset, 0);
	to->habit = SINK;
	to->stays_open = false;
	end_pump(to);
	assert_true(to->ended);
	assert_whole(to, 60 * KB);
	quic_stream_release(from->stream);
	from->stream = NULL;
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
}

static void
a_stop_is_no_reset(void **state)
{
	static const uint64_t codes[] = { QUIC_H3_NO_ERROR, 0, 0x10e,
		QUIC_H3_REQUEST_REJECTED, QUIC_H3_REQUEST_CANCELLED };
	struct world *w = *state;

	world_up(w);
	for (size_t i = 0; i < 4 * COUNT(codes); i++)
		said_all_and_stopped(w, i & 1, codes[i / 4], i & 2);
	assert_int_equal(w->client[0].closed, 0);
}

/* After all data and FIN there is nothing to stop. */
static void
a_stop_after_all_is_nothing(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 10 * KB;
	w->far[0].habit = HOLD;
	w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 4 * RTT);
	stop_sending(&w->far[0], 0x10e);
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(w->near[0].stopped, 0);
	assert_false(quic_stream_lost(w->near[0].stream));
	w->far[0].habit = SINK;
	w->far[0].stays_open = false;
	w->far[0].to_send = 10 * KB;
	end_pump(&w->far[0]);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 10 * KB);
	assert_whole(&w->far[0], 10 * KB);
}

/* Before the response; the event reaches the owner that the stream has then. */
static void
a_stop_may_come_first(void **state)
{
	static const struct quic_stream_events none;
	struct world *w = *state;

	world_up(w);
	w->near[0].stays_open = w->near[0].hears_reset = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	stop_sending(&w->near[0], QUIC_H3_REQUEST_CANCELLED);
	w->far[0].habit = HOLD;
	w->far[0].to_send = 10 * KB;
	assert_true(link_run(w->link, is_some, &w->far[0].stopped, LONG));
	quic_stream_attach(w->far[0].stream, &none, NULL);
	link_run(w->link, NULL, NULL, RTT);
	w->far[0].stopped = 0;
	end_attach(&w->far[0]);
	assert_true(link_run(w->link, is_some, &w->far[0].stopped, RTT));
	assert_true(quic_stream_lost(w->far[0].stream));
	w->near[0].to_send = 10 * KB;
	end_pump(&w->near[0]);
	w->far[0].habit = SINK;
	link_run(w->link, NULL, NULL, RTT);
	assert_whole(&w->far[0], 10 * KB);
}

/*
 * The client has sent all and reads no response: its bytes are delivered whole.
 */
static void
a_response_that_is_not_read(void **state)
{
	static const struct quic_field ok = { ":status", "200" };
	struct world *w = *state;
	struct end *far = &w->far[0];

	world_up(w);
	w->near[0].to_send = 10 * KB;
	w->near[0].stays_open = w->near[0].hears_reset = true;
	far->habit = THINK;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, RTT);
	end_pump(&w->near[0]);
	quic_stream_finish(w->near[0].stream);
	stop_sending(&w->near[0], QUIC_H3_REQUEST_CANCELLED);
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_true(far->stream->transport_gone);
	assert_int_equal(quic_stream_respond(far->stream, &ok, 1), 0);
	assert_int_equal(quic_stream_push(far->stream, "hi", 2), 2);
	far->habit = SINK;
	end_pump(far);
	assert_true(far->ended);
	assert_int_equal(far->received, 10 * KB);
	assert_int_equal(far->aborted + far->reset, 0);
}

static bool
has_the_end(void *arg)
{
	const struct end *e = arg;

	return e->stream != NULL && e->stream->rx_fin;
}

/* The reset overtakes the acknowledgement of all that there was. */
static void
a_reset_after_the_end_is_nothing(void **state)
{
	struct world *w = *state;
	struct end *from, *to;

	world_up(w);
	for (unsigned up = 0; up < 2; up++) {
		tunnels_forget(w);
		from = up ? w->near : w->far;
		to = up ? w->far : w->near;
		from->to_send = 5 * KB;
		to->habit = HOLD;
		to->stays_open = to->hears_reset = true;
		assert_int_equal(tunnel_open(w, 0), 0);
		assert_true(link_run(w->link, has_the_end, to, LONG));
		ngtcp2_conn_shutdown_stream_write(quic_stream_conn(from->stream)
						      ->quic,
		    0, quic_stream_id(from->stream), 0x10e);
		conn_touch(quic_stream_conn(from->stream));
		link_run(w->link, NULL, NULL, 4 * RTT);
		assert_int_equal(to->reset, 0);
		to->habit = SINK;
		to->stays_open = false;
		end_pump(to);
		assert_whole(to, 5 * KB);
		assert_true(to->ended);
		assert_true(tunnels_done(w, 1));
	}
}

static void
a_request_may_be_rejected(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[0].habit = REJECT;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(link_run(w->link, is_true, &w->near[0].aborted, LONG));
	assert_int_equal(w->near[0].code, QUIC_H3_REQUEST_REJECTED);
	assert_false(w->near[0].answered);
}

static void
an_ignored_request_is_reset(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[0].habit = IGNORE;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(link_run(w->link, is_true, &w->near[0].aborted, LONG));
	assert_int_equal(w->near[0].code, QUIC_H3_INTERNAL_ERROR);
}

static void
reset_by_a_handler(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].habit = DROP;
	w->near[0].stays_open = true;
	w->far[0].to_send = 100 * KB;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(tunnels_done(w, 1));
	assert_true(w->near[0].answered);
	assert_int_equal(w->near[0].received, 0);
	assert_true(w->far[0].aborted);
	assert_int_equal(w->far[0].code, QUIC_H3_REQUEST_CANCELLED);
}

/* A refusal reaches the client even while it sends (RFC 9114 §4.1). */
static void
a_refusal_arrives_in_full(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 10 * MB;
	w->far[0].habit = HOLD;
	w->far[0].status = "403";
	w->far[0].to_send = 20 * KB;
	w->far[0].lets_go = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(tunnels_done(w, 1));
	assert_string_equal(seen(w, ":status"), "403");
	assert_whole(&w->near[0], 20 * KB);
	assert_true(w->near[0].ended);
	assert_true(w->link->sent_up < 300); /* of about 7000 packets */
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
}

/*
 * The frames of a few streams in each datagram that the client received. A qlog
 * of the library has a record for each packet, and here a datagram holds one.
 */
#define HEARD 20 /* tunnels */
struct heard {
	unsigned datagrams;
	unsigned end[HEARD];  /* the datagram with the FIN, or 0 */
	unsigned stop[HEARD]; /* ... with STOP_SENDING */
};

static void
hear(struct quic_conn *conn, const void *data, size_t len, void *arg)
{
	struct heard *heard = arg;
	char text[4096], frame[80];

	(void)conn;
	snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)data);
	if (strstr(text, "packet_received") == NULL)
		return;
	heard->datagrams++;
	for (int i = 0; i < HEARD; i++) {
		snprintf(frame, sizeof(frame),
		    "\"stop_sending\",\"stream_id\":%d,", 4 * i);
		if (strstr(text, frame) != NULL && heard->stop[i] == 0)
			heard->stop[i] = heard->datagrams;
		snprintf(frame, sizeof(frame), "\"stream\",\"stream_id\":%d,",
		    4 * i);
		for (const char *at = text; (at = strstr(at, frame)) != NULL;
		     at++)
			if (memmem(at, strcspn(at, "}"), "\"fin\":true", 10) !=
				NULL &&
			    heard->end[i] == 0)
				heard->end[i] = heard->datagrams;
	}
}

/* The tunnels of a client that reads are refused, with a body or without. */
static struct heard *
refuse_some(struct world *w, bool insist)
{
	static const struct quic_events events = { .qlog = hear };
	static struct heard heard;
	struct quic_path path = link_path(0);

	memset(&heard, 0, sizeof(heard));
	world_serve(w);
	assert_int_equal(quic_client_new(&w->link->clients[0], w->client_tls,
			     SERVER_NAME, &path, &w->client_settings, &events,
			     &heard, w->link->now),
	    0);
	assert_true(link_run(w->link, is_some, &w->server.connected, LONG));
	for (unsigned i = 0; i < HEARD; i++) {
		w->near[i].stays_open = !insist;
		w->near[i].to_send = insist ? 10 * MB : 0;
		w->far[i].habit = HOLD;
		w->far[i].status = "403";
		w->far[i].to_send = i % 3 * 2 * KB;
		w->far[i].lets_go = true;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	return &heard;
}

/*
 * Firefox loses a response that STOP_SENDING comes with: it comes a round trip
 * later, if the client sends on.
 */
static void
a_refusal_comes_before_the_stop(void **state)
{
	struct world *w = *state;
	struct heard *heard = refuse_some(w, true);

	w->link->loss = w->link->late = 100;
	assert_true(tunnels_done(w, HEARD));
	for (unsigned i = 0; i < HEARD; i++) {
		assert_whole(&w->near[i], i % 3 * 2 * KB);
		assert_int_not_equal(heard->end[i], 0);
		assert_true(heard->stop[i] > heard->end[i]);
	}
	w->link->loss = 0;
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
}

/* A client without more data has the refusal, and ends its side. */
static void
a_refusal_needs_no_stop(void **state)
{
	struct world *w = *state;
	struct heard *heard = refuse_some(w, false);

	link_run(w->link, NULL, NULL, QUIC_FLUSH_STALL_NS / 2);
	for (unsigned i = 0; i < HEARD; i++) {
		assert_whole(&w->near[i], i % 3 * 2 * KB);
		assert_true(w->near[i].ended);
		assert_int_equal(heard->stop[i], 0);
		if (i % 2 == 0)
			quic_stream_reset(w->near[i].stream,
			    QUIC_H3_REQUEST_CANCELLED);
		else
			quic_stream_finish(w->near[i].stream);
		w->near[i].stream = NULL;
	}
	link_run(w->link, NULL, NULL, 4 * RTT);
	assert_int_equal(stats_of(w->server.conn).streams, 0);
}

/* So it is with a client that cannot write, for its window is used up. */
static void
a_refusal_frees_a_blocked_sender(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 10 * MB;
	w->far[0].habit = HOLD;
	w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 2 * LINK_S);
	assert_true(w->near[0].sent < MB);
	w->far[0].stays_open = false;
	w->far[0].lets_go = true;
	end_pump(&w->far[0]);
	assert_null(w->far[0].stream);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 0);
}

static void
release_without_fin_is_a_reset(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 10 * KB;
	w->near[0].stays_open = true;
	w->far[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 2 * RTT);
	quic_stream_release(w->near[0].stream);
	w->near[0].stream = NULL;
	assert_true(link_run(w->link, is_true, &w->far[0].aborted, RTT));
	assert_int_equal(w->far[0].code, QUIC_H3_REQUEST_CANCELLED);
}

/* A long transfer does not keep a short one waiting. */
static void
streams_share(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 20 * MB;
	w->near[1].to_send = 200 * KB;
	w->far[1].habit = ECHO;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 2 * RTT);
	assert_int_equal(tunnel_open(w, 1), 0);
	assert_true(link_run(w->link, is_true, &w->near[1].ended, LONG));
	assert_whole(&w->near[1], 200 * KB);
	assert_true(w->far[0].received < 5 * MB);
	assert_true(tunnels_done(w, 2));
	assert_whole(&w->far[0], 20 * MB);
}

#define CROWD 40 /* tunnels */

static bool
first_has_half(void *arg)
{
	struct world *w = arg;

	return w->far[0].received >= MB / 2;
}

/* The first does not get ahead of the last, however many there are. */
static void
a_crowd_shares(void **state)
{
	struct world *w = *state;

	world_up(w);
	for (unsigned i = 0; i < CROWD; i++) {
		w->near[i].to_send = MB;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	assert_true(link_run(w->link, first_has_half, w, LONG));
	for (unsigned i = 0; i < CROWD; i++)
		assert_true(w->far[i].received >= MB / 4);
	assert_true(tunnels_done(w, CROWD));
}

/* ---- Limits ---- */

static void
the_end_comes_after_the_bytes(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = KB;
	w->far[0].habit = HOLD;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(buffered(w->far[0].stream), KB);
	assert_false(quic_stream_ended(w->far[0].stream));
	w->far[0].habit = SINK;
	end_pump(&w->far[0]);
	assert_true(w->far[0].ended);
	assert_whole(&w->far[0], KB);
}

/* A chunk is acknowledged when more is committed but not yet written. */
static bool
has_two_packets(void *arg)
{
	return ((struct end *)arg)->received == 2 * KB;
}

/* Half a millisecond before the acknowledgement of all that went before. */
static void
the_end_may_have_to_wait(void **state)
{
	struct world *w = *state;

	/* Tunnel 0 is known to be fast, and then has tunnel 1's FIN paced. */
	world_up(w);
	for (unsigned i = 0; i < 2; i++) {
		w->near[i].to_send = i == 0 ? MB : 2 * KB;
		w->near[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
		link_run(w->link, i == 0 ? NULL : has_two_packets, &w->far[1],
		    LINK_S);
	}
	link_run(w->link, NULL, NULL, RTT / 2 - LINK_MS / 2);
	w->near[0].to_send += 40 * KB;
	end_pump(&w->near[0]);
	link_run(w->link, NULL, NULL, 0);
	w->near[1].stays_open = false;
	end_pump(&w->near[1]);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_null(w->far[1].stream);
	assert_whole(&w->far[1], 2 * KB);
}

static void
bytes_follow_the_acknowledged(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].to_send = 65 * KB;
	w->near[0].stays_open = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	for (unsigned i = 1; i < 10; i++) {
		while (w->far[0].received < i * 65 * KB)
			link_run(w->link, NULL, NULL, LINK_MS);
		w->link->now += RTT;
		w->near[0].to_send += 65 * KB;
		w->near[0].stays_open = i < 9;
		end_pump(&w->near[0]);
	}
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->far[0], 650 * KB);
}

#define WINDOW (64 * 1024) /* bytes: what a stream begins with */

/* One slow reader stops the sender of its own tunnel, and no other. */
static void
a_slow_reader_slows_only_itself(void **state)
{
	struct world *w = *state;
	unsigned writable;
	size_t room;

	world_up(w);
	w->far[0].habit = HOLD;
	w->far[1].habit = ECHO;
	w->near[0].to_send = 30 * MB;
	w->near[1].to_send = 3 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_int_equal(tunnel_open(w, 1), 0);
	assert_true(link_run(w->link, is_true, &w->near[1].ended, LONG));
	assert_whole(&w->near[1], 3 * MB);

	assert_in_range(buffered(w->far[0].stream), WINDOW - KB, WINDOW);
	end_pump(&w->near[0]);
	assert_null(quic_stream_reserve(w->near[0].stream, &room));
	assert_false(quic_stream_has_room(w->near[0].stream));
	assert_true(w->near[0].sent <=
	    WINDOW + 65536 + 2 * stats_of(near_conn(w)).cwnd);
	writable = w->near[0].writable;
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(w->near[0].writable, writable);

	w->far[0].habit = SINK;
	end_pump(&w->far[0]);
	assert_true(tunnels_done(w, 1));
	assert_true(w->near[0].writable > writable);
	assert_true(link_run(w->link, is_true, &w->far[0].ended, LONG));
	assert_whole(&w->far[0], 30 * MB);
}

/* The same down the road, with the memory of the server at stake. */
static void
a_slow_client_stops_the_server(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->near[0].habit = HOLD;
	w->far[0].to_send = 30 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, 5 * LINK_S);
	assert_in_range(buffered(w->near[0].stream), WINDOW - KB, WINDOW);
	assert_true(w->far[0].sent <=
	    WINDOW + 65536 + 2 * stats_of(w->server.conn).cwnd);
	w->near[0].habit = SINK;
	end_pump(&w->near[0]);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 30 * MB);
}

#define UNSENT_MAX (1024 * 1024)  /* bytes: of a connection */
#define UNSENT_SHARE (128 * 1024) /* bytes: of each stream */
#define CHUNK (64 * 1024)	  /* bytes */

/* A transfer that leaves a congestion window of several megabytes behind. */
static void
widen(struct world *w)
{
	world_up(w);
	w->near[0].to_send = 30 * MB;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(link_run(w->link, is_true, &w->far[0].ended, LONG));
	assert_true(stats_of(near_conn(w)).cwnd > 4 * MB);
}

/*
 * Bytes that cannot be sent yet are not accepted; but each stream has its
 * share.
 */
static void
little_waits_to_be_sent(void **state)
{
	struct world *w = *state;
	size_t all = 0, one;

	widen(w);
	for (unsigned i = 1; i < 13; i++) {
		w->far[i].habit = HOLD;
		w->near[i].to_send = 3 * MB;
		assert_int_equal(tunnel_open(w, i), 0);
		link_run(w->link, NULL, NULL, LINK_S);
	}
	for (unsigned i = 1; i < 13; i++) {
		one = w->near[i].sent - buffered(w->far[i].stream);
		assert_true(one >= UNSENT_SHARE);
		all += one;
	}
	assert_in_range(all, UNSENT_MAX,
	    UNSENT_MAX + 12 * (UNSENT_SHARE + CHUNK));
	for (unsigned i = 1; i < 13; i++) {
		w->far[i].habit = SINK;
		end_pump(&w->far[i]);
	}
	assert_true(tunnels_done(w, 13));
	for (unsigned i = 1; i < 13; i++)
		assert_whole(&w->far[i], 3 * MB);
}

/* Sent bytes make room at once: a window is filled within a round trip. */
static void
a_wide_window_is_used(void **state)
{
	struct world *w = *state;

	widen(w);
	w->far[1].habit = ECHO;
	w->near[1].to_send = 3 * MB;
	w->near[1].stays_open = true;
	assert_int_equal(tunnel_open(w, 1), 0);
	assert_true(link_run(w->link, is_true, &w->near[1].answered, LONG));
	link_run(w->link, NULL, NULL, LINK_S);
	assert_whole(&w->near[1], 3 * MB);
	w->near[1].to_send += 3 * MB;
	end_pump(&w->near[1]);
	link_run(w->link, NULL, NULL, RTT * 9 / 10);
	assert_int_equal(w->near[1].sent, 6 * MB);
}

static void
streams_have_a_limit(void **state)
{
	struct world *w = *state;

	w->server_settings.streams_max = 10;
	world_up(w);
	for (unsigned i = 0; i < 10; i++) {
		w->near[i].stays_open = true;
		assert_int_equal(tunnel_open(w, i), 0);
	}
	assert_int_equal(tunnel_open(w, 10), -EAGAIN);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(w->client[0].streams_available, 0);
	w->near[3].stays_open = false;
	end_pump(&w->near[3]);
	assert_true(link_run(w->link, is_some, &w->client[0].streams_available,
	    LONG));
	assert_int_equal(tunnel_open(w, 10), 0);
	assert_int_equal(tunnel_open(w, 11), -EAGAIN);
	assert_true(link_run(w->link, is_true, &w->near[10].answered, LONG));
	assert_int_equal(w->client[0].streams_available, 1);
}

#define FEW 4 /* requests that the server allows at once */

/*
 * A browser gives each request a priority (RFC 9218 §7.2): also the later ones,
 * which the peer allows as the first ones end.
 */
static void
priorities_of_later_requests(void **state)
{
	struct world *w = *state;

	w->server_settings.streams_max = FEW;
	world_up(w);
	for (unsigned i = 0; i < 10 * FEW; i++) {
		assert_int_equal(tunnel_open(w, i), 0);
		assert_int_equal(
		    nghttp3_conn_set_client_stream_priority(near_conn(w)->h3,
			quic_stream_id(w->near[i].stream),
			(const uint8_t *)"u=1", 3),
		    0);
		assert_true(tunnels_done(w, i + 1));
		link_run(w->link, NULL, NULL, RTT);
	}
	assert_int_equal(w->client[0].closed, 0);
	assert_int_equal(w->server.closed, 0);
	for (unsigned i = 0; i < 10 * FEW; i++)
		assert_whole(&w->near[i], 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(heads_go_both_ways),
		TEST(a_request_too_large_is_refused),
		TEST(a_response_too_large_is_refused),
		TEST(too_many_fields_do_not_leave),
		TEST(a_hundred_at_once),
		TEST(tunnels_come_and_go),
		TEST(half_closed_by_the_client),
		TEST(half_closed_by_the_server),
		TEST(reset_by_the_client),
		TEST(reset_by_the_server),
		TEST(a_reset_may_wait_for_the_bytes),
		TEST(a_reset_does_not_wait_for_ever),
		TEST(a_lost_connection_ends_a_flush),
		TEST(what_came_before_a_reset_is_there),
		TEST(a_stop_is_no_reset),
		TEST(a_stop_after_all_is_nothing),
		TEST(a_stop_may_come_first),
		TEST(a_response_that_is_not_read),
		TEST(a_reset_after_the_end_is_nothing),
		TEST(a_request_may_be_rejected),
		TEST(an_ignored_request_is_reset),
		TEST(reset_by_a_handler),
		TEST(a_refusal_arrives_in_full),
		TEST(a_refusal_comes_before_the_stop),
		TEST(a_refusal_needs_no_stop),
		TEST(a_refusal_frees_a_blocked_sender),
		TEST(release_without_fin_is_a_reset),
		TEST(streams_share),
		TEST(a_crowd_shares),
		TEST(the_end_comes_after_the_bytes),
		TEST(the_end_may_have_to_wait),
		TEST(bytes_follow_the_acknowledged),
		TEST(a_slow_reader_slows_only_itself),
		TEST(a_slow_client_stops_the_server),
		TEST(little_waits_to_be_sent),
		TEST(a_wide_window_is_used),
		TEST(streams_have_a_limit),
		TEST(priorities_of_later_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
