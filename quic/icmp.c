#include "quic/icmp.h"

#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

static uint64_t
tag_of(const uint8_t *datagram)
{
	uint64_t tag;

	_Static_assert(sizeof(tag) == ICMP_QUOTE_LEN, "a tag is an integer");
	memcpy(&tag, datagram + ICMP_QUOTE_AT, sizeof(tag));
	return tag;
}

void
icmp_quotes_note(struct icmp_quotes *q, const uint8_t *datagram, size_t size)
{
	q->tags[q->next] = tag_of(datagram);
	q->sizes[q->next] = (uint16_t)size;
	q->next = (q->next + 1) % ICMP_QUOTES_MAX;
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
	for (size_t i = 0; i < ICMP_QUOTES_MAX; i++)
		if (q->sizes[i] != 0 && q->tags[i] == tag)
			return q->sizes[i];
	return 0;
}
