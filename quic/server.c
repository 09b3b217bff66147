/*
 * A server: finds the connection of a packet by its connection ID. stateless.c
 * answers packets without a connection.
 *
 *   datagram ──▶ known ID ──▶ that connection
 *            ├─▶ Initial ───▶ a new connection, or what admission.c decides:
 *            │                Retry (RFC 9000 §8.1.2), CONNECTION_REFUSED,
 *            │                no answer; INVALID_TOKEN (§8.1.3)
 *            ├─▶ other version ──▶ Version Negotiation (§6)
 *            └─▶ short header, unknown ID ──▶ stateless reset (§10.3)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>

#include "quic/closing.h"
#include "quic/timer_heap.h"
#include "quic/internal.h"
#include "quic/packet_number.h"
#include "quic/remote_index.h"
#include "quic/stateless.h"
#include "quic/token.h"

#define HALF_OPEN_MAX 256  /* handshakes; beyond it addresses are validated */
#define HANDSHAKES_MAX 500 /* in a second: at 0.4 ms each, a fifth of a core */
#define CONNECTIONS_MAX 16384 /* at 70 KB each, 1.2 GB of memory */
#define SOURCE_MAX 1024	      /* connections: an office behind one address */

/*
 * With so many of `places` in use, new connections take the places of unused
 * ones. The rest is for further new connections.
 */
#define NEARLY_FULL(places) ((places) - (places) / 8)

/*
 * ICMP messages that are looked up in a second, so that a flood of them costs
 * no more. The search for the path MTU works without them, too.
 */
#define TOO_BIGS_PER_S 100

/*
 * Connections that one call of expire serves: to free one takes some 30 us, and
 * thousands may reach their idle time-out at once. The next call goes on.
 */
#define EXPIRED_A_CALL 64

/*
 * Streams of all connections whose events fire in one call of receive or
 * expire: see STREAMS_A_CALL in conn.c. The next call goes on.
 */
#define STEPS_A_CALL 128

/* Connections that one call of drain or expire begins to shut down. */
#define DRAINED_A_CALL 64

struct quic_server {
	struct quic_tls *tls;
	uint8_t secret[QUIC_SECRET_LEN];
	struct quic_settings settings;
	const struct quic_events *events;
	void *arg;
	bool draining;		    /* new connections are refused */
	struct quic_conn *to_drain; /* the next to be shut down; or NULL */
	uint64_t drained_at;	    /* ns: the last began then */
	unsigned steps_left;	    /* in this call of receive or expire */
	bool in_call;		    /* there is one */
	bool closed;		    /* new connections are not answered */

	struct admission admission;
	struct conn_id_map ids;
	LIST_HEAD(, quic_conn) conns;
	TAILQ_HEAD(, quic_conn) dirty;	  /* may have something to write */
	TAILQ_HEAD(, quic_conn) received; /* received packets in this call */
	struct remote_index remotes;

	struct timer_heap heap;	  /* of the deadlines of `conns` */
	struct evict_order order; /* in which they are evicted */
	struct stateless stateless;
	struct closings closings; /* of connections that are freed */
	uint64_t too_big_second;
	unsigned too_bigs_now;

	struct quic_server_stats stats;
};

/* ---- For connections: struct server_ops ---- */

static int
add_id(struct quic_server *server, struct quic_conn *conn,
    const ngtcp2_cid *cid)
{
	return conn_id_add(&server->ids, &conn->server.ids, conn, cid);
}

static void
remove_id(struct quic_server *server, const ngtcp2_cid *cid)
{
	struct conn_id *id = conn_id_find(&server->ids, cid);

	if (id != NULL)
		conn_id_free(&server->ids, id);
}

static void
reset_token(const struct quic_server *server, const ngtcp2_cid *cid,
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN])
{
	token_reset(server->secret, cid, token);
}

static size_t
new_token(const struct quic_server *server, const struct quic_path *path,
    uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN], uint64_t now)
{
	return token_new(server->secret, path, token, now);
}

/* ---- Connections ---- */

static void
touch(struct quic_server *server, struct quic_conn *conn)
{
	if (conn->server.is_dirty)
		return;
	conn->server.is_dirty = true;
	TAILQ_INSERT_TAIL(&server->dirty, conn, server.dirty_entry);
}

static void
untouch(struct quic_server *server, struct quic_conn *conn)
{
	if (!conn->server.is_dirty)
		return;
	conn->server.is_dirty = false;
	TAILQ_REMOVE(&server->dirty, conn, server.dirty_entry);
}

