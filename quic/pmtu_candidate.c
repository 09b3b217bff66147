#include "quic/pmtu_candidate.h"

/*
 * The score: what each acknowledged probe adds and each lost one subtracts, and
 * the scores that decide. A size that passes half of the time is confirmed 2
 * times in 1,000; at 10 % loss by chance a size that passes is rejected about
 * as seldom.
 */
#define ACKED_SCORE 1
#define LOST_SCORE 3
#define SCORE_CONFIRMED 10
#define SCORE_REJECTED (-15)

void
pmtu_candidate_clear(struct pmtu_candidate *c)
{
	c->size = 0;
	c->score = 0;
}

void
pmtu_candidate_acked(struct pmtu_candidate *c)
{
	c->score += ACKED_SCORE;
}

void
pmtu_candidate_lost(struct pmtu_candidate *c, unsigned n)
{
	c->score -= LOST_SCORE * (int)n;
}

bool
pmtu_candidate_is_confirmed(const struct pmtu_candidate *c)
{
	return c->score >= SCORE_CONFIRMED;
}

bool
pmtu_candidate_is_rejected(const struct pmtu_candidate *c)
{
	return c->score <= SCORE_REJECTED;
}

unsigned
pmtu_candidate_missing(const struct pmtu_candidate *c)
{
	return c->size == 0 || pmtu_candidate_is_confirmed(c)
	    ? 0
	    : (unsigned)(SCORE_CONFIRMED - c->score) / ACKED_SCORE;
}
