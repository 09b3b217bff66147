#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_packet.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/run_as.h"
#include "proxy/base/sandbox.h"
#include "proxy/base/seccomp.h"
#include "tests/unit/child.h"

/* Each test confines a child, since that cannot be undone. */

static char base[] = "/tmp/culvert-sandbox-XXXXXX";
static char readable[64], file[64], writable[64], secret[64];

static void
make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
}

static int
setup(void **state)
{
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(base));
	snprintf(readable, sizeof(readable), "%s/readable", base);
	snprintf(writable, sizeof(writable), "%s/writable", base);
	snprintf(file, sizeof(file), "%s/file", base);
	snprintf(secret, sizeof(secret), "%s/secret", base);
	assert_int_equal(mkdir(readable, 0700), 0);
	assert_int_equal(mkdir(writable, 0700), 0);
	make_file(file);
	make_file(secret);
	snprintf(path, sizeof(path), "%s/inner", readable);
	make_file(path);
	return 0;
}

static int
teardown(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/inner", readable);
	unlink(path);
	unlink(file);
	unlink(secret);
	rmdir(readable);
	rmdir(writable);
	return rmdir(base);
}

static void
dies_in_child(void (*body)(void))
{
	int status = child_run(body);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* ---- Landlock ---- */

static struct sandbox_missing
enter_with(int connect_port)
{
	const struct sandbox_rule rules[] = {
		{ readable, SANDBOX_READ | SANDBOX_LIST },
		{ file, SANDBOX_READ },
		{ "/nonexistent/culvert", SANDBOX_READ },
		{ writable, SANDBOX_CREATE | SANDBOX_REMOVE },
		{ "/proc/self/status", SANDBOX_READ },
	};
	struct sandbox sandbox = { .rules = rules,
		.nrules = sizeof(rules) / sizeof(rules[0]),
		.connect_port = connect_port };
	struct sandbox_missing missing;

	EXPECT(sandbox_enter(&sandbox, &missing) == 0);
	return missing;
}

static void
enter(void)
{
	if (enter_with(0).files != 0)
		_exit(CHILD_SKIPPED);
}

static int
try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int
try_below(const char *dir, const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return try_open(path, flags);
}

static void
reading(void)
{
	EXPECT(try_open(secret, O_RDONLY) == 0);
	enter();
	EXPECT(try_open(secret, O_RDONLY) == -EACCES);
	EXPECT(try_open(base, O_RDONLY | O_DIRECTORY) == -EACCES);
	EXPECT(try_open("/bin/sh", O_RDONLY) == -EACCES);
	EXPECT(try_open("/etc/passwd", O_RDONLY) == -EACCES);
	EXPECT(try_open("/etc/shadow", O_RDONLY) == -EACCES);
	EXPECT(try_open(file, O_RDONLY) == 0);
	EXPECT(try_open(file, O_WRONLY) == -EACCES);
	EXPECT(try_open(readable, O_RDONLY | O_DIRECTORY) == 0);
	EXPECT(try_below(readable, "inner", O_RDONLY) == 0);
	EXPECT(try_below(readable, "inner", O_RDWR) == -EACCES);
	EXPECT(try_below(readable, "new", O_WRONLY | O_CREAT) == -EACCES);
}

static void
writing(void)
{
	char path[128];

	enter();
	EXPECT(try_below(writable, "new", O_WRONLY | O_CREAT | O_EXCL) == 0);
	EXPECT(try_below(writable, "new", O_RDONLY) == -EACCES);
	snprintf(path, sizeof(path), "%s/new", writable);
	EXPECT(unlink(path) == 0);
	EXPECT(unlink(secret) == -1 && errno == EACCES);
	snprintf(path, sizeof(path), "%s/directory", writable);
	EXPECT(mkdir(path, 0700) == -1 && errno == EACCES);
}

static void
executing(void)
{
	enter();
	execl("/bin/true", "true", NULL);
	EXPECT(errno == EACCES);
}

/* A TCP listener of loopback, and its address. */
static int
listen_tcp(struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*address = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	EXPECT(bind(fd, (struct sockaddr *)address, size) == 0);
	EXPECT(listen(fd, 1) == 0);
	EXPECT(getsockname(fd, (struct sockaddr *)address, &size) == 0);
	return fd;
}

static int
try_connect(const struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), rv;

	rv = connect(fd, (const struct sockaddr *)address, sizeof(*address));
	rv = rv == 0 ? 0 : -errno;
	close(fd);
	return rv;
}

