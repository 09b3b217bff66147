/*
 * One client, from accept to close.
 *
 *   NEGOTIATING ─▶ CHECKING ─▶ WAITING ─▶ TUNNEL      SOCKS, HTTP CONNECT
 *     ▲   │  ▲        │(again)
 *     │   │  └────────┘
 *     │   └──▶ EXCHANGE ──┐                           plain HTTP: see forward.c
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
#include "proxy/local/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/http1.h"
#include "proxy/local/forward.h"
#include "proxy/local/page.h"
#include "proxy/local/socks.h"
#include "proxy/log.h"

/* Bytes of the buffer at first; it grows to a head and one byte more. */
#define BUFFER_FIRST 2048
/* Bytes of it while the edge is asked: what new connections send in a round. */
#define AHEAD_MAX 16384

enum client_state {
	CLIENT_NEGOTIATING,
	CLIENT_CHECKING,
	CLIENT_WAITING,
	CLIENT_TUNNEL,
	CLIENT_EXCHANGE,
	CLIENT_LINGERING
};

enum client_kind {
	CLIENT_NEW,
	CLIENT_SOCKS4,
	CLIENT_SOCKS5,
	CLIENT_CONNECT,
	CLIENT_HTTP
};

struct client {
	struct relay relay; /* first: its callbacks find us by it */
	struct client_host *host;
	LIST_ENTRY(client) entry;
	uv_timer_t timer;
	uv_shutdown_t shutdown;
	unsigned handles; /* tcp and timer */
	bool closing;

	enum client_state state;
	enum client_kind kind;
	struct client_origin origin;
	enum limit armed;  /* what the timer is about, ... */
	uint64_t moved;	   /* ... and for an idle tunnel, bytes so far */
	uint64_t started_ms;
	struct target target;
	struct ticket ticket;
	struct users_check *check;
	struct socks *socks;	 /* during a SOCKS negotiation */
	struct forward *forward; /* of a client of plain HTTP */
	bool head_begun;	 /* bytes of a head have come: HEAD_TIMEOUT */
	bool authorized;	 /* the head at the buffer's start has passed */
	bool eof_seen;
	bool logged;		 /* a refusal says more than the close does */

	char *buf;
	size_t len, cap, scanned;
	size_t said; /* of buf, ahead of the answer, on the ticket's stream */
};

static void client_close(struct client *, const char *reason);
static void log_end(struct client *, const char *reason);
static void arm(struct client *, enum limit);
static void process(struct client *);
static void start_reading(struct client *);

/* ---- The buffer ---- */

static void
drop(struct client *c, size_t n)
{
	c->len -= n;
	memmove(c->buf, c->buf + n, c->len);
	c->scanned = 0;
}

static void
free_buffer(struct client *c)
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
static bool
say(struct client *c, const void *bytes, size_t n)
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

static void
linger(struct client *c)
{
	c->state = CLIENT_LINGERING;
	free_buffer(c);
	if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->relay.tcp,
		on_shutdown) != 0) {
		client_close(c, "answered");
		return;
	}
	arm(c, LIMIT_LINGER_TIME);
	if (!c->eof_seen)
		start_reading(c);
}

/* The last word to this client, and for the log what it means. */
static void
say_last(struct client *c, const void *bytes, size_t n, const char *why)
{
	log_end(c, why);
	if (say(c, bytes, n))
		linger(c);
	else
		client_close(c, "the client does not read");
}

static void
say_error(struct client *c, int status, const char *text)
{
	char page[PAGE_MAX];

	say_last(c, page, page_error(status, text, page), text);
}

static void
say_refusal(struct client *c, const struct refusal *refusal)
{
	log_end(c, refusal->text + refusal->cause);
	say_error(c, refusal->http_status, refusal->text);
}

/* SOCKS has said why, unless the tunnel was refused and the log has it. */
static void
say_socks_last(struct client *c)
{
	say_last(c, c->socks->out, c->socks->outlen, c->socks->why);
}

/* What SOCKS has to say before more is read. */
static void
say_socks(struct client *c)
{
	if (say(c, c->socks->out, c->socks->outlen))
		socks_sent(c->socks);
	else
		client_close(c, "the client went away");
}

/* ---- The tunnel ---- */

