/*
 * What the files of quic/ share: a connection, a stream, and the functions of
 * the files that have no header of their own. Private to quic/ and its tests.
 */
#ifndef CULVERT_QUIC_INTERNAL_H
#define CULVERT_QUIC_INTERNAL_H

#include <sys/queue.h>

#include <gnutls/gnutls.h>
#include <nghttp3/nghttp3.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/aead.h"
#include "quic/flow.h"
#include "quic/memory.h"
#include "quic/path_loss.h"
#include "quic/mtu_probe.h"
#include "quic/qpack_decoder_stream.h"
#include "quic/quic.h"
#include "quic/repair.h"
#include "quic/server.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* Length of the connection IDs that we choose: 64 random bits. */
#define CID_LEN 8 /* bytes */

/* Connection IDs that a peer may provide (RFC 9000 §5.1.1). */
#define PEER_IDS_MAX 7

/*
 * The fields of a request or response while they arrive: names and values in
 * turn, each with its NUL. The text grows: most are short.
 */
struct header_section {
	size_t n;    /* fields */
	size_t len;  /* bytes used in text */
	size_t size; /* bytes of text */
	char text[];
};

/* Events that wait for the library calls to return; see conn_deliver(). */
enum stream_pending {
	PENDING_HEAD = 1 << 0,
	PENDING_READABLE = 1 << 1,
	PENDING_WRITABLE = 1 << 2,
	PENDING_RESET = 1 << 3,
	PENDING_ABORTED = 1 << 4,
	PENDING_FLUSHED = 1 << 5, /* of a released stream */
	PENDING_STOPPED = 1 << 6
};

/* A stream without an owner: orphan.c. */
struct stream_orphan {
	TAILQ_ENTRY(quic_stream) entry; /* conn->orphans.list, if listed */
	uint64_t check_at;		/* ns: then its progress is checked */
	size_t left;	/* unacknowledged bytes at the last check */
	uint64_t acked; /* conn->streams.acked at the last check */
	/* Checks in a row at which only others had made progress. */
	unsigned waits;
	uint64_t code; /* of its reset */
	bool listed;
	bool flushing;	/* a reset follows the last byte */
	bool answering; /* server: STOP_SENDING is to follow the response */
	bool answered;	/* the client has acknowledged the whole response */
	bool overdue;	/* counted in conn->orphans.noverdue */
};

/* Bytes that were committed in one iteration of the loop: commit_quota.c. */
struct commit_quota {
	uint64_t iteration; /* the last one with such bytes */
	size_t taken;	    /* how many bytes */
};

struct quic_stream {
	struct quic_conn *conn;
	int64_t id;
	TAILQ_ENTRY(quic_stream) entry; /* conn->streams.all */

	const struct quic_stream_events *events; /* NULL: no owner yet */
	void *arg;

	unsigned pending;		      /* enum stream_pending */
	TAILQ_ENTRY(quic_stream) ready_entry; /* if pending != 0 */
	uint64_t abort_code;
	struct header_section *head; /* while it arrives and until delivered */
	TAILQ_ENTRY(quic_stream) incomplete_entry; /* if head_incomplete */
	size_t losses; /* packets lost of it, in conn->counts.lost */
	uint64_t opened_at;

	/* Sending: chunks from the first byte not acknowledged. */
	struct buffer tx;
	struct chunk *tx_next; /* where nghttp3 reads next; NULL: it has all */
	size_t tx_next_at;     /* the offset in the data of that chunk */
	size_t tx_unsent;      /* bytes that nghttp3 has not read yet */
	size_t tx_chunk;       /* bytes of the next chunk */
	uint64_t round;	       /* the last in which nghttp3 read from it */
	size_t quantum;	       /* bytes that are left of it in that round */
	TAILQ_ENTRY(quic_stream) deferred_entry; /* if deferred */
	struct commit_quota quota;
	TAILQ_ENTRY(quic_stream) quota_entry; /* if quota_waiting */

	/* Receiving: bytes that the owner has not consumed. */
	struct buffer rx;

	struct stream_memory memory;
	struct stream_flow flow;
	struct stream_orphan orphan;

