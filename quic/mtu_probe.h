/*
 * Sends the probes of the search for the path MTU (pmtu.h), and reports to it
 * whether they were acknowledged or lost. To the peer it is plain QUIC. Which
 * size is probed, pmtu.h decides, when the search is repeated,
 * pmtu_search_interval.h, and when the size in force is confirmed,
 * pmtu_confirmation.h.
 *
 * ngtcp2 calls us to encrypt and decrypt packets, and there they can be read
 * and changed. Two kinds of packets can get another length as they are
 * encrypted, since the library does not account for it:
 *
 *  - A packet that only acknowledges. PING and PADDING are added to it, the
 *    peer acknowledges it, and neither its loss nor its size affects the
 *    congestion window. There is one for every two packets that need an
 *    acknowledgement.
 *  - A probe of the library's own discovery, which is PING and PADDING, too: a
 *    slot. The library probes sizes beyond our ceiling; the packet gets the
 *    size that we need. There is one at a time, even on an idle connection.
 *
 * A side that only sends has nothing to acknowledge. But its packets have
 * exactly the base size while it searches, and a receiver that is culvert then
 * adds PING to some of its acknowledgements (RFC 9000 §13.2.4), and seldom also
 * to others, so that the sender can confirm the size in force. The library does
 * not account for these, either, so nothing waits for an acknowledgement of
 * them.
 */
#ifndef CULVERT_QUIC_MTU_PROBE_H
#define CULVERT_QUIC_MTU_PROBE_H

#include <ngtcp2/ngtcp2.h>

#include <sys/queue.h>

#include "quic/black_hole.h"
#include "quic/pmtu.h"
#include "quic/quic.h"
#include "quic/icmp.h"

/*
 * The sizes that the library probes, one after another: each is a slot for a
 * probe of ours on an idle connection. They begin above the largest size for
 * any path: smaller ones the library would probe by itself, also when no result
 * is needed any more.
 */
#define MTU_PROBE_SLOTS 48

/* Acknowledgements in one round trip to which a PING is added, for the peer. */
#define MTU_PROBE_PINGS 8

/*
 * Probes in one round trip that may be sent although the window is full: probes
 * beyond congestion control must be few and a round trip apart (RFC 8899 §3). A
 * black hole leaves a sender with a full window.
 */
#define MTU_PROBE_FREE 4

/* Probes whose result is open, those of an abandoned search included. */
#define MTU_PROBE_FLIGHTS_MAX (2 * PMTU_IN_FLIGHT_MAX)

/* Packets that may wait to be written; see mtu_probe_enqueue(). */
#define MTU_PROBE_QUEUE_MAX PMTU_PARALLEL_MAX

/* A probe in flight. */
struct mtu_probe_flight {
	uint64_t number; /* packet number */
	uint64_t sent_at;
	size_t size;   /* bytes of UDP payload */
	unsigned slot; /* number of the library's slot; 0: none */
};

/* A packet that was encrypted while others were read, and waits. */
struct mtu_probe_packet {
	TAILQ_ENTRY(mtu_probe_packet) entry;
	struct quic_path path;
	uint8_t ecn;
	size_t len;
	uint8_t data[];
};

/*
 * A connection's part. Private to mtu_probe.c and mtu_probe_packet.c but for
 * `pmtu`.
 */
struct mtu_probe {
	struct pmtu pmtu;
	size_t headers;	   /* bytes of IP and UDP on this path */
	size_t max;	   /* the largest size for any path */
	uint64_t peer_max; /* the peer's max_udp_payload_size; 0: unknown */
	bool started;
	bool fresh; /* nothing was written since mtu_probe_start() */
	struct icmp_quotes quotes; /* of packets above the base size */
	uint64_t quoted_at;	   /* ns: of the last one */

	/* The packet that is being encrypted. */
	const uint8_t *datagram; /* start of its datagram */
	/* Start of the packet; NULL: not to be resized. */
	const uint8_t *packet;
	size_t want;   /* the size that it is to have */
	size_t sealed; /* the size that it got, or 0 */
	uint64_t number;
	bool in_slot; /* it may be the library's own probe */
	size_t added; /* bytes that were added to another packet */

	struct mtu_probe_flight flights[MTU_PROBE_FLIGHTS_MAX];
	size_t nflights;
	unsigned ranges_left; /* ranges that this packet may still have */

	/* The state of the library's own discovery. */
	bool slot_due;	     /* it sends a probe if it has room */
	unsigned tries;	     /* of its current size */
	unsigned slots_left; /* also the number of this slot */
	uint64_t slot_expiry;

