#include "quic/closing.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

/*
 * Nanoseconds for which a record is kept: three probe time-outs (RFC 9000
 * §10.2) of a path with a time-out of one second. The time-out of the
 * connection is not used, since the peer's own maximum delay is a part of it. A
 * peer that sends later gets a stateless reset.
 */
#define CLOSING_PERIOD (3 * NS_PER_S)

/*
 * Records at a time: at 1 KB each with their IDs, 4 MB. With one more, the
 * oldest is dropped.
 */
#define CLOSINGS_MAX 4096

/* Records that one call drops, so that it is short. The next call goes on. */
#define STEPS 64

/* An answer has at most so many times the bytes of the packet (§8.1). */
#define AMPLIFICATION_MAX 3

struct closing {
	TAILQ_ENTRY(closing) entry;	/* closings->all */
	TAILQ_ENTRY(closing) due_entry; /* closings->due, if due */
	struct conn_ids ids;
	struct quic_path path;
	uint64_t until;
	uint64_t received; /* datagrams since the connection ended */
	bool due;
	size_t len;
	uint8_t packet[];
};

void
closings_init(struct closings *c, struct conn_id_map *ids)
{
	*c = (struct closings){ .ids = ids };
	TAILQ_INIT(&c->all);
	TAILQ_INIT(&c->due);
}

static void
set_due(struct closings *c, struct closing *closing, bool due)
{
	if (closing->due == due)
		return;
	closing->due = due;
	if (due)
		TAILQ_INSERT_TAIL(&c->due, closing, due_entry);
	else
		TAILQ_REMOVE(&c->due, closing, due_entry);
}

static void
drop_oldest(struct closings *c)
{
	struct closing *closing = TAILQ_FIRST(&c->all);

	set_due(c, closing, false);
	conn_ids_free(c->ids, &closing->ids);
	TAILQ_REMOVE(&c->all, closing, entry);
	c->n--;
	free(closing);
}

void
closings_fini(struct closings *c)
{
	while (c->n > 0)
		drop_oldest(c);
}

void
closings_add(struct closings *c, struct conn_ids *ids,
    const struct quic_path *path, const uint8_t *packet, size_t len,
    uint64_t now)
{
	struct closing *closing = calloc(1, sizeof(*closing) + len);
	struct conn_id *id;

	if (closing == NULL)
		return;
	if (c->n == CLOSINGS_MAX)
		drop_oldest(c);
	LIST_INIT(&closing->ids);
	while ((id = LIST_FIRST(ids)) != NULL) {
		LIST_REMOVE(id, entry);
		LIST_INSERT_HEAD(&closing->ids, id, entry);
		id->conn = NULL;
		id->closing = closing;
	}
	closing->path = *path;
	closing->until = now + CLOSING_PERIOD;
	closing->len = len;
	memcpy(closing->packet, packet, len);
	TAILQ_INSERT_TAIL(&c->all, closing, entry);
	c->n++;
	set_due(c, closing, len > 0);
}

/* The answers get rarer (RFC 9000 §10.2.1). */
void
closing_received(struct closings *c, struct closing *closing, size_t len)
{
	closing->received++;
	if (closing->len > 0 && closing->len <= AMPLIFICATION_MAX * len &&
	    (closing->received & (closing->received - 1)) == 0)
		set_due(c, closing, true);
}

bool
closings_write(struct closings *c, struct quic_gso *gso)
{
	struct closing *closing = TAILQ_FIRST(&c->due);

	if (closing == NULL || gso->held_len > 0)
		return false;
	set_due(c, closing, false);
	memcpy(gso->buf, closing->packet, closing->len);
	gso->len = gso->segment = closing->len;
	gso->path = closing->path;
	gso->ecn = 0;
	return true;
}

void
closings_expire(struct closings *c, uint64_t now)
{
	for (int i = 0; i < STEPS && closings_deadline(c) <= now; i++)
		drop_oldest(c);
}

uint64_t
closings_deadline(const struct closings *c)
{
	const struct closing *oldest = TAILQ_FIRST(&c->all);

	return oldest != NULL ? oldest->until : UINT64_MAX;
}
