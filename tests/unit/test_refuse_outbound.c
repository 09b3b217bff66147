/*
 * The outbound that refuses, and with it what outbound.h promises of all of
 * them: one outcome, from the loop, or none after a cancel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/local/outbound/refuse_outbound.h"
#include "proxy/local/outbound/route.h"

#define TEXT "this proxy does not allow it"

struct client {
	struct tunnel_request request;
	struct target target;
	unsigned refused;
	unsigned again; /* times that it asks again */
	struct connect_error why;
};

static struct {
	uv_loop_t loop;
	struct refuse_outbound *outbound;
	struct client clients[3];
} w;

static void ask(struct client *);

static void
on_opened(void *arg, struct stream *stream)
{
	(void)arg, (void)stream;
	fail_msg("opened");
}

static void
on_refused(void *arg, const struct connect_error *why)
{
	struct client *c = arg;

	c->refused++;
	c->why = *why;
	if (c->again > 0) {
		c->again--;
		ask(c);
	}
}

static const struct tunnel_request_events events = {
	.opened = on_opened,
	.refused = on_refused,
};

static void
ask(struct client *c)
{
	struct routes routes = { .edges = refuse_outbound_get(w.outbound) };
	unsigned before = c->refused;

	target_set(&c->target, "a.example", strlen("a.example"), 80);
	outbound_open(route(&routes, 0, &c->target), &c->request, TUNNEL_TCP,
	    &c->target, &events, c);
	assert_int_equal(c->refused, before);
}

static void
explain(void *arg, const struct target *target, struct connect_error *error)
{
	assert_ptr_equal(arg, &w);
	connect_error_set_target(error, target,
	    CONNECT_ERROR_DESTINATION_IP_PROHIBITED, TEXT);
}

static int
begin(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	uv_loop_init(&w.loop);
	return refuse_outbound_new(&w.outbound, &w.loop, explain, &w);
}

static int
end(void **state)
{
	(void)state;
	refuse_outbound_free(w.outbound);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	return uv_loop_close(&w.loop);
}

static void
each_request_is_refused_from_the_loop(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++)
		ask(&w.clients[i]);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(w.clients[i].refused, 1);
		assert_int_equal(w.clients[i].why.type,
		    CONNECT_ERROR_DESTINATION_IP_PROHIBITED);
		assert_string_equal(w.clients[i].why.text,
		    "a.example:80: " TEXT);
		assert_string_equal(w.clients[i].why.text +
			w.clients[i].why.cause,
		    TEXT);
	}
}

static void
a_cancelled_request_has_no_outcome(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++)
		ask(&w.clients[i]);
	outbound_cancel(&w.clients[1].request);
	outbound_cancel(&w.clients[1].request);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	assert_int_equal(w.clients[0].refused, 1);
	assert_int_equal(w.clients[1].refused, 0);
	assert_int_equal(w.clients[2].refused, 1);
	outbound_cancel(&w.clients[0].request); /* it has its outcome */
	ask(&w.clients[1]);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	assert_int_equal(w.clients[1].refused, 1);
}

/* A client that asks again and again does not keep the loop busy. */
static void
a_request_may_be_used_again(void **state)
{
	(void)state;
	w.clients[0].again = 10;
	ask(&w.clients[0]);
	uv_run(&w.loop, UV_RUN_NOWAIT);
	assert_in_range(w.clients[0].refused, 0, 2);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	assert_int_equal(w.clients[0].refused, 11);
}

static void
the_end_refuses_what_waits(void **state)
{
	(void)state;
	ask(&w.clients[0]);
	refuse_outbound_free(w.outbound);
	w.outbound = NULL;
	assert_int_equal(w.clients[0].refused, 1);
}

#define OUTBOUND_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		OUTBOUND_TEST(each_request_is_refused_from_the_loop),
		OUTBOUND_TEST(a_cancelled_request_has_no_outcome),
		OUTBOUND_TEST(a_request_may_be_used_again),
		OUTBOUND_TEST(the_end_refuses_what_waits),
	};

	return cmocka_run_group_tests_name("refuse_outbound", tests, NULL,
	    NULL);
}
