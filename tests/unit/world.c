#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>

#include "tests/unit/world.h"

#define PATIENCE (60 * LINK_S) /* virtual */

struct quic_pem
pem(const char *text)
{
	return (struct quic_pem){ text, strlen(text) };
}

bool
is_true(void *arg)
{
	return *(bool *)arg;
}

bool
is_some(void *arg)
{
	return *(unsigned *)arg != 0;
}

/* ---- The ends of tunnels ---- */

uint8_t
pattern(unsigned number, size_t offset)
{
	return (uint8_t)(number * 37 + offset * 7 + (offset >> 8));
}

static bool
fits(const struct end *e, const struct iovec *iov)
{
	const uint8_t *data = iov->iov_base;

	for (size_t i = 0; i < iov->iov_len; i++)
		if (data[i] != pattern(e->number, e->received + i))
			return false;
	return true;
}

static void
end_send(struct end *e)
{
	size_t room, n;
	uint8_t *to;

	while (e->sent < e->to_send) {
		if ((to = quic_stream_reserve(e->stream, &room)) == NULL)
			return;
		assert_true(room >= QUIC_RESERVE_MIN);
		n = e->to_send - e->sent < room ? e->to_send - e->sent : room;
		for (size_t i = 0; i < n; i++)
			to[i] = pattern(e->number, e->sent + i);
		quic_stream_commit(e->stream, n);
		e->sent += n;
	}
	if (e->stays_open || e->finished)
		return;
	quic_stream_finish(e->stream);
	e->finished = true;
}

/* Sends back one piece of what is there; false: none, or no room. */
static bool
echo_some(struct end *e, const struct iovec *iov)
{
	size_t room, n = iov->iov_len;
	uint8_t *to = quic_stream_reserve(e->stream, &room);

	if (to == NULL)
		return false;
	n = n < room ? n : room;
	memcpy(to, iov->iov_base, n);
	quic_stream_commit(e->stream, n);
	e->sent += n;
	e->to_send += n;
	e->received += n;
	quic_stream_consume(e->stream, n);
	return true;
}

static void
end_take(struct end *e)
{
	struct iovec iov;

	while (e->habit != HOLD && quic_stream_peek(e->stream, &iov, 1) > 0) {
		if (!fits(e, &iov))
			e->spoilt = true;
		if (e->habit == SINK) {
			e->received += iov.iov_len;
			quic_stream_consume(e->stream, iov.iov_len);
		} else if (!echo_some(e, &iov))
			return;
	}
	e->ended = quic_stream_ended(e->stream);
}

void
end_pump(struct end *e)
{
	if (e->stream == NULL)
		return;
	end_take(e);
	if (e->habit != ECHO || e->ended)
		end_send(e);
	if (!e->finished || !(e->ended || e->lets_go))
		return;
	quic_stream_release(e->stream);
	e->stream = NULL;
}

static void
on_response(struct quic_stream *s, const struct quic_head *head, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, e->stream);
	assert_string_equal(e->answer, "");
	snprintf(e->answer, sizeof(e->answer), "%s",
	    quic_head_find(head, ":status"));
}

static void
on_readable(struct quic_stream *s, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, e->stream);
	end_pump(e);
}

static void
on_writable(struct quic_stream *s, void *arg)
{
	struct end *e = arg;

	assert_true(quic_stream_has_room(s));
	e->writable++;
	end_pump(e);
}

static void
on_aborted(struct quic_stream *s, uint64_t code, const struct quic_close *why,
    void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, e->stream);
	assert_false(e->aborted);
	e->aborted = true;
	e->code = code;
	e->connection_lost = why != NULL;
	if (why != NULL)
		e->cause = why->cause;
	e->stream = NULL;
}

static const struct quic_stream_events stream_events = {
	.response = on_response,
	.readable = on_readable,
	.writable = on_writable,
	.aborted = on_aborted,
};

int
tunnel_open(struct world *w, unsigned number)
{
	struct end *e = &w->near[number];
	char authority[32];
	struct quic_field fields[] = {
		{ ":method", "CONNECT" },
		{ ":authority", authority },
	};
	int rv;

	snprintf(authority, sizeof(authority), "tunnel.example:%u", number);
	e->number = number;
	rv = quic_stream_request(w->link->clients[0], fields, 2,
	    &stream_events, e, &e->stream);
	if (rv == 0)
		end_pump(e);
	return rv;
}

struct tunnels {
	const struct end *near;
	unsigned n;
};

static bool
all_gone(void *arg)
{
	struct tunnels *t = arg;

	for (unsigned i = 0; i < t->n; i++)
		if (t->near[i].stream != NULL)
			return false;
	return true;
}

bool
tunnels_done(struct world *w, unsigned n)
{
	struct tunnels t = { w->near, n };

	return link_run(w->link, all_gone, &t, PATIENCE);
}

/* ---- The owners of connections ---- */

