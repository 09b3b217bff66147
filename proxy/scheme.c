#include "proxy/scheme.h"

#include <crypt.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define MAKE_ANOTHER "make another with \"openssl passwd -6\" or " \
	"\"mkpasswd -m yescrypt\""

/* The digits of crypt(5). */
static const char digits[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			     "abcdefghijklmnopqrstuvwxyz";

/* Characters of a hash of 32 or 64 octets in these digits; of bcrypt. */
#define LEN_256 43
#define LEN_512 86
#define LEN_BCRYPT 53 /* after the last '$': the salt is a part of it */
#define LEN_DES 13

/* By prefix; the first that fits counts. */
static const struct {
	const char *prefix;
	size_t len; /* characters after the last '$'; 0: refused, and why: */
	const char *why;
} schemes[] = {
	{ "$y$", LEN_256, NULL },
	{ "$gy$", LEN_256, NULL },
	{ "$7$", LEN_256, NULL },
	{ "$2b$", LEN_BCRYPT, NULL },
	{ "$2y$", LEN_BCRYPT, NULL },
	{ "$6$", LEN_512, NULL },
	{ "$5$", LEN_256, NULL },
	{ "$1$", 0, "the hash is of MD5 ($1$), which is too weak; "
	    MAKE_ANOTHER },
	{ "$apr1$", 0, "the hash is of Apache's MD5 ($apr1$), which is too "
	    "weak and which crypt(3) does not know; " MAKE_ANOTHER },
	{ "$md5", 0, "the hash is of Sun's MD5 ($md5), which is too weak; "
	    MAKE_ANOTHER },
	{ "$sha1", 0, "the hash is of SHA-1 ($sha1), which is too weak; "
	    MAKE_ANOTHER },
	{ "$3$", 0, "the hash is of NT's MD4 ($3$), which is too weak; "
	    MAKE_ANOTHER },
	{ "$2", 0, "the hash is of an old bcrypt, some of which were wrong; "
	    "accepted are $2b$ and $2y$; " MAKE_ANOTHER },
	{ "$", 0, "the hash is of a scheme that is not known here; "
	    MAKE_ANOTHER },
	{ "_", 0, "the hash is of BSDi's DES (_), which is too weak; "
	    MAKE_ANOTHER },
	{ "!", 0, "the password is locked (!): remove the line, or "
	    MAKE_ANOTHER },
	{ "*", 0, "the password is locked (*): remove the line, or "
	    MAKE_ANOTHER },
};

/* What has no prefix: the oldest scheme, or no hash at all. */
static const char *
bare(const char *hash)
{
	size_t len = strlen(hash);

	if (len == 0)
		return "there is no hash after the colon; " MAKE_ANOTHER;
	if (len == LEN_DES && strspn(hash, digits) == len)
		return "the hash is of DES, which is too weak and takes no "
		    "more than 8 characters of a password; " MAKE_ANOTHER;
	return "what follows the colon is no hash (a password itself?); "
	    MAKE_ANOTHER;
}

/* A cut hash would never be met, and its user wonder why. */
static const char *
check_length(const char *hash, size_t len)
{
	const char *last = strrchr(hash, '$') + 1;

	if (strlen(last) != len || strspn(last, digits) != len ||
	    crypt_checksalt(hash) == CRYPT_SALT_INVALID)
		return "the hash is damaged: it was cut short, or something "
		    "else is on the line; " MAKE_ANOTHER;
	if (crypt_checksalt(hash) == CRYPT_SALT_METHOD_DISABLED)
		return "the crypt(3) of this system does not have the scheme "
		    "of this hash; " MAKE_ANOTHER;
	return NULL;
}

const char *
scheme_check(const char *hash)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncmp(hash, schemes[i].prefix,
			strlen(schemes[i].prefix)) == 0)
			return schemes[i].len == 0 ? schemes[i].why
			    : check_length(hash, schemes[i].len);
	return bare(hash);
}
