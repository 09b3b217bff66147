/*
 * The orderly end of a connection (RFC 9114 §5.2): a server sends GOAWAY, and a
 * client aborts the requests that the server will not process.
 */
#include "quic/internal.h"

/*
 * The maximum of nanoseconds between two GOAWAYs: longer than most round trips,
 * whatever maximum delay the peer announces. Later requests may be repeated
 * elsewhere.
 */
#define DRAIN_WAIT_MAX (3 * NS_PER_S)

/* ---- At the client ---- */

/* Streams that one call rejects: the next call goes on. */
#define REJECTED_A_CALL 64

/*
 * Whether a request has the ID that GOAWAY names, or a later one. A request
 * that has its response was processed, whatever ID the server names.
 */
bool
goaway_rejects(const struct quic_conn *conn)
{
	const struct quic_stream *s = TAILQ_LAST(&conn->requests.incomplete,
	    stream_queue);

	return !conn_is_server(conn) && conn->goaway.state != GOAWAY_NONE &&
	    s != NULL && s->id >= conn->goaway.id;
}

void
goaway_reject(struct quic_conn *conn)
{
	struct quic_stream *s;

	for (unsigned n = 0; n < REJECTED_A_CALL && goaway_rejects(conn); n++) {
		s = TAILQ_LAST(&conn->requests.incomplete, stream_queue);
		pending_request_remove(s);
		stream_abort(s, QUIC_H3_REQUEST_REJECTED);
	}
}

/* ---- At the server ---- */

static uint64_t
after_round_trip(const struct quic_conn *conn, uint64_t now)
{
	uint64_t pto = ngtcp2_conn_get_pto(conn->quic);

	return now + (pto < DRAIN_WAIT_MAX ? pto : DRAIN_WAIT_MAX);
}

/*
 * A server shuts down in two steps (RFC 9114 §5.2), since requests may be under
 * way: a round trip after the first GOAWAY, the second one names the last
 * request that has arrived.
 */
void
goaway_begin(struct quic_conn *conn, uint64_t now)
{
	if (conn->goaway.state != GOAWAY_NONE || conn->state >= CONN_CLOSING ||
	    conn->h3 == NULL || h3_announce_end(conn) != 0)
		return;
	conn->goaway.state = GOAWAY_FIRST;
	conn->goaway.second_at = after_round_trip(conn, now);
	conn_touch(conn);
}

uint64_t
goaway_deadline(const struct quic_conn *conn)
{
	if (!conn_is_server(conn) || conn->goaway.state == GOAWAY_NONE)
		return UINT64_MAX;
	if (conn->goaway.state == GOAWAY_FIRST)
		return conn->goaway.second_at;
	return h3_has_ended(conn) ? conn->now : UINT64_MAX;
}

void
goaway_expire(struct quic_conn *conn, uint64_t now)
{
	if (goaway_deadline(conn) > now)
		return;
	if (conn->goaway.state == GOAWAY_FINAL)
		quic_conn_close(conn, QUIC_H3_NO_ERROR,
		    "the edge is shutting down", now);
	else if (h3_end(conn) == 0) {
		conn->goaway.state = GOAWAY_FINAL;
		orphan_drain(conn);
	} else
		conn->goaway.second_at = after_round_trip(conn, now);
}
