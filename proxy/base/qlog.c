#include "proxy/base/qlog.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/base/privsep.h"

/* Seconds without a failed write after which the next one is logged again. */
#define QUIET_S 60

struct qlog {
	FILE *file;
	bool truncated; /* a write has failed; later writes are discarded */
	char *path;	/* malloc */
};

/* Stands for a file that cannot be created: it discards all writes. */
static struct qlog absent = { .truncated = true };

/*
 * The errno of the last failure to create a file and to write one; 0 after a
 * success. One bad directory would otherwise cause thousands of warnings.
 */
static int open_error, write_error;
static time_t write_failed;

/* Whether to log this failure: not if it is the same as the last one. */
static bool
is_news(int *last, int error)
{
	bool news = *last != error;

	*last = error;
	return news;
}

void
qlog_reloaded(void)
{
	open_error = write_error = 0;
}

static FILE *
create(const char *path)
{
	int fd = privsep_create(path);
	FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (fd < 0)
		errno = -fd;
	else if (file == NULL)
		close(fd);
	return file;
}

static struct qlog *
new_file(const char *path)
{
	struct qlog *qlog = calloc(1, sizeof(*qlog));

	if (qlog != NULL && (qlog->path = strdup(path)) != NULL &&
	    (qlog->file = create(path)) != NULL)
		return qlog;
	if (is_news(&open_error, errno))
		log_warn("cannot write %s: %s; connections continue without "
			 "traces (logged once)",
		    path, privsep_strerror(errno));
	if (qlog != NULL)
		free(qlog->path);
	free(qlog);
	return &absent;
}

struct qlog *
qlog_open(const char *dir, const char *name)
{
	static unsigned number; /* of files made by this process */
	char path[PATH_MAX], stamp[20];
	time_t now = time(NULL);
	struct qlog *qlog;
	struct tm tm;

	if (dir == NULL)
		return NULL;
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
	snprintf(path, sizeof(path), "%s/%s-%s-%d-%u.sqlog", dir, name, stamp,
	    (int)getpid(), number++);
	qlog = new_file(path);
	if (qlog != &absent && open_error != 0) {
		open_error = 0;
		log_info("qlog traces can be written again");
	}
	return qlog;
}

/* The connection goes on; the next one gets its own file. */
static void
note_failure(struct qlog *qlog)
{
	if (!qlog->truncated && is_news(&write_error, errno))
		log_warn("%s is truncated: %s (logged once for all traces)",
		    qlog->path, strerror(errno));
	qlog->truncated = true;
	write_failed = time(NULL);
}

/*
 * A full disk has room for a short trace now and then, so only QUIET_S without
 * failures count as a success.
 */
static void
note_success(const struct qlog *qlog)
{
	if (!qlog->truncated && time(NULL) - write_failed > QUIET_S)
		write_error = 0;
}

void
qlog_write(struct qlog *qlog, const void *data, size_t len)
{
	if (qlog != NULL && !qlog->truncated &&
	    fwrite(data, 1, len, qlog->file) != len)
		note_failure(qlog);
}

void
qlog_close(struct qlog *qlog)
{
	if (qlog == NULL || qlog == &absent)
		return;
	if (fclose(qlog->file) != 0)
		note_failure(qlog);
	else
		note_success(qlog);
	free(qlog->path);
	free(qlog);
}
