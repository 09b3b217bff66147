/*
 * Detects black holes by ordinary packets: large ones are lost while small ones
 * pass. Pure: packet numbers and times. Probes do not count here: pmtu.h, which
 * decides whether the suspicion is right, evaluates those.
 */
#ifndef CULVERT_QUIC_BLACK_HOLE_H
#define CULVERT_QUIC_BLACK_HOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quic/pmtu.h"

/* Packet numbers whose kind is stored: more than a window has. */
#define BLACK_HOLE_HISTORY 8192
#define BLACK_HOLE_KINDS_A_BYTE 4

/*
 * A packet is lost if a packet sent so much later is acknowledged (RFC 9002
 * §6.1.1).
 */
#define BLACK_HOLE_REORDERING 3 /* packets */

enum black_hole_kind {
	BLACK_HOLE_NONE,  /* needs no acknowledgement, or has it */
	BLACK_HOLE_SMALL, /* at most the base size */
	BLACK_HOLE_LARGE,
	BLACK_HOLE_FULL /* large, and of the size in force */
};

/* All zero at first. */
struct black_hole {
	/* For the owner to read. */
	uint64_t next_number; /* one past the last packet that was sent */
	uint64_t acked_end;   /* one past the largest acknowledged packet */
	/* Large packets sent since one was acknowledged. */
	unsigned large_waiting;
	bool waiting; /* some packets are not acknowledged */
	/* When one was acknowledged last, or `waiting` began. */
	uint64_t progress_at;

	/* Private. */
	uint64_t acked_next;  /* as acked_end, with the current datagram */
	uint64_t steps_left;  /* numbers that this packet may still check */
	uint64_t large_third; /* number of the third of large_waiting */
	uint64_t scored_end;  /* packets below it have been evaluated */
	unsigned loss_score;  /* large packets lost, less those acknowledged */
	uint64_t loss_end;    /* one past the last large packet that was lost */
	/* One past the last acknowledged small packet. */
	uint64_t small_acked_end;
	/* The kind of each packet number, in two bits. */
	uint8_t history[BLACK_HOLE_HISTORY / BLACK_HOLE_KINDS_A_BYTE];
};

/* A packet was sent. Numbers only increase. */
void black_hole_sent(struct black_hole *, uint64_t number, enum black_hole_kind,
    uint64_t now);

/*
 * A packet was decrypted. Each packet may check as many numbers as one ACK
 * frame can have, and no more if it has hundreds of frames.
 */
void black_hole_opened(struct black_hole *);

/*
 * These packets were acknowledged, all of them below next_number. Reports to
 * the search for the path MTU what that means.
 */
void black_hole_acked(struct black_hole *, struct pmtu *, uint64_t first,
    uint64_t last, uint64_t now);

/* A datagram was read. False: it has acknowledged nothing above acked_end. */
bool black_hole_progressed(struct black_hole *);

/* True: the losses suggest a black hole. */
bool black_hole_is_suspected(struct black_hole *);

/* Clears the score: packets from now on count. */
void black_hole_clear(struct black_hole *);

/* The same, and packets sent before do not count: they did not leave. */
void black_hole_discard(struct black_hole *);

/* No packet is in flight any more: ends `waiting`, though some may be lost. */
void black_hole_idle(struct black_hole *);

#endif