static bool
is_http(const struct client *c)
{
	return c->kind == CLIENT_CONNECT || c->kind == CLIENT_HTTP;
}

/* Passes on what the client has said after its request. False: no memory. */
static bool
pass_on(struct client *c, struct quic_stream *stream)
{
	c->said += quic_stream_push(stream, c->buf + c->said,
	    c->len - c->said);
	c->relay.to_stream = c->said;
	return c->said == c->len;
}

/* Ahead of the answer; what there is no memory for follows after it. */
static void
say_ahead(struct client *c)
{
	pass_on(c, c->ticket.stream);
	c->ticket.bound = c->said > 0;
}

static void
on_asked(void *arg, struct quic_stream *stream)
{
	struct client *c = arg;

	(void)stream;
	c->said = 0;
	say_ahead(c);
}

static void
on_opened(void *arg, struct quic_stream *stream)
{
	static const char established[] =
	    "HTTP/1.1 200 Connection established\r\n\r\n";
	struct client *c = arg;
	bool ok;

	if (is_http(c))
		ok = say(c, established, sizeof(established) - 1);
	else {
		socks_reply(c->socks, SOCKS_SUCCEEDED);
		ok = say(c, c->socks->out, c->socks->outlen);
		free(c->socks);
		c->socks = NULL;
	}
	if (!ok || !pass_on(c, stream)) {
		quic_stream_reset(stream, QUIC_H3_REQUEST_CANCELLED);
		c->relay.cut_short = true;
		client_close(c, ok ? "out of memory"
				   : "the client went away");
		return;
	}
	free_buffer(c);
	c->state = CLIENT_TUNNEL;
	arm(c, LIMIT_TUNNEL_TIME);
	relay_start(&c->relay, stream);
}

static void
on_refused(void *arg, const struct refusal *refusal)
{
	struct client *c = arg;

	if (is_http(c)) {
		say_refusal(c, refusal);
		return;
	}
	log_end(c, refusal->text + refusal->cause);
	socks_reply(c->socks, refusal->socks_code);
	say_socks_last(c);
}

static const struct ticket_events ticket_events = {
	.asked = on_asked,
	.opened = on_opened,
	.refused = on_refused,
};

static const struct refusal crowded = { .http_status = 503,
	.socks_code = SOCKS_GENERAL_FAILURE,
	.text = "there are too many connections from this address" };

static void
open_tunnel(struct client *c, const struct target *target)
{
	c->target = *target;
	if (c->origin.crowded) {
		on_refused(c, &crowded);
		return;
	}
	c->state = CLIENT_WAITING;
	uv_timer_stop(&c->timer);
	uplink_open(c->host->uplink, &c->ticket, &c->target, &ticket_events,
	    c);
}

/* ---- Passwords ---- */

static void
verdict(struct client *c, bool ok)
{
	if (is_http(c)) {
		if (!ok) {
			say_error(c, 407, "this proxy wants another password");
			return;
		}
		c->authorized = true;
		return;
	}
	if (socks_authenticated(c->socks, ok) == SOCKS_CLOSE)
		say_socks_last(c);
	else if (c->len == 0)
		say_socks(c);
}

static void
on_checked(void *arg, bool ok)
{
	struct client *c = arg;

	c->check = NULL;
	c->state = CLIENT_NEGOTIATING;
	verdict(c, ok);
	if (c->closing || c->state != CLIENT_NEGOTIATING)
		return;
	arm(c, LIMIT_HEAD_TIME);
	start_reading(c);
	process(c);
}

static void
check(struct client *c, const struct credentials *credentials)
{
	int rv = 1; /* a reload may have opened the listener meanwhile */

	if (c->host->users != NULL)
		rv = users_check(c->host->users, c->host->loop, credentials,
		    &c->check, on_checked, c);
	if (rv == 0) {
		c->state = CLIENT_CHECKING;
		uv_read_stop((uv_stream_t *)&c->relay.tcp);
		uv_timer_stop(&c->timer);
	} else
		verdict(c, rv == 1);
}

/* ---- SOCKS ---- */

static void
check_socks(struct client *c)
{
	struct credentials credentials;

	snprintf(credentials.user, sizeof(credentials.user), "%s",
	    c->socks->user);
	snprintf(credentials.password, sizeof(credentials.password), "%s",
	    c->socks->password);
	check(c, &credentials);
	explicit_bzero(&credentials, sizeof(credentials));
}

