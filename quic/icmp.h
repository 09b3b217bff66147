/*
 * What of our large packets a router may quote back to us, when it says that
 * one was too big (RFC 792, RFC 4443): enough to tell a quote from a forgery,
 * since nobody who has not seen the packet knows how it was sealed (RFC 8899
 * §4.6.1). Pure: remembers, compares and counts.
 */
#ifndef CULVERT_QUIC_ICMP_H
#define CULVERT_QUIC_ICMP_H

#include <stddef.h>
#include <stdint.h>

/* Packets that are remembered, the last ones: 0.75 MB that are under way. */
#define ICMP_QUOTES_MAX 512

/*
 * The bytes of a datagram that are compared: beyond the longest header (RFC
 * 9000 §17.3.1), so that all are sealed, and as many as nobody guesses. A quote
 * must reach so far; routers quote 500 bytes or more as a rule (RFC 1812
 * §4.3.2.3).
 */
#define ICMP_QUOTE_AT 32 /* bytes */
#define ICMP_QUOTE_LEN 8 /* bytes */

/* Quotes looked up in a second, for all that a flood of them may cost. */
#define ICMP_QUOTES_PER_S 10

struct icmp_quotes {
	uint64_t seen, valid, ignored; /* quotes; ignored: forged, too many */

	uint64_t tags[ICMP_QUOTES_MAX]; /* private, as is all below */
	uint16_t sizes[ICMP_QUOTES_MAX]; /* bytes of UDP payload; 0: none yet */
	size_t next;
	uint64_t second; /* of the clock of `now` ... */
	unsigned looked_up; /* ... and what was looked up in it */
};

/* A sealed datagram of `size` bytes, ICMP_QUOTE_AT + ICMP_QUOTE_LEN or more,
 * leaves. */
void
icmp_quotes_note(struct icmp_quotes *, const uint8_t *datagram, size_t size);

/*
 * The size of the datagram that begins with those bytes, or 0: it is not ours,
 * or was too long ago, or too many were asked for. The caller counts what is
 * of use after all in `valid`, and the rest in `ignored`.
 */
size_t icmp_quotes_find(
    struct icmp_quotes *, const uint8_t *quote, size_t len, uint64_t now);

#endif
