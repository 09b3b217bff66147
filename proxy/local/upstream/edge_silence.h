#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_EDGE_SILENCE_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_EDGE_SILENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/local/upstream/connection.h"

/*
 * Which of an edge's connections work, when one of them is suspect. An idle one
 * never is, since no answer is due, and may be dead all the same. So the others
 * are pinged, and each works when it has received something since:
 *
 *	one becomes suspect ──▶ the others are pinged ─ an answer ─▶ it works
 *	                                              └ none ─▶ it is suspect
 *
 * `now` is milliseconds of the loop's clock, and `*at` is made no later than
 * the time of the next call. Not from inside a connection's events.
 */
void edge_silence_step(struct connection_list *, uint64_t now, uint64_t *at);

/*
 * The first UP connection: if possible one that works, or else one that is not
 * suspect. NULL: none is UP.
 */
struct connection *edge_silence_best(const struct connection_list *);

/*
 * Whether that connection works, and those that are suspect have had time to
 * receive something, too.
 */
bool edge_silence_works(const struct connection *, uint64_t now, uint64_t *at);

#endif
