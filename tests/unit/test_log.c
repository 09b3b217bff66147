#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
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
#include <jansson.h>

#include "proxy/base/log.h"
#include "proxy/base/log_sink.h"

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
	log_init("culvert", 0, LOG_TEXT);
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

/* The lines since the last call, without the time. */
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
	log_init("culvert", 1, LOG_TEXT);
	log_debug("shown");
	assert_string_equal(logged(), "debug: shown\n");
	log_init("culvert", -1, LOG_TEXT);
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
	assert_string_equal(logged(),
	    "host "
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
		assert_in_range(len, LOG_LINE_MAX - 300, LOG_LINE_MAX);
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
	log_init("culvert", 1, LOG_TEXT);
	log_error("a");
	log_warn("b");
	log_info("c");
	log_debug("d");
	assert_string_equal(logged(), "<3>a\n<4>b\n<6>c\n<7>d\n");
	log_init("culvert", 1, LOG_JSON);
	log_warn("e");
	logged();
	assert_int_equal(strncmp(capture.text, "<4>{\"time\":", 11), 0);
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_init("culvert", 0, LOG_TEXT);
	log_info("elsewhere");
	assert_string_equal(logged(), "elsewhere\n");
	assert_int_not_equal(capture.text[0], '<');
}

/* The object on the line that has been logged, which is all of it. */
static json_t *
logged_object(void)
{
	json_error_t error;
	json_t *object;

	logged();
	object = json_loads(capture.text, JSON_REJECT_DUPLICATES, &error);
	if (object == NULL)
		fail_msg("%s in %s", error.text, capture.text);
	assert_ptr_equal(strchr(capture.text, '\n'),
	    capture.text + strlen(capture.text) - 1);
	return object;
}

static void
assert_member(const json_t *object, const char *name, const char *wanted)
{
	const char *text = json_string_value(json_object_get(object, name));

	if (wanted == NULL)
		assert_null(text);
	else {
		assert_non_null(text);
		assert_string_equal(text, wanted);
	}
}

static void
a_line_may_be_an_object(void **state)
{
	json_t *object;

	(void)state;
	log_init("culvert", LOG_TUNNELS, LOG_JSON);
	log_warn("%s is %d", "it", 7);
	object = logged_object();
	assert_int_equal(json_object_size(object), 4);
	assert_member(object, "level", "warning");
	assert_member(object, "program", "culvert");
	assert_member(object, "message", "it is 7");
	assert_int_equal(json_string_length(json_object_get(object, "time")),
	    strlen("2026-11-21T10:11:12.123Z"));
	json_decref(object);
	log_debug("x");
	object = logged_object();
	assert_member(object, "level", "debug");
	json_decref(object);
}

static void
an_object_carries_any_bytes(void **state)
{
	static const struct {
		const char *bytes, *wanted;
	} cases[] = {
		{ "\"\\\n\t\x7f", "\"\\\n\t\x7f" },
		{ "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
		    "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xc2\x9b", "\xc2\x9b" },
		{ "a\xff\x80z", "a\xef\xbf\xbd\xef\xbf\xbdz" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" }, /* overlong */
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xf4\x90\x80\x80",
		    "\xef\xbf\xbd\xef\xbf\xbd"
		    "\xef\xbf\xbd\xef\xbf\xbd" }, /* above U+10FFFF */
		{ "end \xe2\x82", "end \xef\xbf\xbd\xef\xbf\xbd" },
	};
	json_t *object;

	(void)state;
	log_init("culvert", LOG_NORMAL, LOG_JSON);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		log_info("%s", cases[i].bytes);
		object = logged_object();
		for (const char *s = capture.text; s[1] != '\0'; s++)
			assert_true((unsigned char)*s >= 0x20 && *s != 0x7f);
		assert_null(strstr(capture.text, "\xc2\x9b"));
		assert_member(object, "message", cases[i].wanted);
		json_decref(object);
	}
}

