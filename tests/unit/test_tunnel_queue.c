#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/base/stream_quic.h"
#include "proxy/local/upstream/tunnel_queue.h"
#include "tests/unit/world.h"

/*
 * Requests for tunnels, on real connections and a virtual clock: the port of a
 * target is the number of the client, and of the far end.
 */

#define CLIENTS 120
#define WAIT_MS 10000 /* how long a client waits for its tunnel */
#define LIMIT 10      /* streams that the edge allows */

struct client {
	struct tunnel_request request;
	struct target target;
	unsigned opened, refused;
	unsigned place; /* in the order in which they were served */
	struct connect_error why;
	struct stream stream;
	bool stays;	    /* keeps its tunnel; the others end it at once */
	bool retries;	    /* comes again when it is refused */
	size_t early_bytes; /* bytes of its pattern, with the request; ... */
	bool early_once;    /* ... and they may not be sent twice */
};

static struct client clients[CLIENTS];
static struct tunnel_queue requests;
static unsigned returned, served;

static void
on_requeued(void *arg)
{
	assert_ptr_equal(arg, &requests);
	returned++;
}

static void
on_nothing(void *arg)
{
	(void)arg;
}

static void
on_reset(void *arg, const char *why)
{
	(void)arg, (void)why;
}

static void
on_aborted(void *arg, enum stream_end how, const char *why)
{
	(void)arg, (void)how, (void)why;
}

static const struct stream_events stream_events = {
	.readable = on_nothing,
	.writable = on_nothing,
	.stopped = on_nothing,
	.reset = on_reset,
	.aborted = on_aborted,
};

static void
on_sent(void *arg, struct stream *stream)
{
	struct client *c = arg;
	uint8_t *out;
	size_t room;

	assert_ptr_equal(&c->request.stream, stream);
	assert_false(c->request.no_retry);
	if (c->early_bytes == 0)
		return;
	out = stream_reserve(stream, &room);
	assert_in_range(c->early_bytes, 1, room);
	for (size_t i = 0; i < c->early_bytes; i++)
		out[i] = pattern(c->target.port, i);
	stream_commit(stream, c->early_bytes);
	c->request.no_retry = c->early_once;
}

static void
on_opened(void *arg, struct stream *stream)
{
	struct client *c = arg;

	c->opened++;
	c->place = served++;
	if (c->stays)
		stream_attach(&c->stream, stream, &stream_events, c);
	else
		stream_reset(stream, STREAM_CANCELLED);
}

static void
on_refused(void *arg, const struct connect_error *why)
{
	struct client *c = arg;

	c->refused++;
	c->why = *why;
	if (c->retries)
		tunnel_queue_add(&requests, &c->request, 0);
}

static const struct tunnel_request_events tunnel_request_events = {
	.sent = on_sent,
	.opened = on_opened,
	.refused = on_refused,
};

static void
enqueue(unsigned i, uint64_t now)
{
	struct client *c = &clients[i];

	target_set(&c->target, "a.example", strlen("a.example"), (uint16_t)i);
	c->request.kind = TUNNEL_TCP;
	c->request.target = &c->target;
	c->request.events = &tunnel_request_events;
	c->request.arg = c;
	tunnel_queue_add(&requests, &c->request, now);
}

static int
begin(void **state)
{
	memset(clients, 0, sizeof(clients));
	returned = served = 0;
	tunnel_queue_init(&requests, on_requeued, &requests);
	requests.timeout_ms = WAIT_MS;
	return world_new(state);
}

/* Cancels requests under way, as clients do. */
static int
end(void **state)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		tunnel_queue_remove(&clients[i].request);
	tunnel_queue_fini(&requests);
	return world_free(state);
}

/* Sends all that can be sent, and moves the clock. */
static void
send_and_run(struct world *w, uint64_t time)
{
	tunnel_queue_send(&requests, near_conn(w), SIZE_MAX);
	link_run(w->link, NULL, NULL, time);
}

/* ---- In order ---- */

