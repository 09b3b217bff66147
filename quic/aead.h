/*
 * Encryption and decryption of packets (RFC 9001 §5.3): by libipsec-mb where it
 * can be used (ipsec_mb.h), or else by GnuTLS.
 *
 * ngtcp2_crypto derives all keys and makes a context of GnuTLS for each. Those
 * of 1-RTT packets it also gives to us when it installs or updates them, and
 * the callbacks of ngtcp2 find our key by the context of GnuTLS. So a packet
 * without a key of ours, for whatever reason, is one of GnuTLS.
 */
#ifndef CULVERT_QUIC_AEAD_H
#define CULVERT_QUIC_AEAD_H

#include <stddef.h>
#include <stdint.h>

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <sys/queue.h>

#include "quic/ipsec_mb.h"

struct quic_conn;

struct aead_key {
	LIST_ENTRY(aead_key) entry;
	/* Of GnuTLS; NULL: of an installed key before its first packet. */
	const void *context;
	/* Until it is expanded, when it is first used. */
	uint8_t raw[IPSEC_MB_KEY_MAX];
	struct ipsec_mb_key *expanded;
};
LIST_HEAD(aead_keys, aead_key);

/* A connection's part, embedded in it as `aead`. */
struct conn_aead {
	size_t key_len;		 /* bytes; 0: all packets are those of GnuTLS */
	struct aead_keys rx, tx; /* the one that was used last is first */
};

/* After ngtcp2_crypto_gnutls has configured the session of the connection. */
void aead_start(struct quic_conn *);

/* Wipes and frees all keys. */
void aead_free(struct quic_conn *);

/* "libipsec-mb" or "GnuTLS". */
const char *aead_name(const struct quic_conn *);

/* Callbacks in place of those of ngtcp2_crypto. */
int aead_update_key(ngtcp2_conn *, uint8_t *rx_secret, uint8_t *tx_secret,
    ngtcp2_crypto_aead_ctx *rx, uint8_t *rx_iv, ngtcp2_crypto_aead_ctx *tx,
    uint8_t *tx_iv, const uint8_t *current_rx_secret,
    const uint8_t *current_tx_secret, size_t secretlen, void *conn);
void aead_delete_context(ngtcp2_conn *, ngtcp2_crypto_aead_ctx *, void *conn);

/*
 * As the callbacks of ngtcp2 `encrypt` and `decrypt`. Without a connection, or
 * with a long header, the packet is one of GnuTLS.
 */
int aead_encrypt(struct quic_conn *, uint8_t *dest, const ngtcp2_crypto_aead *,
    const ngtcp2_crypto_aead_ctx *, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);
int aead_decrypt(struct quic_conn *, uint8_t *dest, const ngtcp2_crypto_aead *,
    const ngtcp2_crypto_aead_ctx *, const uint8_t *sealed, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);

#endif