	bool indexed : 1;	  /* in conn->streams.by_id */
	bool head_incomplete : 1; /* in conn->requests.incomplete */
	bool tx_started : 1;	  /* a head with a body to come was submitted */
	bool finished : 1;	  /* the owner commits no more */
	bool deferred : 1; /* its quantum is used up: until the next round */
	bool quota_waiting : 1;	 /* the quota is used up: until the next */
	bool tx_refused : 1;	 /* drop what the owner commits */
	bool tx_lost : 1;	 /* bytes were dropped before or after that */
	bool stopped : 1;	 /* it is the peer that stopped it */
	bool reserved : 1;	 /* the owner may write into tx.last */
	bool wants_room : 1;	 /* reserve failed: a writable event is due */
	bool rx_fin : 1;	 /* the peer's FIN has arrived */
	bool reset_reported : 1; /* the owner knows of the peer's reset */
	bool reset_sent : 1;	 /* by this side, both ways */
	bool released : 1;	 /* it has no owner any more */
	bool transport_gone : 1; /* ngtcp2 has closed it */
	bool delivering : 1;	 /* stream_deliver() is running: do not free */
	bool conn_gone : 1;	 /* stream_conn_gone() has run */
};
TAILQ_HEAD(stream_queue, quic_stream);

enum conn_state {
	CONN_HANDSHAKE,
	CONN_UP,
	CONN_CLOSING, /* a CONNECTION_CLOSE is to be written */
	CONN_CLOSED   /* it is written, or there is none to write */
};

/* Counts of a connection since it began: conn.c. */
struct conn_counts {
	uint64_t sent, lost; /* packets */
	uint64_t received;   /* packets that were authenticated */
	uint64_t largest;    /* packet number of 1-RTT packets of those */
	uint64_t trains;     /* that were sent */
	uint64_t repairs;    /* repair packets that were sent */
	uint64_t repaired;   /* packets that repair packets made */
};

/* The packet size that was reported last, bytes of UDP payload: conn.c. */
struct conn_mtu {
	size_t reported;  /* by mtu_changed */
	size_t logged;	  /* by qlog */
	bool logged_done; /* the search was over then */
};

/* The end of a connection: close.c. */
struct conn_end {
	struct quic_close why;
	ngtcp2_ccerr ccerr;	  /* for the CONNECTION_CLOSE */
	int h3_error;		  /* of nghttp3, if it made ngtcp2 fail; or 0 */
	const char *verify_error; /* static text, by the verification; NULL */
	bool pending;		  /* the closed event is due */
	bool lingers;		  /* server: closing.c keeps a record of it */
	uint8_t *packet; /* client: the CONNECTION_CLOSE, to be repeated */
	size_t packet_len;
	uint64_t late_packets; /* packets received since the end */
};

/* New starts of congestion control: path_restart.c. All zero at first. */
struct path_restart {
	uint16_t number; /* of the last one; 0: there was none */
	uint64_t at;	 /* ns: the last one */
	bool off;	 /* no more: the path was not validated again */
	struct sockaddr_storage known; /* for which stand-ins were made; ... */
	struct sockaddr_storage stand_in;
	bool in_use; /* ... the library sees it as `stand_in` */
};

/* Paths (RFC 9000 §9): path.c. */
struct conn_path {
	struct quic_path current;
	struct quic_path validated; /* the last one that was */
	bool unvalidated;	    /* `current` is */
	bool event_pending;	    /* migrated is due */
	bool failed;		    /* what it will report */
	uint64_t changes;	    /* of `current` */
	bool migrating;		    /* quic_conn_migrate() has no result yet */
	struct path_restart restart;
};

/* Whether the peer is there: keep_alive.c. All zero at first. */
struct keep_alive {
	bool ping_due;		/* the next write sends a PING */
	uint64_t ack_due_since; /* no packet since then; 0: none is due */
	uint64_t received_at;	/* the last packet, after stream data; or 0 */
	bool reported;		/* silent was fired in this silence */
	bool event_pending;	/* silent is due */
};

/* The streams of a connection: stream.c. */
struct conn_streams {
	struct stream_queue all;
	void *by_id;		   /* tsearch(3) tree of the same */
	struct stream_queue ready; /* have events to deliver */
	size_t n;
	size_t unsent;	/* bytes: the sum of their tx_unsent */
	uint64_t acked; /* bytes of any of them */
};

