/*
 * The peer's QPACK decoder stream (RFC 9204 §4.4). An encoder without a dynamic
 * table needs nothing of it.
 */
#ifndef CULVERT_QUIC_QPACK_DECODER_STREAM_H
#define CULVERT_QUIC_QPACK_DECODER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The state of the reader of one decoder stream. All zero at first. */
struct qpack_decoder_stream {
	bool open;   /* its type has arrived */
	bool inside; /* an instruction continues in the next byte */
	int64_t id;  /* of the stream, once open */
};

/*
 * Reads `len` bytes at `offset` of a unidirectional stream of the peer, in
 * order. Returns how many bytes at the front are Stream Cancellations (RFC 9204
 * §4.4.2) and may be skipped; the rest is for nghttp3. nghttp3 ends the
 * connection after any other instruction: without a dynamic table there is none
 * to send.
 */
size_t qpack_decoder_stream_skip(struct qpack_decoder_stream *, int64_t id,
    uint64_t offset, const uint8_t *data, size_t len);

#endif
