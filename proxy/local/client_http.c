/*
 * What a client of HTTP/1.1 asks for: a tunnel, an exchange by way of forward.c
 * or the proxy's own page.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/base/basic.h"
#include "proxy/http1/http1.h"
#include "proxy/local/client_internal.h"
#include "proxy/local/http/exchange.h"
#include "proxy/local/page.h"
#include "proxy/base/log.h"

/* How often at most the log tells of a client that speaks TLS. */
#define TLS_WARN_INTERVAL_MS 60000

/* ---- Refusing ---- */

void
client_http_error(struct client *c, int status, const char *text)
{
	char page[PAGE_MAX];

	client_say_last(c, page, page_error(status, text, page), text);
}

void
client_http_refuse(struct client *c, const struct connect_error *refusal)
{
	client_log_end(c, refusal->text + refusal->cause);
	client_http_error(c, page_status(refusal), refusal->text);
}

/*
 * As `https://` in the proxy setting of a browser or of curl makes it. No page
 * would be shown, so the answer is an alert, and the sentence is in the log.
 */
void
client_http_refuse_tls(struct client *c)
{
	/* A fatal unexpected_message (RFC 8446, section 6). */
	static const uint8_t alert[] = { 21, 3, 3, 0, 2, 2, 10 };
	uint64_t now = uv_now(c->host->loop);
	char peer[ADDR_STRLEN];

	if (c->host->tls_warned_ms == 0 ||
	    now - c->host->tls_warned_ms > TLS_WARN_INTERVAL_MS) {
		c->host->tls_warned_ms = now;
		log_warn("%s speaks TLS to this port, which speaks plain HTTP "
		    "and SOCKS: its proxy setting must say http://, not "
		    "https://",
		    addr_format((const struct sockaddr *)&c->origin.peer,
			peer));
	}
	client_say_last(c, alert, sizeof(alert),
	    "it speaks TLS to a port for plain HTTP and SOCKS");
}

/* ---- The exchange ---- */

static void
on_forward_writable(void *arg)
{
	struct client *c = arg;

	client_process(c);
	if (c->closing || c->state != CLIENT_EXCHANGE)
		return;
	if (!c->eof_seen)
		client_start_reading(c);
	else if (c->gone && !exchange_is_behind(c->forward))
		client_close(c, "the client disconnected");
}

static void
on_forward_moved(void *arg)
{
	client_note(arg);
}

static void
on_forward_done(void *arg, bool keep_alive)
{
	struct client *c = arg;

	if (!keep_alive || (c->eof_seen && c->len == 0)) {
		client_linger(c);
		return;
	}
	c->state = CLIENT_NEGOTIATING;
	c->head_begun = false;
	client_arm(c, LIMIT_IDLE_TIME);
	if (!c->eof_seen)
		client_start_reading(c);
	client_process(c);
	if (c->eof_seen && !c->closing && c->state == CLIENT_NEGOTIATING)
		client_linger(c); /* the rest of this head will not come */
}

/* With nothing queued libuv's request would do the same, a turn later. */
static void
on_forward_last(void *arg)
{
	struct client *c = arg;
	uv_os_fd_t fd;

	if (uv_fileno((uv_handle_t *)&c->relay.tcp, &fd) == 0)
		shutdown(fd, SHUT_WR);
}

static void
on_forward_switched(void *arg, struct quic_stream *stream)
{
	client_tunnel_switch(arg, stream);
}

static void
on_forward_refused(void *arg, const struct connect_error *refusal)
{
	client_http_refuse(arg, refusal);
}

/* What was answered so far must not look like all of it. */
static void
on_forward_broken(void *arg, const char *reason)
{
	struct client *c = arg;
	uv_stream_t *tcp = (uv_stream_t *)&c->relay.tcp;

	c->relay.cut_short = true;
	if (uv_stream_get_write_queue_size(tcp) > 0) {
		client_close(c, reason);
		return;
	}
	c->state = CLIENT_LINGERING;
	uv_timer_stop(&c->timer);
	relay_end(&c->relay, reason);
}

/* It may be in the middle of its next head, or have its password checked. */
static void
on_forward_left(void *arg)
{
	struct client *c = arg;

	if (c->state != CLIENT_NEGOTIATING && c->state != CLIENT_CHECKING &&
	    c->state != CLIENT_EXCHANGE)
		return;
	users_check_cancel(c->check);
	c->check = NULL;
	client_log_end(c, "the origin has closed an authenticated connection");
	client_linger(c);
}

/* The origin is still to get what the client has sent. */
static void
on_forward_unwanted(void *arg)
{
	struct client *c = arg;

	if (c->eof_seen)
		client_close(c, "the client disconnected");
	else
		client_wind_up(c);
}

static const struct exchange_events exchange_events = {
	.writable = on_forward_writable,
	.moved = on_forward_moved,
	.done = on_forward_done,
	.last = on_forward_last,
	.switched = on_forward_switched,
	.refused = on_forward_refused,
	.broken = on_forward_broken,
	.left = on_forward_left,
	.unwanted = on_forward_unwanted,
};

