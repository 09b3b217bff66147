#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/sockios.h>
#include <seccomp.h>

#include "proxy/base/seccomp.h"

/* The bits of socket(2)'s second argument that hold the type. */
#define SOCKET_TYPE_MASK 0xf

#ifdef __s390__
#define CLONE_FLAGS SCMP_A1 /* its first two arguments are swapped there */
#else
#define CLONE_FLAGS SCMP_A0
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * The lists contain names, since no architecture and no version of libseccomp
 * has all of them: an unknown name is skipped.
 */

/* Calls that the C library makes by itself: memory, threads, exit. */
static const char *const common_calls[] = {
	"brk",
	"munmap",
	"mremap",
	"madvise",
	"membarrier",
	"futex",
	"futex_time64",
	"futex_waitv",
	"futex_wait",
	"futex_wake",
	"futex_requeue",
	"set_robust_list",
	"rseq",
	"gettid",
	"getpid",
	"sched_yield",
	"sched_getaffinity",
	"getcpu",
	"exit",
	"exit_group",
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sigreturn",
	"sigaltstack",
	"restart_syscall",
	"clock_gettime",
	"clock_gettime64",
	"clock_getres",
	"clock_getres_time64",
	"gettimeofday",
	"time",
	"getrandom",
	"read",
	"write",
	"close",
	"fcntl",
	"fcntl64",
	"lseek",
	"_llseek",
	"open",
	"openat",
	"fstat",
	"fstat64",
	"newfstatat",
	"fstatat64",
	"stat",
	"stat64",
	"lstat",
	"lstat64",
	"statx",
	"getuid",
	"getuid32",
	"geteuid",
	"geteuid32",
	"getgid",
	"getgid32",
	"getegid",
	"getegid32",
};

static const char *const daemon_calls[] = {
	/* Files: the system's, the log, and those that the child opened. */
	"readv",
	"writev",
	"pread64",
	"access",
	"faccessat",
	"faccessat2",
	"readlink",
	"readlinkat",
	"getdents",
	"getdents64",
	"dup",
	"dup3",
	"inotify_init1",
	"inotify_add_watch",
	"inotify_rm_watch",
	"uname",
	/* The loop. */
	"epoll_create1",
	"epoll_ctl",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"poll",
	"ppoll",
	"ppoll_time64",
	"select",
	"_newselect",
	"pselect6",
	"pselect6_time64",
	"eventfd2",
	"pipe2",
	"timerfd_create",
	"timerfd_settime",
	"timerfd_settime64",
	"timerfd_gettime",
	"timerfd_gettime64",
	"clock_nanosleep",
	"clock_nanosleep_time64",
	"nanosleep",
	/* Sockets. */
	"bind",
	"connect",
	"accept",
	"accept4",
	"shutdown",
	"getsockname",
	"getpeername",
	"getsockopt",
	"setsockopt",
	"recv",
	"recvfrom",
	"recvmsg",
	"recvmmsg",
	"recvmmsg_time64",
	"send",
	/* Threads of the pool, and what they query. */
	"set_tid_address",
	"getppid",
	"sysinfo",
	"getrusage",
	"getrlimit",
	"ugetrlimit",
	"mlock",
	"cacheflush",
	"riscv_flush_icache",
	/* Waiting for the end of the child that opens files. */
	"wait4",
	"waitpid",
	"waitid",
};

static const char *const privsep_calls[] = {
	"recvmsg",
	"recvfrom",
	"sendmsg",
	"unlink",
	"unlinkat",
	"mmap",
	"mmap2",
	"mprotect",
};

/* No library makes these by itself. */
static const char *const fatal_calls[] = {
	"execve",
	"execveat",
	"ptrace",
	"process_vm_readv",
	"process_vm_writev",
	"pidfd_getfd",
	"mount",
	"umount2",
	"pivot_root",
	"chroot",
	"unshare",
	"setns",
	"bpf",
	"init_module",
	"finit_module",
	"delete_module",
	"kexec_load",
	"kexec_file_load",
};

static int
add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names,
    size_t n)
{
	int rv = 0, call;

	for (size_t i = 0; i < n && rv == 0; i++) {
		call = seccomp_syscall_resolve_name(names[i]);
		if (call != __NR_SCMP_ERROR)
			rv = seccomp_rule_add(filter, action, call, 0);
	}
	return rv;
}

/* Allows a call whose arguments match all the comparisons. */
static int
add(scmp_filter_ctx filter, const char *name,
    const struct scmp_arg_cmp *compare, unsigned n)
{
	int call = seccomp_syscall_resolve_name(name);

	if (call == __NR_SCMP_ERROR)
		return 0;
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, n, compare);
}

