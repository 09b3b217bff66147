/*
 * One QUIC connection on ngtcp2.
 *
 *   HANDSHAKE ──▶ UP ──▶ CLOSING ──▶ CLOSED
 *        └──────────────────▲  (CLOSED at once if the peer has closed)
 *
 * The library is entered by three doors only: read, expire and write. While
 * it runs, its callbacks take notes (pending bits on streams and here); after
 * it has returned, conn_deliver() turns the notes into events. So no handler
 * ever runs inside the library, and each fires once for a batch of packets.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "quic/internal.h"

/* Defaults of struct quic_settings. */
#define HANDSHAKE_TIMEOUT (10 * NS_PER_S)
#define IDLE_TIMEOUT (30 * NS_PER_S)
#define KEEP_ALIVE_MIN NS_PER_S /* who wants more signs of life goes without */
#define STREAMS_MAX 16384 /* tunnels: a household's, with their heads */
#define HEAD_TIMEOUT (10 * NS_PER_S) /* a time-out of TCP's lies within */
#define HEADS_MAX 256 /* what a flight of lost packets may hold up */
#define IP_MTU_MAX 1500 /* bytes: Ethernet */

/*
 * The connection's receive window (RFC 9000 §4): its credit comes back on
 * receipt, so it only has to cover the path, and ngtcp2 doubles it while it is
 * the limit: 32 MiB are 2.5 Gbit/s over 100 ms. It is at most an eighth of the
 * budget: see there. Those of streams are the business of window.c.
 */
#define CONN_WINDOW (4 * 1048576)      /* bytes */
#define CONN_WINDOW_MAX (32 * 1048576) /* bytes */

/* Three for HTTP/3 (RFC 9114 §6.2), the rest for extensions and grease. */
#define UNI_STREAMS_MAX 16

/*
 * Connection IDs that a peer may give us, and those beyond that are forgiven:
 * each of these is lost to us, and without a spare one nobody moves.
 */
#define PEER_IDS_MAX 7
#define FORGIVEN_MAX (PEER_IDS_MAX - 2)

/* IP and UDP headers (RFC 791, 8200, 768). */
#define HEADERS_V4 28 /* bytes */
#define HEADERS_V6 48 /* bytes */

/* A silence is remarkable after so many probe time-outs. */
#define SILENCE_PTOS 2

static size_t
headers_len(const struct quic_path *path)
{
	return path->remote.ss_family == AF_INET6 ? HEADERS_V6 : HEADERS_V4;
}

/* ---- Paths ---- */

/* As ngtcp2 wants to see it. */
ngtcp2_path
path_view(const struct quic_path *path)
{
	socklen_t len = path->remote.ss_family == AF_INET6
	    ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

	return (ngtcp2_path){
		.local = { (ngtcp2_sockaddr *)(uintptr_t)&path->local, len },
		.remote = { (ngtcp2_sockaddr *)(uintptr_t)&path->remote, len },
	};
}

static void
path_copy(struct quic_path *to, const ngtcp2_path *from)
{
	memcpy(&to->local, from->local.addr, from->local.addrlen);
	memcpy(&to->remote, from->remote.addr, from->remote.addrlen);
}

static bool
same_host(const struct sockaddr *a, const struct sockaddr *b)
{
	if (a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET6)
		return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
		    &((const struct sockaddr_in6 *)b)->sin6_addr,
		    sizeof(struct in6_addr)) == 0;
	return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
	    ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

/* ---- What ngtcp2 tells us ---- */

static void
on_rand(uint8_t *dest, size_t len, const ngtcp2_rand_ctx *ctx)
{
	(void)ctx;
	gnutls_rnd(GNUTLS_RND_NONCE, dest, len);
}

static int
on_new_id(ngtcp2_conn *quic, ngtcp2_cid *cid, uint8_t *token, size_t len,
    void *user)
{
	struct quic_conn *conn = user;

	(void)quic;
	if (gnutls_rnd(GNUTLS_RND_RANDOM, cid->data, len) != 0)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	cid->datalen = len;
	if (conn->server == NULL)
		return gnutls_rnd(GNUTLS_RND_RANDOM, token,
		    NGTCP2_STATELESS_RESET_TOKENLEN) == 0
		    ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
	server_reset_token(conn->server, cid, token);
	return server_add_id(conn->server, conn, cid) == 0
	    ? 0 : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int
on_remove_id(ngtcp2_conn *quic, const ngtcp2_cid *cid, void *user)
{
	struct quic_conn *conn = user;

	(void)quic;
	if (conn->server != NULL)
		server_remove_id(conn->server, cid);
	return 0;
}

/* A PING at half of the idle time-out may be lost, and there is time left. */
static void
set_keep_alive(struct quic_conn *conn)
{
	uint64_t ns = conn->settings.keep_alive_ns;

	if (ns == 0)
		ns = quic_conn_idle_ns(conn) / 2;
	ngtcp2_conn_set_keep_alive_timeout(conn->quic,
	    ns > KEEP_ALIVE_MIN ? ns : KEEP_ALIVE_MIN);
}

static int
on_handshake_completed(ngtcp2_conn *quic, void *user)
{
	struct quic_conn *conn = user;
	uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN];
	size_t len;

	if (!tls_is_h3(conn->session)) {
		conn_fail(conn, QUIC_NO_H3, 0,
		    "the server does not speak HTTP/3 (ALPN h3)");
		return NGTCP2_ERR_CALLBACK_FAILURE;
	}
	if (h3_start(conn) != 0)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	conn->resumed = gnutls_session_is_resumed(conn->session) != 0;
	conn->connect_pending = true;
	probe_start(conn, conn->now);
	if (conn->server == NULL) {
		set_keep_alive(conn);
		return 0;
	}
	server_handshake_done(conn->server, conn);
	if (server_is_draining(conn->server))
		request_drain(conn, conn->now);
	tls_send_ticket(conn->session);
	len = server_new_token(conn->server, &conn->path, token, conn->now);
	if (len > 0)
		ngtcp2_conn_submit_new_token(quic, token, len);
	return 0;
}

