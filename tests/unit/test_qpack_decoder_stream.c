#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "quic/qpack_decoder_stream.h"

/* The part of a peer's decoder stream (RFC 9204 §4.4) that is skipped. */

#define STREAM 10 /* an ID of the peer's */

static size_t
read_at(struct qpack_decoder_stream *r, uint64_t offset, const char *data,
    size_t len)
{
	return qpack_decoder_stream_skip(r, STREAM, offset,
	    (const uint8_t *)data, len);
}

static void
cancellations_are_skipped(void **state)
{
	static const struct {
		const char *data;
		size_t len, skipped;
	} rows[] = {
		{ "\x40", 1, 1 },
		{ "\x44\x48\x7e", 3, 3 },
		{ "\x7f\x80\x80\x01\x40", 5, 5 },
		{ "\x7f\x00\x40", 3, 3 },
		{ "\x00", 1, 0 }, /* Insert Count Increment */
		{ "\x84", 1, 0 }, /* Section Acknowledgment */
		{ "\x40\x84\x40", 3, 1 },
		{ "\x7f\xff\x01\x01", 4, 3 },
		{ "", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct qpack_decoder_stream r = { 0 };

		assert_int_equal(read_at(&r, 0, "\x03", 1), 0);
		assert_int_equal(read_at(&r, 1, rows[i].data, rows[i].len),
		    rows[i].skipped);
	}
}

static void
an_integer_goes_on_in_the_next_read(void **state)
{
	struct qpack_decoder_stream r = { 0 };

	(void)state;
	read_at(&r, 0, "\x03", 1);
	assert_int_equal(read_at(&r, 1, "\x7f", 1), 1);
	assert_int_equal(read_at(&r, 2, "\x80", 1), 1);
	assert_int_equal(read_at(&r, 3, "\x81\x01", 2), 2);
	assert_int_equal(read_at(&r, 5, "\x01", 1), 0);
}

static void
other_streams_are_not_touched(void **state)
{
	struct qpack_decoder_stream r = { 0 };

	(void)state;
	assert_int_equal(read_at(&r, 0, "\x00", 1), 0);
	assert_int_equal(read_at(&r, 1, "\x40", 1), 0);
	assert_int_equal(qpack_decoder_stream_skip(&r, STREAM + 4, 0,
			     (const uint8_t *)"\x03", 1),
	    0);
	assert_int_equal(read_at(&r, 1, "\x40", 1), 0);
	assert_int_equal(qpack_decoder_stream_skip(&r, STREAM + 4, 1,
			     (const uint8_t *)"\x40", 1),
	    1);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(cancellations_are_skipped),
		cmocka_unit_test(an_integer_goes_on_in_the_next_read),
		cmocka_unit_test(other_streams_are_not_touched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
