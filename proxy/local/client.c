/*
 * The core of one client, from accept to close. Its front end interprets what
 * it sends (frontend.h); client_tunnel.c opens its tunnel.
 *
 *   NEGOTIATING ─▶ CHECKING ─▶ WAITING ─▶ TUNNEL      SOCKS, HTTP CONNECT
 *     ▲   │  ▲        │(again)
 *     │   │  └────────┘
 *     │   └──▶ EXCHANGE ──┬──(101)─▶ TUNNEL           see http/exchange.h
 *     └──(keep-alive)─────┘
 *   any ─▶ LINGERING: the last answer is written. What the client still sends
 *          is read and dropped until its FIN, since a close with unread bytes
 *          would reset the connection and take the answer back.
 *
 * Until the tunnel is open, bytes gather in a buffer that grows as needed;
 * parsers see it from its start. Reading stops while a password is checked.
 * What the client sends ahead of the edge's response goes along with the
 * request, and stays in the buffer until then: the request may be sent again.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/local/client_internal.h"

/* Bytes of the buffer at first; it grows to a header section and one byte. */
#define BUFFER_FIRST 2048
/* Bytes of it while WAITING: what new connections send in a round trip. */
#define EARLY_MAX 16384

/* ---- The buffer ---- */

void
client_consume(struct client *c, size_t n)
{
	c->len -= n;
	memmove(c->buf, c->buf + n, c->len);
	c->scanned = 0;
}

void
client_free_buffer(struct client *c)
{
	free(c->buf);
	c->buf = NULL;
	c->len = c->cap = c->scanned = c->sent_early = 0;
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct client *c = handle->data;
	size_t cap = c->cap > 0 ? 2 * c->cap : BUFFER_FIRST;
	size_t max = c->state == CLIENT_WAITING
	    ? EARLY_MAX
	    : c->clients->limits->v[LIMIT_HEAD].max + 1;
	char *grown;

	if (c->state == CLIENT_TUNNEL) {
		relay_alloc(handle, suggested, buf);
		return;
	}
	if (c->len == c->cap && c->cap < max) {
		cap = cap < max ? cap : max;
		if ((grown = realloc(c->buf, cap)) != NULL) {
			c->buf = grown;
			c->cap = cap;
		}
	}
	buf->base = c->buf + c->len;
	buf->len = c->cap - c->len;
}

/* ---- Answers ---- */

/*
 * Answers before the tunnel are short, and the socket's buffer is empty: if the
 * kernel does not take one at once, the client does not read.
 */
bool
client_write(struct client *c, const void *bytes, size_t n)
{
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned)n);

	return n == 0 ||
	    uv_try_write((uv_stream_t *)&c->relay.tcp, &buf, 1) == (int)n;
}

static void
on_shutdown(uv_shutdown_t *request, int status)
{
	struct client *c = (struct client *)request->handle->data;

	(void)status;
	if (c->eof_seen)
		client_close(c, "answered");
}

void
client_linger(struct client *c)
{
	c->state = CLIENT_LINGERING;
	client_free_buffer(c);
	if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->relay.tcp,
		on_shutdown) != 0) {
		client_close(c, "answered");
		return;
	}
	client_start_timer(c, LIMIT_LINGER_TIME);
	if (!c->eof_seen)
		client_start_reading(c);
}

void
client_write_last(struct client *c, const void *bytes, size_t n,
    const char *why)
{
	client_log_end(c, why);
	if (client_write(c, bytes, n))
		client_linger(c);
	else
		client_close(c, "the client does not read its data");
}

/* ---- Passwords ---- */

static void
on_checked(void *arg, enum users_verdict verdict)
{
	struct client *c = arg;

	c->check = NULL;
	c->state = CLIENT_NEGOTIATING;
	c->frontend->checked(c, verdict);
	if (c->closing || c->state != CLIENT_NEGOTIATING)
		return;
	client_start_timer(c, LIMIT_HEAD_TIME);
	client_start_reading(c);
	client_process(c);
}

