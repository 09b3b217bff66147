#ifndef CULVERT_PROXY_BASE_RUN_AS_H
#define CULVERT_PROXY_BASE_RUN_AS_H

#include <stdbool.h>

#include <sys/types.h>

/* The user that a daemon becomes when root has started it. */

/* Bytes of a user's name with its NUL; useradd(8) takes 32. */
#define RUN_AS_NAME_MAX 256

struct run_as {
	char name[RUN_AS_NAME_MAX];
	uid_t uid;
	gid_t gid;
};

/*
 * Finds a user by name; NULL stands for "culvert" if there is such a user,
 * else "nobody", else the number that the kernel has for nobody. To be called
 * before the sandbox, which closes the system's databases. Returns 0, -ENOENT
 * (there is no such user), or another negative errno of getpwnam(3).
 */
int run_as_find(struct run_as *, const char *name);

/* Whether we are that user already. */
bool run_as_is_us(const struct run_as *);

/*
 * Becomes the user for good, in the user's own group and in no other.
 * Capabilities stay for sandbox_enter() to give up. Returns 0; or a negative
 * errno, upon which we are who we were, perhaps in fewer groups: -EPERM
 * without CAP_SETUID and CAP_SETGID, -EINVAL where a user namespace does not
 * have that user.
 */
int run_as_become(const struct run_as *);

#endif
