/*
 * How the end of the body is determined (RFC 9112, section 6.3): strictly in a
 * request, and as curl and Chromium do it in a response.
 */
#include <errno.h>

#include "proxy/http1/http1_head.h"

/* Digits of a Content-Length: every number of 18 digits is below 2^63. */
#define LENGTH_DIGITS_MAX 18

static int
parse_length(struct http1_head *head, struct slice digits)
{
	if (!slice_number(digits, LENGTH_DIGITS_MAX, &head->length))
		return http1_head_fail(head, -EBADMSG,
		    "Content-Length is not a number of bytes");
	head->has_length = true;
	head->framing = HTTP1_LENGTH;
	return 0;
}

/*
 * Reads all Transfer-Encoding fields as one list.  chunked counts how often it
 * occurs, and last_chunked is whether it is the last member.
 */
static int
parse_codings(struct http1_head *head)
{
	unsigned chunked = 0, others = 0;
	bool last_chunked = false;

	for (size_t i = 0; i < head->nfields; i++) {
		struct slice rest = head->fields[i].value, coding;

		if (!slice_is_nocase(head->fields[i].name, "transfer-encoding"))
			continue;
		do {
			coding = slice_trim(slice_cut(&rest, ','));
			last_chunked = slice_is_nocase(coding, "chunked");
			chunked += last_chunked;
			others += !last_chunked;
		} while (rest.p != NULL);
	}
	if (!last_chunked || chunked != 1)
		return http1_head_fail(head, -EBADMSG,
		    "Transfer-Encoding does not end in one chunked");
	if (others > 0)
		return http1_head_fail(head, -EPROTONOSUPPORT,
		    "a transfer coding other than chunked");
	head->framing = HTTP1_CHUNKED;
	return 0;
}

static int
frame_request(struct http1_head *head)
{
	const struct http1_field *length = http1_find(head, "content-length");

	if (http1_head_count(head, "content-length") > 1)
		return http1_head_fail(head, -EBADMSG,
		    "two Content-Length fields");
	if (http1_head_count(head, "transfer-encoding") == 0)
		return length == NULL ? 0 : parse_length(head, length->value);
	if (length != NULL)
		return http1_head_fail(head, -EBADMSG,
		    "Content-Length and Transfer-Encoding together");
	if (head->minor == 0)
		return http1_head_fail(head, -EBADMSG,
		    "Transfer-Encoding in HTTP/1.0");
	return parse_codings(head);
}

/* Reads any number of digits, as long as the value is below 2^63. */
static bool
read_length(struct slice s, uint64_t *value)
{
	while (s.len > 1 && s.p[0] == '0') {
		s.p++;
		s.len--;
	}
	*value = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' ||
		    *value > (INT64_MAX - 9) / 10)
			return false;
		*value = *value * 10 + (uint64_t)(s.p[i] - '0');
	}
	return s.len > 0;
}

/* Adds a Content-Length of a response; equal ones may be repeated. */
static int
add_length(struct http1_head *head, uint64_t value)
{
	if (head->has_length && head->length != value)
		return http1_head_fail(head, -EBADMSG,
		    "two Content-Lengths, %ju and %ju", (uintmax_t)head->length,
		    (uintmax_t)value);
	head->odd |= head->has_length;
	head->has_length = true;
	head->length = value;
	head->framing = HTTP1_LENGTH;
	return 0;
}

static int
parse_lengths(struct http1_head *head)
{
	bool no_number = false;
	uint64_t value;
	int err = 0;

	for (size_t i = 0; i < head->nfields && err == 0; i++) {
		struct slice rest = head->fields[i].value, member;

		if (!slice_is_nocase(head->fields[i].name, "content-length"))
			continue;
		do {
			member = http1_head_trim(slice_cut(&rest, ','));
			if (read_length(member, &value))
				err = add_length(head, value);
			else if (member.len > 0)
				no_number = true;
			else
				head->odd = true; /* an empty member */
		} while (rest.p != NULL && err == 0);
	}
	if (err == 0 && no_number && head->has_length)
		err = http1_head_fail(head, -EBADMSG,
		    "two Content-Lengths, "
		    "%ju and one that is no number",
		    (uintmax_t)head->length);
	head->odd |= no_number;
	return err;
}

static int
frame_response(struct http1_head *head)
{
	const struct http1_field *f = http1_find(head, "transfer-encoding");
	bool chunked = http1_lists(head, "transfer-encoding", SLICE("chunked"));

	if (f == NULL)
		return parse_lengths(head);
	if (!chunked || !slice_is_nocase(f->value, "chunked") ||
	    head->minor == 0 ||
	    http1_head_count(head, "transfer-encoding") > 1 ||
	    http1_head_count(head, "content-length") > 0)
		head->odd = true;
	if (!chunked)
		return parse_lengths(head);
	if (head->minor > 0)
		head->framing = HTTP1_CHUNKED;
	return 0;
}

int
http1_framing_parse(struct http1_head *head)
{
	return head->response ? frame_response(head) : frame_request(head);
}
