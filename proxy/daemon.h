#ifndef CULVERT_PROXY_DAEMON_H
#define CULVERT_PROXY_DAEMON_H

#include "proxy/config.h"
#include "proxy/sandbox.h"

/* What the mains of both daemons do alike. */

/*
 * First thing in main(): takes what privileges can be done without at once,
 * reads the configuration, raises the limit of descriptors to what the system
 * allows and opens the log. Returns -1 to go on, or the exit status: 0 when a
 * question such as -h was answered, 2 for a wrong configuration, which has been
 * complained about and released.
 */
int daemon_begin(struct config *, enum config_program, int argc, char **argv);

/*
 * Last thing before serving: gives up the rest, and says what the system does
 * not grant of what was hoped for. The files that the configuration names stay
 * readable, and those beside them, since a reload wants them and whoever renews
 * a certificate renames a new one into place. `more` (or NULL) is one more
 * directory to read, `write` a list as in struct sandbox_paths, `keep` a set of
 * capabilities as of sandbox_enter(). 0, or a negative errno that has been
 * logged: the caller refuses to serve.
 */
int daemon_confine(const struct config *, const char *more,
    const char *const *write, uint64_t keep);

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
