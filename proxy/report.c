#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proxy/report.h"

#define LABEL_COLUMNS 11 /* the longest label and two spaces */

/* Columns of the table; a target that is longer moves its own row. */
#define TARGET_COLUMNS_MAX 48
#define AGE_COLUMNS 12 /* "59 min 59 s" */
#define BYTES_COLUMNS 11 /* "1023.9 KiB" */
#define STATE_COLUMNS 13 /* "negotiating" */
#define KIND_COLUMNS 9 /* "connect" */

/* Bytes of a formatted quantity: 2^64 of anything is no longer. */
#define QUANTITY_SIZE 40

/* ---- Members of an object ---- */

static const char *
text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

static uint64_t
number_of(const json_t *object, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(object, name));

	return n > 0 ? (uint64_t)n : 0;
}

static bool
is_known(const json_t *object, const char *name)
{
	return json_is_number(json_object_get(object, name));
}

/* ---- Text and quantities ---- */

static bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c <= 0x7e && c != '\\';
}

/* The columns that put_text() fills. */
static int
width(const char *text)
{
	int n = 0;

	for (; *text != '\0'; text++)
		n += is_plain((unsigned char)*text) ? 1 :
		    *text == '\\' ? 2 : 4;
	return n;
}

static void
put_text(const char *text, FILE *stream)
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

static void
put_cell(const char *text, int columns, FILE *stream)
{
	int pad = columns - width(text);

	put_text(text, stream);
	fprintf(stream, "%*s", pad > 1 ? pad : 1, "");
}

static void
put_label(const char *label, FILE *stream)
{
	fprintf(stream, "%-*s", LABEL_COLUMNS, label);
}

static void
put_count(uint64_t n, const char *noun, FILE *stream)
{
	fprintf(stream, "%" PRIu64 " %s%s", n, noun, n == 1 ? "" : "s");
}

static const char *
duration(uint64_t s, char buf[QUANTITY_SIZE])
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

/* 1023.95 would be rounded to 1024.0 of a unit whose next one begins there. */
static const char *
bytes(uint64_t n, char buf[QUANTITY_SIZE])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB",
		"PiB", "EiB" };
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

/* ---- Status ---- */

static void
put_state(const json_t *status, FILE *stream)
{
	const char *error = text_of(status, "error");

	put_label("state", stream);
	put_text(text_of(status, "state"), stream);
	putc('\n', stream);
	if (error[0] == '\0')
		return;
	put_label("error", stream);
	put_text(error, stream);
	putc('\n', stream);
}

static void
put_edge(const json_t *status, FILE *stream)
{
	const char *address = text_of(status, "address");

	put_label("edge", stream);
	put_text(text_of(status, "edge"), stream);
	if (address[0] != '\0') {
		fputs(" (", stream);
		put_text(address, stream);
		putc(')', stream);
	}
	putc('\n', stream);
}

/* One connection is the rule, and then all has been said. */
static void
put_connections(const json_t *status, FILE *stream)
{
	const json_t *list = json_object_get(status, "connections"), *c;

	if (json_array_size(list) < 2)
		return;
	for (size_t i = 0; i < json_array_size(list); i++) {
		c = json_array_get(list, i);
		put_label("link", stream);
		put_text(text_of(c, "edge"), stream);
		fputs(" (", stream);
		put_text(text_of(c, "address"), stream);
		fputs(") ", stream);
		put_text(text_of(c, "state"), stream);
		fputs(", ", stream);
		put_count(number_of(c, "tunnels"), "tunnel", stream);
		putc('\n', stream);
	}
}

static void
put_tls(const json_t *status, FILE *stream)
{
	const json_t *tls = json_object_get(status, "tls");

	if (text_of(tls, "version")[0] == '\0')
		return;
	put_label("tls", stream);
	put_text(text_of(tls, "version"), stream);
	fputs(", ", stream);
	put_text(text_of(tls, "cipher"), stream);
	fputs(", ", stream);
	put_text(text_of(tls, "group"), stream);
	if (json_is_true(json_object_get(status, "resumed")))
		fputs(", resumed", stream);
	putc('\n', stream);
}

