/*
 * Turns an error of the libraries into the error code for the peer, and a
 * sentence that says whose fault it is. Pure.
 */
#ifndef CULVERT_QUIC_ERROR_TEXT_H
#define CULVERT_QUIC_ERROR_TEXT_H

#include "quic/quic.h"

/*
 * Describes the error of ngtcp2, which is not 0, and that of nghttp3, if it
 * made a callback of ngtcp2 fail, or 0. Sets all fields but `streams`. The
 * cause is QUIC_PROTOCOL_ERROR, the peer's fault, or QUIC_INTERNAL_ERROR, ours.
 */
void error_text_describe(struct quic_close *, int quic_error, int h3_error);

#endif
