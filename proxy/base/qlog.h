#ifndef CULVERT_PROXY_BASE_QLOG_H
#define CULVERT_PROXY_BASE_QLOG_H

#include <stddef.h>

/* A qlog file of one connection: what QUIC did, for tools such as qvis. */
struct qlog;

/*
 * Makes DIR/NAME-TIME-PID-NUMBER.sqlog. NULL when `dir` is NULL. When the file
 * cannot be made, what is returned swallows all that is written to it: the
 * connection goes on without a trace.
 *
 * A warning tells why, once for all connections: the next one comes when the
 * reason changes, or is there again after a success.
 */
struct qlog *qlog_open(const char *dir, const char *name);

/*
 * Appends text as it comes. When the file takes no more, which a warning tells
 * in the same way, the rest is lost. NULL is fine.
 */
void qlog_write(struct qlog *, const void *data, size_t len);

/* Closes and frees, with the same warning. NULL is a no-op. */
void qlog_close(struct qlog *);

/* After a reload what is still wrong is said once more. */
void qlog_reloaded(void);

#endif
