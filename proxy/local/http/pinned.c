#include "proxy/local/http/pinned.h"

#include <stdlib.h>
#include <strings.h>

#include "proxy/base/log.h"

struct pinned_tunnel {
	struct pinned *pinned;
	struct target origin;
	struct quic_stream *stream;
	bool handshake;
	TAILQ_ENTRY(pinned_tunnel) entry;
};

static void
drop(struct pinned_tunnel *t)
{
	TAILQ_REMOVE(&t->pinned->tunnels, t, entry);
	t->pinned->n--;
	free(t);
}

static void
end(struct quic_stream *stream)
{
	quic_stream_finish(stream);
	quic_stream_release(stream);
}

static void
lose(struct pinned_tunnel *t)
{
	struct pinned *p = t->pinned;

	drop(t);
	p->on_lost(p->arg);
}

/* No response is outstanding, so bytes or FIN mean that the tunnel ends. */
static void
on_readable(struct quic_stream *stream, void *arg)
{
	end(stream);
	lose(arg);
}

static void
on_stopped(struct quic_stream *stream, void *arg)
{
	quic_stream_reset(stream, QUIC_H3_REQUEST_CANCELLED);
	lose(arg);
}

static void
on_reset(struct quic_stream *stream, uint64_t code, void *arg)
{
	(void)code;
	on_stopped(stream, arg);
}

static void
on_aborted(struct quic_stream *stream, uint64_t code,
    const struct quic_close *why, void *arg)
{
	(void)stream, (void)code, (void)why;
	lose(arg);
}

static const struct quic_stream_events stream_events = {
	.readable = on_readable,
	.stopped = on_stopped,
	.reset = on_reset,
	.aborted = on_aborted,
};

void
pinned_init(struct pinned *p, void (*on_lost)(void *arg), void *arg)
{
	*p = (struct pinned){ .on_lost = on_lost, .arg = arg };
	TAILQ_INIT(&p->tunnels);
}

void
pinned_fini(struct pinned *p)
{
	struct pinned_tunnel *t;

	while ((t = TAILQ_FIRST(&p->tunnels)) != NULL) {
		end(t->stream);
		drop(t);
	}
}

/* Makes room for one more tunnel. */
static void
drop_unused(struct pinned *p)
{
	struct pinned_tunnel *t;
	char target[TARGET_STRLEN];

	TAILQ_FOREACH(t, &p->tunnels, entry)
		if (!t->handshake)
			break;
	if (t == NULL)
		t = TAILQ_FIRST(&p->tunnels);
	target_format(&t->origin, target, sizeof(target));
	log_debug("closed an authenticated connection to %s: its client has "
		  "more than %d of them",
	    target, PINNED_MAX);
	end(t->stream);
	drop(t);
}

void
pinned_put(struct pinned *p, const struct target *origin, bool handshake,
    struct quic_stream *stream)
{
	struct pinned_tunnel *t = malloc(sizeof(*t));

	if (t == NULL) {
		end(stream);
		return;
	}
	if (p->n == PINNED_MAX)
		drop_unused(p);
	*t = (struct pinned_tunnel){ p, *origin, stream, handshake,
		{ NULL, NULL } };
	TAILQ_INSERT_TAIL(&p->tunnels, t, entry);
	p->n++;
	quic_stream_attach(stream, &stream_events, t);
}

struct quic_stream *
pinned_take(struct pinned *p, const struct target *origin)
{
	struct quic_stream *stream;
	struct pinned_tunnel *t;

	TAILQ_FOREACH(t, &p->tunnels, entry)
		if (pinned_same_origin(&t->origin, origin))
			break;
	if (t == NULL)
		return NULL;
	stream = t->stream;
	drop(t);
	return stream;
}

bool
pinned_same_origin(const struct target *a, const struct target *b)
{
	return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}
