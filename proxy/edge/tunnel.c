/*
 * One request at the edge.
 *
 *   tunnel_new ─▶ CHECKING ─▶ DIALLING ─▶ RELAYING ─▶ closed
 *        │ (user known)  └─────▲  │
 *        └────────────────────────┴──▶ refused: status and proxy-status
 *
 * Bytes that the client sends before the answer stay in the stream, unconsumed,
 * so that flow control limits them. A refusal is an ordinary response: head
 * and FIN, and the stream is released. Its proxy-status field has the reason in
 * machine-readable form (RFC 9209).
 */
#include "proxy/edge/tunnel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/addr.h"
#include "proxy/base/basic.h"
#include "proxy/base/log.h"
#include "proxy/base/stream_quic.h"
#include "proxy/base/tunnel_kind.h"
#include "proxy/relay.h"

/* Milliseconds between two warnings that a limit is reached. */
#define WARN_INTERVAL_MS 10000

struct tunnel {
	struct relay relay; /* first: its callback casts it to the tunnel */
	uv_timer_t idle;    /* open if has_timer */
	uint64_t moved;	    /* bytes, when the timer was started */
	struct tunnel_host *host;
	LIST_ENTRY(tunnel) entry;
	struct quic_stream *stream; /* NULL once the relay has it */
	struct users_check *check;
	struct dial *dial;
	struct key_count *share;      /* of the user, once authenticated */
	struct key_count *descriptor; /* of the user, for the socket */
	bool has_tcp; /* relay_init was called: its close frees the tunnel */
	bool has_timer;
	uint64_t started_ms;
	enum tunnel_kind kind;
	struct target target;
	struct sockaddr_storage client, address;
	char user[CREDENTIAL_MAX + 1];
	bool authenticated; /* or the edge is open to everyone */
};

/* ---- The end ---- */

/* Without authentication the name may be a password typed by mistake. */
static void
log_end(const struct tunnel *t, const char *reason)
{
	char client[ADDR_STRLEN], target[TARGET_STRLEN],
	    address[ADDR_STRLEN] = "";
	struct log_tunnel line = { .client = client,
		.user = t->authenticated ? t->user : NULL,
		.target = target,
		.address = address,
		.reason = reason,
		.bytes_up = t->relay.to_tcp,
		.bytes_down = t->relay.to_stream,
		.duration_ms = uv_now(t->host->loop) - t->started_ms };

	if (!log_shows_tunnels())
		return;
	addr_format((const struct sockaddr *)&t->client, client);
	target_format(&t->target, target, sizeof(target));
	if (t->address.ss_family != 0)
		addr_format((const struct sockaddr *)&t->address, address);
	log_tunnel(&line);
}

static void
tunnel_free(struct tunnel *t)
{
	struct tunnel_host *host = t->host;

	LIST_REMOVE(t, entry);
	keyed_counter_give(&host->shares, t->share);
	descriptors_give(host->dialer.descriptors, t->descriptor);
	host->open--;
	free(t);
	host->on_gone(host);
}

static void
on_idle_closed(uv_handle_t *handle)
{
	tunnel_free(handle->data);
}

static void
on_relay_closed(struct relay *relay)
{
	struct tunnel *t = (struct tunnel *)relay;

	log_end(t, relay->reason);
	if (t->has_timer)
		uv_close((uv_handle_t *)&t->idle, on_idle_closed);
	else
		tunnel_free(t);
}

/* Closes in any state. The caller has reset or released the stream. */
static void
tunnel_close(struct tunnel *t, const char *reason)
{
	users_check_cancel(t->check);
	dial_cancel(t->dial);
	t->check = NULL;
	t->dial = NULL;
	if (t->has_tcp) {
		relay_close(&t->relay, reason);
		return;
	}
	log_end(t, reason);
	tunnel_free(t);
}

/* ---- Refusals ---- */

/* The password was not checked, so this is not a 407. */
#define USERS_BUSY \
	"proxy_internal_error; details=\"too many passwords to check\""

/* Seconds after which a client may try again after reaching a limit. */
#define RETRY_AFTER "5"

/*
 * Answers with a status and the reason, and releases the stream. A 503, which
 * is temporary, also has a body for people.
 */
static void
refuse_stream(struct quic_stream *stream, int status, const char *error)
{
	struct quic_field fields[5] = { { ":status", NULL } };
	char code[4], why[128], body[192];
	size_t n = 1;

	snprintf(code, sizeof(code), "%d", status);
	fields[0].value = code;
	if (error != NULL) {
		snprintf(why, sizeof(why), "culvert-edge; error=%s", error);
		fields[n++] = (struct quic_field){ "proxy-status", why };
	}
	if (status == 407)
		fields[n++] = (struct quic_field){ "proxy-authenticate",
			"Basic realm=\"culvert-edge\"" };
	if (status == 503 && error != NULL) {
		fields[n++] = (struct quic_field){ "retry-after", RETRY_AFTER };
		fields[n++] = (struct quic_field){ "content-type",
			"text/plain" };
	}
	if (quic_stream_respond(stream, fields, n) != 0) {
		quic_stream_reset(stream, QUIC_H3_INTERNAL_ERROR);
		return;
	}
	if (status == 503 && error != NULL) {
		snprintf(body, sizeof(body),
		    "culvert-edge: 503 %s: try again "
		    "in " RETRY_AFTER " seconds\n",
		    error);
		quic_stream_push(stream, body, strlen(body));
	}
	quic_stream_finish(stream);
	quic_stream_release(stream);
}

