/*
 * Requests and the tunnels that they take, one at a time.
 *
 *	IDLE ── exchange_request ──▶ OPENING ── on_opened ──▶ CARRYING
 *	 ▲ │                         │   ▲                    ▲  │
 *	 │ └── the tunnel was kept ──┼───┼────────────────────┘  │
 *	 │                           │   └── ... and was stale ──┤
 *	 ├── refused ────────────────┘                           │
 *	 └── done, switched, refused, broken, left ──────────────┘
 *
 * While CARRYING, the request goes from exchange_feed into the stream and the
 * response from the stream to the client, each at its own pace.  The origin may
 * answer before it has the whole request, which then goes on: the exchange is
 * over when both are complete, or when the origin is gone.  After 101 that is
 * when the tunnel goes to the client, for whatever protocol comes then.
 *
 * An IDLE forward keeps the tunnel if the origin would take another request
 * on it.  But the origin may close it at any moment, and then nobody knows
 * whether it has seen a request that was on its way.  So a kept tunnel is only
 * for requests that may be sent twice; if it ends without a byte of an answer,
 * or with bytes that are none, the request goes over a tunnel of its own.
 *
 * That does not hold for a tunnel that the client has authenticated, or is
 * about to: see pinned.h.  All requests to its origin take it, and its end is
 * the end of the client's connection, as if there were no proxy.
 */
#include <errno.h>
#include <stdlib.h>

#include "proxy/local/http/exchange.h"
#include "proxy/local/http/pinned.h"
#include "proxy/local/http/request.h"
#include "proxy/local/http/response.h"

enum state { IDLE, OPENING, CARRYING };

struct exchange {
	struct pool *pool;
	const struct exchange_events *events;
	void *arg;
	enum state state;
	bool freed; /* the memory waits for a write */

	struct tunnel_request tunnel;
	struct target origin; /* where the tunnel leads, or is to lead */
	struct quic_stream *stream;
	struct pinned pinned; /* tunnels that lead elsewhere, for later */
	bool left;   /* one that the client has authenticated is gone */
	bool reused; /* it has carried a request before this one */
	bool cut;    /* the stream was reset: what has come is all */
	bool stopped; /* it takes no more: nor another request */
	bool unwanted; /* the client takes no more of the response */
	bool replied;  /* it has all of the response */
	bool shut;     /* ... and was told that no other follows */

	struct request request;
	struct response response;
};

static const char was_reset[] = "it reset the connection";

static bool
is_pinned(const struct exchange *f)
{
	return f->stream != NULL && f->response.pinned;
}

/* ---- The tunnel ---- */

static const struct tunnel_request_events tunnel_request_events;

static void
open_tunnel(struct exchange *f)
{
	f->state = OPENING;
	f->reused = f->response.reused = false;
	pool_open(f->pool, &f->tunnel, &f->origin, &tunnel_request_events, f);
}

static void
set_stream(struct exchange *f, struct quic_stream *stream)
{
	f->stream = stream;
	f->cut = f->stopped = false;
	response_from(&f->response, stream);
}

/* Takes leave of an origin that owes nothing. */
static void
release_tunnel(struct exchange *f)
{
	f->left = f->left || is_pinned(f);
	if (f->stream == NULL)
		return;
	quic_stream_finish(f->stream);
	quic_stream_release(f->stream);
	set_stream(f, NULL);
}

/*
 * Breaks off: the origin gets what was sent, and must not take it for a whole
 * request.
 */
static void
reset_tunnel(struct exchange *f)
{
	f->left = f->left || is_pinned(f);
	if (f->stream == NULL)
		return;
	quic_stream_flush_and_reset(f->stream, QUIC_H3_REQUEST_CANCELLED);
	set_stream(f, NULL);
}

