/*
 * The screen of `culvertctl watch`.
 *
 * A refresh is composed in memory and written as a whole, so that a signal,
 * whose handler restores the screen and exits at once, leaves nothing half
 * written.  A thread sends the request, since culvert may hang; meanwhile the
 * main thread reads keys and handles changes of the window.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "proxy/control/control_client.h"
#include "proxy/control/report.h"
#include "proxy/control/watch_screen.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* Seconds for which the screen shows that culvert answers again. */
#define NOTE_S 10

/* A deadline that never comes. */
#define FOREVER UINT64_MAX

/* The size of the window if it is unknown. */
#define ROWS 24
#define COLUMNS 80

/* The alternate screen without a cursor, and back (xterm, ECMA-48). */
#define ENTER "\033[?1049h\033[?25l\033[H\033[J"
#define LEAVE "\033[?25h\033[?1049l"

struct watch {
	const struct watch_screen_settings *settings;
	json_t *earlier; /* the last answer, or NULL, and when it came */
	uint64_t earlier_ns;
	uint64_t outage_since_ns; /* 0: there is no outage */
	uint64_t recovered_ns; /* the end of the last outage; 0: none so far */
	uint64_t outage_ns;    /* its duration */
	char *text;	       /* of the last refresh */
	size_t len;

	/* The result of the thread, and the pipe by which it says so. */
	json_t *status;
	char error[CONTROL_CLIENT_ERROR_MAX];
	int done[2];
};

static volatile sig_atomic_t on_screen, resized;

/* Modes of standard input, if that is a terminal: the original and ours. */
static bool has_keys;
static struct termios modes_before, modes_here;

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- Output ---- */

static int
put(const char *text, size_t len)
{
	ssize_t n;

	for (; len > 0; text += n, len -= (size_t)n) {
		n = write(STDOUT_FILENO, text, len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			n = 0;
	}
	return 0;
}

static void
enter_screen(void)
{
	on_screen = true;
	if (has_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &modes_here);
	(void)put(ENTER, strlen(ENTER));
}

static void
leave_screen(void)
{
	if (!on_screen)
		return;
	(void)put(LEAVE, strlen(LEAVE));
	if (has_keys)
		tcsetattr(STDIN_FILENO, TCSAFLUSH, &modes_before);
	on_screen = false;
}

static void
on_end(int signal)
{
	(void)signal;
	leave_screen();
	_exit(0);
}

/* The shell gets its screen back while the process is stopped. */
static void
on_stop(int signal)
{
	int saved = errno;

	(void)signal;
	leave_screen();
	kill(getpid(), SIGSTOP);
	errno = saved;
}

/* In the background the terminal still belongs to the shell. */
static void
on_continue(int signal)
{
	pid_t group = tcgetpgrp(STDIN_FILENO);
	int saved = errno;

	(void)signal;
	if (group > 0 && group != getpgrp())
		kill(getpid(), SIGSTOP);
	else {
		enter_screen();
		resized = true;
	}
	errno = saved;
}

static void
on_resize(int signal)
{
	(void)signal;
	resized = true;
}

static struct winsize
window_size(void)
{
	struct winsize window;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 &&
	    window.ws_row > 0 && window.ws_col > 0)
		return window;
	return (struct winsize){ .ws_row = ROWS, .ws_col = COLUMNS };
}

/* Draws as much of the text as fits the window, and erases the rest. */
static int
draw(const char *text)
{
	struct winsize window = window_size();
	char *drawn = NULL;
	size_t len = 0, line;
	unsigned row;
	FILE *stream = open_memstream(&drawn, &len);
	int rv;

	if (stream == NULL)
		return -errno;
	for (row = 1; row <= window.ws_row && *text != '\0'; row++) {
		line = strcspn(text, "\n");
		fprintf(stream, "\033[%u;1H\033[K%.*s", row,
		    line < window.ws_col ? (int)line : window.ws_col, text);
		text += line + (text[line] == '\n');
	}
	if (row <= window.ws_row)
		fprintf(stream, "\033[%u;1H\033[J", row);
	rv = fclose(stream) == 0 ? put(drawn, len) : -errno;
	free(drawn);
	return rv;
}

/* ---- A refresh ---- */

static void
compose_outage(struct watch *w, const char *error, uint64_t now, FILE *stream)
{
	json_decref(w->earlier);
	w->earlier = NULL;
	if (w->outage_since_ns == 0)
		w->outage_since_ns = now;
	if (w->settings->as_json) {
		json_t *object = json_pack("{s:s?}", "error", error);

		json_dumpf(object, stream, JSON_COMPACT);
		putc('\n', stream);
		json_decref(object);
	} else
		report_outage(error, (now - w->outage_since_ns) / NS_PER_S,
		    stream);
}

/* Becomes the owner of the status. */
static void
compose_status(struct watch *w, json_t *status, uint64_t now, FILE *stream)
{
	if (w->outage_since_ns != 0) {
		w->recovered_ns = now;
		w->outage_ns = now - w->outage_since_ns;
		w->outage_since_ns = 0;
	}
	if (w->settings->as_json) {
		json_dumpf(status, stream,
		    JSON_COMPACT | JSON_REAL_PRECISION(15));
		putc('\n', stream);
	} else {
		report_rates(status, w->earlier,
		    (double)(now - w->earlier_ns) / (double)NS_PER_S, stream);
		if (w->recovered_ns != 0 &&
		    now - w->recovered_ns < NOTE_S * NS_PER_S)
			report_recovery(w->outage_ns / NS_PER_S, stream);
	}
	json_decref(w->earlier);
	w->earlier = status;
	w->earlier_ns = now;
}

