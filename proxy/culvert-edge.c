/*
 * culvert-edge: the edge as a daemon.
 *
 * It first acquires files and sockets, then drops privileges, then serves
 * connections. On SIGTERM it sends GOAWAY, and tunnels have some time to
 * finish.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>
#include <uv.h>

#include "proxy/config/config.h"
#include "proxy/daemon.h"
#include "proxy/edge/edge.h"
#include "proxy/base/log.h"
#include "proxy/base/pem.h"
#include "proxy/base/privsep.h"
#include "proxy/base/signals.h"

struct daemon {
	struct config config;
	uv_loop_t loop;
	struct signals signals;
	uv_tcp_t first; /* see init_loop() */
	struct quic_memory *memory;
	struct edge *edge;
};

/* Logs the pin in the format of culvert's --pin. */
static void
print_pin(const struct quic_pem *cert)
{
	uint8_t pin[QUIC_PIN_LEN];
	gnutls_datum_t raw = { pin, sizeof(pin) }, text;

	if (quic_tls_pin(cert, pin) != 0 ||
	    gnutls_base64_encode2(&raw, &text) != 0)
		return;
	log_info("clients must use --pin sha256//%.*s", (int)text.size,
	    (const char *)text.data);
	gnutls_free(text.data);
}

/*
 * ---- Files of the configuration ----
 *
 * Either all are loaded or none; then `error` has the reason.
 */

#define ERROR_MAX 512 /* bytes: two paths of usual length and a sentence */

static int
load_tls(struct edge_settings *settings, const struct config *config,
    char error[ERROR_MAX])
{
	struct quic_tls_server_settings server = { 0 };
	char why[QUIC_ERROR_MAX];
	int rv;

	if (config->self_signed)
		rv = pem_self_signed(&server.cert, &server.key, error);
	else if ((rv = pem_load(&server.cert, config->cert, error)) == 0)
		rv = pem_load(&server.key, config->key, error);
	if (rv == 0)
		rv = pem_load_ca(&server.client_ca, config->client_ca, error);
	if (rv == 0 &&
	    (rv = quic_tls_server_new(&settings->tls, &server, why)) != 0)
		snprintf(error, ERROR_MAX, "%s: %s",
		    config->self_signed ? "--self-signed" : config->cert, why);
	if (rv == 0 &&
	    (rv = quic_tls_secret(&server.key, settings->secret)) != 0)
		snprintf(error, ERROR_MAX,
		    "no secret can be derived from the "
		    "private key");
	if (rv == 0 && config->self_signed)
		print_pin(&server.cert);
	pem_free(&server.cert);
	pem_free(&server.key);
	pem_free(&server.client_ca);
	return rv;
}

static void
load_limits(struct edge_settings *settings, const struct config *config,
    struct quic_memory *memory)
{
	settings->quic = (struct quic_settings){ .cc = config->cc,
		.memory = memory,
		.ip_mtu_max = config->mtu_max,
		.no_repair = config->no_repair,
		.no_ipsec_mb = config->no_ipsec_mb,
		.streams_max = config->streams_max,
		.head_timeout_ns = UINT64_C(1000000000) * config->head_timeout,
		.half_open_max = config->half_open_max,
		.handshakes_max = config->handshake_rate,
		.source_max = config->source_connections };
	settings->limits = (struct edge_limits){ .tunnels = config->tunnels_max,
		.tunnels_per_user = config->tunnels_per_user,
		.dials_per_origin = config->dials_per_origin,
		.connect_timeout_ms = UINT64_C(1000) * config->connect_timeout,
		.tunnel_timeout_ms = UINT64_C(1000) * config->tunnel_timeout,
		.keepalive_timeout_s = config->keepalive_timeout };
}

static void
unload(struct edge_settings *settings)
{
	quic_tls_free(settings->tls);
	users_free(settings->users);
	explicit_bzero(settings, sizeof(*settings));
}

static int
load(struct edge_settings *settings, const struct config *config,
    struct quic_memory *memory, char error[ERROR_MAX])
{
	int rv = 0;

	*settings = (struct edge_settings){ .qlog_dir = config->qlog };
	load_limits(settings, config, memory);
	policy_init(&settings->policy, false);
	policy_load(&settings->policy, config->allow.v, config->allow.n,
	    config->deny.v, config->deny.n);
	if (config->users != NULL)
		rv = users_load(&settings->users, config->users, error,
		    ERROR_MAX);
	if (rv == 0)
		rv = load_tls(settings, config, error);
	if (rv != 0)
		unload(settings);
	return rv;
}

static void
on_reload(void *arg)
{
	struct daemon *daemon = arg;
	struct edge_settings settings;
	char error[ERROR_MAX];
	struct config fresh;

	if (daemon_reload(&fresh, &daemon->config) != 0)
		return;
	if (load(&settings, &fresh, daemon->memory, error) != 0) {
		log_error(DAEMON_NOT_RELOADED "%s", error);
		config_free(&fresh);
		return;
	}
	edge_reload(daemon->edge, &settings);
	settings.users = NULL; /* the edge's */
	unload(&settings);
	daemon_replace(&daemon->config, &fresh);
	quic_memory_resize(daemon->memory, daemon->config.memory_max);
	daemon->signals.grace_ms = UINT64_C(1000) * daemon->config.grace;
}