/* Requests that are not complete, or not answered: pending_request.c. */
struct conn_requests {
	struct stream_queue incomplete; /* no complete head yet; by ID */
	size_t nincomplete;
	uint64_t nopen; /* server: streams of requests in the transport */
	uint64_t max;	/* server: the same, as many as the peer may open */
	bool blocked;	/* client: a request met the peer's limit */
	bool available_pending; /* client: streams_available is due */
};

/* The orderly end (RFC 9114 §5.2): goaway.c. */
struct conn_goaway {
	enum goaway_state {
		GOAWAY_NONE,
		GOAWAY_FIRST, /* it names no request: more may come */
		GOAWAY_FINAL  /* it names the last: more are rejected */
	} state;
	uint64_t second_at; /* server: when the second one is due */
	int64_t id;	    /* client: requests from this one on are rejected */
	bool event_pending; /* client: draining is due */
};

/* Streams without an owner: orphan.c. */
struct conn_orphans {
	struct stream_queue list;    /* by check_at */
	size_t noverdue;	     /* that the peer should have ended */
	struct quic_stream *to_stop; /* of a drain: the next; or NULL */
};

/* What the owner may commit in this iteration of the loop: commit_quota.c. */
struct conn_quota {
	struct commit_quota used;
	struct stream_queue waiting; /* for the next iteration */
};

/*
 * Bytes of one stream that nghttp3 has framed. They go into as many packets as
 * they fill, and nghttp3 learns of them once: when all are used up, or at the
 * end of the write call.
 */
#define WRITE_VECS 16 /* frame headers and chunks */
struct h3_write {
	bool open;
	int64_t id; /* of the stream; -1: nothing to send */
	int fin;    /* the stream ends with these bytes */
	nghttp3_vec vec[WRITE_VECS];
	size_t nvec;
	size_t first; /* index of the first vector that is not used up */
	size_t taken; /* bytes that packets have taken */
};

/* Which stream sends next: scheduler.c. */
struct scheduler {
	struct h3_write write;
	int64_t pending_fin; /* stream whose FIN did not fit: compat.h */
	bool skipped;	     /* nghttp3 came to a stream that had no data */
	uint64_t round; /* in which each stream has one quantum; from 1 on */
	struct stream_queue deferred; /* until the next round */
};

/* What nghttp3 is given: h3.c. */
struct h3_reader {
	struct quic_stream *stream; /* whose bytes it reads now, or NULL */
	struct qpack_decoder_stream decoder_stream;
};

/* PINGs for BBR in idle time: bbr_probe_rtt.c. */
struct bbr_probe_rtt {
	uint64_t at;	/* the next PING; UINT64_MAX: none is due */
	uint64_t until; /* no more of them then */
	uint64_t cwnd;	/* before the first of two; 0: not between them */
};

/* The queue at the bottleneck: bbr_bottleneck_queue.c. All zero at first. */
struct bbr_bottleneck_queue {
	uint64_t rtt;	    /* ns: the last sample */
	bool queued;	    /* it shows that packets wait there */
	uint64_t cwnd;	    /* bytes: the largest window, nearly */
	uint64_t grown_at;  /* since when `cwnd` is so large */
	uint64_t marked_at; /* ns: what left then met no queue of ours; or 0 */
	unsigned nslow;	    /* such packets that were slow, in a row */
	uint64_t off_until; /* ns: the queue is that of others */
};

/* Each part belongs to the file that its type names. */
struct quic_conn {
	/* setup.c */
	ngtcp2_conn *quic;
	nghttp3_conn *h3; /* from the completed handshake on */
	gnutls_session_t session;
	ngtcp2_crypto_conn_ref ref; /* for the callbacks of GnuTLS */
	struct quic_tls *tls;
	char *server_name; /* client */
	struct quic_settings settings;
	uint64_t began_at;
	bool resumed;

	/* The owner's. */
	const struct quic_events *events;
	void *arg;
	void *user;

	/* conn.c */
	enum conn_state state;
	uint64_t now;	      /* of the call that is running, or was the last */
	bool dirty;	      /* there may be something to write */
	bool connect_pending; /* connected is due */
	bool announced;	      /* connected was fired */
	size_t burst;	      /* bytes sent since the pace was last computed */
	struct conn_counts counts;
	struct conn_path_loss path_loss;
	struct conn_repair repair;
	struct conn_mtu mtu;
	unsigned id_errors; /* for compat_ignores_id_limit() */

