#include "quic/mtu_probe.h"

#include <stdlib.h>
#include <string.h>

#include "quic/compat.h"
#include "quic/internal.h"

/* The largest payload of UDP over IPv4: the maximum of all sizes. */
#define PAYLOAD_MAX (UINT16_MAX - 28) /* bytes */

/* How often the library probes a size before it abandons it. */
#define TRIES_MAX 3

/* Slots that are kept for searches and suspicions. */
#define SLOTS_RESERVED (MTU_PROBE_SLOTS / 2)

/* ---- Quotes ---- */

/* A router's message about a packet comes within a round trip. */
#define QUOTE_LIFE (10 * NS_PER_S)

void
mtu_probe_quote(struct quic_conn *conn, const uint8_t *datagram, size_t size)
{
	struct icmp_quotes *q = &conn->mtu_probe.quotes;
	size_t missing = icmp_quotes_missing(q);
	uint64_t *packets;

	if (missing > 0 &&
	    (packets = memory_realloc(conn, q->packets, missing)) != NULL)
		icmp_quotes_set(q, packets, missing);
	icmp_quotes_note(q, datagram, size);
	conn->mtu_probe.quoted_at = conn->now;
}

static void
free_quotes(struct quic_conn *conn)
{
	struct icmp_quotes *q = &conn->mtu_probe.quotes;

	if (q->packets != NULL)
		memory_release(conn, q->packets);
	icmp_quotes_set(q, NULL, 0);
}

/* An idle connection needs none. */
static void
expire_quotes(struct quic_conn *conn, uint64_t now)
{
	const struct mtu_probe *p = &conn->mtu_probe;

	if (p->quotes.packets != NULL && now - p->quoted_at >= QUOTE_LIFE)
		free_quotes(conn);
}

/* ---- Results ---- */

uint64_t
mtu_probe_rtt(struct quic_conn *conn)
{
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(conn->quic, &info);
	return info.latest_rtt > info.smoothed_rtt ? info.latest_rtt
						   : info.smoothed_rtt;
}

void
mtu_probe_resolved(struct quic_conn *conn, size_t at, bool acked)
{
	struct mtu_probe *p = &conn->mtu_probe;
	size_t size = p->flights[at].size;

	if (acked && p->slots_left > 0 &&
	    p->flights[at].slot == p->slots_left) {
		/* The library goes on to its next size. */
		p->slots_left--;
		p->slot_due = p->slots_left > 0;
		p->tries = 0;
	}
	p->flights[at] = p->flights[--p->nflights];
	if (acked)
		pmtu_probe_acked(&p->pmtu, size, conn->now);
	else
		pmtu_probe_lost(&p->pmtu, size, conn->now);
}

static bool
is_lost(const struct mtu_probe *p, const struct mtu_probe_flight *f,
    uint64_t rtt, uint64_t now)
{
	uint64_t acked_end = p->black_hole.acked_end;

	if (acked_end <= f->number + 1)
		return false; /* nothing later was acknowledged */
	return acked_end > f->number + BLACK_HOLE_REORDERING ||
	    now >= f->sent_at + rtt * 9 / 8;
}

static void
find_lost(struct quic_conn *conn, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	uint64_t rtt = p->nflights > 0 ? mtu_probe_rtt(conn) : 0;

	for (size_t i = p->nflights; i-- > 0;)
		if (i < p->nflights && is_lost(p, &p->flights[i], rtt, now))
			mtu_probe_resolved(conn, i, false);
}

static void
suspect(struct quic_conn *conn, uint64_t now)
{
	pmtu_suspect(&conn->mtu_probe.pmtu, now);
	black_hole_clear(&conn->mtu_probe.black_hole);
}

/*
 * The last packet in flight need not be the latest, and may end as lost: it
 * must not count against packets that are sent after idle time.
 */
static void
note_idle(struct quic_conn *conn)
{
	struct black_hole *e = &conn->mtu_probe.black_hole;
	ngtcp2_conn_info info;

	if (!e->waiting)
		return;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (info.bytes_in_flight == 0)
		black_hole_idle(e);
}