static int
try_bind(int type)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, type, 0), rv;

	rv = bind(fd, (struct sockaddr *)&address, sizeof(address));
	rv = rv == 0 ? 0 : -errno;
	close(fd);
	return rv;
}

static void
no_tcp(void)
{
	struct sockaddr_in there;

	listen_tcp(&there);
	EXPECT(try_connect(&there) == 0);
	if (enter_with(0).network != 0)
		_exit(CHILD_SKIPPED);
	EXPECT(try_connect(&there) == -EACCES);
	EXPECT(try_bind(SOCK_STREAM) == -EACCES);
	EXPECT(try_bind(SOCK_DGRAM) == 0);
}

static void
one_port(void)
{
	struct sockaddr_in there, elsewhere;

	listen_tcp(&there);
	listen_tcp(&elsewhere);
	if (enter_with(ntohs(there.sin_port)).network != 0)
		_exit(CHILD_SKIPPED);
	EXPECT(try_connect(&there) == 0);
	EXPECT(try_connect(&elsewhere) == -EACCES);
}

static void
any_port(void)
{
	struct sockaddr_in there;

	listen_tcp(&there);
	if (enter_with(SANDBOX_ANY_PORT).network != 0)
		_exit(CHILD_SKIPPED);
	EXPECT(try_connect(&there) == 0);
	EXPECT(try_bind(SOCK_STREAM) == -EACCES);
}

static void
scopes(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	int theirs = socket(AF_UNIX, SOCK_DGRAM, 0);
	socklen_t size = sizeof(name);

	/* Without a name, bind(2) makes up an abstract one. */
	EXPECT(bind(theirs, (struct sockaddr *)&name, sizeof(sa_family_t)) ==
	    0);
	EXPECT(getsockname(theirs, (struct sockaddr *)&name, &size) == 0);
	EXPECT(kill(getppid(), 0) == 0);
	if (enter_with(0).scope != 0)
		_exit(CHILD_SKIPPED);
	EXPECT(connect(socket(AF_UNIX, SOCK_DGRAM, 0), (struct sockaddr *)&name,
		   size) == -1 &&
	    errno == EPERM);
	EXPECT(kill(getppid(), 0) == -1 && errno == EPERM);
	EXPECT(kill(getpid(), 0) == 0);
}

/* ---- Capabilities ---- */

/* The line of /proc/self/status that begins so, as a number. */
static unsigned long long
status_of(const char *field)
{
	FILE *status = fopen("/proc/self/status", "re");
	unsigned long long value = ~0ULL;
	char line[256];

	EXPECT(status != NULL);
	while (fgets(line, sizeof(line), status) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtoull(line + strlen(field), NULL, 16);
	fclose(status);
	return value;
}

static const struct sandbox_rule status_rule[] = { { "/proc/self/status",
    SANDBOX_READ } };

static void
capabilities(void)
{
	struct sandbox none = { .rules = status_rule, .nrules = 1 };
	struct sandbox_missing missing;

	EXPECT(sandbox_enter(&none, &missing) == 0);
	EXPECT(status_of("CapEff:") == 0);
	EXPECT(status_of("CapPrm:") == 0);
	EXPECT(status_of("CapInh:") == 0);
	EXPECT(status_of("CapAmb:") == 0);
	EXPECT(status_of("NoNewPrivs:") == 1);
}

static bool
may_mark(void *arg)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), mark = 1, rv;

	++*(unsigned *)arg;
	rv = setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	close(fd);
	return rv == 0;
}

static bool
may_nothing(void *arg)
{
	(void)arg;
	return false;
}

static bool
may_all(void *arg)
{
	(void)arg;
	return true;
}

/* One capability stays, the least that is enough, also for the user nobody. */
static void
one_capability(void)
{
	struct sandbox sandbox = { .rules = status_rule, .nrules = 1 };
	uint64_t before = status_of("CapEff:"), *keep = &sandbox.capabilities;
	struct sandbox_missing missing;
	struct run_as user;
	unsigned tries = 0;
	int rv = sandbox_least(may_mark, &tries, keep);

	EXPECT(status_of("CapEff:") == before);
	if (rv != 0)
		_exit(CHILD_SKIPPED);
	EXPECT(*keep == UINT64_C(1) << 13 || *keep == UINT64_C(1) << 12);
	EXPECT(run_as_find(&user, NULL) == 0);
	EXPECT(geteuid() != 0 || run_as_become(&user) == 0);
	EXPECT(sandbox_enter(&sandbox, &missing) == 0);
	EXPECT(status_of("CapEff:") == *keep);
	EXPECT(status_of("CapPrm:") == *keep);
	EXPECT(status_of("CapInh:") == 0);
	EXPECT(may_mark(&tries));
}

