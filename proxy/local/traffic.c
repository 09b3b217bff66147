#include "proxy/local/traffic.h"

/*
 * Each second leaves a quarter of a weight: a client that was busy disappears
 * after ten seconds, and one that becomes busy shows within one or two.
 */
#define DECAY_MS 1000
#define DECAY_BITS 2
#define WEIGHT_BITS 64

static void
decay(struct traffic *t, uint64_t now_ms)
{
	uint64_t n = (now_ms - t->decayed_ms) / DECAY_MS;

	if (n == 0)
		return;
	t->decayed_ms += n * DECAY_MS;
	for (size_t i = 0; i < TRAFFIC_TOP; i++)
		t->places[i].weight = n < WEIGHT_BITS / DECAY_BITS
		    ? t->places[i].weight >> n * DECAY_BITS
		    : 0;
}

/* The place of the share: its own, or the one of the lowest weight. */
static size_t
place_of(struct traffic *t, struct traffic_share *share)
{
	size_t lowest = 0;

	if (share->place > 0)
		return share->place - 1;
	for (size_t i = 1; i < TRAFFIC_TOP; i++)
		if (t->places[i].weight < t->places[lowest].weight)
			lowest = i;
	if (t->places[lowest].share != NULL)
		t->places[lowest].share->place = 0;
	t->places[lowest].share = share;
	share->place = (unsigned)lowest + 1;
	return lowest;
}

/* Returns by how much it grew. */
static uint64_t
advance(uint64_t *noted, uint64_t n)
{
	uint64_t before = *noted;

	*noted = n;
	return n - before;
}

void
traffic_update(struct traffic *t, struct traffic_share *share, uint64_t up,
    uint64_t down, uint64_t now_ms)
{
	uint64_t more_up = advance(&share->up, up);
	uint64_t more_down = advance(&share->down, down);

	if (more_up + more_down == 0)
		return;
	t->up += more_up;
	t->down += more_down;
	decay(t, now_ms);
	t->places[place_of(t, share)].weight += more_up + more_down;
}

void
traffic_forget(struct traffic *t, struct traffic_share *share)
{
	if (share->place == 0)
		return;
	t->places[share->place - 1].share = NULL;
	t->places[share->place - 1].weight = 0;
	share->place = 0;
}

size_t
traffic_top(struct traffic *t, struct traffic_share *top[TRAFFIC_TOP],
    uint64_t now_ms)
{
	size_t n = 0, at;

	decay(t, now_ms);
	for (size_t i = 0; i < TRAFFIC_TOP; i++) {
		if (t->places[i].share == NULL || t->places[i].weight == 0)
			continue;
		for (at = n++; at > 0 &&
		     t->places[top[at - 1]->place - 1].weight <
			 t->places[i].weight;
		     at--)
			top[at] = top[at - 1];
		top[at] = t->places[i].share;
	}
	return n;
}
