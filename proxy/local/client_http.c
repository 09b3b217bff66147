/*
 * The front ends for HTTP/1.1: CONNECT opens a tunnel, a request in the
 * absolute form becomes an exchange (http/exchange.c), and one in the origin
 * form gets the proxy's own page. The session is a struct exchange, from the
 * client's first one on.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "proxy/base/basic.h"
#include "proxy/http1/http1.h"
#include "proxy/local/client_internal.h"
#include "proxy/local/http/exchange.h"
#include "proxy/local/builtin_pages.h"
#include "proxy/local/error_page.h"
#include "proxy/local/http_status.h"
#include "proxy/base/log.h"

/* ---- Refusals ---- */

/* Answers with the page and ends. */
static void
respond_page(struct client *c, const struct error_page *page)
{
	char response[ERROR_PAGE_MAX];

	client_write_last(c, response,
	    error_page_write(page, c->head_only, response), page->text);
}

static void
respond_error(struct client *c, int status, const char *text)
{
	respond_page(c, &(struct error_page){ status, text });
}

static void
http_refused(struct client *c, const struct connect_error *error)
{
	client_log_end(c, error->text + error->cause);
	respond_error(c, http_status_of(error), error->text);
}

/* ---- The exchange ---- */

static void
on_exchange_writable(void *arg)
{
	struct client *c = arg;

	client_process(c);
	if (c->closing || c->state != CLIENT_EXCHANGE)
		return;
	if (!c->eof_seen)
		client_start_reading(c);
	else if (c->flushing && !exchange_awaits_origin(c->session))
		client_close(c, "the client disconnected");
}

static void
on_exchange_moved(void *arg)
{
	client_update_traffic(arg);
}

static void
on_exchange_done(void *arg, bool keep_alive)
{
	struct client *c = arg;

	if (!keep_alive || (c->eof_seen && c->len == 0)) {
		client_linger(c);
		return;
	}
	c->state = CLIENT_NEGOTIATING;
	c->head_begun = false;
	client_start_timer(c, LIMIT_IDLE_TIME);
	if (!c->eof_seen)
		client_start_reading(c);
	client_process(c);
	if (c->eof_seen && !c->closing && c->state == CLIENT_NEGOTIATING)
		client_linger(c); /* this request stays incomplete */
}

/* A uv_shutdown() would do the same, but one loop iteration later. */
static void
on_exchange_response_done(void *arg)
{
	struct client *c = arg;
	uv_os_fd_t fd;

	if (uv_fileno((uv_handle_t *)&c->relay.tcp, &fd) == 0)
		shutdown(fd, SHUT_WR);
}

static void
on_exchange_switched(void *arg, struct stream *stream)
{
	struct client *c = arg;
	uint64_t up, down;

	exchange_bytes(c->session, &up, &down);
	exchange_free(c->session);
	c->session = NULL;
	client_tunnel_switch(c, stream, up, down);
}

static void
on_exchange_refused(void *arg, const struct connect_error *error)
{
	http_refused(arg, error);
}

/* The client must not take the part of the response for all of it. */
static void
on_exchange_truncated(void *arg, const char *reason)
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

/* The client may be sending its next request, or have its password checked. */
static void
on_exchange_pinned_closed(void *arg)
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

/* What the client has sent goes on to the origin. */
static void
on_exchange_response_dropped(void *arg)
{
	struct client *c = arg;

	if (c->eof_seen)
		client_close(c, "the client disconnected");
	else
		client_flush(c);
}

static const struct exchange_events exchange_events = {
	.writable = on_exchange_writable,
	.moved = on_exchange_moved,
	.done = on_exchange_done,
	.response_done = on_exchange_response_done,
	.switched = on_exchange_switched,
	.refused = on_exchange_refused,
	.truncated = on_exchange_truncated,
	.pinned_closed = on_exchange_pinned_closed,
	.response_dropped = on_exchange_response_dropped,
};

