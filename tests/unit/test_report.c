#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/control/report.h"

static void
expect(void (*report)(const json_t *, FILE *), const char *json,
    const char *wanted)
{
	json_t *object = json_loads(json, 0, NULL);
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);

	assert_non_null(object);
	assert_non_null(stream);
	report(object, stream);
	assert_int_equal(fclose(stream), 0);
	assert_string_equal(text, wanted);
	free(text);
	json_decref(object);
}

/* The end of a status that has nothing but bytes. */
#define QUIET(up) \
	"tunnels    0 open, 0 waiting, 0 total, 0 failed\n" \
	"clients    0 open, 0 total\n" \
	"bytes      " up " up, 0 B down\n" \
	"listen     \n" \
	"culvert    , process 0, up 0 s; 0 reconnects\n"

static void
status_that_is_up(void **state)
{
	(void)state;
	expect(report_status,
	    "{\"state\": \"up\", \"error\": null,"
	    " \"edge\": \"edge.example:443\", \"address\": \"192.0.2.7:443\","
	    " \"tls\": {\"version\": \"TLS1.3\", \"cipher\": \"AES-128-GCM\","
	    " \"aead\": \"GnuTLS\", \"group\": \"X25519\"}, \"resumed\": true, \"rtt_ms\": 23.449,"
	    " \"cwnd\": 65536, \"bytes_in_flight\": 1200, \"path_mtu\": 1480,"
	    " \"mtu_ceiling\": 1500, \"tunnels\": {\"open\": 12,"
	    " \"waiting\": 0, \"total\": 340, \"failed\": 2},"
	    " \"clients\": {\"open\": 13, \"total\": 400},"
	    " \"bytes\": {\"up\": 1288490189, \"down\": 3650722202},"
	    " \"packets\": {\"sent\": 100, \"received\": 99, \"lost\": 1},"
	    " \"reconnects\": 4, \"uptime_s\": 184, \"version\": \"0.1.0\","
	    " \"pid\": 7, \"listen\": [\"127.0.0.1:1080\", \"[::1]:1080\"],"
	    " \"limits\": {"
	    "\"clients_max\": {\"use\": 13, \"max\": 65536, \"hits\": 2},"
	    "\"clients_per_listener\": {\"use\": 13, \"max\": null,"
	    " \"hits\": 0},"
	    "\"clients_per_source\": {\"use\": 5, \"max\": 16, \"hits\": 0},"
	    "\"descriptors\": {\"use\": 40, \"max\": 1024, \"hits\": 0},"
	    "\"memory_max\": {\"use\": 65536, \"max\": 268435456,"
	    " \"hits\": 0},"
	    "\"head_timeout\": {\"use\": null, \"max\": 15,"
	    " \"hits\": 7}}}",
	    "state      up\n"
	    "edge       edge.example:443 (192.0.2.7:443)\n"
	    "tls        TLS1.3, AES-128-GCM by GnuTLS, X25519, resumed\n"
	    "path       rtt 23.4 ms, MTU 1480 (ceiling 1500)\n"
	    "window     64.0 KiB, 1.2 KiB in flight\n"
	    "packets    100 sent, 99 received, 1 lost\n"
	    "tunnels    12 open, 0 waiting, 340 total, 2 failed\n"
	    "clients    13 open, 400 total\n"
	    "bytes      1.2 GiB up, 3.4 GiB down\n"
	    "listen     127.0.0.1:1080, [::1]:1080\n"
	    "limits     13 of 65536 clients, 5 of 16 from one address, "
	    "40 of 1024 descriptors, 64.0 KiB of 256.0 MiB\n"
	    "met        clients_max 2 times, head_timeout 7 times\n"
	    "culvert    0.1.0, process 7, up 3 min 4 s; 4 reconnects\n");
}

static void
connections_are_listed_when_there_are_several(void **state)
{
	(void)state;
	expect(report_status,
	    "{\"state\": \"up\", \"edge\": \"a.example:443\","
	    " \"spread\": 4, \"connections\": [{\"state\": \"up\","
	    " \"edge\": \"a.example:443\", \"address\": \"[::1]:443\","
	    " \"tunnels\": 7}, {\"state\": \"draining\","
	    " \"edge\": \"b.example:1\", \"address\": \"192.0.2.7:1\","
	    " \"tunnels\": 1}]}",
	    "state      up\n"
	    "edge       a.example:443\n"
	    "spread     the path loses packets: new tunnels go to up to "
	    "4 connections\n"
	    "connection a.example:443 ([::1]:443) up, 7 tunnels\n"
	    "connection b.example:1 (192.0.2.7:1) draining, 1 tunnel\n" QUIET(
		"0 B"));
}

