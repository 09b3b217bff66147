#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/privsep_message.h"
#include "proxy/base/run_as.h"
#include "tests/unit/child.h"

/*
 * The daemon of each test is a child, without privileges after its start: as
 * root it becomes nobody.
 */

#define HANG_S 60 /* seconds after which a wait is one without end */

static char base[64], listed[96], beside[96], traces[96], sock[96];

static void
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static int
setup(void **state)
{
	(void)state;
	strcpy(base, "/tmp/culvert-privsep-XXXXXX");
	assert_non_null(mkdtemp(base));
	snprintf(listed, sizeof(listed), "%s/listed", base);
	snprintf(beside, sizeof(beside), "%s/beside", base);
	snprintf(traces, sizeof(traces), "%s/traces", base);
	snprintf(sock, sizeof(sock), "%s/socket", base);
	write_file(listed, "first");
	write_file(beside, "secret");
	assert_int_equal(mkdir(traces, 0700), 0);
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", base);
	return system(command);
}

static void
start(void)
{
	const struct privsep_path paths[] = { { PRIVSEP_READ, listed },
		{ PRIVSEP_CREATE, traces }, { PRIVSEP_REMOVE, sock } };
	struct run_as user;

	EXPECT(privsep_start(paths, 3) == 0);
	EXPECT(run_as_find(&user, NULL) == 0);
	EXPECT(geteuid() != 0 || run_as_become(&user) == 0);
}

static void
expect_text(int fd, const char *text)
{
	char buf[64];
	ssize_t n = read(fd, buf, sizeof(buf));

	EXPECT(n == (ssize_t)strlen(text) &&
	    memcmp(buf, text, strlen(text)) == 0);
	close(fd);
}