static void
begin_exchange(struct client *c, const struct http1_request *req, size_t head)
{
	int rv = 0;

	if (c->origin.crowded) {
		client_http_refuse(c, &client_crowded);
		return;
	}
	if (c->forward == NULL)
		rv = exchange_new(&c->forward, &c->relay.tcp, c->host->pool,
		    c->host->via, &exchange_events, c);
	if (rv == 0)
		rv = exchange_request(c->forward, req);
	if (rv == -ELOOP)
		client_http_error(c, 400, "Max-Forwards does not let the "
		    "request go beyond this proxy");
	else if (rv != 0)
		client_http_error(c, 500, "the proxy is out of memory");
	if (rv != 0)
		return;
	c->target = req->authority;
	c->state = CLIENT_EXCHANGE;
	client_arm(c, LIMIT_TUNNEL_TIME);
	client_drop(c, head);
}

/* The client is at fault if it owes something of its request. */
void
client_http_idle(struct client *c)
{
	bool complete = exchange_request_complete(c->forward);
	bool unanswered = exchange_unanswered(c->forward);

	exchange_abandon(c->forward);
	if (!unanswered)
		on_forward_broken(c, "the exchange was idle");
	else if (complete)
		client_http_error(c, 504,
		    "the origin did not answer within the tunnel-timeout");
	else
		client_http_error(c, 408,
		    "the request was not complete within the tunnel-timeout");
}

/* A head that is typed by hand, for one. */
void
client_http_slow(struct client *c)
{
	char text[128];

	snprintf(text, sizeof(text), "the request was not complete within %u "
	    "seconds: its head ends with an empty line (head-timeout)",
	    (unsigned)c->host->limits->v[LIMIT_HEAD_TIME].max);
	client_http_error(c, 408, text);
}

static void
refuse_body(struct client *c, int error)
{
	char text[CHUNKED_WHY_MAX + 64], why[CHUNKED_WHY_MAX];

	if (error == -ENOMEM) {
		client_http_error(c, 503, "the proxy is out of memory");
		return;
	}
	exchange_why(c->forward, why);
	snprintf(text, sizeof(text), "the request's body is malformed: %s",
	    why);
	client_http_error(c, 400, text);
}

bool
client_http_exchange(struct client *c)
{
	ssize_t n = exchange_feed(c->forward, (uint8_t *)c->buf, c->len);

	if (c->closing || c->state != CLIENT_EXCHANGE)
		return false;
	if (n < 0 && !exchange_unanswered(c->forward)) {
		on_forward_broken(c, "the request's body is malformed");
		return false;
	}
	if (n < 0) {
		refuse_body(c, (int)n);
		return false;
	}
	client_drop(c, (size_t)n);
	exchange_fed(c->forward);
	if (c->closing || c->state != CLIENT_EXCHANGE)
		return false;
	if (c->len > 0)
		relay_read_stop(&c->relay);
	return n > 0;
}

/* ---- The head ---- */

static void
answer_page(struct client *c, const struct http1_request *req)
{
	struct sockaddr_storage local = { 0 };
	int len = sizeof(local);
	char page[PAGE_MAX];

	uv_tcp_getsockname(&c->relay.tcp, (struct sockaddr *)&local, &len);
	client_say_last(c, page, page_answer(req, (struct sockaddr *)&local,
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
		client_http_error(c, 407,
		    "this proxy requires a user name and a password");
		return false;
	}
	if (basic_parse(field->value.p, field->value.len, &credentials) != 0) {
		client_http_error(c, 407, "this proxy accepts only Basic "
		    "authentication");
		return false;
	}
	client_check(c, &credentials);
	explicit_bzero(&credentials, sizeof(credentials));
	return c->authorized;
}

/* The length of the request head, or 0: more bytes are needed, or all over. */
static size_t
parse_head(struct client *c, struct http1_request *req)
{
	int head = http1_request_parse(req, c->buf, c->len, &c->scanned);
	int status = head < 0 ? http1_error_status(head) : 0;
	char text[HTTP1_WHY_MAX + 64];

	if (limits_hit(c->host->limits, LIMIT_HEAD,
		head > 0 ? (size_t)head - 1 : c->len - 1) && status == 0) {
		status = 431;
		snprintf(req->head.why, sizeof(req->head.why),
		    "the head is longer than the %ju bytes of head-max",
		    (uintmax_t)c->host->limits->v[LIMIT_HEAD].max);
	}
	if (status == 0)
		return (size_t)head;
	snprintf(text, sizeof(text), "the client's request cannot be served: "
	    "%s", req->head.why);
	client_http_error(c, status, text);
	return 0;
}

bool
client_http_step(struct client *c)
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
		client_drop(c, head);
		client_tunnel_open(c, &req.authority);
	} else
		begin_exchange(c, &req, head);
	return true;
}
