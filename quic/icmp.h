/*
 * Recognises quotes of our large packets in ICMP "too big" messages (RFC 792,
 * RFC 4443). Only a node that has seen a packet knows its encrypted bytes, so a
 * quote of them is not forged (RFC 8899 §4.6.1). Pure: stores, compares and
 * counts.
 */
#ifndef CULVERT_QUIC_ICMP_H
#define CULVERT_QUIC_ICMP_H

#include <stddef.h>
#include <stdint.h>

/* Packets that are stored, the latest ones: 0.75 MB in flight. */
#define ICMP_QUOTES_MAX 512

/*
 * The bytes of a datagram that are compared: after the longest header (RFC 9000
 * §17.3.1), so that all are encrypted, and too many to guess. A quote must
 * contain them; routers quote 500 bytes or more as a rule (RFC 1812 §4.3.2.3).
 */
#define ICMP_QUOTE_AT 32 /* bytes */
#define ICMP_QUOTE_LEN 8 /* bytes */

/*
 * Quotes that are looked up in a second, so that a flood of them costs little.
 */
#define ICMP_QUOTES_PER_S 10

struct icmp_quotes {
	/* Quotes; ignored: forged, or too many. */
	uint64_t seen, valid, ignored;

	uint64_t tags[ICMP_QUOTES_MAX];	 /* private, as is all below */
	uint16_t sizes[ICMP_QUOTES_MAX]; /* bytes of UDP payload; 0: none yet */
	size_t next;
	uint64_t second;    /* of the clock of `now` */
	unsigned looked_up; /* quotes looked up in that second */
};

/*
 * An encrypted datagram of `size` bytes, at least ICMP_QUOTE_AT +
 * ICMP_QUOTE_LEN, is sent.
 */
void
icmp_quotes_note(struct icmp_quotes *, const uint8_t *datagram, size_t size);

/*
 * The size of the datagram that begins with those bytes. 0: it is not ours, or
 * was sent too long ago, or there are too many quotes. The caller counts quotes
 * that are of use in `valid`, and the rest in `ignored`.
 */
size_t icmp_quotes_find(struct icmp_quotes *, const uint8_t *quote, size_t len,
    uint64_t now);

#endif