void
client_check_password(struct client *c, const struct credentials *credentials)
{
	int rv = 1; /* a reload may have removed the users meanwhile */

	if (c->clients->users != NULL)
		rv = users_check(c->clients->users, c->clients->loop,
		    (const struct sockaddr *)&c->source.peer, credentials,
		    &c->check, on_checked, c);
	if (rv == 0) {
		c->state = CLIENT_CHECKING;
		relay_read_stop(&c->relay);
		uv_timer_stop(&c->timer);
	} else
		c->frontend->checked(c, rv == 1 ? USERS_RIGHT : USERS_OVERLOAD);
}

/* ---- Reading ---- */

void
client_process(struct client *c)
{
	bool more = true;

	if (c->frontend == NULL && c->len > 0)
		c->frontend = frontend_detect((uint8_t)c->buf[0]);
	if (c->len > 0 && !c->head_begun && c->state == CLIENT_NEGOTIATING) {
		c->head_begun = true;
		client_start_timer(c, LIMIT_HEAD_TIME);
	}
	while (more && !c->closing && c->len > 0)
		more = (c->state == CLIENT_NEGOTIATING ||
			   c->state == CLIENT_EXCHANGE) &&
		    c->frontend->step(c);
}

static void
on_eof(struct client *c)
{
	c->eof_seen = true;
	relay_read_stop(&c->relay);
	/* After a complete request, a half-closed client awaits the answer. */
	if (c->state == CLIENT_WAITING ||
	    (c->state == CLIENT_EXCHANGE && c->frontend->awaits_response(c)))
		return;
	client_close(c,
	    c->state == CLIENT_LINGERING ? "answered"
					 : "the client disconnected");
}

/* Reading goes on with the response, or when there is room. */
static void
on_full(struct client *c)
{
	if (c->state == CLIENT_EXCHANGE || c->state == CLIENT_WAITING)
		relay_read_stop(&c->relay);
	else
		client_close(c, "out of memory");
}

/* While reading is stopped, libuv does not report an error that it has seen. */
static void
check_failed(struct client *c)
{
	if (c->relay.failed && !c->relay.reading && !c->closing &&
	    c->state == CLIENT_EXCHANGE)
		client_disconnected(c, "the client disconnected");
}

static void
on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = tcp->data;

	if (c->state == CLIENT_TUNNEL)
		relay_read(tcp, n, buf);
	else if (n == UV_EOF && tcp_has_ended(&c->relay.tcp, false))
		on_eof(c);
	else if (n == UV_ENOBUFS)
		on_full(c);
	else if (n < 0) { /* all bytes before the error have been read */
		c->eof_seen = true;
		relay_read_stop(&c->relay);
		client_disconnected(c, "the client disconnected");
	} else if (c->state != CLIENT_LINGERING) {
		c->len += (size_t)n;
		if (stream_is_open(&c->request.stream))
			client_tunnel_send_early(c);
		client_process(c);
		client_update_traffic(c);
		check_failed(c);
	}
}

void
client_start_reading(struct client *c)
{
	if (!c->closing)
		relay_read_start(&c->relay, on_alloc, on_read);
}

/* ---- Bytes ---- */

static void
bytes_of(const struct client *c, uint64_t *up, uint64_t *down)
{
	*up = *down = 0;
	if (c->frontend != NULL && c->frontend->bytes != NULL)
		c->frontend->bytes(c, up, down);
	*up += c->relay.to_stream;
	*down += c->relay.to_tcp;
}

void
client_update_traffic(struct client *c)
{
	uint64_t up, down;

	if (c->closing)
		return;
	bytes_of(c, &up, &down);
	traffic_update(&c->clients->traffic, &c->share, up, down,
	    uv_now(c->clients->loop));
}

