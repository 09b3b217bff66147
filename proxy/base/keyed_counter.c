#include "proxy/base/keyed_counter.h"

#include <errno.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct key_count {
	size_t count;
	char name[];
};

/* The keys of the tree are the names, which are members of the entries. */
static int
compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct key_count *
entry_of(const char *name)
{
	return (struct key_count *)((uintptr_t)name -
	    offsetof(struct key_count, name));
}

static struct key_count *
add(struct keyed_counter *counter, const char *name)
{
	size_t size = strlen(name) + 1;
	struct key_count *e = malloc(sizeof(*e) + size);

	if (e == NULL)
		return NULL;
	e->count = 0;
	memcpy(e->name, name, size);
	if (tsearch(e->name, &counter->tree, compare) == NULL) {
		free(e);
		return NULL;
	}
	counter->names++;
	return e;
}

int
keyed_counter_take(struct keyed_counter *counter, const char *name, size_t max,
    struct key_count **entry)
{
	char *const *found = tfind(name, &counter->tree, compare);
	struct key_count *e = found != NULL ? entry_of(*found) : NULL;

	if ((e != NULL ? e->count : 0) >= max)
		return -EDQUOT;
	if (e == NULL && (e = add(counter, name)) == NULL)
		return -ENOMEM;
	e->count++;
	*entry = e;
	return 0;
}

void
keyed_counter_give(struct keyed_counter *counter, struct key_count *entry)
{
	if (entry == NULL || --entry->count > 0)
		return;
	tdelete(entry->name, &counter->tree, compare);
	counter->names--;
	free(entry);
}

static void
note_larger(const void *node, VISIT visit, void *arg)
{
	const struct key_count *e = entry_of(*(char *const *)node);
	const struct key_count **top = arg;

	if ((visit == postorder || visit == leaf) &&
	    (*top == NULL || e->count > (*top)->count))
		*top = e;
}

size_t
keyed_counter_top(const struct keyed_counter *counter, const char **name)
{
	const struct key_count *top = NULL;

	twalk_r(counter->tree, note_larger, &top);
	*name = top != NULL ? top->name : NULL;
	return top != NULL ? top->count : 0;
}
