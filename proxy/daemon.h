#ifndef CULVERT_PROXY_DAEMON_H
#define CULVERT_PROXY_DAEMON_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/config/config.h"

/* What the mains of both daemons do alike. */

/*
 * First thing in main(): has /dev/null stand in for standard descriptors that
 * are closed, takes what privileges can be done without at once, reads the
 * configuration, raises the limit of descriptors to what the system allows and
 * opens the log. Returns -1 to go on, or the exit status: 0 when a question
 * such as -h was answered, 2 for a wrong configuration, which has been
 * complained about and released.
 */
int daemon_begin(struct config *, enum config_program, int argc, char **argv);

/* What a daemon needs while it serves, besides what its configuration names. */
struct daemon_needs {
	const char *cert, *key; /* files that it has made itself, or NULL */
	bool connects;		/* by TCP, to others than name servers */
	uint64_t capabilities;	/* bit n is number n; 0 as a rule */
};

/*
 * Last thing before serving, when files and sockets are open and there is no
 * thread yet: gives up the rest, in this order.
 *
 *	privsep		a child keeps the right to open the files that the
 *			configuration names, for reloads, traces and the end
 *	run-as		root becomes another user
 *	Landlock	files, TCP, signals; and capabilities go
 *	seccomp		system calls
 *
 * What the system does not grant of this is a warning each. 0, or a negative
 * errno that has been logged: the caller refuses to serve.
 */
int daemon_confine(const struct config *, const struct daemon_needs *);

/*
 * Reads the configuration again, see config_reload(): 0, or -EINVAL when
 * `fresh` is empty and what is wrong has been logged.
 */
int daemon_reload(struct config *fresh, const struct config *old);

/* How a reload begins to say why everything stays as it was. */
#define DAEMON_NOT_RELOADED "nothing is reloaded: "

/* Takes `fresh` in place of `config`, and logs as it says from now on. */
void daemon_replace(struct config *config, const struct config *fresh);

#endif
