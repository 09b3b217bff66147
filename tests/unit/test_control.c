#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/control/control.h"
#include "proxy/base/control_path.h"

/*
 * Real sockets in a directory of their own. Clients write into the kernel's
 * buffer, then the loop runs until there is a response. Every test ends with an
 * empty loop: uv_loop_close() checks that.
 */

#define ANSWER_MAX 65536    /* bytes that a client keeps of an answer */
#define MANY_TUNNELS 100000 /* more than the kernel keeps for a reader */
#define SOME_TURNS 20	    /* of the loop: what can happen happens in two */

struct world {
	uv_loop_t loop;
	char dir[32], path[64];
	char error[CONTROL_ERROR_MAX];
	struct control *control;
	int reconnects, reprobes;
	bool out_of_memory;
	size_t tunnels; /* strings in the answer to /tunnels */
	char answer[ANSWER_MAX];
};

static struct world w;

/* The clock that libuv reads, so that no test waits for a time-out. */
static int clock_offset_s;

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
	long rv = syscall(SYS_clock_gettime, clock, ts);

	ts->tv_sec += clock_offset_s;
	return (int)rv;
}

static json_t *
on_status(void *arg)
{
	struct world *world = arg;

	return world->out_of_memory
	    ? NULL
	    : json_pack("{s:s,s:f}", "state", "up", "rtt_ms", 23.4);
}

static json_t *
on_tunnels(void *arg)
{
	struct world *world = arg;
	json_t *list = json_array();

	for (size_t i = 0; i < world->tunnels; i++)
		json_array_append_new(list, json_string("a tunnel"));
	return json_pack("{s:o}", "tunnels", list);
}

static void
on_reconnect(void *arg)
{
	struct world *world = arg;

	world->reconnects++;
}

static json_t *
on_mtu(void *arg)
{
	(void)arg;
	return json_pack("{s:i}", "size", 1500);
}

static json_t *
on_route(void *arg, const struct target *target)
{
	(void)arg;
	return json_pack("{s:s,s:i}", "host", target->host, "port",
	    target->port);
}

static void
on_reprobe(void *arg)
{
	struct world *world = arg;

	world->reprobes++;
}

static const struct control_events events = { .status = on_status,
	.tunnels = on_tunnels,
	.mtu = on_mtu,
	.route = on_route,
	.reconnect = on_reconnect,
	.reprobe = on_reprobe };

static int
start(struct control **control)
{
	return control_new(control, &w.loop, w.path, &events, &w, w.error);
}

static int
setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	clock_offset_s = 0;
	signal(SIGPIPE, SIG_IGN);
	strcpy(w.dir, "/tmp/test_control.XXXXXX");
	if (mkdtemp(w.dir) == NULL || uv_loop_init(&w.loop) != 0)
		return -1;
	snprintf(w.path, sizeof(w.path), "%s/culvert.sock", w.dir);
	return 0;
}

static int
teardown(void **state)
{
	int error;

	(void)state;
	control_close(w.control);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	error = uv_loop_close(&w.loop);
	unlink(w.path);
	rmdir(w.dir);
	return error;
}

static int
setup_started(void **state)
{
	return setup(state) == 0 && start(&w.control) == 0 ? 0 : -1;
}

static void
turn_some(void)
{
	for (int i = 0; i < SOME_TURNS; i++)
		uv_run(&w.loop, UV_RUN_NOWAIT);
}

static void
pass(int s)
{
	uv_update_time(&w.loop);
	clock_offset_s += s;
}

static int
dial(void)
{
	int fd = control_path_connect(w.path, 5);

	assert_true(fd >= 0);
	return fd;
}

static void
say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL),
	    strlen(text));
}

