#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "proxy/base/run_as.h"

/* The owner of files whose owner is not mapped (user_namespaces(7)). */
#define OVERFLOW_ID 65534

static int
find(struct run_as *user, const char *name)
{
	const struct passwd *entry;

	errno = 0;
	if ((entry = getpwnam(name)) == NULL)
		return errno != 0 && errno != ENOENT && errno != ESRCH
		    ? -errno
		    : -ENOENT;
	snprintf(user->name, sizeof(user->name), "%s", name);
	user->uid = entry->pw_uid;
	user->gid = entry->pw_gid;
	return 0;
}

int
run_as_find(struct run_as *user, const char *name)
{
	if (name != NULL)
		return find(user, name);
	if (find(user, "culvert") == 0 || find(user, "nobody") == 0)
		return 0;
	*user = (struct run_as){ "nobody", OVERFLOW_ID, OVERFLOW_ID };
	return 0;
}

bool
run_as_is_us(const struct run_as *user)
{
	uid_t real, effective, saved;

	return getresuid(&real, &effective, &saved) == 0 && real == user->uid &&
	    effective == user->uid && saved == user->uid;
}

int
run_as_become(const struct run_as *user)
{
	int rv = 0;

	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
		return -errno;
	if (setgroups(0, NULL) != 0 ||
	    setresgid(user->gid, user->gid, user->gid) != 0 ||
	    setresuid(user->uid, user->uid, user->uid) != 0)
		rv = -errno;
	prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
	/* A change of user resets it to the value of suid_dumpable. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return rv;
}
