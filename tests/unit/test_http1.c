#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/http1.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A row's text and its length, so that a NUL may be part of it. */
#define TEXT(literal) literal, sizeof(literal) - 1

/* The parsers' outcome does not depend on what earlier heads left behind. */
static void
dirty(void *p, size_t size)
{
	memset(p, 0xa5, size);
}

static int
parse_request(struct http1_request *req, const char *text, size_t len)
{
	size_t scanned = 0;

	dirty(req, sizeof(*req));
	return http1_request_parse(req, text, len, &scanned);
}

/* Gives the parser the first n bytes, and later one byte more at a time. */
static int
parse_split(struct http1_request *req, const char *text, size_t len, size_t n)
{
	size_t scanned = 0;
	int rc;

	dirty(req, sizeof(*req));
	do {
		rc = http1_request_parse(req, text, n, &scanned);
	} while (rc == 0 && n++ < len);
	return rc;
}

static void
check_request(const char *text, size_t len, int rc)
{
	static struct http1_request req;

	assert_int_equal(parse_request(&req, text, len), rc);
	assert_int_equal(req.head.why != NULL, rc < 0);
	for (size_t n = 0; n < len; n++)
		assert_int_equal(parse_split(&req, text, len, n), rc);
}

static void
requests_refused(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		int error;
	} rows[] = {
		/* the request line */
		{ TEXT("\r\n\r\n"), -EBADMSG },
		{ TEXT("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET /\r\n\r\n"), -EBADMSG },
		{ TEXT("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET /  HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("G(T / HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / http/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1,1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), -ENOTSUP },
		{ TEXT("PRI * HTTP/2.0\r\n\r\n"), -ENOTSUP },
		{ TEXT("GET / HTTP/0.9\r\n\r\n"), -ENOTSUP },

		/* the request target */
		{ TEXT("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://a:0/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n"
		    "Content-Length: 1\r\n\r\n"), -EBADMSG },
		{ TEXT("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n"), -EBADMSG },

		/* lines and octets */
		{ TEXT("GET / HTTP/1.1\nHost: a\n\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"), -EBADMSG },
		{ TEXT("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA: \x7f\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA: \x1b\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\tc\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA\t: b\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA(: b\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\n\xc3\xa4: b\r\n\r\n"),
		    -EBADMSG },

		/* Host */
		{ TEXT("GET / HTTP/1.1\r\n\r\n"), -EBADMSG },
		{ TEXT("GET http://a/ HTTP/1.1\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://a/ HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), -EBADMSG },

		/* framing */
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
		    "Content-Length: 6\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
		    "content-length: 5\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Content-Length: 5, 5\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Content-Length: +5\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Content-Length: -5\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Content-Length: 0x5\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Content-Length: 5 5\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Content-Length: 18446744073709551617\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		    "chunked\r\nContent-Length: 5\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Transfer-Encoding: chunked, chunked\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		    "chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Transfer-Encoding: chunked, gzip\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		    "chunked\r\nTransfer-Encoding: identity\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Transfer-Encoding: gzip\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Transfer-Encoding: xchunked\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Transfer-Encoding: chunked;a=b\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Transfer-Encoding:\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Transfer-Encoding : chunked\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.0\r\nHost: a\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n"), -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		    "Transfer-Encoding: gzip, chunked\r\n\r\n"),
		    -EPROTONOSUPPORT },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		    "gzip\r\nTransfer-Encoding: chunked\r\n\r\n"),
		    -EPROTONOSUPPORT },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_request(rows[i].text, rows[i].len, rows[i].error);
}

static void
refusals_say_why(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *why;
	} rows[] = {
		{ TEXT("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    "https goes through CONNECT, not an absolute URI" },
		{ TEXT("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    "user information in the request target" },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"),
		    "a folded field line" },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"),
		    "the name of a field is not a token" },
		{ TEXT("GET / HTTP/1.1\r\n\r\n"), "Host is missing" },
	};
	static struct http1_request req;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		parse_request(&req, rows[i].text, rows[i].len);
		assert_string_equal(req.head.why, rows[i].why);
	}
}