void
mtu_probe_evaluate(struct quic_conn *conn, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;

	expire_quotes(conn, now);
	if (!p->started)
		return;
	note_idle(conn);
	if (!black_hole_progressed(&p->black_hole))
		return;
	find_lost(conn, now);
	if (black_hole_is_suspected(&p->black_hole)) {
		suspect(conn, now);
		pmtu_small_acked(&p->pmtu, now);
	}
}

/* ---- Stalls ---- */

/* From the first probe time-out on packets are small, so that a stall ends. */
static bool
is_stalled(struct quic_conn *conn, uint64_t now)
{
	const struct black_hole *e = &conn->mtu_probe.black_hole;

	return e->waiting &&
	    now >= e->progress_at + ngtcp2_conn_get_pto(conn->quic);
}

/* After so long without an acknowledgement the size may be the cause. */
static uint64_t
suspicious_at(const struct quic_conn *conn)
{
	const struct mtu_probe *p = &conn->mtu_probe;
	const struct black_hole *e = &p->black_hole;
	uint64_t counts_at = pmtu_suspicion_counts_at(&p->pmtu), at;

	if (!p->started || !e->waiting || e->large_waiting == 0)
		return UINT64_MAX;
	at = e->progress_at + 2 * ngtcp2_conn_get_pto(conn->quic);
	return at > counts_at ? at : counts_at;
}

size_t
mtu_probe_cap(struct quic_conn *conn, uint64_t now)
{
	const struct pmtu *pmtu = &conn->mtu_probe.pmtu;
	size_t limit = pmtu_limit(pmtu);

	return limit > pmtu->base && is_stalled(conn, now) ? pmtu->base : limit;
}

void
mtu_probe_expire(struct quic_conn *conn, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;

	expire_quotes(conn, now);
	if (!p->started)
		return;
	/* Called after the library's own expiry, which does nearly the same. */
	if (!p->slot_due && now >= p->slot_expiry) {
		p->slot_due = p->tries < TRIES_MAX;
		p->slot_expiry = UINT64_MAX;
	}
	note_idle(conn);
	pmtu_expire(&p->pmtu, now);
	if (now >= suspicious_at(conn))
		suspect(conn, now);
	find_lost(conn, now);
}

uint64_t
mtu_probe_deadline(const struct quic_conn *conn)
{
	const struct mtu_probe *p = &conn->mtu_probe;
	uint64_t at = pmtu_deadline(&p->pmtu);
	uint64_t suspicious = suspicious_at(conn);

	if (p->started && !p->slot_due && p->slot_expiry < at)
		at = p->slot_expiry;
	return at < suspicious ? at : suspicious;
}

/* ---- Sending ---- */

static bool
fits_window(const struct quic_conn *conn, size_t want)
{
	return ngtcp2_conn_get_cwnd_left(conn->quic) >= want;
}

/*
 * Makes the library write one packet into `buf`, and changes its size to
 * `want`; 0: to none.
 */
static ngtcp2_ssize
seal(struct quic_conn *conn, uint8_t *buf, size_t want, bool in_slot,
    ngtcp2_path *path, uint8_t *ecn, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	size_t cap = in_slot ? p->max + MTU_PROBE_SLOTS
			     : mtu_probe_cap(conn, now);
	bool fits = fits_window(conn, want);
	ngtcp2_pkt_info pi = { 0 };
	ngtcp2_ssize n;

	p->want = want;
	p->packet = buf;
	p->in_slot = in_slot;
	p->sealed = 0;
	n = ngtcp2_conn_write_pkt(conn->quic, path, &pi, buf, cap, now);
	p->packet = NULL;
	p->want = 0;
	*ecn = pi.ecn;
	if (n > 0)
		path_from_library(conn, path);
	if (n <= 0 || p->sealed == 0)
		return n;
	p->flights[p->nflights++] = (struct mtu_probe_flight){ p->number, now,
		p->sealed, in_slot ? p->slots_left : 0 };
	p->free_left -= fits ? 0 : 1;
	pmtu_sent(&p->pmtu, p->sealed);
	n = (ngtcp2_ssize)p->sealed;
	p->sealed = 0;
	return n;
}

static bool
has_room(struct quic_conn *conn, size_t want, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;

	if (want == 0 || p->nflights == MTU_PROBE_FLIGHTS_MAX)
		return false;
	if (fits_window(conn, want))
		return true;
	if (now >= p->free_at + mtu_probe_rtt(conn)) {
		p->free_at = now;
		p->free_left = MTU_PROBE_FREE;
	}
	return p->free_left > 0;
}