/* The address of the connection is validated. */
static void
enter_source(struct quic_server *server, struct quic_conn *conn)
{
	conn->server.source = admission_enter(&server->admission,
	    (const struct sockaddr *)&conn->path.current.remote);
	if (conn->server.source != NULL)
		evict_join(conn, EVICT_SOURCE, &conn->server.source->order);
}

static void
path_changed(struct quic_server *server, struct quic_conn *conn)
{
	remote_join(&server->remotes, conn);
}

static bool
handshake_done(struct quic_server *server, struct quic_conn *conn)
{
	if (conn->server.half_open)
		server->stats.half_open--;
	conn->server.half_open = false;
	if (conn->server.counted && conn->server.source == NULL)
		enter_source(server, conn);
	server->stats.accepted++;
	return server->draining;
}

static void
uncount(struct quic_server *server, struct quic_conn *conn)
{
	if (!conn->server.counted)
		return;
	if (conn->server.half_open)
		server->stats.half_open--;
	server->stats.connections--;
	conn->server.counted = conn->server.half_open = false;
	evict_leave(conn);
	admission_leave(&server->admission, conn->server.source);
	conn->server.source = NULL;
}

/* Also for a connection that was never listed. */
static void
forget(struct quic_server *server, struct quic_conn *conn)
{
	conn_ids_free(&server->ids, &conn->server.ids);
	remote_leave(&server->remotes, conn);
	untouch(server, conn);
	if (conn->server.has_received)
		TAILQ_REMOVE(&server->received, conn, server.received_entry);
	uncount(server, conn);
	if (!conn->server.listed)
		return;
	timer_heap_remove(&server->heap, conn);
	if (server->to_drain == conn)
		server->to_drain = LIST_NEXT(conn, server.entry);
	LIST_REMOVE(conn, server.entry);
}

static struct quic_conn *
take_unused(struct quic_server *server)
{
	struct quic_conn *conn = TAILQ_FIRST(&server->order.unused);

	if (conn != NULL)
		evict_leave(conn);
	return conn;
}

static bool
take_step(struct quic_server *server)
{
	if (!server->in_call)
		return true;
	if (server->steps_left == 0)
		return false;
	server->steps_left--;
	return true;
}

static void
begin_call(struct quic_server *server)
{
	server->in_call = true;
	server->steps_left = STEPS_A_CALL;
}

static const struct server_ops ops = {
	.add_id = add_id,
	.remove_id = remove_id,
	.reset_token = reset_token,
	.new_token = new_token,
	.handshake_done = handshake_done,
	.path_changed = path_changed,
	.touch = touch,
	.take_unused = take_unused,
	.take_step = take_step,
	.forget = forget,
};

static struct quic_conn *
accept_conn(struct quic_server *server, const ngtcp2_pkt_hd *hd,
    const ngtcp2_cid *original_dcid, enum token_proof proof,
    const struct quic_path *path, uint64_t now)
{
	struct quic_conn *conn;

	if (conn_server_new(&conn, server, &ops, server->tls, hd, original_dcid,
		proof == PROOF_RETRIED, path, &server->settings, server->events,
		server->arg, now) != 0)
		return NULL;
	if (timer_heap_insert(&server->heap, conn) != 0) {
		quic_conn_free(conn);
		return NULL;
	}
	conn->server.listed = conn->server.counted = conn->server.half_open =
	    true;
	evict_join(conn, EVICT_ALL, &server->order);
	remote_join(&server->remotes, conn);
	if (proof != PROOF_NONE)
		enter_source(server, conn);
	LIST_INSERT_HEAD(&server->conns, conn, server.entry);
	server->stats.connections++;
	server->stats.half_open++;
	return conn;
}

/*
 * Frees a connection that has ended. closing.c keeps its CONNECTION_CLOSE,
 * unless the peer has been silent.
 */
static void
free_ended(struct quic_server *server, struct quic_conn *conn, uint64_t now)
{
	uint8_t packet[NGTCP2_MAX_UDP_PAYLOAD_SIZE];
	size_t len = conn_seal_close(conn, packet, sizeof(packet), now);

	if (conn->end.lingers)
		closings_add(&server->closings, &conn->server.ids,
		    &conn->path.current, packet, len, now);
	quic_conn_free(conn);
}

/* Not from inside an event. */
static void
close_conn(struct quic_server *server, struct quic_conn *conn, uint64_t code,
    const char *reason, uint64_t now)
{
	quic_conn_close(conn, code, reason, now);
	if (conn->end.pending)
		conn_deliver(conn); /* it had ended before, or has no event */
	if (conn_is_over(conn))
		free_ended(server, conn, now);
	else
		uncount(server, conn); /* update_conn() frees it */
}

