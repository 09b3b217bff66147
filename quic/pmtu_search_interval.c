#include "quic/pmtu_search_interval.h"

#define NS_PER_S UINT64_C(1000000000)

/* PMTU_RAISE_TIMER (RFC 8899 §5.1.1): the usual interval, and the longest. */
#define RAISE_INTERVAL (600 * NS_PER_S)

/*
 * After a black hole the path may recover soon. It is probed first after 5 s,
 * then after ever longer intervals. They start longer if there was another
 * black hole not long ago.
 */
#define HEAL_INTERVAL (5 * NS_PER_S)

void
pmtu_search_interval_reset(struct pmtu_search_interval *i)
{
	i->due_at = UINT64_MAX;
	i->interval = RAISE_INTERVAL;
	i->after_black_hole = HEAL_INTERVAL;
}

void
pmtu_search_interval_start(struct pmtu_search_interval *i, uint64_t now)
{
	i->due_at = now + i->interval;
}

void
pmtu_search_interval_stop(struct pmtu_search_interval *i)
{
	i->due_at = UINT64_MAX;
}

static uint64_t
doubled(uint64_t interval)
{
	return 2 * interval < RAISE_INTERVAL ? 2 * interval : RAISE_INTERVAL;
}

void
pmtu_search_interval_grow(struct pmtu_search_interval *i)
{
	i->interval = doubled(i->interval);
}

void
pmtu_search_interval_black_hole(struct pmtu_search_interval *i,
    bool passes_sometimes, uint64_t since_change)
{
	if (passes_sometimes) {
		i->interval = RAISE_INTERVAL;
		return;
	}
	if (since_change >= RAISE_INTERVAL)
		i->after_black_hole = HEAL_INTERVAL;
	i->interval = i->after_black_hole;
	i->after_black_hole = doubled(i->after_black_hole);
}
