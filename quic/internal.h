/*
 * What the files of quic/ share among themselves: the insides of a connection
 * and of a stream. Nobody outside includes this.
 */
#ifndef CULVERT_QUIC_INTERNAL_H
#define CULVERT_QUIC_INTERNAL_H

#include <sys/queue.h>

#include <gnutls/gnutls.h>
#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/conn_id.h"
#include "quic/evict.h"
#include "quic/flow.h"
#include "quic/admission.h"
#include "quic/memory.h"
#include "quic/probe.h"
#include "quic/qpack.h"
#include "quic/quic.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* Length of the connection IDs that we choose: 64 random bits. */
#define CID_LEN 8 /* bytes */

/* Connection IDs that a peer may give us (RFC 9000 §5.1.1). */
#define PEER_IDS_MAX 7

/*
 * A head while its fields arrive: name and value in turn, each with its NUL,
 * one after another. The text grows, for most heads are short.
 */
struct head_buffer {
	size_t n;	/* fields */
	size_t len;	/* bytes used in text */
	size_t size;	/* bytes that there are */
	char text[];
};

/* Events that wait for the library calls to return; see conn_deliver(). */
enum stream_pending {
	PENDING_HEAD = 1 << 0,
	PENDING_READABLE = 1 << 1,
	PENDING_WRITABLE = 1 << 2,
	PENDING_RESET = 1 << 3,
	PENDING_ABORTED = 1 << 4,
	PENDING_FLUSHED = 1 << 5, /* of a stream that is let go */
	PENDING_STOPPED = 1 << 6
};

/* A stream that nobody owns any more: orphan.c. */
struct stream_orphan {
	TAILQ_ENTRY(quic_stream) entry; /* conn->orphans, if listed */
	uint64_t check_at; /* ns: it must have made progress by then: ... */
	size_t left;	   /* ... fewer bytes than this are unacknowledged, ... */
	uint64_t acked;	   /* ... or others had more of conn->acked ... */
	unsigned waits;	   /* ... in so many checks in a row */
	uint64_t code;	   /* of its reset */
	bool listed;
	bool flushing;	   /* a reset follows the last byte */
	bool answering;	   /* server: STOP_SENDING may follow the response ... */
	bool answered;	   /* ... of which the client has acknowledged all */
	bool overdue;	   /* among conn->noverdue: the peer does not end it */
};

/* Bytes that were committed in an iteration of the loop: quota.c. */
struct quota {
	uint64_t iteration; /* the last one with any */
	size_t taken;	    /* ... and how many */
};

struct quic_stream {
	struct quic_conn *conn;
	int64_t id;
	TAILQ_ENTRY(quic_stream) entry; /* conn->streams */

	const struct quic_stream_events *events; /* NULL: nobody is attached */
	void *arg;

	unsigned pending; /* enum stream_pending */
	TAILQ_ENTRY(quic_stream) ready_entry; /* conn->ready, if pending */
	uint64_t abort_code;
	struct head_buffer *head; /* while it arrives and until delivered */
	TAILQ_ENTRY(quic_stream) owing_entry; /* conn->owing, if owes_head */
	size_t losses; /* packets lost of it, in conn->packets_lost */
	uint64_t opened_at;

	/* Sending: chunks from the first byte not acknowledged. */
	struct buffer tx;
	struct chunk *tx_next; /* where nghttp3 goes on; NULL: all given */
	size_t tx_next_at;     /* ... and the offset in that chunk's data */
	size_t tx_unsent;      /* bytes not yet given to nghttp3 */
	size_t tx_chunk;       /* bytes of the next chunk */
	uint64_t round;	       /* in which it was given bytes last ... */
	size_t turn;	       /* ... and how many more it may have */
	TAILQ_ENTRY(quic_stream) waiting_entry; /* conn->waiting */
	struct quota quota;
	TAILQ_ENTRY(quic_stream) line_entry; /* conn->line, if in_line */

	/* Receiving: bytes that the owner has not consumed. */
	struct buffer rx;

