/*
 * Encryption and decryption of packets: a probe gets its size here, and frames
 * are read.
 */
#include <string.h>

#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/frame.h"
#include "quic/internal.h"
#include "quic/packet_number.h"

#define TAG_LEN 16 /* bytes, for every AEAD that we offer */
/*
 * ACK ranges of a packet that are checked: several times as many as QUIC
 * implementations send. Probes that are acknowledged beyond count as lost.
 */
#define RANGES_MAX 256

/*
 * A side that only receives adds a PING to an acknowledgement so often: half
 * the interval in which the peer confirms the size in force.
 */
#define PING_INTERVAL (30 * NS_PER_S)

#define PING 0x01 /* RFC 9000 §19.2 */
#define ACK 0x02  /* RFC 9000 §19.3; with ECN counts 0x03 */

/*
 * The connection whose packets are encrypted or decrypted; there is one thread.
 */
static struct quic_conn *watched;

void
mtu_probe_watch(struct quic_conn *conn)
{
	watched = conn;
}

/* ---- Encryption ---- */

/* Probes do not count, and packets that need no acknowledgement do not. */
static void
note_sent(struct quic_conn *conn, uint64_t number, size_t size,
    enum frame_kind kind)
{
	struct mtu_probe *p = &conn->mtu_probe;

	black_hole_sent(&p->black_hole, number,
	    kind == FRAME_ACK_ONLY || p->sealed != 0 ? BLACK_HOLE_NONE
		: size <= p->pmtu.base		     ? BLACK_HOLE_SMALL
		: size < p->pmtu.size		     ? BLACK_HOLE_LARGE
						     : BLACK_HOLE_FULL,
	    conn->now);
	if (kind == FRAME_ELICITING)
		pmtu_used(&p->pmtu, conn->now);
	path_loss_sent(conn, number, size, p->sealed != 0);
}

/* The packet acknowledges; a probe may be lost, so it counts for PINGs only. */
static void
note_acking(struct mtu_probe *p, uint8_t first)
{
	if ((first & ~1) != ACK)
		return;
	p->must_ack_ping = false;
	if (p->sealed == 0)
		p->must_ack = false;
}

/*
 * True: the peer may need a packet to acknowledge. It searches for its path
 * MTU, or it has sent data, which we only acknowledge for so long.
 */
static bool
ping_is_due(const struct quic_conn *conn)
{
	const struct mtu_probe *p = &conn->mtu_probe;

	return p->sees_base ||
	    (p->must_ack && conn->now >= p->pings_at + PING_INTERVAL);
}

/*
 * Adds a PING to an acknowledgement, for a peer that searches for its path MTU
 * or confirms it. Not to a coalesced packet: the library has filled that
 * datagram.
 */
static size_t
add_ping(struct quic_conn *conn, const uint8_t *packet, uint8_t *payload,
    size_t len, size_t overhead)
{
	struct mtu_probe *p = &conn->mtu_probe;

	if (!ping_is_due(conn) || packet != p->datagram ||
	    len + 1 + overhead > PMTU_BASE_SIZE)
		return len;
	if (conn->now >= p->pings_at + mtu_probe_rtt(conn)) {
		p->pings_at = conn->now;
		p->pings_left = MTU_PROBE_PINGS;
	}
	if (p->pings_left == 0)
		return len;
	p->pings_left--;
	p->sees_base = false;
	payload[len] = PING;
	p->added = 1;
	return len + 1;
}

/*
 * Gives the packet its new size, in place: the buffer is that of the train and
 * has room. Returns the new length of the payload.
 */
static size_t
resize(struct mtu_probe *p, uint8_t *payload, size_t len, enum frame_kind kind,
    size_t overhead)
{
	size_t wanted = p->want - overhead;

	if (kind == FRAME_ACK_ONLY && wanted <= len)
		return len; /* it has many ranges, and cannot be a probe */
	if (wanted > len) {
		memset(payload + len, 0, wanted - len);
		if (kind == FRAME_ACK_ONLY)
			payload[len] = PING;
	}
	p->sealed = p->want;
	return wanted;
}

