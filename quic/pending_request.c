/*
 * Requests that are not complete at the server, or not answered at the client,
 * and their time limit.
 *
 * An incomplete header section takes memory of ours and of nghttp3 that flow
 * control does not limit. So few may be incomplete at a time, and none for
 * long.
 */
#include "quic/internal.h"

#define H3_EXCESSIVE_LOAD 0x107 /* RFC 9114 §8.1 */
#define H3_REQUEST_INCOMPLETE 0x10d

/* Requests that one call resets, so that it is short. The next call goes on. */
#define STEPS 64

/* A client waits for the header section of the response. In order of IDs. */
void
pending_request_add(struct quic_stream *s)
{
	struct quic_conn *conn = s->conn;

	s->head_incomplete = true;
	s->opened_at = conn->now;
	TAILQ_INSERT_TAIL(&conn->requests.incomplete, s, incomplete_entry);
	conn->requests.nincomplete++;
}

/* Its header section is complete, or not needed any more. */
void
pending_request_remove(struct quic_stream *s)
{
	if (!s->head_incomplete)
		return;
	s->head_incomplete = false;
	TAILQ_REMOVE(&s->conn->requests.incomplete, s, incomplete_entry);
	s->conn->requests.nincomplete--;
}

/*
 * Between batches of packets a well-behaved peer has few incomplete requests:
 * those that a lost packet delays. The oldest are reset.
 */
void
pending_request_limit(struct quic_conn *conn)
{
	while (conn_is_server(conn) &&
	    conn->requests.nincomplete > conn->settings.heads_max)
		quic_stream_reset(TAILQ_FIRST(&conn->requests.incomplete),
		    H3_EXCESSIVE_LOAD);
}

uint64_t
pending_request_deadline(const struct quic_conn *conn)
{
	const struct quic_stream *s = TAILQ_FIRST(&conn->requests.incomplete);

	return conn_is_server(conn) && s != NULL
	    ? s->opened_at + conn->settings.head_timeout_ns
	    : UINT64_MAX;
}

void
pending_request_expire(struct quic_conn *conn, uint64_t now)
{
	for (int i = 0; i < STEPS && pending_request_deadline(conn) <= now; i++)
		quic_stream_reset(TAILQ_FIRST(&conn->requests.incomplete),
		    H3_REQUEST_INCOMPLETE);
}
