/*
 * How much repair a path needs. The receiver knows: it sees the gaps that are
 * left, and those that were filled.
 *
 * What a full queue has lost is not to be repaired, since more packets would
 * fill it more. A long queue shows in the round trip. A short one does not, but
 * it overflows now and then, when the sender tries a higher rate, while losses
 * at random are in every sample. So the worst samples do not count.
 */
#include <string.h>

#include <gnutls/crypto.h>

#include "quic/internal.h"
#include "quic/repair.h"

#define LOOK_INTERVAL (200 * NS_PER_MS) /* some round trips of most paths */

/*
 * A path that loses more is of no use. A sender that starts into a short queue
 * loses more, for several round trips.
 */
#define LOST_MAX 200 /* of 1,000 */

/* Of packets that a sample has at least: with fewer, 3 % may not show. */
#define SAMPLE_MIN 64

/* See is_queued(). Less than this is what radio links vary by. */
#define QUEUE_PART 4
#define QUEUE_SLACK (20 * NS_PER_MS)
#define NEAR_RTT (2 * NS_PER_MS)

/*
 * Of the samples, the worst half does not count for whether there is repair,
 * nor the worst quarter for how much.
 */
#define WORST_HALF 2
#define WORST_QUARTER 4

/*
 * Repair begins at a loss that costs more than it does, once there is some
 * evidence for it, and ends when there has been much less for some time.
 */
#define BEGIN_LOST 4	/* of 1,000 */
#define BEGIN_SAMPLES 4 /* with losses; a start loses packets in three */
#define END_LOST 2	/* of 1,000 */
#define END_TIME (10 * NS_PER_S)

/* A request counts for so long; while it does, it is repeated. */
#define REQUEST_LIFE (60 * NS_PER_S)
#define REQUEST_INTERVAL (2 * NS_PER_S)
/* While the peer has not shown that it understands, and after a change. */
#define RETRY_INTERVAL (500 * NS_PER_MS)
/* A peer that understands none of so many is another implementation. */
#define REQUESTS_MAX 8

/*
 * From this loss on congestion control takes random losses for congestion, and
 * begins anew when they are repaired.
 */
#define RESTART_LOST 20 /* of 1,000 */

static const char label[] = "EXPORTER-culvert repair";

/* ---- The need ---- */

static bool
is_worse(const struct repair_count *a, const struct repair_count *b)
{
	return a->lost * b->packets > b->lost * a->packets;
}

/* Sorts a copy of the samples, the worst first. Returns how many there are. */
static size_t
sort_samples(const struct conn_repair *r,
    struct repair_count sorted[REPAIR_SAMPLES])
{
	size_t n = r->nsamples < REPAIR_SAMPLES ? r->nsamples : REPAIR_SAMPLES;
	size_t at;

