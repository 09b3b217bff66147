#ifndef CULVERT_PROXY_BASE_LOG_H
#define CULVERT_PROXY_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

/*
 * One line on standard error for each event, and a word to the service
 * manager.  Libraries of this tree do not log: errors go up as negative
 * errno, and the one who gives up logs, once.
 */

/*
 * Bytes of a line with its newline: what a pipe takes in one piece (PIPE_BUF).
 * What is longer is cut and ends in "...".
 */
#define LOG_LINE_MAX 4096

/*
 * How lines look:
 *
 *	2026-11-21T10:11:12.123Z culvert: warning: the edge does not answer
 *	{"time":"2026-11-21T10:11:12.123Z","level":"warning",
 *	 "program":"culvert","message":"the edge does not answer"}
 *
 * with the object on one line (RFC 8259).  Its level is "error", "warning",
 * "info" or "debug".
 */
enum log_format {
	LOG_TEXT,
	LOG_JSON
};

/*
 * Verbosities: errors alone; warnings and information as well; a line for each
 * tunnel and debugging; and in the tunnels' lines where they led.
 */
#define LOG_QUIET (-1)
#define LOG_NORMAL 0
#define LOG_TUNNELS 1
#define LOG_TARGETS 2

/*
 * Says who logs, how much and how.  The name is kept by reference.  May be
 * called again.  Before the first call lines carry no name, are text, and the
 * verbosity is LOG_NORMAL.
 *
 * When $JOURNAL_STREAM names standard error (systemd.exec(5)), lines begin
 * with the priority that the journal reads, such as "<6>", and those of text
 * have neither time nor name, which the journal adds.
 */
void log_init(const char *program, int verbosity, enum log_format format);

/*
 * Each writes one line with one write(2), so that lines of several processes
 * never mix.  The format carries no newline.  What the arguments bring is
 * written so that it stays within its line and harmless to a terminal: in
 * text, bytes that are not printable ASCII become "\xNN" and a backslash
 * "\\"; in JSON, controls become "\u00NN", and what is not UTF-8 becomes
 * U+FFFD.  errno is left as it was.
 *
 * None of them ever waits for who reads the log: what is not taken at once is
 * kept, see log_start(), up to a limit; beyond, lines are dropped, and a line
 * tells how many and why when it goes on.
 */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Has the loop write what waits, by itself, from now on; otherwise the next
 * line brings it along. log_stop() closes the handle that this takes.
 */
void log_start(uv_loop_t *loop);
void log_stop(void);

/* At the end of the process: waits, but not long, for a reader that is slow. */
void log_drain(void);

/*
 * A tunnel that has come to its end, or a client that was refused one.  Text
 * that is NULL or empty is left out of the line.
 */
struct log_tunnel {
	const char *client;  /* its address and port */
	const char *user;    /* who it is, once that is proven */
	const char *kind;    /* the language it speaks, such as "socks5" */
	const char *target;  /* where it wanted to go, and ... */
	const char *address; /* ... where that was found to be */
	uint64_t bytes_up;   /* from the client */
	uint64_t bytes_down; /* to it */
	uint64_t duration_ms;
	const char *reason;  /* of the end; holds no target */
};

/*
 * Writes the one line of a tunnel, from LOG_TUNNELS on, as information.  Below
 * LOG_TARGETS target and address are left out.  In JSON the message is "tunnel
 * ended" and each field is a member of its own, the duration as "duration_s".
 */
void log_tunnel(const struct log_tunnel *);

/* Whether it writes at all: to put a line together costs more than to ask. */
bool log_shows_tunnels(void);

/*
 * Opens the way to the service manager while it can be reached: its socket may
 * be where only root comes to. log_notify() goes that way from then on.
 */
void log_notify_prepare(void);

/*
 * Sends a state such as "READY=1" to the service manager's $NOTIFY_SOCKET
 * (sd_notify(3)), a path or an abstract name with a leading '@'.
 *
 * Returns 0 when it was sent or nobody asked for it, else a negative errno:
 * worth a warning, for the manager will take the start for a failed one.
 */
int log_notify(const char *state);

#endif
