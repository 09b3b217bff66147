#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/local/http/rewrite.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Rewrites a request into out, as a string, and returns the length. */
static int
request(const char *text, char *out, size_t size)
{
	static struct http1_request req;
	size_t scanned = 0;
	int len;

	assert_int_equal(http1_request_parse(&req, text, strlen(text),
			     &scanned),
	    strlen(text));
	len = rewrite_request(&req, true, out, size);
	if (len >= 0)
		out[len] = '\0';
	return len;
}

static void
requests_rewritten(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "GET http://a.example/b?c HTTP/1.1\r\nHost: z\r\n"
		  "User-Agent: curl\r\nAccept:*/*\r\n"
		  "Proxy-Connection: Keep-Alive\r\n\r\n",
		    "GET /b?c HTTP/1.1\r\nHost: a.example\r\n"
		    "User-Agent: curl\r\nAccept: */*\r\nVia: 1.1 culvert\r\n"
		    "\r\n" },
		{ "GET http://a:8080 HTTP/1.0\r\n\r\n",
		    "GET / HTTP/1.1\r\nHost: a:8080\r\nVia: 1.0 culvert\r\n"
		    "\r\n" },
		{ "GET http://[::1]:80?q HTTP/1.1\r\nHost: z\r\n\r\n",
		    "GET /?q HTTP/1.1\r\nHost: [::1]\r\nVia: 1.1 culvert\r\n"
		    "\r\n" },
		{ "OPTIONS http://a HTTP/1.1\r\nHost: z\r\n"
		  "Max-Forwards: 7\r\n\r\n",
		    "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 6\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "OPTIONS http://a/ HTTP/1.1\r\nHost: z\r\n\r\n",
		    "OPTIONS / HTTP/1.1\r\nHost: a\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "GET http://a/ HTTP/1.1\r\nHost: z\r\nMax-Forwards: 0\r\n"
		  "\r\n",
		    "GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "POST http://a/ HTTP/1.1\r\nHost: z\r\nExpect: 100-continue"
		  "\r\nContent-Length: 0\r\nVia: 1.0 b\r\n\r\n",
		    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
		    "Via: 1.0 b\r\nContent-Length: 0\r\nVia: 1.1 culvert\r\n"
		    "\r\n" },
		{ "POST http://a/ HTTP/1.1\r\nHost: z\r\nTE: trailers\r\n"
		  "Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n",
		    "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\n"
		    "TE: trailers\r\nConnection: TE\r\n"
		    "Transfer-Encoding: chunked\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "POST http://a/ HTTP/1.1\r\nHost: z\r\nTE: gzip;q=1\r\n"
		  "Trailer: X\r\nContent-Length: 5\r\n\r\n",
		    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "GET http://a/ HTTP/1.1\r\nHost: z\r\nUpgrade: websocket\r\n"
		  "Connection: Upgrade, X-Hop\r\nx-hop: 1\r\nKeep-Alive: 5\r\n"
		  "Connection: close\r\nX-End: 2\r\nClose: 3\r\n"
		  "Proxy-Authorization: Basic eDp5\r\nCookie: c\r\n\r\n",
		    "GET / HTTP/1.1\r\nHost: a\r\nX-End: 2\r\nCookie: c\r\n"
		    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "GET http://a/ HTTP/1.1\r\nHost: z\r\nUpgrade: h2c , a/1\r\n"
		  "Connection: HTTP2-Settings,upgrade\r\nUpgrade:,b\r\n"
		  "HTTP2-Settings: AAA\r\nSec-WebSocket-Key: k\r\n\r\n",
		    "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n"
		    "Upgrade: a/1,b\r\nConnection: Upgrade\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "GET http://a/ HTTP/1.1\r\nHost: z\r\nUpgrade: H2C\r\n"
		  "Connection: Upgrade\r\nHTTP2-Settings: AAA\r\n\r\n",
		    "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "GET http://a/ HTTP/1.1\r\nHost: z\r\nUpgrade: websocket\r\n"
		  "\r\n",
		    "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "GET http://a/ HTTP/1.0\r\nUpgrade: websocket\r\n"
		  "Connection: Upgrade\r\n\r\n",
		    "GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 culvert\r\n\r\n" },
		{ "GET http://u:p@a/\xc3\xa4 \t|\"{^\\%20?\xff#f HTTP/1.1\r\n"
		  "\r\n",
		    "GET /%C3%A4%20%09|\"{^\\%20?%FF HTTP/1.1\r\nHost: a\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "GET http://a:/ HTTP/1.0\nA: b\n\n",
		    "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nVia: 1.0 culvert\r\n"
		    "\r\n" },
		{ "POST http://a/ HTTP/1.1\r\nHost: z\r\nContent-Length: 3\r\n"
		  "Connection: Host, Content-Length, Via\r\n\r\n",
		    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
	};
	static char out[REWRITE_HEAD_MAX + 1];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		request(rows[i].in, out, REWRITE_HEAD_MAX);
		assert_string_equal(out, rows[i].out);
	}
}

