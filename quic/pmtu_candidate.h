/*
 * A size that a search has found above the size in force, and that is not used
 * before further probes of it are acknowledged: where packets take several
 * routes, a size may pass now and then. Pure, a part of struct pmtu.
 */
#ifndef CULVERT_QUIC_PMTU_CANDIDATE_H
#define CULVERT_QUIC_PMTU_CANDIDATE_H

#include <stdbool.h>
#include <stddef.h>

struct pmtu_candidate {
	size_t size; /* bytes of UDP payload; 0: there is none */
	int score;
};

void pmtu_candidate_clear(struct pmtu_candidate *);

/*
 * A probe above the size in force was acknowledged, or so many up to the
 * candidate were lost.
 */
void pmtu_candidate_acked(struct pmtu_candidate *);
void pmtu_candidate_lost(struct pmtu_candidate *, unsigned n);

/* It is to be used; or it does not pass often enough. */
bool pmtu_candidate_is_confirmed(const struct pmtu_candidate *);
bool pmtu_candidate_is_rejected(const struct pmtu_candidate *);

/* Acknowledgements that are missing until it is confirmed. */
unsigned pmtu_candidate_missing(const struct pmtu_candidate *);

#endif
