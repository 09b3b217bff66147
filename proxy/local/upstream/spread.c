#include "proxy/local/upstream/spread.h"

#include <stdio.h>
#include <string.h>

/*
 * A line becomes lossy with this part of its packets lost, in one direction, if
 * they are so many that the search for the path MTU does not explain them, and
 * were lost in so many intervals that a burst of a second or two does not,
 * either.
 */
#define ENTER_PART 200 /* 1/200 is 0.5 % */
#define ENTER_LOST 20
#define ENTER_BAD 8

/*
 * It ceases to be lossy with less than this part lost, whatever its queue, and
 * not earlier than so many milliseconds after more was lost.
 */
#define LEAVE_PART 500 /* 0.2 % */
#define LEAVE_MS 30000

/*
 * After so many packets and notes old ones count half; and after so many
 * milliseconds, since a line that carries little loses a few by every search
 * for a larger path MTU.
 */
#define WINDOW 4000
#define WINDOW_NOTES 16
#define WINDOW_MS 20000

void
spread_init(struct spread *s)
{
	memset(s, 0, sizeof(*s));
}

/* The index of the line, or SPREAD_LINES_MAX. */
static size_t
find(const struct spread *s, const char *network)
{
	size_t i = 0;

	while (i < SPREAD_LINES_MAX && strcmp(s->lines[i].name, network) != 0)
		i++;
	return i;
}

/* A new line takes the place of the one that was not used for longest. */
static struct spread_line *
find_or_add(struct spread *s, const char *network)
{
	struct spread_line *oldest = &s->lines[0];
	size_t found = find(s, network);

	if (found < SPREAD_LINES_MAX)
		return &s->lines[found];
	for (size_t i = 1; i < SPREAD_LINES_MAX; i++)
		if (s->lines[i].used_at < oldest->used_at)
			oldest = &s->lines[i];
	memset(oldest, 0, sizeof(*oldest));
	snprintf(oldest->name, sizeof(oldest->name), "%s", network);
	return oldest;
}

static void
set_lossy(struct spread_line *line, bool lossy, uint64_t now)
{
	line->lossy = lossy;
	line->since = now;
	memset(line->counts, 0, sizeof(line->counts));
}

static bool
loses(const struct spread_count *c)
{
	return c->lost >= ENTER_LOST && c->bad >= ENTER_BAD &&
	    c->lost >= c->packets / ENTER_PART;
}

/* Both directions must be good; one that carries nothing is. */
static bool
is_good(const struct spread_line *line)
{
	for (int i = 0; i < SPREAD_DIRECTIONS; i++)
		if (line->counts[i].lost > line->counts[i].packets / LEAVE_PART)
			return false;
	return true;
}

/* Old packets count for less and less. */
static void
age(struct spread_line *line, uint64_t now)
{
	line->aged_at = now;
	for (int i = 0; i < SPREAD_DIRECTIONS; i++) {
		line->counts[i].packets /= 2;
		line->counts[i].lost /= 2;
		line->counts[i].notes /= 2;
		line->counts[i].bad /= 2;
	}
}

bool
spread_note(struct spread *s, const char *network,
    enum spread_direction direction, const struct quic_loss *loss, uint64_t now)
{
	struct spread_line *line = find_or_add(s, network);
	struct spread_count *c = &line->counts[direction];
	bool before = line->lossy;
	uint64_t packets, lost;

	if (now - line->aged_at >= WINDOW_MS)
		age(line, now);
	line->used_at = now;
	packets = line->lossy ? loss->packets : loss->random_packets;
	lost = line->lossy ? loss->lost : loss->random_lost;
	if (packets > WINDOW) { /* a long interval is no more than a window */
		lost = lost * WINDOW / packets;
		packets = WINDOW;
	}
	c->packets += packets;
	c->lost += lost;
	c->notes += packets > 0;
	c->bad += lost > 0;
	if (loses(c))
		set_lossy(line, true, now);
	else if (c->packets >= WINDOW && c->notes >= WINDOW_NOTES) {
		if (line->lossy && is_good(line) &&
		    now - line->since >= LEAVE_MS)
			set_lossy(line, false, now);
		else
			age(line, now);
	}
	return line->lossy != before;
}

bool
spread_is_lossy(const struct spread *s, const char *network)
{
	size_t found = find(s, network);

	return found < SPREAD_LINES_MAX && s->lines[found].lossy;
}