static int
on_new_token(ngtcp2_conn *quic, const uint8_t *token, size_t len, void *user)
{
	struct quic_conn *conn = user;

	(void)quic;
	tls_keep_token(conn->tls, token, len);
	return 0;
}

static int
on_streams_extended(ngtcp2_conn *quic, uint64_t max, void *user)
{
	struct quic_conn *conn = user;

	(void)quic, (void)max;
	if (conn->streams_wanted)
		conn->streams_pending = true;
	return 0;
}

static int
on_stateless_reset(ngtcp2_conn *quic, const ngtcp2_pkt_stateless_reset *sr,
    void *user)
{
	(void)quic, (void)sr;
	conn_fail(user, QUIC_RESET, 0,
	    "the edge does not know this connection any more (restarted?)");
	return 0;
}

/*
 * A path was tried. When one was given up for the path of before, that one is
 * as good as it was.
 */
static int
on_path_validation(ngtcp2_conn *quic, uint32_t flags, const ngtcp2_path *path,
    const ngtcp2_path *old_path, ngtcp2_path_validation_result result,
    void *user)
{
	struct quic_conn *conn = user;

	(void)quic, (void)flags;
	if (result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS)
		path_copy(&conn->proven, path);
	else if (old_path != NULL)
		path_copy(&conn->proven, old_path);
	if (result == NGTCP2_PATH_VALIDATION_RESULT_ABORTED ||
	    (result == NGTCP2_PATH_VALIDATION_RESULT_FAILURE &&
		conn->server != NULL))
		return 0;
	conn->migrated_pending = true;
	conn->migration_failed =
	    result == NGTCP2_PATH_VALIDATION_RESULT_FAILURE;
	return 0;
}

static const ngtcp2_callbacks callbacks = {
	.client_initial = ngtcp2_crypto_client_initial_cb,
	.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
	.recv_crypto_data = ngtcp2_crypto_recv_crypto_data_cb,
	.handshake_completed = on_handshake_completed,
	.encrypt = probe_encrypt,
	.decrypt = probe_decrypt,
	.hp_mask = ngtcp2_crypto_hp_mask_cb,
	.recv_stream_data = h3_recv_stream_data,
	.acked_stream_data_offset = h3_acked,
	.stream_open = h3_stream_open,
	.stream_close = h3_stream_close,
	.recv_stateless_reset = on_stateless_reset,
	.recv_retry = ngtcp2_crypto_recv_retry_cb,
	.extend_max_local_streams_bidi = on_streams_extended,
	.rand = on_rand,
	.get_new_connection_id = on_new_id,
	.remove_connection_id = on_remove_id,
	.update_key = ngtcp2_crypto_update_key_cb,
	.stream_reset = h3_stream_reset,
	.extend_max_stream_data = h3_unblock_stream,
	.recv_new_token = on_new_token,
	.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb,
	.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
	.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
	.path_validation = on_path_validation,
	.stream_stop_sending = h3_stop_sending,
	.version_negotiation = ngtcp2_crypto_version_negotiation_cb,
};

static void
on_qlog(void *user, uint32_t flags, const void *data, size_t len)
{
	struct quic_conn *conn = user;

	(void)flags;
	conn->events->qlog(conn, data, len, conn->arg);
}

/*
 * The library knows nothing of our discovery: a record of it between its own,
 * with times as they have (draft-ietf-quic-qlog-quic-events, mtu_updated).
 */
static void
log_mtu(struct quic_conn *conn)
{
	const struct probe *p = &conn->probe;
	bool done = p->pmtu.state == PMTU_COMPLETE;
	char text[128];
	int len;

	if (p->pmtu.size == conn->mtu_logged &&
	    (conn->mtu_logged_done || !done)) {
		conn->mtu_logged_done = done;
		return;
	}
	len = snprintf(text, sizeof(text), "\x1e{\"time\":%ju,"
	    "\"name\":\"quic:mtu_updated\",\"data\":{\"old\":%zu,"
	    "\"new\":%zu,\"done\":%s}}\n",
	    (uintmax_t)((conn->now - conn->began_at) / NS_PER_MS),
	    conn->mtu_logged + p->headers, p->pmtu.size + p->headers,
	    done ? "true" : "false");
	conn->mtu_logged = p->pmtu.size;
	conn->mtu_logged_done = done;
	conn->events->qlog(conn, text, (size_t)len, conn->arg);
}

/* ---- Birth ---- */

static ngtcp2_conn *
get_conn(ngtcp2_crypto_conn_ref *ref)
{
	return ((struct quic_conn *)ref->user_data)->quic;
}

static void
default_settings(struct quic_settings *s)
{
	if (s->ip_mtu_max == 0)
		s->ip_mtu_max = IP_MTU_MAX;
	if (s->handshake_timeout_ns == 0)
		s->handshake_timeout_ns = HANDSHAKE_TIMEOUT;
	if (s->idle_timeout_ns == 0)
		s->idle_timeout_ns = IDLE_TIMEOUT;
	if (s->streams_max == 0)
		s->streams_max = STREAMS_MAX;
	if (s->head_timeout_ns == 0)
		s->head_timeout_ns = HEAD_TIMEOUT;
	if (s->heads_max == 0)
		s->heads_max = HEADS_MAX;
}

