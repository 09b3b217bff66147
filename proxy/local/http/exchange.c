/*
 * Requests and the tunnels that they take, one at a time.
 *
 *	IDLE ── exchange_request ──▶ OPENING ── on_opened ──▶ CARRYING
 *	 ▲ │                         │   ▲                    ▲  │
 *	 │ └── the tunnel was kept ──┼───┼────────────────────┘  │
 *	 │                           │   └── ... and was stale ──┤
 *	 ├── refused ────────────────┘                           │
 *	 └── done, switched, refused, truncated, pinned_closed ──┘
 *
 * While CARRYING, the request goes from exchange_feed into the stream and the
 * response from the stream to the client, each at its own pace. The origin may
 * respond before it has the whole request, which then goes on: the exchange is
 * over when both are complete, or when the origin is gone. After 101 the client
 * takes over the tunnel, for the protocol that follows.
 *
 * An IDLE exchange keeps the tunnel if the origin would take another request on
 * it. But the origin may close it at any moment, and then it is unknown whether
 * the origin has received a request that was on its way. So a kept tunnel is
 * only for requests that may be sent twice; if it ends without a byte of a
 * response, or with bytes that are not HTTP, the request goes over a tunnel of
 * its own.
 *
 * A request whose expectation fails (417) ends without its body, and the client
 * may repeat it. But the client may just as well send the body now, and content
 * must not become requests: so the connection carries only the same request
 * once more.
 *
 * That does not hold for a tunnel that the client has authenticated, or begins
 * to: see pinned.h. All requests to its origin take it, and its end is the end
 * of the client's connection, as if there were no proxy.
 */
#include <errno.h>
#include <stdlib.h>

#include "proxy/local/http/exchange.h"
#include "proxy/local/http/pinned.h"
#include "proxy/local/http/request.h"
#include "proxy/local/http/response.h"

enum state { IDLE, OPENING, CARRYING };

struct exchange {
	const struct routes *routes;
	unsigned listener;   /* that the client came to */
	unsigned generation; /* of the rules by which it has tunnels */
	const struct exchange_events *events;
	void *arg;
	enum state state;
	bool freed; /* the memory waits for a write */

	struct tunnel_request tunnel;
	struct target origin; /* of the tunnel, or of the one to open */
	struct stream stream; /* open if it has a tunnel */
	struct pinned pinned; /* tunnels to other origins, for later */
	bool pinned_closed; /* a tunnel that the client authenticated is gone */
	bool reused;	    /* the tunnel has carried a request before */
	bool was_reset;	    /* the stream: no more bytes will come */
	bool stopped;	    /* the stream takes no more bytes */
	bool response_dropped; /* the client takes no more of it */
	bool response_done;    /* the client has all of it ... */
	bool half_closed;      /* ... and no other response follows */
	char *repeat;	       /* the only request that may follow; NULL: any */

	struct request request;
	struct response response;
};

static const char reset_by_origin[] = "it reset the connection";

static bool
is_pinned(const struct exchange *e)
{
	return stream_is_open(&e->stream) && e->response.pinned;
}

/* ---- The tunnel ---- */

static const struct tunnel_request_events tunnel_request_events;
static const struct stream_events stream_events;

static void
open_tunnel(struct exchange *e)
{
	e->state = OPENING;
	e->reused = e->response.reused = false;
	outbound_open(route(e->routes, e->listener, &e->origin), &e->tunnel,
	    TUNNEL_TCP, &e->origin, &tunnel_request_events, e);
}

static void
take_stream(struct exchange *e, struct stream *stream)
{
	stream_attach(&e->stream, stream, &stream_events, e);
	e->was_reset = e->stopped = false;
	response_set_stream(&e->response, &e->stream);
}

/* The stream has ended, or has another owner. */
static void
forget_stream(struct exchange *e)
{
	e->was_reset = e->stopped = false;
	response_set_stream(&e->response, NULL);
}

/* Ends a tunnel whose origin has no response outstanding. */
static void
release_tunnel(struct exchange *e)
{
	e->pinned_closed = e->pinned_closed || is_pinned(e);
	if (!stream_is_open(&e->stream))
		return;
	stream_finish(&e->stream);
	stream_release(&e->stream);
	forget_stream(e);
}

/*
 * Breaks off: the origin receives what was sent, and must not take it for a
 * whole request.
 */
