/*
 * culvertctl watch.
 *
 * A refresh is composed in memory and written as a whole, so that a signal
 * leaves nothing half written: its handler restores the screen and exits at
 * once, even while culvert is being waited for.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "proxy/control_client.h"
#include "proxy/report.h"
#include "proxy/watch.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

/* Seconds that the screen says that culvert answers again. */
#define NOTE_S 10

/* A window whose size is not known. */
#define ROWS 24
#define COLUMNS 80

/* The alternate screen without a cursor, and back (xterm, ECMA-48). */
#define ENTER "\033[?1049h\033[?25l\033[H\033[J"
#define LEAVE "\033[?25h\033[?1049l"

struct watch {
	const struct watch_settings *settings;
	json_t *earlier; /* the last answer, or NULL, and when it came */
	uint64_t earlier_ns;
	uint64_t lost_ns; /* since when there is no answer; 0: there is */
	uint64_t back_ns; /* when the first answer after that came; 0 */
	uint64_t away_ns; /* how long there was none */
	char *text; /* of the last refresh */
	size_t len;
};

static volatile sig_atomic_t on_screen, resized;

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
	(void)put(ENTER, strlen(ENTER));
}

static void
leave_screen(void)
{
	if (on_screen)
		(void)put(LEAVE, strlen(LEAVE));
	on_screen = false;
}

static void
on_end(int signal)
{
	(void)signal;
	leave_screen();
	_exit(0);
}

/* The shell gets its screen while we are stopped. */
static void
on_stop(int signal)
{
	int saved = errno;

	(void)signal;
	leave_screen();
	kill(getpid(), SIGSTOP);
	enter_screen();
	resized = true;
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

/* As much of the text as the window has room for; the rest is erased. */
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
compose_lost(struct watch *w, const char *error, uint64_t now, FILE *stream)
{
	json_decref(w->earlier);
	w->earlier = NULL;
	if (w->lost_ns == 0)
		w->lost_ns = now;
	if (w->settings->as_json) {
		json_t *object = json_pack("{s:s?}", "error", error);

		json_dumpf(object, stream, JSON_COMPACT);
		putc('\n', stream);
		json_decref(object);
	} else
		report_lost(error, (now - w->lost_ns) / NS_PER_S, stream);
}

/* Takes the status over. */
static void
compose_status(struct watch *w, json_t *status, uint64_t now, FILE *stream)
{
	if (w->lost_ns != 0) {
		w->back_ns = now;
		w->away_ns = now - w->lost_ns;
		w->lost_ns = 0;
	}
	if (w->settings->as_json) {
		json_dumpf(status, stream,
		    JSON_COMPACT | JSON_REAL_PRECISION(15));
		putc('\n', stream);
	} else {
		report_watch(status, w->earlier,
		    (double)(now - w->earlier_ns) / (double)NS_PER_S, stream);
		if (w->back_ns != 0 && now - w->back_ns < NOTE_S * NS_PER_S)
			report_back(w->away_ns / NS_PER_S, stream);
	}
	json_decref(w->earlier);
	w->earlier = status;
	w->earlier_ns = now;
}

static int
compose(struct watch *w)
{
	char error[CONTROL_CLIENT_ERROR_MAX];
	json_t *status = control_ask(w->settings->path, "GET /status", error);
	uint64_t now = now_ns();
	FILE *stream;

	free(w->text);
	w->text = NULL;
	stream = open_memstream(&w->text, &w->len);
	if (stream == NULL) {
		json_decref(status);
		return -errno;
	}
	if (status != NULL)
		compose_status(w, status, now, stream);
	else
		compose_lost(w, error, now, stream);
	return fclose(stream) == 0 ? 0 : -errno;
}

static int
refresh(struct watch *w, bool first)
{
	int rv = compose(w);

	if (rv == 0 && on_screen)
		return draw(w->text);
	if (rv == 0 && !first && !w->settings->as_json)
		rv = put("\n", 1);
	return rv == 0 ? put(w->text, w->len) : rv;
}

/* ---- Time ---- */

/*
 * Waits, and follows the window meanwhile. What asks for another drawing is held
 * back except while there is nothing else to do, or it would be missed.
 */
static int
wait_until(struct watch *w, uint64_t deadline)
{
	struct timespec left;
	sigset_t held, before;
	uint64_t now;
	int rv = 0;

	sigemptyset(&held);
	sigaddset(&held, SIGWINCH);
	sigaddset(&held, SIGTSTP);
	sigprocmask(SIG_BLOCK, &held, &before);
	for (;;) {
		if (resized && on_screen)
			rv = draw(w->text);
		resized = false;
		now = now_ns();
		if (rv != 0 || now >= deadline)
			break;
		left.tv_sec = (time_t)((deadline - now) / NS_PER_S);
		left.tv_nsec = (long)((deadline - now) % NS_PER_S);
		if (ppoll(NULL, 0, &left, &before) < 0 && errno != EINTR)
			rv = -errno;
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rv;
}

static int
run(struct watch *w)
{
	uint64_t interval = w->settings->interval_ms * NS_PER_MS;
	uint64_t next = now_ns();
	int rv = 0;

	for (uint64_t n = 1; rv == 0; n++) {
		rv = refresh(w, n == 1);
		if (rv != 0 || n == w->settings->count)
			break;
		next += interval;
		if (next < now_ns()) /* it had to wait for an answer */
			next = now_ns();
		rv = wait_until(w, next);
	}
	return rv;
}

/* ---- The beginning and the end ---- */

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
		{ SIGHUP, on_end }, { SIGQUIT, on_end },
		{ SIGTSTP, on_stop }, { SIGWINCH, on_resize } };
	struct sigaction action;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		action = (struct sigaction){ .sa_handler = rows[i].handler,
			.sa_flags = SA_RESTART };
		sigfillset(&action.sa_mask);
		sigaction(rows[i].signal, &action, NULL);
	}
}

int
watch(const struct watch_settings *settings)
{
	struct watch w = { .settings = settings };
	bool screen = !settings->as_json && is_screen();
	int rv;

	if (screen) {
		catch_signals();
		enter_screen();
	}
	rv = run(&w);
	if (on_screen) {
		leave_screen();
		(void)put(w.text, w.text != NULL ? w.len : 0);
	}
	if (rv != 0)
		fprintf(stderr, "culvertctl: cannot write: %s\n",
		    strerror(-rv));
	json_decref(w.earlier);
	free(w.text);
	return rv == 0 && w.lost_ns == 0 ? 0 : 1;
}
