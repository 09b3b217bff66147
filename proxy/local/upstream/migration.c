/*
 * What a connection does in trouble, one check of its path after another:
 *
 *   network changed ─┐
 *   resumed ─────────┼▶ check ─ no route ───────▶ wait, and check again
 *   silence ─────────┘    ├──── other address ──▶ migrate to it
 *                         └──── same address ───▶ PING ─ silence ─▶
 *                                       new port ─ silence ─▶ give up
 *
 * While the present network works, the new path is validated before the
 * connection uses it; when the network is gone, the connection moves at once.
 * If the edge forbids migration, the connection stays on its network while
 * that exists. Nothing is done from inside the connection's events: they only
 * make the timer due.
 */
#include "proxy/local/upstream/migration.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#include "proxy/base/addr.h"
#include "proxy/base/log.h"

/*
 * Milliseconds of silence, counted from its report while there is a route to
 * the edge: until a new port is tried, which helps if a NAT or a firewall has
 * dropped its state for the old one; and until the connection is given up,
 * which is before a person gives up, and well after a tunnel through a mountain
 * or a lift.
 */
#define NEW_PORT_MS 2000
#define GIVE_UP_MS 14000

/* Milliseconds between checks for a route that the kernel does not report. */
#define ROUTE_CHECK_MS 1000

/* Milliseconds until a migration that could not begin is tried again. */
#define BEGIN_RETRY_MS 50

/*
 * Milliseconds until a network that failed while another works is tried again,
 * at first and at most: it may be coming up, or require a log-in.
 */
#define RETRY_FIRST_MS 1000
#define RETRY_MAX_MS 60000

/*
 * Between two migrations: at least so many milliseconds, and round trips. The
 * edge must have issued new connection IDs, and ngtcp2 1.11 miscounts those of
 * a client that migrates faster.
 */
#define MOVE_INTERVAL_MS 250
#define MOVE_INTERVAL_RTTS 3

/* Milliseconds that packets may be under way to the socket that was left. */
#define CLOSE_OLD_MS 3000

#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

struct migration {
	uv_loop_t *loop;
	struct quic_io *io;
	struct quic_conn *conn;
	const struct migration_events *events;
	void *arg;
	uv_timer_t timer;
	bool ended; /* gave_up has fired */

	/* Milliseconds of the loop's clock; UINT64_MAX: not due. */
	uint64_t check_at;
	uint64_t next_move_at; /* no migration before then */
	uint64_t close_old_at; /* the sockets that were left */

	bool verify;	  /* the next check pings the edge */
	bool no_route;	  /* at the last check */
	bool left_behind; /* reported to the owner */

	bool validating;		   /* a migration is under way ... */
	bool immediate;			   /* ... and the old path is gone */
	struct sockaddr_storage new_local; /* of the new path */
	uint64_t retry_ms; /* until the next attempt, if it fails */

	bool silent;
	bool edge_answers; /* on another connection, meanwhile */
	uint64_t silent_since;
	uint64_t packets_seen; /* received when the silence began */
};

static bool
same_ip(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;

	if (a->ss_family != b->ss_family)
		return false;
	return a->ss_family == AF_INET6
	    ? IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr)
	    : a4->sin_addr.s_addr == b4->sin_addr.s_addr;
}

static const char *
format(const struct sockaddr_storage *ss, char buf[ADDR_STRLEN])
{
	return addr_format((const struct sockaddr *)ss, buf);
}

/* ---- The timer ---- */

static void on_timer(uv_timer_t *);

static void
sooner(uint64_t *at, uint64_t other)
{
	if (other < *at)
		*at = other;
}

static void
start_timer(struct migration *m)
{
	uint64_t now = uv_now(m->loop), at = m->check_at;

	sooner(&at, m->close_old_at);
	if (m->ended || at == UINT64_MAX)
		uv_timer_stop(&m->timer);
	else
		uv_timer_start(&m->timer, on_timer, at > now ? at - now : 0, 0);
}

