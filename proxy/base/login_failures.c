#include "proxy/base/login_failures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/log.h"

#define TEXT_MAX 256 /* bytes: two phrases with numbers */

static void
log_source(const struct login_failures_source *s)
{
	char line[TEXT_MAX];
	int len = 0;

	if (s->wrong > 0)
		len = snprintf(line, sizeof(line),
		    "%" PRIu64 " wrong name%s "
		    "or password%s",
		    s->wrong, s->wrong > 1 ? "s" : "", s->wrong > 1 ? "s" : "");
	if (s->refused > 0)
		snprintf(line + len, sizeof(line) - (size_t)len,
		    "%s%" PRIu64
		    " refused without a check because too many were "
		    "waiting",
		    len > 0 ? ", " : "", s->refused);
	log_warn("authentication failed from %s%s: %s", s->name,
	    strchr(s->name, ':') != NULL ? "/64" : "", line);
}

/* Sorts the source with the most failures first. */
static int
compare(const void *a, const void *b)
{
	const struct login_failures_source *x = a, *y = b;
	uint64_t nx = x->wrong + x->refused, ny = y->wrong + y->refused;

	return nx < ny ? 1 : nx > ny ? -1 : 0;
}

static void
log_all(struct login_failures *f)
{
	qsort(f->sources, f->n, sizeof(f->sources[0]), compare);
	for (size_t i = 0; i < f->n; i++) {
		if (i < LOGIN_FAILURES_LINES_MAX) {
			log_source(&f->sources[i]);
			continue;
		}
		f->others.wrong += f->sources[i].wrong;
		f->others.refused += f->sources[i].refused;
	}
	snprintf(f->others.name, sizeof(f->others.name), "other addresses");
	if (f->others.wrong + f->others.refused > 0)
		log_source(&f->others);
	f->n = 0;
	f->others.wrong = f->others.refused = 0;
}

static void
on_interval(uv_timer_t *timer)
{
	struct login_failures *f = timer->data;

	if (f->n == 0)
		uv_timer_stop(timer);
	else
		log_all(f);
}

static struct login_failures_source *
find(struct login_failures *f, const char *name)
{
	struct login_failures_source *s;

	for (size_t i = 0; i < f->n; i++)
		if (strcmp(f->sources[i].name, name) == 0)
			return &f->sources[i];
	if (f->n == LOGIN_FAILURES_SOURCES_MAX)
		return &f->others;
	s = &f->sources[f->n++];
	*s = (struct login_failures_source){ .wrong = 0 };
	snprintf(s->name, sizeof(s->name), "%s", name);
	return s;
}

void
login_failures_note(struct login_failures *f, uv_loop_t *loop,
    const char *source, bool refused)
{
	struct login_failures_source *s;

	if (f->closed)
		return;
	s = find(f, source);
	if (refused)
		s->refused++;
	else
		s->wrong++;
	if (!f->open) {
		uv_timer_init(loop, &f->timer);
		uv_unref((uv_handle_t *)&f->timer);
		f->timer.data = f;
		f->open = true;
	}
	if (uv_is_active((uv_handle_t *)&f->timer))
		return;
	log_all(f);
	uv_timer_start(&f->timer, on_interval, LOGIN_FAILURES_INTERVAL_MS,
	    LOGIN_FAILURES_INTERVAL_MS);
}

bool
login_failures_close(struct login_failures *f, uv_close_cb on_closed)
{
	f->closed = true;
	if (!f->open)
		return false;
	log_all(f);
	uv_close((uv_handle_t *)&f->timer, on_closed);
	return true;
}
