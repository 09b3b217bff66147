#ifndef CULVERT_PROXY_BASE_LOG_H
#define CULVERT_PROXY_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

/*
 * proxy/base holds what several parts of the proxy need: the log, addresses,
 * users, signals, files, privileges and the sandbox.  Every part of proxy/ may
 * use it.  It uses nothing of proxy/ but itself, and of quic/ only quic.h.
 *
 * This is the log: one line on standard error for each event, and messages to
 * the service manager.  quic/ and the parsers do not log: they return negative
 * errnos, and the caller that gives up logs, once.
 */

/*
 * Bytes of a line with its newline: a pipe takes as many in one piece
 * (PIPE_BUF).  A longer line is truncated and ends in "...".
 */
#define LOG_LINE_MAX 4096

/*
 * How lines look:
 *
 *	2026-11-21T10:11:12.123Z culvert: warning: the edge does not answer
 *	{"time":"2026-11-21T10:11:12.123Z","level":"warning",
 *	 "program":"culvert","message":"the edge does not answer"}
 *
 * The object is on one line (RFC 8259).  Its level is "error", "warning",
 * "info" or "debug".
 */
enum log_format { LOG_TEXT, LOG_JSON };

/*
 * Verbosities: errors alone; also warnings and information; also debugging and
 * a line for each tunnel; also the targets in these lines.
 */
#define LOG_QUIET (-1)
#define LOG_NORMAL 0
#define LOG_TUNNELS 1
#define LOG_TARGETS 2

/*
 * Sets the program's name, which is kept by reference, the verbosity and the
 * format.  May be called again.  Before the first call lines are text without
 * a name, and the verbosity is LOG_NORMAL.
 *
 * If $JOURNAL_STREAM names standard error (systemd.exec(5)), lines begin with
 * the priority that the journal reads, such as "<6>", and text lines have
 * neither time nor name, which the journal adds.
 */
void log_init(const char *program, int verbosity, enum log_format format);

/*
 * Each writes one line with one write(2), so that lines of several processes
 * never mix.  The format contains no newline.  Arguments are escaped, so that
 * they stay within their line and harmless to a terminal: in text, bytes that
 * are not printable ASCII become "\xNN" and a backslash "\\"; in JSON, controls
 * become "\u00NN", and bytes that are not UTF-8 become U+FFFD.  errno does not
 * change.
 *
 * None of them waits for the reader of the log.  Lines that standard error does
 * not take at once are queued, see log_start().  When the queue is full, lines
 * are dropped, and a later line says how many and why.
 */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Has the loop write the queued lines from now on; without it they are written
 * with the next line. log_stop() closes the handle that this opens.
 */
void log_start(uv_loop_t *loop);
void log_stop(void);

/* At the end of the process: writes the queue, LOG_SINK_DRAIN_MS at most. */
void log_drain(void);

/*
 * A tunnel that has ended, or a client that was refused one.  Text that is NULL
 * or empty is left out of the line.
 */
struct log_tunnel {
	const char *client;  /* its address and port */
	const char *user;    /* its name, once authenticated */
	const char *kind;    /* its protocol, such as "socks5" */
	const char *target;  /* the host and port that it asked for, and ... */
	const char *address; /* ... the address that they resolved to */
	uint64_t bytes_up;   /* from the client */
	uint64_t bytes_down; /* to it */
	uint64_t duration_ms;
	const char *reason; /* of the end; never contains the target */
};

/*
 * Writes the one line of a tunnel, from LOG_TUNNELS on, at the level "info".
 * Below LOG_TARGETS target and address are left out.  In JSON the message is
 * "tunnel ended" and each field is a member, the duration as "duration_s".
 */
void log_tunnel(const struct log_tunnel *);

/* Whether log_tunnel() writes at all: collecting the fields costs time. */
bool log_shows_tunnels(void);

/*
 * Connects to the service manager before privileges are dropped: its socket may
 * be where only root can reach it. log_notify() then uses that connection.
 */
void log_notify_prepare(void);

/*
 * Sends a state such as "READY=1" to the service manager's $NOTIFY_SOCKET
 * (sd_notify(3)), a path or an abstract name with a leading '@'.
 *
 * Returns 0 if it was sent or the variable is not set, else a negative errno.
 * The caller warns, since the manager will consider the start a failure.
 */
int log_notify(const char *state);

#endif
