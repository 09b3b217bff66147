/*
 * Runs BBR's ProbeRTT during idle time, so that it does not slow the next
 * transfer.
 *
 * Every five seconds BBR sends with half its window for 200 ms, to measure the
 * shortest round trip. An idle connection need not: its packets met no queue of
 * its own (draft-ietf-ccwg-bbr, BBRHandleRestartFromIdle). But ngtcp2 before
 * 1.18 does not detect idle time (see compat.h), and would do this when the
 * next page begins to load. So it gets two packets to do it with before: the
 * acknowledgement of one PING begins ProbeRTT, and that of another ends it.
 */
#include "quic/compat.h"
#include "quic/internal.h"

/* BBR's ProbeRTTInterval and ProbeRTTDuration, with a little to spare. */
#define INTERVAL (5 * NS_PER_S + NS_PER_S / 10)
#define DURATION (NS_PER_S / 4)

/*
 * When the first one is due after a bulk transfer is not known: it is tried. On
 * short paths a busy peer responds so much later than an idle one that BBR,
 * with many samples of an idle peer, would make the window too small for a busy
 * one.
 */
#define FIRST_DELAY (NS_PER_S / 4)
#define SHORT_RTT (5 * NS_PER_MS)

/* For how long after a transfer it is done: after that radios should sleep. */
#define IDLE_PINGS_NS (60 * NS_PER_S)

static uint64_t
first_delay(const ngtcp2_conn_info *info)
{
	return info->min_rtt < SHORT_RTT ? INTERVAL : FIRST_DELAY;
}

/* A stream has used up its quantum: this is a bulk transfer. */
void
bbr_probe_rtt_note(struct quic_conn *conn)
{
	ngtcp2_conn_info info;

	if (conn->settings.cc != QUIC_CC_BBR || !compat_misses_idle())
		return;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	conn->bbr_probe_rtt.until = conn->now + IDLE_PINGS_NS;
	conn->bbr_probe_rtt.at = conn->now + first_delay(&info);
	conn->bbr_probe_rtt.cwnd = 0;
}

/* When the next PING is due. The window shows whether ProbeRTT has run. */
static uint64_t
next_delay(const struct quic_conn *conn, const ngtcp2_conn_info *info,
    uint64_t now)
{
	if (info->cwnd < conn->bbr_probe_rtt.cwnd ||
	    conn->bbr_probe_rtt.until - now < IDLE_PINGS_NS - INTERVAL)
		return INTERVAL;
	return first_delay(info);
}

/* The first of two PINGs is due, or the second, after the first is answered. */
void
bbr_probe_rtt_expire(struct quic_conn *conn, uint64_t now)
{
	ngtcp2_conn_info info;

	if (conn->bbr_probe_rtt.at > now)
		return;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (conn->bbr_probe_rtt.cwnd == 0) {
		conn->bbr_probe_rtt.at = now + info.smoothed_rtt + DURATION;
		conn->bbr_probe_rtt.cwnd = info.cwnd;
	} else {
		conn->bbr_probe_rtt.at = now + next_delay(conn, &info, now);
		if (conn->bbr_probe_rtt.at > conn->bbr_probe_rtt.until)
			conn->bbr_probe_rtt.at = UINT64_MAX;
		conn->bbr_probe_rtt.cwnd = 0;
	}
	quic_conn_ping(conn);
}
