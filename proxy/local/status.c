#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/addr.h"
#include "proxy/local/limits.h"
#include "proxy/local/statistics.h"
#include "proxy/local/status.h"
#include "proxy/local/upstream/pool.h"

#define NS_PER_S 1000000000
#define NS_PER_US 1000
#define US_PER_MS 1000
#define MS_PER_S 1000

/*
 * json_object_set_new() and json_array_append_new() fail when their value is
 * NULL, so one check at the end finds every error.
 */
struct writer {
	json_t *object;
	int error; /* not 0: memory ran out */
};

static void
put(struct writer *writer, const char *name, json_t *value)
{
	writer->error |= json_object_set_new(writer->object, name, value);
}

/* Returns the object, or NULL when a part of it is missing. */
static json_t *
finish(struct writer *writer)
{
	if (writer->error == 0)
		return writer->object;
	json_decref(writer->object);
	return NULL;
}

/* A string that may not be UTF-8, such as the reason of a peer's close. */
static json_t *
text(const char *s)
{
	json_t *value = json_string(s), *ascii;
	char *copy;

	if (value != NULL || (copy = strdup(s)) == NULL)
		return value;
	for (char *c = copy; *c != '\0'; c++) {
		if ((unsigned char)*c > 0x7f)
			*c = '?';
	}
	ascii = json_string(copy);
	free(copy);
	return ascii;
}

static json_t *
text_or_null(const char *s)
{
	return s != NULL && s[0] != '\0' ? text(s) : json_null();
}

static json_t *
number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static json_t *
number_if(bool known, uint64_t value)
{
	return known ? number(value) : json_null();
}

static json_t *
milliseconds(uint64_t ns)
{
	return json_real((double)(ns / NS_PER_US) / US_PER_MS);
}

static const char *
state_name(enum pool_state state)
{
	switch (state) {
	case POOL_CONNECTING:
		return "connecting";
	case POOL_UP:
		return "up";
	case POOL_DOWN:
		break;
	}
	return "down";
}

static json_t *
tls_json(const struct quic_stats *quic)
{
	struct writer tls = { .object = json_object() };

	put(&tls, "version", text_or_null(quic->tls_version));
	put(&tls, "cipher", text_or_null(quic->tls_cipher));
	put(&tls, "aead", text_or_null(quic->aead));
	put(&tls, "group", text_or_null(quic->tls_group));
	return finish(&tls);
}

static json_t *
tunnels_json(const struct pool_status *pool)
{
	struct writer tunnels = { .object = json_object() };

	put(&tunnels, "open", number(pool->open));
	put(&tunnels, "waiting", number(pool->waiting));
	put(&tunnels, "total", number(pool->opened));
	put(&tunnels, "failed", number(pool->failed));
	return finish(&tunnels);
}

static json_t *
clients_json(const struct client_totals *totals)
{
	struct writer clients = { .object = json_object() };

	put(&clients, "open", number(totals->open));
	put(&clients, "total", number(totals->total));
	return finish(&clients);
}

static json_t *
bytes_json(uint64_t up, uint64_t down)
{
	struct writer bytes = { .object = json_object() };

	put(&bytes, "up", number(up));
	put(&bytes, "down", number(down));
	return finish(&bytes);
}

static json_t *
packets_json(const struct quic_stats *quic, bool up)
{
	struct writer packets = { .object = json_object() };

	put(&packets, "sent", number_if(up, quic->packets_sent));
	put(&packets, "received", number_if(up, quic->packets_received));
	put(&packets, "lost", number_if(up, quic->packets_lost));
	put(&packets, "repaired", number_if(up, quic->packets_repaired));
	put(&packets, "repairs_sent", number_if(up, quic->repairs_sent));
	put(&packets, "trains", number_if(up, quic->trains_sent));
	return finish(&packets);
}

static const char *
connection_state(const struct pool_connection *connection)
{
	switch (connection->state) {
	case CONNECTION_CONNECTING:
		return "connecting";
	case CONNECTION_UP:
		return connection->silent ? "silent" : "up";
	case CONNECTION_DRAINING:
	case CONNECTION_CLOSED:
		break;
	}
	return "draining";
}

static json_t *
connections_json(const struct pool_status *pool)
{
	struct writer list = { .object = json_array() };
	const struct pool_connection *c;

	for (size_t i = 0; i < pool->nconnections; i++) {
		struct writer one = { .object = json_object() };

		c = &pool->connections[i];
		put(&one, "state", json_string(connection_state(c)));
		put(&one, "edge", text(c->edge));
		put(&one, "address", text(c->address));
		put(&one, "tunnels", number(c->tunnels));
		list.error |= json_array_append_new(list.object, finish(&one));
	}
	return finish(&list);
}

static json_t *
listen_json(const struct status_facts *facts)
{
	json_t *list = json_array();
	char addr[ADDR_STRLEN];

	for (size_t i = 0; i < facts->nlisten; i++) {
		addr_format((const struct sockaddr *)&facts->listen[i], addr);
		if (json_array_append_new(list, json_string(addr)) == 0)
			continue;
		json_decref(list);
		return NULL;
	}
	return list;
}