static void
a_long_object_is_whole(void **state)
{
	char text[2 * LOG_LINE_MAX];
	json_t *object;

	(void)state;
	log_init("culvert", LOG_NORMAL, LOG_JSON);
	memset(text, '\x01', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_info("%s", text);
	object = logged_object();
	assert_in_range(strlen(capture.text), LOG_LINE_MAX - 300, LOG_LINE_MAX);
	json_decref(object);
}

static const struct log_tunnel tunnel = {
	.client = "192.0.2.7:5",
	.user = "ali\"ce",
	.kind = "socks5",
	.target = "origin.example:443",
	.address = "198.51.100.1:443",
	.bytes_up = 10,
	.bytes_down = UINT64_C(1) << 40,
	.duration_ms = 12034,
	.reason = "done",
};

static void
a_tunnel_is_a_sentence(void **state)
{
	static const struct log_tunnel bare = { .client = "192.0.2.7:5",
		.reason = "a\nb" };

	(void)state;
	log_tunnel(&tunnel);
	assert_string_equal(logged(), "");
	assert_false(log_shows_tunnels());
	log_init("culvert", LOG_TUNNELS, LOG_TEXT);
	assert_true(log_shows_tunnels());
	log_tunnel(&tunnel);
	assert_string_equal(logged(),
	    "ali\"ce at 192.0.2.7:5 by socks5: "
	    "10 bytes up, 1099511627776 down, 12.034 s: done\n");
	log_init("culvert", LOG_TARGETS, LOG_TEXT);
	log_tunnel(&tunnel);
	assert_string_equal(logged(),
	    "ali\"ce at 192.0.2.7:5 by socks5 to "
	    "origin.example:443 (198.51.100.1:443): "
	    "10 bytes up, 1099511627776 down, 12.034 s: done\n");
	log_tunnel(&bare);
	assert_string_equal(logged(),
	    "192.0.2.7:5: "
	    "0 bytes up, 0 down, 0.000 s: a\\x0ab\n");
}

static void
a_tunnel_is_an_object(void **state)
{
	json_t *object;

	(void)state;
	log_init("culvert", LOG_TUNNELS, LOG_JSON);
	log_tunnel(&tunnel);
	object = logged_object();
	assert_null(strstr(capture.text, "origin"));
	assert_null(strstr(capture.text, "198.51.100.1"));
	assert_member(object, "level", "info");
	assert_member(object, "message", "tunnel ended");
	assert_member(object, "client", "192.0.2.7:5");
	assert_member(object, "user", "ali\"ce");
	assert_member(object, "kind", "socks5");
	assert_member(object, "reason", "done");
	assert_int_equal(json_integer_value(json_object_get(object,
			     "bytes_up")),
	    10);
	assert_int_equal(json_integer_value(json_object_get(object,
			     "bytes_down")),
	    INT64_C(1) << 40);
	assert_true(json_real_value(json_object_get(object, "duration_s")) ==
	    12.034);
	json_decref(object);
	log_init("culvert", LOG_TARGETS, LOG_JSON);
	log_tunnel(&tunnel);
	object = logged_object();
	assert_member(object, "target", "origin.example:443");
	assert_member(object, "address", "198.51.100.1:443");
	json_decref(object);
}

/* Every text as long and as awkward as it gets. */
static void
a_tunnel_fits_its_line(void **state)
{
	char text[LOG_LINE_MAX];
	struct log_tunnel large = { text, text, text, text, text, INT64_MAX,
		INT64_MAX, INT64_MAX, text };

	(void)state;
	memset(text, '\x01', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	log_init("culvert", LOG_TARGETS, LOG_JSON);
	log_tunnel(&large);
	json_decref(logged_object());
	assert_true(strlen(capture.text) <= LOG_LINE_MAX);
	log_init("culvert", LOG_TARGETS, LOG_TEXT);
	log_tunnel(&large);
	logged();
	assert_true(strlen(capture.text) <= LOG_LINE_MAX);
	assert_non_null(strstr(capture.text, " s: \\x01"));
}

static void
the_service_manager_is_notified(void **state)
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

/* ---- A reader that does not read ---- */

/* Lines of the log until `bytes` have been offered; returns how many. */
static unsigned
fill(size_t bytes)
{
	char text[1000];
	unsigned n = 0;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	for (; n * sizeof(text) < bytes; n++)
		log_info("%u %s", n, text);
	return n;
}

/* Reads all that is in the pipe, and what the log writes meanwhile. */
static unsigned
count_lines(int reader, char *last, size_t size)
{
	static char buf[65536];
	unsigned lines = 0;
	ssize_t n;

	do {
		log_sink_flush();
		n = read(reader, buf, sizeof(buf) - 1);
		for (ssize_t i = 0; i < n; i++)
			lines += buf[i] == '\n';
		if (n > 0) {
			size_t len = (size_t)n < size ? (size_t)n : size - 1;

			memcpy(last, buf + n - len, len);
			last[len] = '\0';
		}
	} while (n > 0);
	return lines;
}

static void
a_full_pipe_blocks_nothing(void **state)
{
	unsigned n, more, lines;
	char last[300];

	(void)state;
	assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, 0), 0);
	log_init("culvert", 0, LOG_TEXT);
	/* More than the pipe and the buffer hold: some lines are dropped. */
	n = fill(3 * LOG_SINK_MAX);
	assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
	lines = count_lines(capture.reader, last, sizeof(last));
	assert_in_range(lines, LOG_SINK_MAX / 1100, n - 1);
	log_info("it goes on");
	more = count_lines(capture.reader, last, sizeof(last));
	assert_int_equal(more, 2);
	snprintf(capture.text, sizeof(capture.text),
	    "warning: %u lines were "
	    "dropped here: the log was not read in time\n",
	    n - lines);
	assert_non_null(strstr(last, capture.text));
	assert_non_null(strstr(last, "it goes on\n"));
}

