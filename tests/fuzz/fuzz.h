/*
 * Common to the fuzz targets. Each is one parser, in a file of its own, and
 * runs under libFuzzer or under replay.c.
 */
#ifndef CULVERT_TESTS_FUZZ_FUZZ_H
#define CULVERT_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The target: is given an input, and returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts unless this is true; a fuzzer detects that. */
void must(bool promise);

/*
 * Where to cut an input in two, 0 to `size`: by the sum of its octets, so that
 * the fuzzer can reach any place.
 */
size_t fuzz_split(const uint8_t *data, size_t size);

#endif