static void
check_in(struct migration *m, uint64_t ms)
{
	sooner(&m->check_at, uv_now(m->loop) + ms);
	start_timer(m);
}

static void
give_up(struct migration *m, const char *why)
{
	if (m->ended)
		return;
	m->ended = true;
	uv_timer_stop(&m->timer);
	m->events->gave_up(m->arg, why);
}

/* ---- Migrations ---- */

static void
set_next_move(struct migration *m, const struct quic_stats *before)
{
	uint64_t ms = MOVE_INTERVAL_RTTS * before->rtt_ns / NS_PER_MS;

	m->next_move_at = uv_now(m->loop) +
	    (ms > MOVE_INTERVAL_MS ? ms : MOVE_INTERVAL_MS);
}

/* The edge forbids it, which does no harm while the old network exists. */
static void
move_forbidden(struct migration *m, const struct sockaddr_storage *local,
    bool at_once)
{
	if (at_once)
		give_up(m,
		    "the network has changed, and the edge does not "
		    "support connection migration");
	else if (!m->left_behind &&
	    !same_ip(local, &quic_conn_path(m->conn)->local)) {
		m->left_behind = true;
		m->events->left_behind(m->arg);
	}
}

/* To `local`, which the kernel has just chosen for a new socket. */
static void
move(struct migration *m, const struct sockaddr_storage *local, bool at_once)
{
	struct quic_stats before;
	int rv;

	if (uv_now(m->loop) < m->next_move_at) {
		check_in(m, m->next_move_at - uv_now(m->loop));
		return;
	}
	quic_conn_stats(m->conn, &before);
	rv = quic_io_migrate(m->io, at_once);
	switch (rv) {
	case 0:
		m->validating = true;
		m->immediate = at_once;
		m->new_local = *local;
		m->verify = false;
		set_next_move(m, &before);
		break;
	case -EPERM:
		move_forbidden(m, local, at_once);
		break;
	case -ENOTCONN:
		give_up(m, "the network has changed");
		break;
	case -EAGAIN:
		check_in(m, BEGIN_RETRY_MS);
		break;
	default:
		check_in(m, ROUTE_CHECK_MS);
		break;
	}
}

void
migration_migrated(struct migration *m, bool valid)
{
	char name[ADDR_STRLEN];

	if (m == NULL || m->ended)
		return;
	m->validating = false;
	if (valid) {
		log_info("moved: the edge is now reached from %s",
		    format(&m->new_local, name));
		m->silent = false;
		m->retry_ms = RETRY_FIRST_MS;
		m->close_old_at = uv_now(m->loop) + CLOSE_OLD_MS;
		start_timer(m);
		return;
	}
	log_debug("the edge cannot be reached from %s",
	    format(&m->new_local, name));
	if (m->immediate || m->silent) {
		check_in(m, 0);
		return;
	}
	check_in(m, m->retry_ms);
	m->retry_ms = 2 * m->retry_ms < RETRY_MAX_MS ? 2 * m->retry_ms
						     : RETRY_MAX_MS;
}

/* ---- Checks ---- */

/* Ends the silence if packets have come since it began. */
static void
note_packets(struct migration *m)
{
	struct quic_stats stats;

	if (!m->silent)
		return;
	quic_conn_stats(m->conn, &stats);
	if (stats.packets_received != m->packets_seen)
		m->silent = false;
}

static bool
is_silent_for(const struct migration *m, uint64_t ms)
{
	return m->silent && uv_now(m->loop) >= m->silent_since + ms;
}

/* Without a route, silence is not the edge's fault: it counts anew later. */
static void
wait_for_route(struct migration *m, int error)
{
	char text[QUIC_ERROR_MAX];

	if (!m->no_route)
		log_info("no route to the edge (%s); waiting for one",
		    quic_via_error(quic_io_via(m->io), error, text));
	m->no_route = true;
	m->verify = true;
	m->silent_since = uv_now(m->loop);
	check_in(m, ROUTE_CHECK_MS);
}

