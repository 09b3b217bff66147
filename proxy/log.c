#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "proxy/log.h"

struct level {
	int priority; /* as in syslog(3), for the journal */
	int verbosity; /* the least that shows it */
	const char *label;
};

static const struct level level_error = { 3, -1, "error: " };
static const struct level level_warn = { 4, 0, "warning: " };
static const struct level level_info = { 6, 0, "" };
static const struct level level_debug = { 7, 1, "debug: " };

static const char *log_program;
static int log_verbosity;
static bool log_to_journal;

/* The variable is inherited past redirections, so the file is compared. */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;

	if (stream == NULL || sscanf(stream, "%ju:%ju", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
	    st.st_ino == ino;
}

void
log_init(const char *program, int verbosity)
{
	log_program = program;
	log_verbosity = verbosity;
	log_to_journal = stderr_is_journal();
}

static size_t
put_prefix(char *line, size_t size, const struct level *level)
{
	struct timespec now;
	struct tm tm;
	char date[sizeof("2038-01-19T03:14:07")] = "";
	int len;

	if (log_to_journal) {
		len = snprintf(line, size, "<%d>", level->priority);
	} else {
		clock_gettime(CLOCK_REALTIME, &now);
		if (gmtime_r(&now.tv_sec, &tm) != NULL)
			strftime(date, sizeof(date), "%FT%T", &tm);
		len = snprintf(line, size, "%s.%03ldZ %s%s%s", date,
		    now.tv_nsec / 1000000,
		    log_program != NULL ? log_program : "",
		    log_program != NULL ? ": " : "", level->label);
	}
	return len < 0 ? 0 : (size_t)len < size ? (size_t)len : size - 1;
}

static size_t
put_escaped(char *line, size_t size, unsigned char c)
{
	if (c == '\\')
		return (size_t)snprintf(line, size, "\\\\");
	if (c < 0x20 || c > 0x7e)
		return (size_t)snprintf(line, size, "\\x%02x", c);
	line[0] = (char)c;
	return 1;
}

static void
log_line(const struct level *level, const char *fmt, va_list ap)
{
	static const char cut[] = "...";
	const size_t room = LOG_LINE_MAX - sizeof("\\x00") - sizeof(cut);
	char text[LOG_LINE_MAX], line[LOG_LINE_MAX];
	int saved_errno = errno;
	size_t len;

	if (level->verbosity > log_verbosity)
		return;
	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		return;
	len = put_prefix(line, sizeof(line) / 2, level);
	for (const char *s = text; *s != '\0'; s++) {
		if (len > room) {
			memcpy(line + len, cut, strlen(cut));
			len += strlen(cut);
			break;
		}
		len += put_escaped(line + len, sizeof(line) - len,
		    (unsigned char)*s);
	}
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0) {
		/* There is nowhere left to say so. */
	}
	errno = saved_errno;
}

#define DEFINE_LOG(name) \
	void log_##name(const char *fmt, ...) \
	{ \
		va_list ap; \
\
		va_start(ap, fmt); \
		log_line(&level_##name, fmt, ap); \
		va_end(ap); \
	}

DEFINE_LOG(error)
DEFINE_LOG(warn)
DEFINE_LOG(info)
DEFINE_LOG(debug)

int
log_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t size;
	int fd, error = 0;

	if (path == NULL || path[0] == '\0')
		return 0;
	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
	    strlen(path));
	if (sun.sun_path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL,
	    (const struct sockaddr *)&sun, size) < 0)
		error = -errno;
	close(fd);
	return error;
}
