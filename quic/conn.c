/*
 * One QUIC connection on ngtcp2.
 *
 *   HANDSHAKE ──▶ UP ──▶ CLOSING ──▶ CLOSED
 *        └──────────────────▲  (CLOSED at once if the peer has closed)
 *
 * Only read, expire and write enter the library. While it runs, its callbacks
 * only set pending flags, on streams and on the connection. After it has
 * returned, conn_deliver() turns these into events. So no handler ever runs
 * inside the library, and each event fires once for a batch of packets.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "quic/compat.h"
#include "quic/internal.h"
#include "quic/packet_number.h"

/*
 * Packets are paced in bursts of what the path carries in this time: a timer
 * for less costs more than its packets do. Below 2 Gbit/s a burst is one train.
 */
#define BURST (NS_PER_S / 4000)

/*
 * Streams whose events fire in one call: a request takes some 50 us, since its
 * tunnel is dialled, and other connections wait for that time.
 */
#define STREAMS_A_CALL 64

/* ---- Events ---- */

/*
 * The library does not know our path MTU discovery. So a record of it is added
 * between the records of the library, with the same kind of times
 * (draft-ietf-quic-qlog-quic-events, mtu_updated).
 */
static void
log_mtu(struct quic_conn *conn)
{
	const struct mtu_probe *p = &conn->mtu_probe;
	bool done = p->pmtu.state == PMTU_COMPLETE;
	char text[128];
	int len;

	if (p->pmtu.size == conn->mtu.logged &&
	    (conn->mtu.logged_done || !done)) {
		conn->mtu.logged_done = done;
		return;
	}
	len = snprintf(text, sizeof(text),
	    "\x1e{\"time\":%ju,"
	    "\"name\":\"quic:mtu_updated\",\"data\":{\"old\":%zu,"
	    "\"new\":%zu,\"done\":%s}}\n",
	    (uintmax_t)((conn->now - conn->began_at) / NS_PER_MS),
	    conn->mtu.logged + p->headers, p->pmtu.size + p->headers,
	    done ? "true" : "false");
	conn->mtu.logged = p->pmtu.size;
	conn->mtu.logged_done = done;
	conn->events->qlog(conn, text, (size_t)len, conn->arg);
}

static void
deliver_path_events(struct quic_conn *conn)
{
	if (conn->path.event_pending) {
		conn->path.event_pending = false;
		if (conn->state == CONN_UP && conn->events->migrated != NULL)
			conn->events->migrated(conn, !conn->path.failed,
			    conn->arg);
	}
	keep_alive_deliver(conn);
}

static void
deliver_conn_events(struct quic_conn *conn)
{
	if (conn->connect_pending) {
		conn->connect_pending = false;
		if (conn->state == CONN_HANDSHAKE)
			conn->state = CONN_UP;
		conn->announced = true;
		if (conn->events->connected != NULL)
			conn->events->connected(conn, conn->arg);
	}
	if (conn->state == CONN_UP &&
	    conn->mtu_probe.pmtu.size != conn->mtu.reported) {
		conn->mtu.reported = conn->mtu_probe.pmtu.size;
		if (conn->events->mtu_changed != NULL)
			conn->events->mtu_changed(conn, conn->arg);
	}
	if (conn->goaway.event_pending && conn->state == CONN_UP) {
		conn->goaway.event_pending = false;
		if (conn->events->draining != NULL)
			conn->events->draining(conn, conn->arg);
	}
	deliver_path_events(conn);
	if (conn->requests.available_pending && conn->state == CONN_UP) {
		conn->requests.available_pending = conn->requests.blocked =
		    false;
		if (conn->events->streams_available != NULL)
			conn->events->streams_available(conn, conn->arg);
	}
}

/* The streams of all connections of a server share a limit, too. */
static bool
may_serve(struct quic_conn *conn)
{
	return !conn_is_server(conn) ||
	    conn->server.ops->take_step(conn->server.owner);
}

/*
 * The connection has ended: its streams are aborted, then its owner is
 * informed. False: there are more streams than one call serves.
 */
static bool
deliver_end(struct quic_conn *conn)
{
	struct quic_stream *s;
	unsigned n = 0;

	while ((s = TAILQ_FIRST(&conn->streams.all)) != NULL && !s->conn_gone &&
	    n++ < STREAMS_A_CALL && may_serve(conn))
		stream_conn_gone(s);
	s = TAILQ_FIRST(&conn->streams.all);
	return s == NULL || s->conn_gone;
}

/*
 * Turns the pending flags of a library call into events. A handler may set more
 * of them, and a handler that closes the connection enters here again. Each
 * list is taken from its head, so both are safe. If many streams are left, the
 * deadline is now, and the next call goes on.
 */