static bool
begin_socks(struct client *c)
{
	if ((c->socks = malloc(sizeof(*c->socks))) == NULL) {
		client_close(c, "out of memory");
		return false;
	}
	socks_init(c->socks, c->host->users != NULL && !c->origin.crowded);
	return true;
}

/* One step of the negotiation. False: more bytes are needed. */
static bool
step_socks(struct client *c)
{
	enum socks_event event;
	size_t used;

	if (c->socks == NULL && !begin_socks(c))
		return false;
	event = socks_feed(c->socks, (uint8_t *)c->buf, c->len, &used);
	drop(c, used);
	switch (event) {
	case SOCKS_NEED_MORE:
	case SOCKS_SEND:
		/* What is here may be answered as well: in one write. */
		if (c->len == 0)
			say_socks(c);
		return c->len > 0;
	case SOCKS_AUTHENTICATE:
		check_socks(c);
		return true;
	case SOCKS_CONNECT:
		open_tunnel(c, &c->socks->target);
		return true;
	case SOCKS_CLOSE:
		break;
	}
	say_socks_last(c);
	return false;
}

/* ---- HTTP ---- */

static void
on_forward_writable(void *arg)
{
	struct client *c = arg;

	process(c);
	if (!c->closing && c->state == CLIENT_EXCHANGE && !c->eof_seen)
		start_reading(c);
}

static void
on_forward_done(void *arg, bool keep_alive)
{
	struct client *c = arg;

	if (!keep_alive || (c->eof_seen && c->len == 0)) {
		linger(c);
		return;
	}
	c->state = CLIENT_NEGOTIATING;
	c->head_begun = false;
	arm(c, LIMIT_IDLE_TIME);
	if (!c->eof_seen)
		start_reading(c);
	process(c);
}

static void
on_forward_refused(void *arg, const struct refusal *refusal)
{
	say_refusal(arg, refusal);
}

/* What was answered so far must not look like all of it. */
static void
on_forward_broken(void *arg, const char *reason)
{
	struct client *c = arg;

	c->relay.cut_short = true;
	client_close(c, reason);
}

static const struct forward_events forward_events = {
	.writable = on_forward_writable,
	.done = on_forward_done,
	.refused = on_forward_refused,
	.broken = on_forward_broken,
};

static void
begin_exchange(struct client *c, const struct http1_request *req, size_t head)
{
	int rv = 0;

	if (c->origin.crowded) {
		say_refusal(c, &crowded);
		return;
	}
	if (c->forward == NULL)
		rv = forward_new(&c->forward, &c->relay.tcp, c->host->uplink,
		    &forward_events, c);
	if (rv == 0)
		rv = forward_request(c->forward, req);
	if (rv == -ELOOP)
		say_error(c, 400, "Max-Forwards is used up, and this is not "
		    "the origin");
	else if (rv != 0)
		say_error(c, 500, "the proxy is out of memory");
	if (rv != 0)
		return;
	c->target = req->authority;
	c->state = CLIENT_EXCHANGE;
	uv_timer_stop(&c->timer);
	drop(c, head);
}

static void
answer_page(struct client *c, const struct http1_request *req)
{
	struct sockaddr_storage local = { 0 };
	int len = sizeof(local);
	char page[PAGE_MAX];

	uv_tcp_getsockname(&c->relay.tcp, (struct sockaddr *)&local, &len);
	say_last(c, page, page_answer(req, (struct sockaddr *)&local,
	    c->host->users != NULL, page), "asked for the proxy's own page");
}

/* Whether the request may pass; if not now, somebody has taken care of it. */
static bool
is_authorized(struct client *c, const struct http1_request *req)
{
	const struct http1_field *field;
	struct credentials credentials;

	if (c->host->users == NULL || c->authorized || c->origin.crowded)
		return true;
	field = http1_find(&req->head, "proxy-authorization");
	if (field == NULL) {
		say_error(c, 407, "this proxy wants a password");
		return false;
	}
	if (basic_parse(field->value.p, field->value.len, &credentials) != 0) {
		say_error(c, 407, "this proxy wants Basic credentials");
		return false;
	}
	check(c, &credentials);
	explicit_bzero(&credentials, sizeof(credentials));
	return c->authorized;
}

