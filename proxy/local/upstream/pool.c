/*
 * The way to the edge.
 *
 *	clients ──▶ tunnel_request.c: who waits, whose request is on its way
 *	                │
 *	failover.c ──▶ pool.c: a step ──▶ upstream.c: one edge
 *	which edge                         ├──▶ happy_eyeballs.c: connects to it
 *	                                   └──▶ connection.c: a connection
 *
 * Whatever happens (a client asks, a handshake ends, a connection is lost, time
 * passes) makes a step due, in the next turn of the loop. A step looks at
 * everything there is and does what follows from it, so that no order of events
 * is special, and nothing is closed from inside its own calls.
 */
#include "proxy/local/upstream/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/upstream/netlink.h"
#include "proxy/local/upstream/suspend.h"
#include "proxy/local/upstream/upstream.h"
#include "proxy/base/log.h"
#include "quic/io.h"

/*
 * Milliseconds that the first in the queue waits for a stream before a further
 * connection is made: longer than others take to end a page's worth of
 * requests, shorter than a person notices.
 */
#define CROWDED_MS 250

struct pool {
	struct connection_host host;
	size_t width;	 /* connections to one edge, at most */
	struct tunnel_requests tickets;
	struct failover choice;
	struct upstream *ways[POOL_EDGES_MAX]; /* in order of preference */
	size_t nways;
	struct upstream_list all; /* and those that leave */

	struct upstream *tried; /* last, or NULL */
	struct upstream *served; /* that tunnels went last, or NULL */
	struct connect_error why; /* of the last failure */
	uint64_t connections;

	struct netlink *network; /* NULL: nobody tells of changes */
	struct suspend *wake;

	uv_timer_t step;
	bool due;	 /* a step is, at once */
	bool reconnecting; /* it begins with dropping everything */
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
make_due(struct pool *up)
{
	if (!up->due)
		uv_timer_start(&up->step, on_step, 0, 0);
	up->due = true;
}

/* The way that gets the new tunnels, or NULL. */
static struct upstream *
serving(const struct pool *up)
{
	return up->choice.serving >= 0 ? up->ways[up->choice.serving] : NULL;
}

/* ---- Serving ---- */

static void
note_service(struct pool *up, struct upstream *w)
{
	struct connection *link = upstream_best(w);
	char edge[TARGET_STRLEN];

	if (!link->counted)
		up->connections++;
	link->counted = true;
	if (up->served != NULL && up->served != w) {
		target_format(&w->edge, edge, sizeof(edge));
		log_info("new tunnels go to edge %s", edge);
	}
	up->served = w;
	up->why.text[0] = '\0';
}

/*
 * This way is well: those after it are not needed any more, and a link that
 * has gone quiet is not waited for. Tunnels stay where they are.
 */
static void
leave_others(struct pool *up, const struct upstream *well)
{
	struct connection *link;
	struct upstream *w;

	for (size_t i = 0; i < up->nways; i++) {
		w = up->ways[i];
		if (i > well->index)
			upstream_call_off(w);
		TAILQ_FOREACH(link, &w->links, entry) {
			if (link->state != CONNECTION_UP ||
			    (i <= well->index && !link->doubted))
				continue;
			if (link->doubted)
				tunnel_requests_recall(
				    &up->tickets, link->conn);
			connection_drain(link);
			make_due(up); /* it may have no tunnel to wait for */
		}
	}
}

static void
ask(struct pool *up, struct connection *link)
{
	if (up->tickets.nwaiting > 0 && !link->full)
		link->full =
		    tunnel_requests_ask(&up->tickets, link->conn) == -EAGAIN;
}

/*
 * Those who still wait do so for a stream. When the first of them has waited
 * for long, another connection gives room.
 */
static void
widen(struct pool *up, struct upstream *w, uint64_t now, uint64_t *at)
{
	uint64_t first = tunnel_requests_first(&up->tickets);

	if (first == UINT64_MAX || !upstream_best(w)->full ||
	    upstream_width(w) >= up->width)
		return;
	if (now < first + CROWDED_MS)
		sooner(at, first + CROWDED_MS);
	else if (failover_may_add(&up->choice, w->index, now, at))
		upstream_start(w, now);
}

/* Gives those who wait to the links of the edge that serves, in order. */
static void
serve(struct pool *up, uint64_t now, uint64_t *at)
{
	struct connection *link, *best;
	struct upstream *w;

	if (failover_serving(&up->choice, now, at) < 0)
		return;
	w = serving(up);
	best = upstream_best(w);
	note_service(up, w);
	if (!best->doubted)
		leave_others(up, w);
	TAILQ_FOREACH(link, &w->links, entry)
	if (link->state == CONNECTION_UP && link->doubted == best->doubted)
		ask(up, link);
	widen(up, w, now, at);
}

/* ---- The step ---- */

/* Those that have left are freed. */
static void
step_ways(struct pool *up, uint64_t now, uint64_t *at)
{
	struct upstream *w, *next;

	for (w = TAILQ_FIRST(&up->all); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (upstream_step(w, now, at) && !w->leaving)
			connect_error_set(&up->why,
			    CONNECT_ERROR_EDGE_UNUSABLE, w->why);
		if (!w->leaving || !upstream_is_gone(w))
			continue;
		TAILQ_REMOVE(&up->all, w, entry);
		upstream_free(w);
	}
}

/* Cuts a link that drains where there are too many. */
static void
bound(struct pool *up)
{
	struct connection *link, *first = NULL;
	struct upstream *w;
	size_t n = 0;

	TAILQ_FOREACH(w, &up->all, entry)
		TAILQ_FOREACH(link, &w->links, entry) {
			n++;
			if (first == NULL && link->state == CONNECTION_DRAINING)
				first = link;
		}
		if (n > POOL_LINKS_MAX && first != NULL)
			connection_end(first, "too many connections");
}

static void
start_ways(struct pool *up, uint64_t now, uint64_t *at)
{
	const struct upstream *w = serving(up);
	bool waited = up->tickets.nwaiting > 0 ||
	    (w != NULL && up->choice.edges[w->index].doubted);
	int i;

	while ((i = failover_next(&up->choice, now, waited, at)) >= 0) {
		up->tried = up->ways[i];
		upstream_start(up->tried, now);
	}
}

/* As the one who asked must hear it. */
static void
explain(const struct pool *up, struct connect_error *refusal,
    enum connect_error_type type)
{
	char text[CONNECT_ERROR_TEXT_MAX];

