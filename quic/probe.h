/*
 * How a probe of the path MTU leaves, and how its fate is learnt, without a
 * word to the peer that is not plain QUIC.
 *
 * ngtcp2 has us seal and open packets (its encrypt and decrypt callbacks), and
 * there we look in. Two kinds of packets can be given another length while
 * they are sealed, since the library keeps no account of it:
 *
 *  - One that only acknowledges. PING and PADDING are added to it, the peer
 *    acknowledges it, and neither its loss nor its size touches the congestion
 *    window. There is one for every two packets that ask for an answer.
 *  - A probe of the library's own discovery, PING and PADDING too: a turn. The
 *    library believes that it tries sizes beyond the ceiling; what is sealed
 *    is the size that we want. There is one at a time, even on an idle
 *    connection.
 *
 * Who only sends gets nothing to acknowledge. But its packets of exactly the
 * base size show that it is looking, and a receiver that is one of us adds PING
 * to a few of its acknowledgements then (RFC 9000 §13.2.4). Those are of the
 * first kind, so nobody waits for an acknowledgement of them.
 *
 * What comes back is read off the peer's ACK frames.
 */
#ifndef CULVERT_QUIC_PROBE_H
#define CULVERT_QUIC_PROBE_H

#include <ngtcp2/ngtcp2.h>

#include <sys/queue.h>

#include "quic/black_hole.h"
#include "quic/pmtu.h"
#include "quic/quic.h"
#include "quic/icmp.h"

/*
 * Sizes that the library is made to try, one after another: each is a turn for
 * a probe of ours on an idle connection. They must be beyond all of our
 * packets, or it would try them without us, and when nothing is to be learnt
 * any more. So they begin above what is asked for on any path.
 */
#define PROBE_SLOTS 48

/* Acknowledgements in one round trip that get a PING, to help the sender. */
#define PROBE_PINGS 8

/*
 * Probes in one round trip that may leave although the window is full: those
 * that the window does not control must be few and a round trip apart (RFC
 * 8899 §3). A full window is where a black hole leaves a sender.
 */
#define PROBE_FREE 4

/* Probes whose fate is awaited, those of a search given up included. */
#define PROBE_FLIGHTS_MAX (2 * PMTU_IN_FLIGHT_MAX)

/* Packets that may wait to be written; see probe_enqueue(). */
#define PROBE_QUEUE_MAX PMTU_PARALLEL_MAX

/* A probe under way. */
struct probe_flight {
	uint64_t number; /* packet number */
	uint64_t sent_at;
	size_t size; /* bytes of UDP payload */
	unsigned slot; /* which of the library's it is; 0: none */
};

/* A packet that was sealed while others were read, and waits. */
struct probe_packet {
	TAILQ_ENTRY(probe_packet) entry;
	struct quic_path path;
	uint8_t ecn;
	size_t len;
	uint8_t data[];
};

/* Part of a connection; private to probe.c and probe_packet.c but for `pmtu`.
 */
struct probe {
	struct pmtu pmtu;
	size_t headers; /* bytes of IP and UDP on this path */
	size_t max; /* the most that is asked for, on any path ... */
	uint64_t peer_max; /* ... and the most that the peer takes; 0: unknown */
	bool started;
	bool fresh; /* nothing was written since it was started */
	struct icmp_quotes quotes; /* of packets above the base size */

	/* The packet that is being sealed. */
	const uint8_t *datagram; /* where its datagram begins */
	const uint8_t *packet; /* where it lies; NULL: not to be resized */
	size_t want; /* bytes it is to have */
	size_t sealed; /* bytes it has got, or 0 */
	uint64_t number;
	bool in_slot; /* it may be the library's own probe */
	size_t added; /* bytes that were added to one of another kind */

	struct probe_flight flights[PROBE_FLIGHTS_MAX];
	size_t nflights;
	unsigned ranges_left; /* to be looked at in the packet being read */