static bool
confirms_without_slot(const struct mtu_probe *p)
{
	return pmtu_confirms(&p->pmtu) && p->slots_left <= SLOTS_RESERVED;
}

/*
 * The size for the library's own probe. The last probe of a slot is a small
 * one, since the library stops its discovery when all are lost. On an idle
 * connection a small one is also sent if the one before was not acknowledged in
 * time: only that shows that it is lost.
 */
static size_t
wanted_in_slot(struct quic_conn *conn)
{
	struct mtu_probe *p = &conn->mtu_probe;
	ngtcp2_conn_info info;
	bool idle;

	if (!p->slot_due)
		return 0;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	idle = info.bytes_in_flight == 0;
	if (p->tries + 1 == TRIES_MAX ||
	    (p->tries > 0 && p->nflights > 0 && idle))
		return p->pmtu.base;
	if (confirms_without_slot(p))
		return 0;
	return pmtu_next_probe(&p->pmtu, idle);
}

static ngtcp2_ssize
write_slot(struct quic_conn *conn, uint8_t *buf, ngtcp2_path *path,
    uint8_t *ecn, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	size_t want = wanted_in_slot(conn), before = p->nflights;
	ngtcp2_ssize n;

	if (want == 0 || !fits_window(conn, want) ||
	    p->nflights == MTU_PROBE_FLIGHTS_MAX)
		return 0;
	n = seal(conn, buf, want, true, path, ecn, now);
	if (p->nflights == before) {
		/*
		 * It is a large packet, and not a probe: the library had data.
		 */
		if (n > (ngtcp2_ssize)mtu_probe_cap(conn, now)) {
			p->slot_due = false;
			p->slot_expiry = now + ngtcp2_conn_get_pto(conn->quic);
		}
		return n;
	}
	p->slot_due = false;
	p->tries++;
	p->slot_expiry = now +
	    (p->tries < TRIES_MAX ? 1 : 3) * ngtcp2_conn_get_pto(conn->quic);
	return n;
}

void
mtu_probe_enqueue(struct quic_conn *conn, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	size_t want = p->started ? pmtu_next_probe(&p->pmtu, false) : 0;
	struct mtu_probe_packet *packet;
	ngtcp2_path_storage ps;
	ngtcp2_ssize n;

	if (p->nqueue == MTU_PROBE_QUEUE_MAX || !has_room(conn, want, now))
		return;
	packet = malloc(sizeof(*packet) + p->max);
	if (packet == NULL)
		return;
	ngtcp2_path_storage_zero(&ps);
	n = seal(conn, packet->data, want, false, &ps.path, &packet->ecn, now);
	if (n <= 0) {
		free(packet); /* nothing to acknowledge; errors recur */
		return;
	}
	packet->len = (size_t)n;
	memcpy(&packet->path.local, ps.path.local.addr, ps.path.local.addrlen);
	memcpy(&packet->path.remote, ps.path.remote.addr,
	    ps.path.remote.addrlen);
	TAILQ_INSERT_TAIL(&p->queue, packet, entry);
	p->nqueue++;
}

static size_t
write_queued(struct mtu_probe *p, struct quic_gso *gso)
{
	struct mtu_probe_packet *packet = TAILQ_FIRST(&p->queue);
	ngtcp2_path view;
	size_t len;

	if (packet == NULL)
		return 0;
	TAILQ_REMOVE(&p->queue, packet, entry);
	p->nqueue--;
	len = packet->len;
	memcpy(gso->buf, packet->data, len);
	view = path_view(&packet->path);
	gso_add(gso, &view, packet->ecn, len);
	free(packet);
	return len;
}

/*
 * Writes a probe that acknowledges packets with only PING: if both are lost, no
 * harm is done. A probe that confirms the size in force acknowledges any: there
 * is one in a minute, as likely to arrive as other packets.
 */