	snprintf(text, sizeof(text),
	    "there is no connection to the edge: "
	    "%.*s",
	    CONNECT_ERROR_TEXT_MAX - 64,
	    up->why.text[0] != '\0' ? up->why.text : "it does not answer");
	connect_error_set(refusal, type, text);
}

/* Those who need not wait any longer are told. */
static void
refuse(struct pool *up, uint64_t now, uint64_t *at)
{
	struct connect_error refusal;

	if (failover_hopeless(&up->choice)) {
		explain(up, &refusal, CONNECT_ERROR_EDGE_UNUSABLE);
		tunnel_requests_refuse(&up->tickets, &refusal);
	}
	if (serving(up) != NULL)
		connect_error_set(&refusal, CONNECT_ERROR_EDGE_STREAM_LIMIT,
		    "the edge allows no more tunnels at this time");
	else
		explain(up, &refusal, CONNECT_ERROR_EDGE_TIMEOUT);
	tunnel_requests_expire(&up->tickets, now, &refusal);
	sooner(at, tunnel_requests_deadline(&up->tickets));
}

static void
end_all(struct pool *up, const char *why)
{
	struct upstream *w;

	TAILQ_FOREACH(w, &up->all, entry)
	upstream_end(w, why);
	failover_init(&up->choice, up->nways, arc4random_uniform);
}

static void
on_step(uv_timer_t *timer)
{
	struct pool *up = timer->data;
	uint64_t now = uv_now(up->host.loop), at = UINT64_MAX;

	up->due = false;
	if (up->reconnecting) {
		log_info("closing all connections on request");
		end_all(up, "reconnecting on request");
	}
	up->reconnecting = false;
	step_ways(up, now, &at);
	bound(up);
	serve(up, now, &at);
	start_ways(up, now, &at);
	refuse(up, now, &at);
	if (!up->due && at != UINT64_MAX)
		uv_timer_start(&up->step, on_step, at > now ? at - now : 0, 0);
}

/* ---- The kernel's word ---- */

/* These have slept for so long; 0: they are on another network. */
static void
tell(struct connection_list *links, uint64_t slept_ns)
{
	struct connection *link;

	TAILQ_FOREACH(link, links, entry)
		if (slept_ns > 0)
			connection_slept(link, slept_ns);
		else
			connection_network_changed(link);
}

/* Either may change everything: what has failed is tried again. */
static void
look_again(struct pool *up, uint64_t slept_ns)
{
	struct upstream *w;

	failover_wake(&up->choice);
	TAILQ_FOREACH(w, &up->all, entry) {
		tell(&w->links, slept_ns);
		tell(&w->race.links, slept_ns);
	}
	make_due(up);
}

static void
on_network_changed(void *arg)
{
	look_again(arg, 0);
}

static void
on_slept(void *arg, uint64_t ns)
{
	look_again(arg, ns);
}

/* Without it, a change is noticed when the edge falls silent. */
static void
listen_to_kernel(struct pool *up)
{
	uv_loop_t *loop = up->host.loop;
	int rv;

	if ((rv = netlink_new(&up->network, loop, on_network_changed, up)) != 0)
		log_warn("the kernel does not report network changes (%s); "
		    "culvert will notice them later", strerror(-rv));
	if ((rv = suspend_new(&up->wake, loop, on_slept, up)) != 0)
		log_warn("the kernel does not report when this machine has "
		    "slept (%s)", strerror(-rv));
}

/* ---- Life ---- */

static void
free_if_done(struct pool *up)
{
	struct upstream *w;

	if (!up->timer_closed)
		return;
	TAILQ_FOREACH(w, &up->all, entry)
	if (!upstream_is_gone(w))
		return;
	while ((w = TAILQ_FIRST(&up->all)) != NULL) {
		TAILQ_REMOVE(&up->all, w, entry);
		upstream_free(w);
	}
	free(up);
}

static void
on_changed(void *arg)
{
	struct pool *up = arg;

	if (up->closing)
		free_if_done(up);
	else
		make_due(up);
}

/* The way to an edge that stays, if it is one. */
static struct upstream *
call_back(struct pool *up, const struct target *edge)
{
	for (size_t i = 0; i < up->nways; i++)
		if (up->ways[i]->leaving &&
		    up->ways[i]->edge.port == edge->port &&
		    strcmp(up->ways[i]->edge.host, edge->host) == 0) {
			up->ways[i]->leaving = false;
			return up->ways[i];
		}
	return NULL;
}

/* Finds or makes a way to each edge; the new ones are at the end of `all`. */
static int
make_ways(struct pool *up, const struct pool_settings *settings,
    struct upstream *ways[POOL_EDGES_MAX])
{
	const struct pool_edge *edge;

