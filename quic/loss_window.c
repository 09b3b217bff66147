#include "quic/loss_window.h"

#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

/*
 * A tick of the time. Two of them hold all that a queue of one tick lets out
 * while it is full, wherever they begin.
 */
#define TICK (5 * NS_PER_MS)
#define MIDDLE (LOSS_WINDOW_TICKS / 2)

/*
 * The most that a line carries is measured over parts of this length, since
 * packets come in bursts after a pause of this process or of a radio; and
 * forgotten after the other, since lines change.
 */
#define SHARE (100 * NS_PER_MS)
#define PEAK_AGE (10000 * NS_PER_MS)

/*
 * Two ticks with less than these percents of what the line carries at most did
 * not fill a queue of 4 ms; nor a shorter one, unless the sender does not pace
 * its packets.
 */
#define CALM_PERCENT 40

/* So few packets in all ticks may come at once: no queue is that short. */
#define CALM_PACKETS 4

void
loss_window_init(struct loss_window *w, uint64_t next, uint64_t now)
{
	memset(w, 0, sizeof(*w));
	w->next = w->before = w->begin = next;
	w->tick = now / TICK;
	w->share = now / SHARE;
	w->peak_at = now;
	for (int i = 0; i < LOSS_WINDOW_TICKS; i++)
		w->ticks[i].first = next;
}

/* ---- Sets of numbers ---- */

/* Bits `first` to `last` of the word that holds them, both inclusive. */
static uint64_t
mask(uint64_t first, uint64_t last)
{
	return ~UINT64_C(0) << (first % 64) & ~UINT64_C(0) >> (63 - last % 64);
}

static size_t
word(uint64_t number)
{
	return (size_t)(number / 64 % LOSS_WINDOW_WORDS);
}

/* The last number of [first, end) that is in the word of `first`. */
static uint64_t
last_of_word(uint64_t first, uint64_t end)
{
	return (first | 63) < end ? first | 63 : end - 1;
}

static void
clear(uint64_t *bits, uint64_t first, uint64_t end)
{
	for (uint64_t last; first < end; first = last + 1) {
		last = last_of_word(first, end);
		bits[word(first)] &= ~mask(first, last);
	}
}

/* Returns how many were not set. */
static uint64_t
set(uint64_t *bits, uint64_t first, uint64_t end)
{
	uint64_t last, m, n = 0;

	for (; first < end; first = last + 1) {
		last = last_of_word(first, end);
		m = mask(first, last) & ~bits[word(first)];
		bits[word(first)] |= m;
		n += (uint64_t)__builtin_popcountll(m);
	}
	return n;
}

/* The first number that is kept. */
static uint64_t
kept_from(const struct loss_window *w)
{
	return w->next > LOSS_WINDOW_NUMBERS ? w->next - LOSS_WINDOW_NUMBERS
					     : 0;
}

static uint64_t
at_least(uint64_t value, uint64_t least)
{
	return value > least ? value : least;
}

/* ---- Time ---- */

/* Whether the middle tick, with those beside it, fills no queue. */
static bool
is_calm(const struct loss_window *w)
{
	const struct loss_tick *t = w->ticks;
	uint64_t peak = at_least(w->peak, w->peak_before);
	uint64_t packets = t[0].packets, bytes = t[0].bytes, most = 0;

	for (int i = 1; i < LOSS_WINDOW_TICKS; i++) {
		packets += t[i].packets;
		bytes += t[i].bytes;
		most = at_least(t[i - 1].bytes + t[i].bytes, most);
	}
	return most * 100 * SHARE < peak * CALM_PERCENT * 2 * TICK ||
	    (packets <= CALM_PACKETS &&
		bytes * 100 * SHARE <
		    peak * CALM_PERCENT * LOSS_WINDOW_TICKS * TICK);
}

/*
 * A packet that is missing may have been the last before a pause: so the tick
 * before counts as well.
 */
static void
judge(struct loss_window *w)
{
	const struct loss_tick *tick = &w->ticks[MIDDLE];
	bool calm;

	if (tick->packets == 0)
		return;
	calm = is_calm(w);
	if (calm && w->calm_before)
		set(w->calm, at_least(tick->first, kept_from(w)),
		    tick[1].first);
	w->calm_before = calm;
}

static void
end_share(struct loss_window *w, uint64_t now)
{
	w->share = now / SHARE;
	w->peak = at_least(w->peak, w->delivered);
	w->delivered = 0;
	if (now - w->peak_at < PEAK_AGE)
		return;
	w->peak_before = now - w->peak_at < 2 * PEAK_AGE ? w->peak : 0;
	w->peak = 0;
	w->peak_at = now;
}

static void
set_time(struct loss_window *w, uint64_t now)
{
	uint64_t n = now / TICK - w->tick;

	w->tick = now / TICK;
	if (n > LOSS_WINDOW_TICKS)
		n = LOSS_WINDOW_TICKS;
	for (; n > 0; n--) {
		judge(w);
		memmove(w->ticks, w->ticks + 1,
		    sizeof(w->ticks) - sizeof(w->ticks[0]));
		w->ticks[LOSS_WINDOW_TICKS - 1] = (struct loss_tick){
			.first = w->next
		};
	}
	if (now / SHARE != w->share)
		end_share(w, now);
}

/* ---- Packets ---- */

void
loss_window_add(struct loss_window *w, uint64_t number, size_t bytes,
    uint64_t now)
{
	struct loss_tick *tick = &w->ticks[LOSS_WINDOW_TICKS - 1];
	uint64_t first;

	set_time(w, now);
	tick->packets++;
	tick->bytes += bytes;
	if (number < w->next)
		return;
	first = w->next;
	w->next = number + 1;
	first = at_least(first, kept_from(w));
	clear(w->arrived, first, w->next);
	clear(w->calm, first, w->next);
}

uint64_t
loss_window_arrived(struct loss_window *w, uint64_t first, uint64_t last)
{
	uint64_t end = last < w->next ? last + 1 : w->next;

	return set(w->arrived, at_least(first, kept_from(w)), end);
}

void
loss_window_delivered(struct loss_window *w, uint64_t bytes, uint64_t now)
{
	set_time(w, now);
	w->delivered += bytes;
}

/* ---- Intervals ---- */

static void
count(const struct loss_window *w, uint64_t first, uint64_t end,
    struct loss_count *c)
{
	uint64_t last, m, calm, lost;

	for (; first < end; first = last + 1) {
		last = last_of_word(first, end);
		m = mask(first, last);
		calm = w->calm[word(first)] & m;
		lost = ~w->arrived[word(first)] & m;
		c->packets += last - first + 1;
		c->lost += (uint64_t)__builtin_popcountll(lost);
		c->calm_packets += (uint64_t)__builtin_popcountll(calm);
		c->calm_lost += (uint64_t)__builtin_popcountll(calm & lost);
	}
}

void
loss_window_next(struct loss_window *w, uint64_t end, struct loss_count *c)
{
	*c = (struct loss_count){ 0 };
	if (w->before >= kept_from(w))
		count(w, w->before, w->begin, c);
	w->before = w->begin;
	w->begin = at_least(end, w->begin);
}
