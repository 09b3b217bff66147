/* Packet numbers as they are sent: the low bits alone (RFC 9000 §17.1). */
#ifndef CULVERT_QUIC_PACKET_NUMBER_H
#define CULVERT_QUIC_PACKET_NUMBER_H

#include <stddef.h>
#include <stdint.h>

/* The first byte of a 1-RTT packet (RFC 9000 §17.3.1). */
#define SHORT_HEADER(first) (((first)&0x80) == 0)

/*
 * RFC 9000 §A.3: the number near `expected`, which is one above the largest that
 * was received, whose low `bits` bits are `truncated`. `bits` is below 64.
 */
uint64_t
packet_number_decode(uint64_t expected, uint64_t truncated, unsigned bits);

/*
 * The same for the number at the end of a short header without protection, of
 * `len` bytes (RFC 9000 §17.3.1).
 */
uint64_t
packet_number_read(const uint8_t *header, size_t len, uint64_t expected);

#endif
