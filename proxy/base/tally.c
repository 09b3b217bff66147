#include "proxy/base/tally.h"

#include <errno.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

struct tally_entry {
	size_t count;
	char name[];
};

/* The keys of the tree are the names, which are members of the entries. */
static int
compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static struct tally_entry *
entry_of(const char *name)
{
	return (struct tally_entry *)((uintptr_t)name -
	    offsetof(struct tally_entry, name));
}

static struct tally_entry *
add(struct tally *tally, const char *name)
{
	size_t size = strlen(name) + 1;
	struct tally_entry *e = malloc(sizeof(*e) + size);

	if (e == NULL)
		return NULL;
	e->count = 0;
	memcpy(e->name, name, size);
	if (tsearch(e->name, &tally->tree, compare) == NULL) {
		free(e);
		return NULL;
	}
	tally->names++;
	return e;
}

int
tally_take(struct tally *tally, const char *name, size_t max,
    struct tally_entry **entry)
{
	char *const *found = tfind(name, &tally->tree, compare);
	struct tally_entry *e = found != NULL ? entry_of(*found) : NULL;

	if ((e != NULL ? e->count : 0) >= max)
		return -EDQUOT;
	if (e == NULL && (e = add(tally, name)) == NULL)
		return -ENOMEM;
	e->count++;
	*entry = e;
	return 0;
}

void
tally_give(struct tally *tally, struct tally_entry *entry)
{
	if (entry == NULL || --entry->count > 0)
		return;
	tdelete(entry->name, &tally->tree, compare);
	tally->names--;
	free(entry);
}

static void
note_larger(const void *node, VISIT visit, void *arg)
{
	const struct tally_entry *e = entry_of(*(char *const *)node);
	const struct tally_entry **top = arg;

	if ((visit == postorder || visit == leaf) &&
	    (*top == NULL || e->count > (*top)->count))
		*top = e;
}

size_t
tally_top(const struct tally *tally, const char **name)
{
	const struct tally_entry *top = NULL;

	twalk_r(tally->tree, note_larger, &top);
	*name = top != NULL ? top->name : NULL;
	return top != NULL ? top->count : 0;
}

const char *
tally_source(const struct sockaddr *addr, char name[TALLY_SOURCE_STRLEN])
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)addr;
	struct in6_addr prefix;

	if (addr->sa_family == AF_INET)
		return inet_ntop(AF_INET, &sin->sin_addr, name,
		    TALLY_SOURCE_STRLEN);
	prefix = ((const struct sockaddr_in6 *)addr)->sin6_addr;
	if (IN6_IS_ADDR_V4MAPPED(&prefix))
		return inet_ntop(AF_INET, &prefix.s6_addr[12], name,
		    TALLY_SOURCE_STRLEN);
	memset(&prefix.s6_addr[8], 0, 8);
	return inet_ntop(AF_INET6, &prefix, name, TALLY_SOURCE_STRLEN);
}