static int
conn_alloc(struct quic_conn **out, struct quic_tls *tls,
    const struct quic_path *path, const struct quic_settings *settings,
    const struct quic_events *events, void *arg, uint64_t now)
{
	struct quic_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return -ENOMEM;
	LIST_INIT(&conn->streams);
	LIST_INIT(&conn->ids);
	TAILQ_INIT(&conn->ready);
	TAILQ_INIT(&conn->waiting);
	TAILQ_INIT(&conn->owing);
	TAILQ_INIT(&conn->probe.harvest);
	conn->tls = quic_tls_ref(tls);
	conn->mtu_told = conn->mtu_logged = PMTU_BASE_SIZE;
	conn->path = conn->proven = *path;
	conn->settings = *settings;
	default_settings(&conn->settings);
	budget_init(&conn->own_budget, QUIC_BUDGET_DEFAULT);
	conn->budget = settings->budget != NULL ? settings->budget
						: &conn->own_budget;
	LIST_INSERT_HEAD(&conn->budget->conns, conn, budget_entry);
	conn->relief_at = UINT64_MAX;
	conn->events = events;
	conn->arg = arg;
	conn->now = conn->began_at = now;
	conn->dirty = true;
	conn->ref.get_conn = get_conn;
	conn->ref.user_data = conn;
	ngtcp2_ccerr_default(&conn->ccerr);
	*out = conn;
	return 0;
}

static size_t
within_budget(const struct quic_conn *conn, size_t window)
{
	return window < conn->budget->max / 8 ? window : conn->budget->max / 8;
}

static void
make_settings(struct quic_conn *conn, ngtcp2_settings *s, uint16_t *turns)
{
	ngtcp2_settings_default(s);
	s->initial_ts = conn->now;
	s->cc_algo = conn->settings.cc == QUIC_CC_BBR ? NGTCP2_CC_ALGO_BBR
						      : NGTCP2_CC_ALGO_CUBIC;
	s->handshake_timeout = conn->settings.handshake_timeout_ns;
	s->max_window = within_budget(conn, CONN_WINDOW_MAX);
	s->max_stream_window = 0; /* no doubling */
	probe_init(conn, s, turns, headers_len(&conn->path));
	if (conn->events->qlog != NULL)
		s->qlog_write = on_qlog;
}

static void
make_params(const struct quic_conn *conn, ngtcp2_transport_params *p)
{
	ngtcp2_transport_params_default(p);
	p->initial_max_stream_data_bidi_local = STREAM_WINDOW;
	p->initial_max_stream_data_bidi_remote = STREAM_WINDOW;
	p->initial_max_stream_data_uni = STREAM_WINDOW;
	p->initial_max_data = within_budget(conn, CONN_WINDOW);
	p->initial_max_streams_uni = UNI_STREAMS_MAX;
	p->initial_max_streams_bidi =
	    conn->server != NULL ? conn->settings.streams_max : 0;
	p->max_idle_timeout = conn->settings.idle_timeout_ns;
	p->active_connection_id_limit = PEER_IDS_MAX;
	if (conn->settings.udp_payload_max != 0)
		p->max_udp_payload_size = conn->settings.udp_payload_max;
	p->grease_quic_bit = 1;
}

int
quic_client_new(struct quic_conn **out, struct quic_tls *tls,
    const char *server_name, const struct quic_path *path,
    const struct quic_settings *settings, const struct quic_events *events,
    void *arg, uint64_t now)
{
	uint16_t turns[PROBE_TURNS];
	ngtcp2_transport_params params;
	ngtcp2_settings quic_settings;
	ngtcp2_path view = path_view(path);
	ngtcp2_cid dcid, scid;
	struct quic_conn *conn;
	size_t tokenlen;

	if (conn_alloc(&conn, tls, path, settings, events, arg, now) != 0)
		return -ENOMEM;
	make_settings(conn, &quic_settings, turns);
	make_params(conn, &params);
	quic_settings.token = tls_token(tls, &tokenlen);
	quic_settings.tokenlen = tokenlen;
	dcid.datalen = NGTCP2_MIN_INITIAL_DCIDLEN;
	scid.datalen = CID_LEN;
	gnutls_rnd(GNUTLS_RND_RANDOM, dcid.data, dcid.datalen);
	gnutls_rnd(GNUTLS_RND_RANDOM, scid.data, scid.datalen);
	conn->server_name = strdup(server_name);
	if (conn->server_name == NULL ||
	    ngtcp2_conn_client_new(&conn->quic, &dcid, &scid, &view,
		NGTCP2_PROTO_VER_V1, &callbacks, &quic_settings, &params, NULL,
		conn) != 0 || tls_session_new(conn) != 0) {
		quic_conn_free(conn);
		return -ENOMEM;
	}
	*out = conn;
	return 0;
}

