#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/http1/chunked.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A row's octets and their number, NULs included. */
#define OCTETS(literal) (const uint8_t *)literal, sizeof(literal) - 1

/* The content decoded so far, as a string. */
struct body {
	struct chunked decoder;
	char content[64];
	size_t used; /* octets of the coded body that were consumed */
};

static int
feed(struct body *body, const uint8_t *in, size_t len)
{
	const uint8_t *data;
	size_t consumed, datalen;
	int rc = 0;

	while (rc == 0 && len > 0) {
		rc = chunked_feed(&body->decoder, in, len, &consumed, &data,
		    &datalen);
		assert_true(data >= in && data + datalen <= in + consumed);
		strncat(body->content, (const char *)data, datalen);
		body->used += consumed;
		in += consumed;
		len -= consumed;
	}
	return rc;
}

/* Decodes in pieces: first octets, then one at a time or all the rest. */
static int
decode(struct body *body, bool response, const uint8_t *in, size_t len,
    size_t first, size_t next)
{
	int rc = 0;

	*body = (struct body){ .used = 0 };
	chunked_init(&body->decoder, response);
	for (size_t n = first; rc == 0 && len > 0; n = next) {
		if (n > len)
			n = len;
		rc = feed(body, in, n);
		in += n;
		len -= n;
	}
	return rc;
}

struct good {
	const uint8_t *in;
	size_t len;
	const char *content;
	size_t left; /* octets after the end */
};

static void
check_good(const struct good *row, bool response, bool odd)
{
	struct body body;

	for (size_t at = 1; at <= row->len; at++) {
		assert_int_equal(decode(&body, response, row->in, row->len, at,
				     row->len),
		    1);
		assert_string_equal(body.content, row->content);
		assert_int_equal(row->len - body.used, row->left);
	}
	assert_int_equal(decode(&body, response, row->in, row->len, 1, 1), 1);
	assert_string_equal(body.content, row->content);
	assert_int_equal(row->len - body.used, row->left);
	assert_int_equal(body.decoder.odd, odd);
}

