/*
 * What was sent, what of it has arrived, and whether that speaks of a black
 * hole: large packets vanish while small ones pass. Pure: packet numbers and
 * times. The probes themselves are no evidence; pmtu.h weighs those.
 */
#ifndef CULVERT_QUIC_BLACK_HOLE_H
#define CULVERT_QUIC_BLACK_HOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quic/pmtu.h"

/* Packet numbers whose kind is remembered: more than a window holds. */
#define BLACK_HOLE_HISTORY 8192

/* A packet is lost when one sent so much later has arrived (RFC 9002 §6.1.1). */
#define BLACK_HOLE_REORDERING 3 /* packets */

enum black_hole_kind {
	BLACK_HOLE_NONE, /* asks for no acknowledgement, or has had it */
	BLACK_HOLE_SMALL, /* at most the base size */
	BLACK_HOLE_LARGE
};

/* All zero at first. */
struct black_hole {
	/* For the owner to read. */
	uint64_t next_number; /* one past the last that was sent */
	uint64_t acked_end; /* one past the largest acknowledged */
	unsigned large_waiting; /* large packets since one was acknowledged */
	bool waiting; /* something is unacknowledged ... */
	uint64_t progress_at; /* ... since then, with nothing new */

	/* Private. */
	uint64_t acked_next; /* as acked_end, of the datagram being read */
	uint64_t steps_left; /* numbers to be looked at for this packet */
	uint64_t large_third; /* number of the third of large_waiting */
	uint64_t scored_end; /* packets below have been weighed */
	unsigned loss_score; /* large ones lost, less those that came ... */
	uint64_t loss_end; /* ... and one past the last of the lost */
	uint64_t small_acked_end; /* one past the last small one acknowledged */
	uint8_t history[BLACK_HOLE_HISTORY]; /* kind of each packet number */
};

/* A packet was sent; numbers only go up. */
void black_hole_sent(
    struct black_hole *, uint64_t number, enum black_hole_kind, uint64_t now);

/*
 * A packet was opened. What it acknowledges is looked at once: as many numbers
 * as one ACK frame can have, and no more if it has hundreds of frames.
 */
void black_hole_opened(struct black_hole *);

/*
 * These were acknowledged, all of them below next_number; the search is told
 * what that means to it.
 */
void black_hole_acked(struct black_hole *, struct pmtu *, uint64_t first,
    uint64_t last, uint64_t now);

/* A datagram was read. False: it has acknowledged nothing above acked_end. */
bool black_hole_progressed(struct black_hole *);

/* Whether what is lost by now betrays a black hole. */
bool black_hole_is_suspected(struct black_hole *);

/* It has had its say: what is sent from now on tells. */
void black_hole_clear(struct black_hole *);

/* The same, and what was sent before is not to count: it has not left. */
void black_hole_discard(struct black_hole *);

/* Nothing is in flight any more: `waiting` ends without an answer. */
void black_hole_idle(struct black_hole *);

#endif
