#ifndef CULVERT_PROXY_DAEMON_H
#define CULVERT_PROXY_DAEMON_H

#include "proxy/config.h"
#include "proxy/sandbox.h"

/* What the mains of both daemons do alike. */

/*
 * First thing in main(): takes what privileges can be done without at once,
 * reads the configuration and opens the log. Returns -1 to go on, or the exit
 * status: 0 when a question such as -h was answered, 2 for a wrong
 * configuration, which has been complained about and released.
 */
int daemon_begin(struct config *, enum config_program, int argc, char **argv);

/*
 * Last thing before serving: gives up the rest, and says what the system does
 * not grant of what was hoped for. 0, or a negative errno that
 * has been logged: the caller refuses to serve.
 */
int daemon_confine(const struct sandbox_paths *);

#endif
