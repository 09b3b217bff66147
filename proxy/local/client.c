/*
 * One client, from accept to close. What it asks for is understood in
 * client_socks.c and client_http.c; client_tunnel.c is what it gets as a rule.
 *
 *   NEGOTIATING ─▶ CHECKING ─▶ WAITING ─▶ TUNNEL      SOCKS, HTTP CONNECT
 *     ▲   │  ▲        │(again)
 *     │   │  └────────┘
 *     │   └──▶ EXCHANGE ──┬──(101)─▶ TUNNEL           plain HTTP: see forward.c
 *     └──(keep-alive)─────┘
 *   any ─▶ LINGERING: an answer was the last word; what the client still sends
 *          is read and dropped until its FIN, since closing with bytes unread
 *          would reset the connection and take the answer back.
 *
 * Until the tunnel is open, bytes gather in a buffer that grows with need;
 * parsers see it from its start. While a password is checked reading stops.
 * What the client says ahead of the edge's answer goes along with the request,
 * and stays in the buffer until then: the request may have to be made again.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/local/client_internal.h"
#include "proxy/local/http/exchange.h"
#include "proxy/local/socks.h"
#include "proxy/base/log.h"

/* Bytes of the buffer at first; it grows to a head and one byte more. */
#define BUFFER_FIRST 2048
/* Bytes of it while the edge is asked: what new connections send in a round. */
#define AHEAD_MAX 16384

/* The first byte of a client that speaks TLS (RFC 8446, section 5.1). */
#define TLS_HANDSHAKE 0x16

/* ---- The buffer ---- */

void
client_drop(struct client *c, size_t n)
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
	c->len = c->cap = c->scanned = c->said = 0;
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct client *c = handle->data;
	size_t cap = c->cap > 0 ? 2 * c->cap : BUFFER_FIRST;
	size_t max = c->state == CLIENT_WAITING ? AHEAD_MAX
	    : c->host->limits->v[LIMIT_HEAD].max + 1;
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

/* ---- Speaking ---- */

/*
 * What is said before the tunnel is short, and the socket is empty: what the
 * kernel does not take at once goes to someone who does not listen.
 */
bool
client_say(struct client *c, const void *bytes, size_t n)
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
	client_arm(c, LIMIT_LINGER_TIME);
	if (!c->eof_seen)
		client_start_reading(c);
}

/* The last word to this client, and for the log what it means. */
void
client_say_last(struct client *c, const void *bytes, size_t n, const char *why)
{
	client_log_end(c, why);
	if (client_say(c, bytes, n))
		client_linger(c);
	else
		client_close(c, "the client does not read its data");
}

/* ---- Passwords ---- */

static void
verdict_http(struct client *c, enum users_verdict verdict)
{
	c->authorized = verdict == USERS_RIGHT;
	if (verdict == USERS_WRONG)
		client_http_error(c, 407, "proxy authentication failed");
	else if (verdict == USERS_OVERLOAD)
		client_http_refuse(c, &client_overloaded);
}

/*
 * The answer to a password in SOCKS knows right and wrong alone (RFC 1929): of
 * an overload the answer to the request tells, and no tunnel is opened.
 */
static void
verdict_socks(struct client *c, enum users_verdict verdict)
{
	c->overloaded = verdict == USERS_OVERLOAD;
	if (socks_authenticated(c->socks, verdict != USERS_WRONG) ==
	    SOCKS_CLOSE)
		client_socks_say_last(c);
	else if (c->len == 0)
		client_socks_say(c);
}

static void
take_verdict(struct client *c, enum users_verdict verdict)
{
	if (client_is_http(c))
		verdict_http(c, verdict);
	else
		verdict_socks(c, verdict);
}

static void
on_checked(void *arg, enum users_verdict verdict)
{
	struct client *c = arg;

	c->check = NULL;
	c->state = CLIENT_NEGOTIATING;
	take_verdict(c, verdict);
	if (c->closing || c->state != CLIENT_NEGOTIATING)
		return;
	client_arm(c, LIMIT_HEAD_TIME);
	client_start_reading(c);
	client_process(c);
}

