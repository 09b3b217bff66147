#include "quic/stateless.h"

#include <string.h>

#include <gnutls/crypto.h>

#include "quic/internal.h"
#include "quic/token.h"

/*
 * Stateless resets in a second. They cost little, but two hosts must not answer
 * each other's resets for ever (RFC 9000 §10.3.3).
 */
#define RESETS_PER_S 1000

/* CONNECTION_CLOSEs in a second: at 30 us each, 3 % of a core. */
#define CLOSES_PER_S 1000

/*
 * A stateless reset looks like a packet with a short header, and is shorter
 * than the packet that it answers, or two hosts could answer each other for
 * ever (RFC 9000 §10.3, §10.3.3). The minimum is five random bytes and the
 * token.
 */
#define RESET_MAX 42					/* bytes */
#define RESET_MIN (5 + NGTCP2_STATELESS_RESET_TOKENLEN) /* bytes */

static bool
may_answer(struct stateless_rate *rate, unsigned per_second, uint64_t now)
{
	if (rate->second != now / NS_PER_S) {
		rate->second = now / NS_PER_S;
		rate->n = 0;
	}
	return rate->n < per_second;
}

static struct stateless_reply *
reply_new(struct stateless *s, const struct quic_path *path)
{
	struct stateless_reply *reply;

	if (s->len == STATELESS_REPLIES_MAX)
		return NULL;
	reply = &s->replies[(s->first + s->len) % STATELESS_REPLIES_MAX];
	reply->path = *path;
	return reply;
}

static bool
reply_queue(struct stateless *s, struct stateless_reply *reply,
    ngtcp2_ssize len)
{
	if (len <= 0)
		return false;
	reply->len = (size_t)len;
	s->len++;
	return true;
}

bool
stateless_negotiate(struct stateless *s, const ngtcp2_version_cid *vc,
    const struct quic_path *path)
{
	static const uint32_t versions[] = { NGTCP2_PROTO_VER_V1 };
	struct stateless_reply *reply = reply_new(s, path);
	uint8_t noise = 0;

	if (reply == NULL)
		return false;
	gnutls_rnd(GNUTLS_RND_NONCE, &noise, 1);
	return reply_queue(s, reply,
	    ngtcp2_pkt_write_version_negotiation(reply->data,
		sizeof(reply->data), noise, vc->scid, vc->scidlen, vc->dcid,
		vc->dcidlen, versions, 1));
}

bool
stateless_retry(struct stateless *s, const ngtcp2_pkt_hd *hd,
    const struct quic_path *path, uint64_t now)
{
	struct stateless_reply *reply = reply_new(s, path);
	uint8_t token[NGTCP2_CRYPTO_MAX_RETRY_TOKENLEN2];
	ngtcp2_cid scid;
	size_t len;

	if (reply == NULL)
		return false;
	scid.datalen = CID_LEN;
	gnutls_rnd(GNUTLS_RND_RANDOM, scid.data, scid.datalen);
	len = token_retry(s->secret, hd, &scid, path, token, now);
	if (len == 0)
		return false;
	return reply_queue(s, reply,
	    ngtcp2_crypto_write_retry(reply->data, sizeof(reply->data),
		hd->version, &hd->scid, &scid, &hd->dcid, token, len));
}

bool
stateless_close(struct stateless *s, const ngtcp2_pkt_hd *hd, uint64_t code,
    const struct quic_path *path, uint64_t now)
{
	struct stateless_reply *reply;

	if (!may_answer(&s->closes, CLOSES_PER_S, now) ||
	    (reply = reply_new(s, path)) == NULL)
		return false;
	s->closes.n++;
	return reply_queue(s, reply,
	    ngtcp2_crypto_write_connection_close(reply->data,
		sizeof(reply->data), hd->version, &hd->scid, &hd->dcid, code,
		NULL, 0));
}

bool
stateless_reset(struct stateless *s, const ngtcp2_version_cid *vc,
    size_t trigger, const struct quic_path *path, uint64_t now)
{
	uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN];
	uint8_t noise[RESET_MAX - NGTCP2_STATELESS_RESET_TOKENLEN];
	size_t len = trigger > RESET_MAX ? RESET_MAX : trigger - 1;
	struct stateless_reply *reply;
	ngtcp2_cid cid;

	if (len < RESET_MIN || !may_answer(&s->resets, RESETS_PER_S, now) ||
	    (reply = reply_new(s, path)) == NULL)
		return false;
	s->resets.n++;
	ngtcp2_cid_init(&cid, vc->dcid, vc->dcidlen);
	token_reset(s->secret, &cid, token);
	gnutls_rnd(GNUTLS_RND_NONCE, noise, sizeof(noise));
	return reply_queue(s, reply,
	    ngtcp2_pkt_write_stateless_reset(reply->data, sizeof(reply->data),
		token, noise, len - NGTCP2_STATELESS_RESET_TOKENLEN));
}

bool
stateless_write(struct stateless *s, struct quic_gso *gso)
{
	struct stateless_reply *reply = &s->replies[s->first];

	if (s->len == 0 || gso->held_len > 0)
		return false;
	memcpy(gso->buf, reply->data, reply->len);
	gso->len = gso->segment = reply->len;
	gso->path = reply->path;
	gso->ecn = 0;
	s->first = (s->first + 1) % STATELESS_REPLIES_MAX;
	s->len--;
	return true;
}
