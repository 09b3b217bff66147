#include "quic/pmtu_confirmation.h"

#include "quic/pmtu.h"

/*
 * The interval of probes, for each PACKET bytes of their size: 1,440 probes of
 * 1,500 bytes are 17 Mbit a day.
 */
#define INTERVAL UINT64_C(60000000000) /* nanoseconds */
#define PACKET 1500		       /* bytes */

void
pmtu_confirmation_reset(struct pmtu_confirmation *c, uint64_t now)
{
	c->due = false;
	c->confirmed_at = now;
	c->lost = 0;
}

void
pmtu_confirmation_used(struct pmtu_confirmation *c, size_t size, uint64_t now)
{
	uint64_t interval = INTERVAL;

	if (size > PACKET)
		interval = INTERVAL / PACKET * size;
	if (now >= c->confirmed_at + interval)
		c->due = true;
}

bool
pmtu_confirmation_lost(struct pmtu_confirmation *c, uint64_t now)
{
	if (++c->lost < PMTU_LOSSES_MAX)
		return false;
	pmtu_confirmation_reset(c, now);
	return true;
}