	struct stream_memory memory;
	struct stream_flow flow;
	struct stream_orphan orphan;

	bool indexed : 1;      /* in conn->stream_ids */
	bool owes_head : 1;    /* the peer's head is not complete */
	bool tx_started : 1;   /* a head with a body to come was submitted */
	bool finished : 1;     /* owner: no more to commit */
	bool waiting : 1;      /* for the next round, to go on */
	bool in_line : 1;      /* for the next iteration, to commit more */
	bool tx_refused : 1;   /* the peer wants no more: drop what comes ... */
	bool tx_lost : 1;      /* ... as it was, before or after */
	bool stopped : 1;      /* it was the peer that said so */
	bool reserved : 1;     /* the room in tx.last is in the owner's hands */
	bool wants_room : 1;   /* reserve failed: owe a writable event */
	bool rx_fin : 1;       /* the peer's FIN is here */
	bool reset_told : 1;   /* the owner knows that the peer reset it */
	bool reset_sent : 1;   /* by us, both ways */
	bool released : 1;     /* no owner any more */
	bool transport_gone : 1; /* ngtcp2 has closed it */
	bool delivering : 1;   /* conn_deliver() is at it: do not free */
	bool conn_gone : 1;    /* its owner was told of the connection's end */
};

/*
 * Bytes of one stream that nghttp3 has framed and offers. They go into as many
 * packets as they fill, and nghttp3 is told of it once; an offer does not
 * outlive the write call that took it.
 */
#define OFFER_VECS 16 /* frame headers and chunks */
struct h3_offer {
	bool open;
	int64_t id; /* of the stream; -1: nothing to send */
	int fin;    /* the stream ends with these bytes */
	nghttp3_vec vec[OFFER_VECS];
	size_t nvec, first; /* how many; the first that is not used up */
	size_t taken;	    /* bytes that packets have taken */
};

enum conn_state {
	CONN_HANDSHAKE,
	CONN_UP,
	CONN_CLOSING, /* a CONNECTION_CLOSE is to be written */
	CONN_CLOSED   /* it is written, or there is none to write */
};

/* What is known of the queue before the bottleneck: bbr_queue.c. */
struct bbr_queue {
	uint64_t rtt;	    /* ns: the last that was looked at */
	bool queued;	    /* by that, packets wait there */
	uint64_t cwnd;	    /* bytes: the widest window, nearly, ... */
	uint64_t grown_at;  /* ... and since when */
	uint64_t marked_at; /* ns: what left then met no queue of ours; or 0 */
	unsigned doubts;    /* of them were slow, in a row */
	uint64_t off_until; /* ns: it is others that make packets wait */
};

/* How far the server of a connection is on its way out (RFC 9114 §5.2). */
enum drain {
	DRAIN_NOT,
	DRAIN_ANNOUNCED, /* GOAWAY without a last request: they still come */
	DRAIN_LAST	 /* ... and with it: what comes now is rejected */
};

struct quic_conn {
	ngtcp2_conn *quic;
	nghttp3_conn *h3; /* from the completed handshake on */
	gnutls_session_t session;
	ngtcp2_crypto_conn_ref ref; /* how GnuTLS callbacks find us */
	struct quic_tls *tls;
	char *server_name; /* client */
	struct quic_server *server; /* NULL: we are the client */

	const struct quic_events *events;
	void *arg;
	void *user;

	struct quic_path path;
	struct quic_settings settings;
	enum conn_state state;
	uint64_t began_at;
	uint64_t now;		/* of the call that we are in */
	struct quic_close close;
	ngtcp2_ccerr ccerr;	/* for the CONNECTION_CLOSE */
	int h3_error;		/* of nghttp3, which made ngtcp2 fail; or 0 */
	bool lingers;		/* server: something of it is to be kept ... */
	uint8_t *close_packet;	/* ... client: to answer stragglers; malloc */
	size_t close_packet_len;
	uint64_t stragglers;	/* packets received since the end */
	unsigned id_errors;	/* for compat_ignores_id_limit() */