static void
reset_tunnel(struct exchange *e)
{
	e->pinned_closed = e->pinned_closed || is_pinned(e);
	if (!stream_is_open(&e->stream))
		return;
	stream_flush_and_reset(&e->stream, STREAM_CANCELLED);
	forget_stream(e);
}

/* After a response: keeps the tunnel if it can be used again. */
static void
keep_tunnel(struct exchange *e)
{
	struct iovec excess;

	if (e->was_reset || e->stopped || !request_sent(&e->request) ||
	    stream_peek(&e->stream, &excess, 1) > 0)
		reset_tunnel(e);
	else if (!e->response.origin_keep_alive || stream_ended(&e->stream))
		release_tunnel(e);
}

/* ---- The end of an exchange ---- */

static void
finish(struct exchange *e)
{
	e->state = IDLE;
	request_end(&e->request);
}

/* Ends an exchange that is not complete, without an event. */
static void
abandon(struct exchange *e)
{
	reset_tunnel(e);
	finish(e);
}

static void
refuse(struct exchange *e, const char *why)
{
	struct connect_error error;

	connect_error_set_target(&error, &e->origin,
	    CONNECT_ERROR_HTTP_RESPONSE_INCOMPLETE, why);
	e->events->refused(e->arg, &error);
}

/* The tunnel has failed. The last call in its caller. */
static void
fail(struct exchange *e, const char *why)
{
	bool stale = e->reused &&
	    (!e->response.received || e->response.unrelated);

	if (e->response_done && !e->response.switched) {
		abandon(e);
		e->events->done(e->arg, false);
		return;
	}
	if (stale && !e->pinned_closed && !is_pinned(e)) {
		reset_tunnel(e);
		request_rewind(&e->request);
		open_tunnel(e);
		return;
	}
	abandon(e);
	if (e->response.answered)
		e->events->truncated(e->arg, why);
	else if (stale)
		e->events->pinned_closed(e->arg);
	else
		refuse(e, why);
}

/* The client takes no more, and its request is not complete. */
static void
drop_response(struct exchange *e)
{
	struct iovec iov;

	while (stream_peek(&e->stream, &iov, 1) > 0)
		stream_consume(&e->stream, iov.iov_len);
	if (e->response_dropped)
		return;
	e->response_dropped = true;
	e->events->response_dropped(e->arg);
}

/* The client takes over the tunnel. The last call in its caller. */
static void
switch_protocol(struct exchange *e)
{
	struct stream stream;

	stream_move(&stream, &e->stream);
	forget_stream(e);
	finish(e);
	e->events->switched(e->arg, &stream);
}

/* Response and request are complete. The last call in its caller. */
static void
complete(struct exchange *e)
{
	if (e->response.switched) {
		switch_protocol(e);
		return;
	}
	keep_tunnel(e);
	if (e->response.repeat && !e->request.body.complete) {
		e->repeat = e->request.line;
		e->request.line = NULL;
	}
	finish(e);
	e->events->done(e->arg,
	    e->response.client_keep_alive && !e->half_closed &&
		!e->pinned_closed);
}

/* Whether no other response can follow on the client's connection. */
static bool
is_last(const struct exchange *e)
{
	return !e->response.switched &&
	    (stream_ended(&e->stream) || e->response.declined ||
		e->response.framing == HTTP1_UNTIL_CLOSE);
}

/*
 * The client has its response, and its request goes on until that is complete
 * or the origin is gone. The last call in its caller.
 */
static void
finish_request(struct exchange *e)
{
	e->response_done = true;
	if (e->response.switched && e->was_reset)
		fail(e, reset_by_origin);
	else if (request_sent(&e->request) ||
	    (e->response.repeat && e->request.body_held))
		complete(e);
	else if (e->was_reset || e->stopped)
		fail(e, reset_by_origin);
	else if (!e->half_closed && is_last(e)) {
		e->half_closed = true;
		e->events->response_done(e->arg);
	}
}

/* Moves the response. The last call in its caller. */
static void
pump(struct exchange *e)
{
	enum response_state state;

	if (e->response_dropped) {
		drop_response(e);
		return;
	}
	state = response_pump(&e->response);
	e->events->moved(e->arg);
	switch (state) {
	case RESPONSE_PENDING:
		if (e->was_reset && !e->response.writing)
			fail(e, reset_by_origin);
		break;
	case RESPONSE_FAILED:
		if (e->response.client_lost && !e->request.body.complete)
			drop_response(e);
		else
			fail(e, e->response.why);
		break;
	case RESPONSE_DONE:
		finish_request(e);
		break;
	}
}

