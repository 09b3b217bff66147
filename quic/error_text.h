/*
 * What an error of the libraries means: whose fault it is, the code for the
 * peer, and a sentence. Pure.
 */
#ifndef CULVERT_QUIC_ERROR_TEXT_H
#define CULVERT_QUIC_ERROR_TEXT_H

#include "quic/quic.h"

/*
 * Describes what ngtcp2 returned, which is not 0, and what nghttp3 did if that
 * made one of ngtcp2's callbacks fail, or 0: in all fields but `streams`. The
 * cause is QUIC_PROTOCOL_ERROR, the peer's fault, or QUIC_INTERNAL_ERROR, ours.
 */
void error_text_describe(struct quic_close *, int quic_error, int h3_error);

#endif
