/*
 * A peer may cancel any number of streams in a row, when thousands of tunnels
 * end at once. nghttp3 treats 4 KiB of this between two heads of its own as an
 * attack, and ends the connection. So cancellations are read and dropped here:
 * they only release entries of a dynamic table, and there is none.
 */
#include "quic/qpack_decoder_stream.h"

#define STREAM_TYPE_DECODER 0x03 /* RFC 9204 §4.2 */

#define INSTRUCTION_MASK 0xc0
#define STREAM_CANCELLATION 0x40 /* 01 and a 6-bit prefix integer */
#define PREFIX_MAX 0x3f		 /* the integer continues (RFC 7541 §5.1) */
#define CONTINUATION 0x80

size_t
qpack_decoder_stream_skip(struct qpack_decoder_stream *r, int64_t id,
    uint64_t offset, const uint8_t *data, size_t len)
{
	size_t n;

	if (!r->open && offset == 0 && len > 0 &&
	    data[0] == STREAM_TYPE_DECODER) {
		r->open = true;
		r->id = id;
		return 0; /* nghttp3 needs the type */
	}
	if (!r->open || r->id != id)
		return 0;
	for (n = 0; n < len; n++) {
		if (r->inside)
			r->inside = (data[n] & CONTINUATION) != 0;
		else if ((data[n] & INSTRUCTION_MASK) != STREAM_CANCELLATION)
			break;
		else
			r->inside = (data[n] & PREFIX_MAX) == PREFIX_MAX;
	}
	return n;
}