static void
requests_not_for_the_origin(void **state)
{
	static char out[REWRITE_HEAD_MAX + 1];

	(void)state;
	assert_int_equal(request("OPTIONS http://a/ HTTP/1.1\r\nHost: z\r\n"
				 "Max-Forwards: 0\r\n\r\n",
			     out, REWRITE_HEAD_MAX),
	    -ELOOP);
	assert_int_equal(request("TRACE http://a/ HTTP/1.1\r\nHost: z\r\n"
				 "Max-Forwards: 00\r\n\r\n",
			     out, REWRITE_HEAD_MAX),
	    -ELOOP);
	assert_int_equal(request("GET / HTTP/1.1\r\nHost: z\r\n\r\n", out,
			     REWRITE_HEAD_MAX),
	    -EINVAL);
	assert_int_equal(request("CONNECT a:1 HTTP/1.1\r\nHost: z\r\n\r\n", out,
			     REWRITE_HEAD_MAX),
	    -EINVAL);
}

static void
buffer_is_respected(void **state)
{
	static const char text[] =
	    "GET http://a/ HTTP/1.1\r\nHost: z\r\nA: b\r\n\r\n";
	char out[128];
	int len = request(text, out, sizeof(out) - 1);

	(void)state;
	assert_true(len > 0);
	for (int size = 0; size < len; size++) {
		memset(out, '?', sizeof(out));
		assert_int_equal(request(text, out, (size_t)size), -ENOSPC);
		for (size_t i = (size_t)size; i < sizeof(out); i++)
			assert_int_equal(out[i], '?');
	}
	assert_int_equal(request(text, out, (size_t)len), len);
}

/* The head that grows most: every field gains, and the host is the longest. */
static void
largest_head_fits(void **state)
{
	static char text[HTTP1_HEAD_MAX + 1], out[REWRITE_HEAD_MAX + 1];
	char *p = text;
	size_t fill;

	(void)state;
	p = stpcpy(p, "GET http://");
	memset(p, 'a', TARGET_HOST_MAX);
	p = stpcpy(p + TARGET_HOST_MAX, ":65535 HTTP/1.0\r\n");
	for (int i = 1; i < HTTP1_FIELDS_MAX - 1; i++)
		p = stpcpy(p, "A:b\r\n");
	p = stpcpy(p, "Content-Length:0\r\nX:");
	fill = (size_t)(text + HTTP1_HEAD_MAX - 4 - p);
	memset(p, 'x', fill);
	stpcpy(p + fill, "\r\n\r\n");
	assert_int_equal(strlen(text), HTTP1_HEAD_MAX);
	assert_true(request(text, out, REWRITE_HEAD_MAX) > HTTP1_HEAD_MAX);

	p = stpcpy(text, "GET http://a/");
	fill = HTTP1_HEAD_MAX - strlen(text) - strlen(" HTTP/1.1\n\n");
	memset(p, 0xff, fill);
	strcpy(p + fill, " HTTP/1.1\n\n");
	assert_true(request(text, out, REWRITE_HEAD_MAX) > 2 * HTTP1_HEAD_MAX);
}

