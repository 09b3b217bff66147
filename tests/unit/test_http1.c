#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/http1/http1.h"

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
	assert_int_equal(req.head.why[0] != '\0', rc < 0);
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
		{ TEXT("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r"), -EBADMSG },
		{ TEXT("GET /\r\n\r\n"), -EBADMSG },
		{ TEXT("GET\r\n\r\n"), -EBADMSG },
		{ TEXT("GET HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("\x16\x03\x01\x02"), -EBADMSG },
		{ TEXT("G(T / HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / http/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1,1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), -ENOTSUP },
		{ TEXT("PRI * HTTP/2.0\r\n\r\n"), -ENOTSUP },
		{ TEXT("GET / HTTP/0.9\r\n\r\n"), -ENOTSUP },

		/* the request target */
		{ TEXT("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://a:0/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://u:p@/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://[fe80::1%25eth0]/ HTTP/1.1\r\nHost: a\r\n"
		       "\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://b\xc3\xbc"
		       "cher.example/ HTTP/1.1\r\n"
		       "Host: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET http://a b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"), -EBADMSG },
		{ TEXT("CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n"
		       "Content-Length: 1\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n"
		       "Transfer-Encoding: chunked\r\n\r\n"),
		    -EBADMSG },

		/* lines and octets */
		{ TEXT("POST / HTTP/1.1\nHost: a\nContent-Length: 1\n\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\nContent-Length: 1\r\n"
		       "\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		       "chunked\r\n\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\nHost: a\rb\n\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"), -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\n\x7f: b\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("GET / HTTP/1.1\x1b\r\nHost: a\r\n\r\n"), -EBADMSG },
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
		       "Content-Length: 6\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
		       "content-length: 5\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Content-Length: 5, 5\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Content-Length: +5\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Content-Length: -5\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Content-Length: 0x5\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Content-Length: 5 5\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Content-Length: 18446744073709551617\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
		       "Transfer-Encoding: chunked\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		       "chunked\r\nContent-Length: 5\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Transfer-Encoding: chunked, chunked\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		       "chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Transfer-Encoding: chunked, gzip\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		       "chunked\r\nTransfer-Encoding: identity\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Transfer-Encoding: gzip\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Transfer-Encoding: xchunked\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Transfer-Encoding: chunked;a=b\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Transfer-Encoding:\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\n"
		       "Transfer-Encoding : chunked\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("POST / HTTP/1.0\r\nHost: a\r\n"
		       "Transfer-Encoding: chunked\r\n\r\n"),
		    -EBADMSG },
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
		    "this proxy serves https sites only by CONNECT, not by "
		    "an absolute URI" },
		{ TEXT("GET /a\x01 HTTP/1.1\r\n"),
		    "a control character in "
		    "the head: byte 0x01 at offset 2 of the request target" },
		{ TEXT("G\x7f"),
		    "a control character in the head: byte 0x7f "
		    "at offset 1 of the method" },
		{ TEXT("GET / HTTP/1.1\0"),
		    "a control character in the head: "
		    "byte 0x00 at offset 8 of the HTTP version" },
		{ TEXT("GET / HTTP/1.1\r\nCookie: \t abc\0"),
		    "a NUL in the head: byte 0x00 at offset 3 of the field "
		    "Cookie" },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nCoo\x1b: b\r\n\r\n"),
		    "the name of a field is not a token: byte 0x1b at offset "
		    "3 of field line 2" },
		{ TEXT("CONNECT a\\@b:443 HTTP/1.1\r\n\r\n"),
		    "a backslash in the user information of the request "
		    "target" },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\rX"),
		    "a CR that no LF "
		    "follows: byte 0x0d at offset 1 of the field Host" },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n"),
		    "field line 3 is folded onto the one before" },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n"),
		    "the name of a field is not a token: byte 0x20 at offset "
		    "1 of field line 2" },
		{ TEXT("GET / HTTP/1.1\r\nA\xc3\xa4: b\r\n\r\n"),
		    "the name of a field is not a token: byte 0xc3 at offset "
		    "1 of field line 1" },
		{ TEXT("GET http://b\xc3\xbc/ HTTP/1.1\r\n\r\n"),
		    "the host "
		    "of the request target is not ASCII: byte 0xc3 at offset "
		    "1 of it; write the name as xn--..." },
		{ TEXT("GET http://[fe80::1%25a]/ HTTP/1.1\r\n\r\n"),
		    "the "
		    "host of the request target has a % at offset 8 of it: "
		    "there can be no zone, and percent-encoding only of "
		    "letters, digits, '-', '_' and '.'" },
		{ TEXT("GET http://a%2fb/ HTTP/1.1\r\n\r\n"),
		    "the "
		    "host of the request target has a % at offset 1 of it: "
		    "there can be no zone, and percent-encoding only of "
		    "letters, digits, '-', '_' and '.'" },
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
		       "\r\n"),
		    HTTP1_ORIGIN, "GET", "::1", "/a?b=%20|\"", 1080, HTTP1_NONE,
		    0, true },
		{ TEXT("CONNECT a:443 HTTP/1.0\n\n"), HTTP1_AUTHORITY,
		    "CONNECT", "a", "", 443, HTTP1_NONE, 0, false },
		{ TEXT("connect a:443 HTTP/1.1\nHost: a\r\n\n"),
		    HTTP1_AUTHORITY, "connect", "a", "", 443, HTTP1_NONE, 0,
		    true },
		{ TEXT("CONNECT a:443 HTTP/1.1\r\n\r\n"), HTTP1_AUTHORITY,
		    "CONNECT", "a", "", 443, HTTP1_NONE, 0, true },
		{ TEXT("POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\r\n"),
		    HTTP1_ORIGIN, "POST", "a", "/", 80, HTTP1_LENGTH, 0, true },
		{ TEXT("\n\r\nGET  \t/a \t b \t HTTP/1.1 \r\nHost: a\r\n"
		       "\r\n"),
		    HTTP1_ORIGIN, "GET", "a", "/a \t b", 80, HTTP1_NONE, 0,
		    true },
		{ TEXT(" GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), HTTP1_ORIGIN,
		    "GET", "a", "/", 80, HTTP1_NONE, 0, true },
		{ TEXT("GET http://u:p@x@a:81/@#f@?/ HTTP/1.1\r\n\r\n"),
		    HTTP1_ABSOLUTE, "GET", "a", "/@", 81, HTTP1_NONE, 0, true },
		{ TEXT("GET http://a#f HTTP/1.1\r\nHost: z\r\n\r\n"),
		    HTTP1_ABSOLUTE, "GET", "a", "", 80, HTTP1_NONE, 0, true },
		{ TEXT("GET http://@a:/\xc3\xa4|\"{^\\ HTTP/1.1\r\n"
		       "Host: z\r\n\r\n"),
		    HTTP1_ABSOLUTE, "GET", "a", "/\xc3\xa4|\"{^\\", 80,
		    HTTP1_NONE, 0, true },
		{ TEXT("GET http://%61%2D%5fB%2e:00081/ HTTP/1.1\r\n\r\n"),
		    HTTP1_ABSOLUTE, "GET", "a-_B.", "/", 81, HTTP1_NONE, 0,
		    true },
		{ TEXT("CONNECT u:p@%61:0443 HTTP/1.1\r\n\r\n"),
		    HTTP1_AUTHORITY, "CONNECT", "a", "", 443, HTTP1_NONE, 0,
		    true },
		{ TEXT("GET / HTTP/1.1\r\nHost: a\r\nA: \x01\x7f\r\n\r\n"),
		    HTTP1_ORIGIN, "GET", "a", "/", 80, HTTP1_NONE, 0, true },
		{ TEXT("get http://a/ HTTP/1.1\r\nHost: z\r\n\r\n"),
		    HTTP1_ABSOLUTE, "get", "a", "/", 80, HTTP1_NONE, 0, true },
		{ TEXT("GET / HTTP/1.1\r\nHost:\r\n\r\n"), HTTP1_ORIGIN, "GET",
		    "", "/", 0, HTTP1_NONE, 0, true },
		{ TEXT("GET / HTTP/1.0\r\n\r\n"), HTTP1_ORIGIN, "GET", "", "/",
		    0, HTTP1_NONE, 0, false },
		{ TEXT("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
		    HTTP1_ORIGIN, "GET", "", "/", 0, HTTP1_NONE, 0, false },
		{ TEXT("GET / HTTP/1.7\r\nHost: a\r\nConnection: x, Close\r\n"
		       "\r\n"),
		    HTTP1_ORIGIN, "GET", "a", "/", 80, HTTP1_NONE, 0, false },
		{ TEXT("OPTIONS * HTTP/1.1\r\nHost: a:1\r\n\r\n"),
		    HTTP1_ASTERISK, "OPTIONS", "a", "*", 1, HTTP1_NONE, 0,
		    true },
		{ TEXT("GET http://a_b.example/c?d HTTP/1.1\r\nHost: z\r\n"
		       "\r\n"),
		    HTTP1_ABSOLUTE, "GET", "a_b.example", "/c?d", 80,
		    HTTP1_NONE, 0, true },
		{ TEXT("GET HTTP://a:8080 HTTP/1.1\r\nHost: /,@\r\n\r\n"),
		    HTTP1_ABSOLUTE, "GET", "a", "", 8080, HTTP1_NONE, 0, true },
		{ TEXT("GET http://[2001:db8::1]?q HTTP/1.1\r\nHost: z\r\n"
		       "\r\n"),
		    HTTP1_ABSOLUTE, "GET", "2001:db8::1", "?q", 80, HTTP1_NONE,
		    0, true },
		{ TEXT("GET http://a/http://u@b/ HTTP/1.1\r\nHost: z\r\n\r\n"),
		    HTTP1_ABSOLUTE, "GET", "a", "/http://u@b/", 80, HTTP1_NONE,
		    0, true },
		{ TEXT("CONNECT a.example:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
		    HTTP1_AUTHORITY, "CONNECT", "a.example", "", 443,
		    HTTP1_NONE, 0, true },
		{ TEXT("CONNECT [::1]:22 HTTP/1.0\r\n\r\n"), HTTP1_AUTHORITY,
		    "CONNECT", "::1", "", 22, HTTP1_NONE, 0, false },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
		       "\r\n"),
		    HTTP1_ORIGIN, "POST", "a", "/", 80, HTTP1_LENGTH, 0, true },
		{ TEXT("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:"
		       " 999999999999999999 \r\n\r\n"),
		    HTTP1_ORIGIN, "POST", "a", "/", 80, HTTP1_LENGTH,
		    999999999999999999, true },
		{ TEXT("X-1 / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
		       "Chunked\r\nA: \xc3\xa4\t!\r\n\r\n"),
		    HTTP1_ORIGIN, "X-1", "a", "/", 80, HTTP1_CHUNKED, 0, true },
	};
	static struct http1_request req;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		check_request(rows[i].text, rows[i].len, (int)rows[i].len);
		parse_request(&req, rows[i].text, rows[i].len);
		assert_true(slice_is(req.method, rows[i].method));
		assert_int_equal(req.form, rows[i].form);
		assert_string_equal(req.authority.host, rows[i].host);
		assert_int_equal(req.authority.port, rows[i].port);
		assert_true(slice_is(req.path, rows[i].path));
		assert_int_equal(req.head.framing, rows[i].framing);
		assert_int_equal(req.head.length, rows[i].length);
		assert_int_equal(req.head.keep_alive, rows[i].keep_alive);
		assert_false(req.expect_continue);
		assert_false(req.upgrade);
	}
}

