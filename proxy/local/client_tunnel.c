/*
 * The tunnel of a client: the request to the edge, what the client sends ahead
 * of the edge's response, and the outcome.
 */
#include "proxy/local/client_internal.h"

/* Moves what follows the request from the buffer. False: out of memory. */
static bool
send_buffered(struct client *c, struct stream *stream)
{
	c->sent_early += stream_push(stream, c->buf + c->sent_early,
	    c->len - c->sent_early);
	c->relay.to_stream = c->sent_early;
	client_update_traffic(c);
	return c->sent_early == c->len;
}

void
client_tunnel_send_early(struct client *c)
{
	send_buffered(c, &c->request.stream);
	c->request.no_retry = c->sent_early > 0;
}

static void
on_sent(void *arg, struct stream *stream)
{
	struct client *c = arg;

	(void)stream;
	c->sent_early = 0;
	client_tunnel_send_early(c);
}

static void
start(struct client *c, struct stream *stream)
{
	client_free_buffer(c);
	c->state = CLIENT_TUNNEL;
	client_start_timer(c, LIMIT_TUNNEL_TIME);
	relay_start(&c->relay, stream);
}

static void
fail(struct client *c, struct stream *stream, const char *reason)
{
	stream_reset(stream, STREAM_CANCELLED);
	c->relay.cut_short = true;
	client_close(c, reason);
}

static void
on_opened(void *arg, struct stream *stream)
{
	struct client *c = arg;

	if (!c->frontend->opened(c))
		fail(c, stream, "the client disconnected");
	else if (!send_buffered(c, stream))
		fail(c, stream, "out of memory");
	else
		start(c, stream);
}

void
client_tunnel_switch(struct client *c, struct stream *stream, uint64_t up,
    uint64_t down)
{
	size_t n = stream_push(stream, c->buf, c->len);

	c->relay.to_stream = up + n;
	c->relay.to_tcp = down;
	client_update_traffic(c);
	if (n == c->len)
		start(c, stream);
	else
		fail(c, stream, "out of memory");
}

static void
on_refused(void *arg, const struct connect_error *error)
{
	struct client *c = arg;

	c->frontend->refused(c, error);
}

static const struct tunnel_request_events tunnel_request_events = {
	.sent = on_sent,
	.opened = on_opened,
	.refused = on_refused,
};

const struct connect_error client_over_limit = {
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
	if (c->overloaded || c->source.over_limit) {
		c->frontend->refused(c,
		    c->overloaded ? &client_overloaded : &client_over_limit);
		return;
	}
	c->state = CLIENT_WAITING;
	uv_timer_stop(&c->timer);
	outbound_open(route(c->clients->routes, c->source.listener, &c->target),
	    &c->request, TUNNEL_TCP, &c->target, &tunnel_request_events, c);
}
