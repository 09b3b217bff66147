#include <errno.h>
#include <inttypes.h>
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

#include "proxy/base/log.h"
#include "proxy/base/log_sink.h"

/* Bytes of one escaped text: six such members fit into a line. */
#define MEMBER_MAX 512
/* Bytes of a line that are reserved for everything but the message. */
#define FRAME_MAX 256
/* Bytes of one escaped character, and the mark of a truncated text. */
#define ESCAPE_MAX 6
#define CUT "..."

struct level {
	int priority;  /* as in syslog(3), for the journal */
	int verbosity; /* the lowest that shows it */
	const char *name, *label;
};

static const struct level level_error = { 3, LOG_QUIET, "error", "error: " };
static const struct level level_warn = { 4, LOG_NORMAL, "warning",
	"warning: " };
static const struct level level_info = { 6, LOG_NORMAL, "info", "" };
static const struct level level_debug = { 7, LOG_TUNNELS, "debug", "debug: " };
static const struct level level_tunnel = { 6, LOG_TUNNELS, "info", "" };

static const char *log_program;
static int log_verbosity;
static enum log_format log_format;
static bool log_to_journal;

/* A redirected process inherits the variable too, so compare the file. */
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
log_init(const char *program, int verbosity, enum log_format format)
{
	log_program = program;
	log_verbosity = verbosity;
	log_format = format;
	log_to_journal = stderr_is_journal();
	log_sink_open();
}

/* ---- Building a line ---- */

struct line {
	size_t len;
	char text[LOG_LINE_MAX];
};

/* Appends trusted text, which needs no escaping. */
__attribute__((format(printf, 2, 3))) static void
put(struct line *line, const char *fmt, ...)
{
	size_t room = sizeof(line->text) - line->len;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(line->text + line->len, room, fmt, ap);
	va_end(ap);
	if (len > 0)
		line->len += (size_t)len < room ? (size_t)len : room - 1;
}

static void
put_bytes(struct line *line, const void *bytes, size_t n)
{
	if (n >= sizeof(line->text) - line->len)
		return;
	memcpy(line->text + line->len, bytes, n);
	line->len += n;
}

/* Returns the bytes of the UTF-8 character at `s`, or 0 unless 2 to 4. */
static size_t
utf8_length(const unsigned char *s)
{
	static const uint32_t least[] = { 0x80, 0x800, 0x10000 };
	size_t n = s[0] >= 0xf8 || s[0] < 0xc0 ? 0
	    : s[0] >= 0xf0		       ? 4
	    : s[0] >= 0xe0		       ? 3
					       : 2;
	uint32_t c = n > 0 ? s[0] & (0x7fU >> n) : 0;

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (n == 0 || c < least[n - 2] || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

/* Appends one character, escaped if necessary; returns its bytes at `s`. */
static size_t
put_json_char(struct line *line, const unsigned char *s)
{
	size_t n = utf8_length(s);

	if (n == 2 && s[0] == 0xc2 && s[1] < 0xa0) {
		put(line, "\\u00%02x", s[1]);
		return n;
	}
	if (n > 0) {
		put_bytes(line, s, n);
		return n;
	}
	if (*s >= 0x80)
		put(line, "\\ufffd");
	else if (*s < 0x20 || *s == 0x7f)
		put(line, "\\u00%02x", *s);
	else if (*s == '"' || *s == '\\')
		put(line, "\\%c", *s);
	else
		put_bytes(line, s, 1);
	return 1;
}

static size_t
put_text_char(struct line *line, const unsigned char *s)
{
	if (*s == '\\')
		put(line, "\\\\");
	else if (*s < 0x20 || *s > 0x7e)
		put(line, "\\x%02x", *s);
	else
		put_bytes(line, s, 1);
	return 1;
}

/* Appends untrusted text in at most `max` bytes. */
static void
put_escaped(struct line *line, const char *text, size_t max)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t end = line->len + max - ESCAPE_MAX - strlen(CUT);

	while (*s != '\0') {
		if (line->len > end) {
			put(line, CUT);
			return;
		}
		s += log_format == LOG_JSON ? put_json_char(line, s)
					    : put_text_char(line, s);
	}
}

static void
put_member(struct line *line, const char *name, const char *text)
{
	if (text == NULL || text[0] == '\0')
		return;
	put(line, ",\"%s\":\"", name);
	put_escaped(line, text, MEMBER_MAX);
	put(line, "\"");
}

/* ---- Beginning and end ---- */

static void
put_time(struct line *line)
{
	char date[sizeof("2038-01-19T03:14:07")] = "";
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &tm) != NULL)
		strftime(date, sizeof(date), "%FT%T", &tm);
	put(line, "%s.%03ldZ", date, now.tv_nsec / 1000000);
}

