#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/local/limits.h"
#include "proxy/local/listener.h"
#include "proxy/local/status.h"
#include "proxy/local/upstream/pool.h"

/* How the control socket writes it, but indented like the text below. */
#define FORMAT (JSON_INDENT(2) | JSON_REAL_PRECISION(15))

static const struct pool_status up = {
	.state = POOL_UP,
	.edge = "edge.example:443",
	.address = "192.0.2.7:443",
	.reconnects = 5,
	.opened = 340,
	.failed = 2,
	.open = 12,
	.waiting = 3,
	.connections = {
		{ CONNECTION_UP, false, "edge.example:443", "192.0.2.7:443", 11 },
		{ CONNECTION_UP, true, "edge.example:443", "192.0.2.8:443", 0 },
		{ CONNECTION_DRAINING, true, "b.example:443", "[::1]:443", 1 },
		{ CONNECTION_CONNECTING, false, "c.example:1", "[::2]:1", 0 },
	},
	.nconnections = 4,
	.spread = 4,
	.quic = {
		.rtt_ns = 23400999,
		.cwnd = 65536,
		.bytes_in_flight = 1200,
		.packets_sent = 100,
		.packets_received = 99,
		.packets_lost = 1,
		.trains_sent = 7,
		.packets_repaired = 8,
		.repairs_sent = 9,
		.udp_payload = 1452,
		.ip_mtu = 1480,
		.ip_mtu_ceiling = 1500,
		.mtu_state = "complete",
		.mtu_cause = "probe",
		.mtu_changed_at = UINT64_C(3000000000),
		.probes_sent = 5,
		.probes_acked = 2,
		.probes_lost = 3,
		.black_holes_suspected = 4,
		.black_holes_confirmed = 1,
		.ptb_seen = 8,
		.ptb_valid = 5,
		.ptb_ignored = 3,
		.streams = 11,
		.resumed = true,
		.tls_version = "TLS1.3",
		.tls_cipher = "AES-128-GCM",
		.aead = "libipsec-mb",
		.tls_group = "X25519",
	},
};

static const struct pool_status down = {
	.state = POOL_DOWN,
	.edge = "edge.example:443",
	.error = "the name does not resolve",
	.opened = 340,
	.failed = 7,
	.reconnects = 4,
	.spread = 1,
};

static const struct client_totals totals = { .open = 13,
	.total = 400,
	.bytes_up = 10,
	.bytes_down = UINT64_C(1) << 40 };

static const struct limits
    limits = { .v = {
		   [LIMIT_CLIENTS] = { .max = 65536, .use = 13, .hits = 1 },
		   [LIMIT_MEMORY] = { .max = UINT64_C(1) << 28, .use = 16424 },
		   [LIMIT_HEAD_TIME] = { .max = 15, .use = 7, .hits = 3 },
	       } };

static char *
dump(json_t *object)
{
	char *text = json_dumps(object, FORMAT);

	assert_non_null(text);
	json_decref(object);
	return text;
}

/* All but the limits, which have a test of their own. */
static void
expect(const struct pool_status *pool, const char *wanted)
{
	struct sockaddr_storage listen;
	struct status_facts facts = { .pool = pool,
		.totals = &totals,
		.limits = &limits,
		.listen = &listen,
		.nlisten = 1,
		.now_ns = UINT64_C(10900000000),
		.uptime_ns = UINT64_C(184999999999),
		.pid = 4321 };
	json_t *status;
	char *text;

	assert_int_equal(addr_parse(&listen, "127.0.0.1:1080"), 0);
	status = status_json(&facts);
	assert_int_equal(json_object_del(status, "limits"), 0);
	text = dump(status);
	assert_string_equal(text, wanted);
	free(text);
}

#define CONNECTION(state, edge, address, tunnels) \
	"    {\n" \
	"      \"state\": \"" state "\",\n" \
	"      \"edge\": \"" edge "\",\n" \
	"      \"address\": \"" address "\",\n" \
	"      \"tunnels\": " tunnels "\n" \
	"    }"

