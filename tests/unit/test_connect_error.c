#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/local/http_status.h"
#include "proxy/local/socks.h"
#include "proxy/local/upstream/edge_response.h"

/*
 * The errors that the edge's responses become, and what the front ends make of
 * them: a code of SOCKS and a status of HTTP.
 */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct target to = { "a.example", 80 };

/* What edge_response.c calls. */
const char *
quic_header_section_find(const struct quic_header_section *head,
    const char *name)
{
	for (size_t i = 0; i < head->n; i++)
		if (strcmp(head->fields[i].name, name) == 0)
			return head->fields[i].value;
	return NULL;
}

static void
respond(struct connect_error *e, const char *status, const char *proxy_status)
{
	struct quic_field fields[] = { { ":status", status },
		{ "proxy-status", proxy_status } };
	struct quic_header_section head = { fields,
		proxy_status != NULL ? 2 : 1 };

	edge_response_error(e, &to, &head, atoi(status));
}

/* By status and proxy-status, with and without a type of RFC 9209. */
static void
responses_of_the_edge_are_understood(void **state)
{
	static const struct {
		const char *status, *proxy_status;
		int http_status;
		enum socks_code code;
		const char *text;
	} rows[] = {
		{ "502", NULL, 502, SOCKS_GENERAL_FAILURE,
		    "the edge answered 502 and did not say why" },
		{ "504", NULL, 504, SOCKS_TTL_EXPIRED, "answered 504" },
		{ "401", NULL, 401, SOCKS_NOT_ALLOWED, "answered 401" },
		{ "403", NULL, 403, SOCKS_NOT_ALLOWED, "answered 403" },
		{ "451", NULL, 451, SOCKS_NOT_ALLOWED, "answered 451" },
		{ "503", NULL, 503, SOCKS_GENERAL_FAILURE, "answered 503" },
		{ "500", NULL, 500, SOCKS_GENERAL_FAILURE, "answered 500" },
		{ "302", NULL, 502, SOCKS_GENERAL_FAILURE, "answered 302" },
		{ "502", "e; error=dns_error", 502, SOCKS_HOST_UNREACHABLE,
		    "does not resolve" },
		{ "502", "e; error=dns_timeout", 504, SOCKS_HOST_UNREACHABLE,
		    "name servers" },
		{ "500", "e; error=destination_not_found", 502,
		    SOCKS_HOST_UNREACHABLE, "does not know the target" },
		{ "500", "e; error=destination_unavailable", 503,
		    SOCKS_HOST_UNREACHABLE, "unavailable" },
		{ "502", "e; error=connection_refused", 502,
		    SOCKS_CONNECTION_REFUSED, "refused the connection" },
		{ "502", "e; error=connection_timeout", 504, SOCKS_TTL_EXPIRED,
		    "the target does not answer" },
		{ "502", "e; error=connection_terminated", 502,
		    SOCKS_GENERAL_FAILURE, "closed the connection at once" },
		{ "502", "e;error=destination_ip_unroutable;details=\"x\"", 502,
		    SOCKS_NETWORK_UNREACHABLE, "no route" },
		{ "502", "e; error=destination_ip_prohibited", 403,
		    SOCKS_NOT_ALLOWED, "this address or port" },
		{ "502", "e; error=http_request_denied", 403, SOCKS_NOT_ALLOWED,
		    "does not allow this request" },
		{ "500", "e; error=connection_limit_reached", 503,
		    SOCKS_GENERAL_FAILURE, "one of its limits" },
		{ "500", "e; error=proxy_internal_error", 500,
		    SOCKS_GENERAL_FAILURE, "the edge has failed" },
		{ "200", "e; error=proxy_internal_error", 502,
		    SOCKS_GENERAL_FAILURE, "the edge has failed" },
		{ "501", "e; error=proxy_configuration_error", 501,
		    SOCKS_GENERAL_FAILURE, "not configured correctly" },
		{ "500", "e; error=proxy_loop_detected", 502,
		    SOCKS_GENERAL_FAILURE, "the same proxy twice" },
		{ "502", "e; details=\"x; error=dns_error\"; error=tls_alert",
		    502, SOCKS_GENERAL_FAILURE,
		    "the edge answered 502 (tls_alert)" },
		{ "502", "e; details=\"no \\\" error=dns_error", 502,
		    SOCKS_GENERAL_FAILURE, "did not say why" },
		{ "502", "e; error=", 502, SOCKS_GENERAL_FAILURE,
		    "did not say why" },
	};
	struct connect_error e;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		respond(&e, rows[i].status, rows[i].proxy_status);
		assert_int_equal(http_status_of(&e), rows[i].http_status);
		assert_int_equal(socks_code_of(&e), rows[i].code);
		assert_non_null(strstr(e.text, rows[i].text));
		assert_int_equal(e.cause, strlen("a.example:80: "));
	}
}

/* The edge rejects culvert's password, or did not check it. */
static void
a_password_of_culvert_is_not_the_clients(void **state)
{
	struct connect_error e;

	(void)state;
	respond(&e, "407", NULL);
	assert_int_equal(http_status_of(&e), 502);
	assert_int_equal(socks_code_of(&e), SOCKS_NOT_ALLOWED);
	assert_int_equal(e.cause, 0);
	respond(&e, "503",
	    "culvert-edge; error=proxy_internal_error; "
	    "details=\"too many passwords to check\"");
	assert_int_equal(http_status_of(&e), 503);
	assert_int_equal(socks_code_of(&e), SOCKS_GENERAL_FAILURE);
	assert_non_null(strstr(e.text, "too many passwords"));
}

/* Errors that no edge reports. */
static void
own_errors_have_codes(void **state)
{
	static const struct {
		enum connect_error_type type;
		int http_status;
		enum socks_code code;
	} rows[] = {
		{ CONNECT_ERROR_HTTP_RESPONSE_INCOMPLETE, 502,
		    SOCKS_GENERAL_FAILURE },
		{ CONNECT_ERROR_EDGE_UNUSABLE, 502, SOCKS_GENERAL_FAILURE },
		{ CONNECT_ERROR_EDGE_TIMEOUT, 504, SOCKS_TTL_EXPIRED },
		{ CONNECT_ERROR_EDGE_CONNECTION_LOST, 502,
		    SOCKS_GENERAL_FAILURE },
		{ CONNECT_ERROR_EDGE_RESET, 502, SOCKS_GENERAL_FAILURE },
		{ CONNECT_ERROR_EDGE_STREAM_LIMIT, 503, SOCKS_GENERAL_FAILURE },
		{ CONNECT_ERROR_CLIENT_LIMIT, 503, SOCKS_GENERAL_FAILURE },
		{ CONNECT_ERROR_OVERLOADED, 503, SOCKS_GENERAL_FAILURE },
		{ CONNECT_ERROR_SHUTTING_DOWN, 503, SOCKS_GENERAL_FAILURE },
	};
	struct connect_error e;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		connect_error_set(&e, rows[i].type, "no");
		assert_int_equal(http_status_of(&e), rows[i].http_status);
		assert_int_equal(socks_code_of(&e), rows[i].code);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(responses_of_the_edge_are_understood),
		cmocka_unit_test(a_password_of_culvert_is_not_the_clients),
		cmocka_unit_test(own_errors_have_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
