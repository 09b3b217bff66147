#include <string.h>

#include "quic/repair_packet.h"

/* Where fields are, in bytes. */
#define ID_AT 1
#define FIRST_AT 9
#define MASK_AT 13
#define SYMBOLS_AT 21
#define COUNT_AT 9
#define LOST_AT 17

static void
put(uint8_t *to, uint64_t value, size_t len)
{
	while (len > 0) {
		to[--len] = (uint8_t)value;
		value >>= 8;
	}
}

static uint64_t
get(const uint8_t *from, size_t len)
{
	uint64_t value = 0;

	for (size_t i = 0; i < len; i++)
		value = value << 8 | from[i];
	return value;
}

size_t
repair_packet_write(const struct repair_packet *p, uint8_t *to)
{
	to[0] = REPAIR_PACKET;
	memcpy(to + ID_AT, p->id, sizeof(p->id));
	put(to + FIRST_AT, p->first, sizeof(p->first));
	put(to + MASK_AT, p->mask, sizeof(p->mask));
	to[SYMBOLS_AT] = (uint8_t)(p->number | p->nsymbols << 4);
	memcpy(to + REPAIR_HEADER_LEN, p->symbol, p->size);
	return REPAIR_HEADER_LEN + p->size;
}

bool
repair_packet_read(struct repair_packet *p, const uint8_t *data, size_t len)
{
	if (len <= REPAIR_HEADER_LEN || data[0] != REPAIR_PACKET)
		return false;
	memcpy(p->id, data + ID_AT, sizeof(p->id));
	p->first = (uint32_t)get(data + FIRST_AT, sizeof(p->first));
	p->mask = get(data + MASK_AT, sizeof(p->mask));
	p->number = data[SYMBOLS_AT] & 15;
	p->nsymbols = data[SYMBOLS_AT] >> 4;
	p->symbol = data + REPAIR_HEADER_LEN;
	p->size = len - REPAIR_HEADER_LEN;
	return p->size % 8 == 0 && p->size <= REPAIR_SYMBOL_MAX &&
	    p->nsymbols <= ERASURE_SYMBOLS_MAX && p->number < p->nsymbols &&
	    (p->mask & 1) != 0 &&
	    __builtin_popcountll(p->mask) <= REPAIR_PACKETS_MAX;
}

void
repair_request_write(const struct repair_request *r, uint8_t *to)
{
	to[0] = REPAIR_REQUEST;
	memcpy(to + ID_AT, r->id, sizeof(r->id));
	put(to + COUNT_AT, r->count, sizeof(r->count));
	put(to + LOST_AT, r->lost, 2);
	memcpy(to + REPAIR_REQUEST_MAC_AT, r->mac, sizeof(r->mac));
}

bool
repair_request_read(struct repair_request *r, const uint8_t *data, size_t len)
{
	if (len != REPAIR_REQUEST_LEN || data[0] != REPAIR_REQUEST)
		return false;
	memcpy(r->id, data + ID_AT, sizeof(r->id));
	r->count = get(data + COUNT_AT, sizeof(r->count));
	r->lost = (unsigned)get(data + LOST_AT, 2);
	memcpy(r->mac, data + REPAIR_REQUEST_MAC_AT, sizeof(r->mac));
	return true;
}
