/*
 * A head is read in two passes.  The first, http1_head_scan, examines each
 * octet once however the head arrives, rejects invalid octets and finds the
 * empty line.  The second parses a complete head line by line, so that the
 * outcome cannot depend on how the bytes were split.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proxy/http1/http1_head.h"

/* Bytes of empty lines before a request: some clients send one too many. */
#define EMPTY_MAX 16

/* Bytes before the status line that Chromium skips, and "HTTP". */
#define SLOP_MAX 4
#define STATUS_BEGIN 4

/* Characters of a field name that an error shows. */
#define NAME_SHOWN 32

int
http1_head_fail(struct http1_head *head, int error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(head->why, sizeof(head->why), format, ap);
	va_end(ap);
	return error;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_line_end(char c)
{
	return c == '\r' || c == '\n';
}

static bool
is_control(char c)
{
	return (c >= '\0' && c < ' ' && c != '\t') || c == 0x7f;
}

/* ---- The first pass ---- */

/* The part of a head that contains an octet, and its offset there. */
struct place {
	const char *part;
	struct slice name; /* follows `part` in the text, or empty */
	size_t offset;
};

static void
place_in_request_line(struct place *place, struct slice before)
{
	static const char *const parts[] = { "the method", "the request target",
		"the HTTP version" };
	size_t part = 0, from = 0;

	for (size_t i = 0; i < before.len && part < 2; i++)
		if (before.p[i] == ' ') {
			part++;
			from = i + 1;
		}
	place->part = parts[part];
	place->offset = before.len - from;
}

static void
place_in_field(struct place *place, struct slice before)
{
	size_t len = before.len;
	struct slice name = slice_cut(&before, ':');

	if (before.p == NULL || !slice_is_token(name)) {
		place->part = "a field line";
		place->offset = len;
		return;
	}
	while (before.len > 0 && is_space(before.p[0])) {
		before.p++;
		before.len--;
	}
	place->part = "the field ";
	place->name = name;
	place->offset = before.len;
}

static int
fail_octet(struct http1_head *head, const char *buf, size_t start, size_t at,
    const char *what)
{
	struct place place = { .name = { "", 0 } };
	size_t line = at;

	while (line > start && buf[line - 1] != '\n')
		line--;
	if (line > start)
		place_in_field(&place, (struct slice){ buf + line, at - line });
	else if (head->response)
		place = (struct place){ "the status line", { "", 0 },
			at - start };
	else
		place_in_request_line(&place,
		    (struct slice){ buf + start, at - start });
	return http1_head_fail(head, -EBADMSG,
	    "%s: byte 0x%02x at offset %zu of %s%.*s", what,
	    (unsigned char)buf[at], place.offset, place.part,
	    (int)(place.name.len < NAME_SHOWN ? place.name.len : NAME_SHOWN),
	    place.name.p);
}

/*
 * An octet that is not text.  In responses, and in the fields of requests, only
 * NUL is an error, as in curl and Chromium.  A CR within a line of a request
 * allows request smuggling.
 */
static int
check_octet(struct http1_head *head, const char *buf, size_t start, size_t at,
    bool in_fields)
{
	bool after_cr = at > start && buf[at - 1] == '\r';

	if (buf[at] == '\0' && (head->response || in_fields))
		return fail_octet(head, buf, start, at, "a NUL in the head");
	if (head->response)
		return 0;
	if (after_cr && buf[at] != '\n')
		return fail_octet(head, buf, start, at - 1,
		    "a CR that no LF follows");
	if (!in_fields && is_control(buf[at]) && !is_line_end(buf[at]))
		return fail_octet(head, buf, start, at,
		    "a control character in the head");
	return 0;
}

static bool
line_is_empty(const char *buf, size_t start, size_t lf)
{
	while (lf > start && buf[lf - 1] == '\r')
		lf--;
	return lf > start && buf[lf - 1] == '\n';
}

static int
find_request(struct http1_head *head, const char *buf, size_t len,
    size_t *start)
{
	size_t i = 0;

	while (i < len && is_line_end(buf[i]))
		if (++i > EMPTY_MAX)
			return http1_head_fail(head, -EBADMSG,
			    "empty lines in place of a request");
	*start = i;
	return i < len;
}

/* The error shows the first bytes, from which the protocol may be guessed. */
static int
fail_beginning(struct http1_head *head, const char *buf, size_t len)
{
	char text[SLOP_MAX + STATUS_BEGIN + 1];
	size_t i;

	for (i = 0; i < len && i < sizeof(text) - 1; i++)
		text[i] = buf[i] < ' ' || buf[i] > '~' ? '.' : buf[i];
	text[i] = '\0';
	return http1_head_fail(head, -EBADMSG,
	    "no status line of HTTP/1: the first bytes are \"%s\"", text);
}

static int
find_response(struct http1_head *head, const char *buf, size_t len,
    size_t *start)
{
	struct slice icy = { buf, STATUS_BEGIN };

	for (size_t i = 0; i <= SLOP_MAX && i + STATUS_BEGIN <= len; i++)
		if (slice_begins_nocase((struct slice){ buf + i, STATUS_BEGIN },
			"http")) {
			*start = i;
			return 1;
		}
	*start = 0;
	if (len >= STATUS_BEGIN && slice_is_nocase(icy, "icy "))
		return 1;
	return len < SLOP_MAX + STATUS_BEGIN ? 0
					     : fail_beginning(head, buf, len);
}

int
http1_head_scan(struct http1_head *head, const char *buf, size_t len,
    size_t *scanned, size_t *start)
{
	size_t max = head->response ? HTTP1_RESPONSE_HEAD_MAX : HTTP1_HEAD_MAX;
	size_t i, end = len < max ? len : max;
	bool in_fields;
	int rv;

	rv = (head->response ? find_response : find_request)(head, buf, end,
	    start);
	if (rv <= 0)
		return rv;
	i = *scanned > *start ? *scanned : *start;
	in_fields = memchr(buf + *start, '\n', i - *start) != NULL;
	for (; i < end; i++) {
		rv = check_octet(head, buf, *start, i, in_fields);
		if (rv < 0)
			return rv;
		in_fields |= buf[i] == '\n';
		if (buf[i] == '\n' && line_is_empty(buf, *start, i))
			return (int)i + 1;
	}
	*scanned = i;
	if (len >= max)
		return http1_head_fail(head, -EMSGSIZE,
		    "the head is longer than %zu bytes", max);
	return 0;
}

/* ---- The second pass: lines ---- */

void
http1_head_begin(struct http1_head *head, bool response)
{
	head->response = response;
	head->odd = false;
	head->nfields = head->noptions = 0;
	head->why[0] = '\0';
}

struct slice
http1_head_line(struct http1_head *head, struct slice *rest)
{
	struct slice line = slice_cut(rest, '\n');
	size_t len = line.len;

	while (line.len > 0 && line.p[line.len - 1] == '\r')
		line.len--;
	if (len - line.len != 1)
		head->odd = true;
	return line;
}

struct slice
http1_head_trim(struct slice s)
{
	while (s.len > 0 && (is_space(s.p[0]) || is_line_end(s.p[0]))) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 &&
	    (is_space(s.p[s.len - 1]) || is_line_end(s.p[s.len - 1])))
		s.len--;
	return s;
}