/* After a response: keeps the tunnel if it can be used again. */
static void
keep_tunnel(struct exchange *f)
{
	struct iovec excess;

	if (f->cut || f->stopped || !request_sent(&f->request) ||
	    quic_stream_peek(f->stream, &excess, 1) > 0)
		reset_tunnel(f);
	else if (!f->response.origin_stays || quic_stream_ended(f->stream))
		release_tunnel(f);
}

/* ---- The end of an exchange ---- */

static void
finish(struct exchange *f)
{
	f->state = IDLE;
	request_end(&f->request);
}

/* Ends an exchange that is not complete, and says nothing. */
static void
abandon(struct exchange *f)
{
	reset_tunnel(f);
	finish(f);
}

static void
refuse(struct exchange *f, const char *why)
{
	struct connect_error refusal;

	connect_error_set_target(&refusal, &f->origin,
	    CONNECT_ERROR_HTTP_RESPONSE_INCOMPLETE, why);
	f->events->refused(f->arg, &refusal);
}

/* The exchange cannot go on over this tunnel.  Last in its caller. */
static void
fail(struct exchange *f, const char *why)
{
	bool stale = f->reused &&
	    (!f->response.seen || f->response.foreign);

	if (f->replied && !f->response.switched) {
		abandon(f);
		f->events->done(f->arg, false);
		return;
	}
	if (stale && !f->left && !is_pinned(f)) {
		reset_tunnel(f);
		request_again(&f->request);
		open_tunnel(f);
		return;
	}
	abandon(f);
	if (f->response.answered)
		f->events->broken(f->arg, why);
	else if (stale)
		f->events->left(f->arg);
	else
		refuse(f, why);
}

/* The client takes no more, and the origin has yet to get the request. */
static void
drop_response(struct exchange *f)
{
	struct iovec iov;

	while (quic_stream_peek(f->stream, &iov, 1) > 0)
		quic_stream_consume(f->stream, iov.iov_len);
	if (f->unwanted)
		return;
	f->unwanted = true;
	f->events->unwanted(f->arg);
}

/* The tunnel is the client's from now on.  Last in its caller. */
static void
hand_over(struct exchange *f)
{
	struct quic_stream *stream = f->stream;

	set_stream(f, NULL);
	finish(f);
	f->events->switched(f->arg, stream);
}

/* Both are complete, response and request.  Last in its caller. */
static void
complete(struct exchange *f)
{
	if (f->response.switched) {
		hand_over(f);
		return;
	}
	keep_tunnel(f);
	finish(f);
	f->events->done(f->arg,
	    f->response.client_stays && !f->shut && !f->left);
}

/* Whether the client is to see that no other response follows. */
static bool
is_last(const struct exchange *f)
{
	return !f->response.switched && (quic_stream_ended(f->stream) ||
	    f->response.framing == HTTP1_UNTIL_CLOSE);
}

/*
 * The client has its response, and goes on with its request until that is
 * complete or the origin is gone.  Last in its caller.
 */
static void
go_on_sending(struct exchange *f)
{
	f->replied = true;
	if (f->response.switched && f->cut)
		fail(f, was_reset);
	else if (request_sent(&f->request))
		complete(f);
	else if (f->cut || f->stopped)
		fail(f, was_reset);
	else if (!f->shut && is_last(f)) {
		f->shut = true;
		f->events->last(f->arg);
	}
}

/* Moves the response.  Last in its caller. */
static void
pump(struct exchange *f)
{
	enum response_state state;

	if (f->unwanted) {
		drop_response(f);
		return;
	}
	state = response_pump(&f->response);
	f->events->moved(f->arg);
	switch (state) {
	case RESPONSE_GOES_ON:
		if (f->cut && !f->response.writing)
			fail(f, was_reset);
		break;
	case RESPONSE_FAILED:
		if (f->response.lost && !f->request.body.complete)
			drop_response(f);
		else
			fail(f, f->response.why);
		break;
	case RESPONSE_DONE:
		go_on_sending(f);
		break;
	}
}

static void
destroy(struct exchange *f)
{
	response_fini(&f->response);
	free(f);
}

