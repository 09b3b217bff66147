#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/http1/http1.h"
#include "proxy/http1/http1_head.h"

#define HTTP_PORT 80

/* Digits of a status that are used: that many do not overflow an int. */
#define STATUS_DIGITS_MAX 9

/* The status of a response that has none, as in Chromium. */
#define STATUS_ASSUMED 200

static int
bad(struct http1_head *head, const char *why)
{
	return http1_head_fail(head, -EBADMSG, "%s", why);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Removes the first word and the whitespace around it from *rest. */
static struct slice
cut_word(struct slice *rest)
{
	struct slice word;

	*rest = slice_trim(*rest);
	word = (struct slice){ rest->p, 0 };
	while (word.len < rest->len && !is_space(rest->p[word.len]))
		word.len++;
	rest->p += word.len;
	rest->len -= word.len;
	*rest = slice_trim(*rest);
	return word;
}

/* ---- Requests: the target ---- */

/* Returns the length of a host, brackets included: a port may follow. */
static size_t
host_length(struct slice authority)
{
	const char *end = authority.len > 0 && authority.p[0] == '['
	    ? memchr(authority.p, ']', authority.len)
	    : memchr(authority.p, ':', authority.len);

	if (end == NULL)
		return authority.len;
	return (size_t)(end - authority.p) + (*end == ']');
}

static bool
is_in_name(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z') || (c != '\0' && strchr("-_.", c) != NULL);
}

static int
hex_digit(char c)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;
	int value = at != NULL ? (int)(at - digits) : -1;

	return value < 0x10 ? value : value - 6;
}

/* The character that %XX at the beginning of the text stands for, or -1. */
static int
percent_decoded(struct slice s)
{
	int high = s.len > 2 && s.p[0] == '%' ? hex_digit(s.p[1]) : -1;
	int low = high >= 0 ? hex_digit(s.p[2]) : -1;

	return low >= 0 ? high << 4 | low : -1;
}

/*
 * Decodes the letters, digits, '-', '_' and '.' of a host that are encoded
 * without need (RFC 3986, section 3.2.2). Returns the text as it is if there
 * are none, or if it does not fit into a buffer as long as the longest host
 * with its port.
 */
static struct slice
decode_host(struct slice authority, char buf[TARGET_STRLEN])
{
	size_t len = 0;
	int c;

	if (authority.len == 0 || authority.p[0] == '[' ||
	    memchr(authority.p, '%', authority.len) == NULL)
		return authority;
	for (struct slice s = authority; s.len > 0; s.p++, s.len--) {
		if (len == TARGET_STRLEN)
			return authority;
		c = percent_decoded(s);
		if (c >= 0 && is_in_name((char)c)) {
			buf[len++] = (char)c;
			s.p += 2;
			s.len -= 2;
		} else
			buf[len++] = s.p[0];
	}
	return (struct slice){ buf, len };
}

/* Explains an invalid byte of a host, and how to encode the name. */
static int
bad_host_octet(struct http1_head *head, struct slice host, size_t at)
{
	unsigned char octet = (unsigned char)host.p[at];

	if (octet >= 0x80)
		return http1_head_fail(head, -EBADMSG,
		    "the host of the request target is not ASCII: byte 0x%02x "
		    "at offset %zu of it; write the name as xn--...",
		    octet, at);
	if (octet == '%')
		return http1_head_fail(head, -EBADMSG,
		    "the host of the request target has a %% at offset %zu of "
		    "it: there can be no zone, and percent-encoding only of "
		    "letters, digits, '-', '_' and '.'",
		    at);
	return http1_head_fail(head, -EBADMSG,
	    "the host of the request target is not a name: byte 0x%02x at "
	    "offset %zu of it",
	    octet, at);
}

