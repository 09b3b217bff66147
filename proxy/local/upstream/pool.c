/*
 * The pool of edges.
 *
 *	clients ──▶ tunnel_queue.c: requests that wait or were sent
 *	                │
 *	failover.c ──▶ pool.c: a step ──▶ upstream_edge.c: one edge
 *	which edge                         ├──▶ edge_attempts.c: connects to it
 *	                                   └──▶ connection.c: a connection
 *
 * Any event (a client asks, a handshake ends, a connection is lost, a timer)
 * makes a step due in the next loop iteration. A step looks at everything and
 * does what follows, so that no order of events is special, and nothing is
 * freed from inside its own calls.
 */
#include "proxy/local/upstream/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/upstream/netlink.h"
#include "proxy/local/upstream/suspend.h"
#include "proxy/local/upstream/tunnel_queue.h"
#include "proxy/local/upstream/upstream_edge.h"
#include "proxy/base/log.h"
#include "quic/io.h"

/*
 * Milliseconds that the first request waits for a stream before a further
 * connection is made: longer than it takes until some of a page's requests end,
 * and shorter than a person notices.
 */
#define STREAM_WAIT_MS 250

/*
 * For so many milliseconds after a request the connections are asked what their
 * lines lose: a page's next requests come within seconds.
 */
#define LEARN_MS 10000

/* Milliseconds after the last request that connections are kept for more. */
#define WANTED_MS 30000

struct pool {
	struct outbound outbound;
	struct connection_context context;
	size_t connections_max; /* to one edge */
	size_t spread_max;	/* the same, on a lossy line */
	uint64_t requested_ms;	/* the last request, or 0 */
	struct tunnel_queue requests;
	struct failover failover;
	struct upstream_edge
	    *upstreams[POOL_EDGES_MAX]; /* in order of preference */
	size_t nupstreams;
	struct upstream_edge_list all; /* with those that were removed */

	struct upstream_edge *tried;  /* last, or NULL */
	struct upstream_edge *served; /* it got the last tunnels, or NULL */
	struct connect_error why;     /* the last failure */
	uint64_t connections;	      /* that have served, since the start */

	struct netlink *netlink; /* NULL: not available */
	struct suspend *suspend;

	uv_timer_t step;
	bool step_due;	   /* at once */
	bool reconnecting; /* the step first closes all connections */
	bool closing, timer_closed;
};

static void
sooner(uint64_t *at, uint64_t other)
{
	if (other < *at)
		*at = other;
}

static void on_step(uv_timer_t *);

static void
make_due(struct pool *p)
{
	if (!p->step_due)
		uv_timer_start(&p->step, on_step, 0, 0);
	p->step_due = true;
}

/* The edge that gets the new tunnels, or NULL. */
static struct upstream_edge *
active(const struct pool *p)
{
	int i = p->failover.active;

	return i >= 0 ? p->upstreams[i] : NULL;
}

/* ---- The active edge ---- */

static void
note_active(struct pool *p, struct upstream_edge *u)
{
	struct connection *c = upstream_edge_best(u);
	char edge[TARGET_STRLEN];

	if (!c->has_served)
		p->connections++;
	c->has_served = true;
	if (p->served != NULL && p->served != u) {
		target_format(&u->edge, edge, sizeof(edge));
		log_info("new tunnels go to edge %s", edge);
	}
	p->served = u;
	p->why.text[0] = '\0';
}

/*
 * The active edge works, so those after it are not needed any more, and
 * suspect connections are replaced. Tunnels stay where they are.
 */
static void
drain_others(struct pool *p, const struct upstream_edge *best)
{
	struct connection *c;
	struct upstream_edge *u;

	for (size_t i = 0; i < p->nupstreams; i++) {
		u = p->upstreams[i];
		if (i > best->index)
			upstream_edge_cancel(u);
		TAILQ_FOREACH(c, &u->connections, entry) {
			if (c->state != CONNECTION_UP ||
			    (i <= best->index && !c->suspect))
				continue;
			if (c->suspect)
				tunnel_queue_requeue(&p->requests, c->conn);
			connection_drain(c);
			make_due(p); /* if it has no tunnel, it ends now */
		}
	}
}

/* Sends up to `max` requests. False: the connection cannot send any. */
static bool
send_requests(struct pool *p, struct connection *c, size_t max)
{
	size_t before;
	int rv;

	if (p->requests.nwaiting == 0 || c->at_stream_limit)
		return true;
	before = p->requests.nwaiting;
	rv = tunnel_queue_send(&p->requests, c->conn, max);
	c->carried |= p->requests.nwaiting < before;
	c->at_stream_limit = rv == -EAGAIN;
	return rv == 0 || rv == -EAGAIN;
}