static void
begin(struct line *line, const struct level *level)
{
	line->len = 0;
	if (log_to_journal)
		put(line, "<%d>", level->priority);
	if (log_format == LOG_JSON) {
		put(line, "{\"time\":\"");
		put_time(line);
		put(line, "\",\"level\":\"%s\"", level->name);
		put_member(line, "program", log_program);
	} else if (!log_to_journal) {
		put_time(line);
		put(line, " %s%s%s", log_program != NULL ? log_program : "",
		    log_program != NULL ? ": " : "", level->label);
	}
}

static void
put_message(struct line *line, const char *text)
{
	if (log_format == LOG_JSON)
		put(line, ",\"message\":\"");
	put_escaped(line, text, LOG_LINE_MAX - FRAME_MAX);
	if (log_format == LOG_JSON)
		put(line, "\"");
}

static void
finish(struct line *line)
{
	put(line, log_format == LOG_JSON ? "}" : "");
	line->text[line->len++] = '\n';
}

/* Once the sink accepts lines again: logs how many were dropped here. */
static void
log_dropped(void)
{
	struct line line;
	char text[FRAME_MAX];
	uint64_t dropped;
	int error;

	if ((dropped = log_sink_dropped(&error)) == 0)
		return;
	snprintf(text, sizeof(text), "%" PRIu64 " line%s dropped here: %s",
	    dropped, dropped > 1 ? "s were" : " was",
	    error == EAGAIN ? "the log was not read in time" : strerror(error));
	begin(&line, &level_warn);
	put_message(&line, text);
	finish(&line);
	log_sink_resume(line.text, line.len);
}

/* ---- Retries ---- */

static struct {
	uv_timer_t timer;
	bool open;
	uint64_t delay_ms;
} retry;

static void
on_retry(uv_timer_t *timer)
{
	log_sink_flush();
	log_dropped();
	if (!log_sink_is_behind())
		return;
	if (retry.delay_ms < LOG_SINK_RETRY_MAX_MS)
		retry.delay_ms *= 2;
	uv_timer_start(timer, on_retry, retry.delay_ms, 0);
}

static void
arm_retry(void)
{
	if (!retry.open || uv_is_active((uv_handle_t *)&retry.timer))
		return;
	retry.delay_ms = LOG_SINK_RETRY_MS;
	uv_timer_start(&retry.timer, on_retry, retry.delay_ms, 0);
}

void
log_start(uv_loop_t *loop)
{
	if (retry.open)
		return;
	uv_timer_init(loop, &retry.timer);
	uv_unref((uv_handle_t *)&retry.timer);
	retry.open = true;
}

void
log_stop(void)
{
	if (retry.open)
		uv_close((uv_handle_t *)&retry.timer, NULL);
	retry.open = false;
}

void
log_drain(void)
{
	log_sink_drain();
	log_dropped();
}

static void
end(struct line *line)
{
	finish(line);
	log_dropped();
	log_sink_write(line->text, line->len);
	if (log_sink_is_behind())
		arm_retry();
}

