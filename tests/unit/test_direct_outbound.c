/*
 * The outbound that connects from this machine, with real sockets of loopback.
 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/local/outbound/direct_outbound.h"

#define TIMEOUT_MS 20000 /* far more than anything takes that ends */

struct client {
	struct tunnel_request request;
	struct target target;
	struct stream stream;
	unsigned opened, refused, aborted, ended;
	struct connect_error why;
	char received[8];
};

static struct {
	uv_loop_t loop;
	struct direct_outbound *outbound;
	struct direct_settings settings;
	struct client clients[3];
	int listener;
	uint16_t port;
	bool in_call, freed;
} w;

/* ---- The owner of the streams ---- */

static void
on_readable(void *arg)
{
	struct client *c = arg;
	struct iovec iov;
	size_t len = strlen(c->received);

	while (stream_peek(&c->stream, &iov, 1) > 0) {
		assert_true(len + iov.iov_len < sizeof(c->received));
		memcpy(c->received + len, iov.iov_base, iov.iov_len);
		len += iov.iov_len;
		stream_consume(&c->stream, iov.iov_len);
	}
	c->ended += stream_ended(&c->stream);
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
on_aborted(void *arg, enum stream_end end, const char *why)
{
	(void)end;
	assert_non_null(why);
	((struct client *)arg)->aborted++;
}

static const struct stream_events stream_events = { on_readable, on_nothing,
	on_nothing, on_reset, on_aborted };

static void
on_opened(void *arg, struct stream *stream)
{
	struct client *c = arg;

	assert_false(w.in_call);
	c->opened++;
	stream_attach(&c->stream, stream, &stream_events, c);
	stream_push(&c->stream, "ping", 4);
}

static void
on_refused(void *arg, const struct connect_error *why)
{
	struct client *c = arg;

	assert_false(w.in_call);
	c->refused++;
	c->why = *why;
}

static const struct tunnel_request_events events = {
	.opened = on_opened,
	.refused = on_refused,
};

static struct client *
ask(size_t i, const char *host, uint16_t port)
{
	struct client *c = &w.clients[i];

	assert_int_equal(target_set(&c->target, host, strlen(host), port), 0);
	w.in_call = true;
	outbound_open(direct_outbound_get(w.outbound), &c->request, TUNNEL_TCP,
	    &c->target, &events, c);
	w.in_call = false;
	return c;
}

/* Until the request has its outcome. */
static void
wait_for(const struct client *c)
{
	while (c->opened + c->refused == 0)
		uv_run(&w.loop, UV_RUN_ONCE);
	assert_int_equal(c->opened + c->refused, 1);
}

/* ---- The origin ---- */

static int
listen_on_loopback(uint16_t *port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_return_code(fd, errno);
	assert_return_code(bind(fd, (struct sockaddr *)&sin, len), errno);
	assert_return_code(getsockname(fd, (struct sockaddr *)&sin, &len),
	    errno);
	*port = ntohs(sin.sin_port);
	return fd;
}

static int
begin(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	uv_loop_init(&w.loop);
	w.settings = (struct direct_settings){ .timeout_ms = TIMEOUT_MS,
		.keepalive_timeout_s = 60 };
	w.listener = listen_on_loopback(&w.port);
	assert_return_code(listen(w.listener, 8), errno);
	return direct_outbound_new(&w.outbound, &w.loop, &w.settings);
}

static int
end(void **state)
{
	(void)state;
	if (!w.freed)
		direct_outbound_free(w.outbound);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	close(w.listener);
	return uv_loop_close(&w.loop);
}

/* ---- Tests ---- */

static void
exchange(struct client *c)
{
	char data[8] = "";
	ssize_t n;
	int fd;

	wait_for(c);
	assert_int_equal(c->opened, 1);
	fd = accept(w.listener, NULL, NULL);
	assert_return_code(fd, errno);
	while ((n = recv(fd, data, sizeof(data), MSG_DONTWAIT)) <= 0) {
		if (n < 0) {
			uv_run(&w.loop, UV_RUN_ONCE);
			continue;
		}
		/* It is that of a request that was withdrawn. */
		close(fd);
		fd = accept(w.listener, NULL, NULL);
		assert_return_code(fd, errno);
	}
	assert_string_equal(data, "ping");
	assert_int_equal(send(fd, "pong", 4, MSG_NOSIGNAL), 4);
	close(fd);
	while (c->ended == 0)
		uv_run(&w.loop, UV_RUN_ONCE);
	assert_string_equal(c->received, "pong");
	stream_release(&c->stream);
}

static void
to_an_address(void **state)
{
	(void)state;
	exchange(ask(0, "127.0.0.1", w.port));
	exchange(ask(1, "::ffff:127.0.0.1", w.port));
}

/* The hosts file has it; ::1 does not listen, and refuses first. */
static void
to_a_name(void **state)
{
	(void)state;
	exchange(ask(0, "localhost", w.port));
	exchange(ask(1, "LOCALHOST.", w.port));
}

static void
what_fails_is_told(void **state)
{
	static const struct {
		const char *host;
		enum connect_error_type type;
	} rows[] = {
		{ "127.0.0.1", CONNECT_ERROR_CONNECTION_REFUSED },
		{ "localhost", CONNECT_ERROR_CONNECTION_REFUSED },
		{ "127.1", CONNECT_ERROR_DNS_ERROR },
		{ "0x7f.1", CONNECT_ERROR_DNS_ERROR },
		{ "2130706433", CONNECT_ERROR_DNS_ERROR },
	};
	struct client *c;
	uint16_t port;
	int unused = listen_on_loopback(&port);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(&w.clients[0], 0, sizeof(w.clients[0]));
		c = ask(0, rows[i].host, port);
		wait_for(c);
		assert_int_equal(c->refused, 1);
		assert_int_equal(c->why.type, rows[i].type);
		assert_memory_equal(c->why.text, rows[i].host,
		    strlen(rows[i].host));
	}
	close(unused);
}