static bool
is_better(const struct connection *c, const struct connection *than)
{
	bool worn = edge_losses_is_worn(c);

	if (than == NULL)
		return true;
	return worn != edge_losses_is_worn(than)
	    ? !worn
	    : connection_tunnels(c) <= connection_tunnels(than);
}

/*
 * The connection for the next request on a lossy line: the one with the fewest
 * tunnels that is not worn. NULL: none has room.
 */
static struct connection *
best_to_spread(const struct upstream_edge *u, bool suspect)
{
	struct connection *c, *best = NULL;

	TAILQ_FOREACH(c, &u->connections, entry)
		if (c->state == CONNECTION_UP && c->suspect == suspect &&
		    !c->at_stream_limit && is_better(c, best))
			best = c;
	return best;
}

/* Whether there are too few connections that are not worn. */
static bool
needs_more(const struct upstream_edge *u)
{
	const struct connection *c;
	size_t fresh = 0;

	TAILQ_FOREACH(c, &u->connections, entry)
		fresh += c->state == CONNECTION_UP && !edge_losses_is_worn(c);
	return u->wanted > 1 && fresh < u->wanted;
}

static void
spread_requests(struct pool *p, struct upstream_edge *u, bool suspect)
{
	struct connection *c;

	while (p->requests.nwaiting > 0 &&
	    (c = best_to_spread(u, suspect)) != NULL)
		if (!send_requests(p, c, 1))
			return;
}

/* Makes the connections over which tunnels are to be spread, in turn. */
static void
add_to_spread(struct pool *p, struct upstream_edge *u, uint64_t now,
    uint64_t *at)
{
	if (p->spread_max == 1 || now >= p->requested_ms + LEARN_MS)
		return;
	sooner(at, now + EDGE_LOSSES_INTERVAL_MS);
	if (needs_more(u) && upstream_edge_may_add(u, now, at))
		upstream_edge_connect(u, now);
}

/*
 * Requests that still wait do so for a stream. When the first has waited for
 * long, a further connection makes room.
 */
static void
add_connection(struct pool *p, struct upstream_edge *u, uint64_t now,
    uint64_t *at)
{
	uint64_t first = tunnel_queue_waiting_since(&p->requests);

	if (first == UINT64_MAX || !upstream_edge_best(u)->at_stream_limit ||
	    upstream_edge_count(u) >= p->connections_max)
		return;
	if (now < first + STREAM_WAIT_MS)
		sooner(at, first + STREAM_WAIT_MS);
	else if (upstream_edge_may_add(u, now, at))
		upstream_edge_connect(u, now);
}

/* Connections over which new tunnels are spread: 1 unless the line is lossy. */
static size_t
wanted(const struct pool *p, struct upstream_edge *u,
    const struct connection *best, uint64_t now)
{
	if (p->spread_max == 1 || now >= p->requested_ms + WANTED_MS)
		return 1;
	edge_losses_learn(&u->losses, &u->connections, now);
	return edge_losses_is_lossy(&u->losses, best) ? p->spread_max : 1;
}

/* Sends the requests that wait on the connections of the active edge. */
static void
serve(struct pool *p, uint64_t now, uint64_t *at)
{
	struct connection *c, *best;
	struct upstream_edge *u;

	if (failover_active(&p->failover, now, at) < 0)
		return;
	u = active(p);
	best = upstream_edge_best(u);
	note_active(p, u);
	if (edge_silence_works(best, now, at))
		drain_others(p, u);
	u->wanted = wanted(p, u, best, now);
	if (u->wanted > 1)
		spread_requests(p, u, best->suspect);
	TAILQ_FOREACH(c, &u->connections, entry)
		if (c->state == CONNECTION_UP && c->suspect == best->suspect)
			send_requests(p, c, SIZE_MAX);
	add_to_spread(p, u, now, at);
	add_connection(p, u, now, at);
}

/* ---- The step ---- */

/* Frees upstreams that were removed and are closed. */
static void
step_upstreams(struct pool *p, uint64_t now, uint64_t *at)
{
	struct upstream_edge *u, *next;

	for (u = TAILQ_FIRST(&p->all); u != NULL; u = next) {
		next = TAILQ_NEXT(u, entry);
		if (upstream_edge_step(u, now, at) && !u->removed)
			connect_error_set(&p->why, CONNECT_ERROR_EDGE_UNUSABLE,
			    u->why);
		if (!u->removed || !upstream_edge_is_closed(u))
			continue;
		TAILQ_REMOVE(&p->all, u, entry);
		upstream_edge_free(u);
	}
}

