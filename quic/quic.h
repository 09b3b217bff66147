/*
 * quic/: HTTP/3 tunnels on QUIC connections (RFC 9000, RFC 9114), client and
 * server, on ngtcp2, nghttp3 and GnuTLS.
 *
 * Who may use it: both daemons in proxy/, by this header, io.h and socket.h.
 * All other headers in this folder are private to it, and to its tests.
 *
 * What it may use: its own files and those libraries, nothing from proxy/. It
 * logs nothing. Only io.c and socket.c do I/O, use libuv or read a clock, and
 * the rest does not need them: the unit tests link it without.
 *
 * Datagrams and `now` go in, trains of datagrams and the next deadline come
 * out. quic/io.h connects that to a UDP socket and a libuv loop, a test
 * connects it to an array.
 *
 *     quic_*_receive(rx[], now) ──▶ events ──▶ quic_stream_*()
 *     quic_*_expire(now)        ──▶ events
 *     quic_*_write(train, now)  ──▶ one train to send, until it returns false
 *     quic_*_deadline()         ──▶ when to call expire and write again
 *
 * Rules for everything here:
 *
 *  - Times are nanoseconds of a monotonic clock, in parameters named `now`.
 *    UINT64_MAX as a deadline means never.
 *  - Events fire only from inside the receive and expire calls (qlog text comes
 *    from write and free as well). A handler may call any quic_stream_ function
 *    and quic_conn_close(). It may not call receive, expire, write or free.
 *  - Packets leave only through the write calls. What other calls ask for waits
 *    for the next write: one flush for each iteration of the loop.
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
struct quic_header_section;
struct quic_memory;

/* -------------------------------------------------------------------------
 * Datagrams in and out
 */

/* Both ends of a path (RFC 9000 §9), of one address family. */
struct quic_path {
	struct sockaddr_storage local;
	struct sockaddr_storage remote;
};

/*
 * One result of a receive call: one datagram, or several of one sender that the
 * kernel has joined (GRO). The bytes belong to the caller, and are read only
 * during the call.
 */
struct quic_rx {
	struct quic_path path;
	const uint8_t *data;
	size_t len;	/* bytes of all datagrams */
	size_t segment; /* bytes of each datagram but the last; 0: only one */
	uint8_t ecn;	/* the ECN codepoint, 0..3 (RFC 3168 §5) */
};

/*
 * A packet was too big for a link. Either our own interface reports that, or an
 * ICMP message does (RFC 1191, RFC 4443 §3.2), which anybody can forge.
 */
#define QUIC_QUOTE_MAX 64 /* bytes: a few more than are compared */
struct quic_too_big {
	struct sockaddr_storage remote; /* where the packet went */
	size_t ip_mtu; /* bytes of the largest IP packet on that link */
	bool local;    /* our own interface: the packet was not sent */
	size_t len;    /* bytes of `quote`; 0 if local */
	uint8_t quote[QUIC_QUOTE_MAX]; /* the first bytes of the UDP payload */
};

/* The limits of one send call: with UDP_SEGMENT a train is one IP packet. */
#define QUIC_GSO_MAX 65000 /* bytes: 65535 less IPv6 and UDP headers, spare */
#define QUIC_GSO_PACKETS_MAX 64 /* packets: UDP_MAX_SEGMENTS of Linux */

/*
 * A train: packets of one size on one path, sent by one call (GSO). The caller
 * owns the memory, zeroes it once, and keeps it between calls: the bytes after
 * the train may be a sealed packet that did not fit. The next write call with
 * the same object returns that packet first.
 */
struct quic_gso {
	struct quic_path path;
	size_t len;	/* bytes to send, from the start of buf */
	size_t segment; /* bytes of each packet; the last may be shorter */
	uint8_t ecn;	/* the ECN codepoint to set, 0..3 */

	/* Private to the write calls: the packet that waits. */
	struct quic_path held_path;
	size_t held_at, held_len;
	uint8_t held_ecn;

	uint8_t buf[2 * QUIC_GSO_MAX];
};

/* -------------------------------------------------------------------------
 * Credentials
 */

