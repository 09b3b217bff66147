#ifndef CULVERT_PROXY_BASE_LOG_SINK_H
#define CULVERT_PROXY_BASE_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

/*
 * The output of the log: standard error, which may be a pipe without a reader,
 * a stopped terminal, or a file on a full disk. None of these may block the
 * caller, so lines that are not written at once are queued in memory, and lines
 * that do not fit the queue are dropped and counted. One per process.
 *
 * O_NONBLOCK belongs to the open file, which other processes share, so it is
 * never set on standard error itself.
 */

/* Bytes of the queue: enough when some thousand tunnels end at once. */
#define LOG_SINK_MAX (1024 * 1024)

/* Milliseconds between two attempts: the first, and at most (it doubles). */
#define LOG_SINK_RETRY_MS 20
#define LOG_SINK_RETRY_MAX_MS 1000

/* Milliseconds that the end of the process waits for a slow reader. */
#define LOG_SINK_DRAIN_MS 1000

/* Finds out what kind of file standard error is. May be called again. */
void log_sink_open(void);

/*
 * Writes or queues a line of at most PIPE_BUF bytes. False: it was dropped.
 * After the first dropped line all are dropped, until log_sink_resume().
 */
bool log_sink_write(const char *line, size_t len);

/*
 * Returns how many lines were dropped, and why, as an errno (EAGAIN: the reader
 * was too slow). Returns 0 if none were, or while the queue is not empty.
 */
uint64_t log_sink_dropped(int *error);

/* Writes the line about the dropped ones; later lines are accepted again. */
void log_sink_resume(const char *line, size_t len);

/* Whether lines are queued, or were dropped without a line about it yet. */
bool log_sink_is_behind(void);

/* Writes as much of the queue as standard error takes without blocking. */
void log_sink_flush(void);

/* Writes the whole queue, waiting LOG_SINK_DRAIN_MS at most. */
void log_sink_drain(void);

#endif
