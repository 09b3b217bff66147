/*
 * The way to the edge.
 *
 *   DOWN ──(back-off, or a new client)──▶ CONNECTING ──▶ UP
 *     ▲                                     │  ▲          │
 *     └──(no edge, no address answers)──────┘  └──(lost)──┘
 *
 * An attempt walks through the edges, and through the addresses of each, until
 * a handshake succeeds. Clients wait meanwhile in `waiting`, in order; those
 * whose request is on its way are in `asked`. When an attempt has failed
 * everywhere, all who wait are told why at once.
 *
 * A connection reports its end from inside its own calls, where it may not be
 * freed: so the next step is taken by a timer, in the next turn of the loop.
 */
#include "proxy/local/uplink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/local/network.h"
#include "proxy/local/roam.h"
#include "proxy/local/wake.h"
#include "proxy/log.h"
#include "proxy/qlog.h"
#include "quic/io.h"

/* Milliseconds between attempts that fail: first, and at most. */
#define BACKOFF_FIRST_MS 250
#define BACKOFF_MAX_MS 30000

/* Milliseconds of silence that prove a "port unreachable" right. */
#define DOUBT_MS 1000

/* Milliseconds that a connection must last to be no failed attempt. */
#define STABLE_MS 1000

/*
 * Nanoseconds for one handshake when there is another address or edge to try:
 * a client's patience (UPLINK_CONNECT_TIMEOUT_MS) must reach beyond it.
 */
#define HANDSHAKE_SHORT_NS UINT64_C(3000000000)

/*
 * Milliseconds for the edge's answer once it was asked: it dials for as long
 * as a client waits, and its refusal needs a moment to come back.
 */
#define ANSWER_TIMEOUT_MS (UPLINK_CONNECT_TIMEOUT_MS + 2000)

struct uplink {
	uv_loop_t *loop;
	struct uplink_settings settings;
	char authorization[BASIC_SIZE]; /* for the edge; empty: none */

	enum uplink_state state;
	bool closing;
	unsigned handles; /* timers, and a look-up in flight */

	size_t edge;		    /* that is in use or tried */
	struct addrinfo *addresses; /* of it */
	struct addrinfo *address;   /* that is in use or tried */
	uv_getaddrinfo_t lookup;
	bool looking_up;

	struct network *network; /* NULL: nobody tells of changes */
	struct wake *wake;

	struct quic_io *io;
	struct quic_conn *conn;
	struct roam *roam;
	struct qlog *qlog;
	bool conn_over; /* it has reported its end, and waits to be freed */
	bool was_up;	/* the connection that is over had been up */
	uint64_t up_since_ms;

	uv_timer_t step;     /* the next attempt, or the freeing of the last */
	uv_timer_t patience; /* the first deadline of those who wait */
	uv_timer_t doubt;    /* whether the edge is still there */
	uint64_t doubt_packets; /* received when the doubt began */
	uint64_t backoff_ms;
	TAILQ_HEAD(ticket_queue, ticket) waiting, asked;
	size_t nwaiting;

	struct refusal why;	/* of the last failed attempt */
	char known_as[ADDR_STRLEN];
	uint64_t connections, opened, failed, migrations;
};

static void try_address(struct uplink *);
static void ask_all(struct uplink *);
static void attempt_failed(struct uplink *);
static void arm_patience(struct uplink *);

/* ---- Tickets ---- */

static void
ticket_leave(struct ticket *t)
{
	struct uplink *up = t->uplink;

	if (t->stream != NULL)
		TAILQ_REMOVE(&up->asked, t, entry);
	else {
		TAILQ_REMOVE(&up->waiting, t, entry);
		up->nwaiting--;
	}
	t->uplink = NULL;
	t->stream = NULL;
}

static void
ticket_refuse(struct ticket *t, const struct refusal *refusal)
{
	struct quic_stream *stream = t->stream;

	t->uplink->failed++;
	ticket_leave(t);
	if (stream != NULL)
		quic_stream_reset(stream, QUIC_H3_REQUEST_CANCELLED);
	t->on_refused(t->arg, refusal);
}

static void
on_response(struct quic_stream *stream, const struct quic_head *head,
    void *arg)
{
	const char *value = quic_head_find(head, ":status");
	int status = value != NULL ? atoi(value) : 0;
	struct ticket *t = arg;
	struct refusal refusal;

	if (status >= 200 && status < 300) {
		t->uplink->opened++;
		ticket_leave(t);
		t->on_opened(t->arg, stream);
		return;
	}
	refusal_read(&refusal, t->target, head, status);
	ticket_refuse(t, &refusal);
}