static void
requests_accepted(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		enum http1_form form;
		const char *method, *host, *path;
		uint16_t port;
		enum http1_framing framing;
		uint64_t length;
		bool keep_alive;
	} rows[] = {
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP1_ORIGIN,
		    "GET", "a", "/", 80, HTTP1_NONE, 0, true },
		{ TEXT("\r\nGET /a?b=%20|\" HTTP/1.1\r\nhOST:[::1]:1080 \t\r\n"
		    "\r\n"), HTTP1_ORIGIN, "GET", "::1", "/a?b=%20|\"", 1080,
		    HTTP1_NONE, 0, true },
		{ TEXT("GET / HTTP/1.1\r\nHost:\r\n\r\n"), HTTP1_ORIGIN, "GET",
		    "", "/", 0, HTTP1_NONE, 0, true },
		{ TEXT("GET / HTTP/1.0\r\n\r\n"), HTTP1_ORIGIN, "GET", "", "/",
		    0, HTTP1_NONE, 0, false },
		{ TEXT("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
		    HTTP1_ORIGIN, "GET", "", "/", 0, HTTP1_NONE, 0, false },
		{ TEXT("GET / HTTP/1.7\r\nHost: a\r\nConnection: x, Close\r\n"
		    "\r\n"), HTTP1_ORIGIN, "GET", "a", "/", 80, HTTP1_NONE, 0,
		    false },
		{ TEXT("OPTIONS * HTTP/1.1\r\nHost: a:1\r\n\r\n"),
		    HTTP1_ASTERISK, "OPTIONS", "a", "*", 1, HTTP1_NONE, 0,
		    true },
		{ TEXT("GET http://a_b.example/c?d HTTP/1.1\r\nHost: z\r\n"
		    "\r\n"), HTTP1_ABSOLUTE, "GET", "a_b.example", "/c?d", 80,
		    HTTP1_NONE, 0, true },
		{ TEXT("GET HTTP://a:8080 HTTP/1.1\r\nHost: /,@\r\n\r\n"),
		    HTTP1_ABSOLUTE, "GET", "a", "", 8080, HTTP1_NONE, 0, true },
		{ TEXT("GET http://[2001:db8::1]?q HTTP/1.1\r\nHost: z\r\n"
		    "\r\n"), HTTP1_ABSOLUTE, "GET", "2001:db8::1", "?q", 80,
		    HTTP1_NONE, 0, true },
		{ TEXT("GET http://a/http://u@b/ HTTP/1.1\r\nHost: z\r\n\r\n"),
		    HTTP1_ABSOLUTE, "GET", "a", "/http://u@b/", 80, HTTP1_NONE,
		    0, true },
		{ TEXT("CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
		    HTTP1_AUTHORITY, "CONNECT", "a.example", "", 443,
		    HTTP1_NONE, 0, true },
		{ TEXT("CONNECT [::1]:22 HTTP/1.0\r\n\r\n"), HTTP1_AUTHORITY,
		    "CONNECT", "::1", "", 22, HTTP1_NONE, 0, false },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
		    "\r\n"), HTTP1_ORIGIN, "POST", "a", "/", 80, HTTP1_LENGTH,
		    0, true },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:"
		    " 999999999999999999 \r\n\r\n"), HTTP1_ORIGIN, "POST", "a",
		    "/", 80, HTTP1_LENGTH, 999999999999999999, true },
		{ TEXT("X-1 / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		    "Chunked\r\nA: \xc3\xa4\t!\r\n\r\n"), HTTP1_ORIGIN, "X-1",
		    "a", "/", 80, HTTP1_CHUNKED, 0, true },
	};
	static struct http1_request req;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		check_request(rows[i].text, rows[i].len, (int)rows[i].len);
		parse_request(&req, rows[i].text, rows[i].len);
		assert_true(span_is(req.method, rows[i].method));
		assert_int_equal(req.form, rows[i].form);
		assert_string_equal(req.authority.host, rows[i].host);
		assert_int_equal(req.authority.port, rows[i].port);
		assert_true(span_is(req.path, rows[i].path));
		assert_int_equal(req.head.framing, rows[i].framing);
		assert_int_equal(req.head.length, rows[i].length);
		assert_int_equal(req.head.keep_alive, rows[i].keep_alive);
		assert_false(req.expect_continue);
		assert_false(req.upgrade);
	}
}

