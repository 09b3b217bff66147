#ifndef CULVERT_TESTS_UNIT_PATTERN_H
#define CULVERT_TESTS_UNIT_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* What an end of that number sends at that offset. */
uint8_t pattern(unsigned number, size_t offset);

#endif
