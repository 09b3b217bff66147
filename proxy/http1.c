#include <errno.h>
#include <string.h>

#include "proxy/http1.h"
#include "proxy/http1_head.h"

#define HTTP_PORT 80
#define STATUS_DIGITS 3

#define SCHEME_HTTP "http://"
#define SCHEME_HTTPS "https://"

static int
bad(struct http1_head *head, const char *why)
{
	head->why = why;
	return -EBADMSG;
}

static int
check_host(struct http1_head *head)
{
	size_t hosts = http1_head_count(head, "host");

	if (hosts > 1)
		return bad(head, "two Host fields");
	if (hosts == 0 && head->minor > 0)
		return bad(head, "Host is missing");
	return 0;
}

static int
parse_absolute(struct http1_request *req, struct span target)
{
	struct span authority;
	size_t len = 0;

	if (span_begins_nocase(target, SCHEME_HTTPS))
		return bad(&req->head,
		    "https goes through CONNECT, not an absolute URI");
	if (!span_begins_nocase(target, SCHEME_HTTP))
		return bad(&req->head,
		    "the request target is neither a path nor an http URI");
	authority.p = target.p + strlen(SCHEME_HTTP);
	authority.len = target.len - strlen(SCHEME_HTTP);
	while (len < authority.len && authority.p[len] != '/' &&
	    authority.p[len] != '?')
		len++;
	req->path.p = authority.p + len;
	req->path.len = authority.len - len;
	authority.len = len;
	if (memchr(authority.p, '@', len) != NULL)
		return bad(&req->head,
		    "user information in the request target");
	if (target_parse(&req->authority, authority.p, len, HTTP_PORT) != 0)
		return bad(&req->head,
		    "the host or port of the request target is not valid");
	req->form = HTTP1_ABSOLUTE;
	return 0;
}

/* A request to us: the Host field says under which name. */
static int
parse_own(struct http1_request *req, enum http1_form form,
    struct span target)
{
	const struct http1_field *host = http1_find(&req->head, "host");

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
parse_connect(struct http1_request *req, struct span target)
{
	req->form = HTTP1_AUTHORITY;
	req->path = (struct span){ target.p + target.len, 0 };
	if (target_parse(&req->authority, target.p, target.len, 0) != 0)
		return bad(&req->head, "CONNECT takes a host and a port");
	if (req->head.framing == HTTP1_CHUNKED || req->head.length > 0)
		return bad(&req->head, "CONNECT has no body");
	return 0;
}

static int
parse_target(struct http1_request *req, struct span target)
{
	int err;

	for (size_t i = 0; i < target.len; i++)
		if (target.p[i] < '!' || target.p[i] > '~' ||
		    target.p[i] == '#')
			return bad(&req->head,
			    "a character that no request target may have");
	err = check_host(&req->head);
	if (err != 0)
		return err;
	if (span_is(req->method, "CONNECT"))
		return parse_connect(req, target);
	if (target.len > 0 && target.p[0] == '/')
		return parse_own(req, HTTP1_ORIGIN, target);
	if (span_is(target, "*") && span_is(req->method, "OPTIONS"))
		return parse_own(req, HTTP1_ASTERISK, target);
	return parse_absolute(req, target);
}

static int
parse_request_line(struct http1_request *req, struct span line,
    struct span *target)
{
	req->method = span_cut(&line, ' ');
	*target = span_cut(&line, ' ');
	if (line.p == NULL || !span_is_token(req->method) || target->len == 0)
		return bad(&req->head, "the request line is malformed");
	return http1_head_version(&req->head, line);
}

static void
parse_intentions(struct http1_request *req)
{
	bool current = req->head.minor > 0;

	req->head.keep_alive =
	    current && !http1_lists(&req->head, "connection", SPAN("close"));
	req->expect_continue =
	    current && http1_lists(&req->head, "expect", SPAN("100-continue"));
	req->upgrade = http1_find(&req->head, "upgrade") != NULL;
}

int
http1_request_parse(struct http1_request *req, const char *buf, size_t len,
    size_t *scanned)
{
	struct span rest, line, target;
	int err, headlen;

	req->head.why = NULL;
	headlen = http1_head_scan(&req->head, buf, len, scanned);
	if (headlen <= 0)
		return headlen;
	rest = (struct span){ buf, (size_t)headlen };
	line = http1_head_line(&rest);
	if (line.len == 0)
		line = http1_head_line(&rest);
	err = parse_request_line(req, line, &target);
	if (err == 0)
		err = http1_head_parse(&req->head, rest, false);
	if (err == 0)
		err = parse_target(req, target);
	if (err != 0)
		return err;
	parse_intentions(req);
	return headlen;
}

static int
parse_status_line(struct http1_response *resp, struct span line)
{
	struct span version = span_cut(&line, ' ');
	struct span code = span_cut(&line, ' ');
	uint64_t status;
	int err;

	err = http1_head_version(&resp->head, version);
	if (err != 0)
		return err;
	if (!span_number(code, STATUS_DIGITS, &status) || status < 100)
		return bad(&resp->head, "the status is malformed");
	resp->status = (int)status;
	resp->reason = line;
	if (line.p == NULL) /* some leave out the space with the reason */
		resp->reason.p = code.p + code.len;
	return 0;
}

/* What the status and the request say about framing and connection. */
static void
settle_response(struct http1_response *resp, bool head_request)
{
	struct http1_head *head = &resp->head;

	if (head_request || resp->status < 200 || resp->status == 204 ||
	    resp->status == 304)
		head->framing = HTTP1_NONE;
	else if (head->framing == HTTP1_NONE)
		head->framing = HTTP1_UNTIL_CLOSE;

	head->keep_alive = head->minor > 0 ||
	    http1_lists(head, "connection", SPAN("keep-alive"));
	if (http1_lists(head, "connection", SPAN("close")) ||
	    head->framing == HTTP1_UNTIL_CLOSE)
		head->keep_alive = false;
}

int
http1_response_parse(struct http1_response *resp, const char *buf, size_t len,
    size_t *scanned, bool head_request)
{
	struct http1_head *head = &resp->head;
	struct span rest;
	int err, headlen;

	head->why = NULL;
	headlen = http1_head_scan(head, buf, len, scanned);
	if (headlen <= 0)
		return headlen;
	rest = (struct span){ buf, (size_t)headlen };
	err = parse_status_line(resp, http1_head_line(&rest));
	if (err == 0)
		err = http1_head_parse(head, rest, true);
	if (err != 0)
		return err;
	settle_response(resp, head_request);
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
