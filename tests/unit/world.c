#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <gnutls/gnutls.h>

#include "tests/unit/world.h"

struct quic_pem
pem(const char *text)
{
	return (struct quic_pem){ text, text != NULL ? strlen(text) : 0 };
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

struct quic_conn *
near_conn(const struct world *w)
{
	return w->link->clients[0];
}

struct quic_stats
stats_of(const struct quic_conn *conn)
{
	struct quic_stats stats;

	quic_conn_stats(conn, &stats);
	return stats;
}

struct quic_server_stats
server_stats(const struct world *w)
{
	struct quic_server_stats stats;

	quic_server_stats(w->link->server, &stats);
	return stats;
}

void
assert_whole(const struct end *e, size_t received)
{
	assert_false(e->aborted);
	assert_false(e->spoilt);
	assert_int_equal(e->received, received);
}

void
assert_text(const struct watch *watch, const char *text)
{
	if (strstr(watch->why.text, text) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", text, watch->why.text);
}

/* ---- Heads ---- */

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
note_seen(struct world *w, const struct quic_header_section *head)
{
	forget_seen(w);
	for (w->nseen = 0; w->nseen < head->n; w->nseen++) {
		w->seen[w->nseen].name = strdup(head->fields[w->nseen].name);
		w->seen[w->nseen].value = strdup(head->fields[w->nseen].value);
	}
}

const char *
seen(const struct world *w, const char *name)
{
	struct quic_header_section head = { w->seen, w->nseen };
	const char *value = quic_header_section_find(&head, name);

	return value != NULL ? value : "";
}

/* ---- The ends of tunnels ---- */

size_t
buffered(const struct quic_stream *s)
{
	struct iovec iov[256];
	size_t n = quic_stream_peek(s, iov, COUNT(iov)), len = 0;

	while (n-- > 0)
		len += iov[n].iov_len;
	return len;
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

/* Sends one piece of the received data back; false: none, or no room. */
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
	struct iovec iov;

	if (e->habit == CLOSE && e->stream != NULL &&
	    quic_stream_peek(e->stream, &iov, 1) > 0)
		quic_conn_close(quic_stream_conn(e->stream),
		    QUIC_H3_INTERNAL_ERROR, "in the middle",
		    e->world->link->now);
	if (e->stream == NULL || e->habit == THINK)
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
on_response(struct quic_stream *s, const struct quic_header_section *head,
    void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, e->stream);
	assert_false(e->answered);
	e->answered = true;
	note_seen(e->world, head);
	if (e->habit == DROP) {
		quic_stream_reset(s, QUIC_H3_REQUEST_CANCELLED);
		e->stream = NULL;
	}
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
on_stopped(struct quic_stream *s, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, e->stream);
	e->stopped++;
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

static void
on_reset(struct quic_stream *s, uint64_t code, void *arg)
{
	struct end *e = arg;

	assert_ptr_equal(s, e->stream);
	e->reset++;
	e->code = code;
}

static const struct quic_stream_events stream_events = {
	.response = on_response,
	.readable = on_readable,
	.writable = on_writable,
	.stopped = on_stopped,
	.aborted = on_aborted,
};

static const struct quic_stream_events reset_events = {
	.response = on_response,
	.readable = on_readable,
	.writable = on_writable,
	.stopped = on_stopped,
	.reset = on_reset,
	.aborted = on_aborted,
};

void
end_attach(struct end *e)
{
	quic_stream_attach(e->stream,
	    e->hears_reset ? &reset_events : &stream_events, e);
}

int
tunnel_open(struct world *w, unsigned number)
{
	return tunnel_open_with(w, number, NULL);
}

int
tunnel_open_with(struct world *w, unsigned number,
    const struct quic_field *more)
{
	struct end *e = &w->near[number];
	char authority[32];
	struct quic_field fields[3] = {
		{ ":method", "CONNECT" },
		{ ":authority", authority },
	};
	int rv;

	snprintf(authority, sizeof(authority), "tunnel.example:%u", number);
	if (more != NULL)
		fields[2] = *more;
	e->world = w;
	e->number = number;
	rv = quic_stream_request(w->link->clients[e->client], fields,
	    more != NULL ? 3 : 2,
	    e->hears_reset ? &reset_events : &stream_events, e, &e->stream);
	if (rv == 0)
		end_pump(e);
	return rv;
}

struct tunnels {
	const struct end *near, *far;
	unsigned n;
};

static bool
all_gone(void *arg)
{
	struct tunnels *t = arg;

	for (unsigned i = 0; i < t->n; i++)
		if (t->near[i].stream != NULL || t->far[i].stream != NULL)
			return false;
	return true;
}

bool
tunnels_done(struct world *w, unsigned n)
{
	struct tunnels t = { w->near, w->far, n };

	return link_run(w->link, all_gone, &t, LONG);
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
on_draining(struct quic_conn *conn, void *arg)
{
	struct watch *watch = arg;

	(void)conn;
	watch->draining++;
}

static void
on_migrated(struct quic_conn *conn, bool valid, void *arg)
{
	struct watch *watch = arg;

	(void)conn;
	*(valid ? &watch->migrated : &watch->stranded) += 1;
}

static void
on_silent(struct quic_conn *conn, void *arg)
{
	struct watch *watch = arg;

	(void)conn;
	watch->silent++;
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
	.draining = on_draining,
	.migrated = on_migrated,
	.silent = on_silent,
	.closed = on_closed,
};

static void
on_server_connected(struct quic_conn *conn, void *arg)
{
	on_connected(conn, &((struct world *)arg)->server);
}

static void
on_server_migrated(struct quic_conn *conn, bool valid, void *arg)
{
	on_migrated(conn, valid, &((struct world *)arg)->server);
}

static void
on_server_closed(struct quic_conn *conn, const struct quic_close *why,
    void *arg)
{
	on_closed(conn, why, &((struct world *)arg)->server);
}

/* The far end of the tunnel that the authority's port names. */
static void
on_request(struct quic_conn *conn, struct quic_stream *s,
    const struct quic_header_section *head, void *arg)
{
	const char *authority = quic_header_section_find(head, ":authority");
	struct quic_field fields[] = { { ":status", "200" },
		{ "proxy-status", NULL } };
	struct world *w = arg;
	struct end *e;

	assert_ptr_equal(quic_stream_conn(s), conn);
	w->requests++;
	note_seen(w, head);
	assert_non_null(authority);
	e = &w->far[atoi(strchr(authority, ':') + 1)];
	if (e->habit == REJECT)
		quic_stream_reset(s, QUIC_H3_REQUEST_REJECTED);
	if (e->habit == REJECT || e->habit == IGNORE)
		return;
	e->world = w;
	e->number = (unsigned)(e - w->far);
	e->stream = s;
	if (e->status != NULL)
		fields[0].value = e->status;
	fields[1].value = e->proxy_status;
	end_attach(e);
	if (e->habit == THINK)
		return;
	assert_int_equal(quic_stream_respond(s, fields,
			     e->proxy_status != NULL ? 2 : 1),
	    0);
	end_pump(e);
}

static const struct quic_events server_events = {
	.connected = on_server_connected,
	.request = on_request,
	.migrated = on_server_migrated,
	.closed = on_server_closed,
};

/* ---- The world ---- */

void
world_serve(struct world *w)
{
	assert_int_equal(quic_server_new(&w->link->server, w->server_tls,
			     w->secret, &w->server_settings, &server_events, w),
	    0);
}

void
world_dial(struct world *w, size_t i)
{
	world_dial_from(w, i, 0);
}

void
world_dial_from(struct world *w, size_t i, size_t place)
{
	struct quic_path path = link_path_at(i, place);

	memset(&w->client[i], 0, sizeof(w->client[i]));
	assert_int_equal(quic_client_new(&w->link->clients[i], w->client_tls,
			     w->server_name, &path, &w->client_settings,
			     &client_events, &w->client[i], w->link->now),
	    0);
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
	return link_run(w->link, is_settled, &w->client[i], LONG) &&
	    w->client[i].connected == 1;
}

bool
world_closed(struct world *w, size_t i)
{
	return link_run(w->link, is_some, &w->client[i].closed, LONG);
}

void
world_up(struct world *w)
{
	world_serve(w);
	world_dial(w, 0);
	assert_true(world_connected(w, 0));
}

void
tunnels_forget(struct world *w)
{
	memset(w->near, 0, sizeof(w->near));
	memset(w->far, 0, sizeof(w->far));
}

void
world_down(struct world *w)
{
	link_drop_client(w->link, 0);
	link_drop_server(w->link);
	tunnels_forget(w);
	memset(&w->server, 0, sizeof(w->server));
}

void
world_trust(struct world *w, const char *ca, const uint8_t *pin,
    const char *cert, const char *key)
{
	struct quic_tls_client_settings settings = { .ca = pem(ca),
		.cert = pem(cert),
		.key = pem(key),
		.pins = (const uint8_t(*)[QUIC_PIN_LEN])pin,
		.npins = pin != NULL };
	char error[QUIC_ERROR_MAX];

	quic_tls_free(w->client_tls);
	assert_int_equal(quic_tls_client_new(&w->client_tls, &settings, error),
	    0);
}

void
world_present(struct world *w, const char *cert, const char *key,
    const char *client_ca)
{
	struct quic_tls_server_settings settings = { .cert = pem(cert),
		.key = pem(key),
		.client_ca = pem(client_ca) };
	char error[QUIC_ERROR_MAX];

	quic_tls_free(w->server_tls);
	assert_int_equal(quic_tls_server_new(&w->server_tls, &settings, error),
	    0);
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

	gnutls_global_set_time_function(present);
	w->link = link_new();
	memset(w->secret, 's', sizeof(w->secret));
	assert_int_equal(quic_tls_self_signed(SERVER_NAME, UNIX_NOW - 1,
			     &w->cert, &w->key),
	    0);
	w->server_name = SERVER_NAME;
	world_trust(w, w->cert, NULL, NULL, NULL);
	world_present(w, w->cert, w->key, NULL);
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
