#ifndef CULVERT_PROXY_BASE_QLOG_H
#define CULVERT_PROXY_BASE_QLOG_H

#include <stddef.h>

/* A trace of one connection, as a qlog file for tools such as qvis. */
struct qlog;

/*
 * Creates DIR/NAME-TIME-PID-NUMBER.sqlog. Returns NULL if `dir` is NULL. If the
 * file cannot be created, the object that is returned discards all writes: the
 * connection goes on without a trace.
 *
 * A warning gives the reason, once for all connections. It is repeated if the
 * reason changes, or if it returns after a success.
 */
struct qlog *qlog_open(const char *dir, const char *name);

/*
 * Appends text. After a write error, which is logged in the same way, the rest
 * of the trace is discarded. A no-op for NULL.
 */
void qlog_write(struct qlog *, const void *data, size_t len);

/* Closes and frees; logs a write error in the same way. NULL is a no-op. */
void qlog_close(struct qlog *);

/* After a reload: has errors that persist logged once more. */
void qlog_reloaded(void);

#endif
