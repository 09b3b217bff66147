#ifndef CULVERT_PROXY_LOCAL_TICKET_H
#define CULVERT_PROXY_LOCAL_TICKET_H

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
 *	ticket_wait ──▶ waiting ── tickets_ask ──▶ asked ──▶ on_opened
 *	                   ▲                         │       on_refused
 *	                   └── the request was lost ─┘
 *
 * No I/O, no clock: `now` is milliseconds of the caller's clock, and the same
 * one in all calls.
 */

/* Milliseconds that a client waits for its tunnel: browsers give up later. */
#define TICKET_WAIT_MS 10000

/*
 * Milliseconds for the edge's answer once it was asked: it dials for as long
 * as a client waits, and its refusal needs a moment to come back.
 */
#define TICKET_ANSWER_MS (TICKET_WAIT_MS + 2000)

struct tickets;

/* A request for a tunnel, in the caller's memory, zeroed at first. */
struct ticket {
	/* Set before ticket_wait(); uplink_open() says what they are for. */
	const struct target *target;
	void (*on_opened)(void *arg, struct quic_stream *);
	void (*on_refused)(void *arg, const struct refusal *);
	void *arg;

	/* Private. */
	struct tickets *tickets; /* NULL: not waiting */
	struct quic_stream *stream; /* once the request is sent */
	uint64_t number; /* in the order in which they came */
	uint64_t came, deadline; /* milliseconds */
	unsigned rejected; /* times that an edge would not look at it */
	TAILQ_ENTRY(ticket) entry;
};

TAILQ_HEAD(ticket_list, ticket);

struct tickets {
	/* For the owner to read. */
	size_t nwaiting;
	uint64_t opened, failed; /* since the start */

	/* Private. */
	struct ticket_list waiting, asked;
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
 * Puts a ticket at the end of the queue. Exactly one of its callbacks follows,
 * never from inside this call.
 */
void ticket_wait(struct tickets *, struct ticket *, uint64_t now);

/* Withdraws it: no callback follows. Fine when it is not waiting. */
void ticket_cancel(struct ticket *);

/*
 * Sends the requests of those who wait, in order, on `conn`. 0: nobody waits
 * any more; else what quic_stream_request() said to the first who does.
 */
int tickets_ask(struct tickets *, struct quic_conn *conn, uint64_t now);

/*
 * Takes back the requests on `conn` that were not answered: they wait again,
 * in the order in which they came.
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