static void
requests_are_served_in_order(void **state)
{
	struct world *w = *state;
	int rounds = 0;

	w->server_settings.streams_max = LIMIT;
	world_up(w);
	for (unsigned i = 1; i < CLIENTS; i++)
		enqueue(i, 0);
	assert_int_equal(tunnel_queue_send(&requests, near_conn(w), SIZE_MAX),
	    -EAGAIN);
	assert_int_equal(requests.nwaiting, CLIENTS - 1 - LIMIT);
	while (served < CLIENTS - 1 && rounds++ < CLIENTS)
		send_and_run(w, 2 * RTT);
	assert_int_equal(requests.nwaiting, 0);
	assert_int_equal(requests.opened, CLIENTS - 1);
	assert_int_equal(requests.failed, 0);
	for (unsigned i = 1; i < CLIENTS; i++) {
		assert_int_equal(clients[i].opened, 1);
		assert_int_equal(clients[i].place, i - 1);
	}
}

static struct quic_conn *
conn_of(unsigned i)
{
	return quic_stream_conn(stream_quic(&clients[i].stream));
}

static void
a_full_connection_leaves_the_rest_to_another(void **state)
{
	struct world *w = *state;

	w->server_settings.streams_max = LIMIT;
	world_up(w);
	world_dial(w, 1);
	assert_true(world_connected(w, 1));
	for (unsigned i = 1; i <= 2 * LIMIT; i++) {
		clients[i].stays = true;
		enqueue(i, 0);
	}
	assert_int_equal(tunnel_queue_send(&requests, near_conn(w), SIZE_MAX),
	    -EAGAIN);
	assert_int_equal(tunnel_queue_send(&requests, w->link->clients[1],
			     SIZE_MAX),
	    0);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(served, 2 * LIMIT);
	assert_ptr_equal(conn_of(1), near_conn(w));
	assert_ptr_equal(conn_of(2 * LIMIT), w->link->clients[1]);
}

static void
credentials_go_with_every_request(void **state)
{
	struct credentials alice = { "alice", "secret" };
	struct world *w = *state;

	tunnel_queue_set_user(&requests, &alice);
	world_up(w);
	enqueue(1, 0);
	send_and_run(w, LINK_S);
	assert_string_equal(seen(w, ":method"), "CONNECT");
	assert_string_equal(seen(w, ":protocol"), "");
	assert_string_equal(seen(w, ":authority"), "a.example:1");
	assert_string_equal(seen(w, "proxy-authorization"),
	    "Basic YWxpY2U6c2VjcmV0");
}

/* ---- Refusals ---- */

static void
a_refusal_is_passed_on(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[1].status = "502";
	w->far[1].proxy_status = "edge; error=connection_refused";
	enqueue(1, 0);
	send_and_run(w, LINK_S);
	assert_int_equal(clients[1].refused, 1);
	assert_int_equal(clients[1].why.type, CONNECT_ERROR_CONNECTION_REFUSED);
	assert_int_equal(requests.failed, 1);
	assert_int_equal(tunnel_queue_deadline(&requests), UINT64_MAX);
}

/* The edge did not check the password: the error must not call it wrong. */
static void
an_overload_is_no_wrong_password(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[1].status = "503";
	w->far[1].proxy_status = "culvert-edge; error=proxy_internal_error; "
				 "details=\"too many passwords to check\"";
	w->far[2].status = "407";
	enqueue(1, 0);
	enqueue(2, 0);
	send_and_run(w, LINK_S);
	assert_int_equal(clients[1].why.type, CONNECT_ERROR_EDGE_OVERLOADED);
	assert_non_null(strstr(clients[1].why.text, "too many passwords"));
	assert_int_equal(clients[2].why.type, CONNECT_ERROR_EDGE_CREDENTIALS);
	assert_non_null(strstr(clients[2].why.text, "does not accept"));
}

/* The edge did not process it: it is sent again, but not for ever. */
static void
a_rejected_request_is_sent_again(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[1].habit = REJECT;
	enqueue(1, 0);
	send_and_run(w, LINK_S);
	assert_int_equal(returned, 1);
	assert_int_equal(clients[1].refused, 0);
	w->far[1].habit = SINK;
	send_and_run(w, LINK_S);
	assert_int_equal(clients[1].opened, 1);
	w->far[2].habit = REJECT;
	enqueue(2, 0);
	for (int i = 0; i < 4; i++)
		send_and_run(w, LINK_S);
	assert_int_equal(clients[2].refused, 1);
	assert_int_equal(clients[2].why.type, CONNECT_ERROR_EDGE_RESET);
	assert_int_equal(requests.nwaiting, 0);
}