/* The length of the request head, or 0: more bytes are needed, or all over. */
static size_t
parse_head(struct client *c, struct http1_request *req)
{
	int head = http1_request_parse(req, c->buf, c->len, &c->scanned);
	int status = head < 0 ? http1_error_status(head) : 0;

	if (limits_hit(c->host->limits, LIMIT_HEAD,
		head > 0 ? (size_t)head - 1 : c->len - 1) && status == 0) {
		status = 431;
		req->head.why = "the head is longer than this proxy takes";
	}
	if (status == 0)
		return (size_t)head;
	say_error(c, status, req->head.why);
	return 0;
}

/* One request head. False: more bytes are needed. */
static bool
step_http(struct client *c)
{
	struct http1_request req;
	size_t head = parse_head(c, &req);

	if (head == 0)
		return false;
	c->kind = req.form == HTTP1_AUTHORITY ? CLIENT_CONNECT : CLIENT_HTTP;
	if (req.form == HTTP1_ORIGIN || req.form == HTTP1_ASTERISK) {
		answer_page(c, &req);
		return false;
	}
	if (!is_authorized(c, &req))
		return false;
	c->authorized = false;
	if (req.form == HTTP1_AUTHORITY) {
		drop(c, head);
		open_tunnel(c, &req.authority);
	} else
		begin_exchange(c, &req, head);
	return true;
}

/* The body of the request under way. False: no more of it can be taken. */
static bool
step_exchange(struct client *c)
{
	ssize_t n = forward_feed(c->forward, (uint8_t *)c->buf, c->len);

	if (c->closing || c->state != CLIENT_EXCHANGE)
		return false;
	if (n < 0 && !forward_unanswered(c->forward)) {
		on_forward_broken(c, "the request's body is malformed");
		return false;
	}
	if (n < 0) {
		say_error(c, n == -ENOMEM ? 503 : 400, n == -ENOMEM
		    ? "the proxy is out of memory"
		    : "the request's body is malformed");
		return false;
	}
	drop(c, (size_t)n);
	if (c->len > 0)
		uv_read_stop((uv_stream_t *)&c->relay.tcp);
	return n > 0;
}

/* ---- Reading ---- */

/* Does what can be done with the bytes that are here. */
static void
process(struct client *c)
{
	bool more = true;

	if (c->kind == CLIENT_NEW && c->len > 0)
		c->kind = c->buf[0] == 5 ? CLIENT_SOCKS5
		    : c->buf[0] == 4	 ? CLIENT_SOCKS4
					 : CLIENT_HTTP;
	if (c->len > 0 && !c->head_begun && c->state == CLIENT_NEGOTIATING) {
		c->head_begun = true;
		arm(c, LIMIT_HEAD_TIME);
	}
	while (more && !c->closing && c->len > 0) {
		if (c->state == CLIENT_EXCHANGE)
			more = step_exchange(c);
		else if (c->state != CLIENT_NEGOTIATING)
			more = false;
		else
			more = is_http(c) ? step_http(c) : step_socks(c);
	}
}

static void
on_eof(struct client *c)
{
	c->eof_seen = true;
	uv_read_stop((uv_stream_t *)&c->relay.tcp);
	/* Half-closed after a whole request: the answer is still wanted. */
	if (c->state == CLIENT_WAITING || (c->state == CLIENT_EXCHANGE &&
	    forward_request_complete(c->forward)))
		return;
	client_close(c, c->state == CLIENT_LINGERING
	    ? "answered" : "the client went away");
}

/* What the client says has nowhere to go now: the answer, or room, is near. */
static void
on_full(struct client *c)
{
	if (c->state == CLIENT_EXCHANGE || c->state == CLIENT_WAITING)
		uv_read_stop((uv_stream_t *)&c->relay.tcp);
	else
		client_close(c, "out of memory");
}

static void
on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = tcp->data;

	if (c->state == CLIENT_TUNNEL)
		relay_read(tcp, n, buf);
	else if (n == UV_EOF)
		on_eof(c);
	else if (n == UV_ENOBUFS)
		on_full(c);
	else if (n < 0)
		client_close(c, "the client went away");
	else if (c->state != CLIENT_LINGERING) {
		c->len += (size_t)n;
		if (c->ticket.stream != NULL)
			say_ahead(c);
		process(c);
	}
}