	struct probe probe;

	struct quic_path proven;  /* the path that was validated last */
	bool path_unproven;	  /* `path` is new, and not yet validated */
	bool migrated_pending;	  /* migrated is to be fired ... */
	bool migration_failed;	  /* ... with this outcome */
	uint64_t migrations;
	bool ping_wanted;
	uint64_t fed_at;	  /* the last packet, when more may come: ... */
	uint64_t owed_since;	  /* an answer is due; 0 in both: no */
	bool silence_told;	  /* silent was fired since then ... */
	bool silence_pending;	  /* ... or is to be */

	bool dirty;		/* there may be something to write */
	bool announced;		/* connected was fired */
	bool connect_pending;	/* connected is to be fired */
	bool streams_pending;	/* streams_available is to be fired */
	bool streams_wanted;	/* a request met the peer's limit */
	enum drain drain;
	bool drain_pending;	/* draining is to be fired */
	uint64_t drain_at;	/* server: when DRAIN_ANNOUNCED is over */
	bool close_pending;	/* closed is to be fired */
	size_t mtu_told;	/* the size at the last mtu_changed, or 0 */
	size_t mtu_logged;	/* the size in the last record of a qlog ... */
	bool mtu_logged_done;	/* ... and whether the search was over */
	bool resumed;
	const char *verify_error; /* static text; set by the TLS verification */

	TAILQ_HEAD(, quic_stream) streams;
	void *stream_ids; /* tsearch(3) tree of the same, by ID */
	TAILQ_HEAD(, quic_stream) ready;
	TAILQ_HEAD(stream_owing, quic_stream) owing; /* a head, by ID */
	size_t nowing;
	int64_t goaway; /* client, if it drains: not looked at from this ID on */
	size_t nstreams;
	size_t unsent; /* the sum of their tx_unsent */
	struct quota quota;
	TAILQ_HEAD(, quic_stream) line; /* for the next iteration */
	uint64_t acked; /* bytes of streams that the peer acknowledged */

	struct quic_memory own_memory; /* if the owner gives none */
	struct conn_memory memory;
	struct conn_flow flow;

	size_t burst; /* bytes sent since the pace was last computed */
	uint64_t packets_sent, packets_lost, trains_sent;
	uint64_t packets_received; /* those that could be opened */

	/* h3.c */
	struct quic_stream *reading; /* whose bytes nghttp3 is given now */
	struct qpack_reader qpack;

	/* bbr_idle.c */
	uint64_t bbr_idle_at; /* the next PING; UINT64_MAX: none is due */
	uint64_t bbr_idle_until; /* no more of them then */
	uint64_t
	    bbr_idle_cwnd; /* before the first of two; 0: not between them */

	struct bbr_queue bbr_queue;

	/* scheduler.c */
	struct h3_offer offer;
	int64_t pending_fin;	/* stream whose FIN did not fit: compat.h */
	bool met_empty;		/* a stream was asked for data and had none */
	uint64_t round;		/* of turns; begins when the last is over */
	TAILQ_HEAD(, quic_stream) waiting; /* for the next round */

	TAILQ_HEAD(, quic_stream) orphans; /* by check_at */
	size_t noverdue; /* orphans that the peer should have ended */

	/* server.c */
	struct conn_ids ids;
	LIST_ENTRY(quic_conn) server_entry;
	TAILQ_ENTRY(quic_conn) dirty_entry;
	bool on_dirty_list;
	TAILQ_ENTRY(quic_conn) fed_entry; /* of those with events to tell */
	bool on_fed_list;
	bool listed;	/* in the server's list and heap */
	bool counted;	/* among the server's connections ... */
	bool half_open; /* ... as a handshake under way */
	struct admission_source *source; /* whose it is, once that is proven */

	/* remote_index.c */
	struct remote *remote; /* where it is; NULL: nowhere */
	LIST_ENTRY(quic_conn) remote_entry;

