#ifndef CULVERT_PROXY_BASE_LOG_SINK_H
#define CULVERT_PROXY_BASE_LOG_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

/*
 * Where lines of the log go: standard error, which may be a pipe that nobody
 * reads, a terminal that is stopped, or a file on a full disk. None of these
 * may stop the caller, so what is not taken at once waits in memory, and what
 * finds no room there is counted. One per process.
 *
 * O_NONBLOCK belongs to the open file, which other processes share, so it is
 * never set on standard error itself.
 */

/* Bytes that wait at most: the burst of some thousand tunnels that end. */
#define LOG_SINK_MAX (1024 * 1024)

/* Milliseconds between two attempts, at first and at last. */
#define LOG_SINK_RETRY_MS 20
#define LOG_SINK_RETRY_MAX_MS 1000

/* Milliseconds that the end of the process waits for a slow reader. */
#define LOG_SINK_DRAIN_MS 1000

/* Looks at what standard error is. May be called again. */
void log_sink_open(void);

/*
 * Writes a line of at most PIPE_BUF bytes, or has it wait. False: it was
 * dropped, as all are from the first one on until log_sink_lost() is over.
 */
bool log_sink_write(const char *line, size_t len);

/*
 * How many lines were dropped, once all that waited before them is written,
 * and why, as an errno (EAGAIN: it was not read in time); else 0.
 */
uint64_t log_sink_lost(int *error);

/* Writes the line that tells of them, after which lines are taken again. */
void log_sink_tell(const char *line, size_t len);

/* Whether something waits or is to be told. */
bool log_sink_is_behind(void);

/* Writes what the other side takes now of what waits. */
void log_sink_flush(void);

/* The same until all is written, for LOG_SINK_DRAIN_MS at most. */
void log_sink_drain(void);

#endif
