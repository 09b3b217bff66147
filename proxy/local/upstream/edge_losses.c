#include "proxy/local/upstream/edge_losses.h"

#include <string.h>

#include "proxy/base/log.h"

/*
 * Packets that a connection may lose, in one direction, before new tunnels go
 * to another one. With 3 % loss that is after 2 MB, a large page over two
 * connections. With 300 in place of 50, pages on such a line took up to 13 s,
 * and 0.9 s with 50.
 */
#define WORN_LOST 50

/*
 * Milliseconds after a connection has come to another network, in which its
 * losses may be those of the one before.
 */
#define NETWORK_REST_MS 2000

void
edge_losses_init(struct edge_losses *l)
{
	spread_init(&l->spread);
	l->learned_ms = 0;
}

bool
edge_losses_is_lossy(const struct edge_losses *l, const struct connection *c)
{
	return spread_is_lossy(&l->spread, c->losses.network);
}

static bool
tells(const struct connection *c)
{
	return c->state == CONNECTION_UP && !c->suspect;
}

/*
 * Whether what is lost is lost in this network. It may be another one although
 * the address is the same; and it has no full name before its gateway answers.
 */
static bool
is_settled(struct connection *c, const struct quic_pulse *pulse, uint64_t now)
{
	char name[NETWORK_NAME_MAX];

	network_name(quic_conn_path(c->conn), name);
	if (strcmp(name, c->losses.network) != 0 ||
	    pulse->migrations != c->losses.migrations)
		c->losses.network_since = now;
	memcpy(c->losses.network, name, sizeof(c->losses.network));
	c->losses.migrations = pulse->migrations;
	return now - c->losses.network_since >= NETWORK_REST_MS;
}

static struct quic_loss
difference(const struct quic_loss *a, const struct quic_loss *b)
{
	return (struct quic_loss){ a->packets - b->packets, a->lost - b->lost,
		a->random_packets - b->random_packets,
		a->random_lost - b->random_lost };
}

/* Ends an interval of the connection. */
static void
take_losses(struct connection *c, uint64_t now)
{
	struct quic_pulse pulse;
	const struct quic_loss *all[SPREAD_DIRECTIONS] = {
		[SPREAD_SENT] = &pulse.sent,
		[SPREAD_RECEIVED] = &pulse.received,
	};

	quic_conn_pulse(c->conn, &pulse);
	c->losses.learned = !is_settled(c, &pulse, now);
	if (!c->losses.learned)
		connection_keep_repair(c, c->losses.network, &pulse);
	for (int i = 0; i < SPREAD_DIRECTIONS; i++) {
		c->losses.interval.of[i] = difference(all[i],
		    &c->losses.noted.of[i]);
		c->losses.noted.of[i] = *all[i];
	}
}

/* Adds the losses of a connection, and counts it if there are any packets. */
static void
add_losses(struct quic_loss *sum, const struct quic_loss *more, size_t *n)
{
	sum->packets += more->packets;
	sum->lost += more->lost;
	sum->random_packets += more->random_packets;
	sum->random_lost += more->random_lost;
	*n += more->packets > 0;
}

/*
 * Notes what the connections of a line have lost, once for all. When one of
 * several fills the line, the others do not see it, and no loss is known to be
 * random.
 */
static bool
note_line(struct edge_losses *l, const struct connection_list *list,
    const char *network, enum spread_direction direction, uint64_t now)
{
	struct quic_loss sum = { 0 };
	struct connection *c;
	size_t n = 0;

	TAILQ_FOREACH(c, list, entry)
		if (tells(c) && !c->losses.learned &&
		    strcmp(c->losses.network, network) == 0)
			add_losses(&sum, &c->losses.interval.of[direction], &n);
	if (n > 1 && sum.random_packets < sum.packets)
		sum.random_packets = sum.random_lost = 0;
	return spread_note(&l->spread, network, direction, &sum, now);
}

static void
learn_line(struct edge_losses *l, const struct connection_list *list,
    const struct connection *of, uint64_t now)
{
	struct connection *c;
	bool changed = note_line(l, list, of->losses.network, SPREAD_SENT, now);

	changed |= note_line(l, list, of->losses.network, SPREAD_RECEIVED, now);
	TAILQ_FOREACH(c, list, entry)
		c->losses.learned |= strcmp(c->losses.network,
					 of->losses.network) == 0;
	if (!changed)
		return;
	if (edge_losses_is_lossy(l, of))
		log_info("the path to %s loses packets; new tunnels are spread "
			 "over several connections",
		    of->address);
	else
		log_info("the path to %s loses few packets now; new tunnels "
			 "share one connection",
		    of->address);
}

void
edge_losses_learn(struct edge_losses *l, const struct connection_list *list,
    uint64_t now)
{
	struct connection *c;

	/* What is known of the line counts for a new connection at once. */
	TAILQ_FOREACH(c, list, entry)
		if (tells(c) && c->losses.network[0] == '\0')
			network_name(quic_conn_path(c->conn),
			    c->losses.network);
	if (now < l->learned_ms + EDGE_LOSSES_INTERVAL_MS)
		return;
	l->learned_ms = now;
	TAILQ_FOREACH(c, list, entry)
		if (tells(c))
			take_losses(c, now);
	TAILQ_FOREACH(c, list, entry)
		if (tells(c) && !c->losses.learned)
			learn_line(l, list, c, now);
}

bool
edge_losses_is_worn(const struct connection *c)
{
	return c->losses.noted.of[SPREAD_SENT].lost >= WORN_LOST ||
	    c->losses.noted.of[SPREAD_RECEIVED].lost >= WORN_LOST;
}