static void
start_reading(struct client *c)
{
	if (!c->closing)
		uv_read_start((uv_stream_t *)&c->relay.tcp, on_alloc, on_read);
}

static void
on_timeout(uv_timer_t *timer)
{
	struct client *c = timer->data;
	uint64_t moved = c->relay.to_stream + c->relay.to_tcp;

	if (c->armed == LIMIT_TUNNEL_TIME && moved != c->moved) {
		c->moved = moved;
		arm(c, LIMIT_TUNNEL_TIME);
		return;
	}
	c->host->limits->v[c->armed].hits++;
	client_close(c, c->armed == LIMIT_LINGER_TIME ? "answered"
	    : c->armed == LIMIT_HEAD_TIME ? "the request took too long"
	    : c->armed == LIMIT_TUNNEL_TIME ? "the tunnel was idle" : "idle");
}

static void
arm(struct client *c, enum limit limit)
{
	uint64_t ms = limits_ms(c->host->limits, limit);

	c->armed = limit;
	if (ms > 0)
		uv_timer_start(&c->timer, on_timeout, ms, 0);
	else
		uv_timer_stop(&c->timer);
}

/* ---- Life ---- */

static void
bytes_of(const struct client *c, uint64_t *up, uint64_t *down)
{
	*up = c->relay.to_stream;
	*down = c->relay.to_tcp;
	if (c->forward != NULL)
		forward_bytes(c->forward, up, down);
}

static const char *const kinds[] = { "new", "socks4", "socks5", "connect",
	"http" };

/* The one line of this client: the first reason counts. */
static void
log_end(struct client *c, const char *reason)
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

/* Closes in any state; the memory goes with the last handle. */
static void
client_close(struct client *c, const char *reason)
{
	uint64_t up, down;

	if (c->closing)
		return;
	c->closing = true;
	relay_close(&c->relay, reason);
	uv_close((uv_handle_t *)&c->timer, on_timer_closed);
	bytes_of(c, &up, &down);
	c->host->totals.bytes_up += up;
	c->host->totals.bytes_down += down;
	log_end(c, reason);
	uplink_cancel(&c->ticket);
	users_check_cancel(c->check);
	forward_free(c->forward);
	c->forward = NULL;
	if (c->socks != NULL)
		socks_authenticated(c->socks, false);
	free(c->socks);
	c->socks = NULL;
	free_buffer(c);
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
	uv_timer_init(host->loop, &c->timer);
	c->timer.data = c;
	c->handles = 2;
	LIST_INSERT_HEAD(&host->clients, c, entry);
	host->totals.open++;
	host->totals.total++;
	if (uv_tcp_open(&c->relay.tcp, fd) != 0) {
		close(fd);
		client_close(c, "the system refuses the socket");
		return 0;
	}
	arm(c, origin->crowded ? LIMIT_HEAD_TIME : LIMIT_IDLE_TIME);
	start_reading(c);
	return 0;
}

/* ---- Looking at it ---- */

static void
show(const struct client *c, void (*each)(void *, const struct tunnel_info *),
    void *arg)
{
	static const char *const states[] = { "negotiating", "negotiating",
		"waiting", "open", "open", "closing" };
	char target[TARGET_STRLEN] = "", peer[ADDR_STRLEN];
	struct tunnel_info info = { .target = target, .client = peer,
		.kind = kinds[c->kind], .state = states[c->state] };

	if (c->closing)
		return; /* its bytes are in the totals already */
	if (c->target.port != 0)
		target_format(&c->target, target, sizeof(target));
	addr_format((const struct sockaddr *)&c->origin.peer, peer);
	info.age_ms = uv_now(c->host->loop) - c->started_ms;
	bytes_of(c, &info.bytes_up, &info.bytes_down);
	each(arg, &info);
}

void
clients_each(const struct client_host *host,
    void (*each)(void *, const struct tunnel_info *), void *arg)
{
	const struct client *c;

	LIST_FOREACH(c, &host->clients, entry)
		show(c, each, arg);
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