static int
add_field(struct http1_head *head, struct slice name, struct slice value)
{
	if (head->nfields == HTTP1_FIELDS_MAX)
		return http1_head_fail(head, -EMSGSIZE,
		    "more than %d field lines", HTTP1_FIELDS_MAX);
	head->fields[head->nfields++] = (struct http1_field){ name,
		http1_head_trim(value) };
	return 0;
}

/*
 * A space before the colon is an error: it allows request smuggling (RFC 9112,
 * section 5.1).
 */
static int
parse_request_field(struct http1_head *head, struct slice line)
{
	struct slice name = slice_cut(&line, ':');
	size_t n = head->nfields + 1, at = 0;

	if (is_space(name.p[0]))
		return http1_head_fail(head, -EBADMSG,
		    "field line %zu is folded onto the one before", n);
	if (line.p == NULL)
		return http1_head_fail(head, -EBADMSG,
		    "field line %zu has no colon", n);
	if (name.len == 0)
		return http1_head_fail(head, -EBADMSG,
		    "field line %zu has no name", n);
	if (slice_is_token(name))
		return add_field(head, name, line);
	while (slice_is_token((struct slice){ name.p, at + 1 }))
		at++;
	return http1_head_fail(head, -EBADMSG,
	    "the name of a field is not a "
	    "token: byte 0x%02x at offset %zu of field line %zu",
	    (unsigned char)name.p[at], at, n);
}

