#ifndef CULVERT_PROXY_BASE_RUN_AS_H
#define CULVERT_PROXY_BASE_RUN_AS_H

#include <stdbool.h>

#include <sys/types.h>

/* The user that a daemon switches to if root has started it. */

/* Bytes of a user's name with its NUL; useradd(8) takes 32. */
#define RUN_AS_NAME_MAX 256

struct run_as {
	char name[RUN_AS_NAME_MAX];
	uid_t uid;
	gid_t gid;
};

/*
 * Finds a user by name; NULL stands for "culvert" if there is such a user,
 * else "nobody", else the kernel's overflow ID. Call it before the sandbox,
 * which makes the user database unreachable. Returns 0, -ENOENT (there is no
 * such user), or another negative errno of getpwnam(3).
 */
int run_as_find(struct run_as *, const char *name);

/* Whether the process runs as that user already. */
bool run_as_is_us(const struct run_as *);

/*
 * Switches to the user for good, with the user's own group and no other.
 * Capabilities stay until sandbox_enter() drops them. Returns 0; or a negative
 * errno with the user unchanged, though perhaps in fewer groups: -EPERM without
 * CAP_SETUID and CAP_SETGID, -EINVAL if the user namespace does not map that
 * user.
 */
int run_as_become(const struct run_as *);

#endif