/* The local address is right: does the edge still answer? */
static void
check_edge(struct migration *m, const struct sockaddr_storage *here)
{
	if (is_silent_for(m, m->edge_answers ? 0 : NEW_PORT_MS)) {
		if (!m->validating)
			move(m, here, false);
	} else if (m->verify) {
		quic_conn_ping(m->conn);
		quic_conn_reprobe(m->conn, quic_io_now());
		m->verify = false;
	}
}

/* While the silence lasts: schedules the next step. */
static void
schedule_check(struct migration *m)
{
	if (!m->silent || m->ended)
		return;
	if (!is_silent_for(m, NEW_PORT_MS))
		check_in(m, m->silent_since + NEW_PORT_MS - uv_now(m->loop));
	else
		check_in(m, ROUTE_CHECK_MS);
}

static void
check(struct migration *m)
{
	const struct quic_path *path = quic_conn_path(m->conn);
	struct quic_path wanted;
	bool stranded;
	int rv;

	note_packets(m);
	if ((rv = quic_io_new_path(m->io, &wanted)) != 0) {
		wait_for_route(m, rv);
		return;
	}
	m->no_route = false;
	if (is_silent_for(m, GIVE_UP_MS)) {
		give_up(m, "the edge is silent");
		return;
	}
	stranded = quic_io_path_is_down(m->io);
	if (!stranded && same_ip(&wanted.local, &path->local))
		check_edge(m, &wanted.local);
	else if (!m->validating || !same_ip(&wanted.local, &m->new_local) ||
	    (stranded && !m->immediate))
		move(m, &wanted.local, stranded);
	schedule_check(m);
}

static void
on_timer(uv_timer_t *timer)
{
	struct migration *m = timer->data;
	uint64_t now = uv_now(m->loop);

	if (m->close_old_at <= now) {
		m->close_old_at = UINT64_MAX;
		if (!m->validating)
			quic_io_close_unused(m->io);
	}
	if (m->check_at <= now) {
		m->check_at = UINT64_MAX;
		check(m);
	}
	start_timer(m);
}

void
migration_network_changed(struct migration *m)
{
	if (m == NULL || m->ended)
		return;
	m->verify = true;
	m->retry_ms = RETRY_FIRST_MS;
	check_in(m, 0);
}

void
migration_edge_answers(struct migration *m)
{
	if (m == NULL || m->ended || !m->silent)
		return;
	m->edge_answers = true;
	check_in(m, 0);
}

void
migration_resumed(struct migration *m, uint64_t ns)
{
	char why[80];

	if (m == NULL || m->ended)
		return;
	if (ns >= quic_conn_idle_ns(m->conn)) {
		snprintf(why, sizeof(why),
		    "this machine slept for %llu s, "
		    "longer than the idle time-out",
		    (unsigned long long)(ns / NS_PER_S));
		give_up(m, why);
		return;
	}
	migration_network_changed(m);
}

void
migration_silent(struct migration *m)
{
	struct quic_stats stats;

	if (m == NULL || m->ended)
		return;
	quic_conn_stats(m->conn, &stats);
	m->silent = true;
	m->edge_answers = false;
	m->silent_since = uv_now(m->loop);
	m->packets_seen = stats.packets_received;
	m->verify = true;
	check_in(m, 0);
}

/* ---- Life ---- */

int
migration_new(struct migration **out, uv_loop_t *loop, struct quic_io *io,
    struct quic_conn *conn, const struct migration_events *events, void *arg)
{
	struct migration *m = calloc(1, sizeof(*m));

	if (m == NULL)
		return -ENOMEM;
	m->loop = loop;
	m->io = io;
	m->conn = conn;
	m->events = events;
	m->arg = arg;
	m->check_at = m->close_old_at = UINT64_MAX;
	m->retry_ms = RETRY_FIRST_MS;
	uv_timer_init(loop, &m->timer);
	m->timer.data = m;
	*out = m;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void
migration_free(struct migration *m)
{
	if (m == NULL)
		return;
	m->ended = true;
	uv_close((uv_handle_t *)&m->timer, on_closed);
}
