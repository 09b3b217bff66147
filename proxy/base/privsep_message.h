#ifndef CULVERT_PROXY_BASE_PRIVSEP_MESSAGE_H
#define CULVERT_PROXY_BASE_PRIVSEP_MESSAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/privsep.h"

/* What a daemon and its child of privsep_start() say to each other. */

/* One packet. Its receiver trusts none of it. */
struct privsep_request {
	uint32_t path;		  /* its number in the list */
	uint64_t dev, ino;	  /* PRIVSEP_REMOVE: of the socket */
	char name[NAME_MAX + 1];  /* PRIVSEP_CREATE: in the directory */
};

/* One packet, with a descriptor when `error` is 0 and something was opened. */
struct privsep_reply {
	int32_t error; /* negative errno */
};

/* What privsep_open() and the others do without a child, and the child does. */
int privsep_do_open(const char *path, int flags);
int privsep_do_create(const char *directory, const char *name);
int privsep_do_remove(const char *path, uint64_t dev, uint64_t ino);

/* The calls go to this child from now on, by its socket; keeps the list. */
void privsep_attach(int fd, pid_t pid, const struct privsep_path *paths,
    size_t n);

#endif