/* ---- Exit ---- */

static void
close_all(void *arg)
{
	struct daemon *daemon = arg;

	edge_free(daemon->edge);
	signals_close(&daemon->signals);
}

static void
on_report(void *arg)
{
	struct daemon *daemon = arg;

	edge_report(daemon->edge);
}

static void
on_drain(void *arg)
{
	struct daemon *daemon = arg;

	edge_drain(daemon->edge);
}

static bool
is_busy(void *arg)
{
	struct daemon *daemon = arg;

	return edge_connections(daemon->edge) > 0;
}

static const struct signals_events signals_events = {
	.reload = on_reload,
	.report = on_report,
	.drain = on_drain,
	.busy = is_busy,
	.finish = close_all,
};

/* ---- Start ---- */

static void
init_loop(struct daemon *daemon)
{
	uv_loop_init(&daemon->loop);
	signals_init(&daemon->signals, &daemon->loop,
	    UINT64_C(1000) * daemon->config.grace, &signals_events, daemon);
	/*
	 * With its first stream libuv opens a spare descriptor. Do this before
	 * the sandbox, in which it would fail and be repeated per tunnel.
	 */
	uv_tcp_init(&daemon->loop, &daemon->first);
	uv_close((uv_handle_t *)&daemon->first, NULL);
}

static int
listen_all(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	struct sockaddr_storage bound;
	const struct sockaddr *addr;
	char name[ADDR_STRLEN];
	int rv;

	for (unsigned i = 0; i < config->listen.n; i++) {
		addr = (const struct sockaddr *)&config->listen.v[i];
		if ((rv = edge_listen(daemon->edge, addr, &bound)) != 0) {
			log_error("cannot listen on %s: %s",
			    addr_format(addr, name), strerror(-rv));
			return rv;
		}
		log_info("listening on %s (UDP, HTTP/3)",
		    addr_format((struct sockaddr *)&bound, name));
	}
	return 0;
}

static int
enter_sandbox(const struct config *config)
{
	char cert[PEM_OWN_PATH_MAX], key[PEM_OWN_PATH_MAX];
	struct daemon_needs needs = { .connects = true };
	char error[QUIC_ERROR_MAX];

	if (config->self_signed && pem_own_paths(cert, key, error) == 0) {
		needs.cert = cert;
		needs.key = key;
	}
	return daemon_confine(config, &needs);
}

/* The list of name servers for the resolver: "addr:port,addr:port". */
#define SERVERS_MAX (CONFIG_LISTEN_MAX * (ADDR_STRLEN + 1))

static const char *
name_servers(const struct config_addrs *list, char buf[SERVERS_MAX])
{
	char name[ADDR_STRLEN];
	size_t len = 0;

	for (unsigned i = 0; i < list->n; i++)
		len += (size_t)sprintf(buf + len, "%s%s", i > 0 ? "," : "",
		    addr_format((const struct sockaddr *)&list->v[i], name));
	return list->n > 0 ? buf : NULL;
}

static int
start_edge(struct daemon *daemon)
{
	char error[ERROR_MAX], servers[SERVERS_MAX];
	struct edge_settings settings;
	int rv;

	if ((rv = load(&settings, &daemon->config, daemon->memory, error)) !=
	    0) {
		log_error("%s", error);
		return rv;
	}
	settings.resolvers = name_servers(&daemon->config.resolver, servers);
	rv = edge_new(&daemon->edge, &daemon->loop, &settings);
	if (rv == 0)
		settings.users = NULL; /* the edge's */
	else
		log_error("cannot start: %s", strerror(-rv));
	unload(&settings);
	return rv;
}

static int
start(struct daemon *daemon)
{
	const struct config *config = &daemon->config;

	if (quic_memory_new(&daemon->memory, config->memory_max) != 0 ||
	    start_edge(daemon) != 0 || listen_all(daemon) != 0 ||
	    enter_sandbox(config) != 0)
		return -1;
	log_info("ready%s",
	    config->users == NULL ? ", open to everyone without authentication"
				  : "");
	log_notify("READY=1");
	return 0;
}

int
main(int argc, char **argv)
{
	struct daemon daemon = { 0 };
	int rv;

	if ((rv = daemon_begin(&daemon.config, CONFIG_CULVERT_EDGE, argc,
		 argv)) >= 0)
		return rv;
	init_loop(&daemon);
	rv = start(&daemon);
	if (rv != 0)
		close_all(&daemon);
	uv_run(&daemon.loop, UV_RUN_DEFAULT);
	uv_loop_close(&daemon.loop);
	quic_memory_free(daemon.memory);
	config_free(&daemon.config);
	privsep_stop();
	log_drain();
	return rv == 0 ? 0 : 1;
}
