/*
 * QUIC + HTTP/3 tunnels: the only contract between quic/ and its users.
 *
 * This transport does no I/O and never reads the clock. Datagrams and `now`
 * go in, trains of datagrams and the next deadline come out; quic/io.h ties
 * it to a UDP socket and a libuv loop, a test ties it to an array.
 *
 *     quic_*_receive(rx[], now) ──▶ events ──▶ quic_stream_*()
 *     quic_*_expire(now)        ──▶ events
 *     quic_*_write(train, now)  ──▶ one train to send, until it returns 0
 *     quic_*_deadline()         ──▶ when to call expire and write again
 *
 * Rules that hold for everything here:
 *
 *  - Times are nanoseconds of a monotonic clock, in parameters named `now`.
 *    UINT64_MAX as a deadline means never.
 *  - Events fire only from inside the receive and expire calls (qlog text comes
 *    from write and free as well). A handler may call any quic_stream_ function
 *    and quic_conn_close(); it may not call receive, expire, write or free.
 *  - Packets leave only through the write calls. Whatever is asked for in
 *    between waits for the next one: one flush per turn of the loop.
 *  - Errors are negative errno values. -ENOMEM leaves the object as it was.
 *  - One thread. Nothing here locks.
 */
#ifndef CULVERT_QUIC_QUIC_H
#define CULVERT_QUIC_QUIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>
#include <sys/uio.h>

struct quic_tls;
struct quic_conn;
struct quic_stream;
struct quic_server;
struct quic_head;
struct quic_memory;

/* -------------------------------------------------------------------------
 * Datagrams in and out
 */

/* The two ends of a path (RFC 9000 §9). Both are of one address family. */
struct quic_path {
	struct sockaddr_storage local;
	struct sockaddr_storage remote;
};

/*
 * What one receive call of the socket gave: one datagram, or several of one
 * sender that the kernel has joined (GRO). The bytes belong to the caller and
 * are read only during the call.
 */
struct quic_rx {
	struct quic_path path;
	const uint8_t *data;
	size_t len;	/* bytes in all */
	size_t segment;	/* bytes of each datagram but the last; 0: only one */
	uint8_t ecn;	/* the ECN codepoint, 0..3 (RFC 3168 §5) */
};

/*
 * A packet was too big for a link, of which our own interface tells, or a
 * router by ICMP (RFC 1191, RFC 4443 §3.2), or anybody who says to be one.
 */
#define QUIC_QUOTE_MAX 64 /* bytes: as many as are compared, and some */
struct quic_too_big {
	struct sockaddr_storage remote; /* where the packet went */
	size_t ip_mtu;	/* bytes of IP that the link takes */
	bool local;	/* it is our own interface: the packet has not left */
	size_t len;	/* bytes of `quote`; 0 if local */
	uint8_t quote[QUIC_QUOTE_MAX]; /* the first of the UDP payload */
};

/* The most that one send call takes: UDP_SEGMENT trains are one IP packet. */
#define QUIC_GSO_MAX 65000 /* bytes: 65535 less IPv6 and UDP headers, spare */
#define QUIC_GSO_PACKETS_MAX 64 /* packets: UDP_MAX_SEGMENTS of Linux */

/*
 * A train: packets of one size to one place, to be sent by one call (GSO).
 * The caller owns the memory, zeroes it once, and keeps it across calls:
 * bytes after the train may be a sealed packet that did not fit it, which the
 * next write call with the same train hands out first.
 */
struct quic_gso {
	struct quic_path path;
	size_t len;	/* bytes to send, from the start of buf */
	size_t segment;	/* bytes of each packet; the last may be shorter */
	uint8_t ecn;	/* the ECN codepoint to set, 0..3 */

	struct quic_path held_path; /* private to the write calls, as are all */
	size_t held_at, held_len;   /* three lines: the packet that waits */
	uint8_t held_ecn;

	uint8_t buf[2 * QUIC_GSO_MAX];
};

/* -------------------------------------------------------------------------
 * Credentials
 */