#define ADD(filter, name, ...) \
	add(filter, name, (const struct scmp_arg_cmp[]){ __VA_ARGS__ }, \
	    COUNT(((const struct scmp_arg_cmp[]){ __VA_ARGS__ })))

static int
add_sockets(scmp_filter_ctx filter)
{
	static const int families[] = { AF_INET, AF_INET6 };
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };
	int rv;

	rv = ADD(filter, "socket", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
	if (rv == 0)
		rv = ADD(filter, "socket", SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
		    SCMP_A2(SCMP_CMP_EQ, NETLINK_ROUTE));
	for (size_t i = 0; i < COUNT(families); i++)
		for (size_t j = 0; j < COUNT(types) && rv == 0; j++)
			rv = ADD(filter, "socket",
			    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]),
			    SCMP_A1(SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK,
				(scmp_datum_t)types[j]));
	return rv;
}

/* Allows sending, but not MSG_FASTOPEN, which connects (tcp(7)). */
static int
add_sends(scmp_filter_ctx filter)
{
	int rv;

	rv = ADD(filter, "sendto",
	    SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
	if (rv == 0)
		rv = ADD(filter, "sendmsg",
		    SCMP_A2(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
	if (rv == 0)
		rv = ADD(filter, "sendmmsg",
		    SCMP_A3(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
	return rv;
}

static int
add_ioctls(scmp_filter_ctx filter)
{
	static const unsigned long requests[] = { FIONBIO, FIOCLEX, FIONREAD,
		TIOCOUTQ, TCGETS, SIOCGIFNAME, SIOCGIFINDEX, SIOCGIFMTU };
	int rv = 0;

	for (size_t i = 0; i < COUNT(requests) && rv == 0; i++)
		rv = ADD(filter, "ioctl", SCMP_A1(SCMP_CMP_EQ, requests[i]));
	return rv;
}

/*
 * Allows threads, but no processes. clone3(2) stays denied: a filter cannot
 * see its flags, which are in memory.
 */
static int
add_threads(scmp_filter_ctx filter)
{
	int rv;

	rv = ADD(filter, "clone",
	    CLONE_FLAGS(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	if (rv == 0)
		rv = ADD(filter, "tgkill",
		    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	if (rv == 0)
		rv = ADD(filter, "prctl", SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	if (rv == 0) /* only to read limits of this process */
		rv = ADD(filter, "prlimit64", SCMP_A0(SCMP_CMP_EQ, 0),
		    SCMP_A2(SCMP_CMP_EQ, 0));
	return rv;
}

/* Allows memory that is not executable. */
static int
add_memory(scmp_filter_ctx filter)
{
	static const char *const names[] = { "mmap", "mmap2", "mprotect" };
	int rv = 0;

	for (size_t i = 0; i < COUNT(names) && rv == 0; i++)
		rv = ADD(filter, names[i],
		    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return rv;
}

static int
add_daemon(scmp_filter_ctx filter)
{
	int rv;

	rv = add_names(filter, SCMP_ACT_ALLOW, daemon_calls,
	    COUNT(daemon_calls));
	if (rv == 0)
		rv = add_sockets(filter);
	if (rv == 0)
		rv = add_sends(filter);
	if (rv == 0)
		rv = add_ioctls(filter);
	if (rv == 0)
		rv = add_threads(filter);
	if (rv == 0)
		rv = add_memory(filter);
	return rv;
}

static int
add_privsep(scmp_filter_ctx filter)
{
	return add_names(filter, SCMP_ACT_ALLOW, privsep_calls,
	    COUNT(privsep_calls));
}

static int
enter(int (*add_own)(scmp_filter_ctx filter))
{
	scmp_filter_ctx filter;
	int rv;

#ifdef __SANITIZE_ADDRESS__
	return 1;
#endif
	if ((filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS))) == NULL)
		return -ENOMEM;
	/* Not every kernel and library supports these improvements. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
	rv = add_names(filter, SCMP_ACT_KILL_PROCESS, fatal_calls,
	    COUNT(fatal_calls));
	if (rv == 0)
		rv = add_names(filter, SCMP_ACT_ALLOW, common_calls,
		    COUNT(common_calls));
	if (rv == 0)
		rv = add_own(filter);
	if (rv == 0)
		rv = seccomp_load(filter);
	seccomp_release(filter);
	return rv;
}

int
seccomp_early(void)
{
	scmp_filter_ctx filter;
	int rv;

	if ((filter = seccomp_init(SCMP_ACT_ALLOW)) == NULL)
		return -ENOMEM;
	rv = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
	    SCMP_SYS(io_uring_setup), 0);
	if (rv == 0)
		rv = seccomp_load(filter);
	seccomp_release(filter);
	return rv;
}

int
seccomp_daemon(void)
{
	return enter(add_daemon);
}

int
seccomp_privsep(void)
{
	return enter(add_privsep);
}