/* Reads to the end of the answer, closes, and returns all its bytes. */
static size_t
hear(int fd)
{
	size_t len = 0, all = 0;
	ssize_t n;
	char buf[4096];

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) != 0) {
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			uv_run(&w.loop, UV_RUN_ONCE);
			continue;
		}
		for (ssize_t i = 0; i < n && len < ANSWER_MAX - 1; i++)
			w.answer[len++] = buf[i];
		all += (size_t)n;
	}
	w.answer[len] = '\0';
	close(fd);
	return all;
}

static bool
is_silent(int fd)
{
	char c;

	turn_some();
	return recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static const char *
ask(const char *request)
{
	int fd = dial();

	say(fd, request);
	hear(fd);
	return w.answer;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: culvert\r\n\r\n"
#define POST(path) "POST " path " HTTP/1.1\r\nHost: culvert\r\n\r\n"

static void
expect(const char *request, int status, const char *part)
{
	char line[32];

	snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
	ask(request);
	if (strncmp(w.answer, line, strlen(line)) != 0 ||
	    strstr(w.answer, part) == NULL)
		fail_msg("%s\nis answered by\n%s", request, w.answer);
}

static void
questions_are_answered(void **state)
{
	(void)state;
	assert_string_equal(ask(GET("/status")),
	    "HTTP/1.1 200 OK\r\n"
	    "Content-Type: application/json\r\n"
	    "Content-Length: 28\r\n"
	    "Cache-Control: no-store\r\n"
	    "Connection: close\r\n"
	    "\r\n"
	    "{\"state\":\"up\",\"rtt_ms\":23.4}");
	expect(GET("/tunnels"), 200, "\r\n\r\n{\"tunnels\":[]}");
	assert_int_equal(w.reconnects, 0);
	expect(POST("/reconnect"), 200, "\r\n\r\n{}");
	assert_int_equal(w.reconnects, 1);
	expect(GET("/mtu"), 200, "\r\n\r\n{\"size\":1500}");
	expect(POST("/reprobe"), 200, "\r\n\r\n{}");
	assert_int_equal(w.reprobes, 1);
}

static void
a_request_may_come_in_pieces(void **state)
{
	const char *request = GET("/status");
	int fd = dial();

	(void)state;
	for (const char *c = request; *c != '\0'; c++) {
		assert_true(is_silent(fd));
		say(fd, (char[]){ *c, '\0' });
	}
	hear(fd);
	assert_non_null(strstr(w.answer, "\"state\":\"up\""));
}

static void
other_questions_are_refused(void **state)
{
	(void)state;
	expect(GET("/"), 404, "{\"error\":\"unknown path\"}");
	expect(GET("/statuses"), 404, "error");
	expect(GET("http://culvert/status"), 404, "error");
	expect(POST("/status"), 405, "\r\nAllow: GET\r\n");
	expect(GET("/reconnect"), 405, "\r\nAllow: POST\r\n");
	assert_int_equal(w.reconnects, 0);
}

static void
garbage_is_refused(void **state)
{
	(void)state;
	expect("\x16\x03\x01\x02 hello\r\n\r\n", 400, "{\"error\":\"");
	expect("GET /status HTTP/1.1\r\n\r\n", 400, "Host is missing");
	expect("GET /status HTTP/1.1\rHost: a\r\n\r\n", 400, "0x0d");
	expect("GET /status HTTP/2.0\r\nHost: a\r\n\r\n", 505, "error");
	expect(GET("/status") "and what nobody reads", 200, "\"up\"");
}

static void
a_long_head_is_refused(void **state)
{
	char request[CONTROL_HEAD_MAX + 1] = "GET /status HTTP/1.1\r\nA: ";
	size_t len = strlen(request);

	(void)state;
	memset(request + len, 'a', sizeof(request) - 1 - len);
	expect(request, 431, "the head is too long");
	strcpy(request + sizeof(request) - 1 - strlen("\r\nHost: a\r\n\r\n"),
	    "\r\nHost: a\r\n\r\n");
	expect(request, 200, "\"up\"");
}

static void
without_memory_the_answer_is_500(void **state)
{
	(void)state;
	w.out_of_memory = true;
	expect(GET("/status"), 500, "Content-Length: 0\r\n");
	w.out_of_memory = false;
	expect(GET("/status"), 200, "\"up\"");
}

static void
a_slow_peer_is_dropped(void **state)
{
	int fd = dial();

	(void)state;
	say(fd, "GET /sta");
	turn_some();
	pass(CONTROL_TIMEOUT_MS / 1000 - 1);
	say(fd, "tus");
	assert_true(is_silent(fd));
	pass(2);
	assert_int_equal(hear(fd), 0);
	expect(GET("/status"), 200, "\"up\"");
}

static void
a_peer_that_does_not_read_is_dropped(void **state)
{
	size_t least = MANY_TUNNELS * strlen("\"a tunnel\""), all;
	int fd = dial();

	(void)state;
	w.tunnels = MANY_TUNNELS;
	say(fd, GET("/tunnels"));
	turn_some();
	pass(CONTROL_TIMEOUT_MS / 1000 + 1);
	turn_some();
	all = hear(fd);
	assert_true(all > 0 && all < least);
	say(fd = dial(), GET("/tunnels"));
	assert_true(hear(fd) > least);
}

static void
peers_beyond_the_limit_wait(void **state)
{
	int idle[CONTROL_PEERS_MAX], first, second;

	(void)state;
	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++) {
		idle[i] = dial();
		turn_some();
	}
	say(first = dial(), GET("/status"));
	say(second = dial(), GET("/status"));
	assert_true(is_silent(first));
	close(idle[0]);
	hear(first);
	assert_non_null(strstr(w.answer, "\"up\""));
	hear(second);
	assert_non_null(strstr(w.answer, "\"up\""));
	for (size_t i = 1; i < CONTROL_PEERS_MAX; i++)
		close(idle[i]);
}

static void
the_end_comes_in_every_state(void **state)
{
	int fds[CONTROL_PEERS_MAX + 2];

	(void)state;
	w.tunnels = MANY_TUNNELS;
	for (size_t i = 0; i < CONTROL_PEERS_MAX + 2; i++) {
		fds[i] = dial();
		if (i % 3 == 0)
			say(fds[i], GET("/tunnels"));
		else if (i % 3 == 1)
			say(fds[i], "GET");
		turn_some();
	}
	control_close(w.control);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	w.control = NULL;
	for (size_t i = 0; i < CONTROL_PEERS_MAX + 2; i++)
		close(fds[i]);
	assert_int_equal(access(w.path, F_OK), -1);
	control_close(NULL);
}

/* ---- Permissions ---- */

static void
the_file_is_private(void **state)
{
	struct stat file;
	mode_t mask = umask(0);

	(void)state;
	assert_int_equal(stat(w.path, &file), -1);
	assert_int_equal(start(&w.control), 0);
	assert_int_equal(stat(w.path, &file), 0);
	assert_int_equal(file.st_mode, S_IFSOCK | 0600);
	assert_int_equal(umask(mask), 0);
}

/* Sends a request as another user; returns whether there was a response. */
static int
ask_as_nobody(void)
{
	char c;
	int fd;

	if (setgid(65534) != 0 || setuid(65534) != 0)
		return 2;
	fd = control_path_connect(w.path, 5);
	if (fd < 0)
		return 3;
	return send(fd, GET("/status"), strlen(GET("/status")), MSG_NOSIGNAL) >
	    0 &&
	    read(fd, &c, 1) > 0;
}

static void
other_users_are_dropped(void **state)
{
	int status = 0;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(w.path, 0666), 0);
	assert_int_equal(chmod(w.dir, 0711), 0);
	pid = fork();
	if (pid == 0)
		_exit(ask_as_nobody());
	while (waitpid(pid, &status, WNOHANG) == 0)
		uv_run(&w.loop, UV_RUN_NOWAIT);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- The file ---- */

static void
a_live_culvert_is_left_alone(void **state)
{
	struct control *second = (struct control *)&w;

	(void)state;
	assert_int_equal(start(&second), -EADDRINUSE);
	assert_null(second);
	assert_non_null(strstr(w.error, w.path));
	assert_non_null(strstr(w.error, "another culvert is using it"));
	expect(GET("/status"), 200, "\"up\"");
}

static void
a_dead_culvert_is_replaced(void **state)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	assert_int_equal(control_path_address(w.path, &address), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)),
	    0);
	close(fd);
	assert_int_equal(start(&w.control), 0);
	expect(GET("/status"), 200, "\"up\"");
}