/*
 * The request was lost with its connection: nothing of the client's has been
 * sent, so it may ask again on the next one, ahead of those that came later.
 */
static void
on_aborted(struct quic_stream *stream, uint64_t code,
    const struct quic_close *why, void *arg)
{
	struct ticket *t = arg;
	struct uplink *up = t->uplink;
	struct refusal refusal;

	(void)stream, (void)code;
	if (why == NULL) {
		refusal_set(&refusal, 502, SOCKS_GENERAL_FAILURE,
		    "the edge cancelled the request");
		up->failed++;
		ticket_leave(t);
		t->on_refused(t->arg, &refusal);
		return;
	}
	ticket_leave(t);
	t->uplink = up;
	TAILQ_INSERT_HEAD(&up->waiting, t, entry);
	up->nwaiting++;
}

static const struct quic_stream_events ticket_events = {
	.response = on_response,
	.aborted = on_aborted,
};

/* Sends the request of one who waits. */
static int
ask(struct uplink *up, struct ticket *t)
{
	struct quic_field fields[3] = { { ":method", "CONNECT" } };
	char authority[TARGET_STRLEN];
	struct quic_stream *stream;
	size_t n = 2;
	int rv;

	target_format(t->target, authority, sizeof(authority));
	fields[1] = (struct quic_field){ ":authority", authority };
	if (up->authorization[0] != '\0')
		fields[n++] = (struct quic_field){ "proxy-authorization",
			up->authorization };
	rv = quic_stream_request(up->conn, fields, n, &ticket_events, t,
	    &stream);
	if (rv != 0)
		return rv;
	TAILQ_REMOVE(&up->waiting, t, entry);
	up->nwaiting--;
	t->stream = stream;
	t->deadline_ms = uv_now(up->loop) + ANSWER_TIMEOUT_MS;
	TAILQ_INSERT_TAIL(&up->asked, t, entry);
	return 0;
}

/* Sends requests in order, as far as the peer's limit of streams goes. */
static void
ask_all(struct uplink *up)
{
	struct ticket *t;

	while (up->state == UPLINK_UP && (t = TAILQ_FIRST(&up->waiting)) &&
	    ask(up, t) == 0)
		continue;
	arm_patience(up);
}

static void
refuse_waiting(struct uplink *up, const struct refusal *refusal)
{
	struct ticket *t;

	/* Whoever is refused may ask again at once: that is the next round. */
	for (size_t n = up->nwaiting; n > 0 &&
	    (t = TAILQ_FIRST(&up->waiting)) != NULL; n--)
		ticket_refuse(t, refusal);
}

void
uplink_open(struct uplink *up, struct ticket *t, const struct target *target,
    void (*on_opened)(void *, struct quic_stream *),
    void (*on_refused)(void *, const struct refusal *), void *arg)
{
	*t = (struct ticket){ .uplink = up, .target = target,
		.on_opened = on_opened, .on_refused = on_refused, .arg = arg };
	t->deadline_ms = uv_now(up->loop) + UPLINK_CONNECT_TIMEOUT_MS;
	TAILQ_INSERT_TAIL(&up->waiting, t, entry);
	up->nwaiting++;
	if (up->state == UPLINK_UP)
		ask_all(up);
	else {
		/* A new client ends the back-off. */
		if (up->state == UPLINK_DOWN)
			uv_timer_start(&up->step, up->step.timer_cb, 0, 0);
		arm_patience(up);
	}
}

void
uplink_cancel(struct ticket *t)
{
	struct quic_stream *stream = t->stream;

	if (t->uplink == NULL)
		return;
	ticket_leave(t);
	if (stream != NULL)
		quic_stream_reset(stream, QUIC_H3_REQUEST_CANCELLED);
}

/* ---- Patience ---- */

