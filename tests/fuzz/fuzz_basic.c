/*
 * Proxy-Authorization values. What is accepted must keep its bounds and come
 * out of basic_format() as a value that means the same.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "proxy/base/basic.h"
#include "tests/fuzz/fuzz.h"

static int
is_base64(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    (c >= '0' && c <= '9') || c == '+' || c == '/' || c == '=';
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct credentials c, again;
	char value[BASIC_SIZE];
	size_t skip = 6;
	int n;

	if (basic_parse((const char *)data, size, &c) != 0)
		return 0;
	must(memchr(c.user, '\0', sizeof(c.user)) != NULL);
	must(memchr(c.password, '\0', sizeof(c.password)) != NULL);
	n = basic_format(c.user, c.password, value, sizeof(value));
	must(n > 0 && (size_t)n <= size);
	must(basic_parse(value, (size_t)n, &again) == 0);
	must(memcmp(&c, &again, sizeof(c)) == 0);

	/* Base64 has one spelling: only scheme and spaces may differ. */
	while (!is_base64(data[skip]))
		skip++;
	must(size - skip == (size_t)n - 6);
	must(memcmp(data + skip, value + 6, size - skip) == 0);
	return 0;
}