/* Explains why target_parse() rejected a host and a port. */
static int
bad_authority(struct http1_head *head, struct slice s)
{
	struct slice host = { s.p, host_length(s) };
	bool bracketed = s.len > 0 && s.p[0] == '[';
	struct target target;

	if (!bracketed && host.len < s.len &&
	    memchr(s.p + host.len + 1, ':', s.len - host.len - 1) != NULL)
		return bad(head,
		    "an IPv6 address in the request target must "
		    "be in brackets, as in [::1]");
	if (host.len == 0)
		return bad(head, "the request target has no host");
	for (size_t i = 0; i < host.len; i++)
		if (!is_in_name(host.p[i]) &&
		    (!bracketed || host.p[i] == '%' ||
			(unsigned char)host.p[i] >= 0x80))
			return bad_host_octet(head, host, i);
	if (target_parse(&target, host.p, host.len, HTTP_PORT) == 0)
		return bad(head,
		    "the port of the request target is not a "
		    "number from 1 to 65535");
	if (bracketed)
		return bad(head,
		    "the brackets in the request target hold no "
		    "IP address");
	return http1_head_fail(head, -EBADMSG,
	    "the host of the request target is longer than %d bytes",
	    TARGET_HOST_MAX);
}

/*
 * Drops user information, which a client should send as Authorization and the
 * origin must never receive.  To browsers a backslash in it would end the host.
 */
static int
drop_userinfo(struct http1_head *head, struct slice *authority)
{
	const char *at = memrchr(authority->p, '@', authority->len);
	size_t len = at != NULL ? (size_t)(at + 1 - authority->p) : 0;

	if (memchr(authority->p, '\\', len) != NULL)
		return bad(head,
		    "a backslash in the user information of the "
		    "request target");
	authority->p += len;
	authority->len -= len;
	return 0;
}

/*
 * Returns the length of the scheme of a URI, or an error.  The opening
 * handshake of WebSocket is an HTTP request (RFC 6455, section 1.3), for which
 * some libraries use the scheme "ws".
 */
static int
scheme_length(struct http1_head *head, struct slice target)
{
	static const char *const plain[] = { "http://", "ws://" };
	static const char *const secure[] = { "https://", "wss://" };

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (slice_begins_nocase(target, plain[i]))
			return (int)strlen(plain[i]);
	for (size_t i = 0; i < sizeof(secure) / sizeof(secure[0]); i++)
		if (slice_begins_nocase(target, secure[i]))
			return http1_head_fail(head, -EBADMSG,
			    "this proxy serves %s sites only by CONNECT, not "
			    "by an absolute URI",
			    i == 0 ? "https" : "wss");
	return bad(head,
	    "the request target is neither a path nor an http "
	    "URI");
}

static int
parse_absolute(struct http1_request *req, struct slice target)
{
	char buf[TARGET_STRLEN];
	struct slice authority;
	size_t len = 0;
	int err, scheme;

	if ((scheme = scheme_length(&req->head, target)) < 0)
		return scheme;
	authority.p = target.p + scheme;
	authority.len = target.len - (size_t)scheme;
	while (len < authority.len && authority.p[len] != '/' &&
	    authority.p[len] != '?')
		len++;
	req->path.p = authority.p + len;
	req->path.len = authority.len - len;
	authority.len = len;
	err = drop_userinfo(&req->head, &authority);
	if (err != 0)
		return err;
	if (authority.len > 0 && authority.p[authority.len - 1] == ':')
		authority.len--; /* an empty port means the default */
	authority = decode_host(authority, buf);
	if (target_parse(&req->authority, authority.p, authority.len,
		HTTP_PORT) != 0)
		return bad_authority(&req->head, authority);
	req->form = HTTP1_ABSOLUTE;
	return 0;
}

/* A request to the proxy itself: its name is in the Host field. */
static int
parse_own(struct http1_request *req, enum http1_form form, struct slice target)
{
	const struct http1_field *host = http1_find(&req->head, "host");

	if (host == NULL && req->head.minor > 0)
		return bad(&req->head, "Host is missing");
	req->form = form;
	req->path = target;
	req->authority = (struct target){ .port = 0 };
	if (host != NULL && host->value.len > 0 &&
	    target_parse(&req->authority, host->value.p, host->value.len,
		HTTP_PORT) != 0)
		return bad(&req->head, "Host is not a host and port");
	return 0;
}

