#ifndef CULVERT_PROXY_QLOG_H
#define CULVERT_PROXY_QLOG_H

#include <stddef.h>

/* A qlog file of one connection: what QUIC did, for tools such as qvis. */
struct qlog;

/*
 * Makes DIR/NAME-TIME-PID-NUMBER.sqlog. NULL when `dir` is NULL, and, after
 * one warning, when the file cannot be made: the connection goes on without.
 */
struct qlog *qlog_open(const char *dir, const char *name);

/*
 * Appends text as it comes. When the file takes no more, which a warning says
 * once, the rest is lost. NULL is fine.
 */
void qlog_write(struct qlog *, const void *data, size_t len);

/* Closes and frees, with the same warning. NULL is a no-op. */
void qlog_close(struct qlog *);

#endif
