#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/sandbox.h"

/*
 * Each test confines a child, for there is no way back, and reads from its
 * exit status the line at which it was disappointed.
 */

#define SKIPPED 255	/* exit status: no Landlock or no capability here */
#define EXPECT(condition) \
	do { \
		if (!(condition)) \
			_exit(__LINE__ % SKIPPED); \
	} while (0)

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
in_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED) {
		print_message("this kernel has no Landlock, "
		    "or we have no capability to keep\n");
		skip();
	}
	if (WEXITSTATUS(status) != 0)
		fail_msg("disappointed at line %d modulo %d",
		    WEXITSTATUS(status), SKIPPED);
}

static void
enter(void)
{
	const char *const readables[] = { readable, file,
		"/nonexistent/culvert", NULL };
	const char *const writables[] = { writable, NULL };
	struct sandbox_paths paths = { readables, writables };
	int rv = sandbox_enter(&paths, 0);

	if (rv == 1)
		_exit(SKIPPED);
	EXPECT(rv == 0);
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
	EXPECT(try_open(file, O_RDONLY) == 0);
	EXPECT(try_open(file, O_WRONLY) == -EACCES);
	EXPECT(try_open(readable, O_RDONLY | O_DIRECTORY) == 0);
	EXPECT(try_below(readable, "inner", O_RDONLY) == 0);
	EXPECT(try_below(readable, "inner", O_RDWR) == -EACCES);
	EXPECT(try_below(readable, "new", O_WRONLY | O_CREAT) == -EACCES);
	EXPECT(try_open("/etc/hosts", O_RDONLY) == 0);
	EXPECT(try_open("/etc/hosts", O_WRONLY) == -EACCES);
}

static void
writing(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char path[128];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	enter();
	EXPECT(try_below(writable, "new", O_RDWR | O_CREAT) == 0);
	EXPECT(try_below(writable, "new", O_RDWR | O_TRUNC) == 0);
	snprintf(path, sizeof(path), "%s/new", writable);
	EXPECT(unlink(path) == 0);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/socket", writable);
	EXPECT(bind(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0);
	EXPECT(unlink(sun.sun_path) == 0);
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

static void
capabilities(void)
{
	struct sandbox_paths none = { NULL, NULL };

	EXPECT(sandbox_enter(&none, 0) >= 0);
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

/* One capability stays, the least that does it, and it does. */
static void
one_capability(void)
{
	struct sandbox_paths none = { NULL, NULL };
	uint64_t keep = 0, before = status_of("CapEff:");
	unsigned tries = 0;
	int rv = sandbox_least(may_mark, &tries, &keep);

	EXPECT(status_of("CapEff:") == before);
	if (rv != 0)
		_exit(SKIPPED);
	EXPECT(keep == UINT64_C(1) << 13 || keep == UINT64_C(1) << 12);
	EXPECT(sandbox_enter(&none, keep) >= 0);
	EXPECT(status_of("CapEff:") == keep);
	EXPECT(status_of("CapPrm:") == keep);
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

static void
listed_files_are_read_and_no_others(void **state)
{
	(void)state;
	in_child(reading);
}

static void
listed_directories_are_written(void **state)
{
	(void)state;
	in_child(writing);
}

static void
nothing_is_executed(void **state)
{
	(void)state;
	in_child(executing);
}

static void
capabilities_are_gone(void **state)
{
	(void)state;
	in_child(capabilities);
}

static void
the_least_capability_is_found(void **state)
{
	(void)state;
	in_child(least);
}

static void
one_capability_may_stay(void **state)
{
	(void)state;
	in_child(one_capability);
}

static void
limits_are_set_early(void **state)
{
	(void)state;
	in_child(early);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listed_files_are_read_and_no_others),
		cmocka_unit_test(listed_directories_are_written),
		cmocka_unit_test(nothing_is_executed),
		cmocka_unit_test(capabilities_are_gone),
		cmocka_unit_test(the_least_capability_is_found),
		cmocka_unit_test(one_capability_may_stay),
		cmocka_unit_test(limits_are_set_early),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