static void
everything_is_known_when_up(void **state)
{
	(void)state;
	expect(&up,
	    "{\n"
	    "  \"state\": \"up\",\n"
	    "  \"error\": null,\n"
	    "  \"edge\": \"edge.example:443\",\n"
	    "  \"address\": \"192.0.2.7:443\",\n"
	    "  \"alpn\": \"h3\",\n"
	    "  \"tls\": {\n"
	    "    \"version\": \"TLS1.3\",\n"
	    "    \"cipher\": \"AES-128-GCM\",\n"
	    "    \"aead\": \"libipsec-mb\",\n"
	    "    \"group\": \"X25519\"\n"
	    "  },\n"
	    "  \"resumed\": true,\n"
	    "  \"rtt_ms\": 23.4,\n"
	    "  \"cwnd\": 65536,\n"
	    "  \"bytes_in_flight\": 1200,\n"
	    "  \"path_mtu\": 1480,\n"
	    "  \"udp_payload\": 1452,\n"
	    "  \"mtu_state\": \"complete\",\n"
	    "  \"mtu_ceiling\": 1500,\n"
	    "  \"mtu\": {\n"
	    "    \"size\": 1480,\n"
	    "    \"state\": \"complete\",\n"
	    "    \"ceiling\": 1500,\n"
	    "    \"cause\": \"probe\",\n"
	    "    \"changed_s\": 7,\n"
	    "    \"probes_sent\": 5,\n"
	    "    \"probes_acked\": 2,\n"
	    "    \"probes_lost\": 3,\n"
	    "    \"black_holes_suspected\": 4,\n"
	    "    \"black_holes_confirmed\": 1,\n"
	    "    \"ptb_seen\": 8,\n"
	    "    \"ptb_valid\": 5,\n"
	    "    \"ptb_ignored\": 3\n"
	    "  },\n"
	    "  \"connections\": [\n" CONNECTION("up", "edge.example:443",
		"192.0.2.7:443", "11") ",\n" CONNECTION("silent",
		"edge.example:443", "192.0.2.8:443",
		"0") ",\n" CONNECTION("draining", "b.example:443", "[::1]:443",
		"1") ",\n" CONNECTION("connecting", "c.example:1", "[::2]:1",
		"0") "\n"
		     "  ],\n"
		     "  \"spread\": 4,\n"
		     "  \"tunnels\": {\n"
		     "    \"open\": 12,\n"
		     "    \"waiting\": 3,\n"
		     "    \"total\": 340,\n"
		     "    \"failed\": 2\n"
		     "  },\n"
		     "  \"clients\": {\n"
		     "    \"open\": 13,\n"
		     "    \"total\": 400\n"
		     "  },\n"
		     "  \"bytes\": {\n"
		     "    \"up\": 10,\n"
		     "    \"down\": 1099511627776\n"
		     "  },\n"
		     "  \"top\": [],\n"
		     "  \"packets\": {\n"
		     "    \"sent\": 100,\n"
		     "    \"received\": 99,\n"
		     "    \"lost\": 1,\n"
		     "    \"repaired\": 8,\n"
		     "    \"repairs_sent\": 9,\n"
		     "    \"trains\": 7\n"
		     "  },\n"
		     "  \"reconnects\": 5,\n"
		     "  \"migrations\": 0,\n"
		     "  \"uptime_s\": 184,\n"
		     "  \"version\": \"" CULVERT_VERSION "\",\n"
		     "  \"pid\": 4321,\n"
		     "  \"listen\": [\n"
		     "    \"127.0.0.1:1080\"\n"
		     "  ]\n"
		     "}");
}