static bool
permit_none(void *arg, const struct sockaddr *addr)
{
	assert_ptr_equal(arg, &w);
	assert_true(addr->sa_family == AF_INET || addr->sa_family == AF_INET6);
	return false;
}

static void
what_is_not_permitted_is_not_tried(void **state)
{
	struct client *c;

	(void)state;
	w.settings.permits = permit_none;
	w.settings.arg = &w;
	direct_outbound_set(w.outbound, &w.settings);
	for (size_t i = 0; i < 2; i++) {
		c = ask(i, i == 0 ? "127.0.0.1" : "localhost", w.port);
		wait_for(c);
		assert_int_equal(c->why.type,
		    CONNECT_ERROR_DESTINATION_IP_PROHIBITED);
	}
}

/* The time-out ends whatever is under way. */
static void
it_does_not_last_for_ever(void **state)
{
	struct client *c;

	(void)state;
	w.settings.timeout_ms = 0;
	direct_outbound_set(w.outbound, &w.settings);
	c = ask(0, "127.0.0.1", w.port);
	wait_for(c);
	assert_int_equal(c->why.type, CONNECT_ERROR_CONNECTION_TIMEOUT);
	c = ask(1, "localhost", w.port);
	wait_for(c);
	assert_int_equal(c->why.type, CONNECT_ERROR_DNS_TIMEOUT);
}

static void
a_withdrawn_request_has_no_outcome(void **state)
{
	(void)state;
	ask(0, "127.0.0.1", w.port);
	outbound_cancel(&w.clients[0].request);
	ask(0, "localhost", w.port);
	outbound_cancel(&w.clients[0].request);
	ask(0, "localhost", w.port);
	uv_run(&w.loop, UV_RUN_NOWAIT);
	outbound_cancel(&w.clients[0].request);
	ask(0, "127.1", w.port);
	outbound_cancel(&w.clients[0].request);
	exchange(ask(1, "127.0.0.1", w.port));
	assert_int_equal(w.clients[0].opened + w.clients[0].refused, 0);
}

static void
the_end_refuses_and_closes(void **state)
{
	struct client *open = ask(0, "127.0.0.1", w.port);
	struct client *waiting, *connecting;

	(void)state;
	wait_for(open);
	waiting = ask(1, "localhost", w.port);
	connecting = ask(2, "127.0.0.1", w.port);
	direct_outbound_free(w.outbound);
	w.freed = true;
	assert_int_equal(open->aborted, 1);
	assert_int_equal(waiting->why.type, CONNECT_ERROR_SHUTTING_DOWN);
	assert_int_equal(connecting->why.type, CONNECT_ERROR_SHUTTING_DOWN);
}

#define DIRECT_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		DIRECT_TEST(to_an_address),
		DIRECT_TEST(to_a_name),
		DIRECT_TEST(what_fails_is_told),
		DIRECT_TEST(what_is_not_permitted_is_not_tried),
		DIRECT_TEST(it_does_not_last_for_ever),
		DIRECT_TEST(a_withdrawn_request_has_no_outcome),
		DIRECT_TEST(the_end_refuses_and_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