static void
connect_upstreams(struct pool *p, uint64_t now, uint64_t *at)
{
	const struct upstream_edge *u = active(p);
	bool clients_wait = p->requests.nwaiting > 0 ||
	    (u != NULL && p->failover.edges[u->index].suspect);
	int i;

	while ((i = failover_next(&p->failover, now, clients_wait, at)) >= 0) {
		p->tried = p->upstreams[i];
		upstream_edge_connect(p->tried, now);
	}
}

/* The last failure, as the error of a request. */
static void
explain(const struct pool *p, struct connect_error *error,
    enum connect_error_type type)
{
	char text[CONNECT_ERROR_TEXT_MAX];

	snprintf(text, sizeof(text), "there is no connection to the edge: %.*s",
	    CONNECT_ERROR_TEXT_MAX - 64,
	    p->why.text[0] != '\0' ? p->why.text : "it does not answer");
	connect_error_set(error, type, text);
}

/* Refuses the requests that need not wait any longer. */
static void
refuse(struct pool *p, uint64_t now, uint64_t *at)
{
	struct connect_error error;

	if (failover_all_failed(&p->failover)) {
		explain(p, &error, CONNECT_ERROR_EDGE_UNUSABLE);
		tunnel_queue_refuse(&p->requests, &error);
	}
	if (active(p) != NULL)
		connect_error_set(&error, CONNECT_ERROR_EDGE_STREAM_LIMIT,
		    "the edge allows no more tunnels at this time");
	else
		explain(p, &error, CONNECT_ERROR_EDGE_TIMEOUT);
	tunnel_queue_expire(&p->requests, now, &error);
	sooner(at, tunnel_queue_deadline(&p->requests));
}

static void
end_all(struct pool *p, const char *why)
{
	struct upstream_edge *u;

	TAILQ_FOREACH(u, &p->all, entry)
		upstream_edge_close(u, why);
	failover_init(&p->failover, p->nupstreams, arc4random_uniform);
}

static void
on_step(uv_timer_t *timer)
{
	struct pool *p = timer->data;
	uint64_t now = uv_now(p->context.loop), at = UINT64_MAX;

	p->step_due = false;
	if (p->reconnecting) {
		log_info("closing all connections on request");
		end_all(p, "reconnecting on request");
	}
	p->reconnecting = false;
	step_upstreams(p, now, &at);
	serve(p, now, &at);
	connect_upstreams(p, now, &at);
	refuse(p, now, &at);
	if (!p->step_due && at != UINT64_MAX)
		uv_timer_start(&p->step, on_step, at > now ? at - now : 0, 0);
}

/* ---- Events of the system ---- */

/* `suspended_ns` 0: the network has changed. */
static void
notify(struct connection_list *list, uint64_t suspended_ns)
{
	struct connection *c;

	TAILQ_FOREACH(c, list, entry)
		if (suspended_ns > 0)
			connection_resumed(c, suspended_ns);
		else
			connection_network_changed(c);
}

/* What has failed before may work now: try it again at once. */
static void
on_system_event(struct pool *p, uint64_t suspended_ns)
{
	struct upstream_edge *u;

	failover_reset_backoff(&p->failover);
	TAILQ_FOREACH(u, &p->all, entry) {
		upstream_edge_forget_failures(u);
		notify(&u->connections, suspended_ns);
		notify(&u->edge_attempts.attempts, suspended_ns);
	}
	make_due(p);
}

static void
on_network_changed(void *arg)
{
	on_system_event(arg, 0);
}

static void
on_resumed(void *arg, uint64_t ns)
{
	on_system_event(arg, ns);
}

/* Without it, a change is noticed only when the edge falls silent. */
static void
watch_system(struct pool *p)
{
	uv_loop_t *loop = p->context.loop;
	int rv;

	if ((rv = netlink_new(&p->netlink, loop, on_network_changed, p)) != 0)
		log_warn("the kernel does not report network changes (%s); "
			 "culvert will notice them later",
		    strerror(-rv));
	if ((rv = suspend_new(&p->suspend, loop, on_resumed, p)) != 0)
		log_warn("the kernel does not report when this machine has "
			 "slept (%s)",
		    strerror(-rv));
}

/* ---- Life ---- */

