#ifndef CULVERT_PROXY_DAEMON_H
#define CULVERT_PROXY_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/config/config.h"

/* The common part of both daemons: start, privileges and reload. */

/*
 * Call it first in main(): replaces closed standard descriptors by /dev/null,
 * drops privileges that are never needed, reads the configuration, raises the
 * limit of descriptors to the hard limit and opens the log. Returns -1 to go
 * on, or the exit status: 0 after an option such as -h, 1 without /dev/null, 2
 * for a wrong configuration. Then errors have been printed, and the
 * configuration is released.
 */
int daemon_begin(struct config *, enum config_program, int argc, char **argv);

/* The needs of a serving daemon that are not in its configuration. */
struct daemon_needs {
	const char *cert, *key; /* files that it generated, or NULL */
	/* Files that its configuration names indirectly: each by its number,
	 * and NULL after the last. NULL: there are none. */
	const char *(*file)(const void *arg, size_t n);
	const void *arg;
	bool connects;	       /* by TCP, not only to name servers */
	uint64_t capabilities; /* bit n is number n; usually 0 */
};

/*
 * Call it last before serving, when files and sockets are open and there is no
 * other thread: drops all other privileges, in this order.
 *
 *	privsep		a child keeps the right to open the files that the
 *			configuration names, for reloads, traces and the exit
 *	run-as		root becomes another user
 *	Landlock	files, TCP, signals; and capabilities go
 *	seccomp		system calls
 *
 * For each restriction that the system does not support it logs a warning.
 * Returns 0, or a negative errno that has been logged: the caller refuses to
 * serve.
 */
int daemon_confine(const struct config *, const struct daemon_needs *);

/*
 * Reads the configuration again, see config_reload(). Returns 0, or -EINVAL
 * with `fresh` empty and the errors logged.
 */
int daemon_reload(struct config *fresh, const struct config *old);

/* The beginning of the log line about a failed reload. */
#define DAEMON_NOT_RELOADED "nothing is reloaded: "

/* Replaces `config` by `fresh`, and applies its settings of the log. */
void daemon_replace(struct config *config, const struct config *fresh);

#endif
