/*
 * Packets that the path loses, in both directions, and those of them that were
 * lost while no queue was full, at a client, which chooses: path_loss.c.
 */
#ifndef CULVERT_QUIC_PATH_LOSS_H
#define CULVERT_QUIC_PATH_LOSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quic/quic.h"

struct quic_conn;
struct path_loss_windows;

/* A connection's part, embedded in it as `path_loss`. */
struct conn_path_loss {
	struct path_loss_windows *windows; /* NULL: nothing is counted */
	struct quic_loss sent_noted, received_noted; /* intervals that ended */
	uint64_t largest;  /* packet number that was received; or ... */
	uint64_t look_at;  /* then the queue is looked at again */
	uint64_t begin_at; /* of this interval */
	unsigned nsamples; /* of the round-trip time, since the last verdict */
	uint64_t last_rtt, least_rtt; /* of them */
	uint64_t queued_at;	      /* a queue was last long */
	uint64_t moved_at;	      /* the path has changed */
	bool any;		      /* ... none yet */
};

/* A 1-RTT packet was decrypted. */
void path_loss_received(struct quic_conn *, uint64_t number, size_t bytes);

/* A 1-RTT packet was encrypted. A probe for the path MTU may well be lost. */
void
path_loss_sent(struct quic_conn *, uint64_t number, size_t bytes, bool probe);

/* An ACK frame has a range with those numbers, which were sent. */
void path_loss_acked(struct quic_conn *, uint64_t first, uint64_t last);

/* The path has changed: what was sent or is received before does not count. */
void path_loss_moved(struct quic_conn *);

/* Ends an interval if it is due; after each datagram. */
void path_loss_update(struct quic_conn *, uint64_t now);

void path_loss_free(struct quic_conn *);

#endif
