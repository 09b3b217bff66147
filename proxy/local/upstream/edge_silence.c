#include "proxy/local/upstream/edge_silence.h"

#include "proxy/local/upstream/migration.h"

/*
 * Milliseconds: a connection works that has received something since then when
 * another becomes suspect, which has been silent for longer.
 */
#define WORKS_MS (MIGRATION_SILENCE_MS / 2)

/* Milliseconds between looks at connections that were pinged. */
#define PROOF_TICK_MS 50

/*
 * Milliseconds after a connection was found to work, until those that are still
 * suspect are replaced: all of them may have been cut for a moment, and the
 * probe time-outs of the busy ones have grown meanwhile.
 */
#define PROOF_MS 1000

/* How far a connection is to be relied on. */
static int
rank(const struct connection *c)
{
	return c->suspect ? 1 : c->proof.due ? 2 : 3;
}

struct connection *
edge_silence_best(const struct connection_list *list)
{
	struct connection *c, *best = NULL;

	TAILQ_FOREACH(c, list, entry)
		if (c->state == CONNECTION_UP &&
		    (best == NULL || rank(c) > rank(best)))
			best = c;
	return best;
}

bool
edge_silence_works(const struct connection *c, uint64_t now, uint64_t *at)
{
	uint64_t due = c->proof.at == 0 ? 0 : c->proof.at + PROOF_MS;

	if (c->suspect || c->proof.due)
		return false;
	if (now < due && due < *at)
		*at = due;
	return now >= due;
}

/* Whether the connection has received something since the last look. */
static bool
has_received(struct connection *c, uint64_t now)
{
	struct quic_pulse pulse;

	quic_conn_pulse(c->conn, &pulse);
	if (pulse.packets_received == c->proof.seen)
		return false;
	c->proof.seen = pulse.packets_received;
	c->proof.seen_at = now;
	return true;
}

static void
ask_siblings(struct connection_list *list, uint64_t now)
{
	struct connection *c;

	TAILQ_FOREACH(c, list, entry)
		if (c->state == CONNECTION_UP && !c->suspect &&
		    now - c->proof.seen_at > WORKS_MS) {
			c->proof.due = true;
			quic_conn_ping(c->conn);
		}
}

/* The suspect ones have a last chance. */
static void
ping_suspects(struct connection_list *list)
{
	struct connection *c;

	TAILQ_FOREACH(c, list, entry)
		if (c->state == CONNECTION_UP && c->suspect)
			quic_conn_ping(c->conn);
}

static void
check_proof(struct connection_list *list, struct connection *c, bool received,
    uint64_t now, uint64_t *at)
{
	if (c->suspect)
		c->proof.due = false;
	else if (received) {
		c->proof.due = false;
		c->proof.at = now;
		ping_suspects(list);
	} else if (now + PROOF_TICK_MS < *at)
		*at = now + PROOF_TICK_MS;
}

/*
 * When a connection becomes suspect, the others show whether it is the edge
 * that is silent.
 */
void
edge_silence_step(struct connection_list *list, uint64_t now, uint64_t *at)
{
	struct connection *c;
	bool ask = false, received;

	TAILQ_FOREACH(c, list, entry) {
		received = has_received(c, now);
		if (c->proof.due)
			check_proof(list, c, received, now, at);
		ask |= c->state == CONNECTION_UP && c->suspect &&
		    !c->proof.noted;
		c->proof.noted = c->suspect;
	}
	if (!ask)
		return;
	ask_siblings(list, now);
	if (now + PROOF_TICK_MS < *at)
		*at = now + PROOF_TICK_MS;
}
