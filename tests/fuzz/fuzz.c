#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

void
must(bool promise)
{
	if (!promise)
		abort();
}

size_t
fuzz_split(const uint8_t *data, size_t size)
{
	size_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += data[i];
	return sum % (size + 1);
}