static int
compose(struct watch *w)
{
	uint64_t now = now_ns();
	FILE *stream;

	free(w->text);
	w->text = NULL;
	stream = open_memstream(&w->text, &w->len);
	if (stream == NULL) {
		json_decref(w->status);
		return -errno;
	}
	if (w->status != NULL)
		compose_status(w, w->status, now, stream);
	else
		compose_outage(w, w->error, now, stream);
	return fclose(stream) == 0 ? 0 : -errno;
}

static int
show(struct watch *w, bool first)
{
	int rv = compose(w);

	if (rv == 0 && on_screen)
		return draw(w->text);
	if (rv == 0 && !first && !w->settings->as_json)
		rv = put("\n", 1);
	return rv == 0 ? put(w->text, w->len) : rv;
}

/* ---- Waiting ---- */

static void
read_keys(void)
{
	char keys[64];
	ssize_t n = read(STDIN_FILENO, keys, sizeof(keys));

	if (n == 0 || (n < 0 && errno != EINTR))
		has_keys = false;
	if (n > 0 && memchr(keys, 'q', (size_t)n) != NULL)
		on_end(0);
}

/* Returns whether `fd` is readable, or an error. */
static int
poll_until(int fd, uint64_t deadline, const sigset_t *mask)
{
	struct pollfd fds[] = { { fd, POLLIN, 0 },
		{ has_keys && on_screen ? STDIN_FILENO : -1, POLLIN, 0 } };
	uint64_t now = now_ns(), left = deadline > now ? deadline - now : 0;
	struct timespec time = { (time_t)(left / NS_PER_S),
		(long)(left % NS_PER_S) };
	int rv = ppoll(fds, 2, deadline == FOREVER ? NULL : &time, mask);

	if (rv < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[1].revents != 0)
		read_keys();
	return fds[0].revents != 0;
}

/*
 * Waits until the deadline or until `fd`, which may be -1, is readable. If the
 * window changes, draws again. Signals that require this are blocked except
 * inside ppoll(2), so that none is missed.
 */
static int
wait_until(struct watch *w, int fd, uint64_t deadline)
{
	sigset_t held, before;
	int rv = 0;

	sigemptyset(&held);
	sigaddset(&held, SIGWINCH);
	sigaddset(&held, SIGTSTP);
	sigaddset(&held, SIGCONT);
	sigprocmask(SIG_BLOCK, &held, &before);
	do {
		if (resized && on_screen && w->text != NULL)
			rv = draw(w->text);
		resized = false;
		if (rv == 0)
			rv = poll_until(fd, deadline, &before);
	} while (rv == 0 && (resized || now_ns() < deadline));
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rv < 0 ? rv : 0;
}

static void *
fetch(void *arg)
{
	struct watch *w = arg;

	w->status = control_request(w->settings->path, "GET /status", w->error);
	(void)!write(w->done[1], "", 1);
	return NULL;
}

/* Fills w->status, or w->error. Only the main thread handles signals. */
static int
fetch_in_thread(struct watch *w)
{
	sigset_t all, before;
	pthread_t thread;
	char byte;
	int rv;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rv = -pthread_create(&thread, NULL, fetch, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rv != 0)
		return rv;
	rv = wait_until(w, w->done[0], FOREVER);
	if (rv != 0)
		return rv;
	pthread_join(thread, NULL);
	return read(w->done[0], &byte, 1) == 1 ? 0 : -EIO;
}

static int
run(struct watch *w)
{
	uint64_t interval = w->settings->interval_ms * NS_PER_MS;
	uint64_t next = now_ns();
	int rv = pipe(w->done) == 0 ? 0 : -errno;

	for (uint64_t n = 1; rv == 0; n++) {
		rv = fetch_in_thread(w);
		if (rv == 0)
			rv = show(w, n == 1);
		if (rv != 0 || n == w->settings->count)
			break;
		next += interval;
		if (next < now_ns()) /* the answer took that long */
			next = now_ns();
		rv = wait_until(w, -1, next);
	}
	return rv;
}

/* ---- Start and end ---- */

static bool
is_screen(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term != NULL && term[0] != '\0' &&
	    strcmp(term, "dumb") != 0;
}

static void
catch_signals(void)
{
	static const struct {
		int signal;
		void (*handler)(int);
	} rows[] = { { SIGINT, on_end }, { SIGTERM, on_end },
		{ SIGHUP, on_end }, { SIGQUIT, on_end }, { SIGTSTP, on_stop },
		{ SIGCONT, on_continue }, { SIGWINCH, on_resize } };
	struct sigaction action;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		action = (struct sigaction){ .sa_handler = rows[i].handler,
			.sa_flags = SA_RESTART };
		sigfillset(&action.sa_mask);
		sigaction(rows[i].signal, &action, NULL);
	}
}

/* Turns off line mode and echo; keys such as ^C still send signals. */
static void
set_modes(void)
{
	has_keys = tcgetattr(STDIN_FILENO, &modes_before) == 0;
	modes_here = modes_before;
	modes_here.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	modes_here.c_cc[VMIN] = 1;
	modes_here.c_cc[VTIME] = 0;
}

int
watch_screen(const struct watch_screen_settings *settings)
{
	struct watch w = { .settings = settings };
	bool screen = !settings->as_json && is_screen();
	int rv;

	if (screen) {
		set_modes();
		catch_signals();
		enter_screen();
	}
	rv = run(&w);
	if (on_screen) {
		leave_screen();
		(void)put(w.text, w.text != NULL ? w.len : 0);
	}
	if (rv != 0)
		fprintf(stderr, "culvertctl: cannot continue: %s\n",
		    strerror(-rv));
	json_decref(w.earlier);
	free(w.text);
	return rv == 0 && w.outage_since_ns == 0 ? 0 : 1;
}