	for (size_t i = 0; i < n; i++) {
		for (at = i;
		     at > 0 && is_worse(&r->samples[i], &sorted[at - 1]); at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = r->samples[i];
	}
	return n;
}

/* What the samples have lost, of 1,000, without the worst of so many. */
static unsigned
loss_without(const struct conn_repair *r, size_t part)
{
	struct repair_count sorted[REPAIR_SAMPLES];
	size_t n = sort_samples(r, sorted);
	uint64_t packets = 0, lost = 0;

	for (size_t i = (n + part - 1) / part; i < n; i++) {
		packets += sorted[i].packets;
		lost += sorted[i].lost;
	}
	return packets == 0 ? 0 : (unsigned)(lost * 1000 / packets);
}

static bool
is_lossy(const struct conn_repair *r)
{
	unsigned n = 0;

	for (size_t i = 0; i < r->nsamples && i < REPAIR_SAMPLES; i++)
		n += r->samples[i].lost > 0;
	return n >= BEGIN_SAMPLES && loss_without(r, WORST_HALF) >= BEGIN_LOST;
}

/* All samples are of a path that needs no repair. */
static bool
is_low(const struct conn_repair *r, uint64_t now)
{
	return r->nsamples >= REPAIR_SAMPLES && now - r->low_since >= END_TIME;
}

static void
set_wanted(struct conn_repair *r, uint64_t now)
{
	unsigned lost = loss_without(r, WORST_QUARTER);

	if (lost >= END_LOST)
		r->low_since = now;
	if (r->wanted == 0 && !is_lossy(r))
		return;
	if (lost >= END_LOST) /* about what the worst have added to it */
		r->wanted = lost + lost / WORST_QUARTER;
	else if (is_low(r, now))
		r->wanted = 0;
}

/*
 * A queue is long: the round trip is longer by a quarter and by QUEUE_SLACK on
 * average. If the edge is near, packets were lost in a socket that was not read
 * in time.
 */
static bool
is_queued(const struct quic_conn *conn)
{
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(conn->quic, &info);
	return info.min_rtt == UINT64_MAX || info.min_rtt < NEAR_RTT ||
	    info.smoothed_rtt >
	    info.min_rtt + info.min_rtt / QUEUE_PART + QUEUE_SLACK;
}

/*
 * Numbers that are missing count as lost until they arrive late. Packets that
 * were made count all the same.
 */
void
repair_packet_opened(struct quic_conn *conn, uint64_t number)
{
	struct conn_repair *r = &conn->repair;
	uint64_t largest = conn->counts.largest;

	if (!r->started)
		return;
	if (!r->any || number > largest) {
		if (r->any) {
			r->count.packets += number - largest;
			r->count.lost += number - largest - !r->made;
		}
		r->any = true;
	} else if (r->count.lost > 0 && !r->made)
		r->count.lost--;
	conn->counts.repaired += r->made;
}

/* What has arrived since the last sample. True: it is the next one. */
static bool
take_sample(struct quic_conn *conn)
{
	struct conn_repair *r = &conn->repair;
	struct repair_count sample = r->count;

	if (sample.packets < SAMPLE_MIN)
		return false;
	r->count = (struct repair_count){ 0, 0 };
	if (is_queued(conn) || sample.lost * 1000 > sample.packets * LOST_MAX)
		return false;
	r->samples[r->nsamples++ % REPAIR_SAMPLES] = sample;
	return true;
}

/* It differs by a quarter from what the sender knows, or is to be repeated. */
static bool
is_due(const struct conn_repair *r, uint64_t now)
{
	unsigned difference = r->wanted > r->requested
	    ? r->wanted - r->requested
	    : r->requested - r->wanted;
	uint64_t since = now - r->requested_at;

	if (!r->understood && r->nrequests >= REQUESTS_MAX)
		return false;
	return (r->wanted > 0 && since >= REQUEST_INTERVAL) ||
	    ((difference > r->requested / 4 || !r->understood) &&
		r->wanted + r->requested > 0 && since >= RETRY_INTERVAL);
}

void
repair_look(struct quic_conn *conn, uint64_t now)
{
	struct conn_repair *r = &conn->repair;

	if (now < r->look_at || !r->started)
		return;
	r->look_at = now + LOOK_INTERVAL;
	r->restart_due = r->restart_due && r->asked >= RESTART_LOST &&
	    !path_restart(conn);
	if (take_sample(conn))
		set_wanted(r, now);
	r->request_due |= is_due(r, now);
}

/* ---- Sending, as asked ---- */

static void
set_asked(struct quic_conn *conn, unsigned lost, uint64_t now)
{
	struct conn_repair *r = &conn->repair;

	/* CUBIC needs to see every loss: it has no other signal of a queue. */
	if (conn->settings.cc != QUIC_CC_BBR)
		return;
	/* Once: a start may overflow a queue, which looks like loss. */
	if (lost >= RESTART_LOST && !r->restarted)
		r->restart_due = r->restarted = true;
	if (lost == 0)
		r->restarted = false;
	r->asked = lost > LOST_MAX ? LOST_MAX : lost;
	r->asked_until = now + REQUEST_LIFE;
	if (r->asked > 0 && r->block == NULL && !memory_is_over(conn))
		r->block = memory_calloc(conn, sizeof(*r->block));
	if (r->block != NULL)
		repair_block_plan(conn);
}

void
repair_start(struct quic_conn *conn, uint64_t now)
{
	const struct quic_repair *earlier = &conn->settings.repair;
	struct conn_repair *r = &conn->repair;

	if (conn->settings.no_repair)
		return;
	r->started = true;
	r->low_since = now;
	if (earlier->sent > 0)
		set_asked(conn, earlier->sent, now);
	r->restart_due = false; /* nothing is lost yet */
	r->wanted = earlier->received;
	r->request_due = r->wanted > 0;
}

/* ---- Requests ---- */

/* Of one side. False: the session has no secret. */
static bool
make_key(struct quic_conn *conn, const char *side, uint8_t key[REPAIR_KEY_LEN])
{
	return gnutls_prf_rfc5705(conn->session, sizeof(label) - 1, label,
		   strlen(side), side, REPAIR_KEY_LEN, (char *)key) == 0;
}

static bool
make_keys(struct quic_conn *conn)
{
	struct conn_repair *r = &conn->repair;
	bool server = conn_is_server(conn);

	if (!r->has_keys)
		r->has_keys = make_key(conn, "server", r->keys[!server]) &&
		    make_key(conn, "client", r->keys[server]);
	return r->has_keys;
}

/* Of what precedes it. */
static bool
make_mac(const uint8_t *key, const uint8_t *data, uint8_t mac[REPAIR_MAC_LEN])
{
	uint8_t whole[32]; /* SHA-256 */

	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, key, REPAIR_KEY_LEN, data,
		REPAIR_REQUEST_MAC_AT, whole) != 0)
		return false;
	memcpy(mac, whole, REPAIR_MAC_LEN);
	return true;
}