static void
on_relay_moved(struct relay *relay)
{
	client_update_traffic((struct client *)relay);
}

/* Whether bytes have moved since the last call. */
static bool
has_moved(struct client *c)
{
	uint64_t up, down, before = c->bytes_seen;

	bytes_of(c, &up, &down);
	c->bytes_seen = up + down;
	return c->bytes_seen != before;
}

/* ---- A client that is gone ---- */

static void
on_flush_timeout(uv_timer_t *timer)
{
	struct client *c = timer->data;

	if (has_moved(c))
		uv_timer_start(timer, on_flush_timeout, TCP_STALL_MS, 0);
	else
		client_close(c, "the client disconnected");
}

void
client_flush(struct client *c)
{
	if (c->flushing)
		return;
	c->flushing = true;
	has_moved(c);
	uv_timer_start(&c->timer, on_flush_timeout, TCP_STALL_MS, 0);
}

void
client_disconnected(struct client *c, const char *reason)
{
	if (c->state == CLIENT_EXCHANGE && c->frontend->awaits_origin(c))
		client_flush(c);
	else
		client_close(c, reason);
}

static void
on_relay_gone(struct relay *relay, const char *why)
{
	client_disconnected((struct client *)relay, why);
}

/* ---- Time limits ---- */

static const char *
timeout_reason(enum limit limit)
{
	switch (limit) {
	case LIMIT_LINGER_TIME:
		return "answered";
	case LIMIT_HEAD_TIME:
		return "the request was not complete in time";
	case LIMIT_TUNNEL_TIME:
		return "the tunnel was idle";
	default:
		return "idle";
	}
}

static void
on_timeout(uv_timer_t *timer)
{
	struct client *c = timer->data;
	const struct frontend *frontend = c->frontend;
	enum limit limit = c->timer_limit;

	if (limit == LIMIT_TUNNEL_TIME &&
	    (has_moved(c) ||
		(c->state == CLIENT_EXCHANGE && frontend->awaits_tunnel(c)))) {
		client_start_timer(c, LIMIT_TUNNEL_TIME);
		return;
	}
	c->clients->limits->v[limit].hits++;
	if (frontend == NULL || frontend->expired == NULL ||
	    !frontend->expired(c, limit))
		client_close(c, timeout_reason(limit));
}

void
client_start_timer(struct client *c, enum limit limit)
{
	uint64_t ms = limits_ms(c->clients->limits, limit);

	c->timer_limit = limit;
	if (ms > 0)
		uv_timer_start(&c->timer, on_timeout, ms, 0);
	else
		uv_timer_stop(&c->timer);
}

/* ---- Life ---- */

void
client_log_end(struct client *c, const char *reason)
{
	char peer[ADDR_STRLEN], target[TARGET_STRLEN] = "";
	struct log_tunnel line = { .target = target,
		.reason = reason,
		.duration_ms = uv_now(c->clients->loop) - c->started_ms };

	if (c->logged)
		return;
	c->logged = true;
	if (!log_shows_tunnels())
		return;
	line.client = addr_format((const struct sockaddr *)&c->source.peer,
	    peer);
	if (c->frontend != NULL)
		line.kind = c->frontend->name;
	if (c->target.port != 0)
		target_format(&c->target, target, sizeof(target));
	bytes_of(c, &line.bytes_up, &line.bytes_down);
	log_tunnel(&line);
}

static void
handle_closed(struct client *c)
{
	struct clients *clients = c->clients;
	struct client_source source = c->source;

	if (--c->handles > 0)
		return;
	LIST_REMOVE(c, entry);
	clients->totals.open--;
	free(c);
	clients->on_closed(clients, &source);
}

static void
on_timer_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

/* If the relay has closed by itself, the rest of the client follows. */
static void
on_relay_closed(struct relay *relay)
{
	struct client *c = (struct client *)relay;

	client_close(c, relay->reason);
	handle_closed(c);
}