#define QUIC_PIN_LEN 32	 /* bytes: SHA-256 of a SubjectPublicKeyInfo */
#define QUIC_PINS_MAX 8	 /* a key in use, its successor, and some spare */
#define QUIC_ERROR_MAX 256 /* bytes of a sentence about an error, with NUL */

/* Text of a PEM file in memory; len 0 means none was given. */
struct quic_pem {
	const void *data;
	size_t len;
};

struct quic_tls_client_settings {
	struct quic_pem ca;   /* trust these; none: the system's */
	struct quic_pem cert; /* client certificate, with key; or none */
	struct quic_pem key;
	const uint8_t (*pins)[QUIC_PIN_LEN]; /* accept only these keys ... */
	size_t npins;			     /* ... whatever a CA says */
};

struct quic_tls_server_settings {
	struct quic_pem cert; /* chain, the server's own first */
	struct quic_pem key;
	struct quic_pem client_ca; /* demand certificates of these, or none */
	const uint8_t (*client_pins)[QUIC_PIN_LEN]; /* demand these keys ... */
	size_t nclient_pins;			    /* ... without any CA */
};

/*
 * Credentials of one side, and what a client remembers of its server between
 * connections: the session ticket (RFC 8446 §4.6.1) and the address token
 * (RFC 9000 §8.1.3). Use one object per edge. It is reference-counted: a
 * connection keeps its own reference, so the owner may free at any time.
 *
 * On failure `error` holds a sentence that names the part at fault, and the
 * result is -EINVAL (unusable input) or -ENOMEM.
 */
int quic_tls_client_new(struct quic_tls **,
    const struct quic_tls_client_settings *, char error[QUIC_ERROR_MAX]);
int quic_tls_server_new(struct quic_tls **,
    const struct quic_tls_server_settings *, char error[QUIC_ERROR_MAX]);
struct quic_tls *quic_tls_ref(struct quic_tls *); /* one more owner */
void quic_tls_free(struct quic_tls *);

/*
 * Makes a P-256 key and a certificate for `name` that signs itself, valid
 * from `unix_now` (seconds) for ten years. Both results are PEM text with a
 * NUL, to be freed by the caller with free(); wipe the key first.
 */
int quic_tls_self_signed(const char *name, int64_t unix_now, char **cert_pem,
    char **key_pem);

/*
 * Makes another such certificate for a key that is there already: the pin stays
 * the same. 0; -EINVAL: the text holds no key that can be used; -ENOMEM.
 */
int quic_tls_sign_again(const char *name, int64_t unix_now,
    const struct quic_pem *key, char **cert_pem);

/* 0 when the certificate is of this key; -EINVAL when not, or one is broken. */
int quic_tls_match(const struct quic_pem *cert, const struct quic_pem *key);

/* The pin of the first certificate in a PEM text, or -EINVAL. */
int quic_tls_pin(const struct quic_pem *cert, uint8_t pin[QUIC_PIN_LEN]);

/*
 * A secret that follows from a private key and from nothing else, for
 * quic_server_new(): the same after every restart with that key.
 */
#define QUIC_SECRET_LEN 32 /* bytes */
int quic_tls_secret(const struct quic_pem *key,
    uint8_t secret[QUIC_SECRET_LEN]);

/* -------------------------------------------------------------------------
 * Connections
 */

enum quic_cc {
	QUIC_CC_BBR,  /* draft-ietf-ccwg-bbr, as ngtcp2 has it */
	QUIC_CC_CUBIC /* RFC 9438 */
};