/* Rewrites a response into a static buffer, as a string. */
static const char *
response(const char *text, bool head_request, int minor, bool keep_alive)
{
	static char out[REWRITE_HEAD_MAX + 1];
	static struct http1_response resp;
	size_t scanned = 0;
	int len;

	assert_int_equal(http1_response_parse(&resp, text, strlen(text),
			     &scanned, head_request),
	    strlen(text));
	len = rewrite_response(&resp, minor, keep_alive, true, out,
	    REWRITE_HEAD_MAX);
	assert_true(len > 0);
	out[len] = '\0';
	assert_int_equal(rewrite_response(&resp, minor, keep_alive, true, out,
			     (size_t)len - 1),
	    -ENOSPC);
	return out;
}

static void
largest_response_fits(void **state)
{
	static char text[HTTP1_RESPONSE_HEAD_MAX + 1];
	char *p = stpcpy(text, "HTTP/1.0\nTransfer-Encoding:a\n");
	size_t fill;

	(void)state;
	for (int i = 2; i < HTTP1_FIELDS_MAX; i++)
		p = stpcpy(p, "A:b\n");
	p = stpcpy(p, "X:");
	fill = (size_t)(text + HTTP1_RESPONSE_HEAD_MAX - 2 - p);
	memset(p, 'x', fill);
	strcpy(p + fill, "\n\n");
	assert_true(strlen(response(text, false, 1, false)) >
	    HTTP1_RESPONSE_HEAD_MAX + 2 * (HTTP1_FIELDS_MAX - 1));
}

static void
responses_rewritten(void **state)
{
	static const struct {
		const char *in;
		bool head_request;
		int client_minor;
		bool keep_alive;
		const char *out;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length:5\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 5\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.0 200\r\nContent-Length: 0\r\nX : y\r\n\r\n", false,
		    0, false,
		    "HTTP/1.1 200 \r\nX: y\r\nContent-Length: 0\r\n"
		    "Connection: close\r\nVia: 1.0 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
		  "Trailer: X\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 200 OK\r\nTrailer: X\r\n"
		    "Transfer-Encoding: chunked\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
		  "Trailer: X\r\n\r\n",
		    false, 0, false,
		    "HTTP/1.1 200 OK\r\nConnection: close\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nTrailer: X\r\n\r\n", false, 1, true,
		    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		    false, 0, true,
		    "HTTP/1.1 200 OK\r\nConnection: close\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nConnection: close, X\r\nX: y\r\n"
		  "Keep-Alive: z\r\nProxy-Authenticate: Basic\r\n"
		  "Set-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
		    "Transfer-Encoding: chunked\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\n\r\n", false, 0, true,
		    "HTTP/1.1 200 OK\r\nConnection: close\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", true, 1, true,
		    "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true,
		    1, true, "HTTP/1.1 200 OK\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n"
		  "ETag: \"e\"\r\n\r\n",
		    false, 1, false,
		    "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n"
		    "Content-Length: 7\r\nConnection: close\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
		  "Connection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 101 Switching Protocols\r\n"
		    "Sec-WebSocket-Accept: a\r\n"
		    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n"
		  "Connection: Upgrade\r\nContent-Length: 0\r\n\r\n",
		    false, 1, false,
		    "HTTP/1.1 426 Upgrade Required\r\n"
		    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
		    "Content-Length: 0\r\nConnection: close\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"Negotiate\""
		  "\r\nWWW-Authenticate: Digest x=y, NTLM\r\n"
		  "Content-Length: 0\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"Negotiate\""
		    "\r\nWWW-Authenticate: Digest x=y, NTLM\r\n"
		    "Proxy-Support: Session-Based-Authentication\r\n"
		    "Connection: Proxy-Support\r\nContent-Length: 0\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"Negotiate\""
		  "\r\nContent-Length: 0\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"Negotiate\""
		    "\r\nContent-Length: 0\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 204 No Content\r\nUpgrade: h2c\r\n"
		  "Content-Length: 0\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 204 No Content\r\nVia: 1.1 culvert\r\n\r\n" },
		/*
		 * responses of sites, in the form that all clients read alike
		 */
		{ "\xef\xbb\xbfhttp/1.1 200\nX : y\nno colon\nA: b\x01"
		  "c\rd\n"
		  "B: e \r\n\t f\n \r\n: g\n\n",
		    false, 1, true,
		    "HTTP/1.1 200 \r\nX: y\r\nA: b c d\r\nB: e  f\r\n"
		    "Transfer-Encoding: chunked\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 404 No\x1bt\r\rFound\r\nContent-Length: 5\r\n"
		  "Content-Length: 5\r\nB: b\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 404 No t Found\r\nB: b\r\nContent-Length: 5\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: "
		  "identity\r\nTransfer-Encoding: chunked\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, x y, chunked\r\n"
		  "\r\n",
		    false, 1, true,
		    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n"
		  "Content-Length: 5\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n"
		  "Content-Length: 5\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		    false, 1, true,
		    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n"
		    "Connection: close\r\nVia: 1.0 culvert\r\n\r\n" },
		{ "ICY 200 OK\r\nicy-metaint: 16000\r\n\r\n", false, 0, true,
		    "HTTP/1.1 200 OK\r\nicy-metaint: 16000\r\n"
		    "Connection: close\r\nVia: 1.0 culvert\r\n\r\n" },
		{ "HTTP/1.1 20 OK\r\nContent-Length: -1\r\n\r\n", true, 1, true,
		    "HTTP/1.1 020 OK\r\nVia: 1.1 culvert\r\n\r\n" },
		{ "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", false, 1,
		    false,
		    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"
		    "Via: 1.1 culvert\r\n\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_string_equal(response(rows[i].in, rows[i].head_request,
					rows[i].client_minor,
					rows[i].keep_alive),
		    rows[i].out);
}

