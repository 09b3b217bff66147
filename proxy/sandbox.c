#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/sandbox.h"

/* Rights that are younger than the headers of Debian 12, with their ABI. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)	/* 3 */
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)	/* 5 */
#endif

#define RIGHTS_ABI1 (2 * LANDLOCK_ACCESS_FS_MAKE_SYM - 1)
#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_WRITE \
	(RIGHTS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK)

/* What a file that is no directory may be given. */
#define RIGHTS_OF_FILE \
	(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
	LANDLOCK_ACCESS_FS_TRUNCATE)

/*
 * The system's own: resolv.conf, hosts and the trust store, with the places
 * that their symbolic links lead to; random numbers for c-ares; /proc/self
 * for sanitizers.
 */
static const char *const system_paths[] = {
	"/etc", "/usr/share", "/usr/local/share/ca-certificates",
	"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
	"/dev/urandom", "/proc/self", NULL
};

unsigned long
sandbox_early(void)
{
	struct rlimit core = { 0, 0 }, files;

	setrlimit(RLIMIT_CORE, &core);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return 0;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	getrlimit(RLIMIT_NOFILE, &files);
	return files.rlim_cur;
}

#define WORDS _LINUX_CAPABILITY_U32S_3
#define BIT(capability) (UINT64_C(1) << (capability))

static int
get_capabilities(struct __user_cap_data_struct data[WORDS])
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};

	return syscall(SYS_capget, &header, data) == 0 ? 0 : -errno;
}

static int
set_capabilities(const struct __user_cap_data_struct data[WORDS])
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};

	return syscall(SYS_capset, &header, data) == 0 ? 0 : -errno;
}

/* Keeps those of the set that are there; in use, not merely permitted. */
static int
drop_capabilities(uint64_t keep)
{
	struct __user_cap_data_struct data[WORDS];
	int rv;

	/* A kernel without ambient capabilities has none to clear. */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if ((rv = get_capabilities(data)) != 0)
		return rv;
	for (size_t i = 0; i < WORDS; i++) {
		data[i].permitted &= (uint32_t)(keep >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return set_capabilities(data);
}

int
sandbox_least(bool (*works)(void *arg), void *arg, uint64_t *keep)
{
	const uint64_t sets[] = { 0, BIT(CAP_NET_RAW), BIT(CAP_NET_ADMIN),
		BIT(CAP_NET_RAW) | BIT(CAP_NET_ADMIN) };
	struct __user_cap_data_struct all[WORDS], some[WORDS];
	bool found = false;
	int rv;

	if ((rv = get_capabilities(all)) != 0)
		return rv;
	memcpy(some, all, sizeof(some));
	for (size_t i = 0; !found && i < sizeof(sets) / sizeof(sets[0]); i++) {
		for (size_t j = 0; j < WORDS; j++)
			some[j].effective = some[j].permitted &
			    (uint32_t)(sets[i] >> (32 * j));
		found = set_capabilities(some) == 0 && works(arg);
		*keep = sets[i];
	}
	rv = set_capabilities(all);
	return !found ? -EPERM : rv;
}

/* Every right that this kernel's Landlock knows, or 0 without Landlock. */
static uint64_t
known_rights(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t rights = RIGHTS_ABI1;

	if (abi < 1)
		return 0;
	if (abi >= 2)
		rights |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rights |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 5)
		rights |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	return rights;
}

static int
allow(int ruleset, const char *path, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = rights };
	struct stat st;
	int rv = 0;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	/* What cannot be reached now is left to be denied. */
	if (rule.parent_fd < 0)
		return 0;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= RIGHTS_OF_FILE;
	if (syscall(SYS_landlock_add_rule, ruleset,
	    LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
		rv = -errno;
	close(rule.parent_fd);
	return rv;
}

static int
allow_all(int ruleset, const char *const *paths, uint64_t rights)
{
	int rv = 0;

	while (rv == 0 && paths != NULL && *paths != NULL)
		rv = allow(ruleset, *paths++, rights);
	return rv;
}

static int
confine(const struct sandbox_paths *paths, uint64_t known)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = known };
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr,
	    sizeof(attr), 0);
	int rv;

	if (ruleset < 0)
		return -errno;
	rv = allow_all(ruleset, system_paths, RIGHTS_READ & known);
	if (rv == 0)
		rv = allow_all(ruleset, paths->read, RIGHTS_READ & known);
	if (rv == 0)
		rv = allow_all(ruleset, paths->write, RIGHTS_WRITE & known);
	if (rv == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		rv = -errno;
	close(ruleset);
	return rv;
}

int
sandbox_enter(const struct sandbox_paths *paths, uint64_t keep)
{
	uint64_t known = known_rights();
	int rv, dropped;

	/* Landlock asks for it, even if sandbox_early() was not called. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	rv = known != 0 ? confine(paths, known) : 1;
	/* Last: the rules above may name what only root can reach. */
	dropped = drop_capabilities(keep);
	return dropped < 0 ? dropped : rv;
}