void
client_check(struct client *c, const struct credentials *credentials)
{
	int rv = 1; /* a reload may have opened the listener meanwhile */

	if (c->host->users != NULL)
		rv = users_check(c->host->users, c->host->loop,
		    (const struct sockaddr *)&c->origin.peer, credentials,
		    &c->check, on_checked, c);
	if (rv == 0) {
		c->state = CLIENT_CHECKING;
		relay_read_stop(&c->relay);
		uv_timer_stop(&c->timer);
	} else
		take_verdict(c, rv == 1 ? USERS_RIGHT : USERS_OVERLOAD);
}

/* ---- Reading ---- */

bool
client_is_http(const struct client *c)
{
	return c->kind == CLIENT_CONNECT || c->kind == CLIENT_HTTP;
}

void
client_process(struct client *c)
{
	bool more = true;

	if (c->kind == CLIENT_NEW && c->len > 0 &&
	    c->state == CLIENT_NEGOTIATING && c->buf[0] == TLS_HANDSHAKE) {
		client_http_refuse_tls(c);
		return;
	}
	if (c->kind == CLIENT_NEW && c->len > 0)
		c->kind = c->buf[0] == 5 ? CLIENT_SOCKS5
		    : c->buf[0] == 4	 ? CLIENT_SOCKS4
					 : CLIENT_HTTP;
	if (c->len > 0 && !c->head_begun && c->state == CLIENT_NEGOTIATING) {
		c->head_begun = true;
		client_arm(c, LIMIT_HEAD_TIME);
	}
	while (more && !c->closing && c->len > 0) {
		if (c->state == CLIENT_EXCHANGE)
			more = client_http_exchange(c);
		else if (c->state != CLIENT_NEGOTIATING)
			more = false;
		else
			more = client_is_http(c) ? client_http_step(c)
						 : client_socks_step(c);
	}
}

static void
on_eof(struct client *c)
{
	c->eof_seen = true;
	relay_read_stop(&c->relay);
	/* Half-closed after a whole request: the answer is still wanted. */
	if (c->state == CLIENT_WAITING ||
	    (c->state == CLIENT_EXCHANGE &&
		exchange_request_complete(c->forward)))
		return;
	client_close(c, c->state == CLIENT_LINGERING
	    ? "answered" : "the client disconnected");
}

/* What the client says has nowhere to go now: the answer, or room, is near. */
static void
on_full(struct client *c)
{
	if (c->state == CLIENT_EXCHANGE || c->state == CLIENT_WAITING)
		relay_read_stop(&c->relay);
	else
		client_close(c, "out of memory");
}

/* With reading stopped, libuv does not tell of an error that was seen. */
static void
look_if_gone(struct client *c)
{
	if (c->relay.failed && !c->relay.reading && !c->closing &&
	    c->state == CLIENT_EXCHANGE)
		client_gone(c, "the client disconnected");
}

static void
on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = tcp->data;

	if (c->state == CLIENT_TUNNEL)
		relay_read(tcp, n, buf);
	else if (n == UV_EOF && relay_tcp_ended(&c->relay))
		on_eof(c);
	else if (n == UV_ENOBUFS)
		on_full(c);
	else if (n < 0) { /* after all that came before */
		c->eof_seen = true;
		relay_read_stop(&c->relay);
		client_gone(c, "the client disconnected");
	}
	else if (c->state != CLIENT_LINGERING) {
		c->len += (size_t)n;
		if (c->ticket.stream != NULL)
			client_tunnel_say_ahead(c);
		client_process(c);
		client_note(c);
		look_if_gone(c);
	}
}

void
client_start_reading(struct client *c)
{
	if (!c->closing)
		relay_read_start(&c->relay, on_alloc, on_read);
}

static void
bytes_of(const struct client *c, uint64_t *up, uint64_t *down)
{
	*up = *down = 0;
	if (c->forward != NULL)
		exchange_bytes(c->forward, up, down);
	*up += c->relay.to_stream;
	*down += c->relay.to_tcp;
}

