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

/*
 * Packets that are stored, the latest ones: 0.75 MB in flight. There is memory
 * for a few at first.
 */
#define ICMP_QUOTES_MAX 512
#define ICMP_QUOTES_FIRST 16

/*
 * The bytes of a datagram that are compared: after the longest header (RFC 9000
 * §17.3.1), so that all are encrypted, and too many to guess. A quote must
 * contain them; routers quote 500 bytes or more as a rule (RFC 1812 §4.3.2.3).
 */
#define ICMP_QUOTE_AT 32 /* bytes */
#define ICMP_QUOTE_LEN 6 /* bytes */

/*
 * Quotes that are looked up in a second, so that a flood of them costs little.
 */
#define ICMP_QUOTES_PER_S 10

struct icmp_quotes {
	/* Quotes; ignored: forged, or too many. */
	uint64_t seen, valid, ignored;

	/* The owner's to free: encrypted bytes, and 16 bits of size. */
	uint64_t *packets;
	size_t room; /* packets; private, as is all below */
	size_t n, next;
	uint64_t second;    /* of the clock of `now` */
	unsigned looked_up; /* quotes looked up in that second */
};

/*
 * The bytes that `packets` is to have for the next one, by realloc(3) of it. 0:
 * it has them.
 */
size_t icmp_quotes_missing(const struct icmp_quotes *);

/* The memory is there; NULL and 0: it was freed, and packets are forgotten. */
void icmp_quotes_set(struct icmp_quotes *, uint64_t *packets, size_t bytes);

/*
 * Without any memory the packet is forgotten. An encrypted datagram of `size` bytes, at least ICMP_QUOTE_AT +
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
