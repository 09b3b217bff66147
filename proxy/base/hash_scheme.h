#ifndef CULVERT_PROXY_BASE_HASH_SCHEME_H
#define CULVERT_PROXY_BASE_HASH_SCHEME_H

/*
 * Which schemes of crypt(5) a password may be hashed with: those that are slow
 * to guess at and take all of the password.
 */

/*
 * NULL when `hash` is whole and of a scheme that is accepted (yescrypt,
 * gost-yescrypt, scrypt, bcrypt, SHA-512, SHA-256) and that crypt(3) of this
 * system has. Otherwise a static sentence: which scheme it is, and how to make
 * a hash that is fine. It never holds a part of the hash.
 */
const char *hash_scheme_check(const char *hash);

#endif