static void
status_that_is_down(void **state)
{
	(void)state;
	expect(report_status,
	    "{\"state\": \"down\", \"error\": \"the edge does not answer\","
	    " \"edge\": \"edge.example:443\", \"address\": null,"
	    " \"tls\": {\"version\": null}, \"rtt_ms\": null,"
	    " \"path_mtu\": null, \"mtu_ceiling\": 1500,"
	    " \"packets\": {\"sent\": null}}",
	    "state      down\n"
	    "error      the edge does not answer\n"
	    "edge       edge.example:443\n" QUIET("0 B"));
}

static void
tunnels_in_a_table(void **state)
{
	(void)state;
	expect(report_tunnels, "{\"tunnels\": []}",
	    "TARGET  AGE         UP         DOWN       STATE        KIND     "
	    "CLIENT\n");
	expect(report_tunnels,
	    "{\"tunnels\": [{\"target\": \"a.example:443\","
	    " \"client\": \"127.0.0.1:40000\", \"kind\": \"socks5\","
	    " \"state\": \"open\", \"age_s\": 61,"
	    " \"bytes\": {\"up\": 1023, \"down\": 1048524}},"
	    " {\"target\": null, \"client\": \"[::1]:1\", \"kind\": \"new\","
	    " \"state\": \"negotiating\", \"age_s\": 3599}]}",
	    "TARGET         AGE         UP         DOWN       STATE        "
	    "KIND     CLIENT\n"
	    "a.example:443  1 min 1 s   1023 B     1023.9 KiB open         "
	    "socks5   127.0.0.1:40000\n"
	    "-              59 min 59 s 0 B        0 B        negotiating  "
	    "new      [::1]:1\n");
}

static void
a_long_target_moves_its_own_row(void **state)
{
	char json[512], wanted[512], target[101];

	(void)state;
	memset(target, 'x', sizeof(target));
	target[sizeof(target) - 1] = '\0';
	snprintf(json, sizeof(json),
	    "{\"tunnels\": [{\"target\": \"%s\", \"state\": \"open\"}]}",
	    target);
	snprintf(wanted, sizeof(wanted),
	    "%-50s%-12s%-11s%-11s%-13s%-9s%s\n"
	    "%s %-12s%-11s%-11s%-13s%-9s\n",
	    "TARGET", "AGE", "UP", "DOWN", "STATE", "KIND", "CLIENT", target,
	    "0 s", "0 B", "0 B", "open", "");
	expect(report_tunnels, json, wanted);
}

static void
age(const char *seconds, const char *wanted)
{
	char json[64], text[256];

	snprintf(json, sizeof(json), "{\"tunnels\": [{\"age_s\": %s}]}",
	    seconds);
	snprintf(text, sizeof(text),
	    "%-8s%-12s%-11s%-11s%-13s%-9s%s\n"
	    "%-8s%-11s %-11s%-11s%-13s%-9s\n",
	    "TARGET", "AGE", "UP", "DOWN", "STATE", "KIND", "CLIENT", "-",
	    wanted, "0 B", "0 B", "", "");
	expect(report_tunnels, json, text);
}

static void
durations(void **state)
{
	(void)state;
	age("0", "0 s");
	age("59", "59 s");
	age("60", "1 min 0 s");
	age("3600", "1 h 0 min");
	age("86399", "23 h 59 min");
	age("86400", "1 d 0 h");
	age("9223372036854775807", "106751991167300 d 15 h");
	age("-1", "0 s");
	age("true", "0 s");
}

static void
sizes(const char *n, const char *wanted)
{
	char json[64], text[256];

	snprintf(json, sizeof(json), "{\"bytes\": {\"up\": %s}}", n);
	snprintf(text, sizeof(text), "state      \nedge       \n" QUIET("%s"),
	    wanted);
	expect(report_status, json, text);
}

static void
quantities_of_bytes(void **state)
{
	(void)state;
	sizes("0", "0 B");
	sizes("1023", "1023 B");
	sizes("1024", "1.0 KiB");
	sizes("1048524", "1023.9 KiB");
	sizes("1048525", "1.0 MiB");
	sizes("9223372036854775807", "8.0 EiB");
}

/* An edge's reason for closing must not reach the terminal as it is. */
static void
text_is_harmless_to_a_terminal(void **state)
{
	(void)state;
	expect(report_status,
	    "{\"state\": \"up\\u001b[2J\", \"edge\": \"a\\nb\\\\c\\u00e9\"}",
	    "state      up\\x1b[2J\n"
	    "edge       a\\x0ab\\\\c\\xc3\\xa9\n" QUIET("0 B"));
	expect(report_tunnels,
	    "{\"tunnels\": [{\"target\": \"\\u0007\\u0007\\\\\"}]}",
	    "TARGET      AGE         UP         DOWN       STATE        "
	    "KIND     CLIENT\n"
	    "\\x07\\x07\\\\  0 s         0 B        0 B                     "
	    "         \n");
}

