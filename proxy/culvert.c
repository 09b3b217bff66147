/*
 * culvert: the local proxy.
 *
 * It first acquires files and sockets, then drops privileges, then serves
 * clients. On SIGTERM the listeners stop, open tunnels have some time to
 * finish, and then the QUIC connections are closed.
 */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

#include "proxy/config/config.h"
#include "proxy/control/control.h"
#include "proxy/base/control_path.h"
#include "proxy/daemon.h"
#include "proxy/edge/edge.h"
#include "proxy/edge/own_addresses.h"
#include "proxy/edge/policy.h"
#include "proxy/local/listener.h"
#include "proxy/local/outbound/direct_outbound.h"
#include "proxy/local/outbound/refuse_outbound.h"
#include "proxy/local/outbound/route.h"
#include "proxy/local/status.h"
#include "proxy/local/upstream/pool.h"
#include "proxy/base/log.h"
#include "proxy/base/pem.h"
#include "proxy/base/privsep.h"
#include "proxy/base/sandbox.h"
#include "proxy/base/signals.h"
#include "quic/io.h"

#define NS_PER_S UINT64_C(1000000000)

#define LOOPBACK "127.0.0.1" /* the address of the embedded edge */

struct culvert {
	struct config config;
	uv_loop_t loop;
	struct signals signals;
	uint64_t started_ns;

	struct limits limits;
	struct quic_memory *memory;
	struct users *users;
	struct pool *pool;
	struct routes routes;
	struct direct_outbound *direct;
	struct refuse_outbound *block;
	struct policy direct_policy;
	struct own_addresses own;
	struct listener *listener;
	struct control *control;

	struct edge *edge; /* embedded, or NULL */
};

static struct quic_settings
quic_settings(const struct config *config, struct quic_memory *memory)
{
	return (struct quic_settings){ .cc = config->cc,
		.ip_mtu_max = config->mtu_max,
		.ip_mtu_min = config->mtu_min,
		.idle_timeout_ns = config->edge_timeout * NS_PER_S,
		.no_mtu_probe = config->no_mtu_probe,
		.no_repair = config->no_repair,
		.no_ipsec_mb = config->no_ipsec_mb,
		.memory = memory };
}

/* ---- Requests of the control socket ---- */

static void
note_memory(struct culvert *culvert)
{
	struct quic_memory_stats stats;

	quic_memory_stats(culvert->memory, &stats);
	culvert->limits.v[LIMIT_MEMORY].use = stats.held;
	culvert->limits.v[LIMIT_MEMORY].hits = stats.aborted;
}

static json_t *
on_status(void *arg)
{
	struct sockaddr_storage listen[CONFIG_LISTEN_MAX];
	struct culvert *culvert = arg;
	struct pool_status pool;
	struct client_totals totals;
	json_t *status;
	struct status_facts facts = { .pool = &pool,
		.totals = &totals,
		.limits = &culvert->limits,
		.listen = listen,
		.pid = getpid() };

	listener_update_limits(culvert->listener);
	note_memory(culvert);
	pool_status(culvert->pool, &pool);
	listener_totals(culvert->listener, &totals);
	facts.nlisten = listener_addresses(culvert->listener, listen,
	    culvert->config.listen.n);
	facts.now_ns = quic_io_now();
	facts.uptime_ns = facts.now_ns - culvert->started_ns;
	status = status_json(&facts);
	if (status != NULL)
		listener_top(culvert->listener, status_top_add, status);
	return status;
}

static json_t *
on_tunnels(void *arg)
{
	struct culvert *culvert = arg;
	json_t *tunnels = status_tunnels();

	if (tunnels != NULL)
		listener_each(culvert->listener, status_tunnels_add, tunnels);
	return tunnels;
}

static json_t *
on_mtu(void *arg)
{
	struct culvert *culvert = arg;
	struct pool_status pool;
	struct status_facts facts = { .pool = &pool, .now_ns = quic_io_now() };

	pool_status(culvert->pool, &pool);
	return status_mtu(&facts);
}

