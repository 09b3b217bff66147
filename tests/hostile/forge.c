#include <string.h>

#include "tests/hostile/forge.h"

#define DATA 0x00 /* RFC 9114 §7.2 */
#define HEADERS 0x01
#define METHOD_CONNECT 0xcf /* RFC 9204 §4.5.2, §A: indexed, static, 15 */
#define AUTHORITY 0x50	    /* §4.5.4: a literal with the static name 0 */

void
forge_clear(struct forgery *f)
{
	f->len = 0;
}

void
forge_byte(struct forgery *f, uint8_t byte)
{
	if (f->len < FORGERY_MAX)
		f->data[f->len++] = byte;
}

void
forge_bytes(struct forgery *f, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len-- > 0)
		forge_byte(f, *at++);
}

void
forge_integer(struct forgery *f, uint64_t value)
{
	unsigned log = value < 64	? 0
	    : value < 16384		? 1
	    : value < UINT64_C(1) << 30 ? 2
					: 3;

	for (int i = (1 << log) - 1; i >= 0; i--)
		forge_byte(f,
		    (uint8_t)((value >> (8 * i)) |
			(i == (1 << log) - 1 ? log << 6 : 0)));
}

void
forge_integers(struct forgery *f, const uint64_t *values, size_t n)
{
	while (n-- > 0)
		forge_integer(f, *values++);
}

void
forge_frame(struct forgery *f, uint64_t type, const void *payload, size_t len)
{
	forge_integer(f, type);
	forge_integer(f, len);
	forge_bytes(f, payload, len);
}

void
forge_connect(struct forgery *f, const char *authority)
{
	const uint8_t begin[] = { 0, 0, METHOD_CONNECT, AUTHORITY,
		(uint8_t)strlen(authority) };

	forge_integer(f, HEADERS);
	forge_integer(f, sizeof(begin) + strlen(authority));
	forge_bytes(f, begin, sizeof(begin));
	forge_bytes(f, authority, strlen(authority));
}

void
forge_data(struct forgery *f, uint64_t len)
{
	forge_integer(f, DATA);
	forge_integer(f, len);
}