static void
requests_say_what_they_want(void **state)
{
	static const char text[] = "POST / HTTP/1.1\r\nHost: a\r\n"
	    "Expect: 100-Continue\r\nUpgrade: websocket\r\n"
	    "Connection: keep-alive\r\nConnection: TE ,upgrade\r\n\r\nbody";
	static const char old[] = "POST / HTTP/1.0\r\n"
	    "Expect: 100-continue\r\n\r\n";
	static struct http1_request req;

	(void)state;
	assert_int_equal(parse_request(&req, TEXT(text)),
	    sizeof(text) - 1 - strlen("body"));
	assert_true(req.expect_continue);
	assert_true(req.upgrade);
	assert_true(req.head.keep_alive);
	assert_int_equal(req.head.nfields, 5);
	assert_true(span_is(http1_find(&req.head, "upgrade")->value,
	    "websocket"));
	assert_null(http1_find(&req.head, "upgrad"));
	assert_true(http1_lists(&req.head, "connection", SPAN("te")));
	assert_true(http1_lists(&req.head, "Connection", SPAN("Upgrade")));
	assert_false(http1_lists(&req.head, "connection", SPAN("upgrad")));

	assert_int_equal(parse_request(&req, TEXT(old)), sizeof(old) - 1);
	assert_false(req.expect_continue);
}

/* A head of n octets whose one long field makes up the length. */
static char *
long_head(size_t n)
{
	static const char start[] = "GET / HTTP/1.1\r\nHost: a\r\nA: ";
	char *text = malloc(n);

	assert_non_null(text);
	memset(text, 'x', n);
	memcpy(text, start, sizeof(start) - 1);
	memcpy(text + n - 4, "\r\n\r\n", 4);
	return text;
}

static void
heads_are_bounded(void **state)
{
	static struct http1_request req;
	char *text;
	size_t scanned = 0;

	(void)state;
	text = long_head(HTTP1_HEAD_MAX);
	assert_int_equal(parse_request(&req, text, HTTP1_HEAD_MAX),
	    HTTP1_HEAD_MAX);
	assert_int_equal(http1_request_parse(&req, text, HTTP1_HEAD_MAX - 1,
	    &scanned), 0);
	assert_int_equal(scanned, HTTP1_HEAD_MAX - 1);
	free(text);

	text = long_head(HTTP1_HEAD_MAX + 1);
	assert_int_equal(parse_request(&req, text, HTTP1_HEAD_MAX),
	    -EMSGSIZE);
	assert_int_equal(parse_request(&req, text, HTTP1_HEAD_MAX + 1),
	    -EMSGSIZE);
	free(text);
}

static void
fields_are_bounded(void **state)
{
	static struct http1_request req;
	char text[4096] = "GET / HTTP/1.1\r\nHost: a\r\n";

	(void)state;
	for (int i = 1; i < HTTP1_FIELDS_MAX; i++)
		strcat(text, "A: b\r\n");
	strcat(text, "\r\n");
	assert_int_equal(parse_request(&req, text, strlen(text)),
	    strlen(text));
	assert_int_equal(req.head.nfields, HTTP1_FIELDS_MAX);

	strcpy(text + strlen(text) - 2, "A: b\r\n\r\n");
	assert_int_equal(parse_request(&req, text, strlen(text)), -EMSGSIZE);

	strcpy(text, "GET / HTTP/1.1\r\nHost: a\r\nConnection: ");
	memset(text + strlen(text), ',', HTTP1_CONNECTION_MAX);
	strcat(text, "\r\n\r\n");
	assert_int_equal(parse_request(&req, text, strlen(text)),
	    strlen(text));
	strcpy(text + strlen(text) - 2, "Connection: x\r\n\r\n");
	assert_int_equal(parse_request(&req, text, strlen(text)), -EMSGSIZE);
}

static void
check_response(const char *text, size_t len, bool head_request, int rc)
{
	static struct http1_response resp;

	for (size_t n = 0; n <= len; n++) {
		size_t scanned = 0, have = n;
		int got;

		dirty(&resp, sizeof(resp));
		do {
			got = http1_response_parse(&resp, text, have, &scanned,
			    head_request);
		} while (got == 0 && have++ < len);
		assert_int_equal(got, rc);
		assert_int_equal(resp.head.why != NULL, rc < 0);
	}
}