static void
on_written(void *arg)
{
	struct exchange *f = arg;

	if (f->freed)
		destroy(f);
	else if (f->state == CARRYING)
		pump(f);
}

/* ---- Events of the tunnel ---- */

/* Moves the request.  Last in its caller. */
static void
send_on(struct exchange *f)
{
	int rv = request_send_head(&f->request, f->stream);

	f->events->moved(f->arg);
	if (rv < 0)
		fail(f, "out of memory");
	else if (f->replied && request_sent(&f->request))
		complete(f);
	else if (f->request.wants_room && request_head_sent(&f->request)) {
		f->request.wants_room = false;
		f->events->writable(f->arg);
	}
}

static void
on_stream_response(struct quic_stream *stream, const struct quic_head *head,
    void *arg)
{
	/* The uplink has had the head already; there is no other. */
	(void)stream, (void)head, (void)arg;
}

/* Between two exchanges.  Last in its caller. */
static void
tell_if_left(struct exchange *f)
{
	if (f->left && f->state == IDLE)
		f->events->left(f->arg);
}

static void
on_stream_readable(struct quic_stream *stream, void *arg)
{
	struct exchange *f = arg;

	if (f->state == CARRYING) {
		pump(f);
		return;
	}
	if (quic_stream_ended(stream))
		release_tunnel(f);
	else
		reset_tunnel(f);
	tell_if_left(f);
}

static void
on_stream_writable(struct quic_stream *stream, void *arg)
{
	struct exchange *f = arg;

	(void)stream;
	if (f->state == CARRYING)
		send_on(f);
}

/* The response goes on. */
static void
on_stream_stopped(struct quic_stream *stream, void *arg)
{
	struct exchange *f = arg;

	(void)stream;
	f->stopped = true;
	if (f->state == CARRYING) {
		if (f->replied)
			go_on_sending(f);
		return;
	}
	reset_tunnel(f);
	tell_if_left(f);
}

/* The response may be complete all the same. */
static void
on_stream_reset(struct quic_stream *stream, uint64_t code, void *arg)
{
	struct exchange *f = arg;

	(void)stream, (void)code;
	f->cut = true;
	if (f->state == CARRYING) {
		pump(f);
		return;
	}
	reset_tunnel(f);
	tell_if_left(f);
}

static void
on_stream_aborted(struct quic_stream *stream, uint64_t code,
    const struct quic_close *why, void *arg)
{
	struct exchange *f = arg;

	(void)stream, (void)code;
	f->left = f->left || is_pinned(f);
	set_stream(f, NULL);
	if (f->state == CARRYING)
		fail(f, why != NULL ? "the QUIC connection was lost"
				    : was_reset);
	else
		tell_if_left(f);
}

static void
on_pinned_lost(void *arg)
{
	struct exchange *f = arg;

	f->left = true;
	tell_if_left(f);
}

static const struct quic_stream_events stream_events = {
	.response = on_stream_response,
	.readable = on_stream_readable,
	.writable = on_stream_writable,
	.stopped = on_stream_stopped,
	.reset = on_stream_reset,
	.aborted = on_stream_aborted,
};

/*
 * A request that may be sent twice goes ahead of the answer. The others wait:
 * they would be lost with the connection, which so is made anew for them.
 */
static void
on_sent(void *arg, struct quic_stream *stream)
{
	struct exchange *f = arg;

	request_again(&f->request);
	if (f->request.repeatable)
		request_send_head(&f->request, stream);
}

static void
on_opened(void *arg, struct quic_stream *stream)
{
	struct exchange *f = arg;

	quic_stream_attach(stream, &stream_events, f);
	set_stream(f, stream);
	f->state = CARRYING;
	send_on(f);
}

static void
on_refused(void *arg, const struct connect_error *refusal)
{
	struct exchange *f = arg;

	finish(f);
	f->events->refused(f->arg, refusal);
}

static const struct tunnel_request_events tunnel_request_events = {
	.sent = on_sent,
	.opened = on_opened,
	.refused = on_refused,
};