static void
least(void)
{
	uint64_t keep = 7;

	EXPECT(sandbox_least(may_nothing, NULL, &keep) == -EPERM);
	EXPECT(sandbox_least(may_all, NULL, &keep) == 0);
	EXPECT(keep == 0);
}

static void
early(void)
{
	struct rlimit files, core;
	unsigned long n;

	EXPECT(getrlimit(RLIMIT_NOFILE, &files) == 0);
	files.rlim_cur = files.rlim_max / 2;
	EXPECT(setrlimit(RLIMIT_NOFILE, &files) == 0);
	n = sandbox_early();
	EXPECT(n == files.rlim_max);
	EXPECT(getrlimit(RLIMIT_NOFILE, &files) == 0);
	EXPECT(files.rlim_cur == files.rlim_max);
	EXPECT(getrlimit(RLIMIT_CORE, &core) == 0);
	EXPECT(core.rlim_cur == 0 && core.rlim_max == 0);
	EXPECT(prctl(PR_GET_DUMPABLE) == 0);
	EXPECT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
}

/* ---- The user ---- */

static void
becoming(void)
{
	struct sandbox sandbox = { .rules = NULL };
	struct sandbox_missing missing;
	gid_t more[] = { 0, 1 }, group;
	struct run_as user;

	if (geteuid() != 0 || setgroups(2, more) != 0)
		_exit(CHILD_SKIPPED);
	EXPECT(run_as_find(&user, NULL) == 0);
	EXPECT(user.uid != 0 && user.gid != 0);
	EXPECT(!run_as_is_us(&user));
	EXPECT(run_as_become(&user) == 0);
	EXPECT(run_as_is_us(&user));
	EXPECT(getgid() == user.gid && getegid() == user.gid);
	EXPECT(getgroups(1, &group) == 0);
	EXPECT(prctl(PR_GET_DUMPABLE) == 0);
	/* Without Landlock's help, for a kernel that has none. */
	EXPECT(sandbox_enter(&sandbox, &missing) == 0);
	EXPECT(setuid(0) == -1 && errno == EPERM);
	EXPECT(setgid(0) == -1 && errno == EPERM);
	EXPECT(setgroups(1, more) == -1 && errno == EPERM);
}

/* A file of root is protected by its mode alone. */
static void
reading_as_nobody(void)
{
	struct run_as user;

	EXPECT(run_as_find(&user, NULL) == 0);
	if (geteuid() != 0 || try_open("/etc/shadow", O_RDONLY) != 0)
		_exit(CHILD_SKIPPED);
	EXPECT(run_as_become(&user) == 0);
	/* run_as_become() leaves capabilities, not in use, to the sandbox. */
	EXPECT(try_open("/etc/shadow", O_RDONLY) == -EACCES);
	EXPECT(try_open(secret, O_RDONLY) == -EACCES);
}

/* ---- seccomp ---- */

static void
filter(void)
{
	if (seccomp_daemon() != 0)
		_exit(CHILD_SKIPPED);
}

static void *
on_thread(void *arg)
{
	return arg;
}

static void
no_io_uring(void)
{
	EXPECT(seccomp_early() == 0);
	EXPECT(syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == ENOSYS);
	EXPECT(setuid(getuid()) == 0);
}

static void
calls(void)
{
	int tcp = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in there;
	pthread_t thread;

	listen_tcp(&there);
	filter();
	EXPECT(tcp >= 0);
	EXPECT(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0);
	EXPECT(socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0) >= 0 ||
	    errno == EAFNOSUPPORT);
	EXPECT(socket(AF_UNIX, SOCK_DGRAM, 0) >= 0);
	EXPECT(socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
	EXPECT(socket(AF_NETLINK, SOCK_RAW, 9) == -1 && errno == ENOSYS);
	EXPECT(socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == ENOSYS);
	EXPECT(socket(AF_INET, SOCK_RAW, 1) == -1 && errno == ENOSYS);
	EXPECT(socket(AF_ALG, SOCK_SEQPACKET, 0) == -1 && errno == ENOSYS);
	EXPECT(listen(tcp, 1) == -1 && errno == ENOSYS);
	/* A connection without connect(2), which Landlock would not see. */
	EXPECT(sendto(tcp, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&there,
		   sizeof(there)) == -1 &&
	    errno == ENOSYS);
	EXPECT(fork() == -1 && errno == ENOSYS);
	EXPECT(pthread_create(&thread, NULL, on_thread, NULL) == 0);
	EXPECT(pthread_join(thread, NULL) == 0);
	EXPECT(kill(getppid(), 0) == -1 && errno == ENOSYS);
	EXPECT(setuid(getuid()) == -1 && errno == ENOSYS);
	EXPECT(unlink(secret) == -1 && errno == ENOSYS);
	EXPECT(chmod(secret, 0644) == -1 && errno == ENOSYS);
	EXPECT(mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED &&
	    errno == ENOSYS);
	EXPECT(syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == ENOSYS);
	/* A call of tomorrow. */
	EXPECT(syscall(1000) == -1 && errno == ENOSYS);
}