static json_t *
on_route(void *arg, const struct target *target)
{
	static const char *const actions[] = { [ROUTE_TUNNEL] = "tunnel",
		[ROUTE_EDGE] = "edge",
		[ROUTE_DIRECT] = "direct",
		[ROUTE_BLOCK] = "block" };
	struct culvert *culvert = arg;
	struct route_rule rule = { .action = ROUTE_TUNNEL };
	char text[TARGET_STRLEN];
	struct pool_status pool;
	bool found = culvert->routes.rules != NULL &&
	    route_rules_find(culvert->routes.rules, target, &rule);
	json_t *line = found ? json_integer(rule.line) : json_null();

	target_format(target, text, sizeof(text));
	pool_status(culvert->pool, &pool);
	return json_pack("{s:s, s:s, s:s?, s:o, s:s?}", "target", text,
	    "action", actions[rule.action], "file", found ? rule.file : NULL,
	    "line", line, "edge",
	    rule.action == ROUTE_TUNNEL ? pool.edge : NULL);
}

static void
on_reprobe(void *arg)
{
	struct culvert *culvert = arg;

	pool_reprobe(culvert->pool);
}

static void
on_reconnect(void *arg)
{
	struct culvert *culvert = arg;

	pool_reconnect(culvert->pool);
}

static const struct control_events control_events = {
	.status = on_status,
	.tunnels = on_tunnels,
	.mtu = on_mtu,
	.route = on_route,
	.reconnect = on_reconnect,
	.reprobe = on_reprobe,
};

/*
 * Local clients can reach this machine and its network without the proxy, so
 * they are not restricted. Remote clients must not reach private addresses.
 */
static void
load_policy(struct policy *policy, const struct config *config)
{
	policy_init(policy, config_listens_locally(config));
	policy_load(policy, config->allow.v, config->allow.n, config->deny.v,
	    config->deny.n);
}

/* The embedded edge has one client, this process. */
static struct edge_limits
edge_limits(const struct config *config)
{
	return (struct edge_limits){ .tunnels_per_user = EDGE_TUNNELS_MAX,
		.connect_timeout_ms = UINT64_C(1000) * config->connect_timeout,
		.keepalive_timeout_s = config->keepalive_timeout };
}

/* ---- Rules ---- */

static void
complain_of_rule(void *arg, const char *file, unsigned line, const char *what)
{
	(void)arg;
	if (line > 0)
		log_error("%s:%u: %s", file, line, what);
	else
		log_error("%s: %s", file, what);
}

/* No edge has a name yet, by which a rule could choose it. */
static int
check_rules(const struct route_rules *rules, const char *path)
{
	const char *edge = route_rules_edge(rules, 0);

	if (edge == NULL)
		return 0;
	log_error("%s: there is no edge of the name %s", path, edge);
	return -EINVAL;
}

/* Errors are logged. Without --rules there are none. */
static int
load_rules(struct route_rules **rules, const struct config *config)
{
	static const struct route_reader reader = { .open = privsep_open,
		.strerror = privsep_strerror,
		.complain = complain_of_rule };
	int rv;

	*rules = NULL;
	if (config->rules == NULL)
		return 0;
	rv = route_rules_load(rules, config->rules, &reader);
	if (rv == -ENOMEM)
		log_error("%s: there is not enough memory", config->rules);
	if (rv == 0 && (rv = check_rules(*rules, config->rules)) != 0) {
		route_rules_free(*rules);
		*rules = NULL;
	}
	return rv;
}

static void
set_rules(struct culvert *culvert, struct route_rules *rules)
{
	if (culvert->routes.rules != NULL || rules != NULL)
		culvert->routes.generation++;
	route_rules_free(culvert->routes.rules);
	culvert->routes.rules = rules;
}

static void
explain_block(void *arg, const struct target *target,
    struct connect_error *error)
{
	route_explain(arg, target, error);
}

static bool
permits_direct(void *arg, const struct sockaddr *addr)
{
	return policy_permits(arg, addr);
}

static bool
is_own(void *own, const struct sockaddr *addr)
{
	return own_addresses_is_own(own, addr);
}

