#ifndef CULVERT_PROXY_BASE_BASIC_H
#define CULVERT_PROXY_BASE_BASIC_H

#include <stddef.h>

/* Basic credentials, RFC 7617: name and password in one header value. */

/*
 * Octets of a name and of a password, each: RFC 1929 carries their lengths
 * in one octet, and HTTP clients get no more than SOCKS clients.
 */
#define CREDENTIAL_MAX 255

/* Octets of the longest Basic value with its NUL: "Basic " and base64. */
#define BASIC_SIZE (6 + (2 * CREDENTIAL_MAX + 1 + 2) / 3 * 4 + 1)

/*
 * The name and password that a client sent, unverified. Both are
 * NUL-terminated and free of control characters; octets above 0x7f are not
 * changed. The owner wipes the struct with explicit_bzero() after the check.
 */
struct credentials {
	char user[CREDENTIAL_MAX + 1];
	char password[CREDENTIAL_MAX + 1];
};

/*
 * Reads `len` octets of an Authorization or Proxy-Authorization value,
 * "Basic " and base64 of user:password (RFC 7617 section 2). The case of the
 * scheme is ignored; the base64 must be padded, contain no other octet and
 * have its unused bits zero (RFC 4648 section 3). Returns 0, or -EINVAL for
 * anything else, with nothing in `out`: the caller answers 407.
 */
int basic_parse(const char *value, size_t len, struct credentials *out);

/*
 * Writes the value that basic_parse() reads, NUL-terminated, into `out` of
 * `size` octets (BASIC_SIZE always suffices). Returns its length without the
 * NUL; -EINVAL if `user` contains a colon, or if either contains a control
 * character or is too long; or -ENOSPC. The owner of `out` wipes it.
 */
int
basic_format(const char *user, const char *password, char *out, size_t size);

#endif
