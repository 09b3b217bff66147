#include "proxy/qlog.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/log.h"

struct qlog {
	FILE *file;
};

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
	if ((qlog = calloc(1, sizeof(*qlog))) == NULL ||
	    (qlog->file = fopen(path, "wex")) == NULL) {
		log_warn("cannot write %s: %s", path, strerror(errno));
		free(qlog);
		return NULL;
	}
	return qlog;
}

void
qlog_write(struct qlog *qlog, const void *data, size_t len)
{
	if (qlog != NULL)
		fwrite(data, 1, len, qlog->file);
}

void
qlog_close(struct qlog *qlog)
{
	if (qlog == NULL)
		return;
	fclose(qlog->file);
	free(qlog);
}
