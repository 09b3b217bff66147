#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "proxy/base/basic.h"

#define SCHEME "Basic "
#define SCHEME_LEN (sizeof(SCHEME) - 1)

/* Octets of user:password, and of its base64. */
#define PAIR_MAX (2 * CREDENTIAL_MAX + 1)
#define BASE64_MAX (BASIC_SIZE - SCHEME_LEN - 1)

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Returns the octets written to `out`, which has room for 3 per 4 of `in`. */
static int
base64_decode(const char *in, size_t len, char *out)
{
	size_t pad = 0;
	uint32_t bits = 0;
	unsigned nbits = 0;
	int n = 0;

	if (len == 0 || len % 4 != 0)
		return -EINVAL;
	while (pad < 2 && in[len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < len - pad; i++) {
		const char *digit = memchr(alphabet, in[i], 64);

		if (digit == NULL)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(digit - alphabet);
		nbits += 6;
		if (nbits >= 8) {
			nbits -= 8;
			out[n++] = (char)(bits >> nbits);
			bits &= (1U << nbits) - 1;
		}
	}
	/* With unused bits set, one value would have several encodings. */
	return bits == 0 ? n : -EINVAL;
}

static void
base64_encode(const char *in, size_t len, char *out)
{
	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = 0;

		for (size_t j = i; j < i + 3; j++)
			bits = bits << 8 | (j < len ? (uint8_t)in[j] : 0);
		*out++ = alphabet[bits >> 18];
		*out++ = alphabet[bits >> 12 & 0x3f];
		*out++ = '=';
		*out++ = '=';
		if (i + 1 < len)
			out[-2] = alphabet[bits >> 6 & 0x3f];
		if (i + 2 < len)
			out[-1] = alphabet[bits & 0x3f];
	}
	*out = '\0';
}

static bool
is_credential(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			return false;
	return len <= CREDENTIAL_MAX;
}

static int
split(const char *pair, size_t len, struct credentials *out)
{
	const char *colon = memchr(pair, ':', len);
	size_t userlen, passwordlen;

	if (colon == NULL)
		return -EINVAL;
	userlen = (size_t)(colon - pair);
	passwordlen = len - userlen - 1;
	if (!is_credential(pair, userlen) ||
	    !is_credential(colon + 1, passwordlen))
		return -EINVAL;
	memcpy(out->user, pair, userlen);
	memcpy(out->password, colon + 1, passwordlen);
	return 0;
}

int
basic_parse(const char *value, size_t len, struct credentials *out)
{
	char pair[BASE64_MAX / 4 * 3];
	int n, rv = -EINVAL;

	memset(out, 0, sizeof(*out));
	if (len < SCHEME_LEN || strncasecmp(value, SCHEME, SCHEME_LEN) != 0)
		return -EINVAL;
	value += SCHEME_LEN;
	len -= SCHEME_LEN;
	/* RFC 9110 section 11.4 allows any number of spaces here. */
	for (; len > 0 && *value == ' '; len--)
		value++;
	if (len > BASE64_MAX)
		return -EINVAL;
	n = base64_decode(value, len, pair);
	if (n >= 0)
		rv = split(pair, (size_t)n, out);
	explicit_bzero(pair, sizeof(pair));
	return rv;
}

int
basic_format(const char *user, const char *password, char *out, size_t size)
{
	size_t userlen = strlen(user), passwordlen = strlen(password);
	size_t len = userlen + 1 + passwordlen;
	size_t need = SCHEME_LEN + (len + 2) / 3 * 4;
	char pair[PAIR_MAX];

	if (strchr(user, ':') != NULL || !is_credential(user, userlen) ||
	    !is_credential(password, passwordlen))
		return -EINVAL;
	if (need >= size)
		return -ENOSPC;
	memcpy(pair, user, userlen);
	pair[userlen] = ':';
	memcpy(pair + userlen + 1, password, passwordlen);
	memcpy(out, SCHEME, SCHEME_LEN);
	base64_encode(pair, len, out + SCHEME_LEN);
	explicit_bzero(pair, sizeof(pair));
	return (int)need;
}
