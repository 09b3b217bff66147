/*
 * Just enough of QUIC's frames (RFC 9000 §19) to look into the packets that
 * pass by: pure, never trusts a length, and knows the frames of version 1 and
 * DATAGRAM (RFC 9221). What it does not know ends the walk.
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

/* What a payload asks of its receiver; each may hold those before it, too. */
enum frame_kind {
	FRAME_ACK_ONLY, /* nothing: ACK and PADDING */
	FRAME_PING_ONLY, /* PING: an acknowledgement, and no more */
	FRAME_ELICITING /* anything else, or what could not be read */
};
enum frame_kind frame_kind(const uint8_t *payload, size_t len);

#endif
