#include "quic/aead.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "quic/internal.h"
#include "quic/packet_number.h"

/* Of a key, an initialization vector, or a key of header protection. */
#define DERIVED_MAX 64 /* bytes */

/* ---- Keys ---- */

static void
free_key(struct quic_conn *conn, struct aead_key *key)
{
	LIST_REMOVE(key, entry);
	if (key->expanded != NULL) {
		gnutls_memset(key->expanded, 0, ipsec_mb_key_size());
		memory_release(conn, key->expanded);
	}
	gnutls_memset(key, 0, sizeof(*key));
	memory_release(conn, key);
}

/* Without memory, GnuTLS is used. */
static void
add_key(struct quic_conn *conn, struct aead_keys *keys, const void *context,
    const uint8_t *raw)
{
	struct aead_key *key = memory_calloc(conn, sizeof(*key));

	if (key == NULL)
		return;
	key->context = context;
	memcpy(key->raw, raw, conn->aead.key_len);
	LIST_INSERT_HEAD(keys, key, entry);
}

static struct aead_key *
find_key(const struct aead_keys *keys, const void *context)
{
	struct aead_key *key;

	LIST_FOREACH(key, keys, entry)
		if (key->context == context)
			return key;
	return NULL;
}

static void
expand(struct quic_conn *conn, struct aead_key *key)
{
	key->expanded = memory_calloc(conn, ipsec_mb_key_size());
	if (key->expanded == NULL)
		return;
	ipsec_mb_expand(key->expanded, key->raw, conn->aead.key_len);
	gnutls_memset(key->raw, 0, sizeof(key->raw));
}

/* NULL: the packet is one of GnuTLS. */
static const struct ipsec_mb_key *
key_of(struct quic_conn *conn, struct aead_keys *keys,
    const ngtcp2_crypto_aead_ctx *ctx)
{
	struct aead_key *key = LIST_FIRST(keys);
	const void *context;

	if (key == NULL)
		return NULL;
	context = ctx->native_handle;
	if (key->context != context) {
		if ((key = find_key(keys, context)) == NULL &&
		    (key = find_key(keys, NULL)) == NULL)
			return NULL;
		key->context = context;
		LIST_REMOVE(key, entry);
		LIST_INSERT_HEAD(keys, key, entry);
	}
	if (key->expanded == NULL)
		expand(conn, key);
	return key->expanded;
}

void
aead_free(struct quic_conn *conn)
{
	struct aead_key *key;

	while ((key = LIST_FIRST(&conn->aead.rx)) != NULL ||
	    (key = LIST_FIRST(&conn->aead.tx)) != NULL)
		free_key(conn, key);
}

const char *
aead_name(const struct quic_conn *conn)
{
	return conn->aead.key_len > 0 ? "libipsec-mb" : "GnuTLS";
}

bool
quic_ipsec_mb_load(char text[QUIC_ERROR_MAX])
{
	int rv = ipsec_mb_load();

	if (rv == 0)
		snprintf(text, QUIC_ERROR_MAX, "AES-GCM by libipsec-mb %s",
		    ipsec_mb_version());
	else
		snprintf(text, QUIC_ERROR_MAX, "AES-GCM by GnuTLS: %s",
		    rv == -ENOSYS	? "built without libipsec-mb"
			: rv == -ENOENT ? "libipsec-mb is not installed"
			: rv == -ENODEV ? "the processor has no VAES"
					: "libipsec-mb gives wrong results");
	return rv == 0;
}

/* ---- Where keys come from and go ---- */

/* The length of the keys of the cipher. 0: it is another than AES-GCM. */
static size_t
key_len(gnutls_session_t session)
{
	switch (gnutls_cipher_get(session)) {
	case GNUTLS_CIPHER_AES_128_GCM:
		return 16;
	case GNUTLS_CIPHER_AES_256_GCM:
		return 32;
	default:
		return 0;
	}
}

static int
install(struct quic_conn *conn, bool is_rx, ngtcp2_encryption_level level,
    const uint8_t *secret, size_t len)
{
	uint8_t key[DERIVED_MAX], iv[DERIVED_MAX], hp[DERIVED_MAX];
	int rv;

	if (secret == NULL)
		return 0;
	rv = is_rx ? ngtcp2_crypto_derive_and_install_rx_key(conn->quic, key,
			 iv, hp, level, secret, len)
		   : ngtcp2_crypto_derive_and_install_tx_key(conn->quic, key,
			 iv, hp, level, secret, len);
	if (rv == 0 && level == NGTCP2_ENCRYPTION_LEVEL_1RTT &&
	    !conn->settings.no_ipsec_mb && ipsec_mb_version() != NULL) {
		conn->aead.key_len = key_len(conn->session);
		if (conn->aead.key_len > 0)
			add_key(conn, is_rx ? &conn->aead.rx : &conn->aead.tx,
			    NULL, key);
	}
	gnutls_memset(key, 0, sizeof(key));
	gnutls_memset(iv, 0, sizeof(iv));
	gnutls_memset(hp, 0, sizeof(hp));
	return rv;
}