/* Zero in a field means the default that its comment names. */
struct quic_settings {
	enum quic_cc cc;
	size_t ip_mtu_max;	     /* bytes, largest IP packet; 1500 */
	size_t ip_mtu_min;	     /* bytes, an IP packet that every path
					carries; 1200 of UDP payload */
	bool no_mtu_probe;	     /* stay at ip_mtu_min */
	size_t udp_payload_max;	     /* bytes that we take, 1200 or more (RFC
					9000 §18.2); 65527 */
	uint64_t handshake_timeout_ns; /* 10 s */
	uint64_t idle_timeout_ns;    /* 30 s (RFC 9000 §10.1) */
	uint64_t keep_alive_ns;	     /* client: PING after this quiet; half of
					the lesser idle time-out, but 1 s */
	uint64_t silence_ns;	     /* client: see `silent` below; never */
	uint64_t streams_max;	     /* server: requests at once; 16384, but
					no more than memory is for */
	uint64_t head_timeout_ns;    /* server: for a request's head; 10 s */
	size_t heads_max;	     /* server: heads that are on their way
					between batches of packets; 256 */
	size_t half_open_max;	     /* server: then Retry is asked; 256 */
	unsigned handshakes_max;     /* server: a second; 500 */
	size_t connections_max;	     /* server: of all sources; 16384 */
	size_t source_max;	     /* server: connections of an IPv4 address
					or an IPv6 /64; 1024; see
					quic_server_new() */
	struct quic_memory *memory;  /* shared, must outlive the connection;
					none: one of QUIC_MEMORY_DEFAULT */
};

/*
 * The memory that peers make us hold, of all connections that are given the
 * same object: bytes of streams that wait for an acknowledgement or that nobody
 * has consumed, the streams themselves, and what the libraries keep of each
 * connection. It has three levels, all, connection and stream, and at each the
 * largest holders stop first: they get no room to send, and give the peer less
 * credit than was consumed. A connection may hold half of what the others leave
 * of nine tenths.
 *
 * What a peer was allowed to send may be too much nevertheless. Then the
 * largest connection aborts streams whose bytes have not moved for seconds. If
 * that is not enough, the connection whose peer makes us hold most without need
 * is closed with H3_EXCESSIVE_LOAD, or else the largest.
 */
#define QUIC_MEMORY_DEFAULT 268435456 /* bytes: ten times what fills a path of
					 1 Gbit/s and 100 ms both ways, and
					 what a small machine can spare */
#define QUIC_MEMORY_MIN 16777216 /* bytes: below, single streams are slow */

/* 0 or -ENOMEM. `max` is in bytes, not less than QUIC_MEMORY_MIN. */
int quic_memory_new(struct quic_memory **, size_t max);

/*
 * Another `max`. What is held beyond it goes as it is used up; connections keep
 * the number of streams and the window that they were allowed.
 */
void quic_memory_resize(struct quic_memory *, size_t max);

/* After the last connection that uses it. NULL is fine. */
void quic_memory_free(struct quic_memory *);

struct quic_memory_stats {
	size_t max;	  /* bytes */
	size_t held;	  /* bytes */
	uint64_t aborted; /* streams, because memory was short */
	uint64_t closed;  /* connections, likewise */
};
void quic_memory_stats(const struct quic_memory *, struct quic_memory_stats *);

/* Why a connection is over. */
enum quic_cause {
	QUIC_CLOSED_HERE,	/* quic_conn_close() was called */
	QUIC_CLOSED_BY_PEER,	/* CONNECTION_CLOSE came */
	QUIC_NO_ANSWER,		/* nothing came back to the handshake */
	QUIC_IDLE,		/* the peer went silent (RFC 9000 §10.1) */
	QUIC_RESET,		/* stateless reset: the peer lost its state */
	QUIC_BAD_CERTIFICATE,	/* the server is not who it should be */
	QUIC_NO_H3,		/* the server does not speak ALPN h3 */
	QUIC_NO_VERSION,	/* no QUIC version in common */
	QUIC_PROTOCOL_ERROR,	/* the other side broke a rule, or TLS failed */
	QUIC_INTERNAL_ERROR	/* this side has failed: memory ran out, say */
};

/* The end of a connection. Valid as long as the connection. */
struct quic_close {
	enum quic_cause cause;
	bool application;	/* HTTP/3's code (RFC 9114 §8.1), else QUIC's */
	uint64_t code;		/* error code on the wire, 0 where none was */
	char text[QUIC_ERROR_MAX]; /* a sentence for a person, no full stop */
	size_t streams;		/* tunnels that it has ended */
};

