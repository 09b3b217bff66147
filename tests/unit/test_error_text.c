#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/error_text.h"
#include "quic/internal.h"
#include "tests/unit/world.h"

/*
 * The text about the end of a connection: it says whose fault that is, on both
 * sides.
 */

/* ---- Memory ---- */

/* Our calls of calloc() go through here; see the Makefile. */
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool no_memory; /* there is none for a stream */

void *
__wrap_calloc(size_t n, size_t size)
{
	return no_memory && size == sizeof(struct quic_stream)
	    ? NULL
	    : __real_calloc(n, size);
}

static void
no_memory_is_our_fault(void **state)
{
	struct world *w = *state;

	world_up(w);
	link_run(w->link, NULL, NULL, RTT);
	assert_int_equal(tunnel_open(w, 0), 0);
	no_memory = true;
	assert_true(link_run(w->link, is_some, &w->server.closed, LONG));
	no_memory = false;
	assert_int_equal(w->server.why.cause, QUIC_INTERNAL_ERROR);
	assert_text(&w->server, "this program is out of memory");
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_CLOSED_BY_PEER);
	assert_int_equal(w->client[0].why.code, NGTCP2_INTERNAL_ERROR);
}

/* ---- Peers ---- */

/* The client sends that on a unidirectional stream of its own. */
static void
send_on_new_stream(struct world *w, const char *data, size_t len)
{
	struct quic_conn *conn = near_conn(w);
	ngtcp2_vec vec = { (uint8_t *)(uintptr_t)data, len };
	ngtcp2_path_storage ps;
	ngtcp2_ssize n, taken;
	uint8_t packet[1200];
	ngtcp2_pkt_info pi;
	int64_t id;

	assert_int_equal(ngtcp2_conn_open_uni_stream(conn->quic, &id, NULL), 0);
	ngtcp2_path_storage_zero(&ps);
	n = ngtcp2_conn_writev_stream(conn->quic, &ps.path, &pi, packet,
	    sizeof(packet), &taken, 0, id, &vec, 1, w->link->now);
	assert_int_equal(taken, len);
	link_inject(w->link, true, 0, packet, (size_t)n);
}

/* A second control stream (RFC 9114 §6.2.1). */
static void
a_broken_rule_is_the_peers_fault(void **state)
{
	struct world *w = *state;

	world_up(w);
	link_run(w->link, NULL, NULL, RTT);
	send_on_new_stream(w, "\0", 1);
	assert_true(link_run(w->link, is_some, &w->server.closed, RTT));
	assert_int_equal(w->server.why.cause, QUIC_PROTOCOL_ERROR);
	assert_true(w->server.why.application);
	assert_int_equal(w->server.why.code, NGHTTP3_H3_STREAM_CREATION_ERROR);
	assert_text(&w->server,
	    "the peer violated HTTP/3 "
	    "(H3_STREAM_CREATION_ERROR)");
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.code,
	    NGHTTP3_H3_STREAM_CREATION_ERROR);
}

/* ---- Errors of the libraries ---- */

static void
every_error_has_a_culprit(void **state)
{
	static const struct {
		int quic, h3;
		enum quic_cause cause;
		bool application;
		uint64_t code;
		const char *text;
	} rows[] = {
		{ NGTCP2_ERR_FLOW_CONTROL, 0, QUIC_PROTOCOL_ERROR, false,
		    NGTCP2_FLOW_CONTROL_ERROR, "QUIC (FLOW_CONTROL_ERROR)" },
		{ NGTCP2_ERR_PROTO, 0, QUIC_PROTOCOL_ERROR, false,
		    NGTCP2_PROTOCOL_VIOLATION, "QUIC (PROTOCOL_VIOLATION)" },
		{ NGTCP2_ERR_NOMEM, 0, QUIC_INTERNAL_ERROR, false,
		    NGTCP2_INTERNAL_ERROR, "out of memory" },
		{ NGTCP2_ERR_CALLBACK_FAILURE, 0, QUIC_INTERNAL_ERROR, false,
		    NGTCP2_INTERNAL_ERROR, "out of memory" },
		{ NGTCP2_ERR_INTERNAL, 0, QUIC_INTERNAL_ERROR, false,
		    NGTCP2_INTERNAL_ERROR, "internal error: ERR_INTERNAL" },
		{ NGTCP2_ERR_PKT_NUM_EXHAUSTED, 0, QUIC_INTERNAL_ERROR, false,
		    NGTCP2_INTERNAL_ERROR, "internal error: ERR_PKT_NUM" },
		{ NGTCP2_ERR_CALLBACK_FAILURE, NGHTTP3_ERR_H3_FRAME_UNEXPECTED,
		    QUIC_PROTOCOL_ERROR, true, NGHTTP3_H3_FRAME_UNEXPECTED,
		    "HTTP/3 (H3_FRAME_UNEXPECTED)" },
		{ NGTCP2_ERR_CALLBACK_FAILURE, NGHTTP3_ERR_QPACK_FATAL,
		    QUIC_PROTOCOL_ERROR, true,
		    NGHTTP3_QPACK_DECOMPRESSION_FAILED,
		    "HTTP/3 (QPACK_DECOMPRESSION_FAILED)" },
		{ NGTCP2_ERR_CALLBACK_FAILURE, NGHTTP3_ERR_NOMEM,
		    QUIC_INTERNAL_ERROR, true, NGHTTP3_H3_INTERNAL_ERROR,
		    "out of memory" },
		{ NGTCP2_ERR_CALLBACK_FAILURE, NGHTTP3_ERR_INVALID_STATE,
		    QUIC_INTERNAL_ERROR, true, NGHTTP3_H3_INTERNAL_ERROR,
		    "internal error: ERR_INVALID_STATE" },
	};
	struct quic_close why;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		error_text_describe(&why, rows[i].quic, rows[i].h3);
		assert_int_equal(why.cause, rows[i].cause);
		assert_int_equal(why.application, rows[i].application);
		assert_int_equal(why.code, rows[i].code);
		if (strstr(why.text, rows[i].text) == NULL)
			fail_msg("%s: %s", rows[i].text, why.text);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(no_memory_is_our_fault),
		TEST(a_broken_rule_is_the_peers_fault),
		cmocka_unit_test(every_error_has_a_culprit),
	};

	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
