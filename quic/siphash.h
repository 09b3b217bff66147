/*
 * SipHash-2-4 (Aumasson and Bernstein, 2012): a hash of short data with a
 * secret key. A peer that does not know the key cannot choose data with equal
 * hashes.
 */
#ifndef CULVERT_QUIC_SIPHASH_H
#define CULVERT_QUIC_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_LEN 16

uint64_t
siphash(const uint8_t key[SIPHASH_KEY_LEN], const uint8_t *data, size_t len);

#endif