static void
log_line(const struct level *level, const char *fmt, va_list ap)
{
	char text[LOG_LINE_MAX];
	int saved_errno = errno;
	struct line line;

	if (level->verbosity > log_verbosity ||
	    vsnprintf(text, sizeof(text), fmt, ap) < 0)
		return;
	begin(&line, level);
	put_message(&line, text);
	end(&line);
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

/* ---- Tunnels ---- */

static void
put_tunnel_members(struct line *line, const struct log_tunnel *t)
{
	put_member(line, "message", "tunnel ended");
	put_member(line, "client", t->client);
	put_member(line, "user", t->user);
	put_member(line, "kind", t->kind);
	put_member(line, "target", t->target);
	put_member(line, "address", t->address);
	put(line,
	    ",\"bytes_up\":%" PRIu64 ",\"bytes_down\":%" PRIu64
	    ",\"duration_s\":%" PRIu64 ".%03" PRIu64,
	    t->bytes_up, t->bytes_down, t->duration_ms / 1000,
	    t->duration_ms % 1000);
	put_member(line, "reason", t->reason);
}

/* Appends a part of the sentence, unless it is empty. */
static void
put_part(struct line *line, const char *before, const char *text,
    const char *after)
{
	if (text == NULL || text[0] == '\0')
		return;
	put(line, "%s", before);
	put_escaped(line, text, MEMBER_MAX);
	put(line, "%s", after);
}

static void
put_tunnel_sentence(struct line *line, const struct log_tunnel *t)
{
	put_part(line, "", t->user, " at ");
	put_part(line, "", t->client, "");
	put_part(line, " by ", t->kind, "");
	put_part(line, " to ", t->target, "");
	put_part(line, " (", t->address, ")");
	put(line,
	    ": %" PRIu64 " bytes up, %" PRIu64 " down, %" PRIu64 ".%03" PRIu64
	    " s",
	    t->bytes_up, t->bytes_down, t->duration_ms / 1000,
	    t->duration_ms % 1000);
	put_part(line, ": ", t->reason, "");
}

bool
log_shows_tunnels(void)
{
	return log_verbosity >= level_tunnel.verbosity;
}

void
log_tunnel(const struct log_tunnel *tunnel)
{
	struct log_tunnel shown = *tunnel;
	int saved_errno = errno;
	struct line line;

	if (!log_shows_tunnels())
		return;
	if (log_verbosity < LOG_TARGETS)
		shown.target = shown.address = NULL;
	begin(&line, &level_tunnel);
	if (log_format == LOG_JSON)
		put_tunnel_members(&line, &shown);
	else
		put_tunnel_sentence(&line, &shown);
	end(&line);
	errno = saved_errno;
}

/* ---- The service manager ---- */

static int notify_fd = -1;

/* Returns the manager's socket, or NULL: it expects no messages. */
static const char *
notify_path(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path != NULL && path[0] != '\0' ? path : NULL;
}

/* Returns a descriptor that is connected to it, or a negative errno. */
static int
connect_notify(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t size;
	int fd, error;

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
	if (connect(fd, (const struct sockaddr *)&sun, size) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

static int
send_notify(int fd, const char *state)
{
	return send(fd, state, strlen(state), MSG_NOSIGNAL) >= 0 ? 0 : -errno;
}

void
log_notify_prepare(void)
{
	const char *path = notify_path();

	if (notify_fd < 0 && path != NULL)
		notify_fd = connect_notify(path);
}

int
log_notify(const char *state)
{
	const char *path = notify_path();
	int fd, error;

	/* A manager that was restarted has a new socket. */
	if (notify_fd >= 0 && send_notify(notify_fd, state) == 0)
		return 0;
	if (path == NULL)
		return 0;
	if ((fd = connect_notify(path)) < 0)
		return fd;
	error = send_notify(fd, state);
	close(fd);
	return error;
}