static void
reading(void)
{
	char path[192];
	int fd;

	start();
	EXPECT((fd = privsep_open(listed)) >= 0);
	EXPECT(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	EXPECT((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
	expect_text(fd, "first");
	EXPECT((fd = privsep_open(beside)) < 0);
	EXPECT(strstr(privsep_strerror(-fd), "not configured at the start") !=
	    NULL);
	snprintf(path, sizeof(path), "%s/../%s/listed", base, base + 5);
	EXPECT(privsep_open(path) < 0);
	EXPECT(privsep_open(traces) < 0);
	EXPECT(privsep_open("/etc/shadow") < 0);
	privsep_stop();
}

static void
listed_files_are_opened_and_no_others(void **state)
{
	(void)state;
	in_child(reading);
}

/*
 * As an editor or a renewal replaces a file: by the parent of the daemon, which
 * may.
 */
static void
replaced(void)
{
	int fd;

	start();
	EXPECT((fd = privsep_open(listed)) >= 0);
	expect_text(fd, "first");
	kill(getpid(), SIGSTOP);
	EXPECT((fd = privsep_open(listed)) >= 0);
	expect_text(fd, "second");
	kill(getpid(), SIGSTOP);
	EXPECT(privsep_open(listed) == -ENOENT);
	privsep_stop();
}

static void
a_file_that_was_replaced_is_found(void **state)
{
	pid_t pid = fork();
	char path[128];
	int status;

	(void)state;
	if (pid == 0) {
		replaced();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	snprintf(path, sizeof(path), "%s/new", base);
	write_file(path, "second");
	assert_int_equal(rename(path, listed), 0);
	kill(pid, SIGCONT);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(unlink(listed), 0);
	kill(pid, SIGCONT);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int
create(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", traces, name);
	return privsep_create(path);
}

static void
creating(void)
{
	char path[256];
	int fd;

	start();
	EXPECT((fd = create("a-1.sqlog")) >= 0);
	EXPECT(write(fd, "x", 1) == 1);
	EXPECT(create("a-1.sqlog") == -EEXIST);
	EXPECT(create(".hidden") == -EINVAL);
	EXPECT(create("..") == -EINVAL);
	EXPECT(create("") == -EINVAL);
	EXPECT(create("a\nb") == -EINVAL);
	snprintf(path, sizeof(path), "%s/elsewhere", base);
	EXPECT(privsep_create(path) < 0);
	privsep_stop();
}

static void
files_are_made_in_listed_directories(void **state)
{
	(void)state;
	in_child(creating);
}

static void
bind_socket(struct stat *st)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, sock);
	EXPECT(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	EXPECT(lstat(sock, st) == 0);
}

static void
removing(void)
{
	struct stat st, other;

	bind_socket(&st);
	start();
	other = st;
	other.st_ino++;
	EXPECT(privsep_remove(sock, &other) == -ESTALE);
	EXPECT(privsep_remove(listed, &st) < 0);
	EXPECT(privsep_remove(sock, &st) == 0);
	EXPECT(privsep_remove(sock, &st) == -ENOENT);
	privsep_stop();
}

static void
the_socket_is_removed_if_it_is_ours(void **state)
{
	struct stat st;

	(void)state;
	in_child(removing);
	assert_int_equal(lstat(sock, &st), -1);
	assert_int_equal(lstat(listed, &st), 0);
}

/*
 * Requests of a daemon under an attacker's control: it cannot extend the list.
 */
static void
lying(void)
{
	static const struct privsep_path wrong[] = {
		{ PRIVSEP_READ, "/etc/shadow" }, { PRIVSEP_READ, "b" },
		{ PRIVSEP_READ, "c" }, { PRIVSEP_READ, "d" }
	};
	struct stat st = { 0 };
	int fd, child = dup(0); /* the number that the socket will have */

	close(child);
	start();
	/* The numbers count, whatever the names. */
	privsep_attach(child, getpid(), wrong, 4);
	EXPECT((fd = privsep_open("/etc/shadow")) >= 0);
	expect_text(fd, "first");
	EXPECT(privsep_open("b") == -EINVAL); /* a directory to create in */
	EXPECT(privsep_open("d") == -EINVAL); /* beyond the list */
	EXPECT(send(child, "x", 1, MSG_NOSIGNAL) == 1);
	/* A malformed request ends the child. */
	EXPECT((fd = privsep_open("/etc/shadow")) < 0);
	EXPECT(strstr(privsep_strerror(-fd), "restart to recover") != NULL);
	EXPECT(privsep_remove("a", &st) < 0);
	privsep_stop();
}

static void
a_daemon_cannot_name_paths(void **state)
{
	(void)state;
	in_child(lying);
}

static void
killed(void)
{
	start();
	kill(getpid(), SIGKILL);
}

static void
the_child_ends_with_the_daemon(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	/* Children that the daemon leaves behind become ours to wait for. */
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	pid = fork();
	if (pid == 0) {
		killed();
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	alarm(HANG_S); /* this test ends when the child does, or so */
	assert_true(wait(&status) > 0 || errno == ECHILD);
	alarm(0);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

/* As after the shell command "sleep 60 & exec culvert". */
static void
with_another_child(void)
{
	int ends[2];
	char byte;

	EXPECT(pipe(ends) == 0);
	if (fork() == 0) { /* it lives as long as we do */
		close(ends[1]);
		_exit((int)read(ends[0], &byte, 1));
	}
	start();
	alarm(HANG_S);
	privsep_stop();
}

static void
other_children_are_not_waited_for(void **state)
{
	(void)state;
	in_child(with_another_child);
}

static int heard[2]; /* a pipe */

static void
on_hangup(int number)
{
	(void)number;
	EXPECT(write(heard[1], "x", 1) == 1);
}

/* A terminal's group gets the signal, and the child may not have run yet. */
static void
with_a_signal_at_once(void)
{
	const struct privsep_path paths[] = { { PRIVSEP_READ, listed } };
	char bytes[4];

	EXPECT(setpgid(0, 0) == 0 && pipe(heard) == 0);
	signal(SIGHUP, on_hangup);
	EXPECT(privsep_start(paths, 1) == 0);
	EXPECT(kill(0, SIGHUP) == 0);
	privsep_stop();
	EXPECT(read(heard[0], bytes, sizeof(bytes)) == 1);
}

static void
no_handler_of_the_daemon_runs_in_the_child(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 50; i++)
		in_child(with_a_signal_at_once);
}

static void
without_a_child_it_works_by_itself(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	assert_true((fd = privsep_open(beside)) >= 0);
	close(fd);
	assert_true((fd = create("a.sqlog")) >= 0);
	close(fd);
	assert_int_equal(privsep_stat(listed, &st), 0);
	assert_int_equal(privsep_stat("/nonexistent/x", &st), -ENOENT);
	privsep_stop();
}

#define PRIVSEP_TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PRIVSEP_TEST(listed_files_are_opened_and_no_others),
		PRIVSEP_TEST(a_file_that_was_replaced_is_found),
		PRIVSEP_TEST(files_are_made_in_listed_directories),
		PRIVSEP_TEST(the_socket_is_removed_if_it_is_ours),
		PRIVSEP_TEST(a_daemon_cannot_name_paths),
		PRIVSEP_TEST(the_child_ends_with_the_daemon),
		PRIVSEP_TEST(other_children_are_not_waited_for),
		PRIVSEP_TEST(no_handler_of_the_daemon_runs_in_the_child),
		PRIVSEP_TEST(without_a_child_it_works_by_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