static void
requests_enqueued_during_refusals_are_not_refused(void **state)
{
	struct connect_error why = { .type = CONNECT_ERROR_EDGE_UNUSABLE,
		.text = "no" };

	(void)state;
	for (unsigned i = 1; i <= 3; i++)
		enqueue(i, 0);
	clients[2].retries = true;
	tunnel_queue_refuse(&requests, &why);
	assert_int_equal(requests.nwaiting, 1);
	assert_int_equal(requests.failed, 3);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(clients[i].refused, 1);
		assert_string_equal(clients[i].why.text, "no");
	}
}

/* ---- Coming back ---- */

/* They are ahead of those that came later, and in their old order. */
static void
a_lost_connection_brings_requests_back_in_order(void **state)
{
	struct world *w = *state;

	w->server_settings.streams_max = LIMIT;
	world_up(w);
	for (unsigned i = 1; i <= LIMIT + 5; i++)
		enqueue(i, 0);
	assert_int_equal(tunnel_queue_send(&requests, near_conn(w), SIZE_MAX),
	    -EAGAIN);
	quic_conn_close(near_conn(w), QUIC_H3_NO_ERROR, "lost", w->link->now);
	assert_int_equal(returned, LIMIT);
	assert_int_equal(requests.nwaiting, LIMIT + 5);
	world_dial(w, 1);
	assert_true(world_connected(w, 1));
	for (int i = 0; i < 5; i++) {
		tunnel_queue_send(&requests, w->link->clients[1], SIZE_MAX);
		link_run(w->link, NULL, NULL, 2 * RTT);
	}
	for (unsigned i = 1; i <= LIMIT + 5; i++)
		assert_int_equal(clients[i].place, i - 1);
	assert_int_equal(requests.failed, 0);
}

/* A request with a response stays on its connection. */
static void
requests_without_a_response_can_be_requeued(void **state)
{
	struct world *w = *state;

	world_up(w);
	world_dial(w, 1);
	assert_true(world_connected(w, 1));
	clients[1].stays = true;
	enqueue(1, 0);
	send_and_run(w, LINK_S);
	for (unsigned i = 2; i <= 5; i++)
		enqueue(i, 0);
	assert_int_equal(tunnel_queue_send(&requests, near_conn(w), SIZE_MAX),
	    0);
	enqueue(6, 0);
	tunnel_queue_requeue(&requests, w->link->clients[1]);
	assert_int_equal(requests.nwaiting, 1);
	tunnel_queue_requeue(&requests, near_conn(w));
	assert_int_equal(requests.nwaiting, 5);
	assert_int_equal(tunnel_queue_send(&requests, w->link->clients[1],
			     SIZE_MAX),
	    0);
	link_run(w->link, NULL, NULL, LINK_S);
	for (unsigned i = 1; i <= 6; i++)
		assert_int_equal(clients[i].place, i - 1);
	assert_true(stream_is_open(&clients[1].stream));
	assert_int_equal(stats_of(near_conn(w)).streams, 1);
}

/* ---- Fields of a request ---- */

static void
enqueue_early(unsigned i, size_t bytes, bool early_once)
{
	clients[i].early_bytes = bytes;
	clients[i].early_once = early_once;
	clients[i].stays = true;
	enqueue(i, 0);
}

static void
early_data_goes_along(void **state)
{
	struct world *w = *state;

	world_up(w);
	enqueue_early(1, KB, true);
	send_and_run(w, RTT / 2 + LINK_MS);
	assert_whole(&w->far[1], KB);
	assert_int_equal(clients[1].opened, 0);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(clients[1].opened, 1);
	assert_whole(&w->far[1], KB);
}

static void
early_data_does_not_delay_a_refusal(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[1].status = "403";
	w->far[1].habit = HOLD;
	w->far[1].lets_go = true;
	enqueue_early(1, 4 * KB, true);
	send_and_run(w, LINK_S);
	assert_int_equal(clients[1].refused, 1);
	assert_int_equal(clients[1].why.type, CONNECT_ERROR_EDGE_STATUS);
	assert_int_equal(clients[1].why.edge_status, 403);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
}