static void
requests_are_parsed(void **state)
{
	static const char text[] =
	    "POST / HTTP/1.1\r\nHost: a\r\n"
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
	assert_true(slice_is(http1_find(&req.head, "upgrade")->value,
	    "websocket"));
	assert_null(http1_find(&req.head, "upgrad"));
	assert_true(http1_lists(&req.head, "connection", SLICE("te")));
	assert_true(http1_lists(&req.head, "Connection", SLICE("Upgrade")));
	assert_false(http1_lists(&req.head, "connection", SLICE("upgrad")));

	assert_int_equal(parse_request(&req, TEXT(old)), sizeof(old) - 1);
	assert_false(req.expect_continue);
}

/* A head of n octets, most of them in one field. */
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
			     &scanned),
	    0);
	assert_int_equal(scanned, HTTP1_HEAD_MAX - 1);
	free(text);

	text = long_head(HTTP1_HEAD_MAX + 1);
	assert_int_equal(parse_request(&req, text, HTTP1_HEAD_MAX), -EMSGSIZE);
	assert_int_equal(parse_request(&req, text, HTTP1_HEAD_MAX + 1),
	    -EMSGSIZE);
	free(text);
}

static void
fields_are_bounded(void **state)
{
	static struct http1_request req;
	static char text[HTTP1_HEAD_MAX] = "GET / HTTP/1.1\r\nHost: a\r\n";
	char *p = text + strlen(text);

	(void)state;
	for (int i = 1; i < HTTP1_FIELDS_MAX; i++)
		p = stpcpy(p, "A: b\r\n");
	strcpy(p, "\r\n");
	assert_int_equal(parse_request(&req, text, strlen(text)), strlen(text));
	assert_int_equal(req.head.nfields, HTTP1_FIELDS_MAX);

	strcpy(p, "A: b\r\n\r\n");
	assert_int_equal(parse_request(&req, text, strlen(text)), -EMSGSIZE);

	p = stpcpy(text, "GET / HTTP/1.1\r\nHost: a\r\nConnection: ,");
	for (int i = 0; i < HTTP1_OPTIONS_MAX; i++)
		p = stpcpy(p, "a,");
	strcpy(p, " ,\r\n\r\n");
	assert_int_equal(parse_request(&req, text, strlen(text)), strlen(text));
	assert_int_equal(req.head.noptions, HTTP1_OPTIONS_MAX);
	strcpy(p, "\r\nConnection: x\r\n\r\n");
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
		assert_int_equal(resp.head.why[0] != '\0', rc < 0);
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
		/* no status line */
		{ TEXT("\r\n\r\n\nHTTP/1.1 200 OK\r\n\r\n"), -EBADMSG },
		{ TEXT("SSH-2.0-OpenSSH\r\n\r\n"), -EBADMSG },
		{ TEXT("<html><body>"), -EBADMSG },
		{ TEXT("ICYCLE 200 OK\r\n\r\n"), -EBADMSG },

		/* NUL */
		{ TEXT("HTTP/1.1 200 O\0K\r\n\r\n"), -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n"), -EBADMSG },

		/* lengths that differ */
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
		       "Content-Length: 2\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length : 1\r\n"
		       "Content-Length: 2\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
		       "Content-Length: -1\r\n\r\n"),
		    -EBADMSG },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 1 1\r\n"
		       "Content-Length: 1\r\n\r\n"),
		    -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_response(rows[i].text, rows[i].len, false, rows[i].error);
}

