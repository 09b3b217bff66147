/*
 * What `culvertctl watch` shows: rates between two objects of /status.
 */
#include <inttypes.h>
#include <string.h>

#include "proxy/control/report_internal.h"

/* Rows of the table: culvert sends 16; another sender cannot exceed this. */
#define ROWS_MAX 64

#define RATE_COLUMNS 14 /* "1023.9 KiB/s" */

/* Bytes per second; negative: not known yet. */
struct rates {
	double up, down;
};

struct row {
	const json_t *tunnel;
	struct rates rates;
};

static const struct rates unknown = { -1, -1 };

/* Computes the rates of an object; earlier is NULL if it is new. */
static struct rates
rates_of(const json_t *object, const json_t *earlier, double seconds)
{
	const json_t *now = json_object_get(object, "bytes");
	const json_t *before = json_object_get(earlier, "bytes");
	uint64_t up = report_number(now, "up");
	uint64_t down = report_number(now, "down");
	uint64_t up_before = report_number(before, "up");
	uint64_t down_before = report_number(before, "down");

	if (seconds <= 0 || up < up_before || down < down_before)
		return unknown;
	return (struct rates){ (double)(up - up_before) / seconds,
		(double)(down - down_before) / seconds };
}

static const char *
rate(double per_s, char buf[QUANTITY_SIZE])
{
	if (per_s < 0)
		return "-";
	report_bytes((uint64_t)per_s, buf);
	return strcat(buf, "/s");
}

/* ---- The lines ---- */

static void
put_rates(const struct rates *rates, FILE *stream)
{
	char up[QUANTITY_SIZE], down[QUANTITY_SIZE];

	report_label("rate", stream);
	if (rates->up < 0)
		fputs("not known yet\n", stream);
	else
		fprintf(stream, "%s up, %s down\n", rate(rates->up, up),
		    rate(rates->down, down));
}

static void
put_tunnels(const json_t *status, FILE *stream)
{
	const json_t *tunnels = json_object_get(status, "tunnels");
	const json_t *clients = json_object_get(status, "clients");

	report_label("tunnels", stream);
	fprintf(stream, "%" PRIu64 " open, %" PRIu64 " waiting; ",
	    report_number(tunnels, "open"), report_number(tunnels, "waiting"));
	report_count(report_number(clients, "open"), "client", stream);
	putc('\n', stream);
}

/* The loss since the last refresh, if the connection is the same. */
static void
put_loss(const json_t *status, const json_t *earlier, FILE *stream)
{
	const json_t *now = json_object_get(status, "packets");
	const json_t *before = json_object_get(earlier, "packets");
	uint64_t sent = report_number(now, "sent");
	uint64_t lost = report_number(now, "lost");

	if (report_number(status, "reconnects") ==
		report_number(earlier, "reconnects") &&
	    sent >= report_number(before, "sent") &&
	    lost >= report_number(before, "lost")) {
		sent -= report_number(before, "sent");
		lost -= report_number(before, "lost");
	}
	fprintf(stream, "loss %.1f %% (%" PRIu64 " of %" PRIu64 " packets)\n",
	    sent > 0 ? 100 * (double)lost / (double)sent : 0, lost, sent);
}

static void
put_path(const json_t *status, const json_t *earlier, FILE *stream)
{
	if (!report_knows(status, "path_mtu"))
		return;
	report_label("path", stream);
	if (report_knows(status, "rtt_ms"))
		fprintf(stream, "rtt %.1f ms, ",
		    json_number_value(json_object_get(status, "rtt_ms")));
	fprintf(stream, "MTU %" PRIu64 ", ", report_number(status, "path_mtu"));
	put_loss(status, earlier, stream);
}

/* ---- The table ---- */

/* Finds the earlier object of a client by its address, which is unique. */
static const json_t *
find_earlier(const json_t *earlier, const json_t *tunnel)
{
	const json_t *list = json_object_get(earlier, "top"), *other;
	const char *client = report_member(tunnel, "client");

	for (size_t i = 0; i < json_array_size(list); i++) {
		other = json_array_get(list, i);
		if (strcmp(report_member(other, "client"), client) == 0 &&
		    report_number(other, "age_s") <=
			report_number(tunnel, "age_s"))
			return other;
	}
	return NULL;
}