static int
parse_connect(struct http1_request *req, struct slice target)
{
	char buf[TARGET_STRLEN];
	int err;

	req->form = HTTP1_AUTHORITY;
	req->path = (struct slice){ target.p + target.len, 0 };
	if ((err = drop_userinfo(&req->head, &target)) != 0)
		return err;
	target = decode_host(target, buf);
	if (target_parse(&req->authority, target.p, target.len, 0) != 0) {
		if (host_length(target) < target.len &&
		    memchr(target.p, '/', target.len) == NULL)
			return bad_authority(&req->head, target);
		return bad(&req->head,
		    "CONNECT takes a host and a port, as in name:443");
	}
	if (req->head.framing == HTTP1_CHUNKED || req->head.length > 0)
		return bad(&req->head, "CONNECT has no body");
	return 0;
}

/* Fragments are never sent to a server (RFC 9110, section 7.1). */
static int
parse_target(struct http1_request *req, struct slice target)
{
	const char *fragment = memchr(target.p, '#', target.len);

	if (http1_head_count(&req->head, "host") > 1)
		return bad(&req->head, "two Host fields");
	if (slice_is_nocase(req->method, "CONNECT"))
		return parse_connect(req, target);
	if (fragment != NULL)
		target.len = (size_t)(fragment - target.p);
	if (target.len > 0 && target.p[0] == '/')
		return parse_own(req, HTTP1_ORIGIN, target);
	if (slice_is(target, "*") && slice_is(req->method, "OPTIONS"))
		return parse_own(req, HTTP1_ASTERISK, target);
	return parse_absolute(req, target);
}

/* ---- Requests ---- */

static int
parse_version(struct http1_head *head, struct slice s)
{
	if (s.len != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !is_digit(s.p[5]) ||
	    s.p[6] != '.' || !is_digit(s.p[7]))
		return bad(head,
		    "the request line does not end in an HTTP "
		    "version such as HTTP/1.1");
	if (s.p[5] != '1')
		return http1_head_fail(head, -ENOTSUP,
		    "this proxy serves only HTTP/1.0 and HTTP/1.1");
	head->minor = s.p[7] - '0';
	return 0;
}

/*
 * The first word is the method, the last one the version.  All between them is
 * the target, in which some clients leave whitespace.
 */
static int
parse_request_line(struct http1_request *req, struct slice line,
    struct slice *target)
{
	size_t len;

	req->method = cut_word(&line);
	if (!slice_is_token(req->method))
		return bad(&req->head,
		    "the request line does not begin with a method");
	for (len = line.len; len > 0 && !is_space(line.p[len - 1]); len--)
		continue;
	*target = slice_trim((struct slice){ line.p, len });
	if (target->len == 0)
		return bad(&req->head,
		    "the request line is not a method, a "
		    "target and an HTTP version");
	return parse_version(&req->head,
	    (struct slice){ line.p + len, line.len - len });
}

static void
parse_intentions(struct http1_request *req)
{
	bool current = req->head.minor > 0;

	req->head.keep_alive = current &&
	    !http1_lists(&req->head, "connection", SLICE("close"));
	req->expect_continue = current &&
	    http1_lists(&req->head, "expect", SLICE("100-continue"));
	req->upgrade = http1_find(&req->head, "upgrade") != NULL;
}

int
http1_request_parse(struct http1_request *req, const char *buf, size_t len,
    size_t *scanned)
{
	struct slice rest, line, target;
	int err, headlen;
	size_t start;

	http1_head_begin(&req->head, false);
	headlen = http1_head_scan(&req->head, buf, len, scanned, &start);
	if (headlen <= 0)
		return headlen;
	rest = (struct slice){ buf + start, (size_t)headlen - start };
	line = http1_head_line(&req->head, &rest);
	err = parse_request_line(req, line, &target);
	if (err == 0)
		err = http1_head_parse(&req->head, rest);
	if (err == 0)
		err = parse_target(req, target);
	if (err != 0)
		return err;
	parse_intentions(req);
	return headlen;
}

/* ---- Responses ---- */

/*
 * The minor version of "HTTP/1.1".  Anything that is less, or not a version,
 * counts as 1.0; anything above, even HTTP/2, as 1.1, whose syntax it has.
 */
