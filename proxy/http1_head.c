/*
 * A head is read in two passes.  The first, http1_head_scan, looks at each
 * octet once however the head arrives, refuses the ones that no head may have
 * (bare CR, bare LF, controls) and finds the empty line.  The second runs only
 * over a whole head and takes it apart line by line, so that the outcome
 * cannot depend on how the bytes were split.
 */

#include <errno.h>
#include <string.h>

#include "proxy/http1_head.h"

/* Digits of a Content-Length: all numbers of 18 digits are below 2^63. */
#define LENGTH_DIGITS_MAX 18

static int
fail(struct http1_head *head, int error, const char *why)
{
	head->why = why;
	return error;
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

static bool
is_control(char c)
{
	return (c >= '\0' && c < ' ' && c != '\t') || c == 0x7f;
}

int
http1_head_scan(struct http1_head *head, const char *buf, size_t len,
    size_t *scanned)
{
	size_t end = len < HTTP1_HEAD_MAX ? len : HTTP1_HEAD_MAX;
	size_t i;

	for (i = *scanned; i < end; i++) {
		bool after_cr = i > 0 && buf[i - 1] == '\r';
		char c = buf[i];

		if (c == '\n' && !after_cr)
			return fail(head, -EBADMSG, "a bare LF in the head");
		if (c != '\n' && after_cr)
			return fail(head, -EBADMSG, "a bare CR in the head");
		if (c == '\n' && i >= 3 && buf[i - 2] == '\n')
			return (int)i + 1;
		if (is_control(c) && c != '\r' && c != '\n')
			return fail(head, -EBADMSG,
			    "a control character in the head");
	}
	*scanned = i;
	if (len >= HTTP1_HEAD_MAX)
		return fail(head, -EMSGSIZE, "the head is too large");
	return 0;
}

struct span
http1_head_line(struct span *rest)
{
	struct span line = span_cut(rest, '\r');

	rest->p++;
	rest->len--;
	return line;
}

int
http1_head_version(struct http1_head *head, struct span s)
{
	if (s.len != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !is_digit(s.p[5]) ||
	    s.p[6] != '.' || !is_digit(s.p[7]))
		return fail(head, -EBADMSG, "the HTTP version is malformed");
	if (s.p[5] != '1')
		return fail(head, -ENOTSUP,
		    "only HTTP/1.0 and HTTP/1.1 are spoken here");
	head->minor = s.p[7] - '0';
	return 0;
}

/*
 * A space before the colon makes a request two requests to some recipients; a
 * response is to be freed of it (RFC 9112, section 5.1).
 */
static int
parse_field(struct http1_head *head, struct span line, bool response)
{
	struct http1_field *f = &head->fields[head->nfields];

	if (is_space(line.p[0]))
		return fail(head, -EBADMSG, "a folded field line");
	if (head->nfields == HTTP1_FIELDS_MAX)
		return fail(head, -EMSGSIZE, "too many field lines");
	f->name = span_cut(&line, ':');
	if (line.p == NULL)
		return fail(head, -EBADMSG, "a field line without a colon");
	if (response)
		f->name = span_trim(f->name);
	if (!span_is_token(f->name))
		return fail(head, -EBADMSG,
		    "the name of a field is not a token");
	f->value = span_trim(line);
	head->nfields++;
	return 0;
}

static int
parse_fields(struct http1_head *head, struct span rest, bool response)
{
	struct span line;
	int err;

	head->nfields = 0;
	while ((line = http1_head_line(&rest)).len > 0) {
		err = parse_field(head, line, response);
		if (err != 0)
			return err;
	}
	return 0;
}

static int
parse_length(struct http1_head *head, struct span digits)
{
	if (!span_number(digits, LENGTH_DIGITS_MAX, &head->length))
		return fail(head, -EBADMSG,
		    "Content-Length is not a number of bytes");
	head->framing = HTTP1_LENGTH;
	return 0;
}

/*
 * Goes over all Transfer-Encoding fields as one list.  chunked counts how often
 * it was named, and last_chunked is whether it came last.
 */
static int
parse_codings(struct http1_head *head)
{
	unsigned chunked = 0, others = 0;
	bool last_chunked = false;

	for (size_t i = 0; i < head->nfields; i++) {
		struct span rest = head->fields[i].value, coding;

		if (!span_is_nocase(head->fields[i].name,
			"transfer-encoding"))
			continue;
		do {
			coding = span_trim(span_cut(&rest, ','));
			last_chunked = span_is_nocase(coding, "chunked");
			chunked += last_chunked;
			others += !last_chunked;
		} while (rest.p != NULL);
	}
	if (!last_chunked || chunked != 1)
		return fail(head, -EBADMSG,
		    "Transfer-Encoding does not end in one chunked");
	if (others > 0)
		return fail(head, -EPROTONOSUPPORT,
		    "a transfer coding other than chunked");
	head->framing = HTTP1_CHUNKED;
	return 0;
}

size_t
http1_head_count(const struct http1_head *head, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < head->nfields; i++)
		n += span_is_nocase(head->fields[i].name, name);
	return n;
}

/* Sets framing and length from the fields alone (RFC 9112, section 6). */
static int
parse_framing(struct http1_head *head)
{
	const struct http1_field *length = http1_find(head, "content-length");

	head->framing = HTTP1_NONE;
	head->length = 0;
	if (http1_head_count(head, "content-length") > 1)
		return fail(head, -EBADMSG, "two Content-Length fields");
	if (http1_head_count(head, "transfer-encoding") == 0)
		return length == NULL ? 0 : parse_length(head, length->value);
	if (length != NULL)
		return fail(head, -EBADMSG,
		    "Content-Length and Transfer-Encoding together");
	if (head->minor == 0)
		return fail(head, -EBADMSG, "Transfer-Encoding in HTTP/1.0");
	return parse_codings(head);
}

/*
 * All fields are held against this list when a head is forwarded, which takes
 * the product of the two sizes.
 */
static int
check_connection(struct http1_head *head)
{
	size_t len = 0;

	for (size_t i = 0; i < head->nfields; i++)
		if (span_is_nocase(head->fields[i].name, "connection"))
			len += head->fields[i].value.len;
	if (len > HTTP1_CONNECTION_MAX)
		return fail(head, -EMSGSIZE, "Connection is too long");
	return 0;
}

int
http1_head_parse(struct http1_head *head, struct span rest, bool response)
{
	int err;

	err = parse_fields(head, rest, response);
	if (err == 0)
		err = check_connection(head);
	if (err == 0)
		err = parse_framing(head);
	return err;
}

const struct http1_field *
http1_find(const struct http1_head *head, const char *name)
{
	for (size_t i = 0; i < head->nfields; i++)
		if (span_is_nocase(head->fields[i].name, name))
			return &head->fields[i];
	return NULL;
}

static bool
list_has(struct span list, struct span token)
{
	struct span member;

	do {
		member = span_trim(span_cut(&list, ','));
		if (span_equal_nocase(member, token))
			return true;
	} while (list.p != NULL);
	return false;
}

bool
http1_lists(const struct http1_head *head, const char *name,
    struct span token)
{
	for (size_t i = 0; i < head->nfields; i++)
		if (span_is_nocase(head->fields[i].name, name) &&
		    list_has(head->fields[i].value, token))
			return true;
	return false;
}
