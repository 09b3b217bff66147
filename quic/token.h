/*
 * Tokens, so that a server need not store anything: they can be made only with
 * its secret of QUIC_SECRET_LEN bytes. Servers with the same secret accept each
 * other's tokens.
 */
#ifndef CULVERT_QUIC_TOKEN_H
#define CULVERT_QUIC_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/quic.h"

/* What the token of an Initial proves about its source address. */
enum token_proof {
	PROOF_NONE,
	PROOF_GIVEN,   /* validated by an earlier connection: NEW_TOKEN */
	PROOF_RETRIED, /* validated by our Retry */
	PROOF_WRONG    /* a Retry token that is not valid */
};

/* The stateless reset token of a connection ID (RFC 9000 §10.3.2). */
void token_reset(const uint8_t *secret, const ngtcp2_cid *,
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN]);

/*
 * The token of a Retry that answers `initial` (RFC 9000 §8.1.2) and makes
 * `scid` our connection ID. Returns the length, or 0: there is none.
 */
size_t token_retry(const uint8_t *secret, const ngtcp2_pkt_hd *initial,
    const ngtcp2_cid *scid, const struct quic_path *,
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2], uint64_t now);

/*
 * The token of a NEW_TOKEN, for the peer's next connection (RFC 9000 §8.1.3).
 * Returns the length, or 0: there is none.
 */
size_t token_new(const uint8_t *secret, const struct quic_path *,
    uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN], uint64_t now);

/*
 * Verifies the token of an Initial, and removes it from the header if it is
 * useless, as if there was none. PROOF_RETRIED sets the connection ID from
 * before the Retry.
 */
enum token_proof token_check(const uint8_t *secret, ngtcp2_pkt_hd *initial,
    ngtcp2_cid *original_dcid, const struct quic_path *, uint64_t now);

#endif