/* As under systemd: standard error is a socket, and shared. */
static void
a_full_socket_blocks_nothing(void **state)
{
	unsigned n, lines;
	char last[300];
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	dup2(fds[1], STDERR_FILENO);
	log_init("culvert", 0, LOG_TEXT);
	n = fill(3 * LOG_SINK_MAX);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	lines = count_lines(fds[0], last, sizeof(last));
	assert_in_range(lines, LOG_SINK_MAX / 1100, n - 1);
	log_info("it goes on");
	assert_int_equal(count_lines(fds[0], last, sizeof(last)), 2);
	assert_non_null(strstr(last, " lines were dropped here: "));
	close(fds[0]);
	close(fds[1]);
	log_info("nobody is there"); /* and SIGPIPE does not come */
}

static void
on_idle(uv_idle_t *idle)
{
	(void)idle;
}

/* Lines that are not written at once are written by the loop, in order. */
static void
the_loop_writes_what_waits(void **state)
{
	unsigned n, lines = 0;
	char last[300];
	uv_idle_t daemon; /* runs the loop */
	uv_loop_t loop;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	uv_idle_init(&loop, &daemon);
	uv_idle_start(&daemon, on_idle);
	log_start(&loop);
	log_info("what was lost before is told");
	count_lines(capture.reader, last, sizeof(last));
	n = fill(300000);
	assert_true(log_sink_is_behind());
	while (log_sink_is_behind()) {
		static char buf[65536];
		ssize_t got = read(capture.reader, buf, sizeof(buf));

		for (ssize_t i = 0; i < got; i++)
			lines += buf[i] == '\n';
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	log_stop();
	uv_close((uv_handle_t *)&daemon, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	lines += count_lines(capture.reader, last, sizeof(last));
	assert_int_equal(lines, n);
}

/*
 * The log survives the end of a reader, and the next reader gets the count of
 * lost lines.
 */
static void
a_closed_pipe_blocks_nothing(void **state)
{
	int fds[2], before = capture.reader;
	char last[300];

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	fill(10000);
	close(before);
	fill(2 * LOG_SINK_MAX);
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	capture.reader = fds[0];
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	log_init("culvert", 0, LOG_TEXT);
	log_info("it goes on");
	assert_int_equal(count_lines(capture.reader, last, sizeof(last)), 2);
	assert_non_null(strstr(last, " lines were dropped here: Broken pipe"));
}

/* A disk is full for a while: the lines are kept until there is space. */
static void
a_full_disk_blocks_nothing(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	int saved = dup(STDERR_FILENO);
	char last[300];

	(void)state;
	assert_true(full >= 0);
	dup2(full, STDERR_FILENO);
	log_init("culvert", 0, LOG_TEXT);
	log_info("one");
	log_info("two");
	assert_true(log_sink_is_behind());
	dup2(saved, STDERR_FILENO);
	log_init("culvert", 0, LOG_TEXT);
	assert_int_equal(count_lines(capture.reader, last, sizeof(last)), 2);
	close(full);
	close(saved);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		LOG_TEST(lines_have_time_name_and_level),
		LOG_TEST(verbosity_is_a_threshold),
		LOG_TEST(arguments_cannot_forge_a_line),
		LOG_TEST(long_lines_are_cut),
		LOG_TEST(the_journal_gets_priorities),
		LOG_TEST(a_line_may_be_an_object),
		LOG_TEST(an_object_carries_any_bytes),
		LOG_TEST(a_long_object_is_whole),
		LOG_TEST(a_tunnel_is_a_sentence),
		LOG_TEST(a_tunnel_is_an_object),
		LOG_TEST(a_tunnel_fits_its_line),
		LOG_TEST(the_service_manager_is_notified),
		LOG_TEST(a_full_pipe_blocks_nothing),
		LOG_TEST(a_full_socket_blocks_nothing),
		LOG_TEST(the_loop_writes_what_waits),
		LOG_TEST(a_closed_pipe_blocks_nothing),
		LOG_TEST(a_full_disk_blocks_nothing),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
