/*
 * Answers to strangers, who have no connection. No state is kept of them: what
 * is to be said waits in a short queue for the next write, and when that is
 * full the stranger will ask again.
 */
#ifndef CULVERT_QUIC_STRANGER_H
#define CULVERT_QUIC_STRANGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ngtcp2/ngtcp2.h>

#include "quic/quic.h"

/* The longest answer: a Retry with its token, or all our versions. */
#define STRANGER_REPLY_SIZE 256	 /* bytes */
#define STRANGER_REPLIES_MAX 128 /* datagrams that wait for the next write */

struct stranger_reply {
	struct quic_path path;
	size_t len;
	uint8_t data[STRANGER_REPLY_SIZE];
};

/* How many answers of one kind were given in the present second. */
struct stranger_rate {
	uint64_t second;
	unsigned n;
};

struct strangers {
	const uint8_t *secret; /* the server's, for the owner to set */

	/* Private; all zero at first. */
	struct stranger_reply replies[STRANGER_REPLIES_MAX];
	size_t first, len;
	struct stranger_rate resets, closes;
};

/*
 * Each answers what came on that path. False: it does not, for want of room or
 * because it may not.
 */

/* Version Negotiation (RFC 9000 §6), to a version that we do not speak. */
bool stranger_negotiate(struct strangers *, const ngtcp2_version_cid *,
    const struct quic_path *);

/* Retry (RFC 9000 §8.1.2): let it prove its address. */
bool stranger_retry(struct strangers *, const ngtcp2_pkt_hd *initial,
    const struct quic_path *, uint64_t now);

/*
 * CONNECTION_CLOSE with a `code` of QUIC's (RFC 9000 §20.1), such as
 * CONNECTION_REFUSED: the stranger need not wait for its time-out.
 */
bool stranger_close(struct strangers *, const ngtcp2_pkt_hd *initial,
    uint64_t code, const struct quic_path *, uint64_t now);

/*
 * Stateless reset (RFC 9000 §10.3), to a short header of a datagram of
 * `trigger` bytes.
 */
bool stranger_reset(struct strangers *, const ngtcp2_version_cid *,
    size_t trigger, const struct quic_path *, uint64_t now);

/* Puts the next answer into the train. False: there is none, or no room. */
bool stranger_write(struct strangers *, struct quic_train *);

#endif
