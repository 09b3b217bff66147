/*
 * What a server gives away so that it need keep nothing: tokens that only its
 * secret, QUIC_SECRET_LEN bytes, can make. Servers with the same secret take
 * each other's.
 */
#ifndef CULVERT_QUIC_TOKEN_H
#define CULVERT_QUIC_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/quic.h"

/* What an Initial's token proves about the address it comes from. */
enum token_proof {
	PROOF_NONE,
	PROOF_GIVEN, /* a NEW_TOKEN of an earlier connection */
	PROOF_RETRIED, /* our Retry was answered */
	PROOF_WRONG /* a Retry token that does not fit */
};

/* That of stateless resets of a connection ID (RFC 9000 §10.3.2). */
void token_reset(const uint8_t *secret, const ngtcp2_cid *,
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN]);

/*
 * For a Retry that answers `initial` (RFC 9000 §8.1.2) and makes `scid` our
 * connection ID. Returns the length, or 0: there is none.
 */
size_t token_retry(const uint8_t *secret, const ngtcp2_pkt_hd *initial,
    const ngtcp2_cid *scid, const struct quic_path *,
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2], uint64_t now);

/*
 * For the peer's next connection, in a NEW_TOKEN (RFC 9000 §8.1.3). Returns the
 * length, or 0: there is none.
 */
size_t token_new(const uint8_t *secret, const struct quic_path *,
    uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN], uint64_t now);

/*
 * Looks at the token of an Initial, and takes it off its header when it is of
 * no use, as if it had none. PROOF_RETRIED sets the connection ID that was
 * there before the Retry.
 */
enum token_proof token_check(const uint8_t *secret, ngtcp2_pkt_hd *initial,
    ngtcp2_cid *original_dcid, const struct quic_path *, uint64_t now);

#endif