void
conn_deliver(struct quic_conn *conn)
{
	struct quic_stream *s;
	unsigned n = 0;

	if (conn->events->qlog != NULL)
		log_mtu(conn);
	deliver_conn_events(conn);
	pending_request_limit(conn);
	goaway_reject(conn);
	while (!conn->end.pending &&
	    (s = TAILQ_FIRST(&conn->streams.ready)) != NULL &&
	    n++ < STREAMS_A_CALL && may_serve(conn))
		stream_deliver(s);
	/* If a handler has closed the connection, this may be done already. */
	if (!conn->end.pending || !deliver_end(conn) || !conn->end.pending)
		return;
	conn->end.pending = false;
	if (conn->events->closed != NULL &&
	    (conn->announced || !conn_is_server(conn)))
		conn->events->closed(conn, &conn->end.why, conn->arg);
}

/* ---- Receiving and time ---- */

void
conn_touch(struct quic_conn *conn)
{
	conn->dirty = true;
	if (conn_is_server(conn))
		conn->server.ops->touch(conn->server.owner, conn);
}

/* Reads a datagram of QUIC, as conn_read(). */
void
conn_read_packet(struct quic_conn *conn, const struct quic_path *path,
    uint8_t ecn, const uint8_t *data, size_t len, bool more, uint64_t now)
{
	uint64_t received = conn->counts.received;
	ngtcp2_path view = path_for_library(conn, path);
	ngtcp2_pkt_info pi = { ecn };
	int rv;

	if (conn->state >= CONN_CLOSING) {
		/* The answers get rarer, as those of closing.c. */
		conn->end.late_packets++;
		if ((conn->end.late_packets & (conn->end.late_packets - 1)) ==
		    0)
			conn_touch(conn);
		return;
	}
	mtu_probe_watch(conn);
	repair_reading(SHORT_HEADER(data[0]) ? conn : NULL);
	rv = ngtcp2_conn_read_pkt(conn->quic, &view, &pi, data, len, now);
	if (!compat_ignores_id_limit(rv, &conn->id_errors))
		conn_check(conn, rv);
	if (conn->counts.received != received)
		keep_alive_received(conn);
	conn_follow_path(conn);
	mtu_probe_evaluate(conn, now);
	repair_reading(NULL);
	path_loss_update(conn, now);
	if (more && conn->state == CONN_UP)
		mtu_probe_enqueue(conn, now);
	mtu_probe_watch(NULL);
	reclaim_check(conn, now);
	if (conn_is_server(conn) && conn->state == CONN_UP)
		max_streams_check(conn);
	conn_touch(conn);
}

/*
 * Reads one datagram; `more`: another follows. Events wait for conn_deliver().
 */
void
conn_read(struct quic_conn *conn, const struct quic_path *path, uint8_t ecn,
    const uint8_t *data, size_t len, bool more, uint64_t now)
{
	conn->now = now;
	if (!repair_receive(conn, path, ecn, data, len, more, now))
		conn_read_packet(conn, path, ecn, data, len, more, now);
	repair_look(conn, now);
	conn_touch(conn);
}

void
quic_conn_receive(struct quic_conn *conn, const struct quic_rx *rx, size_t n,
    uint64_t now)
{
	size_t at, len;

	/*
	 * After a sleep longer than the idle time-out the peer has dropped the
	 * connection. Ignore packets from before.
	 */
	if (now - conn->now >= quic_conn_idle_ns(conn))
		quic_conn_expire(conn, now);
	for (size_t i = 0; i < n; i++)
		for (at = 0; (len = rx_datagram(&rx[i], at)) > 0; at += len)
			conn_read(conn, &rx[i].path, rx[i].ecn, rx[i].data + at,
			    len, i + 1 < n || at + len < rx[i].len, now);
	conn_deliver(conn);
}

void
quic_conn_expire(struct quic_conn *conn, uint64_t now)
{
	if (conn->state < CONN_CLOSING && quic_conn_deadline(conn) <= now) {
		conn->now = now;
		if (ngtcp2_conn_get_expiry(conn->quic) <= now)
			conn_check(conn,
			    ngtcp2_conn_handle_expiry(conn->quic, now));
		mtu_probe_expire(conn, now);
		repair_expire(conn, now);
		pending_request_expire(conn, now);
		goaway_expire(conn, now);
		orphan_expire(conn, now);
		bbr_probe_rtt_expire(conn, now);
		keep_alive_expire(conn, now);
		reclaim_expire(conn, now);
		commit_quota_expire(conn);
		conn_touch(conn);
	}
	conn_deliver(conn);
}