static void
on_impatient(uv_timer_t *timer)
{
	struct uplink *up = timer->data;
	uint64_t now = uv_now(up->loop);
	struct refusal refusal;
	struct ticket *t;

	if (up->state == UPLINK_UP)
		refusal_set(&refusal, 503, SOCKS_GENERAL_FAILURE,
		    "the edge allows no more tunnels at once");
	else
		refusal_set(&refusal, 504, SOCKS_TTL_EXPIRED,
		    up->why.text[0] != '\0' ? up->why.text
					    : "the edge does not answer");
	while ((t = TAILQ_FIRST(&up->waiting)) != NULL && t->deadline_ms <= now)
		ticket_refuse(t, &refusal);
	refusal_set(&refusal, 504, SOCKS_TTL_EXPIRED,
	    "the edge does not answer the request");
	while ((t = TAILQ_FIRST(&up->asked)) != NULL && t->deadline_ms <= now)
		ticket_refuse(t, &refusal);
	arm_patience(up);
}

/* Each queue is in the order of its deadlines. */
static void
arm_patience(struct uplink *up)
{
	const struct ticket *a = TAILQ_FIRST(&up->waiting);
	const struct ticket *b = TAILQ_FIRST(&up->asked);
	uint64_t now = uv_now(up->loop), at = UINT64_MAX;

	if (a != NULL)
		at = a->deadline_ms;
	if (b != NULL && b->deadline_ms < at)
		at = b->deadline_ms;
	if (uv_is_active((uv_handle_t *)&up->patience) &&
	    uv_timer_get_due_in(&up->patience) + now <= at)
		return; /* it fires early enough, and arms itself again */
	if (at == UINT64_MAX || up->closing)
		uv_timer_stop(&up->patience);
	else
		uv_timer_start(&up->patience, on_impatient,
		    at > now ? at - now : 0, 0);
}

/* ---- The connection's events ---- */

static void
on_connected(struct quic_conn *conn, void *arg)
{
	struct uplink *up = arg;
	struct quic_stats stats;

	quic_conn_stats(conn, &stats);
	up->state = UPLINK_UP;
	up->connections++;
	up->up_since_ms = uv_now(up->loop);
	up->why.text[0] = '\0';
	log_info("connected to %s (%s, %s%s)", up->known_as,
	    stats.tls_version, stats.tls_cipher,
	    stats.resumed ? ", resumed" : "");
	ask_all(up);
}

static void
on_mtu_changed(struct quic_conn *conn, void *arg)
{
	struct uplink *up = arg;
	struct quic_stats stats;

	quic_conn_stats(conn, &stats);
	log_info("path MTU to %s is %zu (%s)", up->known_as, stats.ip_mtu,
	    stats.mtu_cause);
}

static void
on_streams_available(struct quic_conn *conn, void *arg)
{
	(void)conn;
	ask_all(arg);
}

static void
edge_name(const struct uplink *up, char buf[TARGET_STRLEN])
{
	target_format(&up->settings.edges[up->edge].target, buf,
	    TARGET_STRLEN);
}

static void
on_conn_closed(struct quic_conn *conn, const struct quic_close *why, void *arg)
{
	struct uplink *up = arg;
	char edge[TARGET_STRLEN], text[REFUSAL_TEXT_MAX];

	(void)conn;
	edge_name(up, edge);
	snprintf(text, sizeof(text), "edge %s (%s): %s", edge, up->known_as,
	    why->text);
	refusal_set(&up->why, 502, SOCKS_GENERAL_FAILURE, text);
	up->was_up = up->state == UPLINK_UP;
	up->state = UPLINK_CONNECTING;
	up->conn_over = true;
	if (!up->closing)
		uv_timer_start(&up->step, up->step.timer_cb, 0, 0);
}

/* Nothing has come since the network said that the edge is gone: it is. */
static void
on_doubt(uv_timer_t *timer)
{
	struct uplink *up = timer->data;
	struct quic_stats stats;

	if (up->state != UPLINK_UP)
		return;
	quic_conn_stats(up->conn, &stats);
	if (stats.packets_received == up->doubt_packets)
		quic_conn_close(up->conn, QUIC_H3_NO_ERROR,
		    "nobody is there any more");
}

/*
 * ICMP says that nobody is there, and anybody may have sent it. During a
 * handshake it saves a wait; later it only counts if the edge stays silent.
 */
