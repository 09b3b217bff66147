/*
 * culvert-edge: the far side as a daemon of its own.
 *
 * Everything is acquired first (files, sockets), then privileges are dropped,
 * then connections are served. On SIGTERM they are told to ask for nothing more,
 * and have some time to end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>
#include <uv.h>

#include "proxy/config.h"
#include "proxy/daemon.h"
#include "proxy/edge/edge.h"
#include "proxy/log.h"
#include "proxy/pem.h"
#include "proxy/signals.h"

struct daemon {
	struct config config;
	uv_loop_t loop;
	struct signals signals;
	uv_tcp_t first; /* see init_loop() */
	struct policy policy;
	struct users *users;
	struct edge *edge;
};

static void
close_all(void *arg)
{
	struct daemon *daemon = arg;

	edge_free(daemon->edge);
	users_free(daemon->users);
	signals_close(&daemon->signals);
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
	.drain = on_drain,
	.busy = is_busy,
	.finish = close_all,
};

static void
init_loop(struct daemon *daemon)
{
	uv_loop_init(&daemon->loop);
	signals_init(&daemon->signals, &daemon->loop,
	    UINT64_C(1000) * daemon->config.grace, &signals_events, daemon);
	/*
	 * With its first stream libuv opens a spare descriptor: it shall not
	 * try so again for every tunnel, in a sandbox that has no such file.
	 */
	uv_tcp_init(&daemon->loop, &daemon->first);
	uv_close((uv_handle_t *)&daemon->first, NULL);
}

/* The pin, as culvert's --pin takes it. */
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

static int
load_tls(const struct config *config, struct edge_settings *settings)
{
	struct quic_tls_server_settings server = { 0 };
	char error[QUIC_ERROR_MAX];
	int rv;

	if (config->self_signed)
		rv = pem_self_signed(&server.cert, &server.key, error);
	else if ((rv = pem_load(&server.cert, config->cert, error)) == 0)
		rv = pem_load(&server.key, config->key, error);
	if (rv == 0)
		rv = pem_load(&server.client_ca, config->client_ca, error);
	if (rv == 0)
		rv = quic_tls_server_new(&settings->tls, &server, error);
	if (rv == 0)
		rv = quic_tls_secret(&server.key, settings->secret);
	if (rv == 0 && config->self_signed)
		print_pin(&server.cert);
	pem_free(&server.cert);
	pem_free(&server.key);
	pem_free(&server.client_ca);
	if (rv != 0)
		log_error("%s", error);
	return rv;
}

static int
load_policy(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	int rv = 0;

	policy_init(&daemon->policy, false);
	for (unsigned i = 0; i < config->allow.n && rv == 0; i++)
		rv = policy_allow(&daemon->policy, config->allow.v[i]);
	for (unsigned i = 0; i < config->deny.n && rv == 0; i++)
		rv = policy_deny(&daemon->policy, config->deny.v[i]);
	return rv;
}

static int
load_users(struct daemon *daemon)
{
	char error[512];

	if (daemon->config.users == NULL)
		return 0;
	if (users_load(&daemon->users, daemon->config.users, error,
		sizeof(error)) == 0)
		return 0;
	log_error("%s", error);
	return -EINVAL;
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
	const char *const write[] = { config->qlog, NULL };
	struct sandbox_paths paths = { NULL, write };

	return daemon_confine(&paths);
}

static int
start(struct daemon *daemon)
{
	const struct config *config = &daemon->config;
	struct edge_settings settings = { .policy = &daemon->policy,
		.quic = { .cc = config->cc, .ip_mtu_max = config->mtu_max },
		.qlog_dir = config->qlog };
	int rv;

	if (load_policy(daemon) != 0 || load_users(daemon) != 0 ||
	    load_tls(config, &settings) != 0)
		return -1;
	settings.users = daemon->users;
	rv = edge_new(&daemon->edge, &daemon->loop, &settings);
	quic_tls_free(settings.tls);
	explicit_bzero(settings.secret, sizeof(settings.secret));
	if (rv != 0) {
		log_error("cannot start: %s", strerror(-rv));
		return -1;
	}
	if (listen_all(daemon) != 0 || enter_sandbox(config) != 0)
		return -1;
	log_info("ready%s", daemon->users == NULL
	    ? ", open: everybody who can reach it may use it" : "");
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
	config_free(&daemon.config);
	return rv == 0 ? 0 : 1;
}
