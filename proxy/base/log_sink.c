#include "proxy/base/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct {
	int fd; /* -1: standard error itself, checked with poll(2) */
	bool is_socket, is_file;
	struct stat about;

	char *buf; /* the queue: `len` bytes from `start` on; or NULL */
	size_t start, len;
	uint64_t dropped;
	int error; /* of the first line that was dropped */
} sink = { .fd = -1 };

/*
 * A pipe, a FIFO or a terminal can be opened a second time, with its own
 * flags. Where that is not allowed (another user's terminal), poll(2) is used.
 */
static int
open_again(void)
{
	return open("/proc/self/fd/2",
	    O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void
log_sink_open(void)
{
	struct stat st;

	if (fstat(STDERR_FILENO, &st) != 0)
		memset(&st, 0, sizeof(st));
	/* Keep the descriptor: without privileges it cannot be opened again. */
	if (sink.fd >= 0 && st.st_dev == sink.about.st_dev &&
	    st.st_ino == sink.about.st_ino)
		return;
	if (sink.fd >= 0)
		close(sink.fd);
	sink.about = st;
	sink.is_socket = S_ISSOCK(st.st_mode);
	sink.is_file = S_ISREG(st.st_mode);
	sink.fd = S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode) ? open_again()
							      : -1;
}

/* Returns the bytes that were written, or a negative errno. Never blocks. */
static ssize_t
put(const char *bytes, size_t len)
{
	struct pollfd out = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n;

	if (sink.is_socket)
		n = send(STDERR_FILENO, bytes, len,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (sink.fd >= 0)
		n = write(sink.fd, bytes, len);
	else if (!sink.is_file && poll(&out, 1, 0) == 0)
		return -EAGAIN;
	else
		n = write(STDERR_FILENO, bytes, len);
	return n < 0 ? -errno : n;
}

/* Whether the error may go away by itself. */
static bool
is_temporary(ssize_t rv)
{
	return rv == -EAGAIN || rv == -EINTR || rv == -ENOSPC ||
	    rv == -EDQUOT || rv == -ENOBUFS || rv == -ENOMEM;
}

static void
drop(int error)
{
	if (sink.dropped++ == 0)
		sink.error = error;
}

/* The reader is gone, so a line that was written in part does not matter. */
static void
drop_all(int error)
{
	for (size_t i = 0; i < sink.len; i++)
		if (sink.buf[sink.start + i] == '\n')
			drop(error);
	sink.len = 0;
}

static bool
keep(const char *bytes, size_t len)
{
	if (sink.buf == NULL && (sink.buf = malloc(LOG_SINK_MAX)) == NULL)
		return false;
	if (len > LOG_SINK_MAX - sink.len)
		return false;
	if (len > LOG_SINK_MAX - sink.len - sink.start) {
		memmove(sink.buf, sink.buf + sink.start, sink.len);
		sink.start = 0;
	}
	memcpy(sink.buf + sink.start + sink.len, bytes, len);
	sink.len += len;
	return true;
}

/* Returns the length of the next write: whole lines, at most PIPE_BUF. */
static size_t
piece(void)
{
	size_t len = sink.len < PIPE_BUF ? sink.len : PIPE_BUF;
	const char *end = memrchr(sink.buf + sink.start, '\n', len);

	return end != NULL ? (size_t)(end - sink.buf) + 1 - sink.start : len;
}

void
log_sink_flush(void)
{
	ssize_t n;

	while (sink.len > 0) {
		n = put(sink.buf + sink.start, piece());
		if (n < 0 && !is_temporary(n))
			drop_all((int)-n);
		if (n <= 0)
			break;
		sink.start += (size_t)n;
		sink.len -= (size_t)n;
	}
	if (sink.len > 0)
		return;
	free(sink.buf);
	sink.buf = NULL;
	sink.start = 0;
}

/* Writes a line, and queues the part that is not written at once. */
static bool
write_line(const char *line, size_t len)
{
	ssize_t n = put(line, len);

	if (n < 0 && !is_temporary(n)) {
		drop((int)-n);
		return false;
	}
	n = n < 0 ? 0 : n;
	if (n == (ssize_t)len || keep(line + n, len - (size_t)n))
		return true;
	drop(ENOMEM);
	return false;
}

bool
log_sink_write(const char *line, size_t len)
{
	if (sink.dropped > 0) {
		drop(sink.error);
		return false;
	}
	if (sink.len > 0)
		log_sink_flush();
	if (sink.len == 0 && sink.dropped == 0)
		return write_line(line, len);
	if (sink.dropped == 0 && keep(line, len))
		return true;
	drop(EAGAIN);
	return false;
}

uint64_t
log_sink_dropped(int *error)
{
	if (sink.dropped == 0)
		return 0;
	log_sink_flush();
	*error = sink.error;
	return sink.len == 0 ? sink.dropped : 0;
}

void
log_sink_resume(const char *line, size_t len)
{
	ssize_t n = put(line, len);

	/* After a partial write the rest is queued: no second attempt. */
	if (n > 0 && (n == (ssize_t)len || keep(line + n, len - (size_t)n)))
		sink.dropped = 0;
}

bool
log_sink_is_behind(void)
{
	return sink.len > 0 || sink.dropped > 0;
}

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
log_sink_drain(void)
{
	struct pollfd out = { .fd = sink.fd >= 0 ? sink.fd : STDERR_FILENO,
		.events = POLLOUT };
	int64_t end = now_ms() + LOG_SINK_DRAIN_MS, left;

	log_sink_flush();
	while (sink.len > 0 && !sink.is_file && (left = end - now_ms()) > 0 &&
	    poll(&out, 1, (int)left) > 0)
		log_sink_flush();
}
