#include "proxy/base/stream_quic.h"

/* ---- Events ---- */

static void
on_readable(struct quic_stream *quic, void *arg)
{
	struct stream *s = arg;

	(void)quic;
	s->events->readable(s->arg);
}

static void
on_writable(struct quic_stream *quic, void *arg)
{
	struct stream *s = arg;

	(void)quic;
	s->events->writable(s->arg);
}

static void
on_stopped(struct quic_stream *quic, void *arg)
{
	struct stream *s = arg;

	(void)quic;
	s->events->stopped(s->arg);
}

static const char *
reason_of(uint64_t code)
{
	return code == QUIC_H3_EXCESSIVE_LOAD
	    ? "its data was not read for long, and memory ran out"
	    : "reset by the peer";
}

static void
on_reset(struct quic_stream *quic, uint64_t code, void *arg)
{
	struct stream *s = arg;

	(void)quic;
	s->events->reset(s->arg, reason_of(code));
}

static enum stream_end
end_of(const struct quic_close *why)
{
	return why->cause == QUIC_CLOSED_BY_PEER &&
		why->code == (why->application ? QUIC_H3_NO_ERROR : 0)
	    ? STREAM_CLOSED
	    : STREAM_LOST;
}

static void
on_aborted(struct quic_stream *quic, uint64_t code,
    const struct quic_close *why, void *arg)
{
	struct stream *s = arg;

	(void)quic;
	if (why == NULL)
		stream_abort_owner(s, STREAM_RESET, reason_of(code));
	else
		stream_abort_owner(s, end_of(why),
		    "the QUIC connection was lost");
}

static const struct quic_stream_events events = {
	.readable = on_readable,
	.writable = on_writable,
	.stopped = on_stopped,
	.reset = on_reset,
	.aborted = on_aborted,
};

/* ---- The calls ---- */

static void
attach(struct stream *s)
{
	quic_stream_attach(s->provider, &events, s);
}

static size_t
peek(const void *quic, struct iovec *iov, size_t max)
{
	return quic_stream_peek(quic, iov, max);
}

static void
consume(void *quic, size_t n)
{
	quic_stream_consume(quic, n);
}

static bool
ended(const void *quic)
{
	return quic_stream_ended(quic);
}

static bool
has_room(void *quic)
{
	return quic_stream_has_room(quic);
}

_Static_assert(QUIC_RESERVE_MIN >= STREAM_RESERVE_MIN,
    "a reservation is smaller than stream.h promises");

static void *
reserve(void *quic, size_t *len)
{
	return quic_stream_reserve(quic, len);
}

static void
commit(void *quic, size_t n)
{
	quic_stream_commit(quic, n);
}

static size_t
push(void *quic, const void *data, size_t len)
{
	return quic_stream_push(quic, data, len);
}

static bool
lost(const void *quic)
{
	return quic_stream_lost(quic);
}

static void
finish(void *quic)
{
	quic_stream_finish(quic);
}

static void
release(void *quic)
{
	quic_stream_release(quic);
}

/* HTTP/3's code for it (RFC 9114 §4.4, §8.1). */
static uint64_t
code_of(enum stream_error error)
{
	switch (error) {
	case STREAM_CONNECT_ERROR:
		return QUIC_H3_CONNECT_ERROR;
	case STREAM_CANCELLED:
		break;
	}
	return QUIC_H3_REQUEST_CANCELLED;
}

static void
reset(void *quic, enum stream_error error)
{
	quic_stream_reset(quic, code_of(error));
}

static void
flush_and_reset(void *quic, enum stream_error error)
{
	quic_stream_flush_and_reset(quic, code_of(error));
}

static const struct stream_ops ops = {
	.attach = attach,
	.peek = peek,
	.consume = consume,
	.ended = ended,
	.has_room = has_room,
	.reserve = reserve,
	.commit = commit,
	.push = push,
	.lost = lost,
	.finish = finish,
	.release = release,
	.reset = reset,
	.flush_and_reset = flush_and_reset,
};

void
stream_quic_open(struct stream *s, struct quic_stream *quic)
{
	*s = (struct stream){ .ops = &ops, .provider = quic };
}

struct quic_stream *
stream_quic(const struct stream *s)
{
	return s->provider;
}
