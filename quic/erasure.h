/*
 * An erasure code: from a block of packets, up to six symbols are made, and
 * packets of the block that are lost can be made from as many symbols and the
 * packets that arrived. Symbol s is the sum of every packet times a power of
 * 2^s in GF(256), as in a RAID with several parities. It knows no QUIC and
 * allocates nothing.
 */
#ifndef CULVERT_QUIC_ERASURE_H
#define CULVERT_QUIC_ERASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ERASURE_SYMBOLS_MAX 6

/* Packets of a block. Above 255 powers of 2 would repeat. */
#define ERASURE_PACKETS_MAX 64

/*
 * Adds the next packet of a block to symbol number `s`: `sum` has `size` bytes,
 * a multiple of 8, and is zero at first. A packet is not longer; a shorter one
 * counts as if zeros followed, and `len` 0 stands for one that is not there.
 */
void erasure_add(uint8_t *sum, size_t size, unsigned s, const uint8_t *packet,
    size_t len);

/*
 * Makes `n` lost packets of a block of `total` from `n` symbols, in place.
 *
 * symbols[i] points to `size` bytes: symbol number numbers[i], to which the sum
 * of the packets that are there was added by XOR. Afterwards symbols[i] is the
 * packet at index lost[i] of the block. `numbers` and `lost` have different
 * values each, and n is 1 to ERASURE_SYMBOLS_MAX.
 *
 * False: nothing can be made of these symbols, which are used up. With symbols
 * 0 to n-1 this does not happen, and it is rare with others.
 */
bool erasure_solve(uint8_t *symbols[], const unsigned numbers[],
    const unsigned lost[], unsigned n, unsigned total, size_t size);

#endif
