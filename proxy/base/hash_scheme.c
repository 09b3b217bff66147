#include "proxy/base/hash_scheme.h"

#include <crypt.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define MAKE_ANOTHER \
	"create a new one with \"openssl passwd -6\" or " \
	"\"mkpasswd -m yescrypt\""

/* The base64 alphabet of crypt(5). */
static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "abcdefghijklmnopqrstuvwxyz";

/* Characters of a hash in this alphabet. */
#define LEN_256 43
#define LEN_512 86
#define LEN_BCRYPT 53 /* after the last '$', salt included */
#define LEN_DES 13

/* By prefix; the first match counts. */
static const struct {
	const char *prefix;
	size_t len; /* characters after the last '$'; 0: rejected, see why */
	const char *why;
} schemes[] = {
	{ "$y$", LEN_256, NULL },
	{ "$gy$", LEN_256, NULL },
	{ "$7$", LEN_256, NULL },
	{ "$2b$", LEN_BCRYPT, NULL },
	{ "$2y$", LEN_BCRYPT, NULL },
	{ "$6$", LEN_512, NULL },
	{ "$5$", LEN_256, NULL },
	{ "$1$", 0, "MD5 hashes ($1$) are too weak; " MAKE_ANOTHER },
	{ "$apr1$", 0,
	    "Apache's MD5 hashes ($apr1$) are too weak, and "
	    "crypt(3) does not support them; " MAKE_ANOTHER },
	{ "$md5", 0, "Sun's MD5 hashes ($md5) are too weak; " MAKE_ANOTHER },
	{ "$sha1", 0, "SHA-1 hashes ($sha1) are too weak; " MAKE_ANOTHER },
	{ "$3$", 0, "NT hashes ($3$, MD4) are too weak; " MAKE_ANOTHER },
	{ "$2", 0,
	    "bcrypt hashes before $2b$ and $2y$ may be wrong; " MAKE_ANOTHER },
	{ "$", 0, "the hash has an unknown scheme; " MAKE_ANOTHER },
	{ "_", 0, "BSDi's DES hashes (_) are too weak; " MAKE_ANOTHER },
	{ "!", 0,
	    "the password is locked (!); remove the line, or " MAKE_ANOTHER },
	{ "*", 0,
	    "the password is locked (*); remove the line, or " MAKE_ANOTHER },
};

/* Explains text without a known prefix: a DES hash, or no hash at all. */
static const char *
bare(const char *hash)
{
	size_t len = strlen(hash);

	if (len == 0)
		return "there is no hash after the colon; " MAKE_ANOTHER;
	if (len == LEN_DES && strspn(hash, digits) == len)
		return "DES hashes are too weak and ignore all but 8 "
		       "characters of the password; " MAKE_ANOTHER;
	return "the text after the colon is not a hash (is it a plain "
	       "password?); " MAKE_ANOTHER;
}

/* No password matches a truncated hash, so it is rejected at the start. */
static const char *
check_length(const char *hash, size_t len)
{
	const char *last = strrchr(hash, '$') + 1;

	if (strlen(last) != len || strspn(last, digits) != len ||
	    crypt_checksalt(hash) == CRYPT_SALT_INVALID)
		return "the hash is damaged or followed by other text; " MAKE_ANOTHER;
	if (crypt_checksalt(hash) == CRYPT_SALT_METHOD_DISABLED)
		return "crypt(3) of this system does not support the scheme of "
		       "this hash; " MAKE_ANOTHER;
	return NULL;
}

const char *
hash_scheme_check(const char *hash)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncmp(hash, schemes[i].prefix,
			strlen(schemes[i].prefix)) == 0)
			return schemes[i].len == 0
			    ? schemes[i].why
			    : check_length(hash, schemes[i].len);
	return bare(hash);
}