/*
 * What happens on a connection. Any member may be NULL. `arg` is the one
 * given to quic_client_new() or quic_server_new(). Not copied: it must stay
 * for as long as the connection, or the server, does.
 */
struct quic_events {
	/*
	 * The handshake is complete and, at a client, verified: requests may
	 * be sent. At a server this is the first that is heard of `conn`.
	 */
	void (*connected)(struct quic_conn *conn, void *arg);

	/* Client: quic_stream_request() would no longer say -EAGAIN. */
	void (*streams_available)(struct quic_conn *conn, void *arg);

	/*
	 * Client: the server wants to go (GOAWAY, RFC 9114 §5.2). Fires once.
	 * From now on quic_stream_request() says -EPIPE: ask on another
	 * connection. Streams that have their answer go on; others whose
	 * request the server has not looked at are aborted with
	 * QUIC_H3_REQUEST_REJECTED, now or later, and may be asked for again
	 * elsewhere. The server closes when all have ended, or sooner.
	 */
	void (*draining)(struct quic_conn *conn, void *arg);

	/*
	 * Server: the head of a request is complete. The handler must attach
	 * itself by quic_stream_attach() or quic_stream_reset() the stream.
	 * `head` is valid during the call only.
	 */
	void (*request)(struct quic_conn *conn, struct quic_stream *stream,
	    const struct quic_head *head, void *arg);

	/*
	 * The connection is over; every stream has had its `aborted`. Where
	 * they are many, some of them had it in earlier calls, which came one
	 * after another. A client's owner frees `conn` after the current call
	 * has returned; at a server the server frees it. `why` lives as long
	 * as `conn`.
	 */
	void (*closed)(struct quic_conn *conn, const struct quic_close *why,
	    void *arg);

	/*
	 * Packets may be of another size now: see quic_conn_pulse(). Fires
	 * once for each batch, when the size has changed.
	 */
	void (*mtu_changed)(struct quic_conn *conn, void *arg);

	/*
	 * The path in use, quic_conn_path(), is another one and has been
	 * validated (RFC 9000 §8.2): this is where the peer is now, or we are.
	 * `valid` is false only at a client, when what quic_conn_migrate() has
	 * begun came to nothing; without `at_once` the connection goes on where
	 * it was.
	 */
	void (*migrated)(struct quic_conn *conn, bool valid, void *arg);

	/*
	 * Client: an answer is due, and for `silence_ns` (and two probe
	 * time-outs, RFC 9002 §6.2) nothing at all has come. Fires once, until
	 * something comes. Who only receives is owed nothing, so when tunnels
	 * are open and their bytes stop for as long, a PING is sent.
	 */
	void (*silent)(struct quic_conn *conn, void *arg);

	/*
	 * Text for a qlog file of this connection, in order (one JSON-SEQ
	 * record or a part of one). Set only when wanted: it costs. It goes on
	 * after `closed`, and comes without a `connected` too; the last call,
	 * as the connection is freed, has length 0.
	 */
	void (*qlog)(struct quic_conn *conn, const void *data, size_t len,
	    void *arg);
};

/*
 * A client connection on `path` to the server whose certificate must be for
 * `server_name` (a DNS name or an IP literal, copied; also the SNI when it is
 * a name). Keeps a reference to `tls`; copies `settings`. The first packets
 * leave with the next quic_conn_write().
 */
int quic_client_new(struct quic_conn **, struct quic_tls *tls,
    const char *server_name, const struct quic_path *path,
    const struct quic_settings *settings, const struct quic_events *events,
    void *arg, uint64_t now);

/*
 * The four calls that drive a client connection. Receive and expire report
 * what went wrong by the `closed` event; after it they do nothing, and write
 * still hands out the CONNECTION_CLOSE.
 *
 * quic_conn_write() returns true when `train` holds something to send, and is
 * to be called again until it returns false.
 */
void quic_conn_receive(struct quic_conn *, const struct quic_rx *rx, size_t n,
    uint64_t now);
