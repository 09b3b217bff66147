#ifndef CULVERT_PROXY_LOCAL_WAY_H
#define CULVERT_PROXY_LOCAL_WAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/addr.h"
#include "proxy/local/choice.h"
#include "proxy/local/link.h"
#include "proxy/local/race.h"
#include "proxy/local/refusal.h"

/*
 * What leads to one edge: the race that is on, and the links that it has made.
 * The choice hears from here how that edge does.
 *
 * None of these calls may be made from inside a connection's events. `now` is
 * milliseconds of the loop's clock, and `*at` is made no later than the time
 * of the next call.
 */
struct way {
	/* For the owner to read. */
	struct target edge;	/* as configured */
	size_t index;		/* its number in the choice */
	bool leaving;		/* the choice knows it no more */
	struct race race;
	struct link_list links; /* the oldest first; no OVER after a step */
	char why[REFUSAL_TEXT_MAX]; /* of the last failure, a sentence */

	TAILQ_ENTRY(way) entry; /* for the owner to use */

	/* Private. */
	struct choice *choice;
	struct quic_tls *tls;
	char complaint[REFUSAL_TEXT_MAX]; /* the last warning, and when */
	uint64_t complained;
};

TAILQ_HEAD(way_list, way);

/*
 * Takes a reference to `tls` and copies `edge`; host and choice must outlive
 * the way. 0 or -ENOMEM.
 */
int way_new(struct way **, struct link_host *, struct choice *,
    size_t index, const struct target *edge, struct quic_tls *tls);

/*
 * Another place in the order of a choice that was made anew, and credentials
 * for the connections to come.
 */
void way_renew(struct way *, size_t index, struct quic_tls *tls,
    uint64_t now);

/* Tries to make a connection, or calls that off. */
void way_start(struct way *, uint64_t now);
void way_call_off(struct way *);

/* Does what is due. True: an attempt has failed, or a link was lost: `why`. */
bool way_step(struct way *, uint64_t now, uint64_t *at);

/*
 * The first link that takes requests, and is not doubted if there is such a
 * one; or NULL. And how many take requests.
 */
struct link *way_best(const struct way *);
size_t way_width(const struct way *);

/* Makes no more connections; those that are there finish their tunnels. */
void way_leave(struct way *);

/* Ends all links, with their tunnels, and the race. `why` is for people. */
void way_end(struct way *, const char *why);

/* Whether a way that leaves or was ended has gone, and may be freed. */
bool way_is_gone(const struct way *);
void way_free(struct way *);

#endif
