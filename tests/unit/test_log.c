#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/log.h"

/* Standard error is a pipe while a test runs; cmocka writes there too, after
 * the test, when the real one is back. */
struct capture {
	int reader, saved_stderr;
	char text[2 * LOG_LINE_MAX];
};

static struct capture capture;

static int
setup(void **state)
{
	int fds[2];

	(void)state;
	unsetenv("JOURNAL_STREAM");
	unsetenv("NOTIFY_SOCKET");
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	capture.reader = fds[0];
	capture.saved_stderr = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	log_init("culvert", 0);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	dup2(capture.saved_stderr, STDERR_FILENO);
	close(capture.saved_stderr);
	close(capture.reader);
	return 0;
}

/* What has been logged since the last call, without the time. */
static const char *
logged(void)
{
	ssize_t len = read(capture.reader, capture.text,
	    sizeof(capture.text) - 1);
	const char *name;

	if (len <= 0)
		return "";
	capture.text[len] = '\0';
	name = strstr(capture.text, "Z culvert: ");
	return name != NULL ? name + strlen("Z culvert: ") : capture.text;
}

static void
lines_have_time_name_and_level(void **state)
{
	(void)state;
	errno = ENOENT;
	log_warn("%s is %d", "it", 7);
	assert_int_equal(errno, ENOENT);
	assert_string_equal(logged(), "warning: it is 7\n");
	assert_int_equal(capture.text[4], '-');
	assert_int_equal(capture.text[10], 'T');
	assert_int_equal(capture.text[19], '.');
	log_error("no");
	assert_string_equal(logged(), "error: no\n");
	log_info("yes");
	assert_string_equal(logged(), "yes\n");
}

static void
verbosity_is_a_threshold(void **state)
{
	(void)state;
	log_debug("hidden");
	assert_string_equal(logged(), "");
	log_init("culvert", 1);
	log_debug("shown");
	assert_string_equal(logged(), "debug: shown\n");
	log_init("culvert", -1);
	log_info("hidden");
	log_warn("hidden");
	assert_string_equal(logged(), "");
	log_error("shown");
	assert_string_equal(logged(), "error: shown\n");
}

static void
arguments_cannot_forge_a_line(void **state)
{
	(void)state;
	log_info("host %s", "a\nb\r\x1b[2J\x7f\xc2\x9b\\n\t");
	assert_string_equal(logged(), "host "
	    "a\\x0ab\\x0d\\x1b[2J\\x7f\\xc2\\x9b\\\\n\\x09\n");
}

static void
long_lines_are_cut(void **state)
{
	static const char fill[] = { 'a', '\n' };
	char text[2 * LOG_LINE_MAX];
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof(fill); i++) {
		memset(text, fill[i], sizeof(text));
		text[sizeof(text) - 1] = '\0';
		log_info("%s", text);
		logged();
		len = strlen(capture.text);
		assert_in_range(len, LOG_LINE_MAX - 16, LOG_LINE_MAX);
		assert_string_equal(capture.text + len - 4, "...\n");
	}
}

static void
the_journal_gets_priorities(void **state)
{
	char stream[64];
	struct stat st;

	(void)state;
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
	    (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("culvert", 1);
	log_error("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	assert_string_equal(logged(), "<3>a\n<4>b\n<6>c\n<7>d\n");
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_init("culvert", 0);
	log_info("elsewhere");
	assert_string_equal(logged(), "elsewhere\n");
	assert_int_not_equal(capture.text[0], '<');
}

static void
the_manager_is_told(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t size = sizeof(sa_family_t);
	char name[sizeof(sun.sun_path) + 1] = "@", buf[32] = "";
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(log_notify("READY=1"), 0);
	/* Without a name, bind(2) makes up an abstract one. */
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, size), 0);
	size = sizeof(sun);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sun, &size), 0);
	memcpy(name + 1, sun.sun_path + 1,
	    size - offsetof(struct sockaddr_un, sun_path) - 1);
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(log_notify("READY=1"), 0);
	assert_int_equal(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), 7);
	assert_string_equal(buf, "READY=1");
	close(fd);
	assert_int_equal(log_notify("READY=1"), -ECONNREFUSED);
	setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
	assert_int_equal(log_notify("READY=1"), -ENOENT);
	memset(name, 'a', sizeof(name) - 1);
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(log_notify("READY=1"), -ENAMETOOLONG);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		LOG_TEST(lines_have_time_name_and_level),
		LOG_TEST(verbosity_is_a_threshold),
		LOG_TEST(arguments_cannot_forge_a_line),
		LOG_TEST(long_lines_are_cut),
		LOG_TEST(the_journal_gets_priorities),
		LOG_TEST(the_manager_is_told),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
