/*
 * Whether the peer is alive (RFC 9000 §10.1): keep-alive, PINGs on request, and
 * a silence that is longer than it should be.
 */
#include "quic/internal.h"

/* The shortest interval of keep-alive, whatever the idle time-outs are. */
#define KEEP_ALIVE_MIN NS_PER_S

/* A silence is reported after so many probe time-outs (RFC 9002 §6.2). */
#define SILENCE_PTOS 2

/*
 * When a download that has stopped needs a PING: the peer may not know the
 * client's new address, and learns it only from a packet of the client.
 */
static uint64_t
ping_at(const struct quic_conn *conn)
{
	if (conn->keep_alive.received_at == 0 ||
	    conn->settings.silence_ns == 0 || TAILQ_EMPTY(&conn->streams.all))
		return UINT64_MAX;
	return conn->keep_alive.received_at + conn->settings.silence_ns;
}

static uint64_t
silent_at(const struct quic_conn *conn)
{
	uint64_t wait;

	if (conn->keep_alive.ack_due_since == 0 || conn->keep_alive.reported ||
	    conn->state != CONN_UP)
		return UINT64_MAX;
	wait = SILENCE_PTOS * ngtcp2_conn_get_pto(conn->quic);
	if (wait < conn->settings.silence_ns)
		wait = conn->settings.silence_ns;
	return conn->keep_alive.ack_due_since + wait;
}

/*
 * A packet was authenticated. Others do not count, since they may be spoofed.
 */
void
keep_alive_received(struct quic_conn *conn)
{
	conn->keep_alive.ack_due_since = 0;
	conn->keep_alive.reported = false;
	if (conn->keep_alive.received_at != 0)
		conn->keep_alive.received_at = conn->now;
}

/* Bytes of a stream have arrived, and more may follow. */
void
keep_alive_data_received(struct quic_conn *conn)
{
	conn->keep_alive.received_at = conn->now;
}

/* Packets have been written: is an acknowledgement due now? */
void
keep_alive_written(struct quic_conn *conn)
{
	ngtcp2_conn_info info;

	if (conn->keep_alive.ping_due) {
		conn->keep_alive.ping_due = false;
		keep_alive_set_timer(conn);
	}
	if (conn->settings.silence_ns == 0 ||
	    conn->keep_alive.ack_due_since != 0)
		return;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (info.bytes_in_flight > 0)
		conn->keep_alive.ack_due_since = conn->now;
}

/* A PING at half of the idle time-out may be lost, and there is time left. */
void
keep_alive_set_timer(struct quic_conn *conn)
{
	uint64_t ns = conn->settings.keep_alive_ns;

	if (ns == 0)
		ns = quic_conn_idle_ns(conn) / 2;
	ngtcp2_conn_set_keep_alive_timeout(conn->quic,
	    ns > KEEP_ALIVE_MIN ? ns : KEEP_ALIVE_MIN);
}

void
keep_alive_deliver(struct quic_conn *conn)
{
	if (!conn->keep_alive.event_pending)
		return;
	conn->keep_alive.event_pending = false;
	if (conn->state == CONN_UP && conn->events->silent != NULL)
		conn->events->silent(conn, conn->arg);
}

uint64_t
keep_alive_deadline(const struct quic_conn *conn)
{
	uint64_t ping = ping_at(conn), silent = silent_at(conn);

	return ping < silent ? ping : silent;
}

void
keep_alive_expire(struct quic_conn *conn, uint64_t now)
{
	if (ping_at(conn) <= now) {
		conn->keep_alive.received_at = 0;
		quic_conn_ping(conn);
	}
	if (silent_at(conn) <= now)
		conn->keep_alive.reported = conn->keep_alive.event_pending =
		    true;
}

/* ngtcp2 sends a PING when its keep-alive timer expires: make it expire. */
void
quic_conn_ping(struct quic_conn *conn)
{
	if (conn->state != CONN_UP)
		return;
	ngtcp2_conn_set_keep_alive_timeout(conn->quic, 1);
	conn->keep_alive.ping_due = true;
	conn_touch(conn);
}

uint64_t
quic_conn_idle_ns(const struct quic_conn *conn)
{
	const ngtcp2_transport_params *peer =
	    ngtcp2_conn_get_remote_transport_params(conn->quic);
	uint64_t ours = conn->settings.idle_timeout_ns;

	return peer != NULL && peer->max_idle_timeout != 0 &&
		peer->max_idle_timeout < ours
	    ? peer->max_idle_timeout
	    : ours;
}