/* In place of the function of ngtcp2_crypto, which keeps no key. */
static int
on_secrets(gnutls_session_t session, gnutls_record_encryption_level_t level,
    const void *rx_secret, const void *tx_secret, size_t len)
{
	ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);
	struct quic_conn *conn = ref->user_data;
	ngtcp2_encryption_level quic_level =
	    ngtcp2_crypto_gnutls_from_gnutls_record_encryption_level(level);

	return install(conn, true, quic_level, rx_secret, len) == 0 &&
		install(conn, false, quic_level, tx_secret, len) == 0
	    ? 0
	    : -1;
}

void
aead_start(struct quic_conn *conn)
{
	gnutls_handshake_set_secret_function(conn->session, on_secrets);
}

int
aead_update_key(ngtcp2_conn *quic, uint8_t *rx_secret, uint8_t *tx_secret,
    ngtcp2_crypto_aead_ctx *rx, uint8_t *rx_iv, ngtcp2_crypto_aead_ctx *tx,
    uint8_t *tx_iv, const uint8_t *current_rx_secret,
    const uint8_t *current_tx_secret, size_t secretlen, void *user)
{
	uint8_t rx_key[DERIVED_MAX], tx_key[DERIVED_MAX];
	struct quic_conn *conn = user;
	int rv = ngtcp2_crypto_update_key(quic, rx_secret, tx_secret, rx,
	    rx_key, rx_iv, tx, tx_key, tx_iv, current_rx_secret,
	    current_tx_secret, secretlen);

	if (rv == 0 && conn->aead.key_len > 0) {
		add_key(conn, &conn->aead.rx, rx->native_handle, rx_key);
		add_key(conn, &conn->aead.tx, tx->native_handle, tx_key);
	}
	gnutls_memset(rx_key, 0, sizeof(rx_key));
	gnutls_memset(tx_key, 0, sizeof(tx_key));
	return rv == 0 ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

void
aead_delete_context(ngtcp2_conn *quic, ngtcp2_crypto_aead_ctx *context,
    void *user)
{
	struct quic_conn *conn = user;
	struct aead_key *key = NULL;

	if (context->native_handle != NULL &&
	    ((key = find_key(&conn->aead.rx, context->native_handle)) != NULL ||
		(key = find_key(&conn->aead.tx, context->native_handle)) !=
		    NULL))
		free_key(conn, key);
	ngtcp2_crypto_delete_crypto_aead_ctx_cb(quic, context, user);
}

/* ---- Packets ---- */

int
aead_encrypt(struct quic_conn *conn, uint8_t *dest,
    const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *context,
    const uint8_t *plain, size_t len, const uint8_t *nonce, size_t noncelen,
    const uint8_t *aad, size_t aadlen)
{
	struct ipsec_mb_packet packet = { nonce, aad, aadlen };
	const struct ipsec_mb_key *key = NULL;

	if (conn != NULL && SHORT_HEADER(aad[0]))
		key = key_of(conn, &conn->aead.tx, context);
	if (key == NULL)
		return ngtcp2_crypto_encrypt_cb(dest, aead, context, plain, len,
		    nonce, noncelen, aad, aadlen);
	ipsec_mb_seal(key, dest, plain, len, &packet);
	return 0;
}

int
aead_decrypt(struct quic_conn *conn, uint8_t *dest,
    const ngtcp2_crypto_aead *aead, const ngtcp2_crypto_aead_ctx *context,
    const uint8_t *sealed, size_t len, const uint8_t *nonce, size_t noncelen,
    const uint8_t *aad, size_t aadlen)
{
	struct ipsec_mb_packet packet = { nonce, aad, aadlen };
	const struct ipsec_mb_key *key = NULL;

	if (conn != NULL && SHORT_HEADER(aad[0]))
		key = key_of(conn, &conn->aead.rx, context);
	if (key == NULL)
		return ngtcp2_crypto_decrypt_cb(dest, aead, context, sealed,
		    len, nonce, noncelen, aad, aadlen);
	return ipsec_mb_open(key, dest, sealed, len, &packet)
	    ? 0
	    : NGTCP2_ERR_DECRYPT;
}