int
conn_server_new(struct quic_conn **out, struct quic_server *server,
    struct quic_tls *tls, const ngtcp2_pkt_hd *initial,
    const ngtcp2_cid *original_dcid, bool retried,
    const struct quic_path *path, const struct quic_settings *settings,
    const struct quic_events *events, void *arg, uint64_t now)
{
	uint16_t turns[PROBE_TURNS];
	ngtcp2_transport_params params;
	ngtcp2_settings quic_settings;
	ngtcp2_path view = path_view(path);
	struct quic_conn *conn;
	ngtcp2_cid scid;

	if (conn_alloc(&conn, tls, path, settings, events, arg, now) != 0)
		return -ENOMEM;
	conn->server = server;
	make_settings(conn, &quic_settings, turns);
	make_params(conn, &params);
	quic_settings.token = initial->token;
	quic_settings.tokenlen = initial->tokenlen;
	quic_settings.token_type = retried ? NGTCP2_TOKEN_TYPE_RETRY
	    : initial->tokenlen > 0 ? NGTCP2_TOKEN_TYPE_NEW_TOKEN
				    : NGTCP2_TOKEN_TYPE_UNKNOWN;
	scid.datalen = CID_LEN;
	gnutls_rnd(GNUTLS_RND_RANDOM, scid.data, scid.datalen);
	params.original_dcid = *original_dcid;
	params.original_dcid_present = 1;
	if (retried) {
		params.retry_scid = initial->dcid;
		params.retry_scid_present = 1;
	}
	params.stateless_reset_token_present = 1;
	server_reset_token(server, &scid, params.stateless_reset_token);
	if (ngtcp2_conn_server_new(&conn->quic, &initial->scid, &scid, &view,
		initial->version, &callbacks, &quic_settings, &params, NULL,
		conn) != 0 || tls_session_new(conn) != 0 ||
	    server_add_id(server, conn, &scid) != 0 ||
	    server_add_id(server, conn, &initial->dcid) != 0) {
		quic_conn_free(conn);
		return -ENOMEM;
	}
	*out = conn;
	return 0;
}

void
quic_conn_free(struct quic_conn *conn)
{
	struct quic_stream *s;

	if (conn == NULL)
		return;
	while ((s = LIST_FIRST(&conn->streams)) != NULL)
		stream_free(s);
	if (conn->server != NULL)
		server_forget(conn->server, conn);
	probe_fini(conn);
	h3_stop(conn);
	ngtcp2_conn_del(conn->quic);
	if (conn->session != NULL)
		gnutls_deinit(conn->session);
	quic_tls_free(conn->tls);
	LIST_REMOVE(conn, budget_entry);
	budget_fini(&conn->own_budget);
	free(conn->close_packet);
	free(conn->server_name);
	free(conn);
}

/* ---- Death ---- */

static void
conn_end(struct quic_conn *conn, enum quic_cause cause, bool application,
    uint64_t code, const char *text, enum conn_state state)
{
	if (conn->state >= CONN_CLOSING)
		return;
	conn->state = state;
	conn->close.cause = cause;
	conn->close.application = application;
	conn->close.code = code;
	snprintf(conn->close.text, sizeof(conn->close.text), "%s", text);
	conn->close_pending = true;
	conn->gone_at = conn->now + 3 * ngtcp2_conn_get_pto(conn->quic);
	if (conn->server != NULL)
		server_uncount(conn->server, conn);
	conn_touch(conn);
}

/* Notes why the connection fails; the peer is told if it can be. */
void
conn_fail(struct quic_conn *conn, enum quic_cause cause, int liberr,
    const char *text)
{
	bool silent = cause == QUIC_RESET || cause == QUIC_IDLE ||
	    cause == QUIC_NO_ANSWER || cause == QUIC_NO_VERSION;

	if (liberr != 0 && conn->ccerr.error_code == 0)
		ngtcp2_ccerr_set_liberr(&conn->ccerr, liberr, NULL, 0);
	conn_end(conn, cause, conn->ccerr.type == NGTCP2_CCERR_TYPE_APPLICATION,
	    conn->ccerr.error_code, text, silent ? CONN_CLOSED : CONN_CLOSING);
}

#define ALERT_NO_APPLICATION_PROTOCOL 120 /* RFC 7301 §3.2 */

static void
fail_tls(struct quic_conn *conn)
{
	uint8_t alert = ngtcp2_conn_get_tls_alert(conn->quic);
	char text[QUIC_ERROR_MAX];

	ngtcp2_ccerr_set_tls_alert(&conn->ccerr, alert, NULL, 0);
	if (conn->verify_error != NULL) {
		snprintf(text, sizeof(text), "%s%s%s", conn->verify_error,
		    conn->server_name != NULL ? ": " : "",
		    conn->server_name != NULL ? conn->server_name : "");
		conn_fail(conn, QUIC_BAD_CERTIFICATE, 0, text);
		return;
	}
	if (alert == ALERT_NO_APPLICATION_PROTOCOL) {
		conn_fail(conn, QUIC_NO_H3, 0,
		    "the other side does not speak HTTP/3 (ALPN h3)");
		return;
	}
	snprintf(text, sizeof(text), "the TLS handshake failed: %s",
	    gnutls_alert_get_name((gnutls_alert_description_t)alert));
	conn_fail(conn, QUIC_PROTOCOL_ERROR, 0, text);
}

/* Copies a reason phrase that a stranger wrote: printable ASCII only. */
static void
copy_phrase(char *to, size_t size, const uint8_t *from, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < size; i++)
		to[n++] = from[i] >= 0x20 && from[i] < 0x7f ? (char)from[i]
							     : '?';
	to[n] = '\0';
}

#define CRYPTO_ERROR 0x100 /* plus a TLS alert (RFC 9001 §4.8) */

