#include "proxy/edge/origin.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <strings.h>

/* First the key, which the tree compares. It lives while a turn is out. */
struct origin {
	struct target target;
	size_t dials; /* whose turn it is */
	TAILQ_HEAD(, turn) waiting;
};

static int
compare(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	return strcasecmp(x->host, y->host);
}

static struct origin *
find_or_make(struct origins *origins, const struct target *target)
{
	struct origin *const *found = tfind(target, &origins->tree, compare);
	struct origin *o;

	if (found != NULL)
		return *found;
	if ((o = calloc(1, sizeof(*o))) == NULL)
		return NULL;
	o->target = *target;
	TAILQ_INIT(&o->waiting);
	if (tsearch(o, &origins->tree, compare) == NULL) {
		free(o);
		return NULL;
	}
	return o;
}

int
turn_take(struct turn *t, struct origins *origins, const struct target *target,
    void (*go)(void *arg), void *arg)
{
	struct origin *o = find_or_make(origins, target);

	*t = (struct turn){ .origin = o, .go = go, .arg = arg };
	if (o == NULL)
		return -ENOMEM;
	t->origins = origins;
	if (o->dials < origins->dials_max) {
		o->dials++;
		return 1;
	}
	t->waiting = true;
	TAILQ_INSERT_TAIL(&o->waiting, t, entry);
	origins->waiting++;
	return 0;
}

static void
stop_waiting(struct turn *t)
{
	TAILQ_REMOVE(&t->origin->waiting, t, entry);
	t->origins->waiting--;
	t->waiting = false;
}

static void
free_if_done(struct origins *origins, struct origin *o)
{
	if (o->dials > 0 || !TAILQ_EMPTY(&o->waiting))
		return;
	tdelete(o, &origins->tree, compare);
	free(o);
}

/*
 * The next one's dial counts before it is told, so that the origin outlives
 * what it may do at once, its own end included.
 */
void
turn_end(struct turn *t)
{
	struct origins *origins = t->origins;
	struct origin *o = t->origin;
	struct turn *next = NULL;

	if (origins == NULL)
		return;
	if (t->waiting)
		stop_waiting(t);
	else if (o->dials <= origins->dials_max &&
	    (next = TAILQ_FIRST(&o->waiting)) != NULL)
		stop_waiting(next);
	else
		o->dials--;
	t->origins = NULL;
	if (next != NULL)
		next->go(next->arg);
	else
		free_if_done(origins, o);
}
