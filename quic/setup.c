/*
 * Makes and frees connections: parameters, settings, and the callbacks of
 * ngtcp2.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "quic/internal.h"

/* Defaults of struct quic_settings. */
#define HANDSHAKE_TIMEOUT (10 * NS_PER_S)
#define IDLE_TIMEOUT (30 * NS_PER_S)
#define STREAMS_MAX 16384 /* tunnels: of a household */
/* Longer than a retransmission time-out of TCP. */
#define HEAD_TIMEOUT (10 * NS_PER_S)
#define HEADS_MAX 256	/* what the packets of one loss may delay */
#define IP_MTU_MAX 1500 /* bytes: Ethernet */

/* Three for HTTP/3 (RFC 9114 §6.2), the rest for extensions and grease. */
#define UNI_STREAMS_MAX 16

/*
 * The limits of a client's part of the handshake, in bytes: its first message,
 * and its certificates. GnuTLS stores the parts of a message until it is
 * complete, up to 128 KiB, and the client is not authenticated then.
 */
#define HELLO_MAX 12288
#define CLIENT_CERTIFICATES_MAX 65536

/* ---- Callbacks of ngtcp2 ---- */

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
	if (!conn_is_server(conn))
		return gnutls_rnd(GNUTLS_RND_RANDOM, token,
			   NGTCP2_STATELESS_RESET_TOKENLEN) == 0
		    ? 0
		    : NGTCP2_ERR_CALLBACK_FAILURE;
	conn->server.ops->reset_token(conn->server.owner, cid, token);
	return conn->server.ops->add_id(conn->server.owner, conn, cid) == 0
	    ? 0
	    : NGTCP2_ERR_CALLBACK_FAILURE;
}

static int
on_remove_id(ngtcp2_conn *quic, const ngtcp2_cid *cid, void *user)
{
	struct quic_conn *conn = user;

	(void)quic;
	if (conn_is_server(conn))
		conn->server.ops->remove_id(conn->server.owner, cid);
	return 0;
}

/* After its handshake a client sends no TLS message (RFC 9001 §4.4, §6). */
static int
check_crypto(struct quic_conn *conn, ngtcp2_encryption_level level,
    uint64_t end)
{
	if (level == NGTCP2_ENCRYPTION_LEVEL_1RTT)
		return GNUTLS_A_UNEXPECTED_MESSAGE;
	if (end > (level == NGTCP2_ENCRYPTION_LEVEL_INITIAL
			  ? HELLO_MAX
			  : CLIENT_CERTIFICATES_MAX))
		return GNUTLS_A_DECODE_ERROR;
	memory_handshake(conn, end);
	return 0;
}

static int
on_crypto(ngtcp2_conn *quic, ngtcp2_encryption_level level, uint64_t offset,
    const uint8_t *data, size_t len, void *user)
{
	struct quic_conn *conn = user;
	int alert = 0;

	if (conn_is_server(conn))
		alert = check_crypto(conn, level, offset + len);
	if (alert != 0) {
		ngtcp2_conn_set_tls_alert(quic, (uint8_t)alert);
		return NGTCP2_ERR_CRYPTO;
	}
	return ngtcp2_crypto_recv_crypto_data_cb(quic, level, offset, data, len,
	    user);
}

static int
on_handshake_completed(ngtcp2_conn *quic, void *user)
{
	struct quic_conn *conn = user;
	uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN];
	size_t len;
	int rv;

	if (!tls_is_h3(conn->session)) {
		ngtcp2_ccerr_set_tls_alert(&conn->end.ccerr,
		    GNUTLS_A_NO_APPLICATION_PROTOCOL, NULL, 0);
		conn_fail(conn, QUIC_NO_H3,
		    "the server does not support HTTP/3 (ALPN h3)");
		return NGTCP2_ERR_CALLBACK_FAILURE;
	}
	if ((rv = h3_start(conn)) != 0) {
		conn->end.h3_error = rv == -EPROTO
		    ? NGHTTP3_ERR_H3_GENERAL_PROTOCOL_ERROR
		    : NGHTTP3_ERR_NOMEM;
		return NGTCP2_ERR_CALLBACK_FAILURE;
	}
	memory_handshake_done(conn);
	conn->resumed = gnutls_session_is_resumed(conn->session) != 0;
	conn->connect_pending = true;
	mtu_probe_start(conn, conn->now);
	repair_start(conn, conn->now);
	if (!conn_is_server(conn)) {
		keep_alive_set_timer(conn);
		return 0;
	}
	if (conn->server.ops->handshake_done(conn->server.owner, conn))
		goaway_begin(conn, conn->now);
	tls_send_ticket(conn->session);
	len = conn->server.ops->new_token(conn->server.owner,
	    &conn->path.current, token, conn->now);
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
	if (conn->requests.blocked)
		conn->requests.available_pending = true;
	return 0;
}