static void
objects_of_another_shape(void **state)
{
	(void)state;
	expect(report_tunnels, "[1]",
	    "TARGET  AGE         UP         DOWN       STATE        KIND     "
	    "CLIENT\n");
	expect(report_status,
	    "{\"tls\": 1, \"bytes\": [], \"listen\": [2],"
	    " \"state\": {}, \"path_mtu\": \"x\", \"packets\": null}",
	    "state      \nedge       \n" QUIET("0 B"));
}

static void
a_path_mtu(void **state)
{
	(void)state;
	expect(report_mtu,
	    "{\"size\": 1400, \"state\": \"complete\","
	    " \"ceiling\": 1500, \"cause\": \"black hole\","
	    " \"changed_s\": 61, \"probes_sent\": 9, \"probes_acked\": 4,"
	    " \"probes_lost\": 5, \"black_holes_suspected\": 2,"
	    " \"black_holes_confirmed\": 1, \"ptb_seen\": 8,"
	    " \"ptb_valid\": 7, \"ptb_ignored\": 6}",
	    "size       1400 bytes of IP, at most 1500\n"
	    "state      complete, changed 1 min 1 s ago: black hole\n"
	    "probes     9 sent, 4 acked, 5 lost\n"
	    "holes      2 suspected, 1 confirmed\n"
	    "too big    8 ICMP seen, 7 valid, 6 ignored\n");
	expect(report_mtu, "{\"size\": null}",
	    "there is no connection to an edge\n");
}

/* ---- The refreshes of watch ---- */

static void
expect_watch(const char *now, const char *earlier, double seconds,
    const char *wanted)
{
	json_t *a = json_loads(now, 0, NULL);
	json_t *b = earlier != NULL ? json_loads(earlier, 0, NULL) : NULL;
	char *text = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&text, &len);

	assert_non_null(a);
	assert_int_equal(b == NULL, earlier == NULL);
	report_rates(a, b, seconds, stream);
	assert_int_equal(fclose(stream), 0);
	assert_string_equal(text, wanted);
	free(text);
	json_decref(a);
	json_decref(b);
}

/* A status of process `pid`; the numbers are text. */
#define WATCHED(pid, up, down, sent, lost, reconnects, top) \
	"{\"state\": \"up\", \"edge\": \"e:443\"," \
	" \"address\": \"192.0.2.7:443\", \"rtt_ms\": 23.449," \
	" \"path_mtu\": 1480, \"pid\": " pid ", \"version\": \"1\"," \
	" \"uptime_s\": 61, \"reconnects\": " reconnects "," \
	" \"tunnels\": {\"open\": 2, \"waiting\": 1}," \
	" \"clients\": {\"open\": 1}," \
	" \"bytes\": {\"up\": " up ", \"down\": " down "}," \
	" \"packets\": {\"sent\": " sent ", \"lost\": " lost "}," \
	" \"top\": [" top "]}"

#define TOP(target, client, age, up, down) \
	"{\"target\": \"" target "\", \"client\": \"" client "\"," \
	" \"age_s\": " age "," \
	" \"bytes\": {\"up\": " up ", \"down\": " down "}}"

#define RATES_HEAD(rate, loss, pid) \
	"state      up\n" \
	"edge       e:443 (192.0.2.7:443)\n" \
	"rate       " rate "\n" \
	"tunnels    2 open, 1 waiting; 1 client\n" \
	"path       rtt 23.4 ms, MTU 1480, loss " loss " packets)\n" \
	"culvert    1, process " pid ", up 1 min 1 s\n"

static void
watch_has_rates_since_the_last_refresh(void **state)
{
	(void)state;
	expect_watch(WATCHED("7", "3072", "9000", "100", "1", "0", ""), NULL, 0,
	    RATES_HEAD("not known yet", "1.0 % (1 of 100", "7"));
	expect_watch(WATCHED("7", "3072", "9000", "100", "1", "0", ""),
	    WATCHED("7", "1024", "0", "90", "1", "0", ""), 2,
	    RATES_HEAD("1.0 KiB/s up, 4.4 KiB/s down", "0.0 % (0 of 10", "7"));
	/* Another connection has counts of its own, so has another process. */
	expect_watch(WATCHED("7", "3072", "9000", "100", "3", "1", ""),
	    WATCHED("7", "3072", "9000", "90", "1", "0", ""), 0.5,
	    RATES_HEAD("0 B/s up, 0 B/s down", "3.0 % (3 of 100", "7"));
	expect_watch(WATCHED("8", "3072", "9000", "0", "0", "0", ""),
	    WATCHED("7", "1024", "0", "90", "1", "0", ""), 2,
	    RATES_HEAD("not known yet", "0.0 % (0 of 0", "8"));
}

