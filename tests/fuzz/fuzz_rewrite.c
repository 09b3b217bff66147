/*
 * A head that is accepted and rewritten, read by a second parser that is as
 * strict as RFC 9112 allows and shares no code with the first: it must find
 * one head, nothing after it, and the body where we expect it.
 *
 * The first octet of an input says what the rest is: bit 0 a response, bit 1
 * an answer to HEAD, bit 2 for a client of HTTP/1.1, bit 3 that its connection
 * stays, bit 4 with Via.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "proxy/local/http/rewrite.h"
#include "tests/fuzz/fuzz.h"

enum { RESPONSE = 1, HEAD = 2, CURRENT = 4, STAYS = 8, VIA = 16 };

/* The result of the second parser. */
struct reading {
	int minor;
	long status; /* of a response */
	unsigned hosts, lengths, codings;
	uint64_t length;
	bool chunked, close, upgrade;
};

static bool
is_tchar(char c)
{
	return c != '\0' &&
	    strchr("!#$%&'*+-.^_`|~0123456789"
		   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
		c) != NULL;
}

/* The length of the token at p, which must be one. */
static size_t
token(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && is_tchar(p[n]))
		n++;
	must(n > 0);
	return n;
}

static bool
same(const char *p, size_t len, const char *text)
{
	return len == strlen(text) && strncasecmp(p, text, len) == 0;
}

static void
read_status_line(struct reading *r, const char *p, const char *end)
{
	int digits = 0;

	must(end - p >= 13 && memcmp(p, "HTTP/1.", 7) == 0);
	must((p[7] == '0' || p[7] == '1') && p[8] == ' ');
	r->minor = p[7] - '0';
	for (p += 9; p < end && *p >= '0' && *p <= '9'; p++, digits++)
		r->status = r->status * 10 + (*p - '0');
	must(digits >= 3 && p < end && *p == ' ');
}

static void
read_request_line(struct reading *r, const char *p, const char *end)
{
	p += token(p, end);
	must(p < end && *p++ == ' ');
	must(p < end && (*p == '/' || *p == '*'));
	while (p<end && * p> ' ' && *p <= '~')
		must(*p++ != '#');
	must(end - p == 9 && memcmp(p, " HTTP/1.1", 9) == 0);
	r->minor = 1;
}

static void
read_length(struct reading *r, const char *p, const char *end)
{
	r->lengths++;
	must(p < end && end - p < 20);
	for (; p < end; p++) {
		must(*p >= '0' && *p <= '9');
		r->length = r->length * 10 + (uint64_t)(*p - '0');
	}
	must(r->length <= INT64_MAX);
}

/* A list of tokens, of which chunked must be the last, and only that. */
static void
read_codings(struct reading *r, const char *p, const char *end)
{
	size_t n;

	r->codings++;
	for (;;) {
		must(!r->chunked);
		n = token(p, end);
		r->chunked = same(p, n, "chunked");
		p += n;
		if (p == end)
			break;
		must(end - p > 2 && *p++ == ',' && *p++ == ' ');
	}
	must(r->chunked);
}

static void
read_field(struct reading *r, const char *p, const char *end)
{
	size_t n = token(p, end);
	const char *value = p + n + 2;

	must(value <= end && p[n] == ':' && p[n + 1] == ' ');
	if (same(p, n, "host"))
		r->hosts++;
	else if (same(p, n, "content-length"))
		read_length(r, value, end);
	else if (same(p, n, "transfer-encoding"))
		read_codings(r, value, end);
	else if (same(p, n, "connection")) {
		r->close |= same(value, (size_t)(end - value), "close");
		r->upgrade |= same(value, (size_t)(end - value), "upgrade");
		must(r->close || r->upgrade);
	}
}

/* Lines end in CRLF, and nothing else is CR, LF or another control. */
static const char *
line_end(const char *p, const char *end)
{
	while (p < end && *p != '\r') {
		must((unsigned char)*p >= ' ' || *p == '\t');
		must(*p != 0x7f);
		p++;
	}
	must(end - p >= 2 && p[1] == '\n');
	return p;
}

static void
read_head(struct reading *r, bool response, const char *p, size_t len)
{
	const char *end = p + len, *eol = line_end(p, end);

	memset(r, 0, sizeof(*r));
	(response ? read_status_line : read_request_line)(r, p, eol);
	for (p = eol + 2; (eol = line_end(p, end)) > p; p = eol + 2)
		read_field(r, p, eol);
	must(eol + 2 == end);
	must(r->lengths <= 1 && r->codings <= 1 && r->lengths + r->codings < 2);
}

static void
check_framing(const struct reading *r, enum http1_framing framing,
    uint64_t length)
{
	must((framing == HTTP1_CHUNKED) == (r->chunked && r->minor > 0));
	must(framing != HTTP1_LENGTH ||
	    (r->lengths == 1 && r->length == length));
	must(framing != HTTP1_UNTIL_CLOSE || (r->lengths == 0 && r->close));
}

static void
check_request(const char *text, size_t size, unsigned flags)
{
	static struct http1_request req;
	static char out[REWRITE_HEAD_MAX];
	size_t scanned = 0;
	struct reading r;
	int len;

	if (http1_request_parse(&req, text, size, &scanned) <= 0 ||
	    req.form != HTTP1_ABSOLUTE)
		return;
	len = rewrite_request(&req, (flags & VIA) != 0, out, sizeof(out));
	must(len > 0 || len == -ELOOP);
	if (len < 0)
		return;
	read_head(&r, false, out, (size_t)len);
	must(r.hosts == 1 && !r.close);
	must(r.upgrade == rewrite_upgrades(&req));
	must(req.head.framing != HTTP1_NONE || r.lengths + r.codings == 0);
	check_framing(&r, req.head.framing, req.head.length);
}

static void
check_response(const char *text, size_t size, unsigned flags)
{
	static struct http1_response resp;
	static char out[REWRITE_HEAD_MAX];
	int len, minor = (flags & CURRENT) != 0;
	bool stays = (flags & STAYS) != 0;
	enum http1_framing framing;
	size_t scanned = 0;
	struct reading r;

	if (http1_response_parse(&resp, text, size, &scanned,
		(flags & HEAD) != 0) <= 0)
		return;
	len = rewrite_response(&resp, minor, stays, (flags & VIA) != 0, out,
	    sizeof(out));
	must(len > 0);
	read_head(&r, true, out, (size_t)len);
	framing = rewrite_framing(&resp, minor);
	must(r.status == resp.status);
	must(framing != HTTP1_NONE || r.codings == 0);
	check_framing(&r, framing, resp.head.length);
	must(resp.status / 100 == 1
		? !r.close && r.lengths + r.codings == 0
		: r.close == (!stays || framing == HTTP1_UNTIL_CLOSE));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;

	if (size == 0)
		return 0;
	if (data[0] & RESPONSE)
		check_response(text + 1, size - 1, data[0]);
	else
		check_request(text + 1, size - 1, data[0]);
	return 0;
}