/* In a response, skips invalid lines and ignores space before the colon. */
static int
parse_response_field(struct http1_head *head, struct slice line)
{
	struct slice sent = slice_cut(&line, ':'), name = slice_trim(sent);

	bool is_field = line.p != NULL && !is_space(sent.p[0]) &&
	    slice_is_token(name);

	if (!is_field || name.len != sent.len)
		head->odd = true;
	return is_field ? add_field(head, name, line) : 0;
}

/* Lines that begin with whitespace continue the value of the field. */
static struct slice
unfold(struct http1_head *head, struct slice line, struct slice *rest)
{
	struct slice next;

	if (is_space(line.p[0]) || memchr(line.p, ':', line.len) == NULL)
		return line;
	while (rest->len > 0 && is_space(rest->p[0])) {
		head->odd = true;
		next = http1_head_line(head, rest);
		line.len = (size_t)(next.p + next.len - line.p);
	}
	return line;
}

static int
parse_fields(struct http1_head *head, struct slice rest)
{
	struct slice line;
	int err;

	while ((line = http1_head_line(head, &rest)).len > 0) {
		err = head->response
		    ? parse_response_field(head, unfold(head, line, &rest))
		    : parse_request_field(head, line);
		if (err != 0)
			return err;
	}
	return 0;
}

int
http1_trailer_parse(struct http1_head *head, const char *buf, size_t len,
    bool response)
{
	http1_head_begin(head, response);
	return parse_fields(head, (struct slice){ buf, len });
}

/* ---- The second pass: options, framing ---- */

/* In a response, names beyond the limit are ignored. */
static int
add_option(struct http1_head *head, struct slice name)
{
	if (name.len == 0)
		return 0;
	if (head->noptions < HTTP1_OPTIONS_MAX)
		head->options[head->noptions++] = name;
	else if (!head->response)
		return http1_head_fail(head, -EMSGSIZE,
		    "Connection has more than %d names", HTTP1_OPTIONS_MAX);
	return 0;
}

static int
parse_options(struct http1_head *head)
{
	int err = 0;

	for (size_t i = 0; i < head->nfields && err == 0; i++) {
		struct slice rest = head->fields[i].value;

		if (!slice_is_nocase(head->fields[i].name, "connection"))
			continue;
		do {
			err = add_option(head,
			    http1_head_trim(slice_cut(&rest, ',')));
		} while (rest.p != NULL && err == 0);
	}
	return err;
}

/* With LF alone, recipients may disagree about the start of the body. */
static int
check_line_ends(struct http1_head *head)
{
	if (head->response || !head->odd || head->framing == HTTP1_NONE ||
	    (head->framing == HTTP1_LENGTH && head->length == 0))
		return 0;
	return http1_head_fail(head, -EBADMSG,
	    "LF without CR ends a line of a head that a body follows");
}

int
http1_head_parse(struct http1_head *head, struct slice rest)
{
	int err;

	head->framing = HTTP1_NONE;
	head->length = 0;
	head->has_length = false;
	err = parse_fields(head, rest);
	if (err == 0)
		err = parse_options(head);
	if (err == 0)
		err = http1_framing_parse(head);
	if (err == 0)
		err = check_line_ends(head);
	return err;
}

/* ---- Access to a head ---- */

size_t
http1_head_count(const struct http1_head *head, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < head->nfields; i++)
		n += slice_is_nocase(head->fields[i].name, name);
	return n;
}

const struct http1_field *
http1_find(const struct http1_head *head, const char *name)
{
	for (size_t i = 0; i < head->nfields; i++)
		if (slice_is_nocase(head->fields[i].name, name))
			return &head->fields[i];
	return NULL;
}

static bool
list_has(struct slice list, struct slice token)
{
	struct slice member;

	do {
		member = http1_head_trim(slice_cut(&list, ','));
		if (slice_equal_nocase(member, token))
			return true;
	} while (list.p != NULL);
	return false;
}

bool
http1_lists(const struct http1_head *head, const char *name, struct slice token)
{
	for (size_t i = 0; i < head->nfields; i++)
		if (slice_is_nocase(head->fields[i].name, name) &&
		    list_has(head->fields[i].value, token))
			return true;
	return false;
}

bool
http1_is_option(const struct http1_head *head, struct slice name)
{
	for (size_t i = 0; i < head->noptions; i++)
		if (slice_equal_nocase(head->options[i], name))
			return true;
	return false;
}