#define QUIC_PIN_LEN 32	   /* bytes: SHA-256 of a SubjectPublicKeyInfo */
#define QUIC_PINS_MAX 8	   /* the current key, the next one, and spares */
#define QUIC_ERROR_MAX 256 /* bytes of an error message, with its NUL */

/* The text of a PEM file; len 0: there is none. */
struct quic_pem {
	const void *data;
	size_t len;
};

struct quic_tls_client_settings {
	struct quic_pem ca;   /* trusted CAs; none: those of the system */
	struct quic_pem cert; /* client certificate; may be none */
	struct quic_pem key;
	/* Accept these keys only, without any CA. */
	const uint8_t (*pins)[QUIC_PIN_LEN];
	size_t npins;
};

struct quic_tls_server_settings {
	struct quic_pem cert; /* chain, the server's certificate first */
	struct quic_pem key;
	/* Require client certificates of these CAs. */
	struct quic_pem client_ca;
	/* Require these keys, without any CA. */
	const uint8_t (*client_pins)[QUIC_PIN_LEN];
	size_t nclient_pins;
};

/*
 * The credentials of one side, and what a client stores of its server between
 * connections: the session ticket (RFC 8446 §4.6.1) and the address validation
 * token (RFC 9000 §8.1.3). Use one object for each edge. It is
 * reference-counted: a connection holds a reference, so the owner may free it
 * at any time.
 *
 * On failure `error` is a sentence that names the part at fault, and the result
 * is -EINVAL (unusable input) or -ENOMEM.
 */
int quic_tls_client_new(struct quic_tls **,
    const struct quic_tls_client_settings *, char error[QUIC_ERROR_MAX]);
int quic_tls_server_new(struct quic_tls **,
    const struct quic_tls_server_settings *, char error[QUIC_ERROR_MAX]);
struct quic_tls *quic_tls_ref(struct quic_tls *);
void quic_tls_free(struct quic_tls *);

/*
 * Makes a P-256 key and a self-signed certificate for `name`, valid for ten
 * years from `unix_now` (seconds). Both results are PEM text with a NUL, and
 * the caller frees them with free(), after wiping the key.
 */
int quic_tls_self_signed(const char *name, int64_t unix_now, char **cert_pem,
    char **key_pem);

/*
 * Makes another such certificate for an existing key: its pin stays the same.
 * 0; -EINVAL: the text has no usable key; -ENOMEM.
 */
int quic_tls_sign_again(const char *name, int64_t unix_now,
    const struct quic_pem *key, char **cert_pem);

/*
 * 0 if the certificate is for this key; -EINVAL if not, or if one is unusable.
 */
int quic_tls_match(const struct quic_pem *cert, const struct quic_pem *key);

/* The pin of the first certificate in a PEM text, or -EINVAL. */
int quic_tls_pin(const struct quic_pem *cert, uint8_t pin[QUIC_PIN_LEN]);

/*
 * Derives a secret from a private key, for quic_server_new(): the same key
 * gives the same secret after every restart.
 */
#define QUIC_SECRET_LEN 32 /* bytes */
int
quic_tls_secret(const struct quic_pem *key, uint8_t secret[QUIC_SECRET_LEN]);

/*
 * Opens libipsec-mb, which takes less CPU time for AES-GCM than GnuTLS on
 * processors with VAES: see quic/ipsec_mb.h. To be called before a sandbox
 * keeps files from being opened; connections use it from then on, unless their
 * settings say no. False: all use GnuTLS. `text` says for the log what is used,
 * and why.
 */
bool quic_ipsec_mb_load(char text[QUIC_ERROR_MAX]);

/* -------------------------------------------------------------------------
 * Connections
 */

enum quic_cc {
	QUIC_CC_BBR,  /* draft-ietf-ccwg-bbr, as ngtcp2 has it */
	QUIC_CC_CUBIC /* RFC 9438 */
};

/*
 * Packets of 1,000 that a path loses at random, in each direction, before
 * repair packets make them again (quic/repair.h). 0: few.
 */
struct quic_repair {
	unsigned sent, received;
};