	/* The library's discovery, as it must see itself. */
	bool slot_due; /* it would send a probe if it had the room */
	unsigned tries; /* of the size that it thinks it tries ... */
	unsigned slots_left; /* ... which is the number of this turn, too */
	uint64_t slot_expiry;

	unsigned free_left; /* of PROBE_FREE in this round trip */
	uint64_t free_at;
	bool must_ack_ping; /* nothing but PING is to be acknowledged ... */
	bool must_ack; /* ... or more than that */
	bool sees_base; /* the peer's packets have the base size */
	unsigned pings_left;
	uint64_t pings_at;
	TAILQ_HEAD(, probe_packet) queue;
	unsigned nqueue;

	struct black_hole black_hole; /* what ordinary packets say */
};

/*
 * Prepares the library's settings: no shaping of packets by its own discovery,
 * and the sizes of its slots in `slots`, which must live until the connection
 * is made.
 */
void probe_init(struct quic_conn *, ngtcp2_settings *,
    uint16_t slots[PROBE_SLOTS]);

/*
 * The interface takes IP packets of so many bytes, and no more: what was larger
 * has not left. The search asks it again now and then.
 */
void probe_set_link(struct quic_conn *, size_t ip_mtu, uint64_t now);

/* A router says that a packet was too big; believed if it was one of ours. */
void probe_too_big(struct quic_conn *, const struct quic_too_big *,
    uint64_t now);

/* The path is validated, or another one is: begin to look for its size. */
void probe_start(struct quic_conn *, uint64_t now);

/*
 * The path of the connection is another one, perhaps of the other family, and
 * not validated yet: packets are of the base size and none is a probe until
 * probe_start().
 */
void probe_stop(struct quic_conn *, uint64_t now);

/* The callbacks, in place of those of ngtcp2_crypto: see probe_packet.c. */
int probe_encrypt(uint8_t *dest, const ngtcp2_crypto_aead *,
    const ngtcp2_crypto_aead_ctx *, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);
int probe_decrypt(uint8_t *dest, const ngtcp2_crypto_aead *,
    const ngtcp2_crypto_aead_ctx *, const uint8_t *sealed, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);

/*
 * Around every call of the library that may seal or open packets of `conn`:
 * the callbacks do not say whose packets they are. NULL: none any more.
 */
void probe_watch(struct quic_conn *);

/* A datagram was read: weighs what it has told. */
void probe_evaluate(struct quic_conn *, uint64_t now);

/*
 * A datagram was read and more will be: seals a probe that acknowledges it, if
 * one is wanted, and keeps it for probe_write(). Never after the last datagram
 * of a batch, so that the last acknowledgement is an ordinary one, and no
 * acknowledgement is lost with a probe.
 */
void probe_enqueue(struct quic_conn *, uint64_t now);

/* The most that the library may fill of an ordinary packet now, in bytes ... */
size_t probe_cap(struct quic_conn *, uint64_t now);

/*
 * ... one that it is about to write there, alone or behind others that it
 * coalesces (RFC 9000 §12.2) ...
 */
void probe_begin(struct quic_conn *, const uint8_t *datagram);

/* ... and what was added to it while it was sealed. */
size_t probe_added(const struct quic_conn *);

/*
 * Writes a probe into the empty train, alone, if one is wanted and can leave;
 * or a packet that would have left anyhow. Returns as the library's write
 * calls do: 0 for nothing.
 */
ngtcp2_ssize probe_write(struct quic_conn *, struct quic_gso *, uint64_t now);

/* Fills in what the discovery has found. */
void probe_stats(const struct quic_conn *, struct quic_stats *);

/* Frees what waits to be written. */
void probe_fini(struct quic_conn *);

void probe_expire(struct quic_conn *, uint64_t now);
uint64_t probe_deadline(const struct quic_conn *);

/* ---- What probe.c does for probe_packet.c ---- */

/* A probe's fate: that of flights[at], which is no longer there afterwards. */
void probe_resolved(struct quic_conn *, size_t at, bool acked);

/* The latest round trip time or the usual one: the longer; nanoseconds. */
uint64_t probe_rtt(struct quic_conn *);

#endif