/* ---- Room ---- */

/* Whether a new connection, whose source is known or not, has a place. */
struct room {
	bool full; /* all places are in use */
	/* This connection is to be evicted first; or NULL. */
	struct quic_conn *victim;
};

/*
 * A source whose places are nearly all in use gives up one of its own
 * connections. One eviction is enough: the total is as before then.
 */
static struct room
find_room(const struct quic_server *server,
    const struct admission_source *source, uint64_t now)
{
	size_t all = server->settings.connections_max, here = 0;
	size_t most = server->settings.source_max;
	struct room room = { false, NULL };

	if (source != NULL &&
	    (here = source->connections) >= NEARLY_FULL(most)) {
		room.full = here >= most;
		room.victim = evict_first(&source->order, most, room.full, now);
	}
	if (room.full || room.victim != NULL)
		return room;
	room.full = server->stats.connections >= all;
	if (reclaim_is_due(server->settings.memory)) {
		reclaim_admit(server->settings.memory, now);
		room.full = true;
	}
	if (!room.full && server->stats.connections < NEARLY_FULL(all))
		return room;
	room.victim = evict_first(&server->order, all, room.full, now);
	return room;
}

static void
evict(struct quic_server *server, struct quic_conn *conn, uint64_t now)
{
	static const char why[] =
	    "the edge closes idle connections to make room";

	if (conn->server.half_open && conn->state < CONN_CLOSING) {
		conn->now = now;
		ngtcp2_ccerr_set_transport_error(&conn->end.ccerr,
		    NGTCP2_CONNECTION_REFUSED, NULL, 0);
		conn_fail(conn, QUIC_CLOSED_HERE, why);
	}
	close_conn(server, conn, QUIC_H3_EXCESSIVE_LOAD, why, now);
	server->stats.evicted++;
}

/* ---- Packets without a connection ---- */

static void
refuse(struct quic_server *server, const ngtcp2_pkt_hd *hd,
    const struct quic_path *path, uint64_t now)
{
	if (stateless_close(&server->stateless, hd, NGTCP2_CONNECTION_REFUSED,
		path, now))
		server->stats.refused++;
}

/*
 * A Retry token that is expired, or of another address. The client accepts no
 * second Retry, and need not wait for its time-out (RFC 9000 §8.1.3).
 */
static void
reject_token(struct quic_server *server, const ngtcp2_pkt_hd *hd,
    const struct quic_path *path, uint64_t now)
{
	if (stateless_close(&server->stateless, hd, NGTCP2_INVALID_TOKEN, path,
		now))
		server->stats.tokens_rejected++;
}

/* For a client with a valid token, or without one. */
static enum admission_verdict
check_admission(struct quic_server *server, const struct quic_path *path,
    enum token_proof proof, const struct room *room, uint64_t now)
{
	/* A spoofed address must not evict a connection. */
	if (proof == PROOF_NONE && room->victim != NULL)
		return ADMISSION_RETRY;
	return admission_decide(&server->admission,
	    (const struct sockaddr *)&path->remote, proof != PROOF_NONE,
	    server->stats.half_open, now);
}

/* An Initial. Returns the connection that it opens, or NULL. */
static struct quic_conn *
receive_initial(struct quic_server *server, const ngtcp2_pkt_hd *hd,
    const ngtcp2_cid *original_dcid, enum token_proof proof,
    const struct quic_path *path, uint64_t now)
{
	struct room room = find_room(server,
	    admission_find(&server->admission,
		(const struct sockaddr *)&path->remote),
	    now);

	if (room.full && room.victim == NULL) {
		refuse(server, hd, path, now);
		return NULL;
	}
	switch (check_admission(server, path, proof, &room, now)) {
	case ADMISSION_ADMIT:
		if (room.victim != NULL)
			evict(server, room.victim, now);
		return accept_conn(server, hd, original_dcid, proof, path, now);
	case ADMISSION_RETRY:
		if (stateless_retry(&server->stateless, hd, path, now))
			server->stats.retries_sent++;
		break;
	case ADMISSION_DROP:
		server->stats.postponed++;
		break;
	}
	return NULL;
}

/* A long header with an unknown ID. Returns as receive_initial(). */
static struct quic_conn *
receive_long_header(struct quic_server *server, const struct quic_path *path,
    const uint8_t *data, size_t len, uint64_t now)
{
	ngtcp2_cid original_dcid;
	ngtcp2_pkt_hd hd;
	enum token_proof proof;

	if (server->closed || ngtcp2_accept(&hd, data, len) != 0)
		return NULL;
	if (server->draining) {
		refuse(server, &hd, path, now);
		return NULL;
	}
	original_dcid = hd.dcid;
	proof = token_check(server->secret, &hd, &original_dcid, path, now);
	if (proof == PROOF_WRONG) {
		reject_token(server, &hd, path, now);
		return NULL;
	}
	return receive_initial(server, &hd, &original_dcid, proof, path, now);
}

