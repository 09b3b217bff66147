/*
 * Trains: packets of one size, one path and one ECN codepoint, sealed one
 * behind the other so that one call sends them all. A packet that does not fit
 * the train at hand lies behind it until the next one begins.
 */
#include <string.h>

#include "quic/internal.h"

static void
train_hold(struct quic_train *train, const ngtcp2_path *path, uint8_t ecn,
    size_t at, size_t len)
{
	train->held_at = at;
	train->held_len = len;
	train->held_ecn = ecn;
	memcpy(&train->held_path.local, path->local.addr, path->local.addrlen);
	memcpy(&train->held_path.remote, path->remote.addr,
	    path->remote.addrlen);
}

/* Starts a train with the packet that waits, if one does. */
void
train_begin(struct quic_train *train)
{
	train->len = train->segment = train->held_len;
	if (train->held_len == 0)
		return;
	memmove(train->buf, train->buf + train->held_at, train->held_len);
	train->path = train->held_path;
	train->ecn = train->held_ecn;
	train->held_len = 0;
}

/* Adds the packet that lies behind the train; false: it waits its turn. */
bool
train_add(struct quic_train *train, const ngtcp2_path *path, uint8_t ecn,
    size_t len)
{
	if (train->len > 0) {
		ngtcp2_path same = path_view(&train->path);
		if (len > train->segment || ecn != train->ecn ||
		    train->len + len > QUIC_TRAIN_MAX ||
		    !ngtcp2_path_eq(&same, path)) {
			train_hold(train, path, ecn, train->len, len);
			return false;
		}
	} else {
		memcpy(&train->path.local, path->local.addr,
		    path->local.addrlen);
		memcpy(&train->path.remote, path->remote.addr,
		    path->remote.addrlen);
		train->ecn = ecn;
		train->segment = len;
	}
	train->len += len;
	return true;
}

bool
train_is_full(const struct quic_train *train)
{
	return train->len % train->segment != 0 ||
	    train->len / train->segment >= QUIC_TRAIN_PACKETS_MAX ||
	    train->len + train->segment > QUIC_TRAIN_MAX;
}

/* The datagram at `at` in what one receive call gave; 0: there is no more. */
size_t
rx_datagram(const struct quic_rx *rx, size_t at)
{
	size_t left = rx->len - at;

	return rx->segment > 0 && rx->segment < left ? rx->segment : left;
}