static struct direct_settings
direct_settings(struct culvert *culvert, const struct config *config)
{
	load_policy(&culvert->direct_policy, config);
	culvert->direct_policy.is_own = is_own;
	culvert->direct_policy.arg = &culvert->own;
	return (struct direct_settings){ .timeout_ms = UINT64_C(1000) *
		    config->connect_timeout,
		.keepalive_timeout_s = config->keepalive_timeout,
		.permits = permits_direct,
		.arg = &culvert->direct_policy };
}

static int
start_routes(struct culvert *culvert)
{
	struct direct_settings direct = direct_settings(culvert,
	    &culvert->config);
	int rv = load_rules(&culvert->routes.rules, &culvert->config);

	(void)own_addresses_open(&culvert->own);
	if (rv == 0)
		rv = direct_outbound_new(&culvert->direct, &culvert->loop,
		    &direct);
	if (rv == 0)
		rv = refuse_outbound_new(&culvert->block, &culvert->loop,
		    explain_block, &culvert->routes);
	if (rv != 0)
		return rv;
	culvert->routes.edges = pool_outbound(culvert->pool);
	culvert->routes.direct = direct_outbound_get(culvert->direct);
	culvert->routes.block = refuse_outbound_get(culvert->block);
	if (culvert->routes.rules != NULL)
		log_info("%s: %zu patterns in use", culvert->config.rules,
		    route_rules_count(culvert->routes.rules));
	return 0;
}

/*
 * ---- Files of the configuration ----
 *
 * Either all are loaded or none; then `error` has the reason.
 */

#define ERROR_MAX 512 /* bytes: two paths of usual length and a sentence */

/* Each edge has its own session tickets, but all have the same credentials. */
static int
load_edges(struct pool_settings *pool, const struct config *config,
    char error[ERROR_MAX])
{
	struct quic_tls_client_settings settings = {
		.pins = (const uint8_t(*)[QUIC_PIN_LEN])config->pin.v,
		.npins = config->pin.n
	};
	int rv;

	rv = pem_load_ca(&settings.ca, config->ca, error);
	if (rv == 0)
		rv = pem_load(&settings.cert, config->cert, error);
	if (rv == 0)
		rv = pem_load(&settings.key, config->key, error);
	for (unsigned i = 0; i < config->edge.n && rv == 0; i++) {
		pool->edges[i].target = config->edge.v[i];
		rv = quic_tls_client_new(&pool->edges[i].tls, &settings, error);
		pool->nedges = i + 1;
	}
	pem_free(&settings.ca);
	pem_free(&settings.cert);
	pem_free(&settings.key);
	return rv;
}

static struct quic_via
quic_via(const struct config *config)
{
	struct quic_via via = { .mark = config->fwmark };

	if (config->interface != NULL)
		snprintf(via.interface, sizeof(via.interface), "%s",
		    config->interface);
	return via;
}

static void
unload(struct pool_settings *settings)
{
	for (size_t i = 0; i < settings->nedges; i++)
		quic_tls_free(settings->edges[i].tls);
	explicit_bzero(settings, sizeof(*settings));
}

static int
load(struct pool_settings *settings, struct users **users,
    const struct config *config, struct quic_memory *memory,
    char error[ERROR_MAX])
{
	struct credentials *user = &settings->user;
	int rv;

	*users = NULL;
	*settings = (struct pool_settings){ .quic = quic_settings(config,
						memory),
		.connections = config->connections,
		.spread = config->spread,
		.connect_timeout_ms = UINT64_C(1000) * config->connect_timeout,
		.via = quic_via(config),
		.qlog_dir = config->qlog };
	snprintf(user->user, sizeof(user->user), "%s", config->user.name);
	snprintf(user->password, sizeof(user->password), "%s",
	    config->user.password);
	rv = load_edges(settings, config, error);
	if (rv == 0 && config->listen_users != NULL)
		rv = users_load(users, config->listen_users, error, ERROR_MAX);
	if (rv != 0)
		unload(settings);
	return rv;
}