/* ---- The calls that drive a server ---- */

static struct quic_conn *
route(struct quic_server *server, const struct quic_path *path,
    const uint8_t *data, size_t len, uint64_t now)
{
	ngtcp2_version_cid vc;
	struct conn_id *id;
	ngtcp2_cid dcid;
	int rv;

	rv = ngtcp2_pkt_decode_version_cid(&vc, data, len, CID_LEN);
	if (rv == NGTCP2_ERR_VERSION_NEGOTIATION && !server->closed)
		stateless_negotiate(&server->stateless, &vc, path);
	if (rv != 0 || vc.dcidlen > NGTCP2_MAX_CIDLEN)
		return NULL;
	ngtcp2_cid_init(&dcid, vc.dcid, vc.dcidlen);
	if ((id = conn_id_find(&server->ids, &dcid)) != NULL) {
		if (id->closing != NULL)
			closing_received(&server->closings, id->closing, len);
		return id->conn;
	}
	if (!SHORT_HEADER(data[0]))
		return receive_long_header(server, path, data, len, now);
	if (stateless_reset(&server->stateless, &vc, len, path, now))
		server->stats.resets_sent++;
	return NULL;
}

static void
receive_one(struct quic_server *server, const struct quic_rx *rx,
    const uint8_t *data, size_t len, bool more, uint64_t now)
{
	struct quic_conn *conn = route(server, &rx->path, data, len, now);

	if (conn == NULL) {
		server->stats.datagrams_dropped++;
		return;
	}
	conn_read(conn, &rx->path, rx->ecn, data, len, more, now);
	if (!conn->server.has_received)
		TAILQ_INSERT_TAIL(&server->received, conn,
		    server.received_entry);
	conn->server.has_received = true;
}

/* Frees a connection that has ended, or updates its place in the heap. */
static void
update_conn(struct quic_server *server, struct quic_conn *conn, uint64_t now)
{
	if (conn_is_over(conn)) {
		free_ended(server, conn, now);
		return;
	}
	evict_update(conn, now);
	timer_heap_update(&server->heap, conn);
}

void
quic_server_receive(struct quic_server *server, const struct quic_rx *rx,
    size_t n, uint64_t now)
{
	struct quic_conn *conn;
	size_t at, len;

	begin_call(server);
	for (size_t i = 0; i < n; i++)
		for (at = 0; (len = rx_datagram(&rx[i], at)) > 0; at += len)
			receive_one(server, &rx[i], rx[i].data + at, len,
			    i + 1 < n || at + len < rx[i].len, now);
	while ((conn = TAILQ_FIRST(&server->received)) != NULL) {
		TAILQ_REMOVE(&server->received, conn, server.received_entry);
		conn->server.has_received = false;
		conn_deliver(conn);
		if (conn_is_over(conn))
			free_ended(server, conn, now);
	}
	server->in_call = false;
}

/* Begins to shut down some connections. */
static void
drain_some(struct quic_server *server, uint64_t now)
{
	struct quic_conn *conn;

	for (unsigned n = 0;
	     n < DRAINED_A_CALL && (conn = server->to_drain) != NULL; n++) {
		server->to_drain = LIST_NEXT(conn, server.entry);
		goaway_begin(conn, now);
	}
	server->drained_at = now;
}

/* If many streams end at once, connections that have no turn keep theirs. */
void
quic_server_expire(struct quic_server *server, uint64_t now)
{
	struct quic_conn *conn;

	begin_call(server);
	closings_expire(&server->closings, now);
	drain_some(server, now);
	for (unsigned n = 0; n < EXPIRED_A_CALL && server->steps_left > 0 &&
	     timer_heap_deadline(&server->heap) <= now;
	     n++) {
		conn = server->heap.conns[0];
		quic_conn_expire(conn, now);
		if (!conn_is_over(conn) && quic_conn_deadline(conn) <= now) {
			/* Packets are due: the write calls come next. */
			conn_touch(conn);
			timer_heap_defer_first(&server->heap);
			continue;
		}
		update_conn(server, conn, now);
	}
	server->in_call = false;
}

