/*
 * The packet numbers of one direction: which of them have arrived, and which
 * met a queue that cannot have been full. Pure: numbers, sizes and times.
 *
 * A queue before a line is full only while packets leave it as fast as the line
 * can, for as long as the queue is: so a loss is the queue's if around it about
 * as many bytes arrive as at most. This holds for the shortest queue, which no
 * round-trip time shows. Where they are far fewer, packets are lost at random.
 *
 * Where packets are received, a number is known when a higher one arrives. For
 * what was sent, it is known when it is sent, and arrives when an
 * acknowledgement says so, even after its loss was declared.
 */
#ifndef CULVERT_QUIC_LOSS_WINDOW_H
#define CULVERT_QUIC_LOSS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Numbers that are kept: of half a second at 400 Mbit/s. On a faster line
 * nothing is counted.
 */
#define LOSS_WINDOW_NUMBERS 16384
#define LOSS_WINDOW_WORDS (LOSS_WINDOW_NUMBERS / 64)

#define LOSS_WINDOW_TICKS 5 /* of a few milliseconds, that are looked at */

/* Packets of one direction. */
struct loss_count {
	uint64_t packets, lost;
	uint64_t calm_packets, calm_lost; /* of them, where no queue was full */
};

/* What came or left in a few milliseconds. */
struct loss_tick {
	uint64_t first; /* number */
	uint64_t packets, bytes;
};

/* All of it is private. All zero at first. */
struct loss_window {
	uint64_t next;		/* numbers below are known */
	uint64_t before, begin; /* intervals: the one before; this one */
	uint64_t tick;		/* of the time, the last */
	/* It, at the end, and those before. */
	struct loss_tick ticks[LOSS_WINDOW_TICKS];
	bool calm_before; /* so was the last tick that had a packet */
	uint64_t share;	  /* of the time: a longer part, the last */
	uint64_t delivered, peak, peak_before; /* bytes: in it; the most */
	uint64_t peak_at;		       /* since when `peak` is */
	uint64_t arrived[LOSS_WINDOW_WORDS], calm[LOSS_WINDOW_WORDS];
};

/* Begins anew: nothing is known of numbers below `next`. */
void loss_window_init(struct loss_window *, uint64_t next, uint64_t now);

/* The packet `number`, of `bytes`, was sent or is the highest that arrived. */
void loss_window_add(struct loss_window *, uint64_t number, size_t bytes,
    uint64_t now);

/* Those from `first` to `last` have arrived. Returns how many are new. */
uint64_t
loss_window_arrived(struct loss_window *, uint64_t first, uint64_t last);

/* So many bytes have come through the line. */
void loss_window_delivered(struct loss_window *, uint64_t bytes, uint64_t now);

/*
 * Ends an interval before the number `end`, and counts the one before: packets
 * that were late have arrived.
 */
void loss_window_next(struct loss_window *, uint64_t end, struct loss_count *);

#endif
