/*
 * The queue that BBR makes at the bottleneck.
 *
 * BBR searches for more bandwidth by sending more than the path carries, for
 * some round trips every few seconds. The excess waits at the bottleneck, and
 * so does every small message beside a bulk transfer, for up to another round
 * trip (draft-ietf-ccwg-bbr, ProbeBW_UP). A longer round trip shows it. Then
 * streams that have used up their quantum wait, and the others go on, until no
 * more than half the window is in flight: BBR makes the window twice what the
 * path carries.
 *
 * A round trip may also be longer because others fill the queue, or because the
 * path has changed, as radio paths do all the time. A sender that holds back
 * then leaves the path to the others, and measures less and less bandwidth. The
 * cases differ for a packet that was sent with no more than half the window
 * before it: no packet of ours delayed it. If such packets are slow all the
 * same, the limit is off for a while.
 */
#include "quic/internal.h"

/*
 * Packets wait if the round trip is longer by this part of the shortest. On
 * short paths it differs by more for other reasons, and a short delay does not
 * matter.
 */
#define QUEUE_SHARE 5
#define QUEUE_MIN (10 * NS_PER_MS)

/* After so many slow packets in a row the limit is off for so long. */
#define SLOW_MAX 2
/* BBR keeps a minimum round trip for that time, too. */
#define OFF (10 * NS_PER_S)

/*
 * With less than this part of the window in flight there is no bulk transfer,
 * and acknowledgements are late because they wait for a second packet.
 */
#define BULK_SHARE 4

/*
 * Startup makes a queue on purpose, and goes on until the bandwidth has not
 * grown for three round trips, which it could not measure if it was held back.
 * So the window, which follows the bandwidth, must not have grown for longer.
 */
#define STILL 5 /* round trips */
#define GROWTH_SHARE 4

static void
watch_growth(struct bbr_bottleneck_queue *b, uint64_t cwnd, uint64_t now)
{
	if (cwnd <= b->cwnd + b->cwnd / GROWTH_SHARE)
		return;
	b->cwnd = cwnd;
	b->grown_at = now;
}

static bool
is_queue(const ngtcp2_conn_info *info)
{
	uint64_t queue = info->min_rtt / QUEUE_SHARE;

	return info->latest_rtt - info->min_rtt >
	    (queue > QUEUE_MIN ? queue : QUEUE_MIN);
}

/* Evaluates the round trip of the latest acknowledgement. */
void
bbr_bottleneck_queue_measure(struct quic_conn *conn, uint64_t now)
{
	struct bbr_bottleneck_queue *b = &conn->bbr_bottleneck_queue;
	ngtcp2_conn_info info;

	if (conn->settings.cc != QUIC_CC_BBR)
		return;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (info.latest_rtt == b->rtt)
		return;
	if (info.latest_rtt == 0)
		*b = (struct bbr_bottleneck_queue){ 0 };
	b->rtt = info.latest_rtt;
	watch_growth(b, info.cwnd, now);
	b->queued = is_queue(&info);
	if (b->marked_at != 0 && now - b->rtt >= b->marked_at) {
		b->nslow = b->queued ? b->nslow + 1 : 0;
		if (b->nslow >= SLOW_MAX)
			b->off_until = now + OFF;
		b->marked_at = 0;
	}
	if (b->marked_at == 0 && info.bytes_in_flight <= info.cwnd / 2 &&
	    info.bytes_in_flight > info.cwnd / BULK_SHARE)
		b->marked_at = now;
}

bool
bbr_bottleneck_queue_is_full(const struct quic_conn *conn)
{
	const struct bbr_bottleneck_queue *b = &conn->bbr_bottleneck_queue;
	ngtcp2_conn_info info;

	if (!b->queued || conn->now < b->off_until)
		return false;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	return info.bytes_in_flight > info.cwnd / 2 &&
	    conn->now - b->grown_at > STILL * info.smoothed_rtt;
}
