#include "quic/packet_number.h"

uint64_t
packet_number_decode(uint64_t expected, uint64_t truncated, unsigned bits)
{
	uint64_t window = UINT64_C(1) << bits;
	uint64_t n = (expected & ~(window - 1)) | truncated;

	if (n + window / 2 <= expected)
		return n + window;
	if (n > expected + window / 2 && n >= window)
		return n - window;
	return n;
}

uint64_t
packet_number_read(const uint8_t *header, size_t len, uint64_t expected)
{
	unsigned n = (header[0] & 3u) + 1;
	uint64_t truncated = 0;

	for (size_t i = len - n; i < len; i++)
		truncated = truncated << 8 | header[i];
	return packet_number_decode(expected, truncated, 8 * n);
}
