#include "quic/evict.h"

#include "quic/internal.h"

/*
 * The time for the first request, in nanoseconds, while few connections are
 * UNUSED: new connections must not evict each other. Many, a share of the
 * places, are only possible if they send no requests.
 */
#define UNUSED_MIN (10 * NS_PER_S)
#define UNUSED_SHARE(places) ((places) / 16)

/* Nanoseconds: longer than a person needs to go from one page to the next. */
#define IDLE_MIN (60 * NS_PER_S)

void
evict_order_init(struct evict_order *order)
{
	TAILQ_INIT(&order->unused);
	TAILQ_INIT(&order->idle);
	order->nunused = 0;
}

static struct evict_queue *
queue_of(struct quic_conn *conn, enum evict_scope scope)
{
	struct evict_order *order = conn->server.evict.places[scope].order;

	if (order == NULL || conn->server.evict.rank == EVICT_BUSY)
		return NULL;
	return conn->server.evict.rank == EVICT_UNUSED ? &order->unused
						       : &order->idle;
}

static void
enter(struct quic_conn *conn, enum evict_scope scope)
{
	struct evict_queue *queue = queue_of(conn, scope);
	struct evict_entry *e = &conn->server.evict;

	if (queue == NULL)
		return;
	e->places[scope].order->nunused += e->rank == EVICT_UNUSED;
	if (scope == EVICT_ALL)
		TAILQ_INSERT_TAIL(queue, conn,
		    server.evict.places[EVICT_ALL].entry);
	else
		TAILQ_INSERT_TAIL(queue, conn,
		    server.evict.places[EVICT_SOURCE].entry);
}

static void
leave(struct quic_conn *conn, enum evict_scope scope)
{
	struct evict_queue *queue = queue_of(conn, scope);
	struct evict_entry *e = &conn->server.evict;

	if (queue == NULL)
		return;
	e->places[scope].order->nunused -= e->rank == EVICT_UNUSED;
	if (scope == EVICT_ALL)
		TAILQ_REMOVE(queue, conn, server.evict.places[EVICT_ALL].entry);
	else
		TAILQ_REMOVE(queue, conn,
		    server.evict.places[EVICT_SOURCE].entry);
}

void
evict_join(struct quic_conn *conn, enum evict_scope scope,
    struct evict_order *order)
{
	conn->server.evict.places[scope].order = order;
	enter(conn, scope);
}

void
evict_leave(struct quic_conn *conn)
{
	for (int scope = 0; scope < EVICT_SCOPES; scope++) {
		leave(conn, scope);
		conn->server.evict.places[scope].order = NULL;
	}
}

static void
set_rank(struct quic_conn *conn, enum evict_rank rank)
{
	if (conn->server.evict.rank == rank)
		return;
	for (int scope = 0; scope < EVICT_SCOPES; scope++)
		leave(conn, scope);
	conn->server.evict.rank = rank;
	for (int scope = 0; scope < EVICT_SCOPES; scope++)
		enter(conn, scope);
}

void
evict_admitted(struct quic_conn *conn)
{
	set_rank(conn, EVICT_BUSY);
}

/* Streams that only the peer keeps, since it does not end them, do not count. */
static bool
is_idle(const struct quic_conn *conn)
{
	return conn->streams.n == conn->orphans.noverdue;
}

void
evict_update(struct quic_conn *conn, uint64_t now)
{
	if (conn->server.evict.rank == EVICT_UNUSED)
		return;
	if (is_idle(conn) && conn->server.evict.rank == EVICT_BUSY)
		conn->server.evict.idle_since = now;
	set_rank(conn, is_idle(conn) ? EVICT_IDLE : EVICT_BUSY);
}

/* A request may have arrived since the last evict_update(). */
static struct quic_conn *
first_idle(const struct evict_order *order)
{
	struct quic_conn *conn;

	while ((conn = TAILQ_FIRST(&order->idle)) != NULL && !is_idle(conn))
		set_rank(conn, EVICT_BUSY);
	return conn;
}

struct quic_conn *
evict_first(const struct evict_order *order, size_t places, bool full,
    uint64_t now)
{
	struct quic_conn *conn = TAILQ_FIRST(&order->unused);

	if (conn != NULL &&
	    (order->nunused >= UNUSED_SHARE(places) ||
		now >= conn->began_at + UNUSED_MIN))
		return conn;
	if (!full)
		return NULL;
	conn = first_idle(order);
	return conn != NULL && now >= conn->server.evict.idle_since + IDLE_MIN
	    ? conn
	    : NULL;
}