static int
response_minor(struct slice version)
{
	const char *dot = memchr(version.p, '.', version.len);
	size_t after = dot != NULL ? (size_t)(dot + 1 - version.p) : 0;

	if (!slice_begins_nocase(version, "http/") || version.len < 6 ||
	    !is_digit(version.p[5]))
		return 0;
	if (version.p[5] > '1')
		return 1;
	if (version.p[5] < '1' || after == 0 || after == version.len ||
	    !is_digit(version.p[after]))
		return 0;
	return version.p[after] - '0';
}

/* The status may have any number of digits; without digits it is missing. */
static struct slice
parse_status(struct http1_response *resp, struct slice s)
{
	size_t i;

	resp->status = 0;
	for (i = 0; i < s.len && is_digit(s.p[i]); i++)
		if (i < STATUS_DIGITS_MAX)
			resp->status = resp->status * 10 + (s.p[i] - '0');
	if (i == 0)
		resp->status = STATUS_ASSUMED;
	if (i != 3)
		resp->head.odd = true;
	return slice_trim((struct slice){ s.p + i, i > 0 ? s.len - i : 0 });
}

static void
parse_status_line(struct http1_response *resp, struct slice line)
{
	struct slice version = cut_word(&line);

	resp->head.minor = response_minor(version);
	if (line.len == 0)
		line = SLICE("200 OK");
	resp->reason = parse_status(resp, line);
}

/* Adjusts framing and connection to the status and the request. */
static void
finish_response(struct http1_response *resp, bool head_request)
{
	struct http1_head *head = &resp->head;

	/* Some recipients may expect the body that such a 204 announces. */
	if (resp->status == 204 &&
	    (head->framing == HTTP1_CHUNKED || head->length > 0))
		head->odd = true;
	if (head_request || resp->status / 100 == 1 || resp->status == 204 ||
	    resp->status == 304)
		head->framing = HTTP1_NONE;
	else if (head->framing == HTTP1_NONE)
		head->framing = HTTP1_UNTIL_CLOSE;

	head->keep_alive = head->minor > 0 ||
	    http1_lists(head, "connection", SLICE("keep-alive"));
	if (http1_lists(head, "connection", SLICE("close")) || head->odd ||
	    head->framing == HTTP1_UNTIL_CLOSE)
		head->keep_alive = false;
}

bool
http1_response_begins(const char *buf, size_t len)
{
	struct slice name = SLICE("http"), s = { buf, len };

	if (len < name.len)
		name.len = len;
	s.len = name.len;
	return slice_equal_nocase(s, name);
}

int
http1_response_parse(struct http1_response *resp, const char *buf, size_t len,
    size_t *scanned, bool head_request)
{
	struct http1_head *head = &resp->head;
	struct slice rest;
	int err, headlen;
	size_t start;

	http1_head_begin(head, true);
	headlen = http1_head_scan(head, buf, len, scanned, &start);
	if (headlen <= 0)
		return headlen;
	head->odd = start > 0;
	rest = (struct slice){ buf + start, (size_t)headlen - start };
	parse_status_line(resp, http1_head_line(head, &rest));
	err = http1_head_parse(head, rest);
	if (err != 0)
		return err;
	finish_response(resp, head_request);
	return headlen;
}

int
http1_error_status(int error)
{
	switch (error) {
	case -EBADMSG:
		return 400;
	case -EMSGSIZE:
		return 431;
	case -EPROTONOSUPPORT:
		return 501;
	case -ENOTSUP:
		return 505;
	default:
		return 500;
	}
}

const char *
http1_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 100, "Continue" },
		{ 200, "OK" },
		{ 204, "No Content" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 407, "Proxy Authentication Required" },
		{ 408, "Request Timeout" },
		{ 413, "Content Too Large" },
		{ 417, "Expectation Failed" },
		{ 421, "Misdirected Request" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "";
}

size_t
http1_own_response(char *out, size_t size, int status, const char *type,
    size_t len, const char *fields)
{
	int n = snprintf(out, size,
	    "HTTP/1.1 %d %s\r\n"
	    "Content-Type: %s\r\n"
	    "Content-Length: %zu\r\n"
	    "Cache-Control: no-store\r\n"
	    "%s"
	    "Connection: close\r\n"
	    "\r\n",
	    status, http1_reason(status), type, len, fields);

	return (size_t)n < size ? (size_t)n : size - 1;
}
