#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_TUNNEL_REQUEST_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_TUNNEL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/addr.h"
#include "proxy/base/basic.h"
#include "proxy/base/stream.h"
#include "proxy/local/upstream/connect_error.h"
#include "quic/quic.h"

/*
 * Requests for tunnels: they wait in the order in which they came, and then are
 * sent to an edge as CONNECT.
 *
 *	tunnel_request_enqueue ──▶ waiting ── tunnel_requests_send ──▶ sent
 *	                              ▲                              │   │
 *	                              └── the request was lost ──────┘   ▼
 *	                                                   opened, refused
 *
 * What a client sends before its tunnel is open may go along with the request
 * (RFC 9114 §4.4 does not require it to wait for the response): the edge keeps
 * it until it has connected to the target, or drops it with its refusal. That
 * saves a round trip, at a price: when the request is lost, it is unknown
 * whether the target has received it. So a request that carried data is not
 * sent again, unless the edge says that it did not process it (RFC 9114
 * §4.1.1), or it is idempotent, as some requests of HTTP are (RFC 9110 §9.2.2).
 * None of this goes in 0-RTT, which an attacker could replay.
 *
 * No I/O, no clock: `now` is milliseconds of the caller's clock, and the same
 * one in all calls.
 */

struct tunnel_requests;

/* The outcome of a request. Events fire from the loop. */
struct tunnel_request_events {
	/*
	 * The request leaves with the next packets, and whatever the handler
	 * commits to `stream` goes with it; more may follow until the response,
	 * on the request's `stream`. The handler sets `no_retry` if that may
	 * not be sent twice. When the request is sent again, this fires again,
	 * with another stream, on which everything is sent from the start. The
	 * handler may not cancel the request. NULL: nothing goes along.
	 */
	void (*sent)(void *arg, struct stream *stream);

	/*
	 * The edge has connected the stream to the target: the handler takes
	 * it over or ends it before it returns, see stream.h.
	 */
	void (*opened)(void *arg, struct stream *stream);

	/* There is no tunnel. The error is valid during the call. */
	void (*refused)(void *arg, const struct connect_error *);
};

/* A request for a tunnel, in the caller's memory, zeroed at first. */
struct tunnel_request {
	/* Set before tunnel_request_enqueue(). */
	const struct target *target; /* stays where it is until the outcome */
	const struct tunnel_request_events *events;
	void *arg;

	/* For the owner to set, once sent: do not send the request again. */
	bool no_retry;

	/* For the owner to send on, from `sent` to the outcome; else closed. */
	struct stream stream;

	/* Private. */
	struct tunnel_requests *queue; /* NULL: not in one */
	uint64_t sequence;	       /* the order in which they came */
	uint64_t queued_ms;
	unsigned rejected; /* times that an edge did not process it */
	TAILQ_ENTRY(tunnel_request) entry, age;
};

TAILQ_HEAD(tunnel_request_list, tunnel_request);

struct tunnel_requests {
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
void tunnel_requests_init(struct tunnel_requests *,
    void (*on_requeued)(void *arg), void *arg);

/* The credentials for requests to come; an empty user name means none. */
void
tunnel_requests_set_user(struct tunnel_requests *, const struct credentials *);

/* Wipes the secret. No request may be in the queue any more. */
void tunnel_requests_fini(struct tunnel_requests *);

/*
 * Puts a request at the end of the queue. Exactly one of `opened` and `refused`
 * follows, never from inside this call, and `sent` may fire before it. From
 * either of the two the request may be used again.
 */
void tunnel_request_enqueue(struct tunnel_requests *, struct tunnel_request *,
    uint64_t now);

/* Withdraws it: no event follows. A no-op when it is not in a queue. */
void tunnel_request_cancel(struct tunnel_request *);

/*
 * Sends the requests that wait, in order, on `conn`. 0: none waits any more;
 * else the error of quic_stream_request() for the first that does.
 */
int tunnel_requests_send(struct tunnel_requests *, struct quic_conn *conn);

/*
 * Takes back the requests on `conn` that have no response: they wait again, in
 * the order in which they came. Those with `no_retry` are refused.
 */
void tunnel_requests_requeue(struct tunnel_requests *, struct quic_conn *conn);

/* Refuses all that wait now, but none that is enqueued meanwhile. */
void
tunnel_requests_refuse(struct tunnel_requests *, const struct connect_error *);

/*
 * Refuses the requests whose time is over: those that wait with `why`, and
 * those that were sent with an error of their own.
 */
void tunnel_requests_expire(struct tunnel_requests *, uint64_t now,
    const struct connect_error *why);

/* When to call tunnel_requests_expire(); UINT64_MAX: never. */
uint64_t tunnel_requests_deadline(const struct tunnel_requests *);

/* When the first that waits was enqueued; UINT64_MAX: none waits. */
uint64_t tunnel_requests_waiting_since(const struct tunnel_requests *);

#endif
