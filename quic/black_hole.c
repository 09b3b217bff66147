#include "quic/black_hole.h"

/* Numbers below the largest acknowledged one that are still checked. */
#define LATE_MAX 256

/*
 * So many lost large packets before an acknowledged small one suggest a black
 * hole.
 */
#define LARGE_LOST_MIN 3

/*
 * So do large packets that are lost too often, though others pass: half of
 * them, if two routes alternate. LOSS_SCORE is added for each lost packet, and
 * ACK_SCORE subtracted for each acknowledged one; at SCORE_SUSPECT a black hole
 * is suspected. SCORE_MAX limits what a full queue on the path can add: as a
 * rule acknowledgements have lowered the score before the next small packet.
 */
#define LOSS_SCORE 2
#define ACK_SCORE 1
#define SCORE_SUSPECT 12
#define SCORE_MAX (2 * SCORE_SUSPECT)

static enum black_hole_kind
kind_of(const struct black_hole *e, uint64_t number)
{
	size_t at = number % BLACK_HOLE_HISTORY;

	return e->history[at / BLACK_HOLE_KINDS_A_BYTE] >>
	    2 * (at % BLACK_HOLE_KINDS_A_BYTE) &
	    3;
}

static void
set_kind(struct black_hole *e, uint64_t number, enum black_hole_kind kind)
{
	size_t at = number % BLACK_HOLE_HISTORY;
	uint8_t *byte = &e->history[at / BLACK_HOLE_KINDS_A_BYTE];
	unsigned shift = 2 * (at % BLACK_HOLE_KINDS_A_BYTE);

	*byte = (uint8_t)((*byte & ~(3u << shift)) | (unsigned)kind << shift);
}

void
black_hole_sent(struct black_hole *e, uint64_t number,
    enum black_hole_kind kind, uint64_t now)
{
	e->next_number = number + 1;
	set_kind(e, number, kind);
	if (kind == BLACK_HOLE_NONE)
		return;
	if (kind >= BLACK_HOLE_LARGE && ++e->large_waiting == LARGE_LOST_MIN)
		e->large_third = number;
	if (!e->waiting) {
		e->waiting = true;
		e->progress_at = now;
	}
}

static void
note_acked(struct black_hole *e, struct pmtu *pmtu, uint64_t number,
    uint64_t now)
{
	enum black_hole_kind kind = kind_of(e, number);

	if (kind == BLACK_HOLE_NONE)
		return;
	if (kind >= BLACK_HOLE_LARGE) {
		e->large_waiting = 0;
		e->loss_score -= e->loss_score >= ACK_SCORE ? ACK_SCORE : 0;
		pmtu_large_acked(pmtu, kind == BLACK_HOLE_FULL, now);
	} else {
		if (number >= e->small_acked_end)
			e->small_acked_end = number + 1;
		pmtu_small_acked(pmtu, now);
	}
	set_kind(e, number, BLACK_HOLE_NONE);
	e->progress_at = now;
}

/* The first number that is still checked. */
static uint64_t
oldest(const struct black_hole *e)
{
	uint64_t from = e->acked_end > LATE_MAX ? e->acked_end - LATE_MAX : 0;

	return e->next_number - from > BLACK_HOLE_HISTORY
	    ? e->next_number - BLACK_HOLE_HISTORY
	    : from;
}

void
black_hole_opened(struct black_hole *e)
{
	e->steps_left = e->next_number - oldest(e);
}

void
black_hole_acked(struct black_hole *e, struct pmtu *pmtu, uint64_t first,
    uint64_t last, uint64_t now)
{
	uint64_t from = oldest(e);

	if (first < from && from == e->next_number - BLACK_HOLE_HISTORY)
		e->large_waiting = 0; /* it may have been a large one */
	for (uint64_t n = first > from ? first : from;
	     n <= last && e->steps_left > 0; n++) {
		note_acked(e, pmtu, n, now);
		e->steps_left--;
	}
	if (last >= e->acked_next)
		e->acked_next = last + 1;
}

bool
black_hole_progressed(struct black_hole *e)
{
	if (e->acked_next == e->acked_end)
		return false;
	e->acked_end = e->acked_next;
	return true;
}

/* Adds the packets that are lost by now (RFC 9002 §6.1.1) to the score. */
static void
count_losses(struct black_hole *e)
{
	uint64_t number;

	if (e->next_number - e->scored_end > BLACK_HOLE_HISTORY)
		e->scored_end = e->next_number - BLACK_HOLE_HISTORY;
	while (e->scored_end + BLACK_HOLE_REORDERING < e->acked_end) {
		number = e->scored_end++;
		if (kind_of(e, number) < BLACK_HOLE_LARGE)
			continue;
		e->loss_end = e->scored_end;
		if (e->loss_score < SCORE_MAX)
			e->loss_score += LOSS_SCORE;
	}
}

bool
black_hole_is_suspected(struct black_hole *e)
{
	count_losses(e);
	return (e->loss_score >= SCORE_SUSPECT &&
		   e->small_acked_end > e->loss_end) ||
	    (e->large_waiting >= LARGE_LOST_MIN &&
		e->small_acked_end > e->large_third + BLACK_HOLE_REORDERING);
}

void
black_hole_clear(struct black_hole *e)
{
	e->large_waiting = e->loss_score = 0;
}

void
black_hole_discard(struct black_hole *e)
{
	black_hole_clear(e);
	e->scored_end = e->next_number;
}

void
black_hole_idle(struct black_hole *e)
{
	e->waiting = false;
}
