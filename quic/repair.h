/*
 * Repair packets: forward erasure correction below QUIC (RFC 6363 has the
 * terms). On a path that loses packets at random the congestion controller
 * takes the losses for congestion, and a lost packet costs a round trip. So the
 * receiver asks for repair packets, and the sender adds up to six to each
 * block of its packets. From these the receiver makes the packets that are
 * lost, and QUIC sees no loss. Losses of before have made it slow by then: so
 * congestion control begins anew (path_restart()).
 *
 *   receiver                                           sender
 *   repair_request.c: how much is lost at random ─────▶ how much is asked for
 *   repair_window.c  ◀── packets, as they are ─────────  packets
 *     holds what comes after                              │ repair_block.c
 *     a gap, fills the gap  ◀── repair packets ─────────── ┘
 *
 * A repair packet needs no authentication: what is made of it is decrypted as
 * any other packet. A request is authenticated, or others could make a sender
 * send more. There is no negotiation: a peer that has sent either has understood
 * a request, and one that has not is asked a few times.
 *
 * The connection's part is private to the three files.
 */
#ifndef CULVERT_QUIC_REPAIR_H
#define CULVERT_QUIC_REPAIR_H

#include <ngtcp2/ngtcp2.h>

#include "quic/quic.h"
#include "quic/repair_packet.h"

struct quic_conn;

#define REPAIR_KEY_LEN 32 /* bytes */

/* The block that is being sent: repair_block.c. */
struct repair_block {
	uint64_t first;	   /* number of its first packet */
	uint64_t mask;	   /* bit i: packet first + i is in it */
	unsigned npackets; /* 0: it has not begun */
	uint64_t due_at;   /* ns: then it ends, however short */
	uint8_t id[REPAIR_ID_LEN];
	size_t size;	   /* bytes of a symbol */
	unsigned nsymbols; /* of the block that has ended; 0: none has */
	unsigned ncounted; /* symbols to which its packets are added */
	unsigned packets_max, symbols_max; /* of a full block */
	uint8_t symbols[ERASURE_SYMBOLS_MAX][REPAIR_SYMBOL_MAX];
};

/* Packets that the window keeps: two blocks. A power of 2. */
#define REPAIR_WINDOW 64

struct repair_slot {
	uint64_t number;
	uint64_t arrived_at; /* ns */
	bool used;
	bool held; /* not read yet */
	bool made; /* of repair packets */
	uint8_t ecn;
	size_t len; /* bytes, with the length that precedes the packet */
	uint8_t bytes[REPAIR_SYMBOL_MAX];
};

/* What arrived: repair_window.c. */
struct repair_window {
	uint64_t next;	       /* number of the packet to read next */
	unsigned nheld;	       /* packets above a gap at `next` */
	struct quic_path path; /* on which they have arrived */
	uint64_t gap_at;       /* ns: since when they are held */
	uint64_t used_at;      /* ns: a repair packet last arrived */
	uint8_t ecn;	       /* of the packet that arrived last */
	/* The block that is being repaired. */
	uint64_t first, mask;
	size_t size;
	unsigned nsymbols; /* that have arrived; ... */
	unsigned expected; /* ... that were sent; 0: there is no block */
	unsigned numbers[ERASURE_SYMBOLS_MAX];
	uint8_t symbols[ERASURE_SYMBOLS_MAX][REPAIR_SYMBOL_MAX];
	struct repair_slot slots[REPAIR_WINDOW]; /* by number */
};

/* Samples of the loss, of 200 ms or more each. */
#define REPAIR_SAMPLES 16

struct repair_count {
	uint64_t packets, lost; /* those that were repaired, too */
};

/* A connection's part, embedded in it as `repair`. */
struct conn_repair {
	bool started; /* after the handshake, if it is not switched off */

	/* Sending. */
	unsigned asked;	      /* lost of 1,000 by the peer's request; 0: none */
	uint64_t asked_until; /* ns */
	uint64_t last_request;	    /* the count in it */
	struct repair_block *block; /* once it was asked for */