/* The peer has sent CONNECTION_CLOSE, or we know that it is gone. */
static void
fail_drained(struct quic_conn *conn)
{
	const ngtcp2_ccerr *err = ngtcp2_conn_get_ccerr(conn->quic);
	bool application = err->type == NGTCP2_CCERR_TYPE_APPLICATION;
	char text[QUIC_ERROR_MAX], phrase[128];

	if (!application &&
	    err->error_code == CRYPTO_ERROR + ALERT_NO_APPLICATION_PROTOCOL) {
		conn_end(conn, QUIC_NO_H3, false, err->error_code,
		    "the server does not speak HTTP/3 (ALPN h3)", CONN_CLOSED);
		return;
	}
	if (!application && err->error_code == NGTCP2_CONNECTION_REFUSED) {
		conn_end(conn, QUIC_CLOSED_BY_PEER, false, err->error_code,
		    "the edge takes no new connections", CONN_CLOSED);
		return;
	}
	copy_phrase(phrase, sizeof(phrase), err->reason, err->reasonlen);
	if (!application && err->error_code >= CRYPTO_ERROR &&
	    err->error_code < CRYPTO_ERROR + 256)
		snprintf(text, sizeof(text), "the other side refused TLS: %s",
		    gnutls_alert_get_name((gnutls_alert_description_t)(
			err->error_code - CRYPTO_ERROR)));
	else
		snprintf(text, sizeof(text),
		    "closed by the other side (%s error 0x%llx%s%s)",
		    application ? "HTTP/3" : "QUIC",
		    (unsigned long long)err->error_code,
		    phrase[0] != '\0' ? ", " : "", phrase);
	conn_end(conn, QUIC_CLOSED_BY_PEER, application, err->error_code, text,
	    CONN_CLOSED);
}

/* Turns what a library call returned into the end of the connection. */
static void
conn_check(struct quic_conn *conn, int rv)
{
	char text[QUIC_ERROR_MAX];

	switch (rv) {
	case 0:
		return;
	case NGTCP2_ERR_DRAINING:
		fail_drained(conn);
		return;
	case NGTCP2_ERR_CRYPTO:
		fail_tls(conn);
		return;
	case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
		conn_fail(conn, QUIC_NO_VERSION, 0,
		    "the server does not speak QUIC version 1");
		return;
	case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
		conn_fail(conn, QUIC_NO_ANSWER, 0, "no answer");
		return;
	case NGTCP2_ERR_IDLE_CLOSE:
		conn_fail(conn, conn->state == CONN_UP ? QUIC_IDLE
						       : QUIC_NO_ANSWER,
		    0, conn->state == CONN_UP ? "the other side went silent"
					      : "no answer");
		return;
	case NGTCP2_ERR_DROP_CONN:
	case NGTCP2_ERR_RETRY:
		/* A server's first packet was spoilt: be ready for the next. */
		conn_end(conn, QUIC_PROTOCOL_ERROR, false, 0,
		    "the handshake cannot go on", CONN_CLOSED);
		conn->gone_at = conn->now;
		return;
	}
	if (rv == NGTCP2_ERR_CALLBACK_FAILURE)
		snprintf(text, sizeof(text),
		    "a rule of HTTP/3 was broken (error 0x%llx)",
		    (unsigned long long)conn->ccerr.error_code);
	else
		snprintf(text, sizeof(text),
		    "a rule of QUIC was broken (%s)", ngtcp2_strerror(rv));
	conn_fail(conn, QUIC_PROTOCOL_ERROR, rv, text);
}

void
quic_conn_close(struct quic_conn *conn, uint64_t code, const char *reason)
{
	if (conn->state >= CONN_CLOSING)
		return;
	conn_end(conn, QUIC_CLOSED_HERE, true, code, reason, CONN_CLOSING);
	/* The phrase leaves with the next write: let it be our own copy. */
	ngtcp2_ccerr_set_application_error(&conn->ccerr, code,
	    (const uint8_t *)conn->close.text, strlen(conn->close.text));
	conn_deliver(conn);
}

/* The closing period is over: the connection may be freed (server). */
bool
conn_is_over(const struct quic_conn *conn, uint64_t now)
{
	return conn->state == CONN_CLOSED && now >= conn->gone_at;
}

/* ---- Events ---- */

static void
abort_streams(struct quic_conn *conn)
{
	struct quic_stream *s;

	LIST_FOREACH(s, &conn->streams, entry)
		stream_abort(s, conn->close.code);
}

static void
deliver_path_events(struct quic_conn *conn)
{
	if (conn->migrated_pending) {
		conn->migrated_pending = false;
		if (conn->state == CONN_UP && conn->events->migrated != NULL)
			conn->events->migrated(conn, !conn->migration_failed,
			    conn->arg);
	}
	if (conn->silence_pending) {
		conn->silence_pending = false;
		if (conn->state == CONN_UP && conn->events->silent != NULL)
			conn->events->silent(conn, conn->arg);
	}
}

static void
deliver_conn_events(struct quic_conn *conn)
{
	if (conn->connect_pending) {
		conn->connect_pending = false;
		if (conn->state == CONN_HANDSHAKE)
			conn->state = CONN_UP;
		conn->announced = true;
		if (conn->events->connected != NULL)
			conn->events->connected(conn, conn->arg);
	}
	if (conn->state == CONN_UP && conn->probe.pmtu.size !=
	    conn->mtu_told) {
		conn->mtu_told = conn->probe.pmtu.size;
		if (conn->events->mtu_changed != NULL)
			conn->events->mtu_changed(conn, conn->arg);
	}
	if (conn->drain_pending && conn->state == CONN_UP) {
		conn->drain_pending = false;
		if (conn->events->draining != NULL)
			conn->events->draining(conn, conn->arg);
	}
	deliver_path_events(conn);
	if (conn->streams_pending && conn->state == CONN_UP) {
		conn->streams_pending = conn->streams_wanted = false;
		if (conn->events->streams_available != NULL)
			conn->events->streams_available(conn, conn->arg);
	}
}

