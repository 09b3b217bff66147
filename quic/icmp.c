#include "quic/icmp.h"

#include <endian.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

/* The size is in the lowest bits. */
#define SIZE_BITS 16
#define SIZE_MASK ((UINT64_C(1) << SIZE_BITS) - 1)

static uint64_t
tag_of(const uint8_t *datagram)
{
	uint64_t tag = 0;

	_Static_assert(sizeof(tag) - ICMP_QUOTE_LEN == SIZE_BITS / 8,
	    "a tag and a size are an integer");
	memcpy(&tag, datagram + ICMP_QUOTE_AT, ICMP_QUOTE_LEN);
	return be64toh(tag);
}

size_t
icmp_quotes_missing(const struct icmp_quotes *q)
{
	if (q->n < q->room || q->room == ICMP_QUOTES_MAX)
		return 0;
	return sizeof(*q->packets) *
	    (q->room == 0 ? ICMP_QUOTES_FIRST : 2 * q->room);
}

void
icmp_quotes_set(struct icmp_quotes *q, uint64_t *packets, size_t bytes)
{
	q->packets = packets;
	q->room = bytes / sizeof(*packets);
	if (q->room == 0)
		q->n = 0;
	q->next = q->n;
}

void
icmp_quotes_note(struct icmp_quotes *q, const uint8_t *datagram, size_t size)
{
	if (q->room == 0)
		return;
	q->packets[q->next] = tag_of(datagram) | (size & SIZE_MASK);
	q->next = (q->next + 1) % q->room;
	if (q->n < q->room)
		q->n++;
}

size_t
icmp_quotes_find(struct icmp_quotes *q, const uint8_t *quote, size_t len,
    uint64_t now)
{
	uint64_t tag;

	q->seen++;
	if (q->second != now / NS_PER_S) {
		q->second = now / NS_PER_S;
		q->looked_up = 0;
	}
	if (len < ICMP_QUOTE_AT + ICMP_QUOTE_LEN ||
	    q->looked_up == ICMP_QUOTES_PER_S)
		return 0;
	q->looked_up++;
	tag = tag_of(quote);
	for (size_t i = 0; i < q->n; i++)
		if ((q->packets[i] & ~SIZE_MASK) == tag)
			return q->packets[i] & SIZE_MASK;
	return 0;
}
