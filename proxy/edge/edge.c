#include "proxy/edge/edge.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <sys/resource.h>

#include "proxy/base/addr.h"
#include "proxy/edge/own_addresses.h"
#include "proxy/edge/tunnel.h"
#include "proxy/base/log.h"
#include "proxy/base/qlog.h"
#include "proxy/base/malloc_trim.h"
#include "quic/io.h"

#define SOCKETS_MAX 16 /* addresses: those of the configuration */

/*
 * Descriptors that tunnels leave free for the rest of the process: sockets of
 * the resolver and files of a reload.
 */
#define RESERVED 64

/* A socket and the server behind it. */
struct endpoint {
	struct quic_server *server;
	struct quic_io *io;
};

struct edge {
	struct tunnel_host host; /* first: on_gone casts it to the edge */
	struct edge_settings settings;
	struct dial_queue dial_queue;
	struct descriptors descriptors;
	struct own_addresses route;
	char *qlog_dir; /* NULL: events.qlog is NULL, too */
	struct quic_events events;
	struct endpoint endpoints[SOCKETS_MAX];
	size_t nendpoints;
	struct malloc_trim trim;
	bool freeing, malloc_trim_closed;
};

/* ---- Connections ---- */

static void
on_connected(struct quic_conn *conn, void *arg)
{
	char client[ADDR_STRLEN];
	struct quic_stats stats;

	(void)arg;
	quic_conn_stats(conn, &stats);
	log_debug("connection from %s (%s, %s%s)",
	    addr_format((const struct sockaddr *)&quic_conn_path(conn)->remote,
		client),
	    stats.tls_version, stats.tls_cipher,
	    stats.resumed ? ", resumed" : "");
}

static void
on_mtu_changed(struct quic_conn *conn, void *arg)
{
	char client[ADDR_STRLEN];
	struct quic_pulse pulse;

	(void)arg;
	quic_conn_pulse(conn, &pulse);
	log_info("path MTU to %s is %zu (%s)",
	    addr_format((const struct sockaddr *)&quic_conn_path(conn)->remote,
		client),
	    pulse.ip_mtu, pulse.mtu_cause);
}

static void
on_migrated(struct quic_conn *conn, bool valid, void *arg)
{
	char client[ADDR_STRLEN];

	(void)valid, (void)arg;
	log_debug("connection migrated to %s",
	    addr_format((const struct sockaddr *)&quic_conn_path(conn)->remote,
		client));
}

static void
on_request(struct quic_conn *conn, struct quic_stream *stream,
    const struct quic_header_section *head, void *arg)
{
	struct edge *edge = arg;

	(void)conn;
	malloc_trim_busy(&edge->trim);
	tunnel_new(&edge->host, stream, head);
}

static void
on_closed(struct quic_conn *conn, const struct quic_close *why, void *arg)
{
	struct edge *edge = arg;
	char client[ADDR_STRLEN];

	if (edge->host.open == 0)
		malloc_trim_quiet(&edge->trim);
	log_debug("connection from %s ended: %s",
	    addr_format((const struct sockaddr *)&quic_conn_path(conn)->remote,
		client),
	    why->text);
}

static void
on_qlog(struct quic_conn *conn, const void *data, size_t len, void *arg)
{
	struct edge *edge = arg;

	if (len == 0) {
		qlog_close(quic_conn_user(conn));
		return;
	}
	if (quic_conn_user(conn) == NULL)
		quic_conn_set_user(conn,
		    qlog_open(edge->qlog_dir, "culvert-edge"));
	qlog_write(quic_conn_user(conn), data, len);
}

static const struct quic_events events = {
	.connected = on_connected,
	.mtu_changed = on_mtu_changed,
	.migrated = on_migrated,
	.request = on_request,
	.closed = on_closed,
};

/* ---- Life cycle ---- */

static void
free_if_done(struct edge *edge)
{
	if (!edge->malloc_trim_closed || edge->host.open > 0)
		return;
	quic_tls_free(edge->settings.tls);
	users_free(edge->settings.users);
	explicit_bzero(edge->settings.secret, sizeof(edge->settings.secret));
	own_addresses_close(&edge->route);
	liveness_close(edge->host.liveness);
	free(edge->qlog_dir);
	free(edge);
}

