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
 * Nanoseconds for a handshake: three packets of a silent edge go out in that
 * time. Whoever waits for a tunnel should outlive it.
 */
#define HANDSHAKE_NS UINT64_C(4000000000)

/* Milliseconds until a doubted edge is listened for again. */
#define LISTEN_MS 250

/* QUIC's error codes that carry an alert of TLS (RFC 9000 §20.1). */
#define CRYPTO_ERROR_FIRST 0x100
#define CRYPTO_ERROR_LAST 0x1ff

#define NS_PER_MS UINT64_C(1000000)

static void
changed(struct connection *link)
{
	link->host->changed(link->host->arg);
}

/* ---- The connection's events ---- */

static void
on_connected(struct quic_conn *conn, void *arg)
{
	struct connection *link = arg;
	struct quic_stats stats;

	if (link->state == CONNECTION_OVER)
		return;
	quic_conn_stats(conn, &stats);
	link->state = CONNECTION_UP;
	link->was_up = true;
	log_info("connected to %s (%s, %s%s)", link->address,
	    stats.tls_version, stats.tls_cipher,
	    stats.resumed ? ", resumed" : "");
	changed(link);
}

static void
on_mtu_changed(struct quic_conn *conn, void *arg)
{
	struct connection *link = arg;
	struct quic_pulse pulse;

	quic_conn_pulse(conn, &pulse);
	log_info("path MTU to %s is %zu (%s)", link->address, pulse.ip_mtu,
	    pulse.mtu_cause);
}

static void
on_streams_available(struct quic_conn *conn, void *arg)
{
	struct connection *link = arg;

	(void)conn;
	link->full = false;
	changed(link);
}

static void
on_draining(struct quic_conn *conn, void *arg)
{
	struct connection *link = arg;

	(void)conn;
	log_info("%s is shutting down; its tunnels may finish, and new tunnels "
	    "use another connection",
	    link->address);
	connection_drain(link);
	changed(link);
}

/* Time does not cure what TLS has refused, on either side. */
static bool
is_hopeless(const struct quic_close *why)
{
	return why->cause == QUIC_BAD_CERTIFICATE ||
	    why->cause == QUIC_NO_H3 || why->cause == QUIC_NO_VERSION ||
	    (!why->application && why->code >= CRYPTO_ERROR_FIRST &&
	    why->code <= CRYPTO_ERROR_LAST);
}

/* An edge that is full closes what is idle, and no tunnel is lost. */
static bool
is_spare(const struct quic_close *why)
{
	return why->cause == QUIC_CLOSED_BY_PEER && why->application &&
	    why->code == QUIC_H3_EXCESSIVE_LOAD && why->streams == 0;
}

static void
on_closed(struct quic_conn *conn, const struct quic_close *why, void *arg)
{
	struct connection *link = arg;

	(void)conn;
	if (link->state == CONNECTION_OVER)
		return;
	snprintf(link->why, sizeof(link->why), "%s",
	    why->cause == QUIC_NO_ANSWER
	    ? "no answer; it may be down, or UDP may be blocked" : why->text);
	link->hopeless = is_hopeless(why);
	link->foreign = why->cause == QUIC_NO_VERSION ||
	    why->cause == QUIC_NO_H3;
	link->spare = link->state != CONNECTION_CONNECTING && is_spare(why);
	link->state = CONNECTION_OVER;
	changed(link);
}

static void
on_qlog(struct quic_conn *conn, const void *data, size_t len, void *arg)
{
	struct connection *link = arg;

	(void)conn;
	qlog_write(link->qlog, data, len);
}

/* ---- Is anybody there? ---- */

#define GONE "the edge stopped listening on its UDP port"

static void
doubt(struct connection *link)
{
	struct quic_pulse pulse;

	if (link->doubted)
		return;
	if (link->state == CONNECTION_UP)
		log_info("%s is silent; trying another path",
		    link->address);
	quic_conn_pulse(link->conn, &pulse);
	link->heard = pulse.packets_received;
	link->doubted = true;
	changed(link);
}

static void
on_silent(struct quic_conn *conn, void *arg)
{
	struct connection *link = arg;

	(void)conn;
	link->silent = true;
	if (link->unreachable) {
		connection_end(link, GONE);
		return;
	}
	doubt(link);
	migration_silent(link->roam);
}

/*
 * ICMP says that nobody is there, and anybody may have sent it. It ends a
 * handshake, which costs little; later it only counts if the edge is silent.
 */