/* Zero in a field selects the default, which its comment gives. */
struct quic_settings {
	enum quic_cc cc;
	size_t ip_mtu_max; /* bytes of the largest IP packet; 1500 */
	/*
	 * Bytes of an IP packet that every path carries; default: 1200 of UDP
	 * payload.
	 */
	size_t ip_mtu_min;
	bool no_mtu_probe; /* stay at ip_mtu_min */
	bool no_repair;	   /* send and ask for no repair packets */
	bool no_ipsec_mb;  /* encrypt by GnuTLS in any case */
	/* What an earlier connection on the same path needed, or zeros. */
	struct quic_repair repair;
	/* Bytes that we accept, 1200 or more (RFC 9000 §18.2); 65527. */
	size_t udp_payload_max;
	uint64_t handshake_timeout_ns; /* 10 s */
	uint64_t idle_timeout_ns;      /* 30 s (RFC 9000 §10.1) */
	/*
	 * Client: interval of PINGs; half of the lesser idle time-out, at least
	 * 1 s.
	 */
	uint64_t keep_alive_ns;
	uint64_t silence_ns; /* client: see `silent` below; default: never */
	/* Server: concurrent requests; 16384, less if memory is short. */
	uint64_t streams_max;
	/* Server: for the header section of a request; 10 s. */
	uint64_t head_timeout_ns;
	/* Server: incomplete ones between batches of packets; 256. */
	size_t heads_max;
	/* Server: handshakes under way; Retry beyond it; 256. */
	size_t half_open_max;
	unsigned handshakes_max; /* server: handshakes in a second; 500 */
	size_t connections_max;	 /* server: connections of all sources; 16384 */
	/*
	 * Server: connections of an IPv4 address or an IPv6 /64; 1024; see
	 * quic_server_new()
	 */
	size_t source_max;
	/* Shared, outlives the connection; NULL: one of QUIC_MEMORY_DEFAULT. */
	struct quic_memory *memory;
};

/*
 * Memory that peers cause, of all connections with the same object: bytes of
 * streams that are not acknowledged or not consumed, the streams themselves,
 * and what the libraries hold for each connection. It has three levels: all,
 * connection and stream. On each level the largest holders are limited first:
 * they get no room to send, and return less credit than was consumed. A
 * connection may hold half of what the others leave of nine tenths.
 *
 * What peers were allowed to send before may still be too much. Then the
 * largest connection aborts streams whose bytes have not moved for seconds. If
 * that is not enough, the connection whose peer causes most memory without need
 * is closed with H3_EXCESSIVE_LOAD, or else the largest connection.
 */
/*
 * Bytes: ten times what fills a path of 1 Gbit/s and 100 ms in both directions,
 * and what a small machine can spare.
 */
#define QUIC_MEMORY_DEFAULT 268435456
/* Bytes: with less, even a single stream is slow. */
#define QUIC_MEMORY_MIN 16777216

/* 0 or -ENOMEM. `max` is in bytes, not less than QUIC_MEMORY_MIN. */
int quic_memory_new(struct quic_memory **, size_t max);

/*
 * Sets another `max`. What is held beyond it is freed as it is used up.
 * Existing connections keep their limit of streams and their first window.
 */
void quic_memory_resize(struct quic_memory *, size_t max);

/* Only after the last connection that uses it is freed. NULL is a no-op. */
void quic_memory_free(struct quic_memory *);

struct quic_memory_stats {
	size_t max;	  /* bytes */
	size_t held;	  /* bytes */
	uint64_t aborted; /* streams, since memory was short */
	uint64_t closed;  /* connections, since memory was short */
};
void quic_memory_stats(const struct quic_memory *, struct quic_memory_stats *);

/* Why a connection has ended. */
enum quic_cause {
	QUIC_CLOSED_HERE,    /* quic_conn_close() was called */
	QUIC_CLOSED_BY_PEER, /* CONNECTION_CLOSE was received */
	QUIC_NO_ANSWER,	     /* no answer during the handshake */
	QUIC_IDLE,  /* no packet within the idle time-out (RFC 9000 §10.1) */
	QUIC_RESET, /* stateless reset (RFC 9000 §10.3) */
	QUIC_BAD_CERTIFICATE, /* the peer's certificate is not acceptable */
	QUIC_NO_H3,	      /* the server does not support ALPN h3 */
	QUIC_NO_VERSION,      /* no QUIC version in common */
	QUIC_PROTOCOL_ERROR,  /* the peer violated a protocol, or TLS failed */
	/* This side has failed: out of memory, for example. */
	QUIC_INTERNAL_ERROR
};

