/*
 * AES-GCM by Intel's libipsec-mb, where it is installed and the processor has
 * VAES: there it takes a third of the time of GnuTLS for a packet of 1,500
 * bytes, and a quarter for a large one. Without VAES it is no faster, and is
 * not used.
 *
 * The library is opened by name at the start and not linked, since it is an
 * option: 13 MB, and for amd64 only. Its header is needed to build this; without
 * it ipsec_mb_load() fails.
 */
#ifndef CULVERT_QUIC_IPSEC_MB_H
#define CULVERT_QUIC_IPSEC_MB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IPSEC_MB_NONCE_LEN 12
#define IPSEC_MB_TAG_LEN 16
#define IPSEC_MB_KEY_MAX 32 /* bytes */

/*
 * Opens the library and compares it with GnuTLS. 0; or -ENOSYS: this was built
 * without its header; -ENOENT: it is not installed; -ENODEV: the processor has
 * no VAES; -EBADMSG: it gives other results than GnuTLS.
 */
int ipsec_mb_load(void);

/* "1.3.0"; NULL: it is not loaded. */
const char *ipsec_mb_version(void);

/*
 * An expanded key of ipsec_mb_key_size() bytes, in the caller's memory of any
 * alignment, which is to be wiped. `len` is 16 or 32 bytes: AES-128, AES-256.
 * All need the loaded library.
 */
struct ipsec_mb_key;
size_t ipsec_mb_key_size(void);
void ipsec_mb_expand(struct ipsec_mb_key *, const uint8_t *key, size_t len);

/* The packet, whose other parts are as in a `ngtcp2_encrypt` callback. */
struct ipsec_mb_packet {
	const uint8_t *nonce; /* IPSEC_MB_NONCE_LEN bytes */
	const uint8_t *aad;
	size_t aadlen;
};

/* Writes `len` bytes and the tag; `dest` may be `plain`. */
void ipsec_mb_seal(const struct ipsec_mb_key *, uint8_t *dest,
    const uint8_t *plain, size_t len, const struct ipsec_mb_packet *);

/*
 * Writes the bytes of `sealed` without its tag; `dest` may be `sealed`. False:
 * the tag is wrong, and what was written is wiped.
 */
bool ipsec_mb_open(const struct ipsec_mb_key *, uint8_t *dest,
    const uint8_t *sealed, size_t len, const struct ipsec_mb_packet *);

#endif