int
mtu_probe_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen)
{
	size_t overhead = aadlen + TAG_LEN;
	enum frame_kind kind;
	struct mtu_probe *p = NULL;
	int rv;

	if (watched != NULL && SHORT_HEADER(aad[0])) {
		p = &watched->mtu_probe;
		p->sealed = p->added = 0;
		p->number = packet_number_read(aad, aadlen,
		    p->black_hole.next_number);
		kind = frame_kind(plain, len);
		/* ngtcp2 encrypts in place: `plain` is `dest`. */
		if (p->want > overhead && aad == p->packet &&
		    (p->in_slot ? kind == FRAME_PING_ONLY
				: kind == FRAME_ACK_ONLY))
			len = resize(p, dest, len, kind, overhead);
		else if (p->packet == NULL && kind == FRAME_ACK_ONLY)
			len = add_ping(watched, aad, dest, len, overhead);
		note_sent(watched, p->number, len + overhead, kind);
		note_acking(p, dest[0]);
	}
	rv = aead_encrypt(watched, dest, aead, ctx, plain, len, nonce, noncelen,
	    aad, aadlen);
	if (p != NULL && len + overhead > p->pmtu.base)
		mtu_probe_quote(watched, aad, len + overhead);
	return rv;
}

void
mtu_probe_begin(struct quic_conn *conn, const uint8_t *datagram)
{
	conn->mtu_probe.datagram = datagram;
	conn->mtu_probe.added = 0;
}

size_t
mtu_probe_added(const struct quic_conn *conn)
{
	return conn->mtu_probe.added;
}

/* ---- Decryption ---- */

static void
on_acked_range(void *arg, uint64_t first, uint64_t last)
{
	struct quic_conn *conn = arg;
	struct mtu_probe *p = &conn->mtu_probe;

	if (last >= p->black_hole.next_number || p->ranges_left == 0)
		return; /* never sent: the library ends the connection */
	p->ranges_left--;
	for (size_t i = p->nflights; i-- > 0;)
		if (p->flights[i].number >= first &&
		    p->flights[i].number <= last)
			mtu_probe_resolved(conn, i, true);
	black_hole_acked(&p->black_hole, &p->pmtu, first, last, conn->now);
	path_loss_acked(conn, first, last);
}

static void
note_received(struct quic_conn *conn, size_t size, enum frame_kind kind)
{
	struct mtu_probe *p = &conn->mtu_probe;

	if (kind == FRAME_PING_ONLY)
		p->must_ack_ping = true;
	if (kind != FRAME_ELICITING)
		return;
	p->must_ack = true;
	pmtu_used(&p->pmtu, conn->now);
	if (size == PMTU_BASE_SIZE)
		p->sees_base = true;
}

static void
note_number(struct quic_conn *conn, uint64_t number, size_t size)
{
	path_loss_received(conn, number, size);
	repair_packet_opened(conn, number);
	if (number > conn->counts.largest)
		conn->counts.largest = number;
}

int
mtu_probe_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *sealed, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen)
{
	int rv = aead_decrypt(watched, dest, aead, ctx, sealed, len, nonce,
	    noncelen, aad, aadlen);

	if (rv != 0 || watched == NULL)
		return rv;
	watched->counts.received++;
	if (!SHORT_HEADER(aad[0]) || len < TAG_LEN)
		return 0;
	note_number(watched,
	    packet_number_read(aad, aadlen, watched->counts.largest + 1),
	    aadlen + len);
	watched->mtu_probe.ranges_left = RANGES_MAX;
	black_hole_opened(&watched->mtu_probe.black_hole);
	note_received(watched, aadlen + len, frame_kind(dest, len - TAG_LEN));
	frame_walk_acks(dest, len - TAG_LEN, on_acked_range, watched);
	return 0;
}
