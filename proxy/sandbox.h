#ifndef CULVERT_PROXY_SANDBOX_H
#define CULVERT_PROXY_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Least privilege for a daemon: little at start, nothing once it serves.
 * Capabilities and Landlock belong to a thread and pass to those it makes, so
 * both calls come before the first of libuv's pool is started.
 */

/*
 * What stays reachable in the file system besides the system's own
 * configuration and trust store. Each list ends with NULL and may itself be
 * NULL; a path names a file, or a directory and everything below it, and is
 * skipped when it cannot be reached now. A file that is replaced by rename(2)
 * is a new file: list its directory when it must stay reachable.
 */
struct sandbox_paths {
	const char *const *read;	/* certificates, keys, users */
	const char *const *write;	/* read, made, changed, removed: qlog,
					 * the directory of a Unix socket */
};

/*
 * First thing in main(): no core dumps and no tracing, which would show keys
 * and passwords; no new privileges by execve(2); as many descriptors as the
 * hard limit gives. Nothing here fails in a way that matters. Returns the
 * number of descriptors that may be open.
 */
unsigned long sandbox_early(void);

/*
 * Finds the least of the network's capabilities (capabilities(7)) with which
 * works(arg) is true, by trying: none, CAP_NET_RAW, CAP_NET_ADMIN, both; what
 * takes which has changed from kernel to kernel. 0 with a set in `keep` for
 * sandbox_enter(), or -EPERM: all that we have do not help.
 */
int sandbox_least(bool (*works)(void *arg), void *arg, uint64_t *keep);

/*
 * Once listeners and files are open: gives up every capability but those of the
 * set `keep` (bit n is number n; 0 as a rule) that we have, then confines the
 * file system by Landlock to `paths`. There is no way back. Returns 0, 1
 * when the kernel has no Landlock and only the capabilities are gone (the
 * caller says so in a debug line), or a negative errno: the caller refuses to
 * serve.
 */
int sandbox_enter(const struct sandbox_paths *paths, uint64_t keep);

#endif