static void
what_is_not_known_is_null(void **state)
{
	(void)state;
	expect(&down,
	    "{\n"
	    "  \"state\": \"down\",\n"
	    "  \"error\": \"the name does not resolve\",\n"
	    "  \"edge\": \"edge.example:443\",\n"
	    "  \"address\": null,\n"
	    "  \"alpn\": null,\n"
	    "  \"tls\": {\n"
	    "    \"version\": null,\n"
	    "    \"cipher\": null,\n"
	    "    \"aead\": null,\n"
	    "    \"group\": null\n"
	    "  },\n"
	    "  \"resumed\": null,\n"
	    "  \"rtt_ms\": null,\n"
	    "  \"cwnd\": null,\n"
	    "  \"bytes_in_flight\": null,\n"
	    "  \"path_mtu\": null,\n"
	    "  \"udp_payload\": null,\n"
	    "  \"mtu_state\": null,\n"
	    "  \"mtu_ceiling\": null,\n"
	    "  \"mtu\": {\n"
	    "    \"size\": null,\n"
	    "    \"state\": null,\n"
	    "    \"ceiling\": null,\n"
	    "    \"cause\": null,\n"
	    "    \"changed_s\": null,\n"
	    "    \"probes_sent\": null,\n"
	    "    \"probes_acked\": null,\n"
	    "    \"probes_lost\": null,\n"
	    "    \"black_holes_suspected\": null,\n"
	    "    \"black_holes_confirmed\": null,\n"
	    "    \"ptb_seen\": null,\n"
	    "    \"ptb_valid\": null,\n"
	    "    \"ptb_ignored\": null\n"
	    "  },\n"
	    "  \"connections\": [],\n"
	    "  \"spread\": 1,\n"
	    "  \"tunnels\": {\n"
	    "    \"open\": 0,\n"
	    "    \"waiting\": 0,\n"
	    "    \"total\": 340,\n"
	    "    \"failed\": 7\n"
	    "  },\n"
	    "  \"clients\": {\n"
	    "    \"open\": 13,\n"
	    "    \"total\": 400\n"
	    "  },\n"
	    "  \"bytes\": {\n"
	    "    \"up\": 10,\n"
	    "    \"down\": 1099511627776\n"
	    "  },\n"
	    "  \"top\": [],\n"
	    "  \"packets\": {\n"
	    "    \"sent\": null,\n"
	    "    \"received\": null,\n"
	    "    \"lost\": null,\n"
	    "    \"repaired\": null,\n"
	    "    \"repairs_sent\": null,\n"
	    "    \"trains\": null\n"
	    "  },\n"
	    "  \"reconnects\": 4,\n"
	    "  \"migrations\": 0,\n"
	    "  \"uptime_s\": 184,\n"
	    "  \"version\": \"" CULVERT_VERSION "\",\n"
	    "  \"pid\": 4321,\n"
	    "  \"listen\": [\n"
	    "    \"127.0.0.1:1080\"\n"
	    "  ]\n"
	    "}");
}

static json_t *
status_of(const struct pool_status *pool)
{
	struct status_facts facts = { .pool = pool,
		.totals = &totals,
		.limits = &limits,
		.now_ns = 1 };
	json_t *status = status_json(&facts);

	assert_non_null(status);
	return status;
}

static void
a_round_trip_takes_three_decimals_or_is_null(void **state)
{
	struct pool_status pool = up;
	json_t *status;

	(void)state;
	pool.quic.rtt_ns = 999;
	status = status_of(&pool);
	assert_true(json_is_real(json_object_get(status, "rtt_ms")));
	json_decref(status);
	pool.quic.rtt_ns = 1234567;
	status = status_of(&pool);
	assert_float_equal(json_real_value(json_object_get(status, "rtt_ms")),
	    1.234, 1e-9);
	json_decref(status);
	pool.quic.rtt_ns = 0;
	status = status_of(&pool);
	assert_true(json_is_null(json_object_get(status, "rtt_ms")));
	json_decref(status);
}

static void
text_that_is_not_utf8_survives(void **state)
{
	struct pool_status pool = { .state = POOL_CONNECTING };
	json_t *status;

	(void)state;
	strcpy(pool.error, "caf\xe9 \"closed\"");
	strcpy(pool.edge, "caf\xc3\xa9");
	status = status_of(&pool);
	assert_string_equal(json_string_value(json_object_get(status, "state")),
	    "connecting");
	assert_string_equal(json_string_value(json_object_get(status, "error")),
	    "caf? \"closed\"");
	assert_string_equal(json_string_value(json_object_get(status, "edge")),
	    "caf\xc3\xa9");
	json_decref(status);
}