void quic_conn_expire(struct quic_conn *, uint64_t now);
bool quic_conn_write(struct quic_conn *, struct quic_gso *gso, uint64_t now);
uint64_t quic_conn_deadline(const struct quic_conn *);

/*
 * Ends the connection with an HTTP/3 error code (RFC 9114 §8.1; 0x100 is
 * H3_NO_ERROR). Streams are aborted and `closed` fires, with cause
 * QUIC_CLOSED_HERE: within the call, if they are few, or else in the calls of
 * quic_conn_expire() that are due from now on, a few of them in each. The
 * CONNECTION_CLOSE leaves with the next write. Idempotent.
 */
void quic_conn_close(struct quic_conn *, uint64_t code, const char *reason,
    uint64_t now);

/* It has been closed, and `closed` is still to fire. */
bool quic_conn_is_closing(const struct quic_conn *);

/* Frees at once, says nothing to the peer and fires no event. NULL is fine. */
void quic_conn_free(struct quic_conn *);

/*
 * The owner's pointer, per connection: NULL at first. A server's handlers use
 * it to find what they keep per connection.
 */
void quic_conn_set_user(struct quic_conn *, void *user);
void *quic_conn_user(const struct quic_conn *);

/* The path in use, valid until the next call on the connection. */
const struct quic_path *quic_conn_path(const struct quic_conn *);

/*
 * Client: moves the connection to another path (RFC 9000 §9). Its local address
 * must be one that it has not had, if only by its port, since ngtcp2 from 1.12
 * does not validate a path that it knows; and a socket of it must be open. Its
 * remote address must be that of the path in use. The new path is validated
 * first and then used, or used `at_once`, for when the present one is dead:
 * either way `migrated` tells the end. A migration under way is given up
 * without a word.
 *
 * -EAGAIN: the handshake is not confirmed, or the peer has not given a spare
 * connection ID yet: try again in a round trip. -EPERM: the peer does not allow
 * it (disable_active_migration): connect anew. -EINVAL: we are there already.
 * -ENOTCONN: not connected. -ENOMEM.
 */
int quic_conn_migrate(struct quic_conn *, const struct quic_path *,
    bool at_once, uint64_t now);

/* Client: sends a PING (RFC 9000 §19.2) with the next write: who is there? */
void quic_conn_ping(struct quic_conn *);

/*
 * The silence that ends the connection, in nanoseconds: the lesser of what
 * both sides have said (RFC 9000 §10.1), or of us alone before the handshake.
 */
uint64_t quic_conn_idle_ns(const struct quic_conn *);

/*
 * Starts to use new packet protection keys (RFC 9001 §6). -EAGAIN: too early,
 * the previous update is not confirmed yet.
 */
int quic_conn_update_keys(struct quic_conn *, uint64_t now);

/*
 * Looks for a larger path MTU now, where a search has ended and the ceiling is
 * not reached. Also what a change of the network calls for.
 */
void quic_conn_reprobe(struct quic_conn *, uint64_t now);

/*
 * A packet of this connection was too big. Our own interface is believed at
 * once; a router if it quotes one of our packets, and only as far as probes
 * bear it out.
 */
void quic_conn_too_big(struct quic_conn *, const struct quic_too_big *,
    uint64_t now);