	/* Receiving. */
	struct repair_window *window; /* while repair packets arrive */
	ngtcp2_crypto_cipher hp;      /* header protection of 1-RTT packets */
	ngtcp2_crypto_cipher_ctx hp_ctx;
	bool knows_hp;

	/* Asking. */
	bool any;  /* a packet has been opened since `started` */
	bool made; /* the packet that is read was lost */
	struct repair_count count;		     /* since the last sample */
	struct repair_count samples[REPAIR_SAMPLES]; /* the last ones, a ring */
	size_t nsamples;
	uint64_t low_since;    /* ns: the loss was last not low */
	uint64_t look_at;      /* ns: the next look */
	unsigned wanted;       /* lost of 1,000; 0: no repair */
	unsigned requested;    /* in the last request */
	uint64_t requested_at; /* ns */
	uint64_t nrequests;
	bool understood; /* the peer has sent a repair packet or a request */
	/* Of our requests, and of the peer's. */
	uint8_t keys[2][REPAIR_KEY_LEN];
	bool has_keys;
	bool request_due;
	bool restart_due; /* of congestion control: path_restart() */
	bool restarted;	  /* or it is due, since nothing was asked for */
};

/* ---- repair_block.c ---- */

/* The peer has asked for another amount. */
void repair_block_plan(struct quic_conn *);

/* The largest packet that a block takes while repair packets are sent. */
size_t repair_cap(const struct quic_conn *, size_t cap);

/*
 * A datagram was written, which ends with 1-RTT packet `number`. True: its
 * block has ended, and repair_write() is next.
 */
bool repair_sent(struct quic_conn *, const ngtcp2_path *, const uint8_t *data,
    size_t len, uint64_t number, uint64_t now);

/* A block has ended, and its repair packets are not written yet. */
bool repair_is_due(const struct quic_conn *);

/* Writes them into an empty train. False: there are none. */
bool repair_write(struct quic_conn *, struct quic_gso *);

/* ---- repair_window.c ---- */

/*
 * A datagram has arrived. True: it is taken care of, and is or will be passed
 * to conn_read_packet().
 */
bool repair_receive(struct quic_conn *, const struct quic_path *, uint8_t ecn,
    const uint8_t *data, size_t len, bool more, uint64_t now);

/* A packet with a short header is read next; NULL: no more. */
void repair_reading(struct quic_conn *);

/* The callback in place of ngtcp2_crypto's: it keeps the key of packets. */
int repair_hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *,
    const ngtcp2_crypto_cipher_ctx *, const uint8_t *sample);

/* ---- repair_request.c ---- */

/* As path_loss_received(), before counts.largest changes. */
void repair_packet_opened(struct quic_conn *, uint64_t number);

/* After each datagram: is the path one that needs repair? */
void repair_look(struct quic_conn *, uint64_t now);

/* A request of the peer. */
void repair_request_received(struct quic_conn *, const uint8_t *data,
    size_t len, uint64_t now);

/* Writes a request into an empty train, after all else. False: none is due. */
bool repair_send_request(struct quic_conn *, struct quic_gso *, uint64_t now);

/* ---- All ---- */

/* The handshake is over: begins with what an earlier connection needed. */
void repair_start(struct quic_conn *, uint64_t now);

uint64_t repair_deadline(const struct quic_conn *);
void repair_expire(struct quic_conn *, uint64_t now);
void repair_free(struct quic_conn *);

/* How long a block may last: repair_block.c. */
uint64_t repair_block_time(const struct quic_conn *);

uint64_t repair_block_deadline(const struct quic_conn *);
void repair_block_expire(struct quic_conn *, uint64_t now);
uint64_t repair_window_deadline(const struct quic_conn *);
void repair_window_expire(struct quic_conn *, uint64_t now);

#endif
