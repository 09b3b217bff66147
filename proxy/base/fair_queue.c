#include "proxy/base/fair_queue.h"

#include <errno.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

TAILQ_HEAD(names, fair_name);

struct fair_source {
	size_t n;	    /* items */
	struct names round; /* of its names */
	TAILQ_ENTRY(fair_source) entry;
	char name[];
};

struct fair_name {
	struct fair_source *source;
	size_t n;
	struct fair_items items;
	TAILQ_ENTRY(fair_name) entry;
	char name[];
};

void
fair_queue_init(struct fair_queue *q)
{
	memset(q, 0, sizeof(*q));
	TAILQ_INIT(&q->round);
	TAILQ_INIT(&q->ages);
}

/* ---- Sources and names, which exist while they have items ---- */

/* The keys of the tree are the names, which are members of the sources. */
static int
compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct fair_source *
find_source(const struct fair_queue *q, const char *name)
{
	char *const *found = tfind(name, &q->tree, compare);

	return found == NULL ? NULL
			     : (struct fair_source *)((uintptr_t)*found -
				   offsetof(struct fair_source, name));
}

static struct fair_source *
add_source(struct fair_queue *q, const char *name)
{
	size_t size = strlen(name) + 1;
	struct fair_source *s = malloc(sizeof(*s) + size);

	if (s == NULL)
		return NULL;
	s->n = 0;
	TAILQ_INIT(&s->round);
	memcpy(s->name, name, size);
	if (tsearch(s->name, &q->tree, compare) == NULL) {
		free(s);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&q->round, s, entry);
	return s;
}

static struct fair_name *
find_name(const struct fair_source *s, const char *name)
{
	struct fair_name *n;

	TAILQ_FOREACH(n, &s->round, entry)
		if (strcmp(n->name, name) == 0)
			break;
	return n;
}

static struct fair_name *
add_name(struct fair_source *s, const char *name)
{
	size_t size = strlen(name) + 1;
	struct fair_name *n = malloc(sizeof(*n) + size);

	if (n == NULL)
		return NULL;
	n->source = s;
	n->n = 0;
	TAILQ_INIT(&n->items);
	memcpy(n->name, name, size);
	TAILQ_INSERT_TAIL(&s->round, n, entry);
	return n;
}

/* Frees empty names and sources. Wipes a name: it may be a password. */
static void
prune(struct fair_queue *q, struct fair_source *s, struct fair_name *n)
{
	if (n != NULL && n->n == 0) {
		TAILQ_REMOVE(&s->round, n, entry);
		explicit_bzero(n->name, strlen(n->name));
		free(n);
	}
	if (s == NULL || !TAILQ_EMPTY(&s->round))
		return;
	tdelete(s->name, &q->tree, compare);
	TAILQ_REMOVE(&q->round, s, entry);
	free(s);
}

/* ---- Room ---- */

static struct fair_name *
longest_name(const struct fair_source *s)
{
	struct fair_name *n, *longest = TAILQ_FIRST(&s->round);

	TAILQ_FOREACH(n, &s->round, entry)
		if (n->n > longest->n)
			longest = n;
	return longest;
}

static struct fair_source *
largest_source(const struct fair_queue *q)
{
	struct fair_source *s, *largest = TAILQ_FIRST(&q->round);

	TAILQ_FOREACH(s, &q->round, entry)
		if (s->n > largest->n)
			largest = s;
	return largest;
}

/*
 * If there is no room for one more item of this source and name, returns the
 * name that has to give up an item; NULL if no other has more than this one,
 * and then the new item is refused.
 */
static struct fair_name *
crowded(const struct fair_queue *q, const struct fair_source *s,
    const struct fair_name *n, bool *full)
{
	struct fair_source *largest;
	struct fair_name *longest;

	*full = s->n >= FAIR_SOURCE_MAX || q->n >= FAIR_MAX;
	if (s->n >= FAIR_SOURCE_MAX) {
		longest = longest_name(s);
		return longest->n > n->n + 1 ? longest : NULL;
	}
	if (q->n < FAIR_MAX)
		return NULL;
	largest = largest_source(q);
	return largest->n > s->n + 1 ? longest_name(largest) : NULL;
}

int
fair_queue_put(struct fair_queue *q, struct fair_item *item, const char *source,
    const char *name, struct fair_item **out)
{
	struct fair_source *s = find_source(q, source);
	struct fair_name *n, *from;
	bool full;

	*out = NULL;
	if (s == NULL && (s = add_source(q, source)) == NULL)
		return -ENOMEM;
	n = find_name(s, name);
	if (n == NULL && (n = add_name(s, name)) == NULL) {
		prune(q, s, NULL);
		return -ENOMEM;
	}
	from = crowded(q, s, n, &full);
	if (full && from == NULL) {
		prune(q, s, n);
		return -EAGAIN;
	}
	item->name = n;
	TAILQ_INSERT_TAIL(&n->items, item, entry);
	TAILQ_INSERT_TAIL(&q->ages, item, later);
	n->n++;
	s->n++;
	q->n++;
	if (from != NULL) {
		*out = TAILQ_LAST(&from->items, fair_items);
		fair_queue_remove(q, *out);
	}
	return 0;
}

/* ---- Round robin ---- */

void
fair_queue_remove(struct fair_queue *q, struct fair_item *item)
{
	struct fair_name *n = item->name;

	if (n == NULL)
		return;
	TAILQ_REMOVE(&n->items, item, entry);
	TAILQ_REMOVE(&q->ages, item, later);
	item->name = NULL;
	n->n--;
	n->source->n--;
	q->n--;
	prune(q, n->source, n);
}

struct fair_item *
fair_queue_take(struct fair_queue *q)
{
	struct fair_source *s = TAILQ_FIRST(&q->round);
	struct fair_item *item;
	struct fair_name *n;

	if (s == NULL)
		return NULL;
	n = TAILQ_FIRST(&s->round);
	item = TAILQ_FIRST(&n->items);
	TAILQ_REMOVE(&q->round, s, entry);
	TAILQ_INSERT_TAIL(&q->round, s, entry);
	TAILQ_REMOVE(&s->round, n, entry);
	TAILQ_INSERT_TAIL(&s->round, n, entry);
	fair_queue_remove(q, item);
	return item;
}

struct fair_item *
fair_queue_oldest(const struct fair_queue *q)
{
	return TAILQ_FIRST(&q->ages);
}

struct fair_item *
fair_queue_find(const struct fair_queue *q, const char *source,
    const char *name, bool (*matches)(const struct fair_item *, const void *),
    const void *arg)
{
	const struct fair_source *s = find_source(q, source);
	const struct fair_name *n = s != NULL ? find_name(s, name) : NULL;
	struct fair_item *item;

	if (n == NULL)
		return NULL;
	TAILQ_FOREACH(item, &n->items, entry)
		if (matches(item, arg))
			break;
	return item;
}
