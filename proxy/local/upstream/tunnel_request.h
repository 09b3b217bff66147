#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_TUNNEL_REQUEST_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_TUNNEL_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/addr.h"
#include "proxy/base/basic.h"
#include "proxy/local/upstream/connect_error.h"
#include "quic/quic.h"

/*
 * Those who want a tunnel: first they wait, in the order in which they came,
 * and then their request is on its way.
 *
 *	tunnel_request_wait ──▶ waiting ── tunnel_requests_ask ──▶ asked ──▶
 *opened ▲                         │       refused └── the request was lost ─┘
 *
 * What a client says before its tunnel is open may go along with the request
 * (RFC 9114 §4.4 does not make it wait for the answer): the edge keeps it until
 * the target is there, or drops it with its refusal. That saves a round trip,
 * and has a price: when the request is lost, nobody knows whether the target
 * has heard it. So a request that carried something is not made again, unless
 * the edge says that it did not look at it (RFC 9114 §4.1.1), or it does no
 * harm when it is said twice, as with an idempotent request of HTTP (RFC 9110
 * §9.2.2). Nothing of this goes in 0-RTT, where others could repeat it.
 *
 * No I/O, no clock: `now` is milliseconds of the caller's clock, and the same
 * one in all calls.
 */

struct tunnel_requests;

/* What becomes of a ticket. Events come from the loop. */
struct tunnel_request_events {
	/*
	 * The request leaves with the next packets, and whatever the handler
	 * commits to `stream` goes with it; more may follow until the answer,
	 * on ticket.stream. It sets ticket.bound if that may not be said twice.
	 * It fires again when the request is made again, and then on another
	 * stream everything is said from the start. NULL: nothing goes along.
	 * The handler may not cancel the ticket.
	 */
	void (*asked)(void *arg, struct quic_stream *stream);

	/*
	 * The edge has joined the stream to the target: the handler must attach
	 * itself to it before it returns.
	 */
	void (*opened)(void *arg, struct quic_stream *stream);

	/* There is no tunnel. The reason is valid during the call. */
	void (*refused)(void *arg, const struct connect_error *);
};

/* A request for a tunnel, in the caller's memory, zeroed at first. */
struct tunnel_request {
	/* Set before tunnel_request_wait(). */
	const struct target *target; /* stays where it is until the answer */
	const struct tunnel_request_events *events;
	void *arg;

	/* For the owner to set, once asked: do not make the request again. */
	bool bound;

	/* For the owner to write to: NULL until asked, and after the answer. */
	struct quic_stream *stream;

	/* Private. */
	struct tunnel_requests *tickets; /* NULL: not waiting */
	uint64_t number; /* in the order in which they came */
	uint64_t came; /* milliseconds */
	unsigned rejected; /* times that an edge would not look at it */
	TAILQ_ENTRY(tunnel_request) entry, age;
};

TAILQ_HEAD(tunnel_request_list, tunnel_request);

struct tunnel_requests {
	/* For the owner to read. */
	size_t nwaiting;
	uint64_t opened, failed; /* since the start */

	/* For the owner to set. */
	uint64_t wait_ms; /* that a client waits for its tunnel, also one that is here */

	/* Private. */
	struct tunnel_request_list waiting, asked;
	struct tunnel_request_list by_age; /* all of them, the oldest first */
	uint64_t numbers; /* given so far */
	char authorization[BASIC_SIZE]; /* for the edge; empty: none */
	void (*on_returned)(void *arg);
	void *arg;
};

/*
 * `on_returned` is told when a request was lost and waits again, from inside
 * an event of its connection: ask once more on another one.
 */
void tunnel_requests_init(
    struct tunnel_requests *, void (*on_returned)(void *arg), void *arg);

/* The credentials for requests to come; those of an empty name are none. */
void
tunnel_requests_set_user(struct tunnel_requests *, const struct credentials *);

/* Wipes what is secret. Nobody may be waiting any more. */
void tunnel_requests_fini(struct tunnel_requests *);

/*
 * Puts a ticket at the end of the queue. Exactly one of `opened` and `refused`
 * follows, never from inside this call, and `asked` may go before it. From
 * either of the two the ticket may be used again.
 */
void tunnel_request_wait(
    struct tunnel_requests *, struct tunnel_request *, uint64_t now);

/* Withdraws it: no event follows. Fine when it is not waiting. */
void tunnel_request_cancel(struct tunnel_request *);

/*
 * Sends the requests of those who wait, in order, on `conn`. 0: nobody waits
 * any more; else what quic_stream_request() said to the first who does.
 */
int tunnel_requests_ask(struct tunnel_requests *, struct quic_conn *conn);

/*
 * Takes back the requests on `conn` that were not answered: they wait again,
 * in the order in which they came. Those that are bound are refused.
 */
void tunnel_requests_recall(struct tunnel_requests *, struct quic_conn *conn);

/* Refuses all who wait now; who asks again meanwhile is not among them. */
void
tunnel_requests_refuse(struct tunnel_requests *, const struct connect_error *);

/*
 * Refuses those whose time is over: who waits, with `why`, and whose request
 * was not answered, by saying so. tunnel_requests_deadline() tells when to call
 * it; UINT64_MAX: never.
 */
void tunnel_requests_expire(
    struct tunnel_requests *, uint64_t now, const struct connect_error *why);
uint64_t tunnel_requests_deadline(const struct tunnel_requests *);

/* When the first of those who wait came; UINT64_MAX: nobody waits. */
uint64_t tunnel_requests_first(const struct tunnel_requests *);

#endif