static void
free_if_done(struct pool *p)
{
	struct upstream_edge *u;

	if (!p->timer_closed)
		return;
	TAILQ_FOREACH(u, &p->all, entry)
		if (!upstream_edge_is_closed(u))
			return;
	while ((u = TAILQ_FIRST(&p->all)) != NULL) {
		TAILQ_REMOVE(&p->all, u, entry);
		upstream_edge_free(u);
	}
	free(p);
}

static void
on_changed(void *arg)
{
	struct pool *p = arg;

	if (p->closing)
		free_if_done(p);
	else
		make_due(p);
}

/* The upstream of an edge that stays configured, or NULL. */
static struct upstream_edge *
find_upstream(struct pool *p, const struct target *edge)
{
	for (size_t i = 0; i < p->nupstreams; i++)
		if (p->upstreams[i]->removed &&
		    p->upstreams[i]->edge.port == edge->port &&
		    strcmp(p->upstreams[i]->edge.host, edge->host) == 0) {
			p->upstreams[i]->removed = false;
			return p->upstreams[i];
		}
	return NULL;
}

/* Finds or makes each edge's upstream; new ones go to the end of `all`. */
static int
make_upstreams(struct pool *p, const struct pool_settings *settings,
    struct upstream_edge *upstreams[POOL_EDGES_MAX])
{
	const struct pool_edge *edge;

	for (size_t i = 0; i < p->nupstreams; i++)
		p->upstreams[i]->removed = true;
	for (size_t i = 0; i < settings->nedges; i++) {
		edge = &settings->edges[i];
		if ((upstreams[i] = find_upstream(p, &edge->target)) != NULL)
			continue;
		if (upstream_edge_new(&upstreams[i], &p->context, &p->failover,
			i, &edge->target, edge->tls) != 0)
			return -ENOMEM;
		TAILQ_INSERT_TAIL(&p->all, upstreams[i], entry);
	}
	return 0;
}

/* After -ENOMEM: restores the upstreams from before. */
static void
unmake_upstreams(struct pool *p, const struct upstream_edge *last)
{
	struct upstream_edge *made;

	while ((made = TAILQ_LAST(&p->all, upstream_edge_list)) != last) {
		TAILQ_REMOVE(&p->all, made, entry);
		upstream_edge_free(made);
	}
	for (size_t i = 0; i < p->nupstreams; i++)
		p->upstreams[i]->removed = false;
}

static int
set_edges(struct pool *p, const struct pool_settings *settings)
{
	struct upstream_edge *upstreams[POOL_EDGES_MAX], *u;
	struct upstream_edge *last = TAILQ_LAST(&p->all, upstream_edge_list);

	if (make_upstreams(p, settings, upstreams) != 0) {
		unmake_upstreams(p, last);
		return -ENOMEM;
	}
	p->nupstreams = settings->nedges;
	memcpy(p->upstreams, upstreams, p->nupstreams * sizeof(upstreams[0]));
	failover_init(&p->failover, p->nupstreams, arc4random_uniform);
	for (size_t i = 0; i < p->nupstreams; i++)
		upstream_edge_update(upstreams[i], i, settings->edges[i].tls,
		    uv_now(p->context.loop));
	TAILQ_FOREACH(u, &p->all, entry)
		if (u->removed)
			upstream_edge_remove(u);
	p->tried = p->served = NULL;
	return 0;
}

static void
set_rest(struct pool *p, const struct pool_settings *settings)
{
	p->connections_max = settings->connections;
	p->spread_max = settings->spread;
	p->requests.timeout_ms = settings->connect_timeout_ms;
	p->context.quic = settings->quic;
	p->context.via = settings->via;
	p->context.qlog_dir = settings->qlog_dir;
	tunnel_queue_set_user(&p->requests, &settings->user);
}

static const struct outbound_ops outbound_ops;

int
pool_new(struct pool **out, uv_loop_t *loop,
    const struct pool_settings *settings)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	p->context = (struct connection_context){ .loop = loop,
		.changed = on_changed,
		.arg = p };
	TAILQ_INIT(&p->all);
	tunnel_queue_init(&p->requests, on_changed, p);
	p->outbound = (struct outbound){ .ops = &outbound_ops, .provider = p };
	set_rest(p, settings);
	if (set_edges(p, settings) != 0) {
		free(p);
		return -ENOMEM;
	}
	uv_timer_init(loop, &p->step);
	p->step.data = p;
	make_due(p);
	watch_system(p);
	*out = p;
	return 0;
}

int
pool_reload(struct pool *p, const struct pool_settings *settings)
{
	if (settings->nedges > 0 && set_edges(p, settings) != 0)
		return -ENOMEM;
	set_rest(p, settings);
	make_due(p);
	return 0;
}

