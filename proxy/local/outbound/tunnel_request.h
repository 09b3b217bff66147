#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_TUNNEL_REQUEST_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_TUNNEL_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/addr.h"
#include "proxy/base/stream.h"
#include "proxy/base/tunnel_kind.h"
#include "proxy/local/outbound/connect_error.h"

/*
 * A request for a tunnel to a target, which an outbound takes (outbound.h).
 *
 *	outbound_open ──▶ waiting ──▶ sent ──▶ opened, refused
 *	                     ▲         │
 *	                     └─────────┘ the request was lost
 *
 * What a client sends before its tunnel is open may go along with the request,
 * which saves a round trip, at a price: when the request is lost, it is unknown
 * whether the target has received it. So a request that carried data is not
 * sent again, unless it is known not to have been processed, or it is
 * idempotent, as some requests of HTTP are (RFC 9110 §9.2.2).
 */
struct outbound;
struct tunnel_queue;

/* The outcome of a request. Events fire from the loop. */
struct tunnel_request_events {
	/*
	 * The request leaves, and whatever the handler commits to `stream` goes
	 * with it; more may follow until the outcome, on the request's
	 * `stream`. The handler sets `no_retry` if that may not be sent twice.
	 * When the request is sent again, this fires again, with another
	 * stream, on which everything is sent from the start. The handler may
	 * not cancel the request. An outbound need not fire it. NULL: nothing
	 * goes along.
	 */
	void (*sent)(void *arg, struct stream *stream);

	/*
	 * The stream is connected to the target: the handler takes it over or
	 * ends it before it returns, see stream.h.
	 */
	void (*opened)(void *arg, struct stream *stream);

	/* There is no tunnel. The error is valid during the call. */
	void (*refused)(void *arg, const struct connect_error *);
};

/* A request, in its owner's memory, zeroed at first. */
struct tunnel_request {
	/* outbound_open() sets them. */
	enum tunnel_kind kind;
	const struct target *target; /* stays where it is until the outcome */
	const struct tunnel_request_events *events;
	void *arg;

	/* For the owner to set, once sent: do not send the request again. */
	bool no_retry;

	/* For the owner to send on, from `sent` to the outcome; else closed. */
	struct stream stream;

	/* Private to outbound.c. */
	struct outbound *outbound; /* that has it; NULL: none */

	/* Private to that outbound. */
	TAILQ_ENTRY(tunnel_request) entry;
	struct {
		struct tunnel_queue *queue; /* NULL: not in one */
		uint64_t sequence;	    /* the order in which they came */
		uint64_t queued_ms;
		unsigned rejected; /* times that an edge did not process it */
		TAILQ_ENTRY(tunnel_request) age;
	} edge; /* upstream/tunnel_queue.c */
	struct {
		struct dial *dial; /* NULL: there was no memory */
	} direct;		   /* direct_outbound.c */
};

TAILQ_HEAD(tunnel_request_list, tunnel_request);

#endif
