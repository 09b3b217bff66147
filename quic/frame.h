/*
 * A parser for QUIC frames (RFC 9000 §19) of the packets that are sealed and
 * opened. Pure. It checks every length, and knows the frames of version 1 and
 * DATAGRAM (RFC 9221). An unknown frame ends the walk.
 */
#ifndef CULVERT_QUIC_FRAME_H
#define CULVERT_QUIC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Calls `range` for every range of packet numbers that the ACK frames of a
 * payload acknowledge, `first` to `last` inclusive, the largest first.
 */
void frame_walk_acks(const uint8_t *payload, size_t len,
    void (*range)(void *arg, uint64_t first, uint64_t last), void *arg);

/*
 * What a payload requires of its receiver; each kind may contain those before
 * it.
 */
enum frame_kind {
	FRAME_ACK_ONLY,	 /* nothing: ACK and PADDING */
	FRAME_PING_ONLY, /* PING: an acknowledgement, and no more */
	FRAME_ELICITING	 /* anything else, or a frame that is not known */
};
enum frame_kind frame_kind(const uint8_t *payload, size_t len);

#endif