static void
framing_follows_the_client(void **state)
{
	static const enum http1_framing rows[][3] = {
		/* the origin's, to HTTP/1.0, to HTTP/1.1 */
		{ HTTP1_NONE, HTTP1_NONE, HTTP1_NONE },
		{ HTTP1_LENGTH, HTTP1_LENGTH, HTTP1_LENGTH },
		{ HTTP1_CHUNKED, HTTP1_UNTIL_CLOSE, HTTP1_CHUNKED },
		{ HTTP1_UNTIL_CLOSE, HTTP1_UNTIL_CLOSE, HTTP1_CHUNKED },
	};
	static struct http1_response resp = { .head.response = true };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		resp.head.framing = rows[i][0];
		assert_int_equal(rewrite_framing(&resp, 0), rows[i][1]);
		assert_int_equal(rewrite_framing(&resp, 1), rows[i][2]);
	}
}

/* nginx compresses nothing for a request that has a Via. */
static void
via_is_optional(void **state)
{
	static const char get[] = "GET http://a/ HTTP/1.1\r\nHost: a\r\n"
				  "Accept-Encoding: gzip\r\n\r\n";
	static const char ok[] = "HTTP/1.1 204 No Content\r\n\r\n";
	static struct http1_request req;
	static struct http1_response resp;
	char out[REWRITE_HEAD_MAX + 1];
	size_t scanned = 0;
	int len;

	(void)state;
	assert_true(http1_request_parse(&req, get, strlen(get), &scanned) > 0);
	len = rewrite_request(&req, false, out, sizeof(out) - 1);
	assert_true(len > 0);
	out[len] = '\0';
	assert_string_equal(out,
	    "GET / HTTP/1.1\r\nHost: a\r\n"
	    "Accept-Encoding: gzip\r\n\r\n");
	scanned = 0;
	assert_true(http1_response_parse(&resp, ok, strlen(ok), &scanned,
			false) > 0);
	len = rewrite_response(&resp, 1, true, false, out, sizeof(out) - 1);
	assert_true(len > 0);
	out[len] = '\0';
	assert_string_equal(out, ok);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_rewritten),
		cmocka_unit_test(requests_not_for_the_origin),
		cmocka_unit_test(buffer_is_respected),
		cmocka_unit_test(largest_head_fits),
		cmocka_unit_test(largest_response_fits),
		cmocka_unit_test(responses_rewritten),
		cmocka_unit_test(framing_follows_the_client),
		cmocka_unit_test(via_is_optional),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
