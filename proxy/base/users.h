#ifndef CULVERT_PROXY_BASE_USERS_H
#define CULVERT_PROXY_BASE_USERS_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include "proxy/base/basic.h"

/*
 * The users of a listener or an edge: a file of names and crypt(3) hashes, and
 * the checks of credentials against it.
 */

/* The users of one file. Only the thread of the loop uses it. */
struct users;

/* A password check without a result yet. */
struct users_check;

/* Octets of a users file: room for some ten thousand lines. */
#define USERS_FILE_MAX (1024 * 1024)

/*
 * Reads a file of lines `name:hash`, the hash as crypt(3) and mkpasswd(1)
 * write it; blank lines and lines that begin with '#' are skipped. Returns 0
 * and a new object in `*users`; or -EINVAL with a sentence in `err`
 * ("file:line: reason", NUL-terminated, truncated to `errlen` octets) for an
 * unreadable, too long or empty file, a malformed line, a hash that
 * hash_scheme_check() rejects, or a name that occurs twice.
 */
int
users_load(struct users **users, const char *path, char *err, size_t errlen);

/*
 * Drops the owner's reference. Pending checks keep the object and still report
 * their results; the last of them wipes and frees it. The loop must run once
 * more in any case. NULL is a no-op.
 */
void users_free(struct users *users);

/*
 * Replaces `*users` by `fresh`, of which it becomes the owner; either may be
 * NULL. The cached result of a user whose line is the same in both stays valid.
 * A user that was removed or has another hash is rejected at once: pending
 * checks, too, get the result that the new file gives.
 */
void users_replace(struct users **users, struct users *fresh);

/* The result of a check. */
enum users_verdict {
	USERS_WRONG, /* there is no such user, or it has another password */
	USERS_RIGHT,
	USERS_OVERLOAD /* unknown: it could not be checked in time */
};

/*
 * Checks credentials that come from the address `from` against the users.
 * crypt(3) is slow by design, so it runs in the thread pool of `loop`, a few at
 * a time, and other checks wait; credentials that were right before are cached
 * and recognised at once. Sources (addr_source()) are served in round robin,
 * and within a source the names. A name that is not in the file takes as long
 * as a wrong password. Failures are logged by address; see login_failures.h.
 *
 * Returns 1 if the credentials are right. Returns 0 if the result will come
 * later: `*check` is set and `on_checked(arg, verdict)` fires once, from
 * the loop, never from inside this call; `*check` is gone as it fires.
 * Otherwise nothing is pending: -EAGAIN if too many checks of this source wait
 * already, or -ENOMEM. As with USERS_OVERLOAD, the caller then answers 503,
 * since the password may be right. The credentials are copied; the caller may
 * wipe its own at once.
 */
int
users_check(struct users *users, uv_loop_t *loop, const struct sockaddr *from,
    const struct credentials *credentials, struct users_check **check,
    void (*on_checked)(void *arg, enum users_verdict), void *arg);

/*
 * Cancels a check: `on_checked` does not fire any more, and `arg` is not used
 * again. NULL is a no-op.
 */
void users_check_cancel(struct users_check *check);

#endif