static int
on_stateless_reset(ngtcp2_conn *quic, const ngtcp2_pkt_stateless_reset *sr,
    void *user)
{
	(void)quic, (void)sr;
	conn_fail(user, QUIC_RESET,
	    "the edge no longer knows this connection (it may have restarted)");
	return 0;
}

static const ngtcp2_callbacks callbacks = {
	.client_initial = ngtcp2_crypto_client_initial_cb,
	.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb,
	.recv_crypto_data = on_crypto,
	.handshake_completed = on_handshake_completed,
	.encrypt = mtu_probe_encrypt,
	.decrypt = mtu_probe_decrypt,
	.hp_mask = repair_hp_mask,
	.recv_stream_data = h3_recv_stream_data,
	.acked_stream_data_offset = h3_acked,
	.stream_open = h3_stream_open,
	.stream_close = h3_stream_close,
	.recv_stateless_reset = on_stateless_reset,
	.recv_retry = ngtcp2_crypto_recv_retry_cb,
	.extend_max_local_streams_bidi = on_streams_extended,
	.extend_max_remote_streams_bidi = h3_allow_requests,
	.rand = on_rand,
	.get_new_connection_id = on_new_id,
	.remove_connection_id = on_remove_id,
	.update_key = aead_update_key,
	.stream_reset = h3_stream_reset,
	.extend_max_stream_data = h3_unblock_stream,
	.recv_new_token = on_new_token,
	.delete_crypto_aead_ctx = aead_delete_context,
	.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb,
	.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb,
	.path_validation = path_validated,
	.version_negotiation = ngtcp2_crypto_version_negotiation_cb,
};

static void
on_qlog(void *user, uint32_t flags, const void *data, size_t len)
{
	struct quic_conn *conn = user;

	(void)flags;
	conn->events->qlog(conn, data, len, conn->arg);
}

/* ---- Making and freeing ---- */

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
	TAILQ_INIT(&conn->streams.all);
	LIST_INIT(&conn->server.ids);
	LIST_INIT(&conn->aead.rx);
	LIST_INIT(&conn->aead.tx);
	TAILQ_INIT(&conn->streams.ready);
	TAILQ_INIT(&conn->scheduler.deferred);
	TAILQ_INIT(&conn->quota.waiting);
	TAILQ_INIT(&conn->orphans.list);
	conn->scheduler.round = 1; /* a new stream has had none */
	TAILQ_INIT(&conn->requests.incomplete);
	TAILQ_INIT(&conn->mtu_probe.queue);
	conn->tls = quic_tls_ref(tls);
	conn->mtu.reported = conn->mtu.logged = PMTU_BASE_SIZE;
	conn->path.current = conn->path.validated = *path;
	conn->settings = *settings;
	default_settings(&conn->settings);
	memory_init(&conn->own_memory, QUIC_MEMORY_DEFAULT);
	memory_attach(conn,
	    settings->memory != NULL ? settings->memory : &conn->own_memory);
	conn->bbr_probe_rtt.at = UINT64_MAX;
	conn->events = events;
	conn->arg = arg;
	conn->now = conn->began_at = now;
	conn->dirty = true;
	conn->ref.get_conn = get_conn;
	conn->ref.user_data = conn;
	ngtcp2_ccerr_default(&conn->end.ccerr);
	*out = conn;
	return 0;
}

