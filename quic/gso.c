/*
 * Trains: packets of one size, one path and one ECN codepoint, one after the
 * other in memory, so that one call sends them all. A packet that does not fit
 * stays behind the train until the next one begins.
 */
#include <string.h>

#include "quic/internal.h"

static void
train_hold(struct quic_gso *gso, const ngtcp2_path *path, uint8_t ecn,
    size_t at, size_t len)
{
	gso->held_at = at;
	gso->held_len = len;
	gso->held_ecn = ecn;
	memcpy(&gso->held_path.local, path->local.addr, path->local.addrlen);
	memcpy(&gso->held_path.remote, path->remote.addr, path->remote.addrlen);
}

/* Starts a train with the packet that waits, if there is one. */
void
gso_begin(struct quic_gso *gso)
{
	gso->len = gso->segment = gso->held_len;
	if (gso->held_len == 0)
		return;
	memmove(gso->buf, gso->buf + gso->held_at, gso->held_len);
	gso->path = gso->held_path;
	gso->ecn = gso->held_ecn;
	gso->held_len = 0;
}

/* Adds the packet behind the train. False: it waits for the next train. */
bool
gso_add(struct quic_gso *gso, const ngtcp2_path *path, uint8_t ecn, size_t len)
{
	if (gso->len > 0) {
		ngtcp2_path same = path_view(&gso->path);
		if (len > gso->segment || ecn != gso->ecn ||
		    gso->len + len > QUIC_GSO_MAX ||
		    !ngtcp2_path_eq(&same, path)) {
			train_hold(gso, path, ecn, gso->len, len);
			return false;
		}
	} else {
		memcpy(&gso->path.local, path->local.addr, path->local.addrlen);
		memcpy(&gso->path.remote, path->remote.addr,
		    path->remote.addrlen);
		gso->ecn = ecn;
		gso->segment = len;
	}
	gso->len += len;
	return true;
}

bool
gso_is_full(const struct quic_gso *gso)
{
	return gso->len % gso->segment != 0 ||
	    gso->len / gso->segment >= QUIC_GSO_PACKETS_MAX ||
	    gso->len + gso->segment > QUIC_GSO_MAX;
}

/* The size of the datagram at `at` in a receive result. 0: there is no more. */
size_t
rx_datagram(const struct quic_rx *rx, size_t at)
{
	size_t left = rx->len - at;

	return rx->segment > 0 && rx->segment < left ? rx->segment : left;
}