/*
 * A new tunnel has moved all its bytes since; for an old one that is unknown.
 */
static void
watch_lists_the_busiest_first(void **state)
{
	(void)state;
	expect_watch(WATCHED("7", "0", "0", "0", "0", "0",
			 TOP("old:1", "10.0.0.1:1", "9", "100",
			     "200") "," TOP("b:2", "10.0.0.1:2", "9", "0",
			     "4096") "," TOP("", "10.0.0.1:3", "1", "4096",
			     "2048") "," TOP("c:4", "10.0.0.1:4", "3", "100",
			     "8192")),
	    WATCHED("7", "0", "0", "0", "0", "0",
		TOP("b:2", "10.0.0.1:2", "7", "0", "2048") ","
		/* The address had another owner. */
		TOP("d:4", "10.0.0.1:4", "70", "100", "8191")),
	    2,
	    RATES_HEAD("0 B/s up, 0 B/s down", "0.0 % (0 of 0",
		"7") "\n"
		     "TARGET  UP/S          DOWN/S        UP         DOWN       "
		     "AGE         CLIENT\n"
		     "-       2.0 KiB/s     1.0 KiB/s     4.0 KiB    2.0 KiB    "
		     "1 s         10.0.0.1:3\n"
		     "b:2     0 B/s         1.0 KiB/s     0 B        4.0 KiB    "
		     "9 s         10.0.0.1:2\n"
		     "old:1   -             -             100 B      200 B      "
		     "9 s         10.0.0.1:1\n"
		     "c:4     -             -             100 B      8.0 KiB    "
		     "3 s         10.0.0.1:4\n");
}

static void
watch_is_harmless_to_a_terminal(void **state)
{
	(void)state;
	expect_watch("{\"state\": \"d\\u001b[2J\", \"error\": \"\\u009b1m\","
		     " \"top\": [" TOP("\\u001b]0;x\\u0007:1", "\\n", "1", "0",
			 "0") "]}",
	    NULL, 0,
	    "state      d\\x1b[2J\n"
	    "error      \\xc2\\x9b1m\n"
	    "edge       \n"
	    "rate       not known yet\n"
	    "tunnels    0 open, 0 waiting; 0 clients\n"
	    "culvert    , process 0, up 0 s\n"
	    "\n"
	    "TARGET          UP/S          DOWN/S        UP         "
	    "DOWN       AGE         CLIENT\n"
	    "\\x1b]0;x\\x07:1  -             -             0 B        "
	    "0 B        1 s         \\x0a\n");
}

/* Members of another type, or more of them than there is room for. */
static void
watch_survives_strange_answers(void **state)
{
	json_t *status = json_loads("{\"bytes\": 3, \"top\": 4}", 0, NULL);
	json_t *top = json_array();
	char *text = NULL;
	size_t len = 0;
	FILE *stream;

	(void)state;
	for (int i = 0; i < 1000; i++)
		json_array_append_new(top,
		    i % 2 == 0 ? json_integer(i) : json_object());
	for (int i = 0; i < 2; i++) {
		stream = open_memstream(&text, &len);
		report_rates(status, status, -1, stream);
		assert_int_equal(fclose(stream), 0);
		assert_non_null(strstr(text, "rate       not known yet\n"));
		free(text);
		json_object_set(status, "top", top);
	}
	json_decref(top);
	json_decref(status);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_that_is_up),
		cmocka_unit_test(connections_are_listed_when_there_are_several),
		cmocka_unit_test(status_that_is_down),
		cmocka_unit_test(a_path_mtu),
		cmocka_unit_test(tunnels_in_a_table),
		cmocka_unit_test(a_long_target_moves_its_own_row),
		cmocka_unit_test(durations),
		cmocka_unit_test(quantities_of_bytes),
		cmocka_unit_test(text_is_harmless_to_a_terminal),
		cmocka_unit_test(objects_of_another_shape),
		cmocka_unit_test(watch_has_rates_since_the_last_refresh),
		cmocka_unit_test(watch_lists_the_busiest_first),
		cmocka_unit_test(watch_is_harmless_to_a_terminal),
		cmocka_unit_test(watch_survives_strange_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