/* Refuses a request that has not become a tunnel. */
static void
refuse_request(struct quic_stream *stream, int status, const char *error)
{
	const struct quic_path *path = quic_conn_path(quic_stream_conn(stream));
	char client[ADDR_STRLEN];
	struct log_tunnel line = { .client = client, .reason = error };

	addr_format((const struct sockaddr *)&path->remote, client);
	log_tunnel(&line);
	refuse_stream(stream, status, error);
}

static void
refuse(struct tunnel *t, int status, const char *error)
{
	struct quic_stream *stream = t->stream;

	t->stream = NULL;
	refuse_stream(stream, status, error);
	tunnel_close(t, error != NULL ? error : "refused");
}

/* ---- Time ---- */

static void
on_idle(uv_timer_t *timer)
{
	struct tunnel *t = timer->data;
	uint64_t moved = t->relay.to_stream + t->relay.to_tcp;

	if (moved == t->moved)
		relay_close(&t->relay, "the tunnel was idle");
	else
		uv_timer_start(timer, on_idle, t->host->tunnel_timeout_ms, 0);
	t->moved = moved;
}

static void
start_idle(struct tunnel *t)
{
	if (t->host->tunnel_timeout_ms == 0)
		return;
	uv_timer_init(t->host->loop, &t->idle);
	t->idle.data = t;
	t->has_timer = true;
	uv_timer_start(&t->idle, on_idle, t->host->tunnel_timeout_ms, 0);
}

/* ---- Limits ---- */

/* The name under which a tunnel counts: its user, or the client's address. */
static const char *
name_of(const struct tunnel *t, char buf[ADDR_SOURCE_STRLEN])
{
	if (t->user[0] != '\0')
		return t->user;
	return addr_source((const struct sockaddr *)&t->client, buf);
}

/* Warns the administrator, who could raise the limit, at intervals. */
static void
warn_limit(struct tunnel_host *host, const char *key, size_t max,
    const char *whose)
{
	uint64_t now = uv_now(host->loop);

	host->refused++;
	if (host->warned_ms != 0 && now - host->warned_ms < WARN_INTERVAL_MS)
		return;
	host->warned_ms = now;
	log_warn("tunnels are refused: %s is %zu%s%s", key, max,
	    whose != NULL ? ", reached by " : "", whose != NULL ? whose : "");
}

static void
warn_share(struct tunnel *t)
{
	const struct descriptors *all = t->host->dialer.descriptors;
	char buf[ADDR_SOURCE_STRLEN];

	warn_limit(t->host,
	    "one user's share of the open files (raise their "
	    "hard limit)",
	    descriptors_share(all), name_of(t, buf));
}

/* ---- The dial ---- */

static void
open_relay(struct tunnel *t, int fd)
{
	static const struct quic_field ok = { ":status", "200" };
	struct quic_stream *request = t->stream;
	struct stream stream;
	int rv;

	relay_init(&t->relay, t->host->loop, on_relay_closed);
	t->relay.peer_closed = "closed by the client";
	t->has_tcp = true;
	if (uv_tcp_open(&t->relay.tcp, fd) != 0) {
		close(fd);
		refuse(t, 503, "proxy_internal_error");
		return;
	}
	tcp_set_nodelay(fd);
	t->stream = NULL;
	rv = quic_stream_respond(request, &ok, 1);
	if (rv != 0) {
		quic_stream_reset(request, QUIC_H3_INTERNAL_ERROR);
		tunnel_close(t,
		    rv == -ENOMEM ? "out of memory" : "internal error");
		return;
	}
	relay_watch(&t->relay, t->host->liveness, t->host->keepalive_timeout_s,
	    NULL);
	start_idle(t);
	stream_quic_open(&stream, request);
	relay_start(&t->relay, &stream);
}

static void
on_dialled(void *arg, const struct dial_result *result)
{
	struct tunnel *t = arg;

	t->dial = NULL;
	t->descriptor = result->share;
	if (result->status == DIAL_SHARE)
		warn_share(t);
	if (result->address != NULL)
		memcpy(&t->address, result->address, addr_len(result->address));
	if (result->status == DIAL_OK)
		open_relay(t, result->fd);
	else
		refuse(t, dial_http_status(result->status),
		    dial_proxy_error(result->status));
}

