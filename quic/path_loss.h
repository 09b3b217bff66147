/*
 * Packets that the path loses, in both directions, and those of them that were
 * lost while no queue was long, at a client, which chooses: path_loss.c.
 */
#ifndef CULVERT_QUIC_PATH_LOSS_H
#define CULVERT_QUIC_PATH_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quic/quic.h"

struct quic_conn;

/* Packets of one direction. */
struct loss_count {
	uint64_t packets, lost;
};

/* A connection's part, embedded in it as `path_loss`. */
struct conn_path_loss {
	/* conn->counts as this interval began; what was in the one before */
	struct loss_count sent_until, sent_before;
	/* In this interval, and in the one before, for packets that are late */
	struct loss_count received, received_before;
	struct quic_loss sent_noted, received_noted; /* the ones before */
	uint64_t largest;  /* packet number that was received; or ... */
	uint64_t first;	   /* number that was expected as this interval began */
	uint64_t look_at;  /* then the queue is looked at again */
	uint64_t begin_at; /* of this interval */
	uint64_t queued_at; /* a queue was last long */
	bool any;	    /* ... none yet */
};

/*
 * A 1-RTT packet was decrypted; `header` is its header without protection, of
 * `len` bytes, which ends with the packet number (RFC 9000 §17.3.1).
 */
void path_loss_received(struct quic_conn *, const uint8_t *header, size_t len);

/* Ends an interval if it is due; after each datagram. */
void path_loss_update(struct quic_conn *, uint64_t now);

#endif
