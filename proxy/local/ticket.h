#ifndef CULVERT_PROXY_LOCAL_TICKET_H
#define CULVERT_PROXY_LOCAL_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/addr.h"
#include "proxy/basic.h"
#include "proxy/local/refusal.h"
#include "quic/quic.h"

/*
 * Those who want a tunnel: first they wait, in the order in which they came,
 * and then their request is on its way.
 *
 *	ticket_wait ──▶ waiting ── tickets_ask ──▶ asked ──▶ opened
 *	                   ▲                         │       refused
 *	                   └── the request was lost ─┘
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

struct tickets;

/* What becomes of a ticket. Events come from the loop. */
struct ticket_events {
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
	void (*refused)(void *arg, const struct refusal *);
};

/* A request for a tunnel, in the caller's memory, zeroed at first. */
struct ticket {
	/* Set before ticket_wait(). */
	const struct target *target; /* stays where it is until the answer */
	const struct ticket_events *events;
	void *arg;

	/* For the owner to set, once asked: do not make the request again. */
	bool bound;

	/* For the owner to write to: NULL until asked, and after the answer. */
	struct quic_stream *stream;

	/* Private. */
	struct tickets *tickets; /* NULL: not waiting */
	uint64_t number; /* in the order in which they came */
	uint64_t came; /* milliseconds */
	unsigned rejected; /* times that an edge would not look at it */
	TAILQ_ENTRY(ticket) entry, age;
};

TAILQ_HEAD(ticket_list, ticket);

struct tickets {
	/* For the owner to read. */
	size_t nwaiting;
	uint64_t opened, failed; /* since the start */

	/* For the owner to set. */
	uint64_t wait_ms; /* that a client waits for its tunnel, also one that is here */

	/* Private. */
	struct ticket_list waiting, asked;
	struct ticket_list by_age; /* all of them, the oldest first */
	uint64_t numbers; /* given so far */
	char authorization[BASIC_SIZE]; /* for the edge; empty: none */
	void (*on_returned)(void *arg);
	void *arg;
};

/*
 * `on_returned` is told when a request was lost and waits again, from inside
 * an event of its connection: ask once more on another one.
 */
void tickets_init(struct tickets *, void (*on_returned)(void *arg), void *arg);

/* The credentials for requests to come; those of an empty name are none. */
void tickets_set_user(struct tickets *, const struct credentials *);

/* Wipes what is secret. Nobody may be waiting any more. */
void tickets_fini(struct tickets *);

/*
 * Puts a ticket at the end of the queue. Exactly one of `opened` and `refused`
 * follows, never from inside this call, and `asked` may go before it. From
 * either of the two the ticket may be used again.
 */
void ticket_wait(struct tickets *, struct ticket *, uint64_t now);

/* Withdraws it: no event follows. Fine when it is not waiting. */
void ticket_cancel(struct ticket *);

/*
 * Sends the requests of those who wait, in order, on `conn`. 0: nobody waits
 * any more; else what quic_stream_request() said to the first who does.
 */
int tickets_ask(struct tickets *, struct quic_conn *conn);

/*
 * Takes back the requests on `conn` that were not answered: they wait again,
 * in the order in which they came. Those that are bound are refused.
 */
void tickets_recall(struct tickets *, struct quic_conn *conn);

/* Refuses all who wait now; who asks again meanwhile is not among them. */
void tickets_refuse(struct tickets *, const struct refusal *);

/*
 * Refuses those whose time is over: who waits, with `why`, and whose request
 * was not answered, by saying so. tickets_deadline() tells when to call it;
 * UINT64_MAX: never.
 */
void tickets_expire(struct tickets *, uint64_t now,
    const struct refusal *why);
uint64_t tickets_deadline(const struct tickets *);

/* When the first of those who wait came; UINT64_MAX: nobody waits. */
uint64_t tickets_first(const struct tickets *);

#endif
