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
#include "quic/internal.h"

/* The first version that notices: no PING is needed. */
#define NOTICES 0x011200

/* BBR's ProbeRTTInterval and ProbeRTTDuration, each with a little to spare. */
#define INTERVAL (5 * NS_PER_S + NS_PER_S / 10)
#define DURATION (NS_PER_S / 4)

/* Who has not come back by then may find it cold: radios want to sleep. */
#define YOUNG (60 * NS_PER_S)

static uint64_t
round_trip(struct quic_conn *conn)
{
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(conn->quic, &info);
	return info.smoothed_rtt;
}

/* A stream has sent as much as it may at a time. */
void
warm_note(struct quic_conn *conn)
{
	if (conn->settings.cc != QUIC_CC_BBR ||
	    ngtcp2_version(0)->version_num >= NOTICES)
		return;
	conn->warm_until = conn->now + YOUNG;
	conn->warm_at = conn->now + INTERVAL;
	conn->warming = false;
}

void
warm_expire(struct quic_conn *conn, uint64_t now)
{
	if (conn->warm_at > now)
		return;
	conn->warming = !conn->warming;
	conn->warm_at = now + round_trip(conn) +
	    (conn->warming ? DURATION : INTERVAL);
	if (!conn->warming && conn->warm_at > conn->warm_until)
		conn->warm_at = UINT64_MAX;
	quic_conn_ping(conn);
}