/* The last handle's close callback frees the memory. */
void
client_close(struct client *c, const char *reason)
{
	if (c->closing)
		return;
	client_update_traffic(c);
	traffic_forget(&c->clients->traffic, &c->share);
	c->closing = true;
	relay_close(&c->relay, reason);
	uv_close((uv_handle_t *)&c->timer, on_timer_closed);
	client_log_end(c, reason);
	outbound_cancel(&c->request);
	users_check_cancel(c->check);
	if (c->frontend != NULL && c->frontend->end != NULL)
		c->frontend->end(c);
	client_free_buffer(c);
}

int
client_new(struct clients *clients, int fd, const struct client_source *source)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		close(fd);
		return -ENOMEM;
	}
	c->clients = clients;
	c->source = *source;
	c->started_ms = uv_now(clients->loop);
	relay_init(&c->relay, clients->loop, on_relay_closed);
	c->relay.moved = on_relay_moved;
	c->relay.peer_closed = "the edge closed its connection";
	uv_timer_init(clients->loop, &c->timer);
	c->timer.data = c;
	c->handles = 2;
	LIST_INSERT_HEAD(&clients->list, c, entry);
	clients->totals.open++;
	clients->totals.total++;
	if (uv_tcp_open(&c->relay.tcp, fd) != 0) {
		close(fd);
		client_close(c, "the kernel rejected the socket");
		return 0;
	}
	relay_watch(&c->relay, clients->liveness,
	    (unsigned)clients->limits->v[LIMIT_KEEPALIVE_TIME].max,
	    on_relay_gone);
	client_start_timer(c,
	    source->over_limit ? LIMIT_HEAD_TIME : LIMIT_IDLE_TIME);
	client_start_reading(c);
	if (source->forward != NULL)
		client_forward(c, source->forward);
	return 0;
}

/* ---- All clients ---- */

static void
show(const struct client *c, void (*each)(void *, const struct client_info *),
    void *arg)
{
	static const char *const states[] = { "negotiating", "negotiating",
		"waiting", "open", "open", "closing" };
	char target[TARGET_STRLEN] = "", peer[ADDR_STRLEN];
	struct client_info info = { .target = target,
		.client = peer,
		.kind = "new",
		.state = states[c->state] };

	if (c->closing)
		return;
	if (c->frontend != NULL && c->frontend->name != NULL)
		info.kind = c->frontend->name;
	if (c->target.port != 0)
		target_format(&c->target, target, sizeof(target));
	addr_format((const struct sockaddr *)&c->source.peer, peer);
	info.age_ms = uv_now(c->clients->loop) - c->started_ms;
	bytes_of(c, &info.bytes_up, &info.bytes_down);
	each(arg, &info);
}

void
clients_each(const struct clients *clients,
    void (*each)(void *, const struct client_info *), void *arg)
{
	const struct client *c;

	LIST_FOREACH(c, &clients->list, entry)
		show(c, each, arg);
}

void
clients_top(struct clients *clients,
    void (*each)(void *, const struct client_info *), void *arg)
{
	struct traffic_share *top[TRAFFIC_TOP];
	size_t n = traffic_top(&clients->traffic, top, uv_now(clients->loop));

	for (size_t i = 0; i < n; i++)
		show((struct client *)((char *)top[i] -
			 offsetof(struct client, share)),
		    each, arg);
}

bool
clients_are_busy(const struct clients *clients)
{
	const struct client *c;

	LIST_FOREACH(c, &clients->list, entry)
		if (!c->closing &&
		    (c->state != CLIENT_NEGOTIATING || c->head_begun))
			return true;
	return false;
}

void
clients_close(struct clients *clients, const char *reason)
{
	struct client *c;

	/* Closing is asynchronous: the list stays as it is meanwhile. */
	LIST_FOREACH(c, &clients->list, entry)
		client_close(c, reason);
}
