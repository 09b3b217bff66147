/*
 * What the fuzz targets have in common. Each is one parser, in a file of its
 * own, and runs under libFuzzer or under replay.c.
 */
#ifndef CULVERT_TESTS_FUZZ_FUZZ_H
#define CULVERT_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The target: is given an input, and returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts, which is what a fuzzer looks for, if this is not so. */
void must(bool promise);

/*
 * Where to cut an input in two, 0 to `size`: the sum of its octets says so, so
 * that the fuzzer can have it anywhere.
 */
size_t fuzz_split(const uint8_t *data, size_t size);

#endif
