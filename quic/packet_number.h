/* Packet numbers as they are sent: the low bits alone (RFC 9000 §17.1). */
#ifndef CULVERT_QUIC_PACKET_NUMBER_H
#define CULVERT_QUIC_PACKET_NUMBER_H

#include <stdint.h>

/*
 * RFC 9000 §A.3: the number near `expected`, which is one above the largest that
 * was received, whose low `bits` bits are `truncated`. `bits` is below 64.
 */
uint64_t
packet_number_decode(uint64_t expected, uint64_t truncated, unsigned bits);

#endif