/* The one may have been processed already; the other may be sent again. */
static void
early_data_that_may_not_repeat_is_lost(void **state)
{
	struct world *w = *state;

	world_up(w);
	enqueue_early(1, KB, true);
	enqueue_early(2, KB, false);
	assert_int_equal(tunnel_queue_send(&requests, near_conn(w), SIZE_MAX),
	    0);
	quic_conn_close(near_conn(w), QUIC_H3_NO_ERROR, "lost", w->link->now);
	assert_int_equal(returned, 1);
	assert_int_equal(clients[1].refused, 1);
	assert_int_equal(clients[1].why.type,
	    CONNECT_ERROR_EDGE_CONNECTION_LOST);
	world_dial(w, 1);
	assert_true(world_connected(w, 1));
	assert_int_equal(tunnel_queue_send(&requests, w->link->clients[1],
			     SIZE_MAX),
	    0);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(clients[1].opened, 0);
	assert_int_equal(clients[2].opened, 1);
	assert_whole(&w->far[2], KB);
}

static void
a_rejected_request_may_repeat_early_data(void **state)
{
	struct world *w = *state;

	world_up(w);
	w->far[1].habit = REJECT;
	enqueue_early(1, KB, true);
	send_and_run(w, LINK_S);
	assert_int_equal(returned, 1);
	w->far[1].habit = SINK;
	send_and_run(w, LINK_S);
	assert_int_equal(clients[1].opened, 1);
	assert_whole(&w->far[1], KB);
}

static void
no_retry_means_no_requeue(void **state)
{
	struct world *w = *state;

	world_up(w);
	enqueue_early(1, KB, true);
	enqueue_early(2, KB, false);
	assert_int_equal(tunnel_queue_send(&requests, near_conn(w), SIZE_MAX),
	    0);
	tunnel_queue_requeue(&requests, near_conn(w));
	assert_int_equal(requests.nwaiting, 1);
	assert_int_equal(clients[1].refused, 1);
	assert_int_equal(clients[2].refused, 0);
	send_and_run(w, LINK_S);
	assert_int_equal(clients[2].opened, 1);
	assert_int_equal(stats_of(near_conn(w)).streams, 1);
}

/* ---- Time ---- */

static void
each_request_has_its_own_timeout(void **state)
{
	struct connect_error why = { .type = CONNECT_ERROR_EDGE_TIMEOUT,
		.text = "nobody is there" };

	(void)state;
	assert_int_equal(tunnel_queue_waiting_since(&requests), UINT64_MAX);
	enqueue(1, 1000);
	enqueue(2, 1001);
	assert_int_equal(tunnel_queue_waiting_since(&requests), 1000);
	assert_int_equal(tunnel_queue_deadline(&requests), 1000 + WAIT_MS);
	tunnel_queue_expire(&requests, 999 + WAIT_MS, &why);
	assert_int_equal(clients[1].refused, 0);
	tunnel_queue_expire(&requests, 1000 + WAIT_MS, &why);
	assert_int_equal(clients[1].refused, 1);
	assert_string_equal(clients[1].why.text, "nobody is there");
	assert_int_equal(clients[2].refused, 0);
	assert_int_equal(tunnel_queue_deadline(&requests), 1001 + WAIT_MS);
}

/* Waiting for a connection and for the answer is one patience. */
static void
the_timeout_goes_on_when_sent(void **state)
{
	struct connect_error why = { .type = CONNECT_ERROR_EDGE_TIMEOUT,
		.text = "nobody is there" };
	struct world *w = *state;

	world_up(w);
	enqueue(1, 1000);
	assert_int_equal(tunnel_queue_send(&requests, near_conn(w), SIZE_MAX),
	    0);
	assert_int_equal(tunnel_queue_deadline(&requests), 1000 + WAIT_MS);
	tunnel_queue_expire(&requests, 999 + WAIT_MS, &why);
	assert_int_equal(clients[1].refused, 0);
	tunnel_queue_expire(&requests, 1000 + WAIT_MS, &why);
	assert_int_equal(clients[1].refused, 1);
	assert_int_equal(clients[1].why.type, CONNECT_ERROR_EDGE_TIMEOUT);
	assert_non_null(strstr(clients[1].why.text, "no answer in time"));
	assert_int_equal(stats_of(near_conn(w)).streams, 1);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(stats_of(near_conn(w)).streams, 0);
	assert_int_equal(clients[1].opened, 0);
}