static void
limits_have_use_maximum_and_hits(void **state)
{
	json_t *status = status_of(&up),
	       *all = json_object_get(status, "limits"), *wanted;

	(void)state;
	assert_int_equal(json_object_size(all), LIMITS);
	wanted = json_loads("{\"use\": 13, \"max\": 65536, \"hits\": 1}", 0,
	    NULL);
	assert_true(json_equal(json_object_get(all, "clients_max"), wanted));
	json_decref(wanted);
	wanted = json_loads("{\"use\": null, \"max\": 15, \"hits\": 3}", 0,
	    NULL);
	assert_true(json_equal(json_object_get(all, "head_timeout"), wanted));
	json_decref(wanted);
	wanted = json_loads("{\"use\": null, \"max\": null, \"hits\": 0}", 0,
	    NULL);
	assert_true(json_equal(json_object_get(all, "tunnel_timeout"), wanted));
	json_decref(wanted);
	json_decref(status);
}

static void
tunnels_are_listed_in_order(void **state)
{
	struct client_info one = { .target = "a.example:443",
		.client = "127.0.0.1:40000",
		.kind = "socks5",
		.state = "open",
		.age_ms = 61999,
		.bytes_up = 1,
		.bytes_down = 2 };
	struct client_info two = { .target = "",
		.client = "[::1]:1",
		.kind = "new",
		.state = "negotiating" };
	json_t *tunnels = status_tunnels();
	char *text;

	(void)state;
	status_tunnels_add(tunnels, &one);
	status_tunnels_add(tunnels, &two);
	text = dump(tunnels);
	assert_string_equal(text,
	    "{\n"
	    "  \"tunnels\": [\n"
	    "    {\n"
	    "      \"target\": \"a.example:443\",\n"
	    "      \"client\": \"127.0.0.1:40000\",\n"
	    "      \"kind\": \"socks5\",\n"
	    "      \"state\": \"open\",\n"
	    "      \"age_s\": 61,\n"
	    "      \"bytes\": {\n"
	    "        \"up\": 1,\n"
	    "        \"down\": 2\n"
	    "      }\n"
	    "    },\n"
	    "    {\n"
	    "      \"target\": null,\n"
	    "      \"client\": \"[::1]:1\",\n"
	    "      \"kind\": \"new\",\n"
	    "      \"state\": \"negotiating\",\n"
	    "      \"age_s\": 0,\n"
	    "      \"bytes\": {\n"
	    "        \"up\": 0,\n"
	    "        \"down\": 0\n"
	    "      }\n"
	    "    }\n"
	    "  ]\n"
	    "}");
	free(text);
}

static void
the_busiest_are_listed_alike(void **state)
{
	struct client_info one = { .target = "a.example:443",
		.client = "127.0.0.1:40000",
		.kind = "socks5",
		.state = "open",
		.age_ms = 61999,
		.bytes_up = 1 };
	json_t *status = status_of(&up), *tunnels = status_tunnels();

	(void)state;
	status_tunnels_add(tunnels, &one);
	status_top_add(status, &one);
	assert_true(json_equal(json_object_get(status, "top"),
	    json_object_get(tunnels, "tunnels")));
	json_decref(status);
	json_decref(tunnels);
}

/* Refuses jansson one allocation, which comes after `left` others. */
static size_t left;

static void *
refuse_one(size_t size)
{
	return left-- == 0 ? NULL : malloc(size);
}

static void
no_memory_gives_all_or_nothing(void **state)
{
	struct status_facts facts = { .pool = &up,
		.totals = &totals,
		.limits = &limits };
	json_t *whole = status_json(&facts), *status;
	size_t nothing = 0;

	(void)state;
	json_set_alloc_funcs(refuse_one, free);
	for (size_t n = 0; n < 1000; n++) {
		left = n;
		status = status_json(&facts);
		nothing += status == NULL;
		assert_true(status == NULL || json_equal(status, whole));
		json_decref(status);
	}
	json_set_alloc_funcs(malloc, free);
	assert_true(nothing > json_object_size(whole));
	json_decref(whole);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_known_when_up),
		cmocka_unit_test(what_is_not_known_is_null),
		cmocka_unit_test(a_round_trip_takes_three_decimals_or_is_null),
		cmocka_unit_test(text_that_is_not_utf8_survives),
		cmocka_unit_test(limits_have_use_maximum_and_hits),
		cmocka_unit_test(tunnels_are_listed_in_order),
		cmocka_unit_test(the_busiest_are_listed_alike),
		cmocka_unit_test(no_memory_gives_all_or_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
