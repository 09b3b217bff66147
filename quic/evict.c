#include "quic/evict.h"

#include "quic/internal.h"

/*
 * A connection has this time for its first request, in nanoseconds, where few
 * are FRESH: newcomers must not drive each other out. Many, a share of the
 * places, can only be so many because they ask for nothing.
 */
#define FRESH_MIN (10 * NS_PER_S)
#define FRESH_SHARE(places) ((places) / 16)

/* Nanoseconds: longer than people take from one page to the next. */
#define REST_MIN (60 * NS_PER_S)

void
evict_order_init(struct evict_order *order)
{
	TAILQ_INIT(&order->fresh);
	TAILQ_INIT(&order->resting);
	order->nfresh = 0;
}

static struct evict_queue *
queue_of(const struct quic_conn *conn, enum evict_line line)
{
	struct evict_order *order = conn->evict[line].order;

	if (order == NULL || conn->evict_rank == EVICT_BUSY)
		return NULL;
	return conn->evict_rank == EVICT_FRESH ? &order->fresh
					       : &order->resting;
}

/* The two lines have entries of their own in a connection. */
static void
enter(struct quic_conn *conn, enum evict_line line)
{
	struct evict_queue *queue = queue_of(conn, line);

	if (queue == NULL)
		return;
	conn->evict[line].order->nfresh += conn->evict_rank == EVICT_FRESH;
	if (line == EVICT_ALL)
		TAILQ_INSERT_TAIL(queue, conn, evict[EVICT_ALL].entry);
	else
		TAILQ_INSERT_TAIL(queue, conn, evict[EVICT_SOURCE].entry);
}

static void
quit(struct quic_conn *conn, enum evict_line line)
{
	struct evict_queue *queue = queue_of(conn, line);

	if (queue == NULL)
		return;
	conn->evict[line].order->nfresh -= conn->evict_rank == EVICT_FRESH;
	if (line == EVICT_ALL)
		TAILQ_REMOVE(queue, conn, evict[EVICT_ALL].entry);
	else
		TAILQ_REMOVE(queue, conn, evict[EVICT_SOURCE].entry);
}

void
evict_join(struct quic_conn *conn, enum evict_line line,
    struct evict_order *order)
{
	conn->evict[line].order = order;
	enter(conn, line);
}

void
evict_leave(struct quic_conn *conn)
{
	for (int line = 0; line < EVICT_LINES; line++) {
		quit(conn, line);
		conn->evict[line].order = NULL;
	}
}

static void
set_rank(struct quic_conn *conn, enum evict_rank rank)
{
	if (conn->evict_rank == rank)
		return;
	for (int line = 0; line < EVICT_LINES; line++)
		quit(conn, line);
	conn->evict_rank = rank;
	for (int line = 0; line < EVICT_LINES; line++)
		enter(conn, line);
}

void
evict_admitted(struct quic_conn *conn)
{
	set_rank(conn, EVICT_BUSY);
}

void
evict_note(struct quic_conn *conn, uint64_t now)
{
	if (conn->evict_rank == EVICT_FRESH)
		return;
	if (conn->nstreams == 0 && conn->evict_rank == EVICT_BUSY)
		conn->rested_at = now;
	set_rank(conn, conn->nstreams == 0 ? EVICT_RESTING : EVICT_BUSY);
}

/* A request may have come of which nothing was noted yet. */
static struct quic_conn *
first_resting(const struct evict_order *order)
{
	struct quic_conn *conn;

	while ((conn = TAILQ_FIRST(&order->resting)) != NULL &&
	    conn->nstreams > 0)
		set_rank(conn, EVICT_BUSY);
	return conn;
}

struct quic_conn *
evict_first(const struct evict_order *order, size_t places, bool full,
    uint64_t now)
{
	struct quic_conn *conn = TAILQ_FIRST(&order->fresh);

	if (conn != NULL && (order->nfresh >= FRESH_SHARE(places) ||
	    now >= conn->began_at + FRESH_MIN))
		return conn;
	if (!full)
		return NULL;
	conn = first_resting(order);
	return conn != NULL && now >= conn->rested_at + REST_MIN ? conn : NULL;
}
