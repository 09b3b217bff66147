#ifndef CULVERT_TESTS_HOSTILE_PEER_H
#define CULVERT_TESTS_HOSTILE_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <gnutls/gnutls.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "tests/hostile/forge.h"

/*
 * A client of the edge that behaves as its owner likes. ngtcp2 keeps the
 * packet numbers and the keys; HTTP/3 is written byte by byte, and each packet
 * of 1-RTT can be altered before it is sealed.
 */

#define SECOND UINT64_C(1000000000)	/* nanoseconds */
#define WINDOW_HUGE (UINT64_C(1) << 40) /* bytes: no limit */

/* A request: its header section, and then so many zeros. */
struct stream {
	TAILQ_ENTRY(stream) entry;	   /* peer->streams */
	TAILQ_ENTRY(stream) pending_entry; /* peer->pending, if pending */
	int64_t id;
	const uint8_t *head; /* lives as long as the peer */
	size_t head_len;
	uint64_t body; /* bytes, the head not counted */
	uint64_t sent;
	uint64_t got;
	bool fin;     /* ends after the body */
	bool pending; /* has something to send */
};
TAILQ_HEAD(stream_list, stream);

struct token {
	ngtcp2_token_type type;
	size_t len;
	uint8_t data[512];
};

/* Its parameters for the edge, and its kind. */
struct peer_options {
	uint32_t source;	   /* address to send from, host order */
	uint64_t stream_window;	   /* bytes that an answer may have unread */
	uint64_t max_ack_delay;	   /* ns; 0: the default */
	const struct token *token; /* for the first packet, or NULL */
	bool foul;		   /* put noise after the first packets */
	bool raw; /* do not open the streams that HTTP/3 needs */
};

struct peer {
	ngtcp2_conn *quic;
	gnutls_session_t session;
	ngtcp2_crypto_conn_ref ref;
	int fd;
	struct sockaddr_in local;
	struct peer_options options;
	TAILQ_ENTRY(peer) entry; /* of all that there are */
	uint64_t due;		 /* its next time-out */
	bool dirty;		 /* has something to write, perhaps */

	bool up;       /* the handshake is complete */
	bool over;     /* closed by either side */
	bool reads;    /* gives credit for what it receives */
	bool mute;     /* acknowledges nothing any more */
	bool corked;   /* sends nothing for now */
	uint64_t code; /* the edge's reason to close */

	struct forgery forgery; /* goes out with the next packet */
	size_t extra;		/* bytes by which it was longer */
	struct stream carrier;	/* its bytes make packets for forgeries */

	struct stream_list streams, pending;
	size_t nstreams;
	size_t answered; /* streams on which something has come */
	size_t refused;	 /* ... and that was not 200 */
};

/* The counts of all peers. */
struct tally {
	uint64_t opened; /* connections ... */
	uint64_t up;	 /* ... of which so many were accepted */
	uint64_t closed; /* by the edge */
	uint64_t streams;
	uint64_t tunnels;		     /* that were answered with 200 */
	uint64_t refused;		     /* that were answered otherwise */
	uint64_t bytes_sent, bytes_received; /* datagrams */
	uint64_t forged;		     /* packets with a forgery */
};
extern struct tally tally;

/* The last tokens of the edge for any peer, if len > 0. */
extern struct token retry_token, new_token;

/* Whom to attack; `end`: when peer_turn() is false. */
void peer_begin(const struct sockaddr_in *edge, uint64_t end);
uint64_t peer_now(void);

/* A peer on its way; NULL when this machine has no more of something. */
struct peer *peer_new(const struct peer_options *options);

/* Frees it without a CONNECTION_CLOSE. */
void peer_vanish(struct peer *p);

/* Sends a CONNECTION_CLOSE first, with an HTTP/3 error code. */
void peer_close(struct peer *p, uint64_t code);

/* Reads and writes for all peers. False: time is over. */
bool peer_turn(uint64_t until);

/* Runs until then. False: time is over. */
bool peer_rest(uint64_t ns);

/* Runs until it is up. False: it has ended, or time is over. */
bool peer_wait_up(struct peer *p);

/* Opens a stream; NULL when the edge allows no more. */
struct stream *peer_open(struct peer *p, const uint8_t *head, size_t head_len,
    uint64_t body, bool fin);

/* Opens a unidirectional stream the same way. */
struct stream *
peer_open_uni(struct peer *p, const uint8_t *head, size_t head_len, bool fin);

/* Has more to send on it. */
void peer_more(struct peer *p, struct stream *s, uint64_t body, bool fin);

/* Sends a packet with the forgery in it. False: not now. */
bool peer_forge(struct peer *p, const struct forgery *f);

/* Another address of this machine, as if a NAT had changed its mind. */
void peer_move(struct peer *p, uint32_t source);

#endif
