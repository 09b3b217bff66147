/*
 * How many requests a peer may have at once (RFC 9000 §4.6), at a server. It
 * begins with what is enough for most, and gets credit for twice as many as it
 * has while there is memory for them: idle streams must not fill it.
 */
#include "quic/internal.h"

uint64_t
max_streams(const struct quic_conn *conn)
{
	uint64_t max = memory_streams_max(conn, conn->requests.nopen);

	return max < conn->settings.streams_max ? max
						: conn->settings.streams_max;
}

static void
give_credit(struct quic_conn *conn)
{
	struct conn_requests *r = &conn->requests;
	uint64_t max = max_streams(conn);

	if (max <= r->max)
		return;
	ngtcp2_conn_extend_max_streams_bidi(conn->quic, max - r->max);
	r->max = max;
}

void
max_streams_check(struct quic_conn *conn)
{
	if (conn->requests.nopen >= conn->requests.max)
		give_credit(conn);
}

void
max_streams_opened(struct quic_conn *conn)
{
	conn->requests.nopen++;
	give_credit(conn);
}

void
max_streams_closed(struct quic_conn *conn)
{
	conn->requests.nopen--;
	conn->requests.max--;
	give_credit(conn);
}
