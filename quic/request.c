/*
 * Requests that are not complete at the server, or not answered at the client,
 * their time limit, and the orderly shutdown of a connection.
 *
 * An incomplete head takes memory of ours and of nghttp3 that flow control does
 * not limit. So few heads may be incomplete at a time, and none for long.
 */
#include "quic/internal.h"

#define H3_EXCESSIVE_LOAD 0x107 /* RFC 9114 §8.1 */
#define H3_REQUEST_INCOMPLETE 0x10d

/*
 * The maximum of nanoseconds between two GOAWAYs: longer than most round trips,
 * whatever maximum delay the peer announces. Later requests may be repeated
 * elsewhere.
 */
#define DRAIN_WAIT_MAX (3 * NS_PER_S)

/* ---- Incomplete heads ---- */

/*
 * Also of a client, which waits for the head of the response. In order of IDs.
 */
void
request_opened(struct quic_stream *s)
{
	struct quic_conn *conn = s->conn;

	s->head_incomplete = true;
	s->opened_at = conn->now;
	TAILQ_INSERT_TAIL(&conn->requests.incomplete, s, incomplete_entry);
	conn->requests.nincomplete++;
}

/* The head is complete, or not needed any more. */
void
request_head_done(struct quic_stream *s)
{
	if (!s->head_incomplete)
		return;
	s->head_incomplete = false;
	TAILQ_REMOVE(&s->conn->requests.incomplete, s, incomplete_entry);
	s->conn->requests.nincomplete--;
}

/*
 * Between batches of packets a well-behaved peer has few incomplete heads:
 * those that a lost packet delays. The oldest are reset.
 */
void
request_limit_heads(struct quic_conn *conn)
{
	while (conn_is_server(conn) &&
	    conn->requests.nincomplete > conn->settings.heads_max)
		quic_stream_reset(TAILQ_FIRST(&conn->requests.incomplete),
		    H3_EXCESSIVE_LOAD);
}

/* ---- Requests that the server does not process ---- */

/* Streams that one call rejects: the next call goes on. */
#define REJECTED_A_CALL 64

/*
 * True: a request has an ID of GOAWAY's or a later one. A request that has its
 * response was processed, whatever ID the server names.
 */
bool
request_is_rejected(const struct quic_conn *conn)
{
	const struct quic_stream *s = TAILQ_LAST(&conn->requests.incomplete,
	    stream_queue);

	return !conn_is_server(conn) && conn->goaway.state != GOAWAY_NONE &&
	    s != NULL && s->id >= conn->goaway.id;
}

void
request_reject(struct quic_conn *conn)
{
	struct quic_stream *s;

	for (unsigned n = 0; n < REJECTED_A_CALL && request_is_rejected(conn);
	     n++) {
		s = TAILQ_LAST(&conn->requests.incomplete, stream_queue);
		request_head_done(s);
		stream_abort(s, QUIC_H3_REQUEST_REJECTED);
	}
}

/* ---- Shutdown ---- */

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
request_drain(struct quic_conn *conn, uint64_t now)
{
	if (conn->goaway.state != GOAWAY_NONE || conn->state >= CONN_CLOSING ||
	    conn->h3 == NULL || h3_announce_end(conn) != 0)
		return;
	conn->goaway.state = GOAWAY_FIRST;
	conn->goaway.second_at = after_round_trip(conn, now);
	conn_touch(conn);
}

static uint64_t
drain_deadline(const struct quic_conn *conn)
{
	if (conn->goaway.state == GOAWAY_NONE)
		return UINT64_MAX;
	if (conn->goaway.state == GOAWAY_FIRST)
		return conn->goaway.second_at;
	return h3_has_ended(conn) ? conn->now : UINT64_MAX;
}

static void
drain_expire(struct quic_conn *conn, uint64_t now)
{
	if (drain_deadline(conn) > now)
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

/* ---- Time ---- */

static uint64_t
head_deadline(const struct quic_conn *conn)
{
	const struct quic_stream *s = TAILQ_FIRST(&conn->requests.incomplete);

	return s != NULL ? s->opened_at + conn->settings.head_timeout_ns
			 : UINT64_MAX;
}

uint64_t
request_deadline(const struct quic_conn *conn)
{
	uint64_t head, drain;

	if (!conn_is_server(conn))
		return UINT64_MAX;
	head = head_deadline(conn);
	drain = drain_deadline(conn);
	return head < drain ? head : drain;
}

void
request_expire(struct quic_conn *conn, uint64_t now)
{
	if (!conn_is_server(conn))
		return;
	while (head_deadline(conn) <= now)
		quic_stream_reset(TAILQ_FIRST(&conn->requests.incomplete),
		    H3_REQUEST_INCOMPLETE);
	drain_expire(conn, now);
}
