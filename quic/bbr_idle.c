/*
 * BBR, kept warm while a rest is young.
 *
 * Every five seconds BBR sends with half its window for 200 ms, to see the
 * shortest round trip. A connection that has rested has seen it: its packets
 * met no queue of its own (draft-ietf-ccwg-bbr, BBRHandleRestartFromIdle).
 * ngtcp2 before 1.18 does not notice a rest, and does this when the next page
 * begins to load. So it is given two packets to do it with before: a PING whose
 * acknowledgement begins it, and another to end it.
 */
#include "quic/compat.h"
#include "quic/internal.h"

/* BBR's ProbeRTTInterval and ProbeRTTDuration, each with a little to spare. */
#define INTERVAL (5 * NS_PER_S + NS_PER_S / 10)
#define DURATION (NS_PER_S / 4)

/*
 * How soon after bulk the first is due nobody says: it is tried. On short
 * paths a busy end answers so much later than an idle one that BBR, with many
 * answers of idle ends, would make the window too small for a busy one.
 */
#define FIRST_DELAY (NS_PER_S / 4)
#define SHORT_RTT (5 * NS_PER_MS)

/* Who has not come back by then may find it cold: radios want to sleep. */
#define PERIOD (60 * NS_PER_S)

static uint64_t
first_delay(const ngtcp2_conn_info *info)
{
	return info->min_rtt < SHORT_RTT ? INTERVAL : FIRST_DELAY;
}

/* A stream has sent as much as it may at a time. */
void
bbr_idle_note(struct quic_conn *conn)
{
	ngtcp2_conn_info info;

	if (conn->settings.cc != QUIC_CC_BBR || !compat_misses_idle())
		return;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	conn->bbr_idle.until = conn->now + PERIOD;
	conn->bbr_idle.at = conn->now + first_delay(&info);
	conn->bbr_idle.cwnd = 0;
}

/* When the next is due: the window shows whether one was. */
static uint64_t
next_delay(const struct quic_conn *conn, const ngtcp2_conn_info *info,
    uint64_t now)
{
	if (info->cwnd < conn->bbr_idle.cwnd ||
	    conn->bbr_idle.until - now < PERIOD - INTERVAL)
		return INTERVAL;
	return first_delay(info);
}

/* The first of two packets, or the second, when the first has been seen. */
void
bbr_idle_expire(struct quic_conn *conn, uint64_t now)
{
	ngtcp2_conn_info info;

	if (conn->bbr_idle.at > now)
		return;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (conn->bbr_idle.cwnd == 0) {
		conn->bbr_idle.at = now + info.smoothed_rtt + DURATION;
		conn->bbr_idle.cwnd = info.cwnd;
	} else {
		conn->bbr_idle.at = now + next_delay(conn, &info, now);
		if (conn->bbr_idle.at > conn->bbr_idle.until)
			conn->bbr_idle.at = UINT64_MAX;
		conn->bbr_idle.cwnd = 0;
	}
	quic_conn_ping(conn);
}
