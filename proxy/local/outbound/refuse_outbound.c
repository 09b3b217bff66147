#include "proxy/local/outbound/refuse_outbound.h"

#include <errno.h>
#include <stdlib.h>

struct refuse_outbound {
	struct outbound outbound;
	refuse_explain *explain;
	void *arg;
	struct tunnel_request_list waiting;
	size_t nwaiting;
	uv_timer_t timer; /* runs while a request waits */
};

/* Milliseconds: libuv may run a timer of 0 in an endless loop. */
#define REFUSE_MS 1

/* Not those that come meanwhile: an owner may ask again and again. */
static void
refuse_waiting(struct refuse_outbound *r)
{
	struct connect_error error;
	struct tunnel_request *t;

	for (size_t n = r->nwaiting;
	     n > 0 && (t = TAILQ_FIRST(&r->waiting)) != NULL; n--) {
		TAILQ_REMOVE(&r->waiting, t, entry);
		r->nwaiting--;
		r->explain(r->arg, t->target, &error);
		tunnel_request_refused(t, &error);
	}
}

static void
on_timer(uv_timer_t *timer)
{
	refuse_waiting(timer->data);
}

static void
open_tunnel(void *provider, struct tunnel_request *t)
{
	struct refuse_outbound *r = provider;

	TAILQ_INSERT_TAIL(&r->waiting, t, entry);
	r->nwaiting++;
	uv_timer_start(&r->timer, on_timer, REFUSE_MS, 0);
}

static void
cancel(void *provider, struct tunnel_request *t)
{
	struct refuse_outbound *r = provider;

	TAILQ_REMOVE(&r->waiting, t, entry);
	r->nwaiting--;
}

static const struct outbound_ops ops = {
	.open = open_tunnel,
	.cancel = cancel,
};

int
refuse_outbound_new(struct refuse_outbound **out, uv_loop_t *loop,
    refuse_explain *explain, void *arg)
{
	struct refuse_outbound *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return -ENOMEM;
	r->outbound = (struct outbound){ .ops = &ops, .provider = r };
	r->explain = explain;
	r->arg = arg;
	TAILQ_INIT(&r->waiting);
	uv_timer_init(loop, &r->timer);
	r->timer.data = r;
	*out = r;
	return 0;
}

struct outbound *
refuse_outbound_get(struct refuse_outbound *r)
{
	return &r->outbound;
}

static void
on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void
refuse_outbound_free(struct refuse_outbound *r)
{
	if (r == NULL)
		return;
	refuse_waiting(r);
	uv_close((uv_handle_t *)&r->timer, on_closed);
}