/* Numbers for people; all counts are since the connection began. */
struct quic_stats {
	uint64_t rtt_ns;	     /* smoothed; 0 before the first sample */
	uint64_t cwnd;		     /* bytes */
	uint64_t bytes_in_flight;    /* bytes */
	uint64_t packets_sent;
	uint64_t packets_received;   /* and authenticated */
	uint64_t packets_lost;	     /* known when what was in them arrived */
	uint64_t trains_sent;	     /* send calls that were filled */
	size_t udp_payload;	     /* bytes of the largest proven packet */
	size_t ip_mtu;		     /* the same as an IP packet */
	size_t ip_mtu_ceiling;	     /* bytes; it will not be larger */
	const char *mtu_state;	     /* of the discovery: "searching", ... */
	const char *mtu_cause;	     /* of the last change: "probe", ... */
	uint64_t mtu_changed_at;     /* as `now`; 0: never */
	uint64_t probes_sent, probes_acked, probes_lost;
	uint64_t black_holes_suspected, black_holes_confirmed;
	uint64_t ptb_seen;	     /* routers that said "too big": all ... */
	uint64_t ptb_valid;	     /* ... who quoted a packet of ours ... */
	uint64_t ptb_ignored;	     /* ... and who did not, or too often */
	uint64_t migrations;	     /* changes of the path, the peer's too */
	size_t streams;		     /* tunnels that are open now */
	bool resumed;		     /* by a session ticket */
	const char *tls_version;     /* "TLS1.3"; static, as are the others */
	const char *tls_cipher;	     /* "AES-128-GCM" */
	const char *tls_group;	     /* "X25519" */
};
void quic_conn_stats(const struct quic_conn *, struct quic_stats *);

/*
 * Some of the numbers above, which cost the same however many streams there
 * are: ask as often as you like.
 */
struct quic_pulse {
	uint64_t packets_received;
	size_t streams;
	size_t ip_mtu;
	const char *mtu_cause;
};
void quic_conn_pulse(const struct quic_conn *, struct quic_pulse *);

/* -------------------------------------------------------------------------
 * Servers: many connections behind one socket
 */

/*
 * A server. `secret` makes stateless reset and address tokens: the same one
 * after a restart lets clients of the earlier process learn at once that it
 * is gone (RFC 9000 §10.3). Keeps a reference to `tls`.
 *
 * When seven eighths of the connections that it may have are there, or of
 * those that a source may have, whoever comes new takes the place of the
 * oldest that never had a request admitted, which is one that was answered by
 * quic_stream_respond() with a status of 2xx. When all are there, and of all
 * a request was admitted, it takes the place of the one that has had no stream
 * for the longest time, a minute or more; or else it is refused. Whoever has
 * to go is closed with H3_EXCESSIVE_LOAD, or in its handshake with
 * CONNECTION_REFUSED.
 */
int quic_server_new(struct quic_server **, struct quic_tls *tls,
    const uint8_t secret[QUIC_SECRET_LEN], const struct quic_settings *,
    const struct quic_events *, void *arg);

/*
 * Gives other credentials and settings to the connections to come; those that
 * are there keep theirs, and the secret stays. Tickets of the old credentials
 * are not taken any more, so whoever comes back sees the new certificate.
 */
void quic_server_reload(struct quic_server *, struct quic_tls *,
    const struct quic_settings *);

/*
 * As the calls of a connection, for all connections and for strangers. One call
 * of expire sees to a few of them; if more are due, so is the next call.
 */
void quic_server_receive(struct quic_server *, const struct quic_rx *rx,
    size_t n, uint64_t now);
void quic_server_expire(struct quic_server *, uint64_t now);
bool
quic_server_write(struct quic_server *, struct quic_gso *gso, uint64_t now);
uint64_t quic_server_deadline(const struct quic_server *);

/* As quic_conn_too_big(), for every connection with that remote address. */
void quic_server_too_big(struct quic_server *, const struct quic_too_big *,
    uint64_t now);

/*
 * Lets the server come to an orderly end. Every connection is told by GOAWAY
 * (RFC 9114 §5.2) to ask for nothing more: what was on its way is served, what
 * comes a round trip later is reset with H3_REQUEST_REJECTED. Streams go on,
 * and a connection without any is closed with H3_NO_ERROR. Whoever comes new
 * is refused with CONNECTION_REFUSED (RFC 9000 §20.1). All have gone when
 * quic_server_stats() shows no more connections; streams that do not end are
 * the caller's to end, by quic_server_close(). Idempotent.
 */
void quic_server_drain(struct quic_server *, uint64_t now);

/* Closes every connection with H3_NO_ERROR and accepts no more. */
void quic_server_close(struct quic_server *, uint64_t now);

/* Frees the server and its connections at once. NULL is fine. */
void quic_server_free(struct quic_server *);

