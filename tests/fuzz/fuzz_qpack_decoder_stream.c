/*
 * The decoder stream of a peer. However its bytes are cut, the same ones are
 * skipped: the front of it, up to the first that is no cancellation.
 */
#include "quic/qpack_decoder_stream.h"
#include "tests/fuzz/fuzz.h"

#define STREAM 11 /* an ID */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qpack_decoder_stream whole = { .open = true, .id = STREAM };
	struct qpack_decoder_stream cut = whole, other = { 0 };
	size_t at = fuzz_split(data, size), n, first;

	n = qpack_decoder_stream_skip(&whole, STREAM, 1, data, size);
	must(n <= size);
	must(n == size || (data[n] & 0xc0) != 0x40);
	first = qpack_decoder_stream_skip(&cut, STREAM, 1, data, at);
	must(first == (n < at ? n : at));
	if (first == at)
		must(first +
			qpack_decoder_stream_skip(&cut, STREAM, 1 + at,
			    data + at, size - at) ==
		    n);
	must(qpack_decoder_stream_skip(&other, STREAM, 0, data, size) == 0);
	must(other.open == (size > 0 && data[0] == 0x03));
	return 0;
}
