/*
 * The ladder that a connection climbs in trouble, one look after another:
 *
 *   network changed ─┐
 *   slept ───────────┼▶ look ─ no way ─────────▶ wait, and look again
 *   silence ─────────┘    ├─── other address ──▶ move there
 *                         └─── same address ───▶ PING ─ silence ─▶
 *                                     a fresh port ─ silence ─▶ give up
 *
 * Whoever moves for a better network while the present one works validates
 * first; whose network is gone moves at once. Where the edge allows no moves the
 * connection stays on its network while there is one. Nothing is done from
 * inside the connection's events: they only make the timer due.
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
 * Milliseconds of silence, counted from its telling while there is a way to the
 * edge: to a fresh port, which helps where a NAT or a firewall has forgotten
 * the old one; and to the end, which comes before a person gives up, and well
 * after a tunnel through a mountain or a lift.
 */
#define FRESH_MS 2000
#define GIVE_UP_MS 14000

/* Milliseconds between looks for a way, should the kernel not tell. */
#define WAIT_MS 1000

/* Milliseconds until a move that could not begin is tried again. */
#define RETRY_MS 50

/*
 * Milliseconds until a network that failed beside a good one is tried again, at
 * first and at most: it may only just come up, or want somebody to log in.
 */
#define FAILED_FIRST_MS 1000
#define FAILED_MAX_MS 60000

/*
 * Between two moves: at least so many milliseconds, and round trips. The edge
 * must have given new connection IDs, and ngtcp2 1.11 miscounts those of a
 * client that moves faster.
 */
#define REST_MS 250
#define REST_ROUND_TRIPS 3

/* Milliseconds that packets may be under way to the socket that was left. */
#define TIDY_MS 3000

#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

struct migration {
	uv_loop_t *loop;
	struct quic_io *io;
	struct quic_conn *conn;
	const struct migration_events *events;
	void *arg;
	uv_timer_t timer;
	bool over; /* it was given up */

	/* Milliseconds of the loop's clock; UINT64_MAX: not due. */
	uint64_t look_at;
	uint64_t rest_until; /* no move before then */
	uint64_t tidy_at;

	bool verify;	/* the next look asks who is there */
	bool no_way;	/* the last look found none */
	bool left_behind; /* the owner knows */

	bool moving;	/* a move is to be validated ... */
	bool at_once;	/* ... and nothing is left to go back to */
	struct sockaddr_storage target; /* our address that it is to */
	uint64_t failed_ms; /* until the next try, if it fails */

	bool silent;
	bool others_hear; /* meanwhile: it is not the edge's silence */
	uint64_t silent_since;
	uint64_t heard; /* packets received when it began */
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

/* ---- When to do something ---- */

static void on_timer(uv_timer_t *);

static void
sooner(uint64_t *at, uint64_t other)
{
	if (other < *at)
		*at = other;
}

static void
arm(struct migration *roam)
{
	uint64_t now = uv_now(roam->loop), at = roam->look_at;

	sooner(&at, roam->tidy_at);
	if (roam->over || at == UINT64_MAX)
		uv_timer_stop(&roam->timer);
	else
		uv_timer_start(&roam->timer, on_timer, at > now ? at - now : 0,
		    0);
}

static void
look_in(struct migration *roam, uint64_t ms)
{
	sooner(&roam->look_at, uv_now(roam->loop) + ms);
	arm(roam);
}

static void
give_up(struct migration *roam, const char *why)
{
	if (roam->over)
		return;
	roam->over = true;
	uv_timer_stop(&roam->timer);
	roam->events->gave_up(roam->arg, why);
}

/* ---- Moves ---- */

static void
begin_rest(struct migration *roam, const struct quic_stats *before)
{
	uint64_t ms = REST_ROUND_TRIPS * before->rtt_ns / NS_PER_MS;

	roam->rest_until = uv_now(roam->loop) + (ms > REST_MS ? ms : REST_MS);
}

/* The edge forbids it. That is no loss while the old network is there. */
static void
stay_behind(
    struct migration *roam, const struct sockaddr_storage *target, bool at_once)
{
	if (at_once)
		give_up(roam, "the network has changed, and the edge does not "
		    "support connection migration");
	else if (!roam->left_behind &&
	    !same_ip(target, &quic_conn_path(roam->conn)->local)) {
		roam->left_behind = true;
		roam->events->left_behind(roam->arg);
	}
}

/* `target` is what the kernel has just told; a fresh port is there already. */
static void
move(
    struct migration *roam, const struct sockaddr_storage *target, bool at_once)
{
	struct quic_stats before;
	int rv;