	unsigned free_left; /* of MTU_PROBE_FREE in this round trip */
	uint64_t free_at;
	bool must_ack_ping; /* a packet with only PING is to be acknowledged */
	bool must_ack;	    /* another packet is to be acknowledged */
	bool sees_base;	    /* the peer's packets have the base size */
	unsigned pings_left;
	uint64_t pings_at;
	TAILQ_HEAD(, mtu_probe_packet) queue;
	unsigned nqueue;

	struct black_hole black_hole; /* from ordinary packets */
};

/*
 * Sets the library's settings: no limit of packets by its own discovery, and
 * the sizes of its slots in `slots`, which must live until the connection is
 * made.
 */
void mtu_probe_init(struct quic_conn *, ngtcp2_settings *,
    uint16_t slots[MTU_PROBE_SLOTS]);

/*
 * The interface takes IP packets of at most so many bytes: larger ones were not
 * sent. Later searches probe beyond that now and then.
 */
void
mtu_probe_set_interface_mtu(struct quic_conn *, size_t ip_mtu, uint64_t now);

/*
 * An ICMP message reports that a packet was too big. It counts if the packet is
 * ours.
 */
void mtu_probe_too_big(struct quic_conn *, const struct quic_too_big *,
    uint64_t now);

/* The path is validated: starts the search for its size. */
void mtu_probe_start(struct quic_conn *, uint64_t now);

/*
 * The path has changed, perhaps to the other address family, and is not
 * validated yet: packets have the base size, and there are no probes until
 * mtu_probe_start().
 */
void mtu_probe_stop(struct quic_conn *, uint64_t now);

/* Callbacks in place of those of ngtcp2_crypto: see mtu_probe_packet.c. */
int mtu_probe_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *,
    const ngtcp2_crypto_aead_ctx *, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);
int mtu_probe_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *,
    const ngtcp2_crypto_aead_ctx *, const uint8_t *sealed, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);

/*
 * To be called around every library call that may encrypt or decrypt packets of
 * `conn`, since the callbacks do not say whose packets they are. NULL: none any
 * more.
 */
void mtu_probe_watch(struct quic_conn *);

/* A datagram was read: evaluates its acknowledgements. */
void mtu_probe_evaluate(struct quic_conn *, uint64_t now);

/*
 * A datagram was read and more will be: if a probe is needed, encrypts one that
 * acknowledges the datagram, and keeps it for mtu_probe_write(). Never after
 * the last datagram of a batch, so that the last acknowledgement is an ordinary
 * one, and no acknowledgement is lost with a probe.
 */
void mtu_probe_enqueue(struct quic_conn *, uint64_t now);

/* The largest size of an ordinary packet now, in bytes. */
size_t mtu_probe_cap(struct quic_conn *, uint64_t now);

/*
 * The library is about to write an ordinary packet there, alone or behind
 * others that it coalesces (RFC 9000 §12.2).
 */
void mtu_probe_begin(struct quic_conn *, const uint8_t *datagram);

/* The bytes that were added to that packet as it was encrypted. */
size_t mtu_probe_added(const struct quic_conn *);

/*
 * Writes a probe into the empty train, alone, if one is needed and possible; or
 * a packet that would have been sent anyhow. Probes of a search come before
 * ordinary packets (`first`), and those that only confirm the size in force
 * after them, since they would delay them by their pacing. Returns as the write
 * calls of ngtcp2 do; 0: nothing.
 */
ngtcp2_ssize mtu_probe_write(struct quic_conn *, struct quic_gso *, bool first,
    uint64_t now);

/* Fills in the results. */
void mtu_probe_stats(const struct quic_conn *, struct quic_stats *);

/* Frees packets that wait to be written. */
void mtu_probe_fini(struct quic_conn *);

void mtu_probe_expire(struct quic_conn *, uint64_t now);
uint64_t mtu_probe_deadline(const struct quic_conn *);

/* A packet above the base size was encrypted. */
void mtu_probe_quote(struct quic_conn *, const uint8_t *datagram, size_t size);

/* ---- What mtu_probe.c does for mtu_probe_packet.c ---- */

/* The probe flights[at] was acknowledged or lost; it is removed. */
void mtu_probe_resolved(struct quic_conn *, size_t at, bool acked);

/* The latest or the smoothed round trip time, the longer one; nanoseconds. */
uint64_t mtu_probe_rtt(struct quic_conn *);

#endif