static void
exec_filtered(void)
{
	filter();
	execl("/bin/true", "true", NULL);
}

static void
ptrace_filtered(void)
{
	filter();
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static void
mount_filtered(void)
{
	filter();
	(void)!mount("none", "/nonexistent", "tmpfs", 0, NULL);
}

/* The child that opens files has less to do, and no network. */
static void
privsep_calls(void)
{
	char path[128];
	int rv = seccomp_privsep();

	if (rv != 0)
		_exit(CHILD_SKIPPED);
	EXPECT(try_open(secret, O_RDONLY) == 0);
	EXPECT(try_below(writable, "new", O_WRONLY | O_CREAT) == 0);
	snprintf(path, sizeof(path), "%s/new", writable);
	EXPECT(unlink(path) == 0);
	EXPECT(socket(AF_INET, SOCK_STREAM, 0) == -1 && errno == ENOSYS);
	EXPECT(socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == ENOSYS);
	EXPECT(fork() == -1 && errno == ENOSYS);
	EXPECT(setuid(0) == -1 && errno == ENOSYS);
	EXPECT(chmod(secret, 0644) == -1 && errno == ENOSYS);
}

#define IN_CHILD(name, body) \
	static void name(void **state) \
	{ \
		(void)state; \
		in_child(body); \
	}
#define DIES_IN_CHILD(name, body) \
	static void name(void **state) \
	{ \
		(void)state; \
		dies_in_child(body); \
	}

IN_CHILD(listed_files_are_read_and_no_others, reading)
IN_CHILD(listed_directories_are_written, writing)
IN_CHILD(nothing_is_executed, executing)
IN_CHILD(tcp_connects_nowhere_and_listens_nowhere, no_tcp)
IN_CHILD(tcp_connects_to_one_port, one_port)
IN_CHILD(tcp_connects_everywhere, any_port)
IN_CHILD(other_processes_are_out_of_reach, scopes)
IN_CHILD(capabilities_are_gone, capabilities)
IN_CHILD(the_least_capability_is_found, least)
IN_CHILD(one_capability_may_stay, one_capability)
IN_CHILD(limits_are_set_early, early)
IN_CHILD(root_becomes_another_for_good, becoming)
IN_CHILD(files_of_root_are_closed, reading_as_nobody)
IN_CHILD(io_uring_is_out_of_reach, no_io_uring)
IN_CHILD(calls_that_are_not_listed_fail, calls)
DIES_IN_CHILD(a_new_program_is_deadly, exec_filtered)
DIES_IN_CHILD(tracing_is_deadly, ptrace_filtered)
DIES_IN_CHILD(mounting_is_deadly, mount_filtered)
IN_CHILD(the_child_that_opens_files_does_no_more, privsep_calls)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listed_files_are_read_and_no_others),
		cmocka_unit_test(listed_directories_are_written),
		cmocka_unit_test(nothing_is_executed),
		cmocka_unit_test(tcp_connects_nowhere_and_listens_nowhere),
		cmocka_unit_test(tcp_connects_to_one_port),
		cmocka_unit_test(tcp_connects_everywhere),
		cmocka_unit_test(other_processes_are_out_of_reach),
		cmocka_unit_test(capabilities_are_gone),
		cmocka_unit_test(the_least_capability_is_found),
		cmocka_unit_test(one_capability_may_stay),
		cmocka_unit_test(limits_are_set_early),
		cmocka_unit_test(root_becomes_another_for_good),
		cmocka_unit_test(files_of_root_are_closed),
		cmocka_unit_test(io_uring_is_out_of_reach),
		cmocka_unit_test(calls_that_are_not_listed_fail),
		cmocka_unit_test(a_new_program_is_deadly),
		cmocka_unit_test(tracing_is_deadly),
		cmocka_unit_test(mounting_is_deadly),
		cmocka_unit_test(the_child_that_opens_files_does_no_more),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
