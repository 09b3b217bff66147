#include "proxy/local/outbound/outbound.h"

void
outbound_open(struct outbound *outbound, struct tunnel_request *t,
    enum tunnel_kind kind, const struct target *target,
    const struct tunnel_request_events *events, void *arg)
{
	*t = (struct tunnel_request){ .kind = kind,
		.target = target,
		.events = events,
		.arg = arg,
		.outbound = outbound };
	outbound->ops->open(outbound->provider, t);
}

void
outbound_cancel(struct tunnel_request *t)
{
	struct outbound *outbound = t->outbound;

	t->outbound = NULL;
	if (outbound != NULL)
		outbound->ops->cancel(outbound->provider, t);
}

void
tunnel_request_opened(struct tunnel_request *t, struct stream *stream)
{
	t->outbound = NULL;
	t->events->opened(t->arg, stream);
}

void
tunnel_request_refused(struct tunnel_request *t,
    const struct connect_error *error)
{
	t->outbound = NULL;
	t->events->refused(t->arg, error);
}