static void
begin_exchange(struct client *c, const struct http1_request *req, size_t head)
{
	struct exchange *exchange = c->session;
	int rv = 0;

	if (c->source.over_limit) {
		http_refused(c, &client_over_limit);
		return;
	}
	if (exchange == NULL)
		rv = exchange_new(&exchange, &c->relay.tcp, c->clients->routes,
		    c->source.listener, c->clients->via, &exchange_events, c);
	c->session = exchange;
	if (rv == 0)
		rv = exchange_request(exchange, req);
	if (rv == -ELOOP)
		respond_page(c, &error_page_max_forwards);
	else if (rv != 0)
		respond_page(c, &error_page_no_memory);
	if (rv != 0)
		return;
	c->target = req->authority;
	c->state = CLIENT_EXCHANGE;
	client_start_timer(c, LIMIT_TUNNEL_TIME);
	client_consume(c, head);
}

/* The client is at fault if its request is not complete. */
static void
exchange_idle(struct client *c)
{
	bool complete = exchange_request_complete(c->session);
	bool unanswered = exchange_unanswered(c->session);

	exchange_abandon(c->session);
	if (!unanswered)
		on_exchange_truncated(c, "the exchange was idle");
	else if (complete)
		respond_page(c, &error_page_response_timeout);
	else
		respond_page(c, &error_page_request_timeout);
}

/* For example, a request that is typed by hand. */
static void
request_slow(struct client *c)
{
	char text[128];

	snprintf(text, sizeof(text),
	    "the request was not complete within %u "
	    "seconds: its head ends with an empty line (head-timeout)",
	    (unsigned)c->clients->limits->v[LIMIT_HEAD_TIME].max);
	respond_error(c, 408, text);
}

static void
refuse_body(struct client *c, int error)
{
	char text[CHUNKED_WHY_MAX + 64], why[CHUNKED_WHY_MAX];

	if (error == -ENOMEM) {
		respond_page(c, &error_page_no_memory);
		return;
	}
	exchange_body_error(c->session, why);
	snprintf(text, sizeof(text), "the request's body is malformed: %s",
	    why);
	respond_error(c, 400, text);
}

/* The body of the request. False: no more of it can be taken now. */
static bool
body_step(struct client *c)
{
	ssize_t n = exchange_feed(c->session, (uint8_t *)c->buf, c->len);

	if (c->closing || c->state != CLIENT_EXCHANGE)
		return false;
	if (n < 0 && !exchange_unanswered(c->session)) {
		on_exchange_truncated(c, "the request's body is malformed");
		return false;
	}
	if (n < 0) {
		refuse_body(c, (int)n);
		return false;
	}
	client_consume(c, (size_t)n);
	exchange_fed(c->session);
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
	char page[BUILTIN_PAGES_MAX];

	uv_tcp_getsockname(&c->relay.tcp, (struct sockaddr *)&local, &len);
	client_write_last(c, page,
	    builtin_pages_answer(req, (struct sockaddr *)&local,
		c->clients->users != NULL, c->clients->routes->rules, page),
	    "asked for the proxy's own page");
}

/*
 * Whether the request may pass. If not, it is refused, or its password is being
 * checked.
 */
static bool
is_authorized(struct client *c, const struct http1_request *req)
{
	const struct http1_field *field;
	struct credentials credentials;

	if (c->clients->users == NULL || c->authorized || c->source.over_limit)
		return true;
	field = http1_find(&req->head, "proxy-authorization");
	if (field == NULL) {
		respond_page(c, &error_page_password_required);
		return false;
	}
	if (basic_parse(field->value.p, field->value.len, &credentials) != 0) {
		respond_page(c, &error_page_not_basic);
		return false;
	}
	client_check_password(c, &credentials);
	explicit_bzero(&credentials, sizeof(credentials));
	return c->authorized;
}

/*
 * Whether the client may send this request now; NULL: something that is none.
 * If not, it has no answer, since it asks for nothing.
 */
static bool
may_follow(struct client *c, const struct http1_request *req)
{
	if (c->session == NULL || exchange_may_follow(c->session, req))
		return true;
	client_log_end(c, "the client sends content that was declined (417)");
	client_linger(c);
	return false;
}