/* The end of a connection. It lives as long as the connection. */
struct quic_close {
	enum quic_cause cause;
	bool application; /* `code` is HTTP/3's (RFC 9114 §8.1), not QUIC's */
	uint64_t code;	  /* on the wire; 0: there was none */
	char text[QUIC_ERROR_MAX]; /* a sentence without its full stop */
	size_t streams;		   /* tunnels that ended with it */
};

/*
 * The events of a connection. Any member may be NULL. `arg` is that of
 * quic_client_new() or quic_server_new(). The object is not copied, and must
 * outlive the connection or the server.
 */
struct quic_events {
	/*
	 * The handshake is complete and, at a client, the server is verified:
	 * requests may be sent. At a server this is the first event of `conn`.
	 */
	void (*connected)(struct quic_conn *conn, void *arg);

	/* Client: quic_stream_request() returned -EAGAIN, and would not now. */
	void (*streams_available)(struct quic_conn *conn, void *arg);

	/*
	 * Client: the server is shutting down (GOAWAY, RFC 9114 §5.2). Fires
	 * once. From now on quic_stream_request() returns -EPIPE: use another
	 * connection. Streams with a response go on. Streams that the server
	 * has not processed are aborted with QUIC_H3_REQUEST_REJECTED, now or
	 * later, and their requests may be repeated elsewhere. The server
	 * closes the connection when all streams have ended, or sooner.
	 */
	void (*draining)(struct quic_conn *conn, void *arg);

	/*
	 * Server: the header section of a request is complete. The handler must
	 * call quic_stream_attach() or quic_stream_reset(). `head` is valid
	 * during the call only.
	 */
	void (*request)(struct quic_conn *conn, struct quic_stream *stream,
	    const struct quic_header_section *head, void *arg);

	/*
	 * The connection has ended, and `aborted` was fired for every stream.
	 * If there are many streams, some of them had it in earlier calls. The
	 * owner of a client connection frees `conn` after the current call has
	 * returned; a server frees its own connections. `why` lives as long as
	 * `conn`.
	 */
	void (*closed)(struct quic_conn *conn, const struct quic_close *why,
	    void *arg);

	/*
	 * The packet size has changed: see quic_conn_pulse(). Fires at most
	 * once for each batch of packets.
	 */
	void (*mtu_changed)(struct quic_conn *conn, void *arg);

	/*
	 * The connection is on another path, quic_conn_path(), and it is
	 * validated (RFC 9000 §8.2): the peer has moved, or we have. `valid` is
	 * false only at a client, when the path of quic_conn_migrate() could
	 * not be validated; unless it was used `at_once`, the connection stays
	 * on its old path.
	 */
	void (*migrated)(struct quic_conn *conn, bool valid, void *arg);

	/*
	 * Client: an acknowledgement is due, and nothing has been received for
	 * `silence_ns` (and two probe time-outs, RFC 9002 §6.2). Fires once,
	 * until something is received. A side that only receives is owed no
	 * acknowledgement, so when tunnels are open and their bytes stop for
	 * that time, a PING is sent.
	 */
	void (*silent)(struct quic_conn *conn, void *arg);

	/*
	 * Text for the qlog file of this connection, in order (a JSON-SEQ
	 * record or a part of one). Set it only if it is needed: it costs time.
	 * It is called after `closed`, too, and without a `connected` before.
	 * The last call, as the connection is freed, has length 0.
	 */
	void (*qlog)(struct quic_conn *conn, const void *data, size_t len,
	    void *arg);
};

/*
 * Makes a client connection on `path`. The server's certificate must be for
 * `server_name` (a DNS name or an IP literal, copied; a DNS name is also the
 * SNI). Holds a reference to `tls`; copies `settings`. The first packets leave
 * with the next quic_conn_write().
 */
int quic_client_new(struct quic_conn **, struct quic_tls *tls,
    const char *server_name, const struct quic_path *path,
    const struct quic_settings *settings, const struct quic_events *events,
    void *arg, uint64_t now);

