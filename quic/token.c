#include "quic/token.h"

#include "quic/internal.h"

#define RETRY_TIMEOUT (10 * NS_PER_S)	 /* it is for this handshake only */
#define TOKEN_TIMEOUT (86400 * NS_PER_S) /* NEW_TOKEN: one day */

void
token_reset(const uint8_t *secret, const ngtcp2_cid *cid,
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN])
{
	ngtcp2_crypto_generate_stateless_reset_token(token, secret,
	    QUIC_SECRET_LEN, cid);
}

size_t
token_retry(const uint8_t *secret, const ngtcp2_pkt_hd *hd,
    const ngtcp2_cid *scid, const struct quic_path *path,
    uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2], uint64_t now)
{
	ngtcp2_path view = path_view(path);
	ngtcp2_ssize len;

	len = ngtcp2_crypto_generate_retry_token2(token, secret,
	    QUIC_SECRET_LEN, hd->version, view.remote.addr, view.remote.addrlen,
	    scid, &hd->dcid, now);
	return len > 0 ? (size_t)len : 0;
}

size_t
token_new(const uint8_t *secret, const struct quic_path *path,
    uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN], uint64_t now)
{
	ngtcp2_path view = path_view(path);
	ngtcp2_ssize len;

	len = ngtcp2_crypto_generate_regular_token(token, secret,
	    QUIC_SECRET_LEN, view.remote.addr, view.remote.addrlen, now);
	return len > 0 ? (size_t)len : 0;
}

enum token_proof
token_check(const uint8_t *secret, ngtcp2_pkt_hd *hd, ngtcp2_cid *original_dcid,
    const struct quic_path *path, uint64_t now)
{
	ngtcp2_path view = path_view(path);
	enum token_proof proof = PROOF_NONE;

	if (hd->tokenlen == 0)
		return PROOF_NONE;
	if (hd->token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2)
		return ngtcp2_crypto_verify_retry_token2(original_dcid,
			   hd->token, hd->tokenlen, secret, QUIC_SECRET_LEN,
			   hd->version, view.remote.addr, view.remote.addrlen,
			   &hd->dcid, RETRY_TIMEOUT, now) == 0
		    ? PROOF_RETRIED
		    : PROOF_WRONG;
	if (hd->token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_REGULAR &&
	    ngtcp2_crypto_verify_regular_token(hd->token, hd->tokenlen, secret,
		QUIC_SECRET_LEN, view.remote.addr, view.remote.addrlen,
		TOKEN_TIMEOUT, now) == 0)
		proof = PROOF_GIVEN;
	if (proof == PROOF_NONE)
		hd->token = NULL, hd->tokenlen = 0;
	return proof;
}