static void
on_unreachable(void *arg, int error)
{
	struct uplink *up = arg;
	char edge[TARGET_STRLEN], text[REFUSAL_TEXT_MAX];
	struct quic_stats stats;

	if (up->state == UPLINK_UP &&
	    !uv_is_active((uv_handle_t *)&up->doubt)) {
		quic_conn_stats(up->conn, &stats);
		up->doubt_packets = stats.packets_received;
		uv_timer_start(&up->doubt, on_doubt, DOUBT_MS, 0);
	}
	if (up->state != UPLINK_CONNECTING || up->conn_over)
		return;
	edge_name(up, edge);
	snprintf(text, sizeof(text), "edge %s (%s): no answer (%s)", edge,
	    up->known_as, strerror(-error));
	refusal_set(&up->why, 502, SOCKS_GENERAL_FAILURE, text);
	up->conn_over = true;
	uv_timer_start(&up->step, up->step.timer_cb, 0, 0);
}

/* ---- Moving ---- */

static void
on_migrated(struct quic_conn *conn, bool valid, void *arg)
{
	struct uplink *up = arg;

	(void)conn;
	roam_migrated(up->roam, valid);
}

static void
on_silent(struct quic_conn *conn, void *arg)
{
	struct uplink *up = arg;

	(void)conn;
	roam_silent(up->roam);
}

static void
on_gave_up(void *arg, const char *why)
{
	struct uplink *up = arg;

	quic_conn_close(up->conn, QUIC_H3_NO_ERROR, why);
}

static void
on_network_changed(void *arg)
{
	struct uplink *up = arg;

	if (up->state == UPLINK_DOWN)
		uv_timer_start(&up->step, up->step.timer_cb, 0, 0);
	roam_network_changed(up->roam);
}

static void
on_slept(void *arg, uint64_t ns)
{
	struct uplink *up = arg;

	roam_slept(up->roam, ns);
}

static void
on_qlog(struct quic_conn *conn, const void *data, size_t len, void *arg)
{
	struct uplink *up = arg;

	(void)conn;
	qlog_write(up->qlog, data, len);
}

static const struct quic_events conn_events = {
	.connected = on_connected,
	.streams_available = on_streams_available,
	.mtu_changed = on_mtu_changed,
	.migrated = on_migrated,
	.silent = on_silent,
	.closed = on_conn_closed,
};

static const struct quic_events conn_events_qlog = {
	.connected = on_connected,
	.streams_available = on_streams_available,
	.mtu_changed = on_mtu_changed,
	.migrated = on_migrated,
	.silent = on_silent,
	.closed = on_conn_closed,
	.qlog = on_qlog,
};

/* ---- Attempts ---- */

static void
drop_connection(struct uplink *up)
{
	struct quic_stats stats;

	if (up->conn != NULL) {
		quic_conn_stats(up->conn, &stats);
		up->migrations += stats.migrations;
	}
	roam_free(up->roam);
	up->roam = NULL;
	quic_io_close(up->io);
	quic_conn_free(up->conn);
	qlog_close(up->qlog);
	uv_timer_stop(&up->doubt);
	up->io = NULL;
	up->conn = NULL;
	up->qlog = NULL;
	up->conn_over = false;
}

static void
drop_addresses(struct uplink *up)
{
	uv_freeaddrinfo(up->addresses);
	up->addresses = up->address = NULL;
}

static bool
is_last_chance(const struct uplink *up)
{
	return up->address->ai_next == NULL &&
	    up->edge + 1 == up->settings.nedges;
}

/* Opens a socket and a connection to up->address. */
static int
connect_address(struct uplink *up)
{
	const struct uplink_edge *edge = &up->settings.edges[up->edge];
	struct quic_settings settings = up->settings.quic;
	struct quic_path path;
	int rv;

	addr_format(up->address->ai_addr, up->known_as);
	settings.silence_ns = ROAM_SILENCE_MS * UINT64_C(1000000);
	if (!is_last_chance(up))
		settings.handshake_timeout_ns = HANDSHAKE_SHORT_NS;
	if ((rv = quic_io_connect(&up->io, up->loop, up->address->ai_addr,
		&up->settings.via, &path)) != 0)
		return rv;
	up->qlog = qlog_open(up->settings.qlog_dir, "culvert");
	rv = quic_client_new(&up->conn, edge->tls, edge->target.host, &path,
	    &settings, up->qlog != NULL ? &conn_events_qlog : &conn_events,
	    up, quic_io_now());
	if (rv == 0)
		rv = roam_new(&up->roam, up->loop, up->io, up->conn,
		    on_gave_up, up);
	if (rv == 0)
		quic_io_start(up->io, up->conn, on_unreachable, up);
	else
		drop_connection(up);
	return rv;
}