struct quic_server_stats {
	size_t connections;	   /* open now, handshakes included */
	size_t half_open;	   /* handshakes under way */
	size_t closing;		   /* freed, but for a close to be repeated */
	uint64_t accepted;	   /* connections since the start */
	uint64_t retries_sent;	   /* address validation was asked for */
	uint64_t postponed;	   /* not answered: too many handshakes */
	uint64_t refused;	   /* while it drained or was full, or of a
				      full source */
	uint64_t evicted;	   /* closed, to make room for others */
	uint64_t tokens_rejected;  /* a Retry's, stale or of another address */
	uint64_t resets_sent;	   /* stateless resets */
	uint64_t datagrams_dropped; /* nothing could be made of them */
};
void quic_server_stats(const struct quic_server *, struct quic_server_stats *);

/* -------------------------------------------------------------------------
 * Streams: one request, then bytes both ways
 */

#define QUIC_FIELDS_MAX 64	 /* fields of a head */
#define QUIC_HEAD_MAX 16384	 /* bytes of a head: names, values, NULs */

/* HTTP/3 error codes that users of streams need (RFC 9114 §8.1). */
#define QUIC_H3_NO_ERROR 0x100
#define QUIC_H3_INTERNAL_ERROR 0x102
#define QUIC_H3_EXCESSIVE_LOAD 0x107
#define QUIC_H3_REQUEST_REJECTED 0x10b
#define QUIC_H3_REQUEST_CANCELLED 0x10c
#define QUIC_H3_CONNECT_ERROR 0x10f

/* A field; pseudo-header fields are written with their colon. NUL-ended. */
struct quic_field {
	const char *name;  /* lower case */
	const char *value; /* no control characters: checked on arrival */
};

struct quic_head {
	const struct quic_field *fields;
	size_t n;
};

/* The value of the first field of that name, or NULL. */
const char *quic_head_find(const struct quic_head *, const char *name);

/*
 * What happens on a stream, for the one who attached to it. Any member but
 * `aborted` may be NULL. Within one receive call readable and writable fire at
 * most once, at its end: work per batch of packets, not per packet.
 */
struct quic_stream_events {
	/* Client: the final response head came. Valid during the call only. */
	void (*response)(struct quic_stream *, const struct quic_head *,
	    void *arg);

	/* There is more to peek at, or the peer's FIN came: see _ended(). */
	void (*readable)(struct quic_stream *, void *arg);

	/* quic_stream_reserve() gave NULL before; now it would not. */
	void (*writable)(struct quic_stream *, void *arg);

	/*
	 * The peer takes no more of what is sent (STOP_SENDING, RFC 9000 §3.5),
	 * whatever its reason is. What it has not acknowledged is lost, and
	 * what is committed from now on: see quic_stream_lost(). What it sends
	 * goes on. Fires once, after `readable`, and again for an owner who
	 * attaches later; not if the peer has all that there was, and the FIN
	 * was sent.
	 */
	void (*stopped)(struct quic_stream *, void *arg);

	/*
	 * The peer has reset the stream before it had sent its FIN; `code` says
	 * why (RFC 9114 §8.1). It fires once, after `readable`. What was
	 * received before is still there to be consumed, and the owner ends
	 * the stream. Where this member is NULL, the stream is aborted.
	 */
	void (*reset)(struct quic_stream *, uint64_t code, void *arg);

	/*
	 * The stream is over before its time: the peer reset it, or sent a
	 * head over our limits (`why` NULL, `code` says it: RFC 9114 §8.1), or
	 * the connection went (`why` says how), or memory has run out and
	 * nobody reads this stream (QUIC_H3_EXCESSIVE_LOAD). The stream is
	 * gone when the handler returns, and so are the bytes that were peeked
	 * at.
	 */
	void (*aborted)(struct quic_stream *, uint64_t code,
	    const struct quic_close *why, void *arg);
};

