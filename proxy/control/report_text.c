/*
 * The text of reports: members of objects, labels, cells and quantities.
 */
#include <inttypes.h>

#include "proxy/control/report_internal.h"

#define LABEL_COLUMNS 11 /* the longest label, and a space */

/* A longer target shifts the rest of its own row. */
#define TARGET_COLUMNS_MAX 48

/* ---- Members of an object ---- */

const char *
report_member(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

uint64_t
report_number(const json_t *object, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(object, name));

	return n > 0 ? (uint64_t)n : 0;
}

bool
report_knows(const json_t *object, const char *name)
{
	return json_is_number(json_object_get(object, name));
}

/* ---- Text and quantities ---- */

static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c <= 0x7e && c != '\\';
}

/* Returns the number of columns that report_put() prints. */
static int
width(const char *text)
{
	int n = 0;

	for (; *text != '\0'; text++)
		n += is_plain((unsigned char)*text) ? 1 : *text == '\\' ? 2 : 4;
	return n;
}

void
report_put(const char *text, FILE *stream)
{
	for (; *text != '\0'; text++) {
		if (is_plain((unsigned char)*text))
			putc(*text, stream);
		else if (*text == '\\')
			fputs("\\\\", stream);
		else
			fprintf(stream, "\\x%02x", (unsigned char)*text);
	}
}

void
report_cell(const char *text, int columns, FILE *stream)
{
	int pad = columns - width(text);

	report_put(text, stream);
	fprintf(stream, "%*s", pad > 1 ? pad : 1, "");
}

void
report_label(const char *label, FILE *stream)
{
	fprintf(stream, "%-*s", LABEL_COLUMNS, label);
}

void
report_count(uint64_t n, const char *noun, FILE *stream)
{
	fprintf(stream, "%" PRIu64 " %s%s", n, noun, n == 1 ? "" : "s");
}

const char *
report_duration(uint64_t s, char buf[QUANTITY_SIZE])
{
	if (s < 60)
		snprintf(buf, QUANTITY_SIZE, "%" PRIu64 " s", s);
	else if (s < 60 * 60)
		snprintf(buf, QUANTITY_SIZE, "%" PRIu64 " min %" PRIu64 " s",
		    s / 60, s % 60);
	else if (s < 24 * 60 * 60)
		snprintf(buf, QUANTITY_SIZE, "%" PRIu64 " h %" PRIu64 " min",
		    s / 3600, s / 60 % 60);
	else
		snprintf(buf, QUANTITY_SIZE, "%" PRIu64 " d %" PRIu64 " h",
		    s / 86400, s / 3600 % 24);
	return buf;
}

/* From 1023.95 on, "%.1f" would give 1024.0, which is 1.0 of the next unit. */
const char *
report_bytes(uint64_t n, char buf[QUANTITY_SIZE])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB",
		"EiB" };
	double value = (double)n / 1024;
	size_t i = 0;

	if (n < 1024) {
		snprintf(buf, QUANTITY_SIZE, "%" PRIu64 " B", n);
		return buf;
	}
	for (; value >= 1023.95; i++)
		value /= 1024;
	snprintf(buf, QUANTITY_SIZE, "%.1f %s", value, units[i]);
	return buf;
}

void
report_put_state(const json_t *status, FILE *stream)
{
	const char *error = report_member(status, "error");

	report_label("state", stream);
	report_put(report_member(status, "state"), stream);
	putc('\n', stream);
	if (error[0] == '\0')
		return;
	report_label("error", stream);
	report_put(error, stream);
	putc('\n', stream);
}

void
report_put_edge(const json_t *status, FILE *stream)
{
	const char *address = report_member(status, "address");

	report_label("edge", stream);
	report_put(report_member(status, "edge"), stream);
	if (address[0] != '\0') {
		fputs(" (", stream);
		report_put(address, stream);
		putc(')', stream);
	}
	putc('\n', stream);
}

void
report_put_process(const json_t *status, FILE *stream)
{
	char uptime[QUANTITY_SIZE];

	report_label("culvert", stream);
	report_put(report_member(status, "version"), stream);
	fprintf(stream, ", process %" PRIu64 ", up %s",
	    report_number(status, "pid"),
	    report_duration(report_number(status, "uptime_s"), uptime));
}

int
report_target_columns(const json_t *list)
{
	int columns = width("TARGET"), w;

	for (size_t i = 0; i < json_array_size(list); i++) {
		w = width(report_member(json_array_get(list, i), "target"));
		if (w > columns)
			columns = w;
	}
	return (columns < TARGET_COLUMNS_MAX ? columns : TARGET_COLUMNS_MAX) +
	    2;
}