	for (size_t i = 0; i < up->nways; i++)
		up->ways[i]->leaving = true;
	for (size_t i = 0; i < settings->nedges; i++) {
		edge = &settings->edges[i];
		if ((ways[i] = call_back(up, &edge->target)) != NULL)
			continue;
		if (upstream_new(&ways[i], &up->host, &up->choice, i,
			&edge->target, edge->tls) != 0)
			return -ENOMEM;
		TAILQ_INSERT_TAIL(&up->all, ways[i], entry);
	}
	return 0;
}

/* Memory ran out: the ways are those before. */
static void
unmake_ways(struct pool *up, const struct upstream *last)
{
	struct upstream *made;

	while ((made = TAILQ_LAST(&up->all, upstream_list)) != last) {
		TAILQ_REMOVE(&up->all, made, entry);
		upstream_free(made);
	}
	for (size_t i = 0; i < up->nways; i++)
		up->ways[i]->leaving = false;
}

static int
set_edges(struct pool *up, const struct pool_settings *settings)
{
	struct upstream *ways[POOL_EDGES_MAX], *w;
	struct upstream *last = TAILQ_LAST(&up->all, upstream_list);

	if (make_ways(up, settings, ways) != 0) {
		unmake_ways(up, last);
		return -ENOMEM;
	}
	up->nways = settings->nedges;
	memcpy(up->ways, ways, up->nways * sizeof(ways[0]));
	failover_init(&up->choice, up->nways, arc4random_uniform);
	for (size_t i = 0; i < up->nways; i++)
		upstream_renew(
		    ways[i], i, settings->edges[i].tls, uv_now(up->host.loop));
	TAILQ_FOREACH(w, &up->all, entry)
		if (w->leaving)
			upstream_leave(w);
	up->tried = up->served = NULL;
	return 0;
}

static void
set_rest(struct pool *up, const struct pool_settings *settings)
{
	up->width = settings->connections;
	up->tickets.wait_ms = settings->connect_timeout_ms;
	up->host.quic = settings->quic;
	up->host.via = settings->via;
	up->host.qlog_dir = settings->qlog_dir;
	tunnel_requests_set_user(&up->tickets, &settings->user);
}

int
pool_new(
    struct pool **out, uv_loop_t *loop, const struct pool_settings *settings)
{
	struct pool *up = calloc(1, sizeof(*up));