static ngtcp2_ssize
write_ping_ack(struct quic_conn *conn, uint8_t *buf, ngtcp2_path *path,
    uint8_t *ecn, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	size_t want = pmtu_next_probe(&p->pmtu, false);

	if (!p->must_ack_ping && !p->must_ack)
		return 0;
	if ((p->must_ack && !confirms_without_slot(p)) ||
	    !has_room(conn, want, now))
		return 0;
	return seal(conn, buf, want, false, path, ecn, now);
}

/*
 * Writes the rest of the handshake first: it would take the place of the first
 * probe, but not its size.
 */
static ngtcp2_ssize
write_handshake_rest(struct quic_conn *conn, uint8_t *buf, ngtcp2_path *path,
    uint8_t *ecn, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	ngtcp2_ssize n;

	if (!p->fresh)
		return 0;
	n = seal(conn, buf, 0, false, path, ecn, now);
	p->fresh = n > 0;
	return n;
}

static ngtcp2_ssize
write_one(struct quic_conn *conn, uint8_t *buf, ngtcp2_path *path, uint8_t *ecn,
    bool first, uint64_t now)
{
	ngtcp2_ssize n = 0;

	if (first)
		n = write_handshake_rest(conn, buf, path, ecn, now);
	if (n == 0 && pmtu_confirms(&conn->mtu_probe.pmtu) != first)
		n = write_slot(conn, buf, path, ecn, now);
	if (n == 0 && first)
		n = write_ping_ack(conn, buf, path, ecn, now);
	return n;
}

ngtcp2_ssize
mtu_probe_write(struct quic_conn *conn, struct quic_gso *gso, bool first,
    uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	ngtcp2_path_storage ps;
	ngtcp2_ssize n;
	uint8_t ecn;

	if (!p->started)
		return 0;
	if ((n = (ngtcp2_ssize)write_queued(p, gso)) > 0)
		return n;
	ngtcp2_path_storage_zero(&ps);
	n = write_one(conn, gso->buf, &ps.path, &ecn, first, now);
	if (n > 0)
		gso_add(gso, &ps.path, ecn, (size_t)n);
	return n;
}

void
mtu_probe_fini(struct quic_conn *conn)
{
	struct mtu_probe_packet *packet;

	while ((packet = TAILQ_FIRST(&conn->mtu_probe.queue)) != NULL) {
		TAILQ_REMOVE(&conn->mtu_probe.queue, packet, entry);
		free(packet);
	}
	free_quotes(conn);
}

/* ---- Interfaces and routers ---- */

void
mtu_probe_set_interface_mtu(struct quic_conn *conn, size_t ip_mtu, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	size_t size = ip_mtu > p->headers ? ip_mtu - p->headers : 0;

	if (!p->started)
		return;
	for (size_t i = p->nflights; i-- > 0;)
		if (p->flights[i].size > size)
			p->flights[i] = p->flights[--p->nflights];
	/* Those were not sent. */
	black_hole_discard(&p->black_hole);
	pmtu_set_ceiling(&p->pmtu, size, now);
	conn_touch(conn);
}

void
mtu_probe_too_big(struct quic_conn *conn, const struct quic_too_big *report,
    uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	size_t quoted = icmp_quotes_find(&p->quotes, report->quote, report->len,
	    now);

	if (quoted > 0 && p->started && report->ip_mtu > p->headers &&
	    pmtu_too_big(&p->pmtu, quoted, report->ip_mtu - p->headers, now)) {
		p->quotes.valid++;
		conn_touch(conn);
	} else
		p->quotes.ignored++;
}

/* ---- Start and stop ---- */

/* What the path is known to carry: the minimum of QUIC, or a setting. */
static size_t
base_of(const struct quic_conn *conn)
{
	size_t headers = conn->mtu_probe.headers;

	return conn->settings.ip_mtu_min > PMTU_BASE_SIZE + headers
	    ? conn->settings.ip_mtu_min - headers
	    : PMTU_BASE_SIZE;
}

/* The largest size for this path. */
static size_t
path_max(const struct quic_conn *conn)
{
	const struct mtu_probe *p = &conn->mtu_probe;
	size_t max = conn->settings.ip_mtu_max - p->headers;

	if (max > p->max)
		max = p->max;
	return max > base_of(conn) ? max : base_of(conn);
}

static void
plan_slots(const struct mtu_probe *p, uint16_t slots[MTU_PROBE_SLOTS])
{
	for (size_t i = 0; i < MTU_PROBE_SLOTS; i++)
		slots[i] = (uint16_t)(p->max + 1 + i);
}