void
client_note(struct client *c)
{
	uint64_t up, down;

	if (c->closing)
		return;
	bytes_of(c, &up, &down);
	traffic_note(&c->host->traffic, &c->share, up, down,
	    uv_now(c->host->loop));
}

static void
on_relay_moved(struct relay *relay)
{
	client_note((struct client *)relay);
}

/* Whether bytes have moved since the last call, which is noted. */
static bool
has_moved(struct client *c)
{
	uint64_t up, down, before = c->moved;

	bytes_of(c, &up, &down);
	c->moved = up + down;
	return c->moved != before;
}

static void
on_gone_timeout(uv_timer_t *timer)
{
	struct client *c = timer->data;

	if (has_moved(c))
		uv_timer_start(timer, on_gone_timeout, RELAY_STALL_MS, 0);
	else
		client_close(c, "the client disconnected");
}

void
client_wind_up(struct client *c)
{
	if (c->gone)
		return;
	c->gone = true;
	has_moved(c);
	uv_timer_start(&c->timer, on_gone_timeout, RELAY_STALL_MS, 0);
}

void
client_gone(struct client *c, const char *reason)
{
	if (c->state != CLIENT_EXCHANGE || !exchange_is_behind(c->forward)) {
		client_close(c, reason);
		return;
	}
	client_wind_up(c);
}

static void
on_relay_gone(struct relay *relay, const char *why)
{
	client_gone((struct client *)relay, why);
}

static void
on_timeout(uv_timer_t *timer)
{
	struct client *c = timer->data;

	if (c->armed == LIMIT_TUNNEL_TIME &&
	    (has_moved(c) || (c->state == CLIENT_EXCHANGE &&
				 exchange_is_opening(c->forward)))) {
		client_arm(c, LIMIT_TUNNEL_TIME);
		return;
	}
	c->host->limits->v[c->armed].hits++;
	if (c->state == CLIENT_EXCHANGE)
		client_http_idle(c);
	else if (c->armed == LIMIT_HEAD_TIME && c->kind == CLIENT_HTTP)
		client_http_slow(c);
	else
		client_close(c, c->armed == LIMIT_LINGER_TIME ? "answered"
		    : c->armed == LIMIT_HEAD_TIME
		    ? "the request was not complete in time"
		    : c->armed == LIMIT_TUNNEL_TIME ? "the tunnel was idle"
						    : "idle");
}

void
client_arm(struct client *c, enum limit limit)
{
	uint64_t ms = limits_ms(c->host->limits, limit);

	c->armed = limit;
	if (ms > 0)
		uv_timer_start(&c->timer, on_timeout, ms, 0);
	else
		uv_timer_stop(&c->timer);
}

/* ---- Life ---- */

static const char *const kinds[] = { "new", "socks4", "socks5", "connect",
	"http" };

/* The one line of this client: the first reason counts. */
void
client_log_end(struct client *c, const char *reason)
{
	char peer[ADDR_STRLEN], target[TARGET_STRLEN] = "";
	struct log_tunnel line = { .target = target, .reason = reason,
		.duration_ms = uv_now(c->host->loop) - c->started_ms };

	if (c->logged)
		return;
	c->logged = true;
	if (!log_shows_tunnels())
		return;
	line.client = addr_format((const struct sockaddr *)&c->origin.peer,
	    peer);
	if (c->kind != CLIENT_NEW)
		line.kind = kinds[c->kind];
	if (c->target.port != 0)
		target_format(&c->target, target, sizeof(target));
	bytes_of(c, &line.bytes_up, &line.bytes_down);
	log_tunnel(&line);
}

static void
handle_closed(struct client *c)
{
	struct client_host *host = c->host;
	struct client_origin origin = c->origin;

	if (--c->handles > 0)
		return;
	LIST_REMOVE(c, entry);
	host->totals.open--;
	free(c);
	host->on_gone(host, &origin);
}

