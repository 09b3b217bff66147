#include <inttypes.h>
#include <string.h>

#include "proxy/control/report_internal.h"

#define STATE_COLUMNS 13 /* "negotiating" */
#define KIND_COLUMNS 9	 /* "connect" */

/* ---- Status ---- */

/* Prints nothing on a good path, the usual case. */
static void
put_spread(const json_t *status, FILE *stream)
{
	uint64_t n = report_number(status, "spread");

	if (n < 2)
		return;
	report_label("spread", stream);
	fprintf(stream,
	    "the path loses packets: new tunnels go to up to %" PRIu64
	    " connections\n",
	    n);
}

/* Prints nothing for one connection, the usual case: other lines say it. */
static void
put_connections(const json_t *status, FILE *stream)
{
	const json_t *list = json_object_get(status, "connections"), *c;

	if (json_array_size(list) < 2)
		return;
	for (size_t i = 0; i < json_array_size(list); i++) {
		c = json_array_get(list, i);
		report_label("connection", stream);
		report_put(report_member(c, "edge"), stream);
		fputs(" (", stream);
		report_put(report_member(c, "address"), stream);
		fputs(") ", stream);
		report_put(report_member(c, "state"), stream);
		fputs(", ", stream);
		report_count(report_number(c, "tunnels"), "tunnel", stream);
		putc('\n', stream);
	}
}

static void
put_tls(const json_t *status, FILE *stream)
{
	const json_t *tls = json_object_get(status, "tls");

	if (report_member(tls, "version")[0] == '\0')
		return;
	report_label("tls", stream);
	report_put(report_member(tls, "version"), stream);
	fputs(", ", stream);
	report_put(report_member(tls, "cipher"), stream);
	if (report_member(tls, "aead")[0] != '\0') {
		fputs(" by ", stream);
		report_put(report_member(tls, "aead"), stream);
	}
	fputs(", ", stream);
	report_put(report_member(tls, "group"), stream);
	if (json_is_true(json_object_get(status, "resumed")))
		fputs(", resumed", stream);
	putc('\n', stream);
}

static void
put_path(const json_t *status, FILE *stream)
{
	char cwnd[QUANTITY_SIZE], flight[QUANTITY_SIZE];

	if (!report_knows(status, "path_mtu"))
		return;
	report_label("path", stream);
	if (report_knows(status, "rtt_ms"))
		fprintf(stream, "rtt %.1f ms, ",
		    json_number_value(json_object_get(status, "rtt_ms")));
	fprintf(stream, "MTU %" PRIu64 " (ceiling %" PRIu64 ")\n",
	    report_number(status, "path_mtu"),
	    report_number(status, "mtu_ceiling"));
	report_label("window", stream);
	fprintf(stream, "%s, %s in flight\n",
	    report_bytes(report_number(status, "cwnd"), cwnd),
	    report_bytes(report_number(status, "bytes_in_flight"), flight));
}

static void
put_packets(const json_t *status, FILE *stream)
{
	const json_t *packets = json_object_get(status, "packets");

	if (!report_knows(packets, "sent"))
		return;
	report_label("packets", stream);
	fprintf(stream,
	    "%" PRIu64 " sent, %" PRIu64 " received, %" PRIu64 " lost",
	    report_number(packets, "sent"), report_number(packets, "received"),
	    report_number(packets, "lost"));
	if (report_number(packets, "repaired") > 0)
		fprintf(stream, ", %" PRIu64 " repaired",
		    report_number(packets, "repaired"));
	fputc('\n', stream);
}

static void
put_counts(const json_t *status, FILE *stream)
{
	const json_t *tunnels = json_object_get(status, "tunnels");
	const json_t *clients = json_object_get(status, "clients");
	const json_t *total = json_object_get(status, "bytes");
	char up[QUANTITY_SIZE], down[QUANTITY_SIZE];

	report_label("tunnels", stream);
	fprintf(stream,
	    "%" PRIu64 " open, %" PRIu64 " waiting, %" PRIu64 " total, %" PRIu64
	    " failed\n",
	    report_number(tunnels, "open"), report_number(tunnels, "waiting"),
	    report_number(tunnels, "total"), report_number(tunnels, "failed"));
	report_label("clients", stream);
	fprintf(stream, "%" PRIu64 " open, %" PRIu64 " total\n",
	    report_number(clients, "open"), report_number(clients, "total"));
	report_label("bytes", stream);
	fprintf(stream, "%s up, %s down\n",
	    report_bytes(report_number(total, "up"), up),
	    report_bytes(report_number(total, "down"), down));
}

static void
put_listen(const json_t *status, FILE *stream)
{
	const json_t *list = json_object_get(status, "listen");
	const char *address;

	report_label("listen", stream);
	for (size_t i = 0; i < json_array_size(list); i++) {
		address = json_string_value(json_array_get(list, i));
		if (i > 0)
			fputs(", ", stream);
		report_put(address != NULL ? address : "", stream);
	}
	putc('\n', stream);
}

/* Prints the counts that have limits, as "use of max". */
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

	report_label("limits", stream);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		limit = json_object_get(limits, rows[i].name);
		if (report_knows(limit, "max"))
			fprintf(stream, "%" PRIu64 " of %" PRIu64 " %s, ",
			    report_number(limit, "use"),
			    report_number(limit, "max"), rows[i].unit);
	}
	limit = json_object_get(limits, "memory_max");
	fprintf(stream, "%s of %s\n",
	    report_bytes(report_number(limit, "use"), use),
	    report_bytes(report_number(limit, "max"), max));
}

