#include "proxy/local/http/pinned.h"

#include <stdlib.h>
#include <strings.h>

#include "proxy/base/log.h"

struct pinned_tunnel {
	struct pinned *pinned;
	struct target origin;
	struct stream stream;
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
end(struct stream *stream)
{
	stream_finish(stream);
	stream_release(stream);
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
on_readable(void *arg)
{
	struct pinned_tunnel *t = arg;

	end(&t->stream);
	lose(t);
}

/* Nothing is being sent, so nothing waits for room. */
static void
on_writable(void *arg)
{
	(void)arg;
}

static void
on_stopped(void *arg)
{
	struct pinned_tunnel *t = arg;

	stream_reset(&t->stream, STREAM_CANCELLED);
	lose(t);
}

static void
on_reset(void *arg, const char *why)
{
	(void)why;
	on_stopped(arg);
}

static void
on_aborted(void *arg, enum stream_end how, const char *why)
{
	(void)how, (void)why;
	lose(arg);
}

static const struct stream_events stream_events = {
	.readable = on_readable,
	.writable = on_writable,
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
		end(&t->stream);
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
	end(&t->stream);
	drop(t);
}

void
pinned_put(struct pinned *p, const struct target *origin, bool handshake,
    struct stream *stream)
{
	struct pinned_tunnel *t = malloc(sizeof(*t));

	if (t == NULL) {
		end(stream);
		return;
	}
	if (p->n == PINNED_MAX)
		drop_unused(p);
	*t = (struct pinned_tunnel){ .pinned = p,
		.origin = *origin,
		.handshake = handshake };
	TAILQ_INSERT_TAIL(&p->tunnels, t, entry);
	p->n++;
	stream_attach(&t->stream, stream, &stream_events, t);
}

bool
pinned_take(struct pinned *p, const struct target *origin,
    struct stream *stream)
{
	struct pinned_tunnel *t;

	TAILQ_FOREACH(t, &p->tunnels, entry)
		if (pinned_same_origin(&t->origin, origin))
			break;
	if (t == NULL)
		return false;
	stream_move(stream, &t->stream);
	drop(t);
	return true;
}

bool
pinned_same_origin(const struct target *a, const struct target *b)
{
	return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}