	if (uv_now(roam->loop) < roam->rest_until) {
		look_in(roam, roam->rest_until - uv_now(roam->loop));
		return;
	}
	quic_conn_stats(roam->conn, &before);
	rv = quic_io_migrate(roam->io, at_once);
	switch (rv) {
	case 0:
		roam->moving = true;
		roam->at_once = at_once;
		roam->target = *target;
		roam->verify = false;
		begin_rest(roam, &before);
		break;
	case -EPERM:
		stay_behind(roam, target, at_once);
		break;
	case -ENOTCONN:
		give_up(roam, "the network has changed");
		break;
	case -EAGAIN:
		look_in(roam, RETRY_MS);
		break;
	default:
		look_in(roam, WAIT_MS);
		break;
	}
}

void
migration_migrated(struct migration *roam, bool valid)
{
	char name[ADDR_STRLEN];

	if (roam == NULL || roam->over)
		return;
	roam->moving = false;
	if (valid) {
		log_info("moved: the edge is now reached from %s",
		    format(&roam->target, name));
		roam->silent = false;
		roam->failed_ms = FAILED_FIRST_MS;
		roam->tidy_at = uv_now(roam->loop) + TIDY_MS;
		arm(roam);
		return;
	}
	log_debug("the edge cannot be reached from %s",
	    format(&roam->target, name));
	if (roam->at_once || roam->silent) {
		look_in(roam, 0);
		return;
	}
	look_in(roam, roam->failed_ms);
	roam->failed_ms = 2 * roam->failed_ms < FAILED_MAX_MS
	    ? 2 * roam->failed_ms : FAILED_MAX_MS;
}

/* ---- Looks ---- */

/* Something has come since the silence began. */
static void
hear(struct migration *roam)
{
	struct quic_stats stats;

	if (!roam->silent)
		return;
	quic_conn_stats(roam->conn, &stats);
	if (stats.packets_received != roam->heard)
		roam->silent = false;
}

/* The silence has lasted long enough for that. */
static bool
is_silent_for(const struct migration *roam, uint64_t ms)
{
	return roam->silent &&
	    uv_now(roam->loop) >= roam->silent_since + ms;
}

/* There is no way: that is not the edge's silence, and will pass. */
static void
wait_for_way(struct migration *roam, int error)
{
	char text[QUIC_ERROR_MAX];

	if (!roam->no_way)
		log_info("no route to the edge (%s); waiting for one",
		    quic_via_error(quic_io_via(roam->io), error, text));
	roam->no_way = true;
	roam->verify = true;
	roam->silent_since = uv_now(roam->loop);
	look_in(roam, WAIT_MS);
}

/* We are where the kernel would have us: is the edge still there, too? */
static void
stay(struct migration *roam, const struct sockaddr_storage *here)
{
	if (is_silent_for(roam, roam->others_hear ? 0 : FRESH_MS)) {
		if (!roam->moving)
			move(roam, here, false);
	} else if (roam->verify) {
		quic_conn_ping(roam->conn);
		quic_conn_reprobe(roam->conn, quic_io_now());
		roam->verify = false;
	}
}

/* The silence goes on: when is the next step due? */
static void
look_on(struct migration *roam)
{
	if (!roam->silent || roam->over)
		return;
	if (!is_silent_for(roam, FRESH_MS))
		look_in(roam, roam->silent_since + FRESH_MS -
		    uv_now(roam->loop));
	else
		look_in(roam, WAIT_MS);
}

static void
look(struct migration *roam)
{
	const struct quic_path *path = quic_conn_path(roam->conn);
	struct quic_path way;
	bool stranded;
	int rv;

	hear(roam);
	if ((rv = quic_io_way(roam->io, &way)) != 0) {
		wait_for_way(roam, rv);
		return;
	}
	roam->no_way = false;
	if (is_silent_for(roam, GIVE_UP_MS)) {
		give_up(roam, "the edge is silent");
		return;
	}
	stranded = quic_io_is_stranded(roam->io);
	if (!stranded && same_ip(&way.local, &path->local))
		stay(roam, &way.local);
	else if (!roam->moving || !same_ip(&way.local, &roam->target) ||
	    (stranded && !roam->at_once))
		move(roam, &way.local, stranded);
	look_on(roam);
}

static void
on_timer(uv_timer_t *timer)
{
	struct migration *roam = timer->data;
	uint64_t now = uv_now(roam->loop);

	if (roam->tidy_at <= now) {
		roam->tidy_at = UINT64_MAX;
		if (!roam->moving)
			quic_io_tidy(roam->io);
	}
	if (roam->look_at <= now) {
		roam->look_at = UINT64_MAX;
		look(roam);
	}
	arm(roam);
}

void
migration_network_changed(struct migration *roam)
{
	if (roam == NULL || roam->over)
		return;
	roam->verify = true;
	roam->failed_ms = FAILED_FIRST_MS;
	look_in(roam, 0);
}

void
migration_edge_answers(struct migration *roam)
{
	if (roam == NULL || roam->over || !roam->silent)
		return;
	roam->others_hear = true;
	look_in(roam, 0);
}

void
migration_slept(struct migration *roam, uint64_t ns)
{
	char why[80];

	if (roam == NULL || roam->over)
		return;
	if (ns >= quic_conn_idle_ns(roam->conn)) {
		snprintf(why, sizeof(why), "this machine slept for %llu s, "
		    "longer than the idle time-out",
		    (unsigned long long)(ns / NS_PER_S));
		give_up(roam, why);
		return;
	}
	migration_network_changed(roam);
}

void
migration_silent(struct migration *roam)
{
	struct quic_stats stats;

	if (roam == NULL || roam->over)
		return;
	quic_conn_stats(roam->conn, &stats);
	roam->silent = true;
	roam->others_hear = false;
	roam->silent_since = uv_now(roam->loop);
	roam->heard = stats.packets_received;
	roam->verify = true;
	look_in(roam, 0);
}

/* ---- Life ---- */

int
migration_new(struct migration **out, uv_loop_t *loop, struct quic_io *io,
    struct quic_conn *conn, const struct migration_events *events, void *arg)
{
	struct migration *roam = calloc(1, sizeof(*roam));

	if (roam == NULL)
		return -ENOMEM;
	roam->loop = loop;
	roam->io = io;
	roam->conn = conn;
	roam->events = events;
	roam->arg = arg;
	roam->look_at = roam->tidy_at = UINT64_MAX;
	roam->failed_ms = FAILED_FIRST_MS;
	uv_timer_init(loop, &roam->timer);
	roam->timer.data = roam;
	*out = roam;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void
migration_free(struct migration *roam)
{
	if (roam == NULL)
		return;
	roam->over = true;
	uv_close((uv_handle_t *)&roam->timer, on_closed);
}