static void
try_address(struct uplink *up)
{
	char edge[TARGET_STRLEN], text[REFUSAL_TEXT_MAX];
	char why[QUIC_ERROR_MAX];
	int rv;

	for (; up->address != NULL; up->address = up->address->ai_next) {
		if ((rv = connect_address(up)) == 0)
			return;
		edge_name(up, edge);
		snprintf(text, sizeof(text), "edge %s (%s): %s", edge,
		    up->known_as, quic_via_error(&up->settings.via, rv, why));
		refusal_set(&up->why, 502, SOCKS_NETWORK_UNREACHABLE, text);
	}
	attempt_failed(up);
}

static void
on_looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct uplink *up = request->data;
	char text[REFUSAL_TEXT_MAX];

	up->looking_up = false;
	if (up->closing) {
		uv_freeaddrinfo(list);
		if (--up->handles == 0)
			free(up);
		return;
	}
	up->handles--;
	if (status != 0) {
		snprintf(text, sizeof(text),
		    "edge %s: the name does not resolve (%s)",
		    up->settings.edges[up->edge].target.host,
		    uv_strerror(status));
		refusal_set(&up->why, 502, SOCKS_GENERAL_FAILURE, text);
		attempt_failed(up);
		return;
	}
	up->addresses = up->address = list;
	try_address(up);
}

/* Begins with the edge that is first in line: its addresses are needed. */
static void
look_up(struct uplink *up)
{
	const struct target *target = &up->settings.edges[up->edge].target;
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM,
		.ai_flags = AI_NUMERICSERV };
	char port[6];
	int rv;

	up->state = UPLINK_CONNECTING;
	snprintf(port, sizeof(port), "%u", target->port);
	up->lookup.data = up;
	rv = uv_getaddrinfo(up->loop, &up->lookup, on_looked_up, target->host,
	    port, &hints);
	if (rv != 0) {
		refusal_set(&up->why, 502, SOCKS_GENERAL_FAILURE,
		    uv_strerror(rv));
		attempt_failed(up);
		return;
	}
	up->looking_up = true;
	up->handles++;
}

static void
pause_attempts(struct uplink *up)
{
	log_warn("%s; next attempt in %.1f s, or when a client asks",
	    up->why.text, (double)up->backoff_ms / 1000);
	up->state = UPLINK_DOWN;
	up->edge = 0;
	uv_timer_start(&up->step, up->step.timer_cb, up->backoff_ms, 0);
	up->backoff_ms = 2 * up->backoff_ms < BACKOFF_MAX_MS
	    ? 2 * up->backoff_ms : BACKOFF_MAX_MS;
	refuse_waiting(up, &up->why);
}

/* This edge has no more addresses: the next edge, or a pause. */
static void
attempt_failed(struct uplink *up)
{
	drop_addresses(up);
	if (up->edge + 1 == up->settings.nedges) {
		pause_attempts(up);
		return;
	}
	log_warn("%s", up->why.text);
	up->edge++;
	look_up(up);
}

/* A connection that was up is lost: the next one begins with the first edge. */
static void
connect_again(struct uplink *up)
{
	up->was_up = false;
	drop_connection(up);
	drop_addresses(up);
	up->edge = 0;
	if (uv_now(up->loop) - up->up_since_ms < STABLE_MS) {
		pause_attempts(up);
		return;
	}
	log_warn("%s; connecting again", up->why.text);
	up->backoff_ms = BACKOFF_FIRST_MS;
	look_up(up);
}

/* The next thing to do, outside of anybody's call. */
static void
on_step(uv_timer_t *timer)
{
	struct uplink *up = timer->data;

	if (up->was_up)
		connect_again(up);
	else if (up->conn_over) {
		drop_connection(up);
		up->address = up->address->ai_next;
		try_address(up);
	} else if (up->conn == NULL && !up->looking_up)
		look_up(up);
}

/* ---- Life ---- */

static void
set_settings(struct uplink *up, const struct uplink_settings *settings)
{
	up->settings = *settings;
	for (size_t i = 0; i < settings->nedges; i++)
		quic_tls_ref(settings->edges[i].tls);
	up->authorization[0] = '\0';
	if (settings->user.user[0] != '\0')
		basic_format(settings->user.user, settings->user.password,
		    up->authorization, sizeof(up->authorization));
	explicit_bzero(&up->settings.user, sizeof(up->settings.user));
}

