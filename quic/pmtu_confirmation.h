/*
 * When the size in force is to be confirmed again, so that a path that has
 * become smaller is noticed before the next large packet: once a minute while
 * the connection is used. Pure, a part of struct pmtu; all times are
 * nanoseconds.
 *
 * RFC 8899 §5.1.1 has a timer for this (CONFIRMATION_TIMER), but only for
 * protocols without acknowledgements: others learn of a smaller path by the
 * packets that they lose. A side that sends only small packets loses none. Here
 * is no timer either, so an idle connection is not disturbed: a packet that is
 * sent or received shows that the connection is used.
 */
#ifndef CULVERT_QUIC_PMTU_CONFIRMATION_H
#define CULVERT_QUIC_PMTU_CONFIRMATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pmtu_confirmation {
	bool due; /* for the owner to read: a probe is to be sent */
	uint64_t confirmed_at; /* a packet of this size was acknowledged */
	unsigned lost;	       /* probes in a row */
};

/* A packet or a probe of the size was acknowledged, or the size is new. */
void pmtu_confirmation_reset(struct pmtu_confirmation *, uint64_t now);

/* The connection is used: a probe of `size` may be due. */
void
pmtu_confirmation_used(struct pmtu_confirmation *, size_t size, uint64_t now);

/*
 * A probe was lost; the next is due. True: so many in a row that it is no
 * chance. Then none is due until the connection is used after the interval.
 */
bool pmtu_confirmation_lost(struct pmtu_confirmation *, uint64_t now);

#endif
