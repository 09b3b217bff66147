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

#include "proxy/base/sandbox.h"

/*
 * Constants that the headers of Debian 12 lack, each with the version of
 * Landlock's ABI that introduced it.
 */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* 3 */
#endif
#define ACCESS_NET_BIND_TCP (1ULL << 0)	   /* 4 */
#define ACCESS_NET_CONNECT_TCP (1ULL << 1) /* 4 */
#define RULE_NET_PORT 2			   /* 4 */
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15) /* 5 */
#endif
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0) /* 6 */
#define SCOPE_SIGNAL (1ULL << 1)	       /* 6 */

/* The size that is passed depends on the ABI of the kernel. */
struct ruleset {
	uint64_t fs;
	uint64_t net;	/* 4 */
	uint64_t scope; /* 6 */
};

struct port_rule {
	uint64_t access;
	uint64_t port;
};

#define RIGHTS_ABI1 (2 * LANDLOCK_ACCESS_FS_MAKE_SYM - 1)

/* The rights that apply to a file that is not a directory. */
#define RIGHTS_OF_FILE LANDLOCK_ACCESS_FS_READ_FILE

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

/* Keeps the permitted ones of the set, and makes them effective. */
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

/* Returns the version of the kernel's Landlock, or a negative errno. */
static int
landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

	return abi >= 1 ? (int)abi : abi == 0 ? -ENOSYS : -errno;
}

static int
create_ruleset(const struct sandbox *sandbox, int abi)
{
	struct ruleset ruleset = { .fs = RIGHTS_ABI1 };
	int fd;

	if (abi >= 2)
		ruleset.fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		ruleset.fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
	if (abi >= 4)
		ruleset.net = ACCESS_NET_BIND_TCP;
	if (abi >= 4 && sandbox->connect_port != SANDBOX_ANY_PORT)
		ruleset.net |= ACCESS_NET_CONNECT_TCP;
	if (abi >= 5)
		ruleset.fs |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
	if (abi >= 6)
		ruleset.scope = SCOPE_SIGNAL | SCOPE_ABSTRACT_UNIX_SOCKET;
	fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset,
	    abi >= 6	   ? sizeof(ruleset)
		: abi >= 4 ? offsetof(struct ruleset, scope)
			   : offsetof(struct ruleset, net),
	    0);
	return fd >= 0 ? fd : -errno;
}

static uint64_t
landlock_rights(unsigned rights)
{
	uint64_t access = 0;

	if ((rights & SANDBOX_READ) != 0)
		access |= LANDLOCK_ACCESS_FS_READ_FILE;
	if ((rights & SANDBOX_LIST) != 0)
		access |= LANDLOCK_ACCESS_FS_READ_DIR;
	if ((rights & SANDBOX_CREATE) != 0)
		access |= LANDLOCK_ACCESS_FS_MAKE_REG |
		    LANDLOCK_ACCESS_FS_WRITE_FILE;
	if ((rights & SANDBOX_REMOVE) != 0)
		access |= LANDLOCK_ACCESS_FS_REMOVE_FILE;
	return access;
}

static int
allow_path(int ruleset, const struct sandbox_rule *allowed)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = landlock_rights(allowed->rights)
	};
	struct stat st;
	int rv = 0;

	rule.parent_fd = open(allowed->path, O_PATH | O_CLOEXEC);
	/* A path that cannot be opened now gets no rule and is denied. */
	if (rule.parent_fd < 0)
		return 0;
	if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed_access &= RIGHTS_OF_FILE;
	if (rule.allowed_access != 0 &&
	    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH,
		&rule, 0) != 0)
		rv = -errno;
	close(rule.parent_fd);
	return rv;
}

static int
allow_port(int ruleset, int port)
{
	struct port_rule rule = { ACCESS_NET_CONNECT_TCP, (uint64_t)port };

	return syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule,
		   0) == 0
	    ? 0
	    : -errno;
}

static int
confine(const struct sandbox *sandbox, int abi)
{
	int ruleset = create_ruleset(sandbox, abi), rv = 0;

	if (ruleset < 0)
		return ruleset;
	for (size_t i = 0; i < sandbox->nrules && rv == 0; i++)
		rv = allow_path(ruleset, &sandbox->rules[i]);
	if (rv == 0 && abi >= 4 && sandbox->connect_port > 0)
		rv = allow_port(ruleset, sandbox->connect_port);
	if (rv == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		rv = -errno;
	close(ruleset);
	return rv;
}

int
sandbox_enter(const struct sandbox *sandbox, struct sandbox_missing *missing)
{
	int abi = landlock_abi(), rv = abi;

	/* Landlock requires it, even if sandbox_early() was not called. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	if (abi >= 1)
		rv = confine(sandbox, abi);
	*missing = (struct sandbox_missing){ rv < 0 ? rv : 0,
		rv < 0	      ? rv
		    : abi < 4 ? -ENOSYS
			      : 0,
		rv < 0	      ? rv
		    : abi < 6 ? -ENOSYS
			      : 0 };
	/* Last: the rules above may name paths that only root can reach. */
	return drop_capabilities(sandbox->capabilities);
}
