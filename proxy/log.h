#ifndef CULVERT_PROXY_LOG_H
#define CULVERT_PROXY_LOG_H

/*
 * One line on standard error for each event, and a word to the service
 * manager.  Libraries of this tree do not log: errors go up as negative
 * errno, and the one who gives up logs, once.
 */

/* Bytes of a line with its newline; what is longer is cut and ends in "...".
 * Two host names of 255 octets and a sentence fit well. */
#define LOG_LINE_MAX 2048

/*
 * Says who logs and how much: verbosity -1 is errors alone, 0 adds warnings
 * and information, 1 adds debugging.  The name is kept by reference.  Before
 * this call lines carry no name and verbosity is 0.
 *
 * When $JOURNAL_STREAM names standard error (systemd.exec(5)), lines begin
 * with the priority that the journal reads, such as "<6>", and the journal
 * adds name and time; otherwise they begin with the time in UTC.
 */
void log_init(const char *program, int verbosity);

/*
 * Each writes one line with one write(2), so that lines of several processes
 * never mix.  The format carries no newline.  What the arguments bring is
 * written so that it stays within its line and harmless to a terminal: bytes
 * that are not printable ASCII become "\xNN", a backslash "\\".  errno is
 * left as it was.  A line that cannot be written is lost.
 */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Sends a state such as "READY=1" to the service manager's $NOTIFY_SOCKET
 * (sd_notify(3)), a path or an abstract name with a leading '@'.
 *
 * Returns 0 when it was sent or nobody asked for it, else a negative errno:
 * worth a warning, for the manager will take the start for a failed one.
 */
int log_notify(const char *state);

#endif