/* A capability that was not needed at the start has been dropped. */
static int
check_via(const struct config *config, char error[ERROR_MAX])
{
	struct quic_via via = quic_via(config);

	if (quic_via_is_allowed(&via))
		return 0;
	snprintf(error, ERROR_MAX,
	    "--%s requires a restart because its "
	    "capability was dropped at the start",
	    config->fwmark != 0 ? "fwmark" : "interface");
	return -EPERM;
}

static void
on_reload(void *arg)
{
	struct culvert *culvert = arg;
	struct pool_settings settings = { 0 };
	struct edge_limits limits;
	char error[ERROR_MAX];
	bool loaded = false;
	struct policy policy;
	struct direct_settings direct;
	struct route_rules *rules = NULL;
	struct config fresh;
	struct users *users = NULL;

	if (daemon_reload(&fresh, &culvert->config) != 0)
		return;
	if (load_rules(&rules, &fresh) != 0)
		snprintf(error, sizeof(error), "the rules have errors");
	else if (check_via(&fresh, error) == 0 &&
	    load(&settings, &users, &fresh, culvert->memory, error) == 0) {
		loaded = pool_reload(culvert->pool, &settings) == 0;
		snprintf(error, sizeof(error), "out of memory");
	}
	unload(&settings);
	if (!loaded) {
		log_error(DAEMON_NOT_RELOADED "%s", error);
		users_free(users);
		route_rules_free(rules);
		config_free(&fresh);
		return;
	}
	set_rules(culvert, rules);
	direct = direct_settings(culvert, &fresh);
	direct_outbound_set(culvert->direct, &direct);
	if (culvert->edge != NULL) {
		load_policy(&policy, &fresh);
		limits = edge_limits(&fresh);
		edge_reload_policy(culvert->edge, &policy);
		edge_reload_limits(culvert->edge, &limits);
	}
	users_replace(&culvert->users, users);
	listener_set_users(culvert->listener, culvert->users);
	listener_set_via(culvert->listener, fresh.via);
	daemon_replace(&culvert->config, &fresh);
	limits_set(&culvert->limits, &culvert->config);
	quic_memory_resize(culvert->memory, culvert->config.memory_max);
	culvert->signals.grace_ms = UINT64_C(1000) * culvert->config.grace;
}

/* ---- Exit ---- */

static void
close_all(void *arg)
{
	struct culvert *culvert = arg;

	listener_free(culvert->listener, "culvert is shutting down");
	pool_free(culvert->pool);
	direct_outbound_free(culvert->direct);
	refuse_outbound_free(culvert->block);
	set_rules(culvert, NULL);
	own_addresses_close(&culvert->own);
	control_close(culvert->control);
	edge_free(culvert->edge);
	users_free(culvert->users);
	signals_close(&culvert->signals);
}

static void
on_drain(void *arg)
{
	struct culvert *culvert = arg;

	listener_stop(culvert->listener);
}

static bool
is_busy(void *arg)
{
	struct culvert *culvert = arg;

	return listener_is_busy(culvert->listener);
}

static const struct signals_events signals_events = {
	.reload = on_reload,
	.drain = on_drain,
	.busy = is_busy,
	.finish = close_all,
};

/* ---- Start ---- */

/*
 * The embedded edge and its client share a key that is generated at the start
 * and never leaves the process. Each accepts only a peer with this key, so
 * another user of this machine who finds the port cannot connect.
 */
static int
make_pair(struct edge_settings *edge, struct pool_edge *pool,
    char error[QUIC_ERROR_MAX])
{
	struct quic_tls_client_settings client = { .npins = 1 };
	struct quic_tls_server_settings server = { .nclient_pins = 1 };
	uint8_t pin[1][QUIC_PIN_LEN];
	char *cert, *key;
	int rv;

	snprintf(error, QUIC_ERROR_MAX, "no key can be made");
	if ((rv = quic_tls_self_signed(LOOPBACK, time(NULL), &cert, &key)) != 0)
		return rv;
	client.cert = server.cert = (struct quic_pem){ cert, strlen(cert) };
	client.key = server.key = (struct quic_pem){ key, strlen(key) };
	client.pins = server.client_pins = (const uint8_t(*)[QUIC_PIN_LEN])pin;
	rv = quic_tls_pin(&server.cert, pin[0]);
	if (rv == 0)
		rv = quic_tls_secret(&server.key, edge->secret);
	if (rv == 0)
		rv = quic_tls_server_new(&edge->tls, &server, error);
	if (rv == 0)
		rv = quic_tls_client_new(&pool->tls, &client, error);
	explicit_bzero(key, strlen(key));
	free(key);
	free(cert);
	return rv;
}

