/*
 * Datagrams of rtnetlink. No byte outside of them is read, and a message that
 * matters still does with more behind it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/upstream/netlink.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *more;

	if (size == 0 || !netlink_matters(data, size))
		return 0;
	/* Aligned, as by the kernel: the rest is another message. */
	if ((more = calloc(1, size + 64)) == NULL)
		return 0;
	memcpy(more, data, size);
	must(netlink_matters(more, size + 64));
	free(more);
	return 0;
}
