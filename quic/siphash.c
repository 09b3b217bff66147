#include "quic/siphash.h"

#define ROUNDS_BLOCK 2
#define ROUNDS_END 4

static uint64_t
read_le(const uint8_t *data, size_t len)
{
	uint64_t value = 0;

	for (size_t i = 0; i < len; i++)
		value |= (uint64_t)data[i] << (8 * i);
	return value;
}

static uint64_t
rotate(uint64_t value, unsigned bits)
{
	return value << bits | value >> (64 - bits);
}

static void
mix(uint64_t v[4], unsigned rounds)
{
	while (rounds-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static void
add_block(uint64_t v[4], uint64_t block)
{
	v[3] ^= block;
	mix(v, ROUNDS_BLOCK);
	v[0] ^= block;
}

uint64_t
siphash(const uint8_t key[SIPHASH_KEY_LEN], const uint8_t *data, size_t len)
{
	uint64_t k0 = read_le(key, 8), k1 = read_le(key + 8, 8);
	uint64_t v[4] = {
		k0 ^ UINT64_C(0x736f6d6570736575),
		k1 ^ UINT64_C(0x646f72616e646f6d),
		k0 ^ UINT64_C(0x6c7967656e657261),
		k1 ^ UINT64_C(0x7465646279746573),
	};
	size_t at;

	for (at = 0; at + 8 <= len; at += 8)
		add_block(v, read_le(data + at, 8));
	add_block(v, read_le(data + at, len - at) | (uint64_t)len << 56);
	v[2] ^= 0xff;
	mix(v, ROUNDS_END);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
