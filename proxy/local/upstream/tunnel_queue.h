#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_TUNNEL_QUEUE_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_TUNNEL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/basic.h"
#include "proxy/local/outbound/outbound.h"
#include "quic/quic.h"

/*
 * Requests for tunnels (outbound/tunnel_request.h): they wait in the order in
 * which they came, and then are sent to an edge as CONNECT.
 *
 *	tunnel_queue_add ──▶ waiting ── tunnel_queue_send ──▶ sent
 *	                        ▲                           │   │
 *	                        └── the request was lost ───┘   ▼
 *	                                                opened, refused
 *
 * Data may go along with a request: RFC 9114 §4.4 does not require it to wait
 * for the response. The edge keeps it until it has connected to the target, or
 * drops it with its refusal. A request that carried data which may not be sent
 * twice is sent again only if the edge says that it did not process it (RFC
 * 9114 §4.1.1). None of this goes in 0-RTT, which an attacker could replay.
 *
 * No I/O, no clock: `now` is milliseconds of the caller's clock, and the same
 * one in all calls.
 */
struct tunnel_queue {
	/* For the owner to read. */
	size_t nwaiting;
	uint64_t opened, failed; /* since the start */

	/* For the owner to set; counts for requests in the queue, too. */
	uint64_t timeout_ms; /* from enqueue to the outcome */

	/* Private. */
	struct tunnel_request_list waiting, sent;
	struct tunnel_request_list by_age; /* all of them, the oldest first */
	uint64_t next_sequence;
	char authorization[BASIC_SIZE]; /* for the edge; empty: none */
	void (*on_requeued)(void *arg);
	void *arg;
};

/*
 * `on_requeued` fires when a request was lost and waits again, from inside an
 * event of its connection: send once more on another connection.
 */
void tunnel_queue_init(struct tunnel_queue *, void (*on_requeued)(void *arg),
    void *arg);

/* The credentials for requests to come; an empty user name means none. */
void tunnel_queue_set_user(struct tunnel_queue *, const struct credentials *);

/* Wipes the secret. No request may be in the queue any more. */
void tunnel_queue_fini(struct tunnel_queue *);

/*
 * Puts a request at the end of the queue. Exactly one of `opened` and `refused`
 * follows, never from inside this call, and `sent` may fire before it. From
 * either of the two the request may be used again.
 */
void
tunnel_queue_add(struct tunnel_queue *, struct tunnel_request *, uint64_t now);

/* Withdraws it: no event follows. A no-op when it is not in a queue. */
void tunnel_queue_remove(struct tunnel_request *);

/*
 * Sends the requests that wait, in order and at most `max` of them, on `conn`.
 * 0: so many were sent, or none waits any more; else the error of
 * quic_stream_request() for the first that does.
 */
int
tunnel_queue_send(struct tunnel_queue *, struct quic_conn *conn, size_t max);

/*
 * Takes back the requests on `conn` that have no response: they wait again, in
 * the order in which they came. Those with `no_retry` are refused.
 */
void tunnel_queue_requeue(struct tunnel_queue *, struct quic_conn *conn);

/* Refuses all that wait now, but none that is enqueued meanwhile. */
void tunnel_queue_refuse(struct tunnel_queue *, const struct connect_error *);

/*
 * Refuses the requests whose time is over: those that wait with `why`, and
 * those that were sent with an error of their own.
 */
void tunnel_queue_expire(struct tunnel_queue *, uint64_t now,
    const struct connect_error *why);

/* When to call tunnel_queue_expire(); UINT64_MAX: never. */
uint64_t tunnel_queue_deadline(const struct tunnel_queue *);

/* When the first that waits was enqueued; UINT64_MAX: none waits. */
uint64_t tunnel_queue_waiting_since(const struct tunnel_queue *);

#endif