uint64_t
quic_conn_deadline(const struct quic_conn *conn)
{
	uint64_t at, other;

	/* Events that a write has caused are due at once. */
	if (conn->end.pending || conn->path.event_pending ||
	    !TAILQ_EMPTY(&conn->streams.ready) || goaway_rejects(conn))
		return conn->now;
	if (conn->state >= CONN_CLOSING)
		return conn_is_server(conn) ? conn->now : UINT64_MAX;
	at = ngtcp2_conn_get_expiry(conn->quic);
	if ((other = mtu_probe_deadline(conn)) < at)
		at = other;
	if ((other = repair_deadline(conn)) < at)
		at = other;
	if ((other = pending_request_deadline(conn)) < at)
		at = other;
	if ((other = goaway_deadline(conn)) < at)
		at = other;
	if ((other = orphan_deadline(conn)) < at)
		at = other;
	if ((other = keep_alive_deadline(conn)) < at)
		at = other;
	if (conn->bbr_probe_rtt.at < at)
		at = conn->bbr_probe_rtt.at;
	if ((other = commit_quota_deadline(conn)) < at)
		at = other;
	other = reclaim_deadline(conn);
	return other < at ? other : at;
}

/* ---- Writing ---- */

/* The bytes that the path carries in `ns` nanoseconds. */
uint64_t
conn_capacity(const struct quic_conn *conn, uint64_t ns)
{
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(conn->quic, &info);
	return info.cwnd * ns / (info.smoothed_rtt + 1);
}

/* After a burst the library computes when the next may begin. */
static void
pace(struct quic_conn *conn, size_t len, uint64_t now)
{
	conn->burst += len;
	if (conn->burst < conn_capacity(conn, BURST))
		return;
	ngtcp2_conn_update_pkt_tx_time(conn->quic, now);
	conn->burst = 0;
}

/* Adds packets to the train until it is full or there is nothing to send. */
static size_t
write_packets(struct quic_conn *conn, struct quic_gso *gso, uint64_t now)
{
	size_t quantum = ngtcp2_conn_get_send_quantum(conn->quic);
	size_t cap = repair_cap(conn, mtu_probe_cap(conn, now)), packets = 0;
	ngtcp2_path_storage ps;
	ngtcp2_pkt_info pi;
	ngtcp2_ssize n;
	bool ended;

	bbr_bottleneck_queue_measure(conn, now);
	while (gso->len == 0 || (!gso_is_full(gso) && gso->len < quantum)) {
		ngtcp2_path_storage_zero(&ps);
		mtu_probe_begin(conn, gso->buf + gso->len);
		n = scheduler_write_packet(conn, &ps.path, &pi,
		    gso->buf + gso->len, cap, now);
		if (n < 0)
			conn_check(conn, (int)n);
		if (n <= 0)
			break;
		path_from_library(conn, &ps.path);
		n += (ngtcp2_ssize)mtu_probe_added(conn);
		packets++;
		ended = repair_sent(conn, &ps.path, gso->buf + gso->len,
		    (size_t)n, conn->mtu_probe.number, now);
		if (!gso_add(gso, &ps.path, pi.ecn, (size_t)n) || ended)
			break;
	}
	conn_check(conn, scheduler_finish(conn));
	return packets;
}

/* Writes a probe, alone in its train. */
static size_t
write_probe(struct quic_conn *conn, struct quic_gso *gso, bool first,
    uint64_t now)
{
	ngtcp2_ssize n = 0;

	if (gso->len == 0)
		n = mtu_probe_write(conn, gso, first, now);
	if (n < 0)
		conn_check(conn, (int)n);
	return n > 0;
}

bool
quic_conn_write(struct quic_conn *conn, struct quic_gso *gso, uint64_t now)
{
	size_t packets;

	commit_quota_renew(conn->memory.all);
	gso_begin(gso);
	if (!conn->dirty)
		return gso->len > 0;
	conn->now = now;
	if (conn->state >= CONN_CLOSING)
		return gso->len > 0 || conn_write_close(conn, gso, now);
	if (gso->len == 0 && repair_write(conn, gso))
		return true;
	mtu_probe_watch(conn);
	packets = write_probe(conn, gso, true, now);
	if (packets == 0 && conn->state < CONN_CLOSING)
		packets = write_packets(conn, gso, now);
	if (packets == 0 && conn->state < CONN_CLOSING)
		packets = write_probe(conn, gso, false, now);
	mtu_probe_watch(NULL);
	if (gso->len == 0 && conn->state < CONN_CLOSING &&
	    repair_send_request(conn, gso, now))
		return true;
	if (packets > 0) {
		pace(conn, gso->len, now);
		conn->counts.sent += packets;
		conn->counts.trains++;
		keep_alive_written(conn);
	}
	conn_follow_path(conn);
	conn->dirty = packets > 0 || repair_is_due(conn);
	if (gso->len == 0 && conn->state >= CONN_CLOSING)
		return conn_write_close(conn, gso,
		    now); /* writing has failed */
	return gso->len > 0;
}

