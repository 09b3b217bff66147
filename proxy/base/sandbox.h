#ifndef CULVERT_PROXY_BASE_SANDBOX_H
#define CULVERT_PROXY_BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Least privilege for a daemon: little at start, nothing once it serves.
 * Capabilities and Landlock belong to a thread and pass to those it makes, so
 * both calls come before the first of libuv's pool is started.
 */

/* What may be done with files; see struct sandbox_rule. */
enum sandbox_rights {
	SANDBOX_READ = 1,
	SANDBOX_LIST = 2, /* the names in a directory */
	SANDBOX_CREATE = 4, /* and write what was created */
	SANDBOX_REMOVE = 8
};

/*
 * A path that stays reachable: a file, or a directory and everything below it.
 * It is skipped when it cannot be reached now. A file that is replaced by
 * rename(2) is a new file, which no rule for the old one covers.
 */
struct sandbox_rule {
	const char *path;
	unsigned rights; /* enum sandbox_rights */
};

#define SANDBOX_ANY_PORT (-1)

/* What a process keeps. */
struct sandbox {
	const struct sandbox_rule *rules;
	size_t nrules;
	int connect_port; /* where TCP may connect to; 0: nowhere */
	uint64_t capabilities; /* bit n is number n; 0 as a rule */
};

/*
 * What the kernel does not give, by the calls that were to give it: 0, or the
 * negative errno that says why.
 */
struct sandbox_missing {
	int files;
	int network; /* rules for TCP, from Linux 6.7 on */
	int scope; /* abstract Unix sockets and signals, from 6.12 on */
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
 * struct sandbox, or -EPERM: all that we have do not help.
 */
int sandbox_least(bool (*works)(void *arg), void *arg, uint64_t *keep);

/*
 * Once listeners and files are open: confines files, TCP, signals and abstract
 * Unix sockets by Landlock, then gives up every capability but those of the set
 * that we have. TCP listens nowhere any more. There is no way back. Returns 0,
 * with what could not be had in `missing`, or a negative errno when
 * capabilities are still there: the caller refuses to serve.
 */
int sandbox_enter(const struct sandbox *, struct sandbox_missing *missing);

#endif
