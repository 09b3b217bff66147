/*
 * What a server keeps of a connection that it has closed, or whose peer has
 * (RFC 9000 §10.2): its IDs and its CONNECTION_CLOSE. The connection itself is
 * freed at once. A peer that has not heard of the close is told again, and
 * packets that were under way are not taken for those of a lost connection.
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
	struct conn_id_map *ids; /* the server's, for the owner to set */
	size_t n; /* for the owner to read */

	/* Private, see closings_init(). */
	struct closing_queue all; /* oldest first */
	struct closing_queue due; /* have a packet to be sent */
};

void closings_init(struct closings *, struct conn_id_map *);
void closings_fini(struct closings *);

/*
 * Takes over the IDs of a connection on that path. `packet` is copied; it is
 * to be sent now, and again to those who go on. Of length 0: it is the peer
 * that has closed, and nothing is sent. Without memory the IDs stay where they
 * are.
 */
void closings_add(struct closings *, struct conn_ids *,
    const struct quic_path *, const uint8_t *packet, size_t len, uint64_t now);

/* A datagram of `len` bytes has come for it. */
void closing_hear(struct closings *, struct closing *, size_t len);

/* Puts one that is due into the train. False: there is none, or no room. */
bool closings_write(struct closings *, struct quic_gso *);

/* Drops those whose time is over. */
void closings_expire(struct closings *, uint64_t now);
uint64_t closings_deadline(const struct closings *);

#endif
