#ifndef CULVERT_PROXY_BASE_PRIVSEP_MESSAGE_H
#define CULVERT_PROXY_BASE_PRIVSEP_MESSAGE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/privsep.h"

/* The messages between a daemon and its child of privsep_start(). */

/* One packet. The child validates all of it. */
struct privsep_request {
	uint32_t path;		 /* its number in the list */
	uint64_t dev, ino;	 /* PRIVSEP_REMOVE: of the socket */
	char name[NAME_MAX + 1]; /* PRIVSEP_CREATE: in the directory */
};

/* One packet, with a descriptor if `error` is 0 and a file was opened. */
struct privsep_reply {
	int32_t error; /* negative errno */
};

/* The work itself, done by the child, or without one by the daemon. */
int privsep_do_open(const char *path, int flags);
int privsep_do_create(const char *directory, const char *name);
int privsep_do_remove(const char *path, uint64_t dev, uint64_t ino);

/* Sends later calls to this child by its socket. Keeps `paths`. */
void
privsep_attach(int fd, pid_t pid, const struct privsep_path *paths, size_t n);

#endif
