/*
 * Sources of values.  Each option records which one set it last:
 *
 *	default ──▶ file ──▶ command line
 *
 * A value of a later origin first clears the value of an earlier one, so that
 * a list on the command line replaces the file's.  A second value of the same
 * origin is added to a list; a single value it overrides on the command line,
 * while in a file it is an error, since two values of one key are a mistake.
 */
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/privsep.h"
#include "proxy/config/config_source.h"

/* Bytes of a user-file that are read: more than its first line. */
#define USER_FILE_MAX 1024

static void
print_place(const struct source *source)
{
	FILE *err = source->config->err;

	if (source->line > 0)
		fprintf(err, "%s:%u: ", source->name, source->line);
	else
		fprintf(err, "%s: ", source->name);
}

void
source_complain(struct source *source, const char *fmt, ...)
{
	va_list ap;

	print_place(source);
	va_start(ap, fmt);
	vfprintf(source->config->err, fmt, ap);
	va_end(ap);
	fputc('\n', source->config->err);
	source->errors++;
}

void
source_assign(struct source *source, const struct config_option *option,
    size_t i, const char *text)
{
	struct config *config = source->config;
	const struct value_type *type = option->type;
	int error;

	if (config->origin[i] < source->origin)
		value_clear(type, option_field(option, config));
	else if (source->origin == CONFIG_FILE && !type->repeats)
		source_complain(source, "'%s' is set a second time",
		    option->name);
	config->origin[i] = (uint8_t)source->origin;
	error = type->set(option_field(option, config), text);
	if (error == 0)
		return;
	print_place(source);
	fprintf(config->err,
	    "%s%s: ", source->origin == CONFIG_COMMAND ? "--" : "",
	    option->name);
	value_explain(type, error, config->err);
	fputc('\n', config->err);
	source->errors++;
}

/* Whether a name may be shown: other text may be a part of a password. */
static const char *
shown(const char *name, const char *instead)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

	return strlen(name) <= SOURCE_NAME_MAX &&
		name[strspn(name, plain)] == '\0'
	    ? name
	    : instead;
}

void
source_assign_key(struct source *source, const char *section, const char *key,
    const char *text)
{
	const struct config_option *option;
	size_t i;

	option = option_find(source->config->program, key, &i);
	if (option == NULL || option->section == NULL)
		source_complain(source, "unknown key '%s' in [%s]",
		    shown(key, "..."), shown(section, "..."));
	else if (strcmp(option->section, section) != 0)
		source_complain(source, "'%s' belongs in [%s], not in [%s]",
		    key, option->section, shown(section, "..."));
	else
		source_assign(source, option, i, text);
}

/*
 * Gives inih one line, as fgets(3) would.  Leading blanks are removed, since
 * inih takes an indented line for a continuation of the value before it.
 */
static char *
next_line(char *buf, int size, void *arg)
{
	struct source *source = arg;
	const char *line = source->next, *end;
	char *start = buf;
	size_t len;

	if (line == source->end)
		return NULL;
	source->line++;
	end = memchr(line, '\n', (size_t)(source->end - line));
	source->next = end != NULL ? end + 1 : source->end;
	if (end == NULL)
		end = source->end;
	while (line < end && isspace((unsigned char)*line))
		line++;
	len = (size_t)(end - line);
	if (len > (size_t)size - 3)
		source_complain(source, "the line is longer than %d bytes",
		    size - 3);
	else if (memchr(line, '\0', len) != NULL)
		source_complain(source, "the line contains a NUL byte");
	else
		buf = mempcpy(buf, line, len);
	strcpy(buf, "\n");
	return start;
}

static int
on_key(void *arg, const char *section, const char *key, const char *text)
{
	source_assign_key(arg, section, key, text);
	return 1;
}

void
source_read_text(struct source *source, const char *text, size_t len)
{
	int line;

	source->line = 0;
	source->next = text;
	source->end = text + len;
	line = ini_parse_stream(next_line, source, on_key, source);
	source->line = line > 0 ? (unsigned)line : 0;
	if (line > 0)
		source_complain(source, "neither [section] nor key = value");
	else if (line < 0)
		source_complain(source, "out of memory");
}

/* Fills buf and returns the number of bytes, or a negative errno. */
static ssize_t
read_file(const char *path, char *buf, size_t size)
{
	int fd = privsep_open(path);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return fd;
	do {
		n = read(fd, buf + len, size - len);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 && len < size);
	if (n < 0)
		n = -errno;
	close(fd);
	return n < 0 ? n : (ssize_t)len;
}

void
source_read_file(struct source *source)
{
	char *text = malloc(CONFIG_FILE_MAX + 1);
	ssize_t len = text != NULL
	    ? read_file(source->name, text, CONFIG_FILE_MAX + 1)
	    : -ENOMEM;

	if (len < 0)
		source_complain(source, "%s", privsep_strerror((int)-len));
	else if (len > CONFIG_FILE_MAX)
		source_complain(source, "larger than %d bytes",
		    CONFIG_FILE_MAX);
	else
		source_read_text(source, text, (size_t)len);
	if (len > 0)
		explicit_bzero(text, (size_t)len);
	free(text);
}

void
source_read_user(struct source *source)
{
	char line[USER_FILE_MAX + 1];
	ssize_t len = read_file(source->name, line, USER_FILE_MAX);

	if (len < 0) {
		source_complain(source, "%s", privsep_strerror((int)-len));
		return;
	}
	line[len] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	source->line = 1;
	if (value_user.set(&source->config->user, line) != 0)
		source_complain(source, "the line is not %s",
		    value_user.expected);
	explicit_bzero(line, sizeof(line));
}