bool
repair_send_request(struct quic_conn *conn, struct quic_gso *gso, uint64_t now)
{
	const ngtcp2_cid *id = ngtcp2_conn_get_dcid(conn->quic);
	ngtcp2_path path = path_view(&conn->path.current);
	struct conn_repair *r = &conn->repair;
	struct repair_request request = { .lost = r->wanted };

	if (!r->request_due)
		return false;
	r->request_due = false;
	if (r->wanted == 0 && !is_low(r, now))
		request.lost = REPAIR_UNKNOWN;
	if (id->datalen != REPAIR_ID_LEN || !make_keys(conn))
		return false; /* the peer is another implementation */
	request.count = ++r->nrequests;
	memcpy(request.id, id->data, sizeof(request.id));
	repair_request_write(&request, gso->buf);
	if (!make_mac(r->keys[0], gso->buf, gso->buf + REPAIR_REQUEST_MAC_AT))
		return false;
	r->requested = r->wanted;
	r->requested_at = now;
	gso_add(gso, &path, 0, REPAIR_REQUEST_LEN);
	return true;
}

void
repair_request_received(struct quic_conn *conn, const uint8_t *data, size_t len,
    uint64_t now)
{
	struct conn_repair *r = &conn->repair;
	uint8_t mac[REPAIR_MAC_LEN];
	struct repair_request request;

	if (!repair_request_read(&request, data, len) ||
	    request.count <= r->last_request || !make_keys(conn) ||
	    !make_mac(r->keys[1], data, mac) ||
	    gnutls_memcmp(mac, request.mac, sizeof(mac)) != 0)
		return;
	r->last_request = request.count;
	r->understood = true;
	/*
	 * The peer sees that it was understood. After so many requests it has,
	 * and answers to answers would never end on a long round trip.
	 */
	if (request.count <= REQUESTS_MAX &&
	    now - r->requested_at >= RETRY_INTERVAL)
		r->request_due = true;
	if (request.lost != REPAIR_UNKNOWN)
		set_asked(conn, request.lost, now);
}