static void
dial(struct tunnel *t)
{
	char buf[ADDR_SOURCE_STRLEN];

	if (dial_start(&t->dial, &t->host->dialer, &t->target, name_of(t, buf),
		on_dialled, t) != 0)
		refuse(t, dial_http_status(DIAL_LIMIT),
		    dial_proxy_error(DIAL_LIMIT));
}

static void
connect_target(struct tunnel *t)
{
	switch (t->kind) {
	case TUNNEL_TCP:
		dial(t);
		break;
	}
}

static void
accept_user(struct tunnel *t)
{
	struct tunnel_host *host = t->host;
	char buf[ADDR_SOURCE_STRLEN];
	const char *name = name_of(t, buf);
	int rv;

	t->authenticated = true;
	rv = keyed_counter_take(&host->shares, name, host->tunnels_per_user,
	    &t->share);
	if (rv == 0) {
		connect_target(t);
		return;
	}
	if (rv == -EDQUOT)
		warn_limit(host, "tunnels-per-user", host->tunnels_per_user,
		    name);
	refuse(t, 503, "connection_limit_reached");
}

/* ---- The user ---- */

static void
on_checked(void *arg, enum users_verdict verdict)
{
	struct tunnel *t = arg;

	t->check = NULL;
	if (verdict == USERS_RIGHT)
		accept_user(t);
	else if (verdict == USERS_WRONG)
		refuse(t, 407, "http_request_denied");
	else
		refuse(t, 503, USERS_BUSY);
}

static void
check_user(struct tunnel *t, const char *authorization)
{
	struct credentials credentials;
	int rv;

	if (t->host->users == NULL) {
		accept_user(t);
		return;
	}
	if (authorization == NULL ||
	    basic_parse(authorization, strlen(authorization), &credentials) !=
		0) {
		refuse(t, 407, "http_request_denied");
		return;
	}
	memcpy(t->user, credentials.user, sizeof(t->user));
	rv = users_check(t->host->users, t->host->loop,
	    (const struct sockaddr *)&t->client, &credentials, &t->check,
	    on_checked, t);
	explicit_bzero(&credentials, sizeof(credentials));
	if (rv == 1)
		accept_user(t);
	else if (rv < 0)
		refuse(t, 503, USERS_BUSY);
}

/* ---- The stream before the relay ---- */

static void
on_aborted(struct quic_stream *stream, uint64_t code,
    const struct quic_close *why, void *arg)
{
	struct tunnel *t = arg;

	(void)stream, (void)code, (void)why;
	t->stream = NULL;
	tunnel_close(t, "the client disconnected");
}

static const struct quic_stream_events events = {
	.aborted = on_aborted,
};

/* RFC 9114 §4.4: CONNECT has an authority, and neither scheme nor path. */
static bool
read_target(const struct quic_header_section *head, struct target *target)
{
	const char *authority = quic_header_section_find(head, ":authority");

	return authority != NULL &&
	    quic_header_section_find(head, ":scheme") == NULL &&
	    quic_header_section_find(head, ":path") == NULL &&
	    target_parse(target, authority, strlen(authority), 0) == 0;
}

void
tunnel_new(struct tunnel_host *host, struct quic_stream *stream,
    const struct quic_header_section *head)
{
	struct target target;
	enum tunnel_kind kind;
	struct tunnel *t;

	if (tunnel_kind_parse(&kind, quic_header_section_find(head, ":method"),
		quic_header_section_find(head, ":protocol")) != 0) {
		refuse_request(stream, 501, "http_request_denied");
		return;
	}
	if (!read_target(head, &target)) {
		refuse_request(stream, 400, "http_request_error");
		return;
	}
	if (host->open >= host->tunnels_max)
		warn_limit(host, "tunnels-max", host->tunnels_max, NULL);
	if (host->open >= host->tunnels_max ||
	    (t = calloc(1, sizeof(*t))) == NULL) {
		refuse_request(stream, 503, "connection_limit_reached");
		return;
	}
	t->host = host;
	t->stream = stream;
	t->kind = kind;
	t->target = target;
	t->client = quic_conn_path(quic_stream_conn(stream))->remote;
	t->started_ms = uv_now(host->loop);
	LIST_INSERT_HEAD(&host->tunnels, t, entry);
	host->open++;
	quic_stream_attach(stream, &events, t);
	check_user(t, quic_header_section_find(head, "proxy-authorization"));
}

void
tunnels_close(struct tunnel_host *host, const char *reason)
{
	struct tunnel *t, *next;

	for (t = LIST_FIRST(&host->tunnels); t != NULL; t = next) {
		next = LIST_NEXT(t, entry);
		if (t->stream != NULL)
			quic_stream_reset(t->stream, QUIC_H3_CONNECT_ERROR);
		t->stream = NULL;
		tunnel_close(t, reason);
	}
}