static void
on_gone(struct tunnel_host *host)
{
	struct edge *edge = (struct edge *)host;

	if (host->open == 0)
		malloc_trim_quiet(&edge->trim);
	free_if_done(edge);
}

static size_t
or_default(size_t value, size_t fallback)
{
	return value != 0 ? value : fallback;
}

static bool
is_own(void *arg, const struct sockaddr *addr)
{
	return own_addresses_is_own(arg, addr);
}

static void
set_policy(struct edge *edge, const struct policy *policy)
{
	struct policy *mine = &edge->settings.policy;

	*mine = *policy;
	mine->is_own = is_own;
	mine->arg = &edge->route;
}

static void
open_route(struct own_addresses *route)
{
	int rv = own_addresses_open(route);

	if (rv != 0)
		log_warn(
		    "the kernel does not report the addresses of this "
		    "machine (netlink: %s), so they are guessed; allow "
		    "AF_NETLINK for this process, or deny them with --deny",
		    strerror(-rv));
}

/* The end of the descriptors for tunnels: half of them if there are few. */
static int
descriptors(void)
{
	struct rlimit files;
	int all;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur > INT_MAX)
		return INT_MAX;
	all = (int)files.rlim_cur;
	return all > 2 * RESERVED ? all - RESERVED : all / 2;
}

void
edge_reload_limits(struct edge *edge, const struct edge_limits *limits)
{
	struct tunnel_host *host = &edge->host;

	host->tunnels_max = or_default(limits->tunnels, EDGE_TUNNELS_MAX);
	host->tunnels_per_user = or_default(limits->tunnels_per_user,
	    EDGE_TUNNELS_PER_USER);
	edge->dial_queue.dials_max = or_default(limits->dials_per_origin,
	    EDGE_DIALS_PER_ORIGIN);
	edge->descriptors.end = descriptors();
	host->dialer.timeout_ms = or_default(limits->connect_timeout_ms,
	    DIAL_TIMEOUT_MS);
	host->tunnel_timeout_ms = limits->tunnel_timeout_ms;
	host->keepalive_timeout_s = (unsigned)
	    or_default(limits->keepalive_timeout_s, EDGE_KEEPALIVE_S);
}

int
edge_new(struct edge **out, uv_loop_t *loop,
    const struct edge_settings *settings)
{
	struct edge *edge = calloc(1, sizeof(*edge));
	int rv;

	if (edge == NULL)
		return -ENOMEM;
	if (settings->qlog_dir != NULL &&
	    (edge->qlog_dir = strdup(settings->qlog_dir)) == NULL) {
		free(edge);
		return -ENOMEM;
	}
	edge->events = events;
	edge->events.qlog = edge->qlog_dir != NULL ? on_qlog : NULL;
	edge->settings = *settings;
	set_policy(edge, &settings->policy);
	edge->host.loop = loop;
	edge->host.users = settings->users;
	edge->host.dialer = (struct dialer){ .policy = &edge->settings.policy,
		.queue = &edge->dial_queue,
		.descriptors = &edge->descriptors };
	edge_reload_limits(edge, &settings->limits);
	edge->host.on_gone = on_gone;
	LIST_INIT(&edge->host.tunnels);
	rv = liveness_new(&edge->host.liveness, loop);
	if (rv == 0)
		rv = resolver_new(&edge->host.dialer.resolver, loop,
		    RESOLVER_CONF, settings->resolvers);
	if (rv != 0) {
		liveness_close(edge->host.liveness);
		free(edge->qlog_dir);
		free(edge);
		return rv;
	}
	open_route(&edge->route);
	quic_tls_ref(edge->settings.tls);
	malloc_trim_init(&edge->trim, loop);
	edge->trim.timer.data = edge;
	*out = edge;
	return 0;
}

void
edge_reload_policy(struct edge *edge, const struct policy *policy)
{
	set_policy(edge, policy);
	resolver_reload(edge->host.dialer.resolver);
}

void
edge_reload(struct edge *edge, const struct edge_settings *settings)
{
	struct edge_settings *mine = &edge->settings;

	quic_tls_ref(settings->tls);
	quic_tls_free(mine->tls);
	users_replace(&mine->users, settings->users);
	mine->tls = settings->tls;
	edge->host.users = mine->users;
	edge_reload_policy(edge, &settings->policy);
	mine->quic = settings->quic;
	edge_reload_limits(edge, &settings->limits);
	for (size_t i = 0; i < edge->nendpoints; i++)
		quic_server_reload(edge->endpoints[i].server, mine->tls,
		    &mine->quic);
}