static void
make_settings(struct quic_conn *conn, ngtcp2_settings *s, uint16_t *slots)
{
	ngtcp2_settings_default(s);
	s->initial_ts = conn->now;
	s->cc_algo = conn->settings.cc == QUIC_CC_BBR ? NGTCP2_CC_ALGO_BBR
						      : NGTCP2_CC_ALGO_CUBIC;
	s->handshake_timeout = conn->settings.handshake_timeout_ns;
	flow_init(conn, memory_first_window(conn));
	if (conn_is_server(conn))
		conn->requests.max = max_streams(conn);
	s->max_window = s->max_stream_window = 0; /* flow.c sets them */
	mtu_probe_init(conn, s, slots);
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
	p->initial_max_data = conn->flow.window;
	p->initial_max_streams_uni = UNI_STREAMS_MAX;
	p->initial_max_streams_bidi = conn->requests.max;
	p->max_idle_timeout = conn->settings.idle_timeout_ns;
	p->active_connection_id_limit = PEER_IDS_MAX;
	if (conn->settings.udp_payload_max != 0)
		p->max_udp_payload_size = conn->settings.udp_payload_max;
	p->grease_quic_bit = 0; /* repair.h needs the bit */
}

int
quic_client_new(struct quic_conn **out, struct quic_tls *tls,
    const char *server_name, const struct quic_path *path,
    const struct quic_settings *settings, const struct quic_events *events,
    void *arg, uint64_t now)
{
	uint16_t slots[MTU_PROBE_SLOTS];
	ngtcp2_transport_params params;
	ngtcp2_settings quic_settings;
	ngtcp2_path view = path_view(path);
	ngtcp2_cid dcid, scid;
	struct quic_conn *conn;
	size_t tokenlen;

	if (conn_alloc(&conn, tls, path, settings, events, arg, now) != 0)
		return -ENOMEM;
	make_settings(conn, &quic_settings, slots);
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
		NGTCP2_PROTO_VER_V1, &callbacks, &quic_settings, &params,
		&conn->memory.quic_allocator, conn) != 0 ||
	    tls_session_new(conn) != 0) {
		quic_conn_free(conn);
		return -ENOMEM;
	}
	*out = conn;
	return 0;
}

int
conn_server_new(struct quic_conn **out, struct quic_server *server,
    const struct server_ops *ops, struct quic_tls *tls,
    const ngtcp2_pkt_hd *initial, const ngtcp2_cid *original_dcid, bool retried,
    const struct quic_path *path, const struct quic_settings *settings,
    const struct quic_events *events, void *arg, uint64_t now)
{
	uint16_t slots[MTU_PROBE_SLOTS];
	ngtcp2_transport_params params;
	ngtcp2_settings quic_settings;
	ngtcp2_path view = path_view(path);
	struct quic_conn *conn;
	ngtcp2_cid scid;

	if (conn_alloc(&conn, tls, path, settings, events, arg, now) != 0)
		return -ENOMEM;
	conn->server.owner = server;
	conn->server.ops = ops;
	make_settings(conn, &quic_settings, slots);
	make_params(conn, &params);
	quic_settings.token = initial->token;
	quic_settings.tokenlen = initial->tokenlen;
	quic_settings.token_type = retried ? NGTCP2_TOKEN_TYPE_RETRY
	    : initial->tokenlen > 0	   ? NGTCP2_TOKEN_TYPE_NEW_TOKEN
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
	ops->reset_token(server, &scid, params.stateless_reset_token);
	if (ngtcp2_conn_server_new(&conn->quic, &initial->scid, &scid, &view,
		initial->version, &callbacks, &quic_settings, &params,
		&conn->memory.quic_allocator, conn) != 0 ||
	    tls_session_new(conn) != 0 ||
	    ops->add_id(server, conn, &scid) != 0 ||
	    ops->add_id(server, conn, &initial->dcid) != 0) {
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
	while ((s = TAILQ_FIRST(&conn->streams.all)) != NULL)
		stream_free(s);
	if (conn_is_server(conn))
		conn->server.ops->forget(conn->server.owner, conn);
	mtu_probe_fini(conn);
	path_loss_free(conn);
	repair_free(conn);
	h3_stop(conn);
	ngtcp2_conn_del(conn->quic);
	aead_free(conn);
	if (conn->session != NULL)
		gnutls_deinit(conn->session);
	quic_tls_free(conn->tls);
	memory_detach(conn);
	memory_trim(&conn->own_memory);
	free(conn->end.packet);
	free(conn->server_name);
	free(conn);
}
