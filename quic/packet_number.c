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
