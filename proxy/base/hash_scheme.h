#ifndef CULVERT_PROXY_BASE_HASH_SCHEME_H
#define CULVERT_PROXY_BASE_HASH_SCHEME_H

/*
 * The schemes of crypt(5) that are accepted for passwords: those that make
 * guessing slow and use the whole password.
 */

/*
 * Returns NULL if `hash` is complete, its scheme is accepted (yescrypt,
 * gost-yescrypt, scrypt, bcrypt, SHA-512, SHA-256), and crypt(3) of this system
 * supports it. Otherwise a static sentence that names the scheme and says how
 * to make a good hash. It never contains a part of the hash.
 */
const char *hash_scheme_check(const char *hash);

#endif