/* ---- The contract ---- */

int
exchange_new(struct exchange **out, uv_tcp_t *tcp, struct pool *pool, bool via,
    const struct exchange_events *events, void *arg)
{
	struct exchange *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -ENOMEM;
	f->pool = pool;
	f->events = events;
	f->arg = arg;
	pinned_init(&f->pinned, on_pinned_lost, f);
	response_init(&f->response, tcp, on_written, f);
	f->response.via = via;
	*out = f;
	return 0;
}

/*
 * The tunnel to the origin of the last request is put aside if it was
 * authenticated, and one to this origin is taken out again.
 */
static void
turn_to(struct exchange *f, const struct target *origin)
{
	struct quic_stream *stream;

	if (pinned_same_origin(&f->origin, origin))
		return;
	stream = pinned_take(&f->pinned, origin);
	if (is_pinned(f)) {
		pinned_put(&f->pinned, &f->origin, f->response.handshake,
		    f->stream);
		set_stream(f, NULL);
	} else
		release_tunnel(f);
	f->origin = *origin;
	if (stream == NULL)
		return;
	quic_stream_attach(stream, &stream_events, f);
	set_stream(f, stream);
	f->response.pinned = true;
}

static int
reuse_tunnel(struct exchange *f)
{
	int rv;

	f->state = CARRYING;
	rv = request_send_head(&f->request, f->stream);
	if (rv < 0)
		abandon(f);
	return rv;
}

int
exchange_request(struct exchange *f, const struct http1_request *req)
{
	int rv;

	rv = request_begin(&f->request, req, f->response.via);
	if (rv < 0)
		return rv;
	response_begin(&f->response, &f->request);
	f->replied = f->shut = false;
	turn_to(f, &req->authority);
	f->reused = f->stream != NULL &&
	    (f->request.repeatable || f->response.pinned);
	f->response.reused = f->reused && !f->response.pinned;
	if (f->reused)
		return reuse_tunnel(f);
	release_tunnel(f);
	open_tunnel(f);
	return 0;
}

bool
exchange_is_behind(struct exchange *f)
{
	if (f->state == IDLE)
		return false;
	if (f->state == OPENING || !request_head_sent(&f->request))
		f->request.wants_room = true;
	return f->request.wants_room;
}

bool
exchange_is_opening(const struct exchange *f)
{
	return f->state == OPENING;
}

void
exchange_abandon(struct exchange *f)
{
	pool_cancel(&f->tunnel);
	abandon(f);
}

ssize_t
exchange_feed(struct exchange *f, const uint8_t *data, size_t len)
{
	ssize_t n;

	if (f->state == IDLE || f->request.body.complete)
		return 0;
	if (f->state == OPENING || !request_head_sent(&f->request)) {
		f->request.wants_room = true;
		return 0;
	}
	n = request_feed(&f->request, f->stream, data, len);
	if (n < 0)
		abandon(f);
	return n;
}

void
exchange_fed(struct exchange *f)
{
	if (f->state == CARRYING && f->replied && request_sent(&f->request))
		complete(f);
}

void
exchange_why(const struct exchange *f, char out[CHUNKED_WHY_MAX])
{
	chunked_why(&f->request.body.chunked, out);
}

bool
exchange_unanswered(const struct exchange *f)
{
	return !f->response.answered;
}

bool
exchange_request_complete(const struct exchange *f)
{
	return f->request.body.complete;
}

void
exchange_free(struct exchange *f)
{
	if (f == NULL)
		return;
	pool_cancel(&f->tunnel);
	pinned_fini(&f->pinned);
	if (f->state == IDLE)
		release_tunnel(f);
	abandon(f);
	f->freed = true;
	if (!f->response.writing)
		destroy(f);
}

void
exchange_bytes(const struct exchange *f, uint64_t *up, uint64_t *down)
{
	*up = f->request.written;
	*down = f->response.written;
}