/*
 * The four calls that drive a client connection. Receive and expire report
 * errors by the `closed` event. After it they do nothing, and write still
 * returns the CONNECTION_CLOSE.
 *
 * quic_conn_write() returns true if `train` has something to send, and is to be
 * called again until it returns false.
 */
void quic_conn_receive(struct quic_conn *, const struct quic_rx *rx, size_t n,
    uint64_t now);
void quic_conn_expire(struct quic_conn *, uint64_t now);
bool quic_conn_write(struct quic_conn *, struct quic_gso *gso, uint64_t now);
uint64_t quic_conn_deadline(const struct quic_conn *);

/*
 * Closes the connection with an HTTP/3 error code (RFC 9114 §8.1; 0x100 is
 * H3_NO_ERROR). Streams are aborted and `closed` fires, with cause
 * QUIC_CLOSED_HERE: within the call, if there are few streams, or else within
 * the next calls of quic_conn_expire(), which are due at once. The
 * CONNECTION_CLOSE leaves with the next write. Idempotent.
 */
void quic_conn_close(struct quic_conn *, uint64_t code, const char *reason,
    uint64_t now);

/* The connection has ended, and `closed` has not fired yet. */
bool quic_conn_is_closing(const struct quic_conn *);

/* Frees at once, sends nothing and fires no event. NULL is a no-op. */
void quic_conn_free(struct quic_conn *);

/*
 * The owner's pointer of each connection; NULL at first. Handlers of a server
 * find their own data of a connection by it.
 */
void quic_conn_set_user(struct quic_conn *, void *user);
void *quic_conn_user(const struct quic_conn *);

/* The current path; valid until the next call on the connection. */
const struct quic_path *quic_conn_path(const struct quic_conn *);

/*
 * Client: migrates to another path (RFC 9000 §9). Its local address must be
 * new, if only by its port: ngtcp2 from 1.12 on does not validate a path that
 * it knows. A socket with that address must be open. Its remote address must be
 * that of the current path. The new path is validated and then used; with
 * `at_once` it is used before, for when the current path is dead. `migrated`
 * reports the result in both cases. A migration under way is abandoned without
 * an event.
 *
 * -EAGAIN: the handshake is not confirmed, or the peer has not provided a spare
 * connection ID yet: try again after a round trip. -EPERM: the peer does not
 * allow migration (disable_active_migration): make another connection. -EINVAL:
 * this is the current path. -ENOTCONN: not connected. -ENOMEM.
 */
int quic_conn_migrate(struct quic_conn *, const struct quic_path *,
    bool at_once, uint64_t now);

/*
 * Client: sends a PING (RFC 9000 §19.2) with the next write, to probe the path.
 */
void quic_conn_ping(struct quic_conn *);

/*
 * The idle time-out in nanoseconds: the lesser of both sides' (RFC 9000 §10.1),
 * or ours alone before the handshake.
 */
uint64_t quic_conn_idle_ns(const struct quic_conn *);

/*
 * Starts a key update (RFC 9001 §6). -EAGAIN: the previous one is not confirmed
 * yet.
 */
int quic_conn_update_keys(struct quic_conn *, uint64_t now);

/*
 * Searches for a larger path MTU now, if a search has ended below the ceiling.
 * To be called after a change of the network, too.
 */
void quic_conn_reprobe(struct quic_conn *, uint64_t now);

/*
 * A packet of this connection was too big. Our own interface is believed at
 * once. A router is believed if it quotes one of our packets, and only as far
 * as probes confirm it.
 */
void quic_conn_too_big(struct quic_conn *, const struct quic_too_big *,
    uint64_t now);