static void
on_timer_closed(uv_handle_t *handle)
{
	struct pool *p = handle->data;

	p->timer_closed = true;
	free_if_done(p);
}

void
pool_free(struct pool *p)
{
	struct connect_error error;
	struct upstream_edge *u;

	if (p == NULL)
		return;
	p->closing = true;
	end_all(p, "culvert is shutting down");
	connect_error_set(&error, CONNECT_ERROR_SHUTTING_DOWN,
	    "culvert is shutting down");
	tunnel_queue_refuse(&p->requests, &error);
	tunnel_queue_fini(&p->requests);
	TAILQ_FOREACH(u, &p->all, entry)
		upstream_edge_remove(u);
	netlink_free(p->netlink);
	suspend_free(p->suspend);
	uv_close((uv_handle_t *)&p->step, on_timer_closed);
}

void
pool_reconnect(struct pool *p)
{
	p->reconnecting = true;
	make_due(p);
}

void
pool_reprobe(struct pool *p)
{
	struct connection *c;
	struct upstream_edge *u;

	TAILQ_FOREACH(u, &p->all, entry)
		TAILQ_FOREACH(c, &u->connections, entry)
			quic_conn_reprobe(c->conn, quic_io_now());
}

/* ---- The outbound ---- */

static void
open_tunnel(void *provider, struct tunnel_request *t)
{
	struct pool *p = provider;

	p->requested_ms = uv_now(p->context.loop);
	tunnel_queue_add(&p->requests, t, p->requested_ms);
	if (active(p) == NULL)
		failover_reset_backoff(&p->failover);
	make_due(p);
}

static void
cancel(void *provider, struct tunnel_request *t)
{
	(void)provider;
	tunnel_queue_remove(t);
}

static const struct outbound_ops outbound_ops = {
	.open = open_tunnel,
	.cancel = cancel,
};

struct outbound *
pool_outbound(struct pool *p)
{
	return &p->outbound;
}

/* ---- Status ---- */

static void
show_connection(const struct upstream_edge *u, const struct connection *c,
    struct pool_status *status)
{
	struct pool_connection *shown;

	if (c->state == CONNECTION_CLOSED)
		return;
	status->open += connection_tunnels(c);
	if (status->nconnections == POOL_CONNECTIONS_MAX)
		return;
	shown = &status->connections[status->nconnections];
	shown->state = c->state;
	shown->silent = c->suspect;
	target_format(&u->edge, shown->edge, sizeof(shown->edge));
	snprintf(shown->address, sizeof(shown->address), "%s", c->address);
	shown->tunnels = connection_tunnels(c);
	status->nconnections++;
}

static void
show_connections(const struct pool *p, struct pool_status *status)
{
	const struct connection *c;
	const struct upstream_edge *u;

	TAILQ_FOREACH(u, &p->all, entry)
		TAILQ_FOREACH(c, &u->connections, entry)
			show_connection(u, c, status);
	TAILQ_FOREACH(u, &p->all, entry)
		TAILQ_FOREACH(c, &u->edge_attempts.attempts, entry)
			show_connection(u, c, status);
}

static enum pool_state
state_without_connection(const struct pool *p)
{
	for (size_t i = 0; i < p->nupstreams; i++)
		if (p->failover.edges[i].connecting)
			return POOL_CONNECTING;
	return POOL_DOWN;
}

void
pool_status(const struct pool *p, struct pool_status *status)
{
	const struct upstream_edge *u = active(p);
	const struct connection *c = u != NULL ? upstream_edge_best(u) : NULL;

	memset(status, 0, sizeof(*status));
	if (u == NULL)
		u = p->tried != NULL ? p->tried : p->upstreams[0];
	target_format(&u->edge, status->edge, sizeof(status->edge));
	snprintf(status->address, sizeof(status->address), "%s",
	    c != NULL ? c->address : u->edge_attempts.address);
	if (c != NULL) {
		status->state = POOL_UP;
		quic_conn_stats(c->conn, &status->quic);
	} else {
		status->state = state_without_connection(p);
		snprintf(status->error, sizeof(status->error), "%s",
		    p->why.text);
	}
	show_connections(p, status);
	status->reconnects = p->connections > 0 ? p->connections - 1 : 0;
	status->migrations = p->context.migrations;
	status->opened = p->requests.opened;
	status->failed = p->requests.failed;
	status->waiting = p->requests.nwaiting;
	status->spread = c != NULL && u->wanted > 1 ? u->wanted : 1;
}