/*
 * No packet of ours is longer than the peer's max_udp_payload_size, which is
 * enforced here and not by the library: see compat.h.
 */
static void
take_peer_max(struct quic_conn *conn)
{
	const ngtcp2_transport_params *peer =
	    ngtcp2_conn_get_remote_transport_params(conn->quic);
	struct mtu_probe *p = &conn->mtu_probe;

	if (p->peer_max != 0 || peer == NULL)
		return;
	p->peer_max = peer->max_udp_payload_size;
	compat_raise_peer_max(peer, p->max + MTU_PROBE_SLOTS);
}

void
mtu_probe_init(struct quic_conn *conn, ngtcp2_settings *settings,
    uint16_t slots[MTU_PROBE_SLOTS])
{
	struct mtu_probe *p = &conn->mtu_probe;
	size_t max = conn->settings.ip_mtu_max - PATH_HEADERS_MIN, base;

	TAILQ_INIT(&p->queue);
	p->headers = path_headers_len(&conn->path.current);
	base = base_of(conn);
	pmtu_init(&p->pmtu, base);
	if (max > PAYLOAD_MAX - MTU_PROBE_SLOTS)
		max = PAYLOAD_MAX - MTU_PROBE_SLOTS;
	p->max = max > base ? max : base;
	settings->no_tx_udp_payload_size_shaping = 1;
	if (conn->settings.no_mtu_probe || max <= base) {
		compat_disable_pmtud(settings, slots);
		settings->max_tx_udp_payload_size = base;
		return;
	}
	p->pmtu.ceiling = path_max(conn);
	plan_slots(p, slots);
	settings->pmtud_probes = slots;
	settings->pmtud_probeslen = MTU_PROBE_SLOTS;
	settings->max_tx_udp_payload_size = max + MTU_PROBE_SLOTS;
}

void
mtu_probe_start(struct quic_conn *conn, uint64_t now)
{
	struct mtu_probe *p = &conn->mtu_probe;
	size_t max;

	if (conn->settings.no_mtu_probe)
		return;
	take_peer_max(conn);
	p->started = true;
	p->nflights = 0;
	black_hole_clear(&p->black_hole);
	p->slots_left = MTU_PROBE_SLOTS;
	p->slot_due = true;
	p->slot_expiry = UINT64_MAX;
	p->fresh = true;
	p->pings_left = MTU_PROBE_PINGS;
	p->pings_at = now;
	max = path_max(conn);
	if (p->peer_max != 0 && p->peer_max < max)
		max = (size_t)p->peer_max;
	pmtu_start(&p->pmtu, max, p->headers, now);
	conn_touch(conn);
}

void
mtu_probe_stop(struct quic_conn *conn, uint64_t now)
{
	conn->mtu_probe.started = false;
	conn->mtu_probe.pings_left = 0;
	conn->mtu_probe.headers = path_headers_len(&conn->path.current);
	pmtu_set_base(&conn->mtu_probe.pmtu, base_of(conn));
	pmtu_stop(&conn->mtu_probe.pmtu, now);
}

void
mtu_probe_stats(const struct quic_conn *conn, struct quic_stats *stats)
{
	const struct mtu_probe *p = &conn->mtu_probe;
	const struct pmtu *pmtu = &p->pmtu;

	stats->udp_payload = pmtu->size;
	stats->ip_mtu = pmtu->size + p->headers;
	stats->ip_mtu_ceiling = pmtu->ceiling + p->headers;
	stats->mtu_state = pmtu_state_name(pmtu->state);
	stats->mtu_cause = pmtu_cause_name(pmtu->cause);
	stats->mtu_changed_at = pmtu->changed_at;
	stats->probes_sent = pmtu->probes_sent;
	stats->probes_acked = pmtu->probes_acked;
	stats->probes_lost = pmtu->probes_lost;
	stats->black_holes_suspected = pmtu->suspected;
	stats->black_holes_confirmed = pmtu->confirmed;
	stats->ptb_seen = p->quotes.seen;
	stats->ptb_valid = p->quotes.valid;
	stats->ptb_ignored = p->quotes.ignored;
}
