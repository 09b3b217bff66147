/*
 * Answers to packets without a connection. Nothing is stored about their
 * senders. The answers wait in a short queue for the next write; when it is
 * full, there is none, and the sender tries again.
 */
#ifndef CULVERT_QUIC_STATELESS_H
#define CULVERT_QUIC_STATELESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ngtcp2/ngtcp2.h>

#include "quic/quic.h"

/* The longest answer: a Retry with its token, or all our versions. */
#define STATELESS_REPLY_SIZE 256  /* bytes */
#define STATELESS_REPLIES_MAX 128 /* datagrams that wait for the next write */

struct stateless_reply {
	struct quic_path path;
	size_t len;
	uint8_t data[STATELESS_REPLY_SIZE];
};

/* The answers of one kind in the current second. */
struct stateless_rate {
	uint64_t second;
	unsigned n;
};

struct stateless {
	const uint8_t *secret; /* the server's; the owner sets it */

	/* Private; all zero at first. */
	struct stateless_reply replies[STATELESS_REPLIES_MAX];
	size_t first, len;
	struct stateless_rate resets, closes;
};

/*
 * Each answers a packet that arrived on that path. False: there is no answer,
 * for lack of room or because of a rate limit.
 */

/* Version Negotiation (RFC 9000 §6), for a version that we do not support. */
bool stateless_negotiate(struct stateless *, const ngtcp2_version_cid *,
    const struct quic_path *);

/* Retry (RFC 9000 §8.1.2), to validate the address. */
bool stateless_retry(struct stateless *, const ngtcp2_pkt_hd *initial,
    const struct quic_path *, uint64_t now);

/*
 * CONNECTION_CLOSE with a `code` of QUIC (RFC 9000 §20.1), such as
 * CONNECTION_REFUSED: the client need not wait for its time-out.
 */
bool stateless_close(struct stateless *, const ngtcp2_pkt_hd *initial,
    uint64_t code, const struct quic_path *, uint64_t now);

/*
 * Stateless reset (RFC 9000 §10.3), for a short header in a datagram of
 * `trigger` bytes.
 */
bool stateless_reset(struct stateless *, const ngtcp2_version_cid *,
    size_t trigger, const struct quic_path *, uint64_t now);

/* Puts the next answer into the train. False: there is none, or no room. */
bool stateless_write(struct stateless *, struct quic_gso *);

#endif