/*
 * Turns the notes of a library call into events. A handler's own doings may
 * leave more notes, and a handler that closes the connection enters here
 * again: each list is taken from its head, so both are fine.
 */
void
conn_deliver(struct quic_conn *conn)
{
	struct quic_stream *s;

	if (conn->events->qlog != NULL)
		log_mtu(conn);
	deliver_conn_events(conn);
	request_curb(conn);
	if (conn->close_pending)
		abort_streams(conn);
	while ((s = TAILQ_FIRST(&conn->ready)) != NULL)
		stream_deliver(s);
	if (!conn->close_pending)
		return;
	conn->close_pending = false;
	if (conn->events->closed != NULL &&
	    (conn->announced || conn->server == NULL))
		conn->events->closed(conn, &conn->close, conn->arg);
}

/* ---- The doors ---- */

/*
 * The library may have gone over to another path: nothing is known of its size
 * until it is validated. A client behind a NAT that only gives it another port
 * is most likely where it was.
 */
static void
conn_follow_path(struct quic_conn *conn)
{
	const ngtcp2_path *path = ngtcp2_conn_get_path(conn->quic);
	ngtcp2_path ours = path_view(&conn->path);
	ngtcp2_path proven = path_view(&conn->proven);

	if (!ngtcp2_path_eq(path, &ours)) {
		conn->migrations++;
		if (conn->server == NULL ||
		    !same_host(path->remote.addr, ours.remote.addr)) {
			conn->path_unproven = true;
			probe_stop(conn, conn->now);
		}
		path_copy(&conn->path, path);
	}
	if (conn->path_unproven && ngtcp2_path_eq(path, &proven)) {
		conn->path_unproven = false;
		probe_start(conn, conn->now);
	}
}

/*
 * When a download that has stopped is to be asked about: the peer may not know
 * where we are any more, and hears it only from a packet of ours.
 */
static uint64_t
ask_at(const struct quic_conn *conn)
{
	if (conn->fed_at == 0 || conn->settings.silence_ns == 0 ||
	    LIST_EMPTY(&conn->streams))
		return UINT64_MAX;
	return conn->fed_at + conn->settings.silence_ns;
}

/* When the silence of the peer is to be told. */
static uint64_t
silent_at(const struct quic_conn *conn)
{
	uint64_t wait;

	if (conn->owed_since == 0 || conn->silence_told ||
	    conn->state != CONN_UP)
		return UINT64_MAX;
	wait = SILENCE_PTOS * ngtcp2_conn_get_pto(conn->quic);
	if (wait < conn->settings.silence_ns)
		wait = conn->settings.silence_ns;
	return conn->owed_since + wait;
}

void
conn_touch(struct quic_conn *conn)
{
	conn->dirty = true;
	if (conn->server != NULL)
		server_touch(conn->server, conn);
}

/*
 * ngtcp2 1.11 miscounts when a client changes its network before a new port
 * of its NAT has proven itself: it retires the connection ID that it falls
 * back on, goes on counting it, and takes the peer's next one for one too
 * many (RFC 9000 §5.1.1). It has made a note of that ID, though: the packet is
 * as good as lost, and when its frames come again all is well.
 */
static bool
forgive(struct quic_conn *conn, int rv)
{
	return rv == NGTCP2_ERR_CONNECTION_ID_LIMIT &&
	    conn->forgiven++ < FORGIVEN_MAX;
}

/* One datagram, and whether another follows. Events wait for conn_deliver(). */
void
conn_read(struct quic_conn *conn, const struct quic_path *path, uint8_t ecn,
    const uint8_t *data, size_t len, bool more, uint64_t now)
{
	uint64_t received = conn->packets_received;
	ngtcp2_path view = path_view(path);
	ngtcp2_pkt_info pi = { ecn };
	int rv;

	conn->now = now;
	if (conn->state >= CONN_CLOSING) {
		/* Answered ever more rarely (RFC 9000 §10.2.1). */
		conn->stragglers++;
		if ((conn->stragglers & (conn->stragglers - 1)) == 0)
			conn_touch(conn);
		return;
	}
	probe_watch(conn);
	rv = ngtcp2_conn_read_pkt(conn->quic, &view, &pi, data, len, now);
	if (!forgive(conn, rv))
		conn_check(conn, rv);
	/* Anybody may send what cannot be opened: that is no sign of life. */
	if (conn->packets_received != received) {
		conn->owed_since = 0;
		conn->silence_told = false;
		if (conn->fed_at != 0)
			conn->fed_at = now;
	}
	conn_follow_path(conn);
	probe_weigh(conn, now);
	if (more && conn->state == CONN_UP)
		probe_harvest(conn, now);
	probe_watch(NULL);
	conn_touch(conn);
}

void
quic_conn_receive(struct quic_conn *conn, const struct quic_rx *rx, size_t n,
    uint64_t now)
{
	size_t at, len;

	/* The other side has given up who slept that long: this is old. */
	if (now - conn->now >= quic_conn_idle_ns(conn))
		quic_conn_expire(conn, now);
	for (size_t i = 0; i < n; i++)
		for (at = 0; (len = rx_datagram(&rx[i], at)) > 0; at += len)
			conn_read(conn, &rx[i].path, rx[i].ecn,
			    rx[i].data + at, len,
			    i + 1 < n || at + len < rx[i].len, now);
	conn_deliver(conn);
}