static void
other_files_are_left_alone(void **state)
{
	int fd = open(w.path, O_WRONLY | O_CREAT, 0600);

	(void)state;
	close(fd);
	assert_int_equal(start(&w.control), -EEXIST);
	assert_non_null(strstr(w.error, "not a socket"));
	assert_int_equal(access(w.path, F_OK), 0);
	assert_int_equal(unlink(w.path), 0);
	assert_int_equal(start(&w.control), 0);
	assert_int_equal(unlink(w.path), 0);
	fd = open(w.path, O_WRONLY | O_CREAT, 0600);
	close(fd);
	control_close(w.control);
	w.control = NULL;
	assert_int_equal(access(w.path, F_OK), 0);
}

static void
unusable_paths_are_named(void **state)
{
	struct control *control;
	char longest[200];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(control_new(&control, &w.loop, longest, &events, &w,
			     w.error),
	    -ENAMETOOLONG);
	assert_non_null(strstr(w.error, "too long for a socket"));
	assert_int_equal(control_new(&control, &w.loop, "/nowhere/x", &events,
			     &w, w.error),
	    -ENOENT);
	assert_string_equal(w.error,
	    "control socket /nowhere/x: No such file or directory");
	assert_int_equal(control_new(&control, &w.loop, "", &events, &w,
			     w.error),
	    -ENOENT);
	assert_null(control);
}