/*
 * Client: sends a request head and attaches to the new stream. The fields are
 * copied. The stream stays valid until quic_stream_release(),
 * quic_stream_reset() or the return of `aborted`. -EAGAIN: the peer's limit of
 * streams is reached; wait for `streams_available`. -EPIPE: the server wants to
 * go, see `draining`. -ENOTCONN: not connected.
 */
int quic_stream_request(struct quic_conn *, const struct quic_field *fields,
    size_t n, const struct quic_stream_events *, void *arg,
    struct quic_stream **);

/*
 * Server: takes the stream of a `request` event, on the same terms; or either
 * side, to take it over. What has come already is there to peek at.
 */
void quic_stream_attach(struct quic_stream *,
    const struct quic_stream_events *, void *arg);

/*
 * Server: sends the response head, once. The fields are copied. A peer that has
 * ended both ways by now does not get it, and that is no error: what it sent is
 * still there, see `stopped`. On an error (-ENOMEM; -EINVAL: too many fields;
 * -EPIPE: HTTP/3 does not allow it) nothing is sent, and the owner resets the
 * stream.
 */
int quic_stream_respond(struct quic_stream *, const struct quic_field *fields,
    size_t n);

/*
 * Receiving. Peek fills up to `max` vectors that point at the bytes not yet
 * consumed, in order, and returns how many it filled. They stay put until
 * they are consumed. Consume gives `n` bytes of credit back to the peer: call
 * it for bytes that have found their place and for no others.
 */
size_t quic_stream_peek(const struct quic_stream *, struct iovec *, size_t max);
void quic_stream_consume(struct quic_stream *, size_t n);

/* The peer's FIN came and every byte before it is consumed. */
bool quic_stream_ended(const struct quic_stream *);

/*
 * Sending without a copy. Reserve gives memory to read into, at least
 * QUIC_RESERVE_MIN bytes, and NULL when the stream has as much in its hands as
 * it may: `writable` follows. Commit sends the first `n` of it (0 is fine: the
 * reservation lapses). One reservation at a time. What the peer does not want
 * is dropped: see `stopped`.
 */
#define QUIC_RESERVE_MIN 4096 /* bytes: a smaller read is not worth its call */
void *quic_stream_reserve(struct quic_stream *, size_t *len);
void quic_stream_commit(struct quic_stream *, size_t n);

/*
 * Commits bytes that take memory already, room or no room. Returns how many
 * there was memory for.
 */
size_t quic_stream_push(struct quic_stream *, const void *data, size_t len);

/*
 * Room for a reservation: what a reader asks before it reads on. When there is
 * none, `writable` follows.
 */
bool quic_stream_has_room(struct quic_stream *);

/* Bytes were committed that the peer would not take. */
bool quic_stream_lost(const struct quic_stream *);

/* Sends FIN after all that was committed. Nothing may be committed after. */
void quic_stream_finish(struct quic_stream *);

/*
 * Lets go of a stream. No event follows and the pointer is dead. Release still
 * delivers what was committed (with its FIN, if finished; else the stream is
 * reset). Reset drops everything, both ways (RFC 9000 §19.4, §19.5).
 * Flush-and-reset resets when the peer has acknowledged what was committed, or
 * has acknowledged nothing more of it for QUIC_FLUSH_STALL_NS, and nothing of
 * others either before which it may have to wait.
 *
 * Unless its FIN came, the peer is asked to stop sending: by a client at once;
 * by a server when the peer has acknowledged all and, after a release, still
 * sends, since browsers lose the response that STOP_SENDING comes with.
 */
#define QUIC_FLUSH_STALL_NS UINT64_C(30000000000) /* 30 s: many round trips,
						     and a pause of a reader */
void quic_stream_release(struct quic_stream *);
void quic_stream_reset(struct quic_stream *, uint64_t code);
void quic_stream_flush_and_reset(struct quic_stream *, uint64_t code);

/* The stream ID (RFC 9000 §2.1) and its connection: for logs and lists. */
int64_t quic_stream_id(const struct quic_stream *);
struct quic_conn *quic_stream_conn(const struct quic_stream *);

#endif
