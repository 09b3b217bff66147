#include "proxy/local/upstream/connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/upstream/migration.h"
#include "proxy/base/log.h"
#include "proxy/base/qlog.h"
#include "quic/io.h"

/*
 * Nanoseconds for a handshake: three packets go out to a silent edge in that
 * time. A client that waits for a tunnel should wait longer.
 */
#define HANDSHAKE_NS UINT64_C(4000000000)

/* Milliseconds between checks whether a suspect edge answers again. */
#define CHECK_MS 250

/* QUIC's error codes that carry an alert of TLS (RFC 9000 §20.1). */
#define CRYPTO_ERROR_FIRST 0x100
#define CRYPTO_ERROR_LAST 0x1ff

#define NS_PER_MS UINT64_C(1000000)

static void
changed(struct connection *c)
{
	c->context->changed(c->context->arg);
}

/* ---- The connection's events ---- */

static void
on_connected(struct quic_conn *conn, void *arg)
{
	struct connection *c = arg;
	struct quic_stats stats;

	if (c->state == CONNECTION_CLOSED)
		return;
	quic_conn_stats(conn, &stats);
	c->state = CONNECTION_UP;
	c->was_up = true;
	log_info("connected to %s (%s, %s%s)", c->address, stats.tls_version,
	    stats.tls_cipher, stats.resumed ? ", resumed" : "");
	changed(c);
}

static void
on_mtu_changed(struct quic_conn *conn, void *arg)
{
	struct connection *c = arg;
	struct quic_pulse pulse;

	quic_conn_pulse(conn, &pulse);
	log_info("path MTU to %s is %zu (%s)", c->address, pulse.ip_mtu,
	    pulse.mtu_cause);
}

static void
on_streams_available(struct quic_conn *conn, void *arg)
{
	struct connection *c = arg;

	(void)conn;
	c->at_stream_limit = false;
	changed(c);
}

static void
on_draining(struct quic_conn *conn, void *arg)
{
	struct connection *c = arg;

	(void)conn;
	log_info("%s is shutting down; its tunnels may finish, and new tunnels "
		 "use another connection",
	    c->address);
	c->goaway = true;
	connection_drain(c);
	changed(c);
}

/* What TLS or the version negotiation refuses will be refused again. */
static bool
is_permanent(const struct quic_close *why)
{
	return why->cause == QUIC_BAD_CERTIFICATE || why->cause == QUIC_NO_H3 ||
	    why->cause == QUIC_NO_VERSION ||
	    (!why->application && why->code >= CRYPTO_ERROR_FIRST &&
		why->code <= CRYPTO_ERROR_LAST);
}

/* An edge at its limit closes idle connections, and no tunnel is lost. */
static bool
is_eviction(const struct quic_close *why)
{
	return why->cause == QUIC_CLOSED_BY_PEER && why->application &&
	    why->code == QUIC_H3_EXCESSIVE_LOAD && why->streams == 0;
}

static void
on_closed(struct quic_conn *conn, const struct quic_close *why, void *arg)
{
	struct connection *c = arg;

	(void)conn;
	if (c->state == CONNECTION_CLOSED)
		return;
	snprintf(c->why, sizeof(c->why), "%s",
	    why->cause == QUIC_NO_ANSWER
		? "no answer; it may be down, or UDP may be blocked"
		: why->text);
	c->permanent = is_permanent(why);
	c->no_h3 = why->cause == QUIC_NO_VERSION || why->cause == QUIC_NO_H3;
	c->evicted = c->state != CONNECTION_CONNECTING && is_eviction(why);
	c->state = CONNECTION_CLOSED;
	changed(c);
}

static void
on_qlog(struct quic_conn *conn, const void *data, size_t len, void *arg)
{
	struct connection *c = arg;

	(void)conn;
	qlog_write(c->qlog, data, len);
}

/* ---- Silence ---- */

#define GONE "the edge stopped listening on its UDP port"

static void
set_suspect(struct connection *c)
{
	struct quic_pulse pulse;

	if (c->suspect)
		return;
	if (c->state == CONNECTION_UP)
		log_info("%s is silent; trying another path", c->address);
	quic_conn_pulse(c->conn, &pulse);
	c->packets_seen = pulse.packets_received;
	c->suspect = true;
	changed(c);
}

static void
on_silent(struct quic_conn *conn, void *arg)
{
	struct connection *c = arg;

	(void)conn;
	c->silent = true;
	if (c->unreachable) {
		connection_close(c, GONE);
		return;
	}
	set_suspect(c);
	migration_silent(c->migration);
}

/*
 * ICMP reports that no socket is there, and an attacker may have sent it. It
 * ends a handshake, which costs little; later it counts only if the edge is
 * silent.
 */
static void
on_unreachable(void *arg, int error)
{
	struct connection *c = arg;

	if (c->state == CONNECTION_CONNECTING) {
		snprintf(c->why, sizeof(c->why), "%s",
		    error == -ECONNREFUSED
			? "no answer: no edge is listening on this UDP port"
			: strerror(-error));
		c->state = CONNECTION_CLOSED;
		changed(c);
	} else if (c->silent)
		connection_close(c, GONE);
	else if (!c->unreachable) {
		c->unreachable = true;
		quic_conn_ping(c->conn);
		set_suspect(c);
	}
}

