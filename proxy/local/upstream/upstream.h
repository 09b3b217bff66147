#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_UPSTREAM_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_UPSTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/addr.h"
#include "proxy/local/upstream/failover.h"
#include "proxy/local/upstream/connection.h"
#include "proxy/local/upstream/happy_eyeballs.h"
#include "proxy/local/upstream/connect_error.h"

/*
 * What leads to one edge: the race that is on, and the links that it has made.
 * The choice hears from here how that edge does.
 *
 * None of these calls may be made from inside a connection's events. `now` is
 * milliseconds of the loop's clock, and `*at` is made no later than the time
 * of the next call.
 */
struct upstream {
	/* For the owner to read. */
	struct target edge;	/* as configured */
	size_t index;		/* its number in the choice */
	bool leaving;		/* the choice knows it no more */
	struct eyeballs race;
	struct connection_list
	    links; /* the oldest first; no OVER after a step */
	char why[CONNECT_ERROR_TEXT_MAX]; /* of the last failure, a sentence */

	TAILQ_ENTRY(upstream) entry; /* for the owner to use */

	/* Private. */
	struct failover *choice;
	struct quic_tls *tls;
	char complaint[CONNECT_ERROR_TEXT_MAX]; /* the last warning, and when */
	uint64_t complained;
};

TAILQ_HEAD(upstream_list, upstream);

/*
 * Takes a reference to `tls` and copies `edge`; host and choice must outlive
 * the way. 0 or -ENOMEM.
 */
int
upstream_new(struct upstream **, struct connection_host *, struct failover *,
    size_t index, const struct target *edge, struct quic_tls *tls);

/*
 * Another place in the order of a choice that was made anew, and credentials
 * for the connections to come.
 */
void upstream_renew(
    struct upstream *, size_t index, struct quic_tls *tls, uint64_t now);

/* Tries to make a connection, or calls that off. */
void upstream_start(struct upstream *, uint64_t now);
void upstream_call_off(struct upstream *);

/* Does what is due. True: an attempt has failed, or a link was lost: `why`. */
bool upstream_step(struct upstream *, uint64_t now, uint64_t *at);

/*
 * The first link that takes requests, and is not doubted if there is such a
 * one; or NULL. And how many take requests.
 */
struct connection *upstream_best(const struct upstream *);
size_t upstream_width(const struct upstream *);

/* Makes no more connections; those that are there finish their tunnels. */
void upstream_leave(struct upstream *);

/* Ends all links, with their tunnels, and the race. `why` is for people. */
void upstream_end(struct upstream *, const char *why);

/* Whether a way that leaves or was ended has gone, and may be freed. */
bool upstream_is_gone(const struct upstream *);
void upstream_free(struct upstream *);

#endif