static void
on_timer_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

/* The relay may have closed by itself: the rest of us follows. */
static void
on_relay_closed(struct relay *relay)
{
	struct client *c = (struct client *)relay;

	client_close(c, relay->reason);
	handle_closed(c);
}

/* The memory goes with the last handle. */
void
client_close(struct client *c, const char *reason)
{
	if (c->closing)
		return;
	client_note(c);
	traffic_forget(&c->host->traffic, &c->share);
	c->closing = true;
	relay_close(&c->relay, reason);
	uv_close((uv_handle_t *)&c->timer, on_timer_closed);
	client_log_end(c, reason);
	pool_cancel(&c->ticket);
	users_check_cancel(c->check);
	exchange_free(c->forward);
	c->forward = NULL;
	if (c->socks != NULL)
		socks_authenticated(c->socks, false);
	free(c->socks);
	c->socks = NULL;
	client_free_buffer(c);
}

int
client_new(struct client_host *host, int fd,
    const struct client_origin *origin)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		close(fd);
		return -ENOMEM;
	}
	c->host = host;
	c->origin = *origin;
	c->started_ms = uv_now(host->loop);
	relay_init(&c->relay, host->loop, on_relay_closed);
	c->relay.moved = on_relay_moved;
	c->relay.peer_closed = "the edge closed its connection";
	uv_timer_init(host->loop, &c->timer);
	c->timer.data = c;
	c->handles = 2;
	LIST_INSERT_HEAD(&host->clients, c, entry);
	host->totals.open++;
	host->totals.total++;
	if (uv_tcp_open(&c->relay.tcp, fd) != 0) {
		close(fd);
		client_close(c, "the kernel rejected the socket");
		return 0;
	}
	relay_watch(&c->relay, host->liveness,
	    (unsigned)host->limits->v[LIMIT_KEEPALIVE_TIME].max,
	    on_relay_gone);
	client_arm(c, origin->crowded ? LIMIT_HEAD_TIME : LIMIT_IDLE_TIME);
	client_start_reading(c);
	return 0;
}

/* ---- Looking at it ---- */

static void
show(const struct client *c, void (*each)(void *, const struct client_info *),
    void *arg)
{
	static const char *const states[] = { "negotiating", "negotiating",
		"waiting", "open", "open", "closing" };
	char target[TARGET_STRLEN] = "", peer[ADDR_STRLEN];
	struct client_info info = { .target = target, .client = peer,
		.kind = kinds[c->kind], .state = states[c->state] };

	if (c->closing)
		return;
	if (c->target.port != 0)
		target_format(&c->target, target, sizeof(target));
	addr_format((const struct sockaddr *)&c->origin.peer, peer);
	info.age_ms = uv_now(c->host->loop) - c->started_ms;
	bytes_of(c, &info.bytes_up, &info.bytes_down);
	each(arg, &info);
}

void
clients_each(const struct client_host *host,
    void (*each)(void *, const struct client_info *), void *arg)
{
	const struct client *c;

	LIST_FOREACH(c, &host->clients, entry)
		show(c, each, arg);
}

void
clients_top(struct client_host *host,
    void (*each)(void *, const struct client_info *), void *arg)
{
	struct traffic_share *top[TRAFFIC_TOP];
	size_t n = traffic_top(&host->traffic, top, uv_now(host->loop));

	for (size_t i = 0; i < n; i++)
		show((struct client *)((char *)top[i] -
		    offsetof(struct client, share)), each, arg);
}

bool
clients_are_busy(const struct client_host *host)
{
	const struct client *c;

	LIST_FOREACH(c, &host->clients, entry)
		if (!c->closing &&
		    (c->state != CLIENT_NEGOTIATING || c->head_begun))
			return true;
	return false;
}

void
clients_close(struct client_host *host, const char *reason)
{
	struct client *c;

	/* Closing is asynchronous: the list stays as it is meanwhile. */
	LIST_FOREACH(c, &host->clients, entry)
		client_close(c, reason);
}