	/* evict.c */
	enum evict_rank evict_rank;
	struct evict_place evict[EVICT_LINES];
	uint64_t rested_at; /* since when it has no stream, if RESTING */

	/* timer_heap.c */
	size_t timer_heap_index; /* in the server's heap */
	uint64_t timer_heap_key; /* the deadline by which it is there */
};

/* setup.c */
int conn_server_new(struct quic_conn **, struct quic_server *,
    struct quic_tls *, const ngtcp2_pkt_hd *initial,
    const ngtcp2_cid *original_dcid, bool retried,
    const struct quic_path *, const struct quic_settings *,
    const struct quic_events *, void *arg, uint64_t now);

/* conn.c */
void conn_read(struct quic_conn *, const struct quic_path *, uint8_t ecn,
    const uint8_t *data, size_t len, bool more, uint64_t now);
void conn_deliver(struct quic_conn *);
void conn_touch(struct quic_conn *);
uint64_t conn_carries(const struct quic_conn *, uint64_t ns);
void conn_set_keep_alive(struct quic_conn *);

/* path.c */
#define PATH_HEADERS_MIN 28 /* bytes: of IPv4 and UDP */
ngtcp2_path path_view(const struct quic_path *);
size_t path_headers_len(const struct quic_path *);
int path_validated(ngtcp2_conn *, uint32_t flags, const ngtcp2_path *path,
    const ngtcp2_path *old_path, ngtcp2_path_validation_result, void *user);
void conn_follow_path(struct quic_conn *);

/* close.c */
void conn_check(struct quic_conn *, int rv);
void conn_fail(struct quic_conn *, enum quic_cause, const char *text);
size_t conn_seal_close(struct quic_conn *, uint8_t *buf, size_t size,
    uint64_t now);
bool conn_write_close(struct quic_conn *, struct quic_gso *, uint64_t now);
bool conn_is_over(const struct quic_conn *);

/* gso.c */
void gso_begin(struct quic_gso *);
bool gso_add(struct quic_gso *, const ngtcp2_path *, uint8_t ecn, size_t len);
bool gso_is_full(const struct quic_gso *);
size_t rx_datagram(const struct quic_rx *, size_t at);

/* h3.c */
int h3_start(struct quic_conn *);
void h3_stop(struct quic_conn *);
int h3_fail(struct quic_conn *, int rv);
int h3_recv_stream_data(ngtcp2_conn *, uint32_t flags, int64_t id,
    uint64_t offset, const uint8_t *data, size_t len, void *conn,
    void *stream);
int h3_acked(ngtcp2_conn *, int64_t id, uint64_t offset, uint64_t len,
    void *conn, void *stream);
int h3_stream_open(ngtcp2_conn *, int64_t id, void *conn);
int h3_stream_close(ngtcp2_conn *, uint32_t flags, int64_t id, uint64_t code,
    void *conn, void *stream);
int h3_stream_reset(ngtcp2_conn *, int64_t id, uint64_t final_size,
    uint64_t code, void *conn, void *stream);
int h3_unblock_stream(ngtcp2_conn *, int64_t id, uint64_t max, void *conn,
    void *stream);
int h3_allow_requests(ngtcp2_conn *, uint64_t max, void *conn);
int h3_submit(struct quic_stream *, const struct quic_field *, size_t n);
void h3_resume(struct quic_stream *);
void h3_forget(struct quic_stream *);
int h3_announce_end(struct quic_conn *);
int h3_end(struct quic_conn *);
bool h3_has_ended(const struct quic_conn *);

/* scheduler.c */
ngtcp2_ssize scheduler_write_packet(struct quic_conn *, ngtcp2_path *,
    ngtcp2_pkt_info *, uint8_t *buf, size_t cap, uint64_t now);
int scheduler_settle(struct quic_conn *);

/* head.c: what nghttp3 calls; the view's `fields` point into the buffer */
int head_begin(nghttp3_conn *, int64_t id, void *conn, void *stream);
int head_field(nghttp3_conn *, int64_t id, int32_t token, nghttp3_rcbuf *name,
    nghttp3_rcbuf *value, uint8_t flags, void *conn, void *stream);