/* An edge in this process, on a loopback port. */
static int
start_embedded_edge(struct culvert *culvert, struct pool_settings *pool)
{
	struct edge_settings settings = {
		.quic = quic_settings(&culvert->config, culvert->memory),
		.limits = edge_limits(&culvert->config),
		.qlog_dir = culvert->config.qlog
	};
	struct sockaddr_storage addr;
	char error[QUIC_ERROR_MAX];
	int rv;

	load_policy(&settings.policy, &culvert->config);
	addr_parse(&addr, LOOPBACK ":0");
	pool->nedges = 1;
	rv = make_pair(&settings, &pool->edges[0], error);
	if (rv == 0 &&
	    ((rv = edge_new(&culvert->edge, &culvert->loop, &settings)) != 0 ||
		(rv = edge_listen(culvert->edge, (struct sockaddr *)&addr,
		     &addr)) != 0))
		snprintf(error, sizeof(error), "%s", strerror(-rv));
	quic_tls_free(settings.tls);
	explicit_bzero(settings.secret, sizeof(settings.secret));
	if (rv != 0) {
		log_error("cannot start the embedded edge: %s", error);
		return rv;
	}
	target_set(&pool->edges[0].target, LOOPBACK, strlen(LOOPBACK),
	    ntohs(((struct sockaddr_in *)&addr)->sin_port));
	return 0;
}

static bool
may_go_by(void *via)
{
	return quic_via_is_allowed(via);
}

/* Later sockets need the capability that --interface or --fwmark requires. */
static int
allow_via(const struct config *config, uint64_t *keep)
{
	struct quic_via via = quic_via(config);
	int rv = sandbox_least(may_go_by, &via, keep);

	if (rv != 0)
		log_error(
		    "--%s requires the capability CAP_NET_RAW "
		    "(CAP_NET_ADMIN before Linux 5.17); start as root, or set "
		    "AmbientCapabilities=CAP_NET_RAW in the unit",
		    config->fwmark != 0 ? "fwmark" : "interface");
	else if (config->interface != NULL &&
	    if_nametoindex(config->interface) == 0)
		log_warn("the interface %s does not exist; waiting for it",
		    config->interface);
	return rv;
}

static int
start_upstream(struct culvert *culvert)
{
	struct pool_settings settings;
	char error[ERROR_MAX];
	int rv;

	if ((rv = load(&settings, &culvert->users, &culvert->config,
		 culvert->memory, error)) != 0) {
		log_error("%s", error);
		return rv;
	}
	if (culvert->config.embedded_edge)
		rv = start_embedded_edge(culvert, &settings);
	if (rv == 0)
		rv = pool_new(&culvert->pool, &culvert->loop, &settings);
	unload(&settings);
	return rv;
}

static int
add_listener(struct culvert *culvert, const struct sockaddr_storage *addr,
    const struct target *forward)
{
	const struct sockaddr *sa = (const struct sockaddr *)addr;
	int rv = listener_add(culvert->listener, sa, forward);
	char name[ADDR_STRLEN];

	if (rv != 0)
		log_error("cannot listen on %s: %s", addr_format(sa, name),
		    strerror(-rv));
	return rv;
}

static void
log_listeners(const struct culvert *culvert)
{
	const struct config *config = &culvert->config;
	struct sockaddr_storage bound[CONFIG_LISTEN_MAX + CONFIG_FORWARD_MAX];
	char name[ADDR_STRLEN], target[TARGET_STRLEN];
	size_t n = listener_addresses(culvert->listener, bound,
	    CONFIG_LISTEN_MAX + CONFIG_FORWARD_MAX);

	for (size_t i = 0; i < n; i++) {
		addr_format((struct sockaddr *)&bound[i], name);
		if (i < config->listen.n) {
			log_info("listening on %s (SOCKS5, SOCKS4, HTTP)",
			    name);
			continue;
		}
		target_format(&config->forward.v[i - config->listen.n].target,
		    target, sizeof(target));
		log_info("forwarding %s to %s", name, target);
	}
}