/* ---- State ---- */

bool
conn_is_server(const struct quic_conn *conn)
{
	return conn->server.owner != NULL;
}

void
quic_conn_set_user(struct quic_conn *conn, void *user)
{
	conn->user = user;
}

void *
quic_conn_user(const struct quic_conn *conn)
{
	return conn->user;
}

void
quic_conn_reprobe(struct quic_conn *conn, uint64_t now)
{
	pmtu_reprobe(&conn->mtu_probe.pmtu, now);
	conn_touch(conn);
}

void
quic_conn_too_big(struct quic_conn *conn, const struct quic_too_big *report,
    uint64_t now)
{
	if (conn->state != CONN_UP)
		return;
	conn->now = now;
	if (report->local)
		mtu_probe_set_interface_mtu(conn, report->ip_mtu, now);
	else
		mtu_probe_too_big(conn, report, now);
}

int
quic_conn_update_keys(struct quic_conn *conn, uint64_t now)
{
	if (conn->state != CONN_UP ||
	    ngtcp2_conn_initiate_key_update(conn->quic, now) != 0)
		return -EAGAIN;
	conn_touch(conn);
	return 0;
}

void
quic_conn_stats(const struct quic_conn *conn, struct quic_stats *stats)
{
	ngtcp2_conn_info info;

	memset(stats, 0, sizeof(*stats));
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (info.latest_rtt != 0)
		stats->rtt_ns = info.smoothed_rtt;
	stats->cwnd = info.cwnd;
	stats->bytes_in_flight = info.bytes_in_flight;
	stats->packets_sent = conn->counts.sent;
	stats->packets_received = conn->counts.received;
	stats->packets_lost = conn->counts.lost;
	stats->trains_sent = conn->counts.trains;
	stats->repairs_sent = conn->counts.repairs;
	stats->packets_repaired = conn->counts.repaired;
	stats->migrations = conn->path.changes;
	mtu_probe_stats(conn, stats);
	stats->streams = conn->streams.n;
	stats->resumed = conn->resumed;
	tls_describe(conn->session, stats);
	stats->aead = aead_name(conn);
}

void
quic_conn_pulse(const struct quic_conn *conn, struct quic_pulse *pulse)
{
	pulse->packets_received = conn->counts.received;
	pulse->streams = conn->streams.n;
	pulse->ip_mtu = conn->mtu_probe.pmtu.size + conn->mtu_probe.headers;
	pulse->mtu_cause = pmtu_cause_name(conn->mtu_probe.pmtu.cause);
	pulse->migrations = conn->path.changes;
	pulse->sent = conn->path_loss.sent_noted;
	pulse->received = conn->path_loss.received_noted;
	pulse->repair.sent = conn->repair.asked;
	pulse->repair.received = conn->repair.wanted;
	pulse->repair_known = conn->repair.understood;
}

int
quic_stream_request(struct quic_conn *conn, const struct quic_field *fields,
    size_t n, const struct quic_stream_events *events, void *arg,
    struct quic_stream **out)
{
	struct quic_stream *s;
	int64_t id;
	int rv;

	if (conn->state != CONN_UP)
		return -ENOTCONN;
	if (conn->goaway.state != GOAWAY_NONE)
		return -EPIPE;
	if ((s = stream_new(conn, -1)) == NULL)
		return -ENOMEM;
	rv = ngtcp2_conn_open_bidi_stream(conn->quic, &id, s);
	if (rv != 0) {
		conn->requests.blocked = rv == NGTCP2_ERR_STREAM_ID_BLOCKED;
		stream_free(s);
		return conn->requests.blocked ? -EAGAIN : -ENOMEM;
	}
	s->events = events;
	s->arg = arg;
	pending_request_add(s);
	if ((rv = stream_set_id(s, id)) != 0 ||
	    (rv = h3_submit(s, fields, n)) != 0) {
		quic_stream_reset(s, QUIC_H3_INTERNAL_ERROR);
		return rv;
	}
	*out = s;
	return 0;
}

static bool
is_success(const struct quic_field *fields, size_t n)
{
	const struct quic_header_section head = { fields, n };
	const char *status = quic_header_section_find(&head, ":status");

	return status != NULL && status[0] == '2';
}

int
quic_stream_respond(struct quic_stream *s, const struct quic_field *fields,
    size_t n)
{
	int rv = s->transport_gone ? 0 : h3_submit(s, fields, n);

	if (rv == 0 && is_success(fields, n))
		evict_admitted(s->conn);
	return rv;
}