/* Statistics; all counts are since the connection began. */
struct quic_stats {
	uint64_t rtt_ns;	  /* smoothed; 0 before the first sample */
	uint64_t cwnd;		  /* bytes */
	uint64_t bytes_in_flight; /* bytes */
	uint64_t packets_sent;
	uint64_t packets_received; /* authenticated ones only */
	/* Counted when their data is acknowledged later. */
	uint64_t packets_lost;
	uint64_t trains_sent; /* send calls */
	/* repair.h: sent for the peer, and made of the peer's */
	uint64_t repairs_sent, packets_repaired;
	/* Bytes of the largest packet that the path carries. */
	size_t udp_payload;
	size_t ip_mtu;	       /* the same as an IP packet */
	size_t ip_mtu_ceiling; /* bytes; ip_mtu cannot be larger */
	const char *mtu_state; /* of the discovery: "searching" and the like */
	const char *mtu_cause; /* of the last change: "probe" and the like */
	uint64_t mtu_changed_at; /* as `now`; 0: never */
	uint64_t probes_sent, probes_acked, probes_lost;
	uint64_t black_holes_suspected, black_holes_confirmed;
	uint64_t ptb_seen;    /* ICMP "too big" messages */
	uint64_t ptb_valid;   /* of them, that quoted a packet of ours */
	uint64_t ptb_ignored; /* of them, that did not, or came too often */
	uint64_t migrations;  /* changes of the path, by either side */
	size_t streams;	      /* open tunnels */
	bool resumed;	      /* with a session ticket */
	/* "TLS1.3"; static text, as are the next three */
	const char *tls_version;
	const char *tls_cipher; /* "AES-128-GCM" */
	const char *tls_group;	/* "X25519" */
	const char *aead;	/* what encrypts: "GnuTLS", "libipsec-mb" */
};
void quic_conn_stats(const struct quic_conn *, struct quic_stats *);

/*
 * Packets of one direction since the connection began, and those of them that
 * the path lost; and the same while no queue was full. A path that loses many
 * of the latter loses them at random. Nothing is counted around a migration.
 */
struct quic_loss {
	uint64_t packets, lost;
	uint64_t random_packets, random_lost;
};

/*
 * Those of the statistics that take constant time, however many streams there
 * are.
 */
struct quic_pulse {
	uint64_t packets_received;
	size_t streams;
	size_t ip_mtu;
	const char *mtu_cause;
	uint64_t migrations;
	struct quic_loss sent, received;
	struct quic_repair repair;
	bool repair_known; /* to be kept for the next connection */
};
void quic_conn_pulse(const struct quic_conn *, struct quic_pulse *);

/* -------------------------------------------------------------------------
 * Servers: many connections behind one socket
 */

/*
 * Makes a server. Stateless reset tokens and address validation tokens are
 * derived from `secret`: with the same one after a restart, clients of the
 * earlier process learn at once that it is gone (RFC 9000 §10.3). Holds a
 * reference to `tls`.
 *
 * When seven eighths of all connections are in use, or of those of one source,
 * each new connection takes the place of the oldest unused one. A connection is
 * unused until a request of it is answered by quic_stream_respond() with a
 * status of 2xx. When all are in use and none is unused, the new connection
 * takes the place of the one that has had no stream for the longest time, if
 * that is a minute or more; or else it is refused. An evicted connection is
 * closed with H3_EXCESSIVE_LOAD, or during its handshake with
 * CONNECTION_REFUSED.
 */
int quic_server_new(struct quic_server **, struct quic_tls *tls,
    const uint8_t secret[QUIC_SECRET_LEN], const struct quic_settings *,
    const struct quic_events *, void *arg);

/*
 * Sets other credentials and settings for new connections. Existing ones keep
 * theirs, and the secret stays. Tickets of the old credentials are not accepted
 * any more, so returning clients see the new certificate.
 */
void quic_server_reload(struct quic_server *, struct quic_tls *,
    const struct quic_settings *);

/*
 * As the calls of a connection, for all connections and for packets without
 * one. One call of expire serves a limited number; if more are due, so is the
 * next call.
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
 * Shuts the server down in an orderly way. Every client is asked by GOAWAY (RFC
 * 9114 §5.2) to send no more requests. Requests that arrive within a round trip
 * are served, later ones are reset with H3_REQUEST_REJECTED. Streams go on, and
 * a connection without any is closed with H3_NO_ERROR. New connections are
 * refused with CONNECTION_REFUSED (RFC 9000 §20.1). The shutdown is complete
 * when quic_server_stats() reports no more connections. For streams that do not
 * end, the caller uses quic_server_close(). Idempotent.
 */
void quic_server_drain(struct quic_server *, uint64_t now);

/* Closes every connection with H3_NO_ERROR, and accepts no more of them. */
void quic_server_close(struct quic_server *, uint64_t now);

