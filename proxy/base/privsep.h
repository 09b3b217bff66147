#ifndef CULVERT_PROXY_BASE_PRIVSEP_H
#define CULVERT_PROXY_BASE_PRIVSEP_H

#include <stddef.h>
#include <sys/stat.h>

/*
 * Privilege separation: a child process opens the files that a daemon needs
 * while it serves. The child keeps the rights that the daemon gives up, and
 * does nothing else.
 *
 *	daemon ──(operation, number of the path)──▶ child
 *	       ◀──(errno, descriptor)──────────────
 *
 * The paths are fixed when the child starts, so that a compromised daemon
 * cannot request others. The daemon is the parent: it keeps its process ID, its
 * signals and its exit status, which service managers watch. The child ends
 * when the daemon has ended, for whatever reason.
 *
 * Only the thread of the loop may call these functions.
 */

enum privsep_use {
	PRIVSEP_READ,	/* the file that has this path at that moment */
	PRIVSEP_CREATE, /* new files in this directory */
	PRIVSEP_REMOVE	/* this Unix socket */
};

struct privsep_path {
	enum privsep_use use;
	const char *path;
};

/* Paths of a daemon: configured files, and some that it chooses itself. */
#define PRIVSEP_PATHS_MAX 32

/*
 * Starts the child, and copies the paths. Call it when everything is open,
 * before privileges are dropped and before there is another thread. Returns 0
 * or a negative errno.
 */
int privsep_start(const struct privsep_path *paths, size_t n);

/*
 * Waits for the end of the child, no longer than for an answer. Call it last,
 * before the exit. A no-op without a child.
 */
void privsep_stop(void);

/*
 * Before privsep_start() these work in the calling process, and after it the
 * child does the work. On failure each returns a negative errno, which
 * privsep_strerror() explains.
 */

/* Opens a file for reading. Returns a descriptor, close-on-exec. */
int privsep_open(const char *path);

/* Gets the status of a file that can be opened for reading. Returns 0. */
int privsep_stat(const char *path, struct stat *file);

/*
 * Creates DIRECTORY/NAME for writing, which must not exist. Returns a
 * descriptor, close-on-exec.
 */
int privsep_create(const char *path);

/* Removes a socket, unless the file is no longer `socket`. Returns 0. */
int privsep_remove(const char *path, const struct stat *socket);

/* Like strerror(3), for a positive errno of these functions. */
const char *privsep_strerror(int error);

#endif