static void
responses_refused(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		int error;
	} rows[] = {
		{ TEXT("\r\nHTTP/1.1 200 OK\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 20 OK\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 099 OK\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 2000 OK\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 2x0 OK\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1  200 OK\r\n\r\n"), -EBADMSG },
		{ TEXT("ICY 200 OK\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/2.0 200 OK\r\n\r\n"), -ENOTSUP },
		{ TEXT("HTTP/1.1 200 OK\n\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 200 O\rK\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nA: b\r\n c: d\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\n : c\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
		    "Content-Length: 2\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length : 1\r\n"
		    "Content-Length: 2\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n"
		    "\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n"
		    "\r\n"), -EPROTONOSUPPORT },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_response(rows[i].text, rows[i].len, false, rows[i].error);
}

static void
responses_accepted(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		bool head_request;
		int status;
		const char *reason;
		enum http1_framing framing;
		uint64_t length;
		bool keep_alive;
	} rows[] = {
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), false,
		    200, "OK", HTTP1_LENGTH, 5, true },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length \t: 5\r\n\r\n"),
		    false, 200, "OK", HTTP1_LENGTH, 5, true },
		{ TEXT("HTTP/1.1 404 Not  Found \r\n"
		    "Transfer-Encoding: chunked\r\n\r\n"), false, 404,
		    "Not  Found ", HTTP1_CHUNKED, 0, true },
		{ TEXT("HTTP/1.1 200\r\n\r\n"), false, 200, "",
		    HTTP1_UNTIL_CLOSE, 0, false },
		{ TEXT("HTTP/1.1 200 \r\n\r\n"), true, 200, "", HTTP1_NONE, 0,
		    true },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), true,
		    200, "OK", HTTP1_NONE, 5, true },
		{ TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
		    true, 200, "OK", HTTP1_NONE, 0, true },
		{ TEXT("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n"
		    "\r\n"), false, 304, "Not Modified", HTTP1_NONE, 5, true },
		{ TEXT("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
		    false, 204, "No Content", HTTP1_NONE, 0, false },
		{ TEXT("HTTP/1.1 100 Continue\r\n\r\n"), false, 100,
		    "Continue", HTTP1_NONE, 0, true },
		{ TEXT("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"), false,
		    200, "OK", HTTP1_LENGTH, 5, false },
		{ TEXT("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n"
		    "Connection: Keep-Alive\r\n\r\n"), false, 200, "OK",
		    HTTP1_LENGTH, 5, true },
		{ TEXT("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"),
		    false, 200, "OK", HTTP1_UNTIL_CLOSE, 0, false },
	};
	static struct http1_response resp;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t scanned = 0;

		check_response(rows[i].text, rows[i].len,
		    rows[i].head_request, (int)rows[i].len);
		http1_response_parse(&resp, rows[i].text, rows[i].len,
		    &scanned, rows[i].head_request);
		assert_int_equal(resp.status, rows[i].status);
		assert_true(span_is(resp.reason, rows[i].reason));
		assert_int_equal(resp.head.framing, rows[i].framing);
		assert_int_equal(resp.head.length, rows[i].length);
		assert_int_equal(resp.head.keep_alive, rows[i].keep_alive);
	}
}

static void
errors_have_a_status(void **state)
{
	static const int errors[] = { -EBADMSG, -EMSGSIZE, -EPROTONOSUPPORT,
		-ENOTSUP, -EIO };
	static const int statuses[] = { 400, 431, 501, 505, 500 };

	(void)state;
	for (size_t i = 0; i < COUNT(errors); i++) {
		assert_int_equal(http1_error_status(errors[i]), statuses[i]);
		assert_string_not_equal(http1_reason(statuses[i]), "");
	}
	assert_string_equal(http1_reason(407), "Proxy Authentication Required");
	assert_string_equal(http1_reason(999), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_refused),
		cmocka_unit_test(refusals_say_why),
		cmocka_unit_test(requests_accepted),
		cmocka_unit_test(requests_say_what_they_want),
		cmocka_unit_test(heads_are_bounded),
		cmocka_unit_test(fields_are_bounded),
		cmocka_unit_test(responses_refused),
		cmocka_unit_test(responses_accepted),
		cmocka_unit_test(errors_have_a_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