	struct conn_aead aead;
	struct conn_end end;
	struct conn_path path;
	struct keep_alive keep_alive;
	struct mtu_probe mtu_probe;

	struct conn_streams streams;
	struct conn_requests requests;
	struct conn_goaway goaway;
	struct conn_orphans orphans;
	struct conn_quota quota;
	struct scheduler scheduler;
	struct h3_reader h3_reader;

	struct conn_flow flow;
	struct conn_memory memory;
	struct quic_memory own_memory; /* if the settings have none */

	struct bbr_probe_rtt bbr_probe_rtt;
	struct bbr_bottleneck_queue bbr_bottleneck_queue;

	struct conn_server server; /* server.h */
};

/* setup.c */
int conn_server_new(struct quic_conn **, struct quic_server *,
    const struct server_ops *, struct quic_tls *, const ngtcp2_pkt_hd *initial,
    const ngtcp2_cid *original_dcid, bool retried, const struct quic_path *,
    const struct quic_settings *, const struct quic_events *, void *arg,
    uint64_t now);

/* conn.c */
bool conn_is_server(const struct quic_conn *);
void conn_read(struct quic_conn *, const struct quic_path *, uint8_t ecn,
    const uint8_t *data, size_t len, bool more, uint64_t now);
void conn_read_packet(struct quic_conn *, const struct quic_path *, uint8_t ecn,
    const uint8_t *data, size_t len, bool more, uint64_t now);
void conn_deliver(struct quic_conn *);
void conn_touch(struct quic_conn *);
uint64_t conn_capacity(const struct quic_conn *, uint64_t ns);

/* keep_alive.c */
void keep_alive_received(struct quic_conn *);
void keep_alive_data_received(struct quic_conn *);
void keep_alive_written(struct quic_conn *);
void keep_alive_set_timer(struct quic_conn *);
void keep_alive_deliver(struct quic_conn *);
uint64_t keep_alive_deadline(const struct quic_conn *);
void keep_alive_expire(struct quic_conn *, uint64_t now);

/* path.c */
#define PATH_HEADERS_MIN 28 /* bytes: of IPv4 and UDP */
ngtcp2_path path_view(const struct quic_path *);
bool path_is_same(const struct quic_path *, const struct quic_path *);

/* ---- path_restart.c ---- */

/*
 * Congestion control and the round-trip time begin anew. False: not now, try
 * again.
 */
bool path_restart(struct quic_conn *);

/* The path as the library of this connection is to see it, and back. */
ngtcp2_path
path_for_library(const struct quic_conn *, const struct quic_path *);
ngtcp2_path path_real(const struct quic_conn *, const ngtcp2_path *);

/* The same back, in the memory of a path that the library has written. */
void path_from_library(const struct quic_conn *, ngtcp2_path *);

/* Whether the library's path is one that a restart has made. */
bool path_is_stand_in(const ngtcp2_path *);
void path_restarted(struct quic_conn *, ngtcp2_path_validation_result);
void path_forget_stand_in(struct quic_conn *);

/* ---- path.c ---- */

size_t path_headers_len(const struct quic_path *);
int path_validated(ngtcp2_conn *, uint32_t flags, const ngtcp2_path *path,
    const ngtcp2_path *old_path, ngtcp2_path_validation_result, void *user);
void conn_follow_path(struct quic_conn *);

/* close.c */
void conn_check(struct quic_conn *, int rv);
void conn_fail(struct quic_conn *, enum quic_cause, const char *text);
size_t
conn_seal_close(struct quic_conn *, uint8_t *buf, size_t size, uint64_t now);
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
    uint64_t offset, const uint8_t *data, size_t len, void *conn, void *stream);
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
void h3_free_stream(struct quic_stream *);
int h3_announce_end(struct quic_conn *);
int h3_end(struct quic_conn *);
bool h3_has_ended(const struct quic_conn *);

/* scheduler.c */
ngtcp2_ssize scheduler_write_packet(struct quic_conn *, ngtcp2_path *,
    ngtcp2_pkt_info *, uint8_t *buf, size_t cap, uint64_t now);