static void
put_path(const json_t *status, FILE *stream)
{
	char cwnd[QUANTITY_SIZE], flight[QUANTITY_SIZE];

	if (!is_known(status, "path_mtu"))
		return;
	put_label("path", stream);
	if (is_known(status, "rtt_ms"))
		fprintf(stream, "rtt %.1f ms, ",
		    json_number_value(json_object_get(status, "rtt_ms")));
	fprintf(stream, "MTU %" PRIu64 " (ceiling %" PRIu64 ")\n",
	    number_of(status, "path_mtu"), number_of(status, "mtu_ceiling"));
	put_label("window", stream);
	fprintf(stream, "%s, %s in flight\n",
	    bytes(number_of(status, "cwnd"), cwnd),
	    bytes(number_of(status, "bytes_in_flight"), flight));
}

static void
put_packets(const json_t *status, FILE *stream)
{
	const json_t *packets = json_object_get(status, "packets");

	if (!is_known(packets, "sent"))
		return;
	put_label("packets", stream);
	fprintf(stream, "%" PRIu64 " sent, %" PRIu64 " received, %" PRIu64
	    " lost\n", number_of(packets, "sent"),
	    number_of(packets, "received"), number_of(packets, "lost"));
}

static void
put_counts(const json_t *status, FILE *stream)
{
	const json_t *tunnels = json_object_get(status, "tunnels");
	const json_t *clients = json_object_get(status, "clients");
	const json_t *total = json_object_get(status, "bytes");
	char up[QUANTITY_SIZE], down[QUANTITY_SIZE];

	put_label("tunnels", stream);
	fprintf(stream, "%" PRIu64 " open, %" PRIu64 " waiting, %" PRIu64
	    " total, %" PRIu64 " failed\n", number_of(tunnels, "open"),
	    number_of(tunnels, "waiting"), number_of(tunnels, "total"),
	    number_of(tunnels, "failed"));
	put_label("clients", stream);
	fprintf(stream, "%" PRIu64 " open, %" PRIu64 " total\n",
	    number_of(clients, "open"), number_of(clients, "total"));
	put_label("bytes", stream);
	fprintf(stream, "%s up, %s down\n", bytes(number_of(total, "up"), up),
	    bytes(number_of(total, "down"), down));
}

static void
put_listen(const json_t *status, FILE *stream)
{
	const json_t *list = json_object_get(status, "listen");
	const char *address;

	put_label("listen", stream);
	for (size_t i = 0; i < json_array_size(list); i++) {
		address = json_string_value(json_array_get(list, i));
		if (i > 0)
			fputs(", ", stream);
		put_text(address != NULL ? address : "", stream);
	}
	putc('\n', stream);
}

/* What is counted, as "use of max". */
static void
put_uses(const json_t *limits, FILE *stream)
{
	static const struct {
		const char *name, *unit;
	} rows[] = {
		{ "clients_max", "clients" },
		{ "clients_per_listener", "at one listener" },
		{ "clients_per_source", "from one address" },
		{ "descriptors", "descriptors" },
	};
	char use[QUANTITY_SIZE], max[QUANTITY_SIZE];
	const json_t *limit;

	put_label("limits", stream);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		limit = json_object_get(limits, rows[i].name);
		if (is_known(limit, "max"))
			fprintf(stream, "%" PRIu64 " of %" PRIu64 " %s, ",
			    number_of(limit, "use"), number_of(limit, "max"),
			    rows[i].unit);
	}
	limit = json_object_get(limits, "memory_max");
	fprintf(stream, "%s of %s\n", bytes(number_of(limit, "use"), use),
	    bytes(number_of(limit, "max"), max));
}

static void
put_limits(const json_t *status, FILE *stream)
{
	json_t *limits = json_object_get(status, "limits"), *limit;
	const char *name, *before = "";

	if (!json_is_object(limits))
		return;
	put_uses(limits, stream);
	json_object_foreach(limits, name, limit) {
		if (number_of(limit, "hits") == 0)
			continue;
		if (before[0] == '\0')
			put_label("met", stream);
		fputs(before, stream);
		put_text(name, stream);
		fprintf(stream, " %" PRIu64 " time%s", number_of(limit, "hits"),
		    number_of(limit, "hits") != 1 ? "s" : "");
		before = ", ";
	}
	if (before[0] != '\0')
		putc('\n', stream);
}

static void
put_process(const json_t *status, FILE *stream)
{
	char uptime[QUANTITY_SIZE];

	put_label("culvert", stream);
	put_text(text_of(status, "version"), stream);
	fprintf(stream, ", process %" PRIu64 ", up %s; ",
	    number_of(status, "pid"),
	    duration(number_of(status, "uptime_s"), uptime));
	put_count(number_of(status, "reconnects"), "reconnect", stream);
	putc('\n', stream);
}

