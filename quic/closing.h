/*
 * What a server keeps of a connection that it or its peer has closed (RFC 9000
 * §10.2): the IDs and the CONNECTION_CLOSE. The connection itself is freed at
 * once. The CONNECTION_CLOSE is repeated for a peer that missed it, and packets
 * that were under way are not answered by a stateless reset.
 */
#ifndef CULVERT_QUIC_CLOSING_H
#define CULVERT_QUIC_CLOSING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quic/conn_id.h"
#include "quic/quic.h"

struct closing;
TAILQ_HEAD(closing_queue, closing);

struct closings {
	struct conn_id_map *ids; /* of the server */
	size_t n;		 /* records; for the owner to read */

	/* Private, see closings_init(). */
	struct closing_queue all; /* oldest first */
	struct closing_queue due; /* have a packet to send */
};

void closings_init(struct closings *, struct conn_id_map *);
void closings_fini(struct closings *);

/*
 * Takes over the IDs of a connection on that path. `packet` is copied. It is
 * sent now, and again if the peer goes on. Length 0: the peer has closed, and
 * nothing is sent. Without memory the IDs stay with the connection.
 */
void closings_add(struct closings *, struct conn_ids *,
    const struct quic_path *, const uint8_t *packet, size_t len, uint64_t now);

/* A datagram of `len` bytes has been received for it. */
void closing_received(struct closings *, struct closing *, size_t len);

/*
 * Puts a packet that is due into the train. False: there is none, or no room.
 */
bool closings_write(struct closings *, struct quic_gso *);

/* Drops the records whose time is over. */
void closings_expire(struct closings *, uint64_t now);
uint64_t closings_deadline(const struct closings *);

#endif
