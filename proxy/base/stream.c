#include "proxy/base/stream.h"

bool
stream_is_open(const struct stream *s)
{
	return s->ops != NULL;
}

/* Ends the ownership before the last call. */
static const struct stream_ops *
end(struct stream *s)
{
	const struct stream_ops *ops = s->ops;

	s->ops = NULL;
	return ops;
}

void
stream_attach(struct stream *to, struct stream *from,
    const struct stream_events *events, void *arg)
{
	stream_move(to, from);
	to->events = events;
	to->arg = arg;
	to->ops->attach(to);
}

void
stream_move(struct stream *to, struct stream *from)
{
	*to = *from;
	end(from);
}

size_t
stream_peek(const struct stream *s, struct iovec *iov, size_t max)
{
	return s->ops->peek(s->provider, iov, max);
}

void
stream_consume(struct stream *s, size_t n)
{
	s->ops->consume(s->provider, n);
}

bool
stream_ended(const struct stream *s)
{
	return s->ops->ended(s->provider);
}

bool
stream_has_room(struct stream *s)
{
	return s->ops->has_room(s->provider);
}

void *
stream_reserve(struct stream *s, size_t *len)
{
	return s->ops->reserve(s->provider, len);
}

void
stream_commit(struct stream *s, size_t n)
{
	s->ops->commit(s->provider, n);
}

size_t
stream_push(struct stream *s, const void *data, size_t len)
{
	return s->ops->push(s->provider, data, len);
}

bool
stream_lost(const struct stream *s)
{
	return s->ops->lost(s->provider);
}

void
stream_finish(struct stream *s)
{
	s->ops->finish(s->provider);
}

void
stream_release(struct stream *s)
{
	end(s)->release(s->provider);
}

void
stream_reset(struct stream *s, enum stream_error error)
{
	end(s)->reset(s->provider, error);
}

void
stream_flush_and_reset(struct stream *s, enum stream_error error)
{
	end(s)->flush_and_reset(s->provider, error);
}

void
stream_abort_owner(struct stream *s, enum stream_end how, const char *why)
{
	end(s);
	s->events->aborted(s->arg, how, why);
}