/* The same outcome for each split, and *resp. */
static void
accept_response(struct http1_response *resp, const char *text, size_t len,
    bool head_request)
{
	size_t scanned = 0;

	check_response(text, len, head_request, (int)len);
	http1_response_parse(resp, text, len, &scanned, head_request);
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
		{ TEXT("HTTP/1.1 404 Not  Found \r\n"
		       "Transfer-Encoding: chunked\r\n\r\n"),
		    false, 404, "Not  Found", HTTP1_CHUNKED, 0, true },
		{ TEXT("HTTP/1.1 200\r\n\r\n"), false, 200, "",
		    HTTP1_UNTIL_CLOSE, 0, false },
		{ TEXT("HTTP/1.1 200 \r\n\r\n"), true, 200, "", HTTP1_NONE, 0,
		    true },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), true,
		    200, "OK", HTTP1_NONE, 5, true },
		{ TEXT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
		    true, 200, "OK", HTTP1_NONE, 0, true },
		{ TEXT("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n"
		       "\r\n"),
		    false, 304, "Not Modified", HTTP1_NONE, 5, true },
		{ TEXT("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
		    false, 204, "No Content", HTTP1_NONE, 0, false },
		{ TEXT("HTTP/1.1 100 Continue\r\n\r\n"), false, 100, "Continue",
		    HTTP1_NONE, 0, true },
		{ TEXT("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"), false,
		    200, "OK", HTTP1_LENGTH, 5, false },
		{ TEXT("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n"
		       "Connection: Keep-Alive\r\n\r\n"),
		    false, 200, "OK", HTTP1_LENGTH, 5, true },
		{ TEXT("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"),
		    false, 200, "OK", HTTP1_UNTIL_CLOSE, 0, false },
	};
	static struct http1_response resp;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		accept_response(&resp, rows[i].text, rows[i].len,
		    rows[i].head_request);
		assert_int_equal(resp.status, rows[i].status);
		assert_true(slice_is(resp.reason, rows[i].reason));
		assert_int_equal(resp.head.framing, rows[i].framing);
		assert_int_equal(resp.head.length, rows[i].length);
		assert_int_equal(resp.head.keep_alive, rows[i].keep_alive);
	}
}