static struct rates
rates_of_tunnel(const json_t *tunnel, const json_t *earlier, double seconds)
{
	const json_t *before = find_earlier(earlier, tunnel);

	if (before == NULL && (double)report_number(tunnel, "age_s") >= seconds)
		return unknown;
	return rates_of(tunnel, before, seconds);
}

static double
sum(const struct row *row)
{
	return row->rates.up + row->rates.down;
}

/* Sorts by rate, the highest first; equal ones keep their order. */
static size_t
make_rows(struct row rows[ROWS_MAX], const json_t *status,
    const json_t *earlier, double seconds)
{
	const json_t *list = json_object_get(status, "top");
	size_t n = json_array_size(list), at;
	struct row row;

	if (n > ROWS_MAX)
		n = ROWS_MAX;
	for (size_t i = 0; i < n; i++) {
		row.tunnel = json_array_get(list, i);
		row.rates = rates_of_tunnel(row.tunnel, earlier, seconds);
		for (at = i; at > 0 && sum(&rows[at - 1]) < sum(&row); at--)
			rows[at] = rows[at - 1];
		rows[at] = row;
	}
	return n;
}

static void
put_row(const struct row *row, int columns, FILE *stream)
{
	const json_t *both = json_object_get(row->tunnel, "bytes");
	const char *target = report_member(row->tunnel, "target");
	char buf[QUANTITY_SIZE];

	report_cell(target[0] != '\0' ? target : "-", columns, stream);
	report_cell(rate(row->rates.up, buf), RATE_COLUMNS, stream);
	report_cell(rate(row->rates.down, buf), RATE_COLUMNS, stream);
	report_cell(report_bytes(report_number(both, "up"), buf), BYTES_COLUMNS,
	    stream);
	report_cell(report_bytes(report_number(both, "down"), buf),
	    BYTES_COLUMNS, stream);
	report_cell(report_duration(report_number(row->tunnel, "age_s"), buf),
	    AGE_COLUMNS, stream);
	report_put(report_member(row->tunnel, "client"), stream);
	putc('\n', stream);
}

static void
put_table(const json_t *status, const json_t *earlier, double seconds,
    FILE *stream)
{
	int columns = report_target_columns(json_object_get(status, "top"));
	struct row rows[ROWS_MAX];
	size_t n = make_rows(rows, status, earlier, seconds);

	if (n == 0)
		return;
	putc('\n', stream);
	report_cell("TARGET", columns, stream);
	report_cell("UP/S", RATE_COLUMNS, stream);
	report_cell("DOWN/S", RATE_COLUMNS, stream);
	report_cell("UP", BYTES_COLUMNS, stream);
	report_cell("DOWN", BYTES_COLUMNS, stream);
	report_cell("AGE", AGE_COLUMNS, stream);
	fputs("CLIENT\n", stream);
	for (size_t i = 0; i < n; i++)
		put_row(&rows[i], columns, stream);
}

void
report_rates(const json_t *status, const json_t *earlier, double seconds,
    FILE *stream)
{
	struct rates all;

	if (report_number(earlier, "pid") != report_number(status, "pid"))
		earlier = NULL;
	all = earlier != NULL ? rates_of(status, earlier, seconds) : unknown;
	report_put_state(status, stream);
	report_put_edge(status, stream);
	put_rates(&all, stream);
	put_tunnels(status, stream);
	put_path(status, earlier, stream);
	report_put_process(status, stream);
	putc('\n', stream);
	put_table(status, earlier, earlier != NULL ? seconds : 0, stream);
}

void
report_outage(const char *error, uint64_t seconds, FILE *stream)
{
	char buf[QUANTITY_SIZE];

	report_label("state", stream);
	fprintf(stream, "no answer for %s\n", report_duration(seconds, buf));
	report_label("error", stream);
	report_put(error, stream);
	putc('\n', stream);
}

void
report_recovery(uint64_t seconds, FILE *stream)
{
	char buf[QUANTITY_SIZE];

	report_label("note", stream);
	fprintf(stream, "culvert answers again after %s\n",
	    report_duration(seconds, buf));
}