/* A request that is sent again has no more time than before. */
static void
a_requeued_request_keeps_its_timeout(void **state)
{
	struct connect_error why = { .type = CONNECT_ERROR_EDGE_TIMEOUT,
		.text = "nobody is there" };
	struct world *w = *state;

	world_up(w);
	world_dial(w, 1);
	assert_true(world_connected(w, 1));
	enqueue(1, 1000);
	tunnel_queue_send(&requests, near_conn(w), SIZE_MAX);
	enqueue(2, 2000);
	tunnel_queue_send(&requests, w->link->clients[1], SIZE_MAX);
	tunnel_queue_requeue(&requests, near_conn(w));
	assert_int_equal(tunnel_queue_deadline(&requests), 1000 + WAIT_MS);
	tunnel_queue_send(&requests, w->link->clients[1], SIZE_MAX);
	assert_int_equal(tunnel_queue_deadline(&requests), 1000 + WAIT_MS);
	tunnel_queue_expire(&requests, 1000 + WAIT_MS, &why);
	assert_int_equal(clients[1].refused, 1);
	assert_int_equal(clients[2].refused, 0);
	assert_int_equal(tunnel_queue_deadline(&requests), 2000 + WAIT_MS);
	tunnel_queue_expire(&requests, 2000 + WAIT_MS, &why);
	assert_int_equal(clients[2].refused, 1);
}

/* A reload changes the time-out of requests that wait, too. */
static void
a_shorter_timeout_is_for_all(void **state)
{
	struct connect_error why = { .type = CONNECT_ERROR_EDGE_TIMEOUT,
		.text = "nobody is there" };

	(void)state;
	enqueue(1, 1000);
	requests.timeout_ms = 1;
	enqueue(2, 1000);
	assert_int_equal(tunnel_queue_deadline(&requests), 1001);
	tunnel_queue_expire(&requests, 1001, &why);
	assert_int_equal(clients[1].refused + clients[2].refused, 2);
	assert_int_equal(tunnel_queue_deadline(&requests), UINT64_MAX);
}

static void
a_cancelled_request_has_no_event(void **state)
{
	struct world *w = *state;

	world_up(w);
	enqueue(1, 0);
	enqueue(2, 0);
	tunnel_queue_remove(&clients[2].request);
	tunnel_queue_remove(&clients[2].request);
	assert_int_equal(tunnel_queue_send(&requests, near_conn(w), SIZE_MAX),
	    0);
	tunnel_queue_remove(&clients[1].request);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(served, 0);
	assert_int_equal(clients[1].refused + clients[2].refused, 0);
	assert_int_equal(tunnel_queue_deadline(&requests), UINT64_MAX);
}

#define TUNNEL_QUEUE_TEST(name) \
	cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TUNNEL_QUEUE_TEST(requests_are_served_in_order),
		TUNNEL_QUEUE_TEST(a_full_connection_leaves_the_rest_to_another),
		TUNNEL_QUEUE_TEST(credentials_go_with_every_request),
		TUNNEL_QUEUE_TEST(a_refusal_is_passed_on),
		TUNNEL_QUEUE_TEST(an_overload_is_no_wrong_password),
		TUNNEL_QUEUE_TEST(a_rejected_request_is_sent_again),
		TUNNEL_QUEUE_TEST(
		    requests_enqueued_during_refusals_are_not_refused),
		TUNNEL_QUEUE_TEST(
		    a_lost_connection_brings_requests_back_in_order),
		TUNNEL_QUEUE_TEST(requests_without_a_response_can_be_requeued),
		TUNNEL_QUEUE_TEST(early_data_goes_along),
		TUNNEL_QUEUE_TEST(early_data_does_not_delay_a_refusal),
		TUNNEL_QUEUE_TEST(early_data_that_may_not_repeat_is_lost),
		TUNNEL_QUEUE_TEST(a_rejected_request_may_repeat_early_data),
		TUNNEL_QUEUE_TEST(no_retry_means_no_requeue),
		TUNNEL_QUEUE_TEST(each_request_has_its_own_timeout),
		TUNNEL_QUEUE_TEST(the_timeout_goes_on_when_sent),
		TUNNEL_QUEUE_TEST(a_requeued_request_keeps_its_timeout),
		TUNNEL_QUEUE_TEST(a_shorter_timeout_is_for_all),
		TUNNEL_QUEUE_TEST(a_cancelled_request_has_no_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