int head_end(nghttp3_conn *, int64_t id, int fin, void *conn, void *stream);
struct quic_head head_view(const struct head_buffer *,
    struct quic_field fields[QUIC_FIELDS_MAX]);

/* request.c */
void request_opened(struct quic_stream *);
void request_settled(struct quic_stream *);
void request_curb(struct quic_conn *);
bool request_is_rejected(const struct quic_conn *);
void request_reject(struct quic_conn *);
void request_drain(struct quic_conn *, uint64_t now);
uint64_t request_deadline(const struct quic_conn *);
void request_expire(struct quic_conn *, uint64_t now);

/* stream.c */
struct quic_stream *stream_new(struct quic_conn *, int64_t id);
int stream_set_id(struct quic_stream *, int64_t id);
struct quic_stream *stream_find(const struct quic_conn *, int64_t id);
void stream_free(struct quic_stream *);
void stream_pend(struct quic_stream *, unsigned events);
void stream_deliver(struct quic_stream *);
void stream_abort(struct quic_stream *, uint64_t code);
void stream_cut(struct quic_stream *, uint64_t code);
void stream_transport_gone(struct quic_stream *, uint64_t code);
bool stream_conn_gone(struct quic_stream *);
void stream_stopped(struct quic_stream *);
void stream_stop(struct quic_stream *, uint64_t code);
int stream_append(struct quic_stream *, const uint8_t *data, size_t len);
void stream_append_fin(struct quic_stream *);
size_t stream_take(struct quic_stream *, nghttp3_vec *, size_t max, bool *eof);
void stream_stop_waiting(struct quic_stream *);
void stream_acked(struct quic_stream *, size_t n);

/* orphan.c */
void orphan_begin(struct quic_stream *);
void orphan_acked(struct quic_stream *);
void orphan_received(struct quic_stream *);
void orphan_drain(struct quic_conn *);
void orphan_end(struct quic_stream *);
uint64_t orphan_deadline(const struct quic_conn *);
void orphan_expire(struct quic_conn *, uint64_t now);

/* quota.c */
bool quota_left(const struct quic_stream *);
void quota_take(struct quic_stream *, size_t n);
void quota_wait(struct quic_stream *);
void quota_wait_end(struct quic_stream *);
uint64_t quota_deadline(const struct quic_conn *);
void quota_expire(struct quic_conn *);
void quota_renew(struct quic_memory *);

/* bbr_idle.c */
void bbr_idle_note(struct quic_conn *);
void bbr_idle_expire(struct quic_conn *, uint64_t now);

/* bbr_queue.c */
void bbr_queue_measure(struct quic_conn *, uint64_t now);
bool bbr_queue_is_full(const struct quic_conn *);

/* server.c */
int server_add_id(struct quic_server *, struct quic_conn *,
    const ngtcp2_cid *);
void server_remove_id(struct quic_server *, const ngtcp2_cid *);
void server_reset_token(struct quic_server *, const ngtcp2_cid *,
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN]);
void server_touch(struct quic_server *, struct quic_conn *);
struct quic_conn *server_unused(struct quic_server *);
void server_forget(struct quic_server *, struct quic_conn *);
void server_moved(struct quic_server *, struct quic_conn *);
size_t server_new_token(struct quic_server *, const struct quic_path *,
    uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN], uint64_t now);
void server_handshake_done(struct quic_server *, struct quic_conn *);
bool server_is_draining(const struct quic_server *);

/* tls.c */
int tls_session_new(struct quic_conn *);
const uint8_t *tls_token(const struct quic_tls *, size_t *len);
void tls_keep_token(struct quic_tls *, const uint8_t *, size_t len);
void tls_send_ticket(gnutls_session_t);
bool tls_is_h3(gnutls_session_t);
void tls_describe(gnutls_session_t, struct quic_stats *);

#endif