/* Writes one train of each connection in turn, until none has more. */
bool
quic_server_write(struct quic_server *server, struct quic_gso *gso,
    uint64_t now)
{
	struct quic_conn *conn;

	if (stateless_write(&server->stateless, gso) ||
	    closings_write(&server->closings, gso))
		return true;
	while ((conn = TAILQ_FIRST(&server->dirty)) != NULL) {
		if (quic_conn_write(conn, gso, now)) {
			/* A packet that waits belongs to this connection. */
			if (gso->held_len == 0) {
				untouch(server, conn);
				touch(server, conn);
			}
			return true;
		}
		untouch(server, conn);
		update_conn(server, conn, now);
	}
	return false;
}

uint64_t
quic_server_deadline(const struct quic_server *server)
{
	uint64_t conns = timer_heap_deadline(&server->heap);
	uint64_t closings = closings_deadline(&server->closings);

	if (server->to_drain != NULL)
		return server->drained_at;
	return conns < closings ? conns : closings;
}

static bool
may_look_up(struct quic_server *server, uint64_t now)
{
	if (server->too_big_second != now / NS_PER_S) {
		server->too_big_second = now / NS_PER_S;
		server->too_bigs_now = 0;
	}
	return server->too_bigs_now++ < TOO_BIGS_PER_S;
}

void
quic_server_too_big(struct quic_server *server,
    const struct quic_too_big *report, uint64_t now)
{
	const struct remote_conns *conns;
	struct quic_conn *conn;

	if (!report->local && !may_look_up(server, now))
		return;
	conns = remote_find(&server->remotes, &report->remote);
	if (conns != NULL)
		LIST_FOREACH(conn, conns, server.remote.entry)
			quic_conn_too_big(conn, report, now);
}

/* ---- Life ---- */

static void
set_settings(struct quic_server *server, const struct quic_settings *settings)
{
	struct admission *admission = &server->admission;

	server->settings = *settings;
	if (server->settings.connections_max == 0)
		server->settings.connections_max = CONNECTIONS_MAX;
	if (server->settings.source_max == 0)
		server->settings.source_max = SOURCE_MAX;
	admission->half_open_max = settings->half_open_max;
	admission->per_second = settings->handshakes_max;
	if (admission->half_open_max == 0)
		admission->half_open_max = HALF_OPEN_MAX;
	if (admission->per_second == 0)
		admission->per_second = HANDSHAKES_MAX;
}

int
quic_server_new(struct quic_server **out, struct quic_tls *tls,
    const uint8_t secret[QUIC_SECRET_LEN], const struct quic_settings *settings,
    const struct quic_events *events, void *arg)
{
	struct quic_server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return -ENOMEM;
	server->tls = quic_tls_ref(tls);
	memcpy(server->secret, secret, sizeof(server->secret));
	server->stateless.secret = server->secret;
	closings_init(&server->closings, &server->ids);
	set_settings(server, settings);
	server->events = events;
	server->arg = arg;
	gnutls_rnd(GNUTLS_RND_KEY, &server->admission.seed,
	    sizeof(server->admission.seed));
	gnutls_rnd(GNUTLS_RND_KEY, server->ids.key, sizeof(server->ids.key));
	LIST_INIT(&server->conns);
	evict_order_init(&server->order);
	TAILQ_INIT(&server->dirty);
	TAILQ_INIT(&server->received);
	*out = server;
	return 0;
}

void
quic_server_reload(struct quic_server *server, struct quic_tls *tls,
    const struct quic_settings *settings)
{
	quic_tls_ref(tls);
	quic_tls_free(server->tls);
	server->tls = tls;
	set_settings(server, settings);
}

void
quic_server_drain(struct quic_server *server, uint64_t now)
{
	server->draining = true;
	server->to_drain = LIST_FIRST(&server->conns);
	drain_some(server, now);
}

void
quic_server_close(struct quic_server *server, uint64_t now)
{
	struct quic_conn *conn;

	server->closed = true;
	while ((conn = LIST_FIRST(&server->conns)) != NULL) {
		quic_conn_close(conn, QUIC_H3_NO_ERROR,
		    "the edge is shutting down", now);
		while (!conn_is_over(conn))
			conn_deliver(conn);
		free_ended(server, conn, now);
	}
}

void
quic_server_free(struct quic_server *server)
{
	struct quic_conn *conn;

	if (server == NULL)
		return;
	while ((conn = LIST_FIRST(&server->conns)) != NULL)
		quic_conn_free(conn);
	closings_fini(&server->closings);
	quic_tls_free(server->tls);
	gnutls_memset(server->secret, 0, sizeof(server->secret));
	timer_heap_fini(&server->heap);
	free(server);
}

void
quic_server_stats(const struct quic_server *server,
    struct quic_server_stats *stats)
{
	*stats = server->stats;
	stats->closing = server->closings.n;
}
