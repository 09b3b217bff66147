#ifndef CULVERT_PROXY_USERS_H
#define CULVERT_PROXY_USERS_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "proxy/basic.h"

/*
 * Who may use a listener or an edge: a file of names and crypt(3) hashes,
 * and the credentials that are held against it.
 */

/* The users of one file. Used by one thread, the loop's. */
struct users;

/* A password check that has not been answered yet. */
struct users_check;

/* Octets of a users file: some ten thousand lines, and no runaway input. */
#define USERS_FILE_MAX (1024 * 1024)

/*
 * Reads a file of lines `name:hash`, the hash as crypt(3) and mkpasswd(1)
 * write it; blank lines and lines that begin with '#' are skipped. Returns 0
 * and a new object in `*users`, or -EINVAL with a sentence for the user in
 * `err` ("file:line: what is wrong", NUL-terminated, cut to `errlen` octets):
 * an unreadable, too long or empty file, a malformed line, a hash that
 * scheme_check() refuses, a name that occurs twice.
 */
int users_load(struct users **users, const char *path, char *err,
    size_t errlen);

/*
 * Drops the owner's reference. Checks in flight keep the object and are still
 * answered, so that a reload may swap it at any time; the last of them wipes
 * and frees it. NULL is a no-op.
 */
void users_free(struct users *users);

/*
 * Holds credentials against the users. crypt(3) is slow by design, so it runs
 * in the pool of `loop`, a few at a time, the rest in order; credentials that
 * were right before are recognised at once. A name that is not in the file
 * takes as long as a wrong password.
 *
 * Returns 1 when the credentials are right. Returns 0 when the answer will
 * come later: `*check` is set and `on_checked(arg, ok)` fires once, from the
 * loop, never from inside this call; `*check` is gone as it fires. Otherwise
 * nothing is pending: -EAGAIN when too many checks wait already (the caller
 * refuses this client with 503, or as if the password were wrong), -ENOMEM.
 * The credentials are copied; the caller may wipe its own at once.
 */
int users_check(struct users *users, uv_loop_t *loop,
    const struct credentials *credentials, struct users_check **check,
    void (*on_checked)(void *arg, bool ok), void *arg);

/*
 * The caller no longer wants the answer: `on_checked` does not fire any more
 * and `arg` is not touched again. NULL is a no-op.
 */
void users_check_cancel(struct users_check *check);

#endif
