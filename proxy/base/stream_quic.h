#ifndef CULVERT_PROXY_BASE_STREAM_QUIC_H
#define CULVERT_PROXY_BASE_STREAM_QUIC_H

#include "proxy/base/stream.h"
#include "quic/quic.h"

/*
 * A stream of a QUIC connection as a struct stream (stream.h), once its request
 * was answered with 2xx. Events fire from inside the receive and expire calls
 * of its connection.
 */

/*
 * Fills `s`, which is not open, and through which the caller owns `quic` from
 * now on. The events of `quic` stay as they are until stream_attach() takes
 * them over; if `quic` is aborted before, its owner must not use `s` any more.
 * No allocation, no error.
 */
void stream_quic_open(struct stream *s, struct quic_stream *quic);

/* The QUIC stream of an open stream that stream_quic_open() has filled. */
struct quic_stream *stream_quic(const struct stream *s);

#endif