/* Frees the server and its connections at once. NULL is a no-op. */
void quic_server_free(struct quic_server *);

struct quic_server_stats {
	size_t connections;    /* open ones, handshakes included */
	size_t half_open;      /* handshakes under way */
	size_t closing;	       /* ended; only the CONNECTION_CLOSE is kept */
	uint64_t accepted;     /* connections since the start */
	uint64_t retries_sent; /* to validate addresses */
	/* Not answered, since there were too many handshakes. */
	uint64_t postponed;
	/*
	 * While the server drained, or the server or the source had all its
	 * connections.
	 */
	uint64_t refused;
	uint64_t evicted;	  /* closed to make room for others */
	uint64_t tokens_rejected; /* of Retry, expired or of another address */
	uint64_t resets_sent;	  /* stateless resets */
	/* Without a connection, and not an accepted Initial. */
	uint64_t datagrams_dropped;
};
void quic_server_stats(const struct quic_server *, struct quic_server_stats *);

/* -------------------------------------------------------------------------
 * Streams: one request, then bytes both ways
 */

#define QUIC_FIELDS_MAX 64 /* of a header section */
/* Bytes of names and values with their NULs. */
#define QUIC_HEADER_SECTION_MAX 16384

/* HTTP/3 error codes that users of streams need (RFC 9114 §8.1). */
#define QUIC_H3_NO_ERROR 0x100
#define QUIC_H3_INTERNAL_ERROR 0x102
#define QUIC_H3_EXCESSIVE_LOAD 0x107
#define QUIC_H3_REQUEST_REJECTED 0x10b
#define QUIC_H3_REQUEST_CANCELLED 0x10c
#define QUIC_H3_CONNECT_ERROR 0x10f

/* A field. The name of a pseudo-header field begins with its colon. */
struct quic_field {
	const char *name;  /* lower case */
	const char *value; /* no control characters: nghttp3 checks that */
};

/* The fields of a request or response (RFC 9114 §4.1). */
struct quic_header_section {
	const struct quic_field *fields;
	size_t n;
};

/* The value of the first field of that name, or NULL. */
const char *
quic_header_section_find(const struct quic_header_section *, const char *name);

/*
 * The events of a stream, for its owner. Any member but `aborted` may be NULL.
 * Within one receive call `readable` and `writable` fire at most once, at its
 * end: once for each batch of packets, not for each packet.
 */
struct quic_stream_events {
	/*
	 * Client: the header section of the final response. Valid during the
	 * call only.
	 */
	void (*response)(struct quic_stream *,
	    const struct quic_header_section *, void *arg);

	/* Bytes have arrived, or the peer's FIN: see quic_stream_ended(). */
	void (*readable)(struct quic_stream *, void *arg);

	/* quic_stream_reserve() returned NULL before, and would not now. */
	void (*writable)(struct quic_stream *, void *arg);

	/*
	 * The peer accepts no more bytes (STOP_SENDING, RFC 9000 §3.5), for
	 * whatever reason. Bytes that it has not acknowledged are lost, and so
	 * are those that are committed from now on: see quic_stream_lost(). The
	 * other direction goes on. Fires once, after `readable`, and again for
	 * an owner that attaches later. Does not fire if the peer has
	 * acknowledged everything and the FIN was sent.
	 */
	void (*stopped)(struct quic_stream *, void *arg);

	/*
	 * The peer has reset the stream before its FIN; `code` gives the reason
	 * (RFC 9114 §8.1). Fires once, after `readable`. Bytes that were
	 * received before can still be consumed, and the owner ends the stream.
	 * If this member is NULL, the stream is aborted.
	 */
	void (*reset)(struct quic_stream *, uint64_t code, void *arg);

	/*
	 * The stream has ended early. The peer reset it or sent more fields
	 * than allowed (`why` is NULL, and `code` is the reason: RFC 9114
	 * §8.1); or the connection ended (`why`); or memory is short and nobody
	 * reads this stream (QUIC_H3_EXCESSIVE_LOAD). After the handler has
	 * returned, the stream and the bytes from quic_stream_peek() are freed.
	 */
	void (*aborted)(struct quic_stream *, uint64_t code,
	    const struct quic_close *why, void *arg);
};