void
quic_conn_expire(struct quic_conn *conn, uint64_t now)
{
	if (conn->state < CONN_CLOSING && quic_conn_deadline(conn) <= now) {
		conn->now = now;
		if (ngtcp2_conn_get_expiry(conn->quic) <= now)
			conn_check(conn,
			    ngtcp2_conn_handle_expiry(conn->quic, now));
		probe_expire(conn, now);
		request_expire(conn, now);
		if (ask_at(conn) <= now) {
			conn->fed_at = 0;
			quic_conn_ping(conn);
		}
		if (silent_at(conn) <= now)
			conn->silence_told = conn->silence_pending = true;
		if (conn->relief_at <= now)
			window_relieve(conn, now);
		conn_touch(conn);
	}
	conn_deliver(conn);
}

uint64_t
quic_conn_deadline(const struct quic_conn *conn)
{
	uint64_t at, other;

	/* Events that a write has left behind are told at once. */
	if (conn->close_pending || conn->migrated_pending ||
	    !TAILQ_EMPTY(&conn->ready))
		return conn->now;
	if (conn->state >= CONN_CLOSING)
		return conn->server != NULL ? conn->gone_at : UINT64_MAX;
	at = ngtcp2_conn_get_expiry(conn->quic);
	if ((other = probe_deadline(conn)) < at)
		at = other;
	if ((other = request_deadline(conn)) < at)
		at = other;
	if ((other = ask_at(conn)) < at)
		at = other;
	if ((other = silent_at(conn)) < at)
		at = other;
	return conn->relief_at < at ? conn->relief_at : at;
}

/* ---- Writing ---- */

/* The CONNECTION_CLOSE: written once, kept, and sent again to stragglers. */
static bool
write_close(struct quic_conn *conn, struct quic_train *train, uint64_t now)
{
	ngtcp2_path_storage ps;
	ngtcp2_pkt_info pi;
	ngtcp2_ssize n;

	conn->dirty = false;
	if (conn->state == CONN_CLOSING) {
		conn->state = CONN_CLOSED;
		ngtcp2_path_storage_zero(&ps);
		n = ngtcp2_conn_write_connection_close(conn->quic, &ps.path,
		    &pi, train->buf, NGTCP2_MAX_UDP_PAYLOAD_SIZE, &conn->ccerr,
		    now);
		if (n <= 0 || (conn->close_packet = malloc((size_t)n)) == NULL)
			return false;
		memcpy(conn->close_packet, train->buf, (size_t)n);
		conn->close_packet_len = (size_t)n;
	}
	if (conn->close_packet == NULL)
		return false;
	memcpy(train->buf, conn->close_packet, conn->close_packet_len);
	train->len = train->segment = conn->close_packet_len;
	train->path = conn->path;
	train->ecn = 0;
	return true;
}

/* Adds packets to the train as far as it and the connection go. */
static size_t
write_packets(struct quic_conn *conn, struct quic_train *train, uint64_t now)
{
	size_t quantum = ngtcp2_conn_get_send_quantum(conn->quic);
	size_t cap = probe_cap(conn, now), packets = 0;
	ngtcp2_path_storage ps;
	ngtcp2_pkt_info pi;
	ngtcp2_ssize n;

	while (train->len == 0 || (!train_is_full(train) &&
	    train->len < quantum)) {
		ngtcp2_path_storage_zero(&ps);
		n = h3_write_packet(conn, &ps.path, &pi,
		    train->buf + train->len, cap, now);
		if (n < 0)
			conn_check(conn, (int)n);
		if (n <= 0)
			break;
		n += (ngtcp2_ssize)probe_added(conn);
		packets++;
		if (!train_add(train, &ps.path, pi.ecn, (size_t)n))
			break;
	}
	conn_check(conn, h3_settle(conn));
	return packets;
}

/* Writes a probe, which has a train of its own. */
static size_t
write_probe(struct quic_conn *conn, struct quic_train *train, uint64_t now)
{
	ngtcp2_ssize n = 0;

	if (train->len == 0)
		n = probe_write(conn, train, now);
	if (n < 0)
		conn_check(conn, (int)n);
	return n > 0;
}

/* Packets have left: is an answer due now? */
static void
note_written(struct quic_conn *conn)
{
	ngtcp2_conn_info info;

	if (conn->ping_wanted) {
		conn->ping_wanted = false;
		set_keep_alive(conn);
	}
	if (conn->settings.silence_ns == 0 || conn->owed_since != 0)
		return;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (info.bytes_in_flight > 0)
		conn->owed_since = conn->now;
}

bool
quic_conn_write(struct quic_conn *conn, struct quic_train *train, uint64_t now)
{
	size_t packets;

	train_begin(train);
	if (!conn->dirty)
		return train->len > 0;
	conn->now = now;
	if (conn->state >= CONN_CLOSING)
		return train->len > 0 || write_close(conn, train, now);
	probe_watch(conn);
	packets = write_probe(conn, train, now);
	if (packets == 0 && conn->state < CONN_CLOSING)
		packets = write_packets(conn, train, now);
	probe_watch(NULL);
	if (packets > 0) {
		ngtcp2_conn_update_pkt_tx_time(conn->quic, now);
		conn->packets_sent += packets;
		conn->trains_sent++;
		note_written(conn);
	}
	conn_follow_path(conn);
	conn->dirty = packets > 0;
	if (train->len == 0 && conn->state >= CONN_CLOSING)
		return write_close(conn, train, now); /* writing has failed */
	return train->len > 0;
}