/*
 * Responses of sites that violate RFC 9112. None of these connections is
 * reused.
 */
static void
odd_responses_accepted(void **state)
{
#define OK "HTTP/1.1 200 OK\r\n"
	static const struct {
		const char *text;
		size_t len;
		int status;
		const char *reason;
		int minor;
		enum http1_framing framing;
		uint64_t length;
		size_t nfields;
	} rows[] = {
		/* the status line */
		{ TEXT("\r\nHTTP/1.1 200 OK\r\n\r\n"), 200, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("\xef\xbb\xbfHTTP/1.1 200 OK\r\n\r\n"), 200, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("\0\0\0\0http/1.1 200 OK\r\n\r\n"), 200, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("ICY 200 OK\r\nicy-name: a\r\n\r\n"), 200, "OK", 0,
		    HTTP1_UNTIL_CLOSE, 0, 1 },
		{ TEXT("HTTP\n\n"), 200, "OK", 0, HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("HTTP/1.1\r\n\r\n"), 200, "OK", 1, HTTP1_UNTIL_CLOSE, 0,
		    0 },
		{ TEXT("HTTP/1.1 fine\r\n\r\n"), 200, "", 1, HTTP1_UNTIL_CLOSE,
		    0, 0 },
		{ TEXT("HTTP 404 X\r\n\r\n"), 404, "X", 0, HTTP1_UNTIL_CLOSE, 0,
		    0 },
		{ TEXT("HTTP/1.1 \t 404  Not found \t\r\n\r\n"), 404,
		    "Not found", 1, HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("HTTP/1.1 404Not\r\n\r\n"), 404, "Not", 1,
		    HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("HTTP/1.1 20 OK\r\n\r\n"), 20, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("HTTP/1.1 2000 OK\r\n\r\n"), 2000, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("HTTP/1.1 12345678901234 OK\r\n\r\n"), 123456789, "OK",
		    1, HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("HTTP/1.1 2x0 OK\r\n\r\n"), 2, "x0 OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("HTTP/0.9 200 OK\r\n\r\n"), 200, "OK", 0,
		    HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("HTTP/2 200 OK\r\n\r\n"), 200, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 0 },
		{ TEXT("HTTP/1.1x 200 O\rK\r\n\r\n"), 200, "O\rK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 0 },

		/* lines */
		{ TEXT("HTTP/1.1 200 OK\nContent-Length: 5\n\n"), 200, "OK", 1,
		    HTTP1_LENGTH, 5, 1 },
		{ TEXT("HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\n"), 200, "OK",
		    1, HTTP1_LENGTH, 5, 1 },
		{ TEXT("HTTP/1.1 200 OK\r\r\nContent-Length: 5\r\r\n\r\r\n"),
		    200, "OK", 1, HTTP1_LENGTH, 5, 1 },
		{ TEXT(OK "A: b\r\n c: d\r\n\t\r\nContent-Length: 5\r\n\r\n"),
		    200, "OK", 1, HTTP1_LENGTH, 5, 2 },
		{ TEXT(OK "Content-Length:\r\n 5\r\n \r\n\r\n"), 200, "OK", 1,
		    HTTP1_LENGTH, 5, 1 },
		{ TEXT(OK " A: b\r\nno colon\r\n folded: c\r\n: no name\r\n"
			  "A b: c\r\n\xc3\xa4: d\r\nContent-Length: 5\r\n\r\n"),
		    200, "OK", 1, HTTP1_LENGTH, 5, 1 },
		{ TEXT(OK "Content-Length \t: 5\r\n\r\n"), 200, "OK", 1,
		    HTTP1_LENGTH, 5, 1 },

		/* Content-Length */
		{ TEXT(OK "Content-Length: 5\r\ncontent-length: 05\r\n\r\n"),
		    200, "OK", 1, HTTP1_LENGTH, 5, 2 },
		{ TEXT(OK "Content-Length: 5, 5\r\n\r\n"), 200, "OK", 1,
		    HTTP1_LENGTH, 5, 1 },
		{ TEXT(OK "Content-Length: -1\r\n\r\n"), 200, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 1 },
		{ TEXT(OK "Content-Length: +5\r\n\r\n"), 200, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 1 },
		{ TEXT(OK "Content-Length:\r\n\r\n"), 200, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 1 },
		{ TEXT(OK "Content-Length: 9223372036854775808\r\n\r\n"), 200,
		    "OK", 1, HTTP1_UNTIL_CLOSE, 0, 1 },

		/* Transfer-Encoding */
		{ TEXT(OK "Content-Length: 5\r\nContent-Length: 6\r\n"
			  "Transfer-Encoding: chunked\r\n\r\n"),
		    200, "OK", 1, HTTP1_CHUNKED, 0, 3 },
		{ TEXT(OK "Transfer-Encoding: chunked\r\n"
			  "Transfer-Encoding: chunked\r\n\r\n"),
		    200, "OK", 1, HTTP1_CHUNKED, 0, 2 },
		{ TEXT(OK "Transfer-Encoding: identity, Chunked,\r\n\r\n"), 200,
		    "OK", 1, HTTP1_CHUNKED, 0, 1 },
		{ TEXT(OK "Transfer-Encoding: chunked, gzip\r\n\r\n"), 200,
		    "OK", 1, HTTP1_CHUNKED, 0, 1 },
		{ TEXT(OK "Transfer-Encoding: gzip,\r\n chunked\r\n\r\n"), 200,
		    "OK", 1, HTTP1_CHUNKED, 0, 1 },
		{ TEXT(OK "Transfer-Encoding: identity\r\n"
			  "Content-Length: 5\r\n\r\n"),
		    200, "OK", 1, HTTP1_LENGTH, 5, 2 },
		{ TEXT(OK "Transfer-Encoding:\r\n\r\n"), 200, "OK", 1,
		    HTTP1_UNTIL_CLOSE, 0, 1 },
		{ TEXT(
		      "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
		      "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
		    200, "OK", 0, HTTP1_UNTIL_CLOSE, 0, 3 },
	};
#undef OK
	static struct http1_response resp;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		accept_response(&resp, rows[i].text, rows[i].len, false);
		assert_int_equal(resp.status, rows[i].status);
		assert_true(slice_is(resp.reason, rows[i].reason));
		assert_int_equal(resp.head.minor, rows[i].minor);
		assert_int_equal(resp.head.framing, rows[i].framing);
		assert_int_equal(resp.head.length, rows[i].length);
		assert_int_equal(resp.head.nfields, rows[i].nfields);
		assert_false(resp.head.keep_alive);
	}
}

static void
bad_responses_say_why(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *why;
	} rows[] = {
		{ TEXT("SSH-2.0-\xff"),
		    "no status line of HTTP/1: the first "
		    "bytes are \"SSH-2.0-\"" },
		{ TEXT("\x15\x03\x01\0\2\2\n\0"),
		    "no status line of HTTP/1: "
		    "the first bytes are \"........\"" },
		{ TEXT("HTTP/1.1 200\0"),
		    "a NUL in the head: byte 0x00 at "
		    "offset 12 of the status line" },
		{ TEXT("HTTP/1.1 200\nA: b\0"),
		    "a NUL in the head: byte 0x00 "
		    "at offset 1 of the field A" },
		{ TEXT("HTTP/1.1 200\nContent-Length: 5,6\n\n"),
		    "two Content-Lengths, 5 and 6" },
		{ TEXT("HTTP/1.1 200\nContent-Length: 5\nContent-Length: a\n"
		       "\n"),
		    "two Content-Lengths, 5 and one that is no number" },
	};
	static struct http1_response resp;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t scanned = 0;

		assert_int_equal(http1_response_parse(&resp, rows[i].text,
				     rows[i].len, &scanned, false),
		    -EBADMSG);
		assert_string_equal(resp.head.why, rows[i].why);
	}
}