uint64_t
connection_check(struct connection *c, uint64_t now)
{
	struct quic_pulse pulse;

	if (!c->suspect || c->left_behind || c->state == CONNECTION_CLOSED)
		return UINT64_MAX;
	quic_conn_pulse(c->conn, &pulse);
	if (pulse.packets_received == c->packets_seen)
		return now + CHECK_MS;
	c->suspect = c->silent = c->unreachable = false;
	return UINT64_MAX;
}

/* ---- Migration ---- */

static void
on_migrated(struct quic_conn *conn, bool valid, void *arg)
{
	struct connection *c = arg;

	(void)conn;
	c->context->migrations += valid;
	migration_migrated(c->migration, valid);
}

static void
on_gave_up(void *arg, const char *why)
{
	connection_close(arg, why);
}

static void
on_left_behind(void *arg)
{
	struct connection *c = arg;

	log_info("%s does not support connection migration; this connection "
		 "stays on its path, and new tunnels use a new one",
	    c->address);
	c->left_behind = c->suspect = true;
	changed(c);
}

static const struct migration_events migration_events = {
	.gave_up = on_gave_up,
	.left_behind = on_left_behind,
};

void
connection_network_changed(struct connection *c)
{
	migration_network_changed(c->migration);
}

void
connection_resumed(struct connection *c, uint64_t ns)
{
	migration_resumed(c->migration, ns);
}

void
connection_edge_answers(struct connection *c)
{
	migration_edge_answers(c->migration);
}

static const struct quic_events events = {
	.connected = on_connected,
	.streams_available = on_streams_available,
	.mtu_changed = on_mtu_changed,
	.draining = on_draining,
	.silent = on_silent,
	.migrated = on_migrated,
	.closed = on_closed,
};

/* ---- Life ---- */

void
connection_keep_repair(struct connection *c, const char *network,
    const struct quic_pulse *pulse)
{
	if (pulse->repair_known)
		repair_history_note(&c->context->repair_history, network,
		    c->address, &pulse->repair);
}

static void
keep_last_repair(struct connection *c)
{
	char network[NETWORK_NAME_MAX];
	struct quic_pulse pulse;

	quic_conn_pulse(c->conn, &pulse);
	network_name(quic_conn_path(c->conn), network);
	connection_keep_repair(c, network, &pulse);
}

/* connection_free() drops what is made here, also after an error. */
static int
connect_to(struct connection *c, struct quic_tls *tls, const char *name,
    const struct sockaddr *addr)
{
	struct connection_context *context = c->context;
	struct quic_settings settings = context->quic;
	char network[NETWORK_NAME_MAX];
	struct quic_path path;
	int rv;

	settings.handshake_timeout_ns = HANDSHAKE_NS;
	settings.silence_ns = MIGRATION_SILENCE_MS * NS_PER_MS;
	rv = quic_io_connect(&c->io, context->loop, addr, &context->via, &path);
	if (rv != 0)
		return rv;
	network_name(&path, network);
	settings.repair = repair_history_find(&context->repair_history, network,
	    c->address);
	c->qlog = qlog_open(context->qlog_dir, "culvert");
	c->events = events;
	c->events.qlog = c->qlog != NULL ? on_qlog : NULL;
	rv = quic_client_new(&c->conn, tls, name, &path, &settings, &c->events,
	    c, quic_io_now());
	if (rv == 0)
		rv = migration_new(&c->migration, context->loop, c->io, c->conn,
		    &migration_events, c);
	if (rv == 0)
		quic_io_start(c->io, c->conn, on_unreachable, c);
	return rv;
}

int
connection_new(struct connection **out, struct connection_context *context,
    struct quic_tls *tls, const char *name, const struct sockaddr *addr)
{
	struct connection *c = calloc(1, sizeof(*c));
	int rv;

	if (c == NULL)
		return -ENOMEM;
	c->context = context;
	addr_format(addr, c->address);
	if ((rv = connect_to(c, tls, name, addr)) != 0) {
		c->state = CONNECTION_CLOSED;
		connection_free(c);
		return rv;
	}
	*out = c;
	return 0;
}

void
connection_close(struct connection *c, const char *why)
{
	if (c->state != CONNECTION_CLOSED)
		quic_conn_close(c->conn, QUIC_H3_NO_ERROR, why, quic_io_now());
}

void
connection_free(struct connection *c)
{
	connection_close(c, "no longer needed");
	/* Usually there are no tunnels left: free them all at once. */
	while (c->conn != NULL && quic_conn_is_closing(c->conn))
		quic_conn_expire(c->conn, quic_io_now());
	if (c->conn != NULL)
		keep_last_repair(c);
	migration_free(c->migration);
	quic_io_close(c->io);
	quic_conn_free(c->conn);
	qlog_close(c->qlog);
	free(c);
}

void
connection_drain(struct connection *c)
{
	if (c->state != CONNECTION_UP)
		return;
	c->state = CONNECTION_DRAINING;
	c->drained = true;
}

size_t
connection_tunnels(const struct connection *c)
{
	struct quic_pulse pulse;

	quic_conn_pulse(c->conn, &pulse);
	return pulse.streams;
}