/*
 * Client: sends the fields of a request and attaches to its new stream. The
 * fields are copied. The stream is valid until quic_stream_release(),
 * quic_stream_reset() or the return of `aborted`. -EAGAIN: the peer's limit of
 * streams is reached: wait for `streams_available`. -EPIPE: the server is
 * shutting down, see `draining`. -ENOTCONN: not connected.
 */
int quic_stream_request(struct quic_conn *, const struct quic_field *fields,
    size_t n, const struct quic_stream_events *, void *arg,
    struct quic_stream **);

/*
 * Server: becomes the owner of the stream of a `request` event, with the same
 * rules. On either side: takes a stream over from its owner. Bytes that have
 * arrived before can be consumed.
 */
void quic_stream_attach(struct quic_stream *, const struct quic_stream_events *,
    void *arg);

/*
 * Server: sends the fields of the response, once. The fields are copied. If the
 * peer has ended both directions by now, nothing is sent and that is no error:
 * its bytes can still be consumed, see `stopped`. On an error (-ENOMEM;
 * -EINVAL: too many fields; -EPIPE: HTTP/3 does not allow it) nothing is sent,
 * and the owner resets the stream.
 */
int quic_stream_respond(struct quic_stream *, const struct quic_field *fields,
    size_t n);

/*
 * Receiving. Peek fills up to `max` vectors with the bytes that are not
 * consumed yet, in order, and returns their number. The bytes stay in place
 * until they are consumed. Consume returns `n` bytes of credit to the peer:
 * call it only for bytes that have been delivered.
 */
size_t quic_stream_peek(const struct quic_stream *, struct iovec *, size_t max);
void quic_stream_consume(struct quic_stream *, size_t n);

/* The peer's FIN has arrived, and every byte before it is consumed. */
bool quic_stream_ended(const struct quic_stream *);

/*
 * Sending without a copy. Reserve returns memory to read into, at least
 * QUIC_RESERVE_MIN bytes, or NULL if the stream holds as much as it may: then
 * `writable` follows. Commit sends the first `n` bytes of it (0: the
 * reservation is dropped). There is one reservation at a time. Bytes that the
 * peer does not accept are dropped: see `stopped`.
 */
#define QUIC_RESERVE_MIN 4096 /* bytes: a smaller read is not worth its call */
void *quic_stream_reserve(struct quic_stream *, size_t *len);
void quic_stream_commit(struct quic_stream *, size_t n);

/*
 * Commits bytes that are in memory already, whether there is room or not.
 * Returns how many there was memory for.
 */
size_t quic_stream_push(struct quic_stream *, const void *data, size_t len);

/* True: there is room for a reservation. If not, `writable` follows. */
bool quic_stream_has_room(struct quic_stream *);

/* Bytes were committed that the peer did not accept. */
bool quic_stream_lost(const struct quic_stream *);

/*
 * Sends the FIN after the committed bytes. Nothing may be committed after it.
 */
void quic_stream_finish(struct quic_stream *);

/*
 * These end the ownership of a stream: no event follows, and the pointer is
 * invalid. Release still delivers what was committed (with its FIN, if it is
 * finished; else the stream is reset). Reset drops everything in both
 * directions (RFC 9000 §19.4, §19.5). Flush-and-reset resets after the peer has
 * acknowledged what was committed, or has made no progress for
 * QUIC_FLUSH_STALL_NS, neither with this stream nor with others that it may
 * have to wait for.
 *
 * Unless its FIN has arrived, the peer is asked to stop sending: by a client at
 * once; by a server after the peer has acknowledged everything and, after a
 * release, still sends. Browsers lose a response that STOP_SENDING comes with.
 */
#define QUIC_FLUSH_STALL_NS \
	UINT64_C(30000000000) /* 30 s: many round trips,
						     and a pause of a reader */
void quic_stream_release(struct quic_stream *);
void quic_stream_reset(struct quic_stream *, uint64_t code);
void quic_stream_flush_and_reset(struct quic_stream *, uint64_t code);

/* The stream ID (RFC 9000 §2.1) and the connection. */
int64_t quic_stream_id(const struct quic_stream *);
struct quic_conn *quic_stream_conn(const struct quic_stream *);

#endif