static void
the_path_follows_the_runtime_directory(void **state)
{
	char longest[200], buf[CONTROL_PATH_SIZE];

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_string_equal(control_path_default(buf),
	    "/run/user/7/culvert/control.sock");
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	assert_string_equal(control_path_default(buf),
	    "/run/culvert/control.sock");
	memset(longest, '/', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	setenv("XDG_RUNTIME_DIR", longest, 1);
	assert_string_equal(control_path_default(buf),
	    "/run/culvert/control.sock");
	unsetenv("XDG_RUNTIME_DIR");
	assert_string_equal(control_path_default(buf),
	    "/run/culvert/control.sock");
}

static void
the_socket_gets_a_directory_of_its_own(void **state)
{
	struct stat st;
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/own/control.sock", w.dir);
	assert_int_equal(control_path_make_directory(path), 0);
	assert_int_equal(control_path_make_directory(path), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0022, 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(control_path_make_directory("/nowhere/own/x"),
	    -ENOENT);
}

#define STARTED(name) \
	cmocka_unit_test_setup_teardown(name, setup_started, teardown)
#define FRESH(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STARTED(questions_are_answered),
		STARTED(a_request_may_come_in_pieces),
		STARTED(other_questions_are_refused),
		STARTED(garbage_is_refused),
		STARTED(a_long_head_is_refused),
		STARTED(without_memory_the_answer_is_500),
		STARTED(a_slow_peer_is_dropped),
		STARTED(a_peer_that_does_not_read_is_dropped),
		STARTED(peers_beyond_the_limit_wait),
		STARTED(the_end_comes_in_every_state),
		STARTED(other_users_are_dropped),
		STARTED(a_live_culvert_is_left_alone),
		FRESH(the_file_is_private),
		FRESH(a_dead_culvert_is_replaced),
		FRESH(other_files_are_left_alone),
		FRESH(unusable_paths_are_named),
		cmocka_unit_test(the_path_follows_the_runtime_directory),
		FRESH(the_socket_gets_a_directory_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
