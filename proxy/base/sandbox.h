#ifndef CULVERT_PROXY_BASE_SANDBOX_H
#define CULVERT_PROXY_BASE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Least privilege for a daemon: few privileges at the start, none while it
 * serves. Capabilities and Landlock apply to a thread and to those that it
 * starts, so call both functions before libuv starts its thread pool.
 */

/* Rights to files; see struct sandbox_rule. */
enum sandbox_rights {
	SANDBOX_READ = 1,
	SANDBOX_LIST = 2,   /* the names in a directory */
	SANDBOX_CREATE = 4, /* and write what was created */
	SANDBOX_REMOVE = 8
};

/*
 * A path that stays reachable: a file, or a directory and everything below it.
 * A path that does not exist now is skipped. A file that rename(2) puts in
 * place of another is a new file, which the rule does not cover.
 */
struct sandbox_rule {
	const char *path;
	unsigned rights; /* enum sandbox_rights */
};

#define SANDBOX_ANY_PORT (-1)

/* The privileges that a process keeps. */
struct sandbox {
	const struct sandbox_rule *rules;
	size_t nrules;
	int connect_port;      /* of outgoing TCP; 0: none is allowed */
	uint64_t capabilities; /* bit n is number n; 0 as a rule */
};

/*
 * The restrictions that the kernel does not support: each 0, or the negative
 * errno that says why.
 */
struct sandbox_missing {
	int files;
	int network; /* rules for TCP, from Linux 6.7 on */
	int scope;   /* abstract Unix sockets and signals, from 6.12 on */
};

/*
 * Call it first in main(): disables core dumps and tracing, which would reveal
 * keys and passwords, and new privileges by execve(2); raises the limit of
 * descriptors to the hard limit. Failures are ignored. Returns the number of
 * descriptors that may be open.
 */
unsigned long sandbox_early(void);

/*
 * Finds the smallest set of network capabilities (capabilities(7)) with which
 * works(arg) is true, by trial: none, CAP_NET_RAW, CAP_NET_ADMIN, both. Kernels
 * differ in which one an operation requires. Returns 0 with the set in `keep`,
 * for struct sandbox; or -EPERM if none of them suffices.
 */
int sandbox_least(bool (*works)(void *arg), void *arg, uint64_t *keep);

/*
 * Call it when listeners and files are open: restricts files, TCP, signals and
 * abstract Unix sockets by Landlock, then drops every capability outside
 * `capabilities`. New TCP listeners become impossible. This cannot be undone.
 * Returns 0, with what the kernel lacks in `missing`; or a negative errno if
 * capabilities could not be dropped: the caller refuses to serve.
 */
int sandbox_enter(const struct sandbox *, struct sandbox_missing *missing);

#endif