/* As large as Chromium takes them, with as many fields as there is room for. */
static void
responses_are_bounded(void **state)
{
	static char text[HTTP1_RESPONSE_HEAD_MAX + 1];
	static struct http1_response resp;
	char *p = stpcpy(text, "HTTP/1.1 200 OK\r\nConnection: ");
	size_t fill, scanned = 0;

	(void)state;
	for (int i = 0; i < HTTP1_OPTIONS_MAX + 5; i++)
		p = stpcpy(p, "a,");
	p = stpcpy(p, "\r\n");
	for (int i = 2; i < HTTP1_FIELDS_MAX; i++)
		p = stpcpy(p, "A: b\r\n");
	p = stpcpy(p, "X: ");
	fill = (size_t)(text + HTTP1_RESPONSE_HEAD_MAX - 4 - p);
	memset(p, 'x', fill);
	strcpy(p + fill, "\r\n\r\n");
	assert_int_equal(http1_response_parse(&resp, text,
			     HTTP1_RESPONSE_HEAD_MAX, &scanned, false),
	    HTTP1_RESPONSE_HEAD_MAX);
	assert_int_equal(resp.head.nfields, HTTP1_FIELDS_MAX);
	assert_int_equal(resp.head.noptions, HTTP1_OPTIONS_MAX);

	scanned = 0;
	text[HTTP1_RESPONSE_HEAD_MAX - 1] = 'x';
	assert_int_equal(http1_response_parse(&resp, text,
			     HTTP1_RESPONSE_HEAD_MAX, &scanned, false),
	    -EMSGSIZE);
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
		cmocka_unit_test(requests_are_parsed),
		cmocka_unit_test(heads_are_bounded),
		cmocka_unit_test(fields_are_bounded),
		cmocka_unit_test(responses_refused),
		cmocka_unit_test(responses_accepted),
		cmocka_unit_test(odd_responses_accepted),
		cmocka_unit_test(bad_responses_say_why),
		cmocka_unit_test(responses_are_bounded),
		cmocka_unit_test(errors_have_a_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