static void
bodies_decoded(void **state)
{
	static const struct good rows[] = {
		{ OCTETS("0\r\n\r\n"), "", 0 },
		{ OCTETS("0\r\n\r\nGET /"), "", 5 },
		{ OCTETS("5\r\nhello\r\n0\r\n\r\n"), "hello", 0 },
		{ OCTETS("1\r\na\r\n00002\r\nbc\r\n000\r\n\r\n\r\n"), "abc",
		    2 },
		{ OCTETS("a\r\n0123456789\r\nA\r\n\r\n3456\r\n9!\r\n0\r\n\r\n"),
		    "0123456789\r\n3456\r\n9!", 0 },
		{ OCTETS("2;a=b;c=\"d e\t\"\r\nhi\r\n0;x\r\n\r\n"), "hi", 0 },
		{ OCTETS("2\r\nhi\r\n0\r\nA: b\r\nC:\r\n\r\nnext"), "hi", 4 },
		{ OCTETS("0000000000000001\r\n;\r\n0\r\n\r\n"), ";", 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		check_good(&rows[i], false, false);
		check_good(&rows[i], true, false);
	}
}

/*
 * Bodies as sites send them; the connection is reused only if the lines are
 * valid.
 */
static void
responses_decoded(void **state)
{
	static const struct {
		struct good good;
		bool odd;
	} rows[] = {
		{ { OCTETS("2   \r\nhi\r\n0 \r\n\r\n"), "hi", 0 }, false },
		{ { OCTETS(" 2\t \r\nhi\r\n \t0\r\n\r\n"), "hi", 0 }, false },
		{ { OCTETS("2 ;a\r\nhi\r\n0 x=y\r\n\r\n"), "hi", 0 }, false },
		{ { OCTETS("2;\x01\0\x7f\r\nhi\r\n0\r\n\r\n"), "hi", 0 },
		    false },
		{ { OCTETS("00000000000000000002\r\nhi\r\n"
			   "00000000000000000000\r\n\r\n"),
		      "hi", 0 },
		    false },
		{ { OCTETS("2\nhi\n0\n\nx"), "hi", 1 }, true },
		{ { OCTETS("2;a\nhi\r\n0 \r\n\r\n"), "hi", 0 }, true },
		{ { OCTETS("2\r\nhi\n0\r\n\r\n"), "hi", 0 }, true },
		{ { OCTETS("2\r\nhi\r\n0\r\n\n"), "hi", 0 }, true },
		{ { OCTETS("2\r\nhi\r\n0\r\nA: b\n c\0\r\n\rx\r\n\r\n"), "hi",
		      0 },
		    true },
		{ { OCTETS("2\r\r\nhi\r\n0;\ra\r\n\r\n"), "hi", 0 }, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_good(&rows[i].good, true, rows[i].odd);
}

struct bad {
	const uint8_t *in;
	size_t len;
	size_t used; /* the last of them is the wrong one */
};

static void
check_bad(const struct bad *row, bool response)
{
	struct body body;

	for (size_t at = 1; at <= row->len; at++) {
		assert_int_equal(decode(&body, response, row->in, row->len, at,
				     row->len),
		    -EBADMSG);
		assert_int_equal(body.used, row->used);
	}
	assert_int_equal(decode(&body, response, row->in, row->len, 1, 1),
	    -EBADMSG);
	assert_int_equal(feed(&body, OCTETS("0\r\n\r\n")), -EBADMSG);
}

static void
bodies_refused(void **state)
{
	static const struct bad rows[] = {
		{ OCTETS("\r\n"), 1 },
		{ OCTETS(";a\r\n"), 1 },
		{ OCTETS(" 1\r\na"), 1 },
		{ OCTETS("1 \r\na"), 2 },
		{ OCTETS("1 ;a\r\na"), 2 },
		{ OCTETS("0x1\r\na"), 2 },
		{ OCTETS("+1\r\na"), 1 },
		{ OCTETS("-1\r\na"), 1 },
		{ OCTETS("g\r\na"), 1 },
		{ OCTETS("1\na"), 2 },
		{ OCTETS("1\r\r\na"), 3 },
		{ OCTETS("1\ra"), 3 },
		{ OCTETS("1\r\nab"), 5 },
		{ OCTETS("1\r\na\n"), 5 },
		{ OCTETS("1\r\na\r0"), 6 },
		{ OCTETS("1\r\na\r\n\r\n"), 7 },
		{ OCTETS("1;a\nb\r\n"), 4 },
		{ OCTETS("1;a\0b\r\n"), 4 },
		{ OCTETS("1;a\rb\r\n"), 5 },
		{ OCTETS("0\r\n\n"), 4 },
		{ OCTETS("0\r\n\rA"), 5 },
		{ OCTETS("0\r\nA: b\n"), 8 },
		{ OCTETS("0\r\nA: b\rC"), 9 },
		{ OCTETS("0\r\nA: b\r\n c\r\n\r\n"), 10 },
		{ OCTETS("0\r\nA: \0b\r\n\r\n"), 7 },
		{ OCTETS("8000000000000000\r\n"), 16 },
		{ OCTETS("ffffffffffffffff\r\n"), 16 },
		{ OCTETS("00000000000000001\r\n"), 17 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_bad(&rows[i], false);
}

static void
responses_refused(void **state)
{
	static const struct bad rows[] = {
		{ OCTETS("\r\n"), 1 },
		{ OCTETS("\n"), 1 },
		{ OCTETS(";a\r\n"), 1 },
		{ OCTETS("  \r\n"), 3 },
		{ OCTETS("0x1\r\na"), 2 },
		{ OCTETS("+1\r\na"), 1 },
		{ OCTETS("-1\r\na"), 1 },
		{ OCTETS("g\r\na"), 1 },
		{ OCTETS("1\r\nab"), 5 },
		{ OCTETS("1\r\na\r0"), 6 },
		{ OCTETS("1\r\na\r\n\r\n"), 7 },
		{ OCTETS("8000000000000000\r\n"), 16 },
		{ OCTETS("08000000000000000\r\n"), 17 },
		{ OCTETS("10000000000000001\r\n"), 17 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_bad(&rows[i], true);
}

/* The result of a decoder in mid-body for n times octet. */
static int
feed_many(struct body *body, uint8_t octet, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = feed(body, &octet, 1);
	return rc;
}

static void
noise_is_bounded(void **state)
{
	struct body body = { .used = 0 };

	(void)state;
	chunked_init(&body.decoder, false);
	for (int i = 0; i < 2; i++) { /* the bound is that of each chunk */
		assert_int_equal(feed(&body, OCTETS("1;")), 0);
		assert_int_equal(feed_many(&body, 'x',
				     CHUNKED_EXTENSION_MAX - 1),
		    0);
		assert_int_equal(feed(&body, OCTETS("\r\na\r\n")), 0);
	}
	assert_int_equal(feed(&body, OCTETS("1;")), 0);
	assert_int_equal(feed_many(&body, 'x', CHUNKED_EXTENSION_MAX), 0);
	assert_int_equal(feed(&body, OCTETS("\r")), -EBADMSG);

	chunked_init(&body.decoder, false);
	assert_int_equal(feed(&body, OCTETS("0\r\nA:\r\n")), 0);
	assert_int_equal(feed_many(&body, 'x', CHUNKED_TRAILER_MAX - 6), 0);
	assert_int_equal(feed(&body, OCTETS("\r\n\r\n")), 1);

	chunked_init(&body.decoder, false);
	assert_int_equal(feed(&body, OCTETS("0\r\nA:\r\n")), 0);
	assert_int_equal(feed_many(&body, 'x', CHUNKED_TRAILER_MAX - 3),
	    -EBADMSG);
}

static void
noise_in_responses_is_bounded(void **state)
{
	static const uint8_t octets[] = { ' ', '0' };
	struct body body = { .used = 0 };

	(void)state;
	for (size_t i = 0; i < COUNT(octets); i++) {
		chunked_init(&body.decoder, true);
		assert_int_equal(feed_many(&body, octets[i],
				     CHUNKED_EXTENSION_MAX),
		    0);
		assert_int_equal(feed(&body, OCTETS("1\na\n")), 0);
		assert_int_equal(feed_many(&body, octets[i],
				     CHUNKED_EXTENSION_MAX + 1),
		    -EBADMSG);
	}
	chunked_init(&body.decoder, true);
	assert_int_equal(feed(&body, OCTETS("0\r\n")), 0);
	assert_int_equal(feed_many(&body, '\r', CHUNKED_TRAILER_MAX + 2),
	    -EBADMSG);
}

static void
refusals_say_why(void **state)
{
	static const struct {
		const uint8_t *in;
		size_t len;
		const char *why;
	} rows[] = {
		{ OCTETS("\r"), "byte 0x0d where the size of a chunk must be" },
		{ OCTETS("1g"), "byte 0x67 in the size of a chunk" },
		{ OCTETS("1;\x01"), "byte 0x01 in the extension of a chunk" },
		{ OCTETS("1\ra"),
		    "byte 0x61 after the CR behind the size of a chunk" },
		{ OCTETS("1\r\nab"), "byte 0x62 where CRLF must end a chunk" },
		{ OCTETS("1\r\na\rb"), "byte 0x62 where LF must end a chunk" },
		{ OCTETS("0\r\n "), "byte 0x20 at the start of a trailer" },
		{ OCTETS("0\r\nA\n"), "byte 0x0a in a trailer field" },
		{ OCTETS("0\r\nA\rB"), "byte 0x42 after the CR of a trailer" },
		{ OCTETS("0\r\n\rB"), "byte 0x42 after the last CR" },
		{ OCTETS("ffffffffffffffff"),
		    "the size of a chunk is too large" },
	};
	struct body body;
	char why[CHUNKED_WHY_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(decode(&body, false, rows[i].in, rows[i].len,
				     1, 1),
		    -EBADMSG);
		chunked_why(&body.decoder, why);
		assert_non_null(strstr(why, rows[i].why));
	}
}

static void
largest_chunk_is_counted(void **state)
{
	struct body body;
	const uint8_t head[] = "7fffffffffffffff\r\n";

	(void)state;
	assert_int_equal(decode(&body, false, head, sizeof(head) - 1, 1, 1), 0);
	assert_int_equal(body.decoder.left, INT64_MAX);
}

static void
what_is_formatted_decodes(void **state)
{
	static const size_t sizes[] = { 1, 15, 16, 65536, SIZE_MAX >> 1 };
	struct body body;
	char head[CHUNKED_HEAD_MAX];
	size_t len;

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		len = chunked_format(head, sizes[i]);
		assert_true(len <= sizeof(head));
		assert_int_equal(decode(&body, false, (uint8_t *)head, len, len,
				     1),
		    0);
		assert_int_equal(body.decoder.left, sizes[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies_decoded),
		cmocka_unit_test(responses_decoded),
		cmocka_unit_test(bodies_refused),
		cmocka_unit_test(responses_refused),
		cmocka_unit_test(noise_is_bounded),
		cmocka_unit_test(noise_in_responses_is_bounded),
		cmocka_unit_test(refusals_say_why),
		cmocka_unit_test(largest_chunk_is_counted),
		cmocka_unit_test(what_is_formatted_decodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