static void
on_connected(struct quic_conn *conn, void *arg)
{
	struct watch *watch = arg;

	watch->connected++;
	watch->conn = conn;
}

static void
on_streams_available(struct quic_conn *conn, void *arg)
{
	struct watch *watch = arg;

	(void)conn;
	watch->streams_available++;
}

static void
on_closed(struct quic_conn *conn, const struct quic_close *why, void *arg)
{
	struct watch *watch = arg;

	(void)conn;
	watch->closed++;
	watch->why = *why;
}

static const struct quic_events client_events = {
	.connected = on_connected,
	.streams_available = on_streams_available,
	.closed = on_closed,
};

static void
on_server_connected(struct quic_conn *conn, void *arg)
{
	on_connected(conn, &((struct world *)arg)->server);
}

static void
on_server_closed(struct quic_conn *conn, const struct quic_close *why,
    void *arg)
{
	on_closed(conn, why, &((struct world *)arg)->server);
}

static void
forget_seen(struct world *w)
{
	for (size_t i = 0; i < w->nseen; i++) {
		free((char *)(uintptr_t)w->seen[i].name);
		free((char *)(uintptr_t)w->seen[i].value);
	}
	w->nseen = 0;
}

static void
note_seen(struct world *w, const struct quic_head *head)
{
	forget_seen(w);
	for (w->nseen = 0; w->nseen < head->n; w->nseen++) {
		w->seen[w->nseen].name = strdup(head->fields[w->nseen].name);
		w->seen[w->nseen].value = strdup(head->fields[w->nseen].value);
	}
}

/* The far end of the tunnel that the authority's port names. */
static void
on_request(struct quic_conn *conn, struct quic_stream *s,
    const struct quic_head *head, void *arg)
{
	const char *authority = quic_head_find(head, ":authority");
	struct quic_field status = { ":status", "200" };
	struct world *w = arg;
	struct end *e;

	assert_ptr_equal(quic_stream_conn(s), conn);
	w->requests++;
	note_seen(w, head);
	assert_non_null(authority);
	e = &w->far[atoi(strchr(authority, ':') + 1)];
	e->number = (unsigned)(e - w->far);
	e->stream = s;
	if (e->status != NULL)
		status.value = e->status;
	quic_stream_attach(s, &stream_events, e);
	assert_int_equal(quic_stream_respond(s, &status, 1), 0);
	end_pump(e);
}

static const struct quic_events server_events = {
	.connected = on_server_connected,
	.request = on_request,
	.closed = on_server_closed,
};

/* ---- The world ---- */

void
world_serve(struct world *w)
{
	assert_int_equal(quic_server_new(&w->link->server, w->server_tls,
	    w->secret, &w->server_settings, &server_events, w), 0);
}

void
world_dial(struct world *w, size_t i)
{
	struct quic_path path = link_path(i);

	memset(&w->client[i], 0, sizeof(w->client[i]));
	assert_int_equal(quic_client_new(&w->link->clients[i], w->client_tls,
	    SERVER_NAME, &path, &w->client_settings, &client_events,
	    &w->client[i], w->link->now), 0);
}

static bool
is_settled(void *arg)
{
	const struct watch *watch = arg;

	return watch->connected > 0 || watch->closed > 0;
}

bool
world_connected(struct world *w, size_t i)
{
	return link_run(w->link, is_settled, &w->client[i], PATIENCE) &&
	    w->client[i].connected == 1;
}

bool
world_closed(struct world *w, size_t i)
{
	return link_run(w->link, is_some, &w->client[i].closed, PATIENCE);
}

void
world_up(struct world *w)
{
	world_serve(w);
	world_dial(w, 0);
	assert_true(world_connected(w, 0));
}

static time_t
present(time_t *t)
{
	if (t != NULL)
		*t = UNIX_NOW;
	return UNIX_NOW;
}

int
world_new(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct quic_tls_client_settings client = { .npins = 0 };
	struct quic_tls_server_settings server = { .cert.len = 0 };
	char error[QUIC_ERROR_MAX];

	gnutls_global_set_time_function(present);
	w->link = link_new();
	memset(w->secret, 's', sizeof(w->secret));
	assert_int_equal(quic_tls_self_signed(SERVER_NAME, UNIX_NOW - 1,
	    &w->cert, &w->key), 0);
	client.ca = server.cert = pem(w->cert);
	server.key = pem(w->key);
	assert_int_equal(quic_tls_client_new(&w->client_tls, &client, error),
	    0);
	assert_int_equal(quic_tls_server_new(&w->server_tls, &server, error),
	    0);
	*state = w;
	return 0;
}

int
world_free(void **state)
{
	struct world *w = *state;

	link_free(w->link);
	quic_tls_free(w->client_tls);
	quic_tls_free(w->server_tls);
	forget_seen(w);
	free(w->cert);
	free(w->key);
	free(w);
	return 0;
}