static void
destroy(struct exchange *e)
{
	response_fini(&e->response);
	free(e->repeat);
	free(e);
}

static void
on_written(void *arg)
{
	struct exchange *e = arg;

	if (e->freed)
		destroy(e);
	else if (e->state == CARRYING)
		pump(e);
}

/* ---- Events of the tunnel ---- */

/* Moves the request. The last call in its caller. */
static void
send_request(struct exchange *e)
{
	int rv = request_send_head(&e->request, &e->stream);

	e->events->moved(e->arg);
	if (rv < 0)
		fail(e, "out of memory");
	else if (e->response_done && request_sent(&e->request))
		complete(e);
	else if (e->request.awaits_room && request_head_sent(&e->request)) {
		e->request.awaits_room = false;
		e->events->writable(e->arg);
	}
}

/* Between two exchanges. The last call in its caller. */
static void
report_pinned_closed(struct exchange *e)
{
	if (e->pinned_closed && e->state == IDLE)
		e->events->pinned_closed(e->arg);
}

static void
on_stream_readable(void *arg)
{
	struct exchange *e = arg;

	if (e->state == CARRYING) {
		pump(e);
		return;
	}
	if (stream_ended(&e->stream))
		release_tunnel(e);
	else
		reset_tunnel(e);
	report_pinned_closed(e);
}

static void
on_stream_writable(void *arg)
{
	struct exchange *e = arg;

	if (e->state == CARRYING)
		send_request(e);
}

/* The response goes on. */
static void
on_stream_stopped(void *arg)
{
	struct exchange *e = arg;

	e->stopped = true;
	if (e->state == CARRYING) {
		if (e->response_done)
			finish_request(e);
		return;
	}
	reset_tunnel(e);
	report_pinned_closed(e);
}

/* The bytes before the reset may be a complete response. */
static void
on_stream_reset(void *arg, const char *why)
{
	struct exchange *e = arg;

	(void)why;
	e->was_reset = true;
	if (e->state == CARRYING) {
		pump(e);
		return;
	}
	reset_tunnel(e);
	report_pinned_closed(e);
}

static void
on_stream_aborted(void *arg, enum stream_end how, const char *why)
{
	struct exchange *e = arg;

	e->pinned_closed = e->pinned_closed || e->response.pinned;
	forget_stream(e);
	if (e->state == CARRYING)
		fail(e, how == STREAM_RESET ? reset_by_origin : why);
	else
		report_pinned_closed(e);
}

static void
on_pinned_lost(void *arg)
{
	struct exchange *e = arg;

	e->pinned_closed = true;
	report_pinned_closed(e);
}

static const struct stream_events stream_events = {
	.readable = on_stream_readable,
	.writable = on_stream_writable,
	.stopped = on_stream_stopped,
	.reset = on_stream_reset,
	.aborted = on_stream_aborted,
};

/*
 * A request that may be sent twice goes ahead of the edge's response. The
 * others wait: they could not be sent again if the connection were lost.
 */
static void
on_sent(void *arg, struct stream *stream)
{
	struct exchange *e = arg;

	request_rewind(&e->request);
	if (e->request.repeatable)
		request_send_head(&e->request, stream);
}

static void
on_opened(void *arg, struct stream *stream)
{
	struct exchange *e = arg;

	take_stream(e, stream);
	e->state = CARRYING;
	send_request(e);
}

static void
on_refused(void *arg, const struct connect_error *error)
{
	struct exchange *e = arg;

	finish(e);
	e->events->refused(e->arg, error);
}

static const struct tunnel_request_events tunnel_request_events = {
	.sent = on_sent,
	.opened = on_opened,
	.refused = on_refused,
};

/* ---- The functions of exchange.h ---- */

int
exchange_new(struct exchange **out, uv_tcp_t *tcp, const struct routes *routes,
    unsigned listener, bool via, const struct exchange_events *events,
    void *arg)
{
	struct exchange *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return -ENOMEM;
	e->routes = routes;
	e->listener = listener;
	e->events = events;
	e->arg = arg;
	pinned_init(&e->pinned, on_pinned_lost, e);
	e->generation = routes->generation;
	response_init(&e->response, tcp, on_written, e);
	e->response.via = via;
	*out = e;
	return 0;
}