void
report_status(const json_t *status, FILE *stream)
{
	put_state(status, stream);
	put_edge(status, stream);
	put_tls(status, stream);
	put_path(status, stream);
	put_packets(status, stream);
	put_connections(status, stream);
	put_counts(status, stream);
	put_listen(status, stream);
	put_limits(status, stream);
	put_process(status, stream);
}

/* ---- Tunnels ---- */

static int
target_columns(const json_t *list)
{
	int columns = width("TARGET"), w;

	for (size_t i = 0; i < json_array_size(list); i++) {
		w = width(text_of(json_array_get(list, i), "target"));
		if (w > columns)
			columns = w;
	}
	return (columns < TARGET_COLUMNS_MAX ? columns : TARGET_COLUMNS_MAX) +
	    2;
}

static void
put_tunnel(const json_t *tunnel, int columns, FILE *stream)
{
	const json_t *both = json_object_get(tunnel, "bytes");
	const char *target = text_of(tunnel, "target");
	char buf[QUANTITY_SIZE];

	put_cell(target[0] != '\0' ? target : "-", columns, stream);
	put_cell(duration(number_of(tunnel, "age_s"), buf), AGE_COLUMNS,
	    stream);
	put_cell(bytes(number_of(both, "up"), buf), BYTES_COLUMNS, stream);
	put_cell(bytes(number_of(both, "down"), buf), BYTES_COLUMNS, stream);
	put_cell(text_of(tunnel, "state"), STATE_COLUMNS, stream);
	put_cell(text_of(tunnel, "kind"), KIND_COLUMNS, stream);
	put_text(text_of(tunnel, "client"), stream);
	putc('\n', stream);
}

void
report_tunnels(const json_t *object, FILE *stream)
{
	const json_t *list = json_object_get(object, "tunnels");
	int columns = target_columns(list);

	put_cell("TARGET", columns, stream);
	put_cell("AGE", AGE_COLUMNS, stream);
	put_cell("UP", BYTES_COLUMNS, stream);
	put_cell("DOWN", BYTES_COLUMNS, stream);
	put_cell("STATE", STATE_COLUMNS, stream);
	put_cell("KIND", KIND_COLUMNS, stream);
	fputs("CLIENT\n", stream);
	for (size_t i = 0; i < json_array_size(list); i++)
		put_tunnel(json_array_get(list, i), columns, stream);
}

void
report_reconnect(const json_t *object, FILE *stream)
{
	(void)object;
	fputs("culvert is opening a new connection to the edge\n", stream);
}

void
report_reprobe(const json_t *object, FILE *stream)
{
	(void)object;
	fputs("culvert is searching for a larger path MTU\n", stream);
}

void
report_mtu(const json_t *mtu, FILE *stream)
{
	char age[QUANTITY_SIZE];

	if (!is_known(mtu, "size")) {
		fputs("there is no connection to an edge\n", stream);
		return;
	}
	put_label("size", stream);
	fprintf(stream, "%" PRIu64 " bytes of IP, at most %" PRIu64 "\n",
	    number_of(mtu, "size"), number_of(mtu, "ceiling"));
	put_label("state", stream);
	put_text(text_of(mtu, "state"), stream);
	if (is_known(mtu, "changed_s")) {
		fprintf(stream, ", changed %s ago: ",
		    duration(number_of(mtu, "changed_s"), age));
		put_text(text_of(mtu, "cause"), stream);
	}
	putc('\n', stream);
	put_label("probes", stream);
	fprintf(stream, "%" PRIu64 " sent, %" PRIu64 " acked, %" PRIu64
	    " lost\n", number_of(mtu, "probes_sent"),
	    number_of(mtu, "probes_acked"), number_of(mtu, "probes_lost"));
	put_label("holes", stream);
	fprintf(stream, "%" PRIu64 " suspected, %" PRIu64 " confirmed\n",
	    number_of(mtu, "black_holes_suspected"),
	    number_of(mtu, "black_holes_confirmed"));
	put_label("too big", stream);
	fprintf(stream, "%" PRIu64 " ICMP seen, %" PRIu64 " valid, %" PRIu64
	    " ignored\n", number_of(mtu, "ptb_seen"),
	    number_of(mtu, "ptb_valid"), number_of(mtu, "ptb_ignored"));
}