int
edge_listen(struct edge *edge, const struct sockaddr *addr,
    struct sockaddr_storage *bound)
{
	struct endpoint *e = &edge->endpoints[edge->nendpoints];
	int rv;

	if (edge->nendpoints == SOCKETS_MAX)
		return -ENOSPC;
	rv = quic_server_new(&e->server, edge->settings.tls,
	    edge->settings.secret, &edge->settings.quic, &edge->events, edge);
	if (rv != 0)
		return rv;
	rv = quic_io_listen(&e->io, edge->host.loop, addr, e->server);
	if (rv != 0) {
		quic_server_free(e->server);
		e->server = NULL;
		return rv;
	}
	if (bound != NULL)
		memcpy(bound, quic_io_local(e->io),
		    addr_len(quic_io_local(e->io)));
	edge->nendpoints++;
	return 0;
}

static void
on_trim_closed(uv_handle_t *handle)
{
	struct edge *edge = handle->data;

	edge->malloc_trim_closed = true;
	free_if_done(edge);
}

void
edge_drain(struct edge *edge)
{
	for (size_t i = 0; i < edge->nendpoints; i++)
		quic_server_drain(edge->endpoints[i].server, quic_io_now());
}

static struct quic_server_stats
sum(const struct edge *edge)
{
	struct quic_server_stats all = { 0 }, one;

	for (size_t i = 0; i < edge->nendpoints; i++) {
		quic_server_stats(edge->endpoints[i].server, &one);
		all.connections += one.connections;
		all.half_open += one.half_open;
		all.accepted += one.accepted;
		all.retries_sent += one.retries_sent;
		all.postponed += one.postponed;
		all.refused += one.refused;
		all.evicted += one.evicted;
	}
	return all;
}

size_t
edge_connections(const struct edge *edge)
{
	return sum(edge).connections;
}

static void
report_memory(const struct quic_memory *memory)
{
	struct quic_memory_stats stats;

	if (memory == NULL)
		return; /* no common memory: each connection has its own */
	quic_memory_stats(memory, &stats);
	log_info("memory: %zu of %zu KiB; %llu tunnels reset and %llu "
		 "connections closed to free it",
	    stats.held / 1024, stats.max / 1024,
	    (unsigned long long)stats.aborted,
	    (unsigned long long)stats.closed);
}

void
edge_report(const struct edge *edge)
{
	const struct tunnel_host *host = &edge->host;
	struct quic_server_stats stats = sum(edge);
	const char *name;
	size_t most = keyed_counter_top(&host->shares, &name);

	log_info("tunnels: %zu of %zu; at most %zu of %zu of one %s%s%s; "
		 "%llu refused",
	    host->open, host->tunnels_max, most, host->tunnels_per_user,
	    host->users != NULL ? "user" : "address", name != NULL ? ": " : "",
	    name != NULL ? name : "", (unsigned long long)host->refused);
	report_memory(edge->settings.quic.memory);
	log_info("dials waiting for their turn: %zu", edge->dial_queue.waiting);
	log_info(
	    "connections: %zu, %zu of them in a handshake; since the "
	    "start %llu accepted, %llu Retry sent, %llu delayed, %llu refused, "
	    "%llu closed to make room",
	    stats.connections, stats.half_open,
	    (unsigned long long)stats.accepted,
	    (unsigned long long)stats.retries_sent,
	    (unsigned long long)stats.postponed,
	    (unsigned long long)stats.refused,
	    (unsigned long long)stats.evicted);
}

void
edge_free(struct edge *edge)
{
	if (edge == NULL || edge->freeing)
		return;
	tunnels_close(&edge->host, "the edge is shutting down");
	for (size_t i = 0; i < edge->nendpoints; i++) {
		quic_server_close(edge->endpoints[i].server, quic_io_now());
		quic_io_close(edge->endpoints[i].io);
		quic_server_free(edge->endpoints[i].server);
	}
	resolver_free(edge->host.dialer.resolver);
	edge->freeing = true;
	malloc_trim_close(&edge->trim, on_trim_closed);
}