static void
on_unreachable(void *arg, int error)
{
	struct connection *link = arg;

	if (link->state == CONNECTION_CONNECTING) {
		snprintf(link->why, sizeof(link->why), "%s",
		    error == -ECONNREFUSED
		    ? "no answer: no edge is listening on this UDP port"
		    : strerror(-error));
		link->state = CONNECTION_OVER;
		changed(link);
	} else if (link->silent)
		connection_end(link, GONE);
	else if (!link->unreachable) {
		link->unreachable = true;
		quic_conn_ping(link->conn);
		doubt(link);
	}
}

uint64_t
connection_check(struct connection *link, uint64_t now)
{
	struct quic_pulse pulse;

	if (!link->doubted || link->behind || link->state == CONNECTION_OVER)
		return UINT64_MAX;
	quic_conn_pulse(link->conn, &pulse);
	if (pulse.packets_received == link->heard)
		return now + LISTEN_MS;
	link->doubted = link->silent = link->unreachable = false;
	return UINT64_MAX;
}

/* ---- Moving ---- */

static void
on_migrated(struct quic_conn *conn, bool valid, void *arg)
{
	struct connection *link = arg;

	(void)conn;
	link->host->migrations += valid;
	migration_migrated(link->roam, valid);
}

static void
on_gave_up(void *arg, const char *why)
{
	connection_end(arg, why);
}

static void
on_left_behind(void *arg)
{
	struct connection *link = arg;

	log_info("%s does not support connection migration; this connection "
	    "stays on its path, and new tunnels use a new one", link->address);
	link->behind = link->doubted = true;
	changed(link);
}

static const struct migration_events migration_events = {
	.gave_up = on_gave_up,
	.left_behind = on_left_behind,
};

void
connection_network_changed(struct connection *link)
{
	migration_network_changed(link->roam);
}

void
connection_slept(struct connection *link, uint64_t ns)
{
	migration_slept(link->roam, ns);
}

void
connection_edge_answers(struct connection *link)
{
	migration_edge_answers(link->roam);
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

/* Socket, connection and roam are made here, and dropped in connection_close().
 */
static int
connect_to(struct connection *link, struct quic_tls *tls, const char *name,
    const struct sockaddr *addr)
{
	struct connection_host *host = link->host;
	struct quic_settings settings = host->quic;
	struct quic_path path;
	int rv;

	settings.handshake_timeout_ns = HANDSHAKE_NS;
	settings.silence_ns = MIGRATION_SILENCE_MS * NS_PER_MS;
	rv = quic_io_connect(&link->io, host->loop, addr, &host->via, &path);
	if (rv != 0)
		return rv;
	link->qlog = qlog_open(host->qlog_dir, "culvert");
	link->events = events;
	link->events.qlog = link->qlog != NULL ? on_qlog : NULL;
	rv = quic_client_new(&link->conn, tls, name, &path, &settings,
	    &link->events, link, quic_io_now());
	if (rv == 0)
		rv = migration_new(&link->roam, host->loop, link->io,
		    link->conn, &migration_events, link);
	if (rv == 0)
		quic_io_start(link->io, link->conn, on_unreachable, link);
	return rv;
}

int
connection_new(struct connection **out, struct connection_host *host,
    struct quic_tls *tls, const char *name, const struct sockaddr *addr)
{
	struct connection *link = calloc(1, sizeof(*link));
	int rv;

	if (link == NULL)
		return -ENOMEM;
	link->host = host;
	addr_format(addr, link->address);
	if ((rv = connect_to(link, tls, name, addr)) != 0) {
		link->state = CONNECTION_OVER;
		connection_close(link);
		return rv;
	}
	*out = link;
	return 0;
}

void
connection_end(struct connection *link, const char *why)
{
	if (link->state != CONNECTION_OVER)
		quic_conn_close(link->conn, QUIC_H3_NO_ERROR, why,
		    quic_io_now());
}

void
connection_close(struct connection *link)
{
	connection_end(link, "no longer needed");
	/* As a rule there are no tunnels, and no need to wait for turns. */
	while (link->conn != NULL && quic_conn_is_closing(link->conn))
		quic_conn_expire(link->conn, quic_io_now());
	migration_free(link->roam);
	quic_io_close(link->io);
	quic_conn_free(link->conn);
	qlog_close(link->qlog);
	free(link);
}

void
connection_drain(struct connection *link)
{
	if (link->state != CONNECTION_UP)
		return;
	link->state = CONNECTION_DRAINING;
	link->drained = true;
}

size_t
connection_tunnels(const struct connection *link)
{
	struct quic_pulse pulse;

	quic_conn_pulse(link->conn, &pulse);
	return pulse.streams;
}