/*
 * The length of the request's header section, or 0: more bytes are needed, or
 * the request is refused.
 */
static size_t
parse_head(struct client *c, struct http1_request *req)
{
	int head = http1_request_parse(req, c->buf, c->len, &c->scanned);
	int status = head < 0 ? http1_error_status(head) : 0;
	char text[HTTP1_WHY_MAX + 64];

	if (limits_hit(c->clients->limits, LIMIT_HEAD,
		head > 0 ? (size_t)head - 1 : c->len - 1) &&
	    status == 0) {
		status = 431;
		snprintf(req->head.why, sizeof(req->head.why),
		    "the head is longer than the %ju bytes of head-max",
		    (uintmax_t)c->clients->limits->v[LIMIT_HEAD].max);
	}
	if (status == 0)
		return (size_t)head;
	if (!may_follow(c, NULL))
		return 0;
	snprintf(text, sizeof(text),
	    "the client's request cannot be served: "
	    "%s",
	    req->head.why);
	respond_error(c, status, text);
	return 0;
}

static bool
head_step(struct client *c)
{
	struct http1_request req;
	size_t head;

	c->head_only = false;
	if ((head = parse_head(c, &req)) == 0)
		return false;
	c->head_only = slice_is(req.method, "HEAD");
	if (!may_follow(c, &req))
		return false;
	c->frontend = req.form == HTTP1_AUTHORITY ? &frontend_connect
						  : &frontend_http;
	if (req.form == HTTP1_ORIGIN || req.form == HTTP1_ASTERISK) {
		answer_page(c, &req);
		return false;
	}
	if (!is_authorized(c, &req))
		return false;
	c->authorized = false;
	if (req.form == HTTP1_AUTHORITY) {
		client_consume(c, head);
		client_tunnel_open(c, &req.authority);
	} else
		begin_exchange(c, &req, head);
	return true;
}

/* ---- The front ends ---- */

static bool
http_step(struct client *c)
{
	return c->state == CLIENT_EXCHANGE ? body_step(c) : head_step(c);
}

static void
http_checked(struct client *c, enum users_verdict verdict)
{
	c->authorized = verdict == USERS_RIGHT;
	if (verdict == USERS_WRONG)
		respond_page(c, &error_page_password_wrong);
	else if (verdict == USERS_OVERLOAD)
		http_refused(c, &client_overloaded);
}

static bool
http_opened(struct client *c)
{
	static const char established[] =
	    "HTTP/1.1 200 Connection established\r\n\r\n";

	return client_write(c, established, sizeof(established) - 1);
}

static bool
http_expired(struct client *c, enum limit limit)
{
	if (c->state == CLIENT_EXCHANGE)
		exchange_idle(c);
	else if (limit == LIMIT_HEAD_TIME)
		request_slow(c);
	else
		return false;
	return true;
}

static void
http_end(struct client *c)
{
	exchange_free(c->session);
	c->session = NULL;
}

static bool
http_awaits_tunnel(const struct client *c)
{
	return exchange_awaits_tunnel(c->session);
}

static bool
http_awaits_response(const struct client *c)
{
	return exchange_request_complete(c->session);
}

static bool
http_awaits_origin(const struct client *c)
{
	return exchange_awaits_origin(c->session);
}

static void
http_bytes(const struct client *c, uint64_t *up, uint64_t *down)
{
	if (c->session != NULL)
		exchange_bytes(c->session, up, down);
}

/* A client counts as `http` until it sends CONNECT. */
#define HTTP_FRONTEND(NAME) \
	{ \
		.name = NAME, .step = http_step, .checked = http_checked, \
		.opened = http_opened, .refused = http_refused, \
		.expired = http_expired, .end = http_end, \
		.awaits_tunnel = http_awaits_tunnel, \
		.awaits_response = http_awaits_response, \
		.awaits_origin = http_awaits_origin, .bytes = http_bytes, \
	}

const struct frontend frontend_connect = HTTP_FRONTEND("connect");
const struct frontend frontend_http = HTTP_FRONTEND("http");