static void
put_limits(const json_t *status, FILE *stream)
{
	json_t *limits = json_object_get(status, "limits"), *limit;
	const char *name, *before = "";

	if (!json_is_object(limits))
		return;
	put_uses(limits, stream);
	json_object_foreach(limits, name, limit)
	{
		if (report_number(limit, "hits") == 0)
			continue;
		if (before[0] == '\0')
			report_label("met", stream);
		fputs(before, stream);
		report_put(name, stream);
		fprintf(stream, " %" PRIu64 " time%s",
		    report_number(limit, "hits"),
		    report_number(limit, "hits") != 1 ? "s" : "");
		before = ", ";
	}
	if (before[0] != '\0')
		putc('\n', stream);
}

static void
put_process(const json_t *status, FILE *stream)
{
	report_put_process(status, stream);
	fputs("; ", stream);
	report_count(report_number(status, "reconnects"), "reconnect", stream);
	putc('\n', stream);
}

void
report_status(const json_t *status, FILE *stream)
{
	report_put_state(status, stream);
	report_put_edge(status, stream);
	put_tls(status, stream);
	put_path(status, stream);
	put_packets(status, stream);
	put_spread(status, stream);
	put_connections(status, stream);
	put_counts(status, stream);
	put_listen(status, stream);
	put_limits(status, stream);
	put_process(status, stream);
}

/* ---- Tunnels ---- */

static void
put_tunnel(const json_t *tunnel, int columns, FILE *stream)
{
	const json_t *both = json_object_get(tunnel, "bytes");
	const char *target = report_member(tunnel, "target");
	char buf[QUANTITY_SIZE];

	report_cell(target[0] != '\0' ? target : "-", columns, stream);
	report_cell(report_duration(report_number(tunnel, "age_s"), buf),
	    AGE_COLUMNS, stream);
	report_cell(report_bytes(report_number(both, "up"), buf), BYTES_COLUMNS,
	    stream);
	report_cell(report_bytes(report_number(both, "down"), buf),
	    BYTES_COLUMNS, stream);
	report_cell(report_member(tunnel, "state"), STATE_COLUMNS, stream);
	report_cell(report_member(tunnel, "kind"), KIND_COLUMNS, stream);
	report_put(report_member(tunnel, "client"), stream);
	putc('\n', stream);
}

void
report_tunnels(const json_t *object, FILE *stream)
{
	const json_t *list = json_object_get(object, "tunnels");
	int columns = report_target_columns(list);

	report_cell("TARGET", columns, stream);
	report_cell("AGE", AGE_COLUMNS, stream);
	report_cell("UP", BYTES_COLUMNS, stream);
	report_cell("DOWN", BYTES_COLUMNS, stream);
	report_cell("STATE", STATE_COLUMNS, stream);
	report_cell("KIND", KIND_COLUMNS, stream);
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

	if (!report_knows(mtu, "size")) {
		fputs("there is no connection to an edge\n", stream);
		return;
	}
	report_label("size", stream);
	fprintf(stream, "%" PRIu64 " bytes of IP, at most %" PRIu64 "\n",
	    report_number(mtu, "size"), report_number(mtu, "ceiling"));
	report_label("state", stream);
	report_put(report_member(mtu, "state"), stream);
	if (report_knows(mtu, "changed_s")) {
		fprintf(stream, ", changed %s ago: ",
		    report_duration(report_number(mtu, "changed_s"), age));
		report_put(report_member(mtu, "cause"), stream);
	}
	putc('\n', stream);
	report_label("probes", stream);
	fprintf(stream,
	    "%" PRIu64 " sent, %" PRIu64 " acked, %" PRIu64 " lost\n",
	    report_number(mtu, "probes_sent"),
	    report_number(mtu, "probes_acked"),
	    report_number(mtu, "probes_lost"));
	report_label("holes", stream);
	fprintf(stream, "%" PRIu64 " suspected, %" PRIu64 " confirmed\n",
	    report_number(mtu, "black_holes_suspected"),
	    report_number(mtu, "black_holes_confirmed"));
	report_label("too big", stream);
	fprintf(stream,
	    "%" PRIu64 " ICMP seen, %" PRIu64 " valid, %" PRIu64 " ignored\n",
	    report_number(mtu, "ptb_seen"), report_number(mtu, "ptb_valid"),
	    report_number(mtu, "ptb_ignored"));
}

void
report_route(const json_t *route, FILE *stream)
{
	report_label("target", stream);
	report_put(report_member(route, "target"), stream);
	putc('\n', stream);
	report_label("action", stream);
	report_put(report_member(route, "action"), stream);
	putc('\n', stream);
	report_label("rule", stream);
	report_put(report_member(route, "file"), stream);
	if (report_knows(route, "line"))
		fprintf(stream, ":%" PRIu64, report_number(route, "line"));
	else
		fputs("none covers it", stream);
	putc('\n', stream);
	if (report_member(route, "edge")[0] == '\0')
		return;
	report_label("edge", stream);
	report_put(report_member(route, "edge"), stream);
	putc('\n', stream);
}