int scheduler_finish(struct quic_conn *);

/* header_section.c: called by nghttp3; a view's `fields` point into the text */
int header_section_begin(nghttp3_conn *, int64_t id, void *conn, void *stream);
int header_section_field(nghttp3_conn *, int64_t id, int32_t token,
    nghttp3_rcbuf *name, nghttp3_rcbuf *value, uint8_t flags, void *conn,
    void *stream);
int header_section_end(nghttp3_conn *, int64_t id, int fin, void *conn,
    void *stream);
struct quic_header_section header_section_view(const struct header_section *,
    struct quic_field fields[QUIC_FIELDS_MAX]);

/* pending_request.c */
void pending_request_add(struct quic_stream *);
void pending_request_remove(struct quic_stream *);
void pending_request_limit(struct quic_conn *);
uint64_t pending_request_deadline(const struct quic_conn *);
void pending_request_expire(struct quic_conn *, uint64_t now);

/* goaway.c */
bool goaway_rejects(const struct quic_conn *);
void goaway_reject(struct quic_conn *);
void goaway_begin(struct quic_conn *, uint64_t now);
uint64_t goaway_deadline(const struct quic_conn *);
void goaway_expire(struct quic_conn *, uint64_t now);

/* max_streams.c: for the server; a peer opened a request's stream, or closed */
uint64_t max_streams(const struct quic_conn *);
void max_streams_opened(struct quic_conn *);
void max_streams_closed(struct quic_conn *);
/* After a datagram: a peer without credit gets some when there is memory. */
void max_streams_check(struct quic_conn *);

/* stream.c */
struct quic_stream *stream_new(struct quic_conn *, int64_t id);
int stream_set_id(struct quic_stream *, int64_t id);
struct quic_stream *stream_find(const struct quic_conn *, int64_t id);
void stream_free(struct quic_stream *);
void stream_pend(struct quic_stream *, unsigned events);
void stream_deliver(struct quic_stream *);
void stream_abort(struct quic_stream *, uint64_t code);
void stream_reset_received(struct quic_stream *, uint64_t code);
void stream_transport_gone(struct quic_stream *, uint64_t code);
bool stream_conn_gone(struct quic_stream *);
void stream_stopped(struct quic_stream *);
void stream_stop(struct quic_stream *, uint64_t code);
int stream_append(struct quic_stream *, const uint8_t *data, size_t len);
void stream_append_fin(struct quic_stream *);
size_t stream_take(struct quic_stream *, nghttp3_vec *, size_t max, bool *eof);
void stream_undefer(struct quic_stream *);
void stream_acked(struct quic_stream *, size_t n);

/* orphan.c */
void orphan_begin(struct quic_stream *);
void orphan_acked(struct quic_stream *);
void orphan_received(struct quic_stream *);
void orphan_drain(struct quic_conn *);
void orphan_end(struct quic_stream *);
uint64_t orphan_deadline(const struct quic_conn *);
void orphan_expire(struct quic_conn *, uint64_t now);

/* commit_quota.c */
bool commit_quota_left(const struct quic_stream *);
void commit_quota_take(struct quic_stream *, size_t n);
void commit_quota_wait(struct quic_stream *);
void commit_quota_wait_end(struct quic_stream *);
uint64_t commit_quota_deadline(const struct quic_conn *);
void commit_quota_expire(struct quic_conn *);
void commit_quota_renew(struct quic_memory *);

/* bbr_probe_rtt.c */
void bbr_probe_rtt_note(struct quic_conn *);
void bbr_probe_rtt_expire(struct quic_conn *, uint64_t now);

/* bbr_bottleneck_queue.c */
void bbr_bottleneck_queue_measure(struct quic_conn *, uint64_t now);
bool bbr_bottleneck_queue_is_full(const struct quic_conn *);

/* tls.c */
gnutls_datum_t tls_datum(const struct quic_pem *);
int tls_session_new(struct quic_conn *);
const uint8_t *tls_token(const struct quic_tls *, size_t *len);
void tls_keep_token(struct quic_tls *, const uint8_t *, size_t len);
void tls_send_ticket(gnutls_session_t);
bool tls_is_h3(gnutls_session_t);
void tls_describe(gnutls_session_t, struct quic_stats *);

#endif
