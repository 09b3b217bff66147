#ifndef CULVERT_PROXY_BASE_USERS_H
#define CULVERT_PROXY_BASE_USERS_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "proxy/base/basic.h"

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
 * hash_scheme_check() refuses, a name that occurs twice.
 */
int users_load(struct users **users, const char *path, char *err,
    size_t errlen);

/*
 * Drops the owner's reference. Checks in flight keep the object and are still
 * answered, from a loop that must run once more for it in any case; the last of
 * them wipes and frees it. NULL is a no-op.
 */
void users_free(struct users *users);

/*
 * Puts `fresh`, which it takes, in the place of `*users`; either may be NULL.
 * Who was known stays so if its line is the same in both; who was removed or
 * has another hash is forgotten at once, also by checks in flight, which are
 * answered as the new file says.
 */
void users_replace(struct users **users, struct users *fresh);

/* What became of a check. */
enum users_verdict {
	USERS_WRONG,	/* there is no such user, or it has another password */
	USERS_RIGHT,
	USERS_OVERLOAD	/* nobody knows: it could not be checked in time */
};

/*
 * Holds credentials that come from the address `from` against the users.
 * crypt(3) is slow by design, so it runs in the pool of `loop`, a few at a
 * time, and the rest waits; credentials that were right before are recognised
 * at once. Sources (tally_source()) take turns, and within a source the names.
 * A name that is not in the file takes as long as a wrong password. The log is
 * warned of failures, by address and now and then.
 *
 * Returns 1 when the credentials are right. Returns 0 when the answer will
 * come later: `*check` is set and `on_checked(arg, verdict)` fires once, from
 * the loop, never from inside this call; `*check` is gone as it fires.
 * Otherwise nothing is pending, and it is as with USERS_OVERLOAD: -EAGAIN when
 * too many checks of this source wait already, -ENOMEM. The caller says so to
 * the client (503), for that is no wrong password. The credentials are copied;
 * the caller may wipe its own at once.
 */
int users_check(struct users *users, uv_loop_t *loop,
    const struct sockaddr *from, const struct credentials *credentials,
    struct users_check **check,
    void (*on_checked)(void *arg, enum users_verdict), void *arg);

/*
 * The caller no longer wants the answer: `on_checked` does not fire any more
 * and `arg` is not touched again. NULL is a no-op.
 */
void users_check_cancel(struct users_check *check);

#endif
