#ifndef CULVERT_PROXY_BASE_PRIVSEP_H
#define CULVERT_PROXY_BASE_PRIVSEP_H

#include <stddef.h>
#include <sys/stat.h>

/*
 * Separation of privileges: the files that a daemon needs while it serves are
 * opened by a process of their own, which has the rights that the daemon has
 * given up. It does nothing else.
 *
 *	daemon ──(operation, number of the path)──▶ child
 *	       ◀──(errno, descriptor)──────────────
 *
 * The paths are fixed when the child starts, so that a daemon that has been
 * taken over can ask for nothing new. The daemon is the parent: it keeps its
 * process ID, its signals and its exit status, which service managers watch.
 * The child ends when the daemon has ended, however that was.
 *
 * One thread, the loop's, may call these.
 */

enum privsep_use {
	PRIVSEP_READ,	/* a file, whatever is at its path when it is asked */
	PRIVSEP_CREATE, /* new files in this directory */
	PRIVSEP_REMOVE	/* this Unix socket */
};

struct privsep_path {
	enum privsep_use use;
	const char *path;
};

/* Paths of a daemon: its files, some of which it names by itself. */
#define PRIVSEP_PATHS_MAX 32

/*
 * Starts the child, whose paths are copied. Call it when all is open, before
 * privileges go and before there is any other thread. Returns 0 or a negative
 * errno.
 */
int privsep_start(const struct privsep_path *paths, size_t n);

/*
 * Last thing before the exit: waits for the end of the child, as long as for an
 * answer at most. Does nothing without one.
 */
void privsep_stop(void);

/*
 * These work by themselves before privsep_start(), and by the child from then
 * on. Each returns a negative errno for privsep_strerror() when it fails.
 */

/* Opens a file to read: a descriptor, close-on-exec. */
int privsep_open(const char *path);

/* Looks at a file that can be opened to read: 0. */
int privsep_stat(const char *path, struct stat *file);

/*
 * Makes a file to write whose path is DIRECTORY/NAME, and in which nothing may
 * have been: a descriptor, close-on-exec.
 */
int privsep_create(const char *path);

/* Removes a socket, unless it is another file than `socket` by now: 0. */
int privsep_remove(const char *path, const struct stat *socket);

/* As strerror(3) of a positive errno, and knows what is our own. */
const char *privsep_strerror(int error);

#endif