/*
 * Puts the tunnel to the last request's origin aside if it is pinned, and takes
 * back the one that is pinned to this origin.
 */
static void
select_origin(struct exchange *e, const struct target *origin)
{
	struct stream stream;
	bool found;

	if (pinned_same_origin(&e->origin, origin))
		return;
	found = pinned_take(&e->pinned, origin, &stream);
	if (is_pinned(e)) {
		pinned_put(&e->pinned, &e->origin, e->response.handshake,
		    &e->stream);
		forget_stream(e);
	} else
		release_tunnel(e);
	e->origin = *origin;
	if (!found)
		return;
	take_stream(e, &stream);
	e->response.pinned = true;
}

/* Other rules may send their origins elsewhere. */
static void
forget_tunnels(struct exchange *e)
{
	e->generation = e->routes->generation;
	release_tunnel(e);
	e->pinned_closed = e->pinned_closed || e->pinned.n > 0;
	pinned_fini(&e->pinned);
}

static int
reuse_tunnel(struct exchange *e)
{
	int rv;

	e->state = CARRYING;
	rv = request_send_head(&e->request, &e->stream);
	if (rv < 0)
		abandon(e);
	return rv;
}

bool
exchange_may_follow(const struct exchange *e, const struct http1_request *req)
{
	return e->repeat == NULL ||
	    (req != NULL && req->form == HTTP1_ABSOLUTE &&
		request_is(e->repeat, req) &&
		pinned_same_origin(&e->origin, &req->authority));
}

int
exchange_request(struct exchange *e, const struct http1_request *req)
{
	int rv;

	rv = request_begin(&e->request, req, e->response.via);
	if (rv < 0)
		return rv;
	/* Content that looks like the request may have a second one in it. */
	if (e->repeat != NULL)
		e->request.keep_alive = false;
	free(e->repeat);
	e->repeat = NULL;
	response_begin(&e->response, &e->request);
	e->response_done = e->half_closed = false;
	if (e->generation != e->routes->generation)
		forget_tunnels(e);
	select_origin(e, &req->authority);
	e->reused = stream_is_open(&e->stream) &&
	    (e->request.repeatable || e->response.pinned);
	e->response.reused = e->reused && !e->response.pinned;
	if (e->reused)
		return reuse_tunnel(e);
	release_tunnel(e);
	open_tunnel(e);
	return 0;
}

bool
exchange_awaits_origin(struct exchange *e)
{
	if (e->state == IDLE)
		return false;
	if (e->state == OPENING || !request_head_sent(&e->request))
		e->request.awaits_room = true;
	return e->request.awaits_room;
}

bool
exchange_awaits_tunnel(const struct exchange *e)
{
	return e->state == OPENING;
}

void
exchange_abandon(struct exchange *e)
{
	outbound_cancel(&e->tunnel);
	abandon(e);
}

ssize_t
exchange_feed(struct exchange *e, const uint8_t *data, size_t len)
{
	ssize_t n;

	if (e->state == IDLE || e->request.body.complete)
		return 0;
	if (e->state == OPENING || !request_head_sent(&e->request)) {
		e->request.awaits_room = true;
		return 0;
	}
	n = request_feed(&e->request, &e->stream, data, len);
	if (n < 0)
		abandon(e);
	return n;
}

void
exchange_fed(struct exchange *e)
{
	if (e->state == CARRYING && e->response_done &&
	    request_sent(&e->request))
		complete(e);
}

void
exchange_body_error(const struct exchange *e, char out[CHUNKED_WHY_MAX])
{
	chunked_why(&e->request.body.chunked, out);
}

bool
exchange_unanswered(const struct exchange *e)
{
	return !e->response.answered;
}

bool
exchange_request_complete(const struct exchange *e)
{
	return e->request.body.complete;
}

void
exchange_free(struct exchange *e)
{
	if (e == NULL)
		return;
	outbound_cancel(&e->tunnel);
	pinned_fini(&e->pinned);
	if (e->state == IDLE)
		release_tunnel(e);
	abandon(e);
	e->freed = true;
	if (!e->response.writing)
		destroy(e);
}

void
exchange_bytes(const struct exchange *e, uint64_t *up, uint64_t *down)
{
	*up = e->request.written;
	*down = e->response.written;
}
