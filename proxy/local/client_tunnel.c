/*
 * The tunnel of a client: what it says ahead of the edge's answer, and how it
 * is told of that.
 */
#include <stdlib.h>

#include "proxy/local/client_internal.h"
#include "proxy/local/http/exchange.h"
#include "proxy/local/socks.h"

/* Passes on what the client has said after its request. False: no memory. */
static bool
pass_on(struct client *c, struct quic_stream *stream)
{
	c->said += quic_stream_push(stream, c->buf + c->said,
	    c->len - c->said);
	c->relay.to_stream = c->said;
	client_note(c);
	return c->said == c->len;
}

void
client_tunnel_say_ahead(struct client *c)
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
	client_tunnel_say_ahead(c);
}

static void
start(struct client *c, struct quic_stream *stream)
{
	client_free_buffer(c);
	c->state = CLIENT_TUNNEL;
	client_arm(c, LIMIT_TUNNEL_TIME);
	relay_start(&c->relay, stream);
}

static void
fail(struct client *c, struct quic_stream *stream, const char *reason)
{
	quic_stream_reset(stream, QUIC_H3_REQUEST_CANCELLED);
	c->relay.cut_short = true;
	client_close(c, reason);
}

static void
on_opened(void *arg, struct quic_stream *stream)
{
	static const char established[] =
	    "HTTP/1.1 200 Connection established\r\n\r\n";
	struct client *c = arg;
	bool ok;

	if (client_is_http(c))
		ok = client_say(c, established, sizeof(established) - 1);
	else {
		socks_reply(c->socks, SOCKS_SUCCEEDED);
		ok = client_say(c, c->socks->out, c->socks->outlen);
		free(c->socks);
		c->socks = NULL;
	}
	if (!ok)
		fail(c, stream, "the client disconnected");
	else if (!pass_on(c, stream))
		fail(c, stream, "out of memory");
	else
		start(c, stream);
}

/* The bytes of the exchange are the tunnel's, too. */
void
client_tunnel_switch(struct client *c, struct quic_stream *stream)
{
	size_t n = quic_stream_push(stream, c->buf, c->len);

	exchange_bytes(c->forward, &c->relay.to_stream, &c->relay.to_tcp);
	c->relay.to_stream += n;
	exchange_free(c->forward);
	c->forward = NULL;
	client_note(c);
	if (n == c->len)
		start(c, stream);
	else
		fail(c, stream, "out of memory");
}

static void
on_refused(void *arg, const struct connect_error *refusal)
{
	struct client *c = arg;

	if (client_is_http(c)) {
		client_http_refuse(c, refusal);
		return;
	}
	client_log_end(c, refusal->text + refusal->cause);
	socks_reply(c->socks, socks_code_of(refusal));
	client_socks_say_last(c);
}

static const struct tunnel_request_events tunnel_request_events = {
	.asked = on_asked,
	.opened = on_opened,
	.refused = on_refused,
};

const struct connect_error client_crowded = {
	.type = CONNECT_ERROR_CLIENT_LIMIT,
	.text = "too many connections from this address"
};

const struct connect_error client_overloaded = {
	.type = CONNECT_ERROR_OVERLOADED,
	.text = "the password was not checked because too many checks are "
		"waiting; try again in a few seconds"
};

void
client_tunnel_open(struct client *c, const struct target *target)
{
	c->target = *target;
	if (c->origin.crowded || c->overloaded) {
		on_refused(c, c->overloaded ? &client_overloaded
					    : &client_crowded);
		return;
	}
	c->state = CLIENT_WAITING;
	uv_timer_stop(&c->timer);
	pool_open(
	    c->host->pool, &c->ticket, &c->target, &tunnel_request_events, c);
}
