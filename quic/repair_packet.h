/*
 * The two kinds of datagrams that repair.h adds to QUIC. Their first byte has
 * the fixed bit of QUIC (RFC 9000 §17.3) cleared, so another implementation
 * discards them, and is in a range that RFC 9443 leaves to nobody. An endpoint
 * that understands them does not send grease_quic_bit (RFC 9287), since its
 * peer might clear that bit then. Integers are big-endian.
 *
 *   repair packet                     repair request
 *   0   0x08                          0   0x09
 *   1   connection ID of the receiver, 8 bytes, in both
 *   9   number of the block's first   9   count of requests, 8 bytes:
 *       packet, its low 4 bytes           each is larger
 *   13  mask, 8 bytes: bit i is set   17  packets lost of 1,000, 2 bytes
 *       if packet first + i is in     19  MAC of what precedes it, 16 bytes
 *       the block; bit 0 is
 *   21  number of the symbol, and
 *       16 times how many there are
 *   22  the symbol (erasure.h) of the
 *       packets, each behind its length
 *       in 2 bytes
 */
#ifndef CULVERT_QUIC_REPAIR_PACKET_H
#define CULVERT_QUIC_REPAIR_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quic/erasure.h"

#define REPAIR_ID_LEN 8		 /* bytes of a connection ID */
#define REPAIR_HEADER_LEN 22	 /* bytes before the symbol */
#define REPAIR_LENGTH_LEN 2	 /* bytes before a packet in a symbol */
#define REPAIR_REQUEST_LEN 35	 /* bytes */
#define REPAIR_REQUEST_MAC_AT 19 /* bytes before the MAC */
#define REPAIR_MAC_LEN 16	 /* bytes */

/* A symbol's bytes: what an IP packet of 1500 bytes takes, a multiple of 8. */
#define REPAIR_SYMBOL_MAX 1448

/*
 * Packets of a block. With more, those behind a gap would wait longer, and a
 * symbol would cost its receiver more.
 */
#define REPAIR_PACKETS_MAX 32

/* In a request: too little has arrived to tell. */
#define REPAIR_UNKNOWN 0xffff

enum repair_type { REPAIR_PACKET = 0x08, REPAIR_REQUEST = 0x09 };

struct repair_packet {
	uint8_t id[REPAIR_ID_LEN];
	uint32_t first;	       /* low bits of a packet number */
	uint64_t mask;	       /* of at most REPAIR_PACKETS_MAX packets */
	unsigned number;       /* of the symbol: below `nsymbols` */
	unsigned nsymbols;     /* 1 to ERASURE_SYMBOLS_MAX */
	const uint8_t *symbol; /* in the datagram, or the caller's */
	size_t size;	       /* bytes of it: a multiple of 8, not 0 */
};

struct repair_request {
	uint8_t id[REPAIR_ID_LEN];
	uint64_t count;
	unsigned lost; /* of 1,000, or REPAIR_UNKNOWN */
	uint8_t mac[REPAIR_MAC_LEN];
};

/* Writes a datagram, REPAIR_HEADER_LEN + size bytes; returns its length. */
size_t repair_packet_write(const struct repair_packet *, uint8_t *to);

/* Reads one. False: it is none, and nothing in it is to be used. */
bool
repair_packet_read(struct repair_packet *, const uint8_t *data, size_t len);

/* The same for a request, of REPAIR_REQUEST_LEN bytes; the MAC is not checked. */
void repair_request_write(const struct repair_request *, uint8_t *to);
bool
repair_request_read(struct repair_request *, const uint8_t *data, size_t len);

#endif