/* An attempt that is under way goes on, in the place of the first edge. */
void
uplink_reload(struct uplink *up, const struct uplink_settings *settings)
{
	struct uplink_settings fresh = *settings, old = up->settings;

	if (fresh.nedges == 0) {
		memcpy(fresh.edges, old.edges, sizeof(fresh.edges));
		fresh.nedges = old.nedges;
	} else
		up->edge = 0;
	set_settings(up, &fresh);
	for (size_t i = 0; i < old.nedges; i++)
		quic_tls_free(old.edges[i].tls);
	if (up->state == UPLINK_DOWN)
		uv_timer_start(&up->step, up->step.timer_cb, 0, 0);
}

/* Without it, a change is noticed when the edge falls silent. */
static void
listen_to_kernel(struct uplink *up)
{
	int rv;

	rv = network_new(&up->network, up->loop, on_network_changed, up);
	if (rv != 0)
		log_warn("the kernel will not say when the network changes "
		    "(%s): that takes longer to notice", strerror(-rv));
	if ((rv = wake_new(&up->wake, up->loop, on_slept, up)) != 0)
		log_warn("the kernel will not say when this machine has slept "
		    "(%s)", strerror(-rv));
}

int
uplink_new(struct uplink **out, uv_loop_t *loop,
    const struct uplink_settings *settings)
{
	struct uplink *up = calloc(1, sizeof(*up));

	if (up == NULL)
		return -ENOMEM;
	up->loop = loop;
	set_settings(up, settings);
	TAILQ_INIT(&up->waiting);
	TAILQ_INIT(&up->asked);
	up->backoff_ms = BACKOFF_FIRST_MS;
	uv_timer_init(loop, &up->step);
	uv_timer_init(loop, &up->patience);
	uv_timer_init(loop, &up->doubt);
	up->step.data = up->patience.data = up->doubt.data = up;
	up->handles = 3;
	up->state = UPLINK_CONNECTING;
	uv_timer_start(&up->step, on_step, 0, 0);
	listen_to_kernel(up);
	*out = up;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	struct uplink *up = handle->data;

	if (--up->handles == 0)
		free(up);
}

void
uplink_free(struct uplink *up)
{
	struct refusal refusal;

	if (up == NULL)
		return;
	up->closing = true;
	refusal_set(&refusal, 503, SOCKS_GENERAL_FAILURE,
	    "culvert is shutting down");
	if (up->conn != NULL)
		quic_conn_close(up->conn, QUIC_H3_NO_ERROR,
		    "culvert is shutting down");
	refuse_waiting(up, &refusal);
	drop_connection(up);
	drop_addresses(up);
	for (size_t i = 0; i < up->settings.nedges; i++)
		quic_tls_free(up->settings.edges[i].tls);
	explicit_bzero(up->authorization, sizeof(up->authorization));
	if (up->looking_up)
		uv_cancel((uv_req_t *)&up->lookup);
	uv_close((uv_handle_t *)&up->step, on_closed);
	uv_close((uv_handle_t *)&up->patience, on_closed);
	uv_close((uv_handle_t *)&up->doubt, on_closed);
	network_free(up->network);
	wake_free(up->wake);
}

void
uplink_reconnect(struct uplink *up)
{
	if (up->state == UPLINK_UP)
		quic_conn_close(up->conn, QUIC_H3_NO_ERROR,
		    "reconnecting on request");
	else if (up->state == UPLINK_DOWN)
		uv_timer_start(&up->step, on_step, 0, 0);
}

void
uplink_reprobe(struct uplink *up)
{
	if (up->state == UPLINK_UP)
		quic_conn_reprobe(up->conn, quic_io_now());
}

void
uplink_status(const struct uplink *up, struct uplink_status *status)
{
	memset(status, 0, sizeof(*status));
	status->state = up->state;
	edge_name(up, status->edge);
	snprintf(status->address, sizeof(status->address), "%s",
	    up->known_as);
	snprintf(status->error, sizeof(status->error), "%s",
	    up->state == UPLINK_UP ? "" : up->why.text);
	status->reconnects = up->connections > 0 ? up->connections - 1 : 0;
	status->opened = up->opened;
	status->failed = up->failed;
	status->waiting = up->nwaiting;
	if (up->state == UPLINK_UP)
		quic_conn_stats(up->conn, &status->quic);
	status->migrations = up->migrations + status->quic.migrations;
}