static int
start_listener(struct culvert *culvert)
{
	const struct config *config = &culvert->config;
	int rv;

	if ((rv = listener_new(&culvert->listener, &culvert->loop,
		 &culvert->routes, culvert->users, &culvert->limits)) != 0)
		return rv;
	listener_set_via(culvert->listener, config->via);
	for (unsigned i = 0; i < config->listen.n && rv == 0; i++)
		rv = add_listener(culvert, &config->listen.v[i], NULL);
	for (unsigned i = 0; i < config->forward.n && rv == 0; i++)
		rv = add_listener(culvert, &config->forward.v[i].listen,
		    &config->forward.v[i].target);
	if (rv == 0)
		log_listeners(culvert);
	return rv;
}

/*
 * A user without $XDG_RUNTIME_DIR may not be able to make the default socket.
 * The proxy works without it; but a path that was configured must work.
 */
static int
start_control(struct culvert *culvert)
{
	char error[CONTROL_ERROR_MAX], path[CONTROL_PATH_SIZE];
	const char *wanted = culvert->config.control;
	bool is_default = strcmp(wanted, control_path_default(path)) == 0;
	int rv;

	/* A failure shows when the socket is made. */
	if (is_default)
		(void)control_path_make_directory(path);
	rv = control_new(&culvert->control, &culvert->loop, wanted,
	    &control_events, culvert, error);
	if ((rv == -EACCES || rv == -EROFS || rv == -ENOENT) && is_default) {
		log_warn("%s; culvertctl will not work; choose another path "
			 "with --control",
		    error);
		return 0;
	}
	if (rv != 0)
		log_error("%s", error);
	return rv;
}

static const char *
list_of_rules(const void *rules, size_t n)
{
	return rules == NULL ? NULL : route_rules_file(rules, n + 1);
}

static int
start(struct culvert *culvert)
{
	struct daemon_needs needs = {
		.connects = culvert->config.embedded_edge ||
		    culvert->config.rules != NULL
	};

	limits_set(&culvert->limits, &culvert->config);
	if (quic_memory_new(&culvert->memory, culvert->config.memory_max) != 0)
		return -1;
	if (allow_via(&culvert->config, &needs.capabilities) != 0 ||
	    start_upstream(culvert) != 0 || start_routes(culvert) != 0 ||
	    start_listener(culvert) != 0 || start_control(culvert) != 0)
		return -1;
	needs.file = list_of_rules;
	needs.arg = culvert->routes.rules;
	if (daemon_confine(&culvert->config, &needs) != 0)
		return -1;
	if (culvert->config.embedded_edge)
		log_info("ready, with an embedded edge: connections leave from "
			 "this machine%s",
		    config_listens_locally(&culvert->config)
			? ""
			: ", to public addresses and those of --allow only, "
			  "because other machines can reach --listen");
	else
		log_info("ready");
	log_notify("READY=1");
	return 0;
}

int
main(int argc, char **argv)
{
	struct culvert culvert = { .own = { .fd = -1 } };
	int rv;

	if ((rv = daemon_begin(&culvert.config, CONFIG_CULVERT, argc, argv)) >=
	    0)
		return rv;
	culvert.started_ns = quic_io_now();
	uv_loop_init(&culvert.loop);
	signals_init(&culvert.signals, &culvert.loop,
	    UINT64_C(1000) * culvert.config.grace, &signals_events, &culvert);
	rv = start(&culvert);
	if (rv != 0)
		close_all(&culvert);
	uv_run(&culvert.loop, UV_RUN_DEFAULT);
	uv_loop_close(&culvert.loop);
	quic_memory_free(culvert.memory);
	config_free(&culvert.config);
	privsep_stop();
	log_drain();
	return rv == 0 ? 0 : 1;
}
