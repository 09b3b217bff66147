#include "proxy/edge/descriptors.h"

#include <errno.h>

size_t
descriptors_share(const struct descriptors *d)
{
	size_t end = (size_t)d->end;

	return d->used < end ? DESCRIPTORS_FACTOR * (end - d->used) : 0;
}

/*
 * The kernel gives the lowest free number, so all numbers below `fd` are in
 * use. Those that are counted are in use, too, and may be more.
 */
int
descriptors_take(struct descriptors *d, int fd, const char *name,
    struct key_count **share)
{
	int rv;

	d->used = (size_t)fd > d->n ? (size_t)fd : d->n;
	if (fd >= d->end)
		return -EMFILE;
	rv = keyed_counter_take(&d->users, name, descriptors_share(d), share);
	if (rv == 0)
		d->n++;
	return rv;
}

void
descriptors_give(struct descriptors *d, struct key_count *share)
{
	if (share == NULL)
		return;
	keyed_counter_give(&d->users, share);
	d->n--;
}
