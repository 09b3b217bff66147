#include "proxy/qlog.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/log.h"

struct qlog {
	FILE *file;
	bool cut;   /* a write has failed: what would follow makes no sense */
	char *path; /* malloc */
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
	    (qlog->path = strdup(path)) == NULL ||
	    (qlog->file = fopen(path, "wex")) == NULL) {
		log_warn("cannot write %s: %s", path, strerror(errno));
		if (qlog != NULL)
			free(qlog->path);
		free(qlog);
		return NULL;
	}
	return qlog;
}

/* Says so once: the connection goes on, and the next one has its own file. */
static void
note_failure(struct qlog *qlog)
{
	if (!qlog->cut)
		log_warn("%s ends early: %s", qlog->path, strerror(errno));
	qlog->cut = true;
}

void
qlog_write(struct qlog *qlog, const void *data, size_t len)
{
	if (qlog != NULL && !qlog->cut &&
	    fwrite(data, 1, len, qlog->file) != len)
		note_failure(qlog);
}

void
qlog_close(struct qlog *qlog)
{
	if (qlog == NULL)
		return;
	if (fclose(qlog->file) != 0)
		note_failure(qlog);
	free(qlog->path);
	free(qlog);
}
