#include "tests/unit/pattern.h"

uint8_t
pattern(unsigned number, size_t offset)
{
	return (uint8_t)(number * 37 + offset * 7 + (offset >> 8));
}
