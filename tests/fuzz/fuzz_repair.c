/*
 * Repair packets and requests: one that is read has fields in their ranges, and
 * is written as it was. And a block of packets, of the same bytes, of which
 * some are lost: what its symbols make is what was lost.
 */
#include <string.h>

#include "quic/repair_packet.h"
#include "tests/fuzz/fuzz.h"

#define PACKET_LEN 24 /* bytes */

static void
read_packet(const uint8_t *data, size_t size)
{
	uint8_t again[REPAIR_HEADER_LEN + REPAIR_SYMBOL_MAX];
	struct repair_packet p;

	if (!repair_packet_read(&p, data, size))
		return;
	must(p.size > 0 && p.size % 8 == 0 && p.size <= REPAIR_SYMBOL_MAX);
	must(p.nsymbols <= ERASURE_SYMBOLS_MAX && p.number < p.nsymbols);
	must((p.mask & 1) == 1);
	must(repair_packet_write(&p, again) == size);
	must(memcmp(again, data, size) == 0);
}

static void
read_request(const uint8_t *data, size_t size)
{
	uint8_t again[REPAIR_REQUEST_LEN];
	struct repair_request r;

	if (!repair_request_read(&r, data, size))
		return;
	must(r.lost <= UINT16_MAX);
	repair_request_write(&r, again);
	must(memcmp(again, data, size) == 0);
}

/* One symbol of the packets that are not in `lost`, a mask. */
static void
add_up(uint8_t sum[PACKET_LEN], unsigned s, const uint8_t *packets,
    unsigned total, uint64_t lost)
{
	for (unsigned i = 0; i < total; i++)
		erasure_add(sum, PACKET_LEN, s, packets + i * PACKET_LEN,
		    (lost >> i & 1) != 0 ? 0 : PACKET_LEN);
}

static void
make_lost(const uint8_t *packets, unsigned total, uint64_t lost)
{
	uint8_t sums[ERASURE_SYMBOLS_MAX][PACKET_LEN] = { 0 };
	uint8_t present[ERASURE_SYMBOLS_MAX][PACKET_LEN] = { 0 };
	uint8_t *symbols[ERASURE_SYMBOLS_MAX];
	unsigned numbers[ERASURE_SYMBOLS_MAX], at[ERASURE_SYMBOLS_MAX], n = 0;

	for (unsigned i = 0; i < total; i++) {
		if ((lost >> i & 1) == 0)
			continue;
		if (n == ERASURE_SYMBOLS_MAX) {
			lost &= ~(UINT64_C(1) << i);
			continue;
		}
		at[n] = i;
		numbers[n] = n;
		n++;
	}
	for (unsigned s = 0; s < n; s++) {
		add_up(sums[s], s, packets, total, 0);
		add_up(present[s], s, packets, total, lost);
		for (size_t i = 0; i < PACKET_LEN; i++)
			sums[s][i] ^= present[s][i];
		symbols[s] = sums[s];
	}
	if (n == 0)
		return;
	must(erasure_solve(symbols, numbers, at, n, total, PACKET_LEN));
	for (unsigned s = 0; s < n; s++)
		must(memcmp(symbols[s], packets + at[s] * PACKET_LEN,
			 PACKET_LEN) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t lost = 0;
	size_t total;

	read_packet(data, size);
	read_request(data, size);
	if (size < sizeof(lost) + PACKET_LEN)
		return 0;
	memcpy(&lost, data, sizeof(lost));
	total = (size - sizeof(lost)) / PACKET_LEN;
	if (total > ERASURE_PACKETS_MAX)
		total = ERASURE_PACKETS_MAX;
	make_lost(data + sizeof(lost), (unsigned)total, lost);
	return 0;
}