/* ---- Looking at it ---- */

void
quic_conn_set_user(struct quic_conn *conn, void *user)
{
	conn->user = user;
}

void *
quic_conn_user(const struct quic_conn *conn)
{
	return conn->user;
}

const struct quic_path *
quic_conn_path(const struct quic_conn *conn)
{
	return &conn->path;
}

void
quic_conn_reprobe(struct quic_conn *conn, uint64_t now)
{
	pmtu_reprobe(&conn->probe.pmtu, now);
	conn_touch(conn);
}

void
quic_conn_too_big(struct quic_conn *conn, const struct quic_too_big *news,
    uint64_t now)
{
	if (conn->state != CONN_UP)
		return;
	conn->now = now;
	if (news->local)
		probe_set_link(conn, news->ip_mtu, now);
	else
		probe_too_big(conn, news, now);
}

int
quic_conn_migrate(struct quic_conn *conn, const struct quic_path *path,
    bool at_once, uint64_t now)
{
	const ngtcp2_transport_params *peer;
	ngtcp2_path view = path_view(path);
	int rv;

	if (conn->state != CONN_UP)
		return -ENOTCONN;
	peer = ngtcp2_conn_get_remote_transport_params(conn->quic);
	if (peer->disable_active_migration)
		return -EPERM;
	conn->now = now;
	rv = at_once
	    ? ngtcp2_conn_initiate_immediate_migration(conn->quic, &view, now)
	    : ngtcp2_conn_initiate_migration(conn->quic, &view, now);
	if (rv == NGTCP2_ERR_INVALID_STATE || rv == NGTCP2_ERR_CONN_ID_BLOCKED)
		return -EAGAIN;
	if (rv == NGTCP2_ERR_INVALID_ARGUMENT)
		return -EINVAL;
	if (rv != 0)
		return -ENOMEM;
	conn->migrated_pending = false;
	conn_follow_path(conn);
	conn_touch(conn);
	return 0;
}

/* The library sends a PING when its keep-alive timer is over: make it so. */
void
quic_conn_ping(struct quic_conn *conn)
{
	if (conn->state != CONN_UP)
		return;
	ngtcp2_conn_set_keep_alive_timeout(conn->quic, 1);
	conn->ping_wanted = true;
	conn_touch(conn);
}

uint64_t
quic_conn_idle_ns(const struct quic_conn *conn)
{
	const ngtcp2_transport_params *peer =
	    ngtcp2_conn_get_remote_transport_params(conn->quic);
	uint64_t ours = conn->settings.idle_timeout_ns;

	return peer != NULL && peer->max_idle_timeout != 0 &&
	    peer->max_idle_timeout < ours ? peer->max_idle_timeout : ours;
}

int
quic_conn_update_keys(struct quic_conn *conn, uint64_t now)
{
	if (conn->state != CONN_UP ||
	    ngtcp2_conn_initiate_key_update(conn->quic, now) != 0)
		return -EAGAIN;
	conn_touch(conn);
	return 0;
}

void
quic_conn_stats(const struct quic_conn *conn, struct quic_stats *stats)
{
	const struct quic_stream *s;
	ngtcp2_conn_info info;

	memset(stats, 0, sizeof(*stats));
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (info.latest_rtt != 0)
		stats->rtt_ns = info.smoothed_rtt;
	stats->cwnd = info.cwnd;
	stats->bytes_in_flight = info.bytes_in_flight;
	stats->packets_sent = conn->packets_sent;
	stats->packets_received = conn->packets_received;
	stats->packets_lost = conn->packets_lost;
	LIST_FOREACH(s, &conn->streams, entry)
		if (!s->transport_gone)
			stats->packets_lost +=
			    ngtcp2_conn_get_stream_loss_count(conn->quic,
				s->id);
	stats->trains_sent = conn->trains_sent;
	stats->migrations = conn->migrations;
	probe_stats(conn, stats);
	stats->streams = conn->nstreams;
	stats->resumed = conn->resumed;
	tls_describe(conn->session, stats);
}

void
quic_conn_pulse(const struct quic_conn *conn, struct quic_pulse *pulse)
{
	pulse->packets_received = conn->packets_received;
	pulse->streams = conn->nstreams;
}

int
quic_stream_request(struct quic_conn *conn, const struct quic_field *fields,
    size_t n, const struct quic_stream_events *events, void *arg,
    struct quic_stream **out)
{
	struct quic_stream *s;
	int64_t id;
	int rv;

	if (conn->state != CONN_UP)
		return -ENOTCONN;
	if (conn->drain != DRAIN_NOT)
		return -EPIPE;
	if ((s = stream_new(conn, -1)) == NULL)
		return -ENOMEM;
	rv = ngtcp2_conn_open_bidi_stream(conn->quic, &id, s);
	if (rv != 0) {
		conn->streams_wanted = rv == NGTCP2_ERR_STREAM_ID_BLOCKED;
		stream_free(s);
		return conn->streams_wanted ? -EAGAIN : -ENOMEM;
	}
	s->id = id;
	s->events = events;
	s->arg = arg;
	if ((rv = h3_submit(s, fields, n)) != 0) {
		quic_stream_reset(s, QUIC_H3_INTERNAL_ERROR);
		return rv;
	}
	*out = s;
	return 0;
}

int
quic_stream_respond(struct quic_stream *s, const struct quic_field *fields,
    size_t n)
{
	return s->transport_gone ? -EPIPE : h3_submit(s, fields, n);
}