	if (up == NULL)
		return -ENOMEM;
	up->host = (struct connection_host){
		.loop = loop, .changed = on_changed, .arg = up
	};
	TAILQ_INIT(&up->all);
	tunnel_requests_init(&up->tickets, on_changed, up);
	set_rest(up, settings);
	if (set_edges(up, settings) != 0) {
		free(up);
		return -ENOMEM;
	}
	uv_timer_init(loop, &up->step);
	up->step.data = up;
	make_due(up);
	listen_to_kernel(up);
	*out = up;
	return 0;
}

int
pool_reload(struct pool *up, const struct pool_settings *settings)
{
	if (settings->nedges > 0 && set_edges(up, settings) != 0)
		return -ENOMEM;
	set_rest(up, settings);
	make_due(up);
	return 0;
}

static void
on_timer_closed(uv_handle_t *handle)
{
	struct pool *up = handle->data;

	up->timer_closed = true;
	free_if_done(up);
}

void
pool_free(struct pool *up)
{
	struct connect_error refusal;
	struct upstream *w;

	if (up == NULL)
		return;
	up->closing = true;
	end_all(up, "culvert is shutting down");
	connect_error_set(&refusal, CONNECT_ERROR_SHUTTING_DOWN,
	    "culvert is shutting down");
	tunnel_requests_refuse(&up->tickets, &refusal);
	tunnel_requests_fini(&up->tickets);
	TAILQ_FOREACH(w, &up->all, entry)
	upstream_leave(w);
	netlink_free(up->network);
	suspend_free(up->wake);
	uv_close((uv_handle_t *)&up->step, on_timer_closed);
}

void
pool_reconnect(struct pool *up)
{
	up->reconnecting = true;
	make_due(up);
}

void
pool_reprobe(struct pool *up)
{
	struct connection *link;
	struct upstream *w;

	TAILQ_FOREACH(w, &up->all, entry)
		TAILQ_FOREACH(link, &w->links, entry)
			quic_conn_reprobe(link->conn, quic_io_now());
}

void
pool_open(struct pool *up, struct tunnel_request *t,
    const struct target *target, const struct tunnel_request_events *events,
    void *arg)
{
	*t = (struct tunnel_request){
		.target = target, .events = events, .arg = arg
	};
	tunnel_request_wait(&up->tickets, t, uv_now(up->host.loop));
	if (serving(up) == NULL)
		failover_wake(&up->choice);
	make_due(up);
}

void
pool_cancel(struct tunnel_request *t)
{
	tunnel_request_cancel(t);
}

/* ---- Looking at it ---- */

static void
show_link(const struct upstream *w, const struct connection *link,
    struct pool_status *status)
{
	struct pool_connection *c = &status->connections[status->nconnections];

	if (link->state == CONNECTION_OVER)
		return;
	status->open += connection_tunnels(link);
	if (status->nconnections == POOL_LINKS_MAX)
		return;
	c->state = link->state;
	c->silent = link->doubted;
	target_format(&w->edge, c->edge, sizeof(c->edge));
	snprintf(c->address, sizeof(c->address), "%s", link->address);
	c->tunnels = connection_tunnels(link);
	status->nconnections++;
}

static void
show_links(const struct pool *up, struct pool_status *status)
{
	const struct connection *link;
	const struct upstream *w;

	TAILQ_FOREACH(w, &up->all, entry)
		TAILQ_FOREACH(link, &w->links, entry)
			show_link(w, link, status);
	TAILQ_FOREACH(w, &up->all, entry)
		TAILQ_FOREACH(link, &w->race.links, entry)
			show_link(w, link, status);
}

static enum pool_state
state_without_link(const struct pool *up)
{
	for (size_t i = 0; i < up->nways; i++)
		if (up->choice.edges[i].trying)
			return POOL_CONNECTING;
	return POOL_DOWN;
}

void
pool_status(const struct pool *up, struct pool_status *status)
{
	const struct upstream *w = serving(up);
	const struct connection *link = w != NULL ? upstream_best(w) : NULL;

	memset(status, 0, sizeof(*status));
	if (w == NULL)
		w = up->tried != NULL ? up->tried : up->ways[0];
	target_format(&w->edge, status->edge, sizeof(status->edge));
	snprintf(status->address, sizeof(status->address), "%s",
	    link != NULL ? link->address : w->race.address);
	if (link != NULL) {
		status->state = POOL_UP;
		quic_conn_stats(link->conn, &status->quic);
	} else {
		status->state = state_without_link(up);
		snprintf(status->error, sizeof(status->error), "%s",
		    up->why.text);
	}
	show_links(up, status);
	status->reconnects = up->connections > 0 ? up->connections - 1 : 0;
	status->migrations = up->host.migrations;
	status->opened = up->tickets.opened;
	status->failed = up->tickets.failed;
	status->waiting = up->tickets.nwaiting;
}