json_t *
status_mtu(const struct status_facts *facts)
{
	const struct quic_stats *quic = &facts->pool->quic;
	bool up = facts->pool->state == POOL_UP;
	bool changed = up && quic->mtu_changed_at != 0;
	struct writer mtu = { .object = json_object() };

	put(&mtu, "size", number_if(up, quic->ip_mtu));
	put(&mtu, "state", text_or_null(quic->mtu_state));
	put(&mtu, "ceiling", number_if(up, quic->ip_mtu_ceiling));
	put(&mtu, "cause", text_or_null(quic->mtu_cause));
	put(&mtu, "changed_s",
	    number_if(changed,
		(facts->now_ns - quic->mtu_changed_at) / NS_PER_S));
	put(&mtu, "probes_sent", number_if(up, quic->probes_sent));
	put(&mtu, "probes_acked", number_if(up, quic->probes_acked));
	put(&mtu, "probes_lost", number_if(up, quic->probes_lost));
	put(&mtu, "black_holes_suspected",
	    number_if(up, quic->black_holes_suspected));
	put(&mtu, "black_holes_confirmed",
	    number_if(up, quic->black_holes_confirmed));
	put(&mtu, "ptb_seen", number_if(up, quic->ptb_seen));
	put(&mtu, "ptb_valid", number_if(up, quic->ptb_valid));
	put(&mtu, "ptb_ignored", number_if(up, quic->ptb_ignored));
	return finish(&mtu);
}

static void
put_edge(struct writer *status, const struct pool_status *pool)
{
	bool up = pool->state == POOL_UP;

	put(status, "state", json_string(state_name(pool->state)));
	put(status, "error", text_or_null(pool->error));
	put(status, "edge", text_or_null(pool->edge));
	put(status, "address", text_or_null(pool->address));
	put(status, "alpn", up ? json_string("h3") : json_null());
	put(status, "tls", tls_json(&pool->quic));
	put(status, "resumed",
	    up ? json_boolean(pool->quic.resumed) : json_null());
}

static void
put_path(struct writer *status, const struct status_facts *facts)
{
	const struct quic_stats *quic = &facts->pool->quic;
	bool up = facts->pool->state == POOL_UP;

	put(status, "rtt_ms",
	    up && quic->rtt_ns != 0 ? milliseconds(quic->rtt_ns) : json_null());
	put(status, "cwnd", number_if(up, quic->cwnd));
	put(status, "bytes_in_flight", number_if(up, quic->bytes_in_flight));
	put(status, "path_mtu", number_if(up, quic->ip_mtu));
	put(status, "udp_payload", number_if(up, quic->udp_payload));
	put(status, "mtu_state", text_or_null(quic->mtu_state));
	put(status, "mtu_ceiling", number_if(up, quic->ip_mtu_ceiling));
	put(status, "mtu", status_mtu(facts));
}

static void
put_counts(struct writer *status, const struct status_facts *facts)
{
	const struct pool_status *pool = facts->pool;

	put(status, "connections", connections_json(pool));
	put(status, "spread", number(pool->spread));
	put(status, "tunnels", tunnels_json(pool));
	put(status, "clients", clients_json(facts->totals));
	put(status, "bytes",
	    bytes_json(facts->totals->bytes_up, facts->totals->bytes_down));
	put(status, "top", json_array());
	put(status, "packets",
	    packets_json(&pool->quic, pool->state == POOL_UP));
	put(status, "reconnects", number(pool->reconnects));
	put(status, "migrations", number(facts->pool->migrations));
}

static json_t *
limits_json(const struct limits *limits)
{
	struct writer all = { .object = json_object() };

	for (enum limit i = 0; i < LIMITS; i++) {
		struct writer one = { .object = json_object() };

		put(&one, "use",
		    number_if(i < LIMITS_COUNTED, limits->v[i].use));
		put(&one, "max",
		    number_if(limits->v[i].max != 0, limits->v[i].max));
		put(&one, "hits", number(limits->v[i].hits));
		put(&all, limits_name(i), finish(&one));
	}
	return finish(&all);
}

static void
put_process(struct writer *status, const struct status_facts *facts)
{
	put(status, "uptime_s", number(facts->uptime_ns / NS_PER_S));
	put(status, "version", json_string(CULVERT_VERSION));
	put(status, "pid", json_integer(facts->pid));
	put(status, "listen", listen_json(facts));
	put(status, "limits", limits_json(facts->limits));
}

json_t *
status_json(const struct status_facts *facts)
{
	struct writer status = { .object = json_object() };

	put_edge(&status, facts->pool);
	put_path(&status, facts);
	put_counts(&status, facts);
	put_process(&status, facts);
	return finish(&status);
}

json_t *
status_tunnels(void)
{
	return json_pack("{s:[]}", "tunnels");
}

static void
add_tunnel(json_t *list, const struct client_info *info)
{
	struct writer tunnel = { .object = json_object() };

	put(&tunnel, "target", text_or_null(info->target));
	put(&tunnel, "client", text(info->client));
	put(&tunnel, "kind", text(info->kind));
	put(&tunnel, "state", text(info->state));
	put(&tunnel, "age_s", number(info->age_ms / MS_PER_S));
	put(&tunnel, "bytes", bytes_json(info->bytes_up, info->bytes_down));
	json_array_append_new(list, finish(&tunnel));
}

void
status_tunnels_add(void *tunnels, const struct client_info *info)
{
	add_tunnel(json_object_get(tunnels, "tunnels"), info);
}

void
status_top_add(void *status, const struct client_info *info)
{
	add_tunnel(json_object_get(status, "top"), info);
}
