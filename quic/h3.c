/*
 * HTTP/3 on a connection, by nghttp3: control streams, HEADERS and DATA
 * frames.
 *
 *   ngtcp2 ─▶ h3_recv_stream_data ─▶ nghttp3 ─┬▶ header_section.c ─┬▶ stream.c
 *                                             └▶ on_data ──────────┘        │
 *   ngtcp2 ◀─ scheduler.c: a packet ◀─ nghttp3 ◀─ h3_submit, on_read_data ◀─┘
 */
#include <errno.h>
#include <string.h>

#include "quic/compat.h"
#include "quic/internal.h"

/* An error in a callback must end the library call around it. */
int
h3_fail(struct quic_conn *conn, int rv)
{
	if (conn->end.h3_error == 0)
		conn->end.h3_error = rv;
	return NGTCP2_ERR_CALLBACK_FAILURE;
}

/* ---- Callbacks of nghttp3 ---- */

static int
on_acked(nghttp3_conn *h3, int64_t id, uint64_t len, void *conn, void *stream)
{
	(void)h3, (void)id, (void)conn;
	if (stream != NULL)
		stream_acked(stream, (size_t)len);
	return 0;
}

static int
on_data(nghttp3_conn *h3, int64_t id, const uint8_t *data, size_t len,
    void *user, void *stream)
{
	struct quic_conn *conn = user;

	(void)h3;
	if (stream == NULL) {
		ngtcp2_conn_extend_max_offset(conn->quic, len);
		ngtcp2_conn_extend_max_stream_offset(conn->quic, id, len);
		return 0;
	}
	if (stream_append(stream, data, len) != 0)
		return NGHTTP3_ERR_CALLBACK_FAILURE;
	return 0;
}

static int
on_deferred_consume(nghttp3_conn *h3, int64_t id, size_t n, void *user,
    void *stream)
{
	struct quic_conn *conn = user;

	(void)h3, (void)stream;
	ngtcp2_conn_extend_max_offset(conn->quic, n);
	ngtcp2_conn_extend_max_stream_offset(conn->quic, id, n);
	return 0;
}

static int
on_end_stream(nghttp3_conn *h3, int64_t id, void *user, void *stream)
{
	(void)h3, (void)id, (void)user;
	if (stream != NULL)
		stream_append_fin(stream);
	return 0;
}

static int
on_stop_sending(nghttp3_conn *h3, int64_t id, uint64_t code, void *user,
    void *stream)
{
	struct quic_conn *conn = user;

	(void)h3, (void)stream;
	return ngtcp2_conn_shutdown_stream_read(conn->quic, 0, id, code) == 0
	    ? 0
	    : NGHTTP3_ERR_CALLBACK_FAILURE;
}

/* The message is malformed, or the request came after GOAWAY. */
static int
on_reset_stream(nghttp3_conn *h3, int64_t id, uint64_t code, void *user,
    void *stream)
{
	struct quic_conn *conn = user;

	(void)h3;
	if (stream != NULL)
		stream_abort(stream, code);
	return ngtcp2_conn_shutdown_stream_write(conn->quic, 0, id, code) == 0
	    ? 0
	    : NGHTTP3_ERR_CALLBACK_FAILURE;
}

static nghttp3_ssize
on_read_data(nghttp3_conn *h3, int64_t id, nghttp3_vec *vec, size_t max,
    uint32_t *flags, void *user, void *stream)
{
	struct quic_conn *conn = user;
	bool eof = true;
	size_t n = 0;

	(void)h3, (void)id;
	if (stream != NULL)
		n = stream_take(stream, vec, max, &eof);
	if (eof)
		*flags |= NGHTTP3_DATA_FLAG_EOF;
	else if (n == 0) {
		conn->scheduler.skipped = true;
		return NGHTTP3_ERR_WOULDBLOCK;
	}
	return (nghttp3_ssize)n;
}

/*
 * GOAWAY. A server names the first request that it does not process; a client
 * would name a push, and there are none.
 */
static int
on_shutdown(nghttp3_conn *h3, int64_t id, void *user)
{
	struct quic_conn *conn = user;

	(void)h3;
	if (conn_is_server(conn))
		return 0;
	if (conn->goaway.state == GOAWAY_NONE)
		conn->goaway.event_pending = true;
	conn->goaway.state = GOAWAY_FIRST;
	conn->goaway.id = id;
	return 0;
}

static const nghttp3_callbacks callbacks = {
	.acked_stream_data = on_acked,
	.recv_data = on_data,
	.deferred_consume = on_deferred_consume,
	.begin_headers = header_section_begin,
	.recv_header = header_section_field,
	.end_headers = header_section_end,
	.stop_sending = on_stop_sending,
	.end_stream = on_end_stream,
	.reset_stream = on_reset_stream,
	.shutdown = on_shutdown,
};

/* ---- Callbacks of ngtcp2 ---- */

static nghttp3_ssize
read_some(struct quic_conn *conn, int64_t id, const uint8_t *data, size_t len,
    bool fin, struct quic_stream *s)
{
	nghttp3_ssize n;

	conn->h3_reader.stream = s;
	n = nghttp3_conn_read_stream(conn->h3, id, data, len, fin);
	conn->h3_reader.stream = NULL;
	return n;
}

/*
 * Passes on the type of the stream alone, then what qpack_decoder_stream_skip()
 * leaves.
 */
static nghttp3_ssize
read_uni(struct quic_conn *conn, int64_t id, uint64_t offset,
    const uint8_t *data, size_t len, bool fin)
{
	size_t type = offset == 0 && len > 1 ? 1 : 0, skipped;
	nghttp3_ssize n;

	if (type > 0) {
		qpack_decoder_stream_skip(&conn->h3_reader.decoder_stream, id,
		    offset, data, type);
		n = read_some(conn, id, data, type, false, NULL);
		if (n < 0)
			return n;
	}
	skipped = type +
	    qpack_decoder_stream_skip(&conn->h3_reader.decoder_stream, id,
		offset + type, data + type, len - type);
	if (skipped == len && !fin)
		return (nghttp3_ssize)len;
	n = read_some(conn, id, data + skipped, len - skipped, fin, NULL);
	return n < 0 ? n : n + (nghttp3_ssize)skipped;
}

int
h3_recv_stream_data(ngtcp2_conn *quic, uint32_t flags, int64_t id,
    uint64_t offset, const uint8_t *data, size_t len, void *user, void *stream)
{
	bool fin = (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0;
	struct quic_conn *conn = user;
	nghttp3_ssize n;

	if (conn->h3 == NULL)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	keep_alive_data_received(conn);
	n = ngtcp2_is_bidi_stream(id)
	    ? read_some(conn, id, data, len, fin, stream)
	    : read_uni(conn, id, offset, data, len, fin);
	if (n < 0)
		return h3_fail(conn, (int)n);
	ngtcp2_conn_extend_max_stream_offset(quic, id, (uint64_t)n);
	ngtcp2_conn_extend_max_offset(quic, (uint64_t)n);
	return 0;
}

/* Called when the stream makes progress, so that no loop over all is needed. */
static void
count_losses(struct quic_stream *s)
{
	size_t n = ngtcp2_conn_get_stream_loss_count(s->conn->quic, s->id);

	s->conn->counts.lost += n - s->losses;
	s->losses = n;
}

int
h3_acked(ngtcp2_conn *quic, int64_t id, uint64_t offset, uint64_t len,
    void *user, void *stream)
{
	struct quic_conn *conn = user;
	int rv;

	(void)quic, (void)offset;
	if (conn->h3 == NULL)
		return 0;
	rv = nghttp3_conn_add_ack_offset(conn->h3, id, len);
	if (rv != 0)
		return h3_fail(conn, rv);
	if (stream != NULL) {
		count_losses(stream);
		orphan_acked(stream);
	}
	return 0;
}

int
h3_stream_open(ngtcp2_conn *quic, int64_t id, void *user)
{
	struct quic_conn *conn = user;
	struct quic_stream *s;

	if (!ngtcp2_is_bidi_stream(id) || !conn_is_server(conn))
		return 0;
	if ((s = stream_new(conn, id)) == NULL)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	pending_request_add(s);
	max_streams_opened(conn);
	return ngtcp2_conn_set_stream_user_data(quic, id, s) == 0
	    ? 0
	    : NGTCP2_ERR_CALLBACK_FAILURE;
}

int
h3_stream_close(ngtcp2_conn *quic, uint32_t flags, int64_t id, uint64_t code,
    void *user, void *stream)
{
	struct quic_conn *conn = user;
	int rv = 0;

	if ((flags & NGTCP2_STREAM_CLOSE_FLAG_APP_ERROR_CODE_SET) == 0)
		code = QUIC_H3_NO_ERROR;
	if (conn->h3 != NULL)
		rv = nghttp3_conn_close_stream(conn->h3, id, code);
	if (rv != 0 && rv != NGHTTP3_ERR_STREAM_NOT_FOUND)
		return h3_fail(conn, rv);
	if (stream != NULL) {
		count_losses(stream);
		stream_transport_gone(stream, code);
	}
	if (ngtcp2_conn_is_local_stream(quic, id))
		return 0;
	if (ngtcp2_is_bidi_stream(id))
		max_streams_closed(conn);
	else
		ngtcp2_conn_extend_max_streams_uni(quic, 1);
	return 0;
}

/*
 * After the FIN and all bytes before it a reset changes nothing (RFC 9000
 * §3.2). But it cancels a request that has not been reported yet.
 */
static bool
is_complete(const struct quic_stream *s)
{
	bool unreported = conn_is_server(s->conn) &&
	    (s->pending & PENDING_HEAD) != 0 && s->rx.len == 0;

	return s->rx_fin && !unreported;
}

/*
 * ngtcp2 delivers no more bytes of a stream that is reset or that we have asked
 * the peer to stop, so nghttp3 need not know of it. It would only make the
 * QPACK decoder cancel the stream. Without a dynamic table that is not needed
 * (RFC 9204 §2.2.2.2), and peers accept a limited number of cancellations in a
 * row.
 */
int
h3_stream_reset(ngtcp2_conn *quic, int64_t id, uint64_t final_size,
    uint64_t code, void *user, void *stream)
{
	struct quic_stream *s = stream;

	(void)quic, (void)id, (void)final_size, (void)user;
	if (s != NULL && !is_complete(s))
		stream_reset_received(s, code);
	return 0;
}

int
h3_unblock_stream(ngtcp2_conn *quic, int64_t id, uint64_t max, void *user,
    void *stream)
{
	struct quic_conn *conn = user;

	(void)quic, (void)max, (void)stream;
	if (conn->h3 != NULL && nghttp3_conn_unblock_stream(conn->h3, id) != 0)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	return 0;
}

/*
 * The client may open more streams. Their priorities may arrive before them
 * (RFC 9218 §7.2), and nghttp3 treats one for a stream beyond the limit as an
 * error.
 */
int
h3_allow_requests(ngtcp2_conn *quic, uint64_t max, void *user)
{
	struct quic_conn *conn = user;

	(void)quic;
	if (conn->h3 != NULL && conn_is_server(conn))
		nghttp3_conn_set_max_client_streams_bidi(conn->h3, max);
	return 0;
}

/* ---- Start and stop ---- */

static int
bind_streams(struct quic_conn *conn)
{
	int64_t control, encoder, decoder;

	if (ngtcp2_conn_open_uni_stream(conn->quic, &control, NULL) != 0 ||
	    ngtcp2_conn_open_uni_stream(conn->quic, &encoder, NULL) != 0 ||
	    ngtcp2_conn_open_uni_stream(conn->quic, &decoder, NULL) != 0)
		return -EPROTO; /* the peer allows fewer than RFC 9114 §6.2 */
	if (nghttp3_conn_bind_control_stream(conn->h3, control) != 0 ||
	    nghttp3_conn_bind_qpack_streams(conn->h3, encoder, decoder) != 0)
		return -ENOMEM;
	return 0;
}

/*
 * There is no dynamic QPACK table: a tunnel has one small header section, and
 * without a table none waits for another stream.
 */
int
h3_start(struct quic_conn *conn)
{
	const ngtcp2_transport_params *params;
	nghttp3_settings settings;
	int rv;

	nghttp3_settings_default(&settings);
	settings.max_field_section_size = QUIC_HEADER_SECTION_MAX;
	if (conn_is_server(conn))
		rv = nghttp3_conn_server_new(&conn->h3, &callbacks, &settings,
		    &conn->memory.h3_allocator, conn);
	else
		rv = nghttp3_conn_client_new(&conn->h3, &callbacks, &settings,
		    &conn->memory.h3_allocator, conn);
	if (rv != 0)
		return -ENOMEM;
	params = ngtcp2_conn_get_local_transport_params(conn->quic);
	if (conn_is_server(conn))
		nghttp3_conn_set_max_client_streams_bidi(conn->h3,
		    params->initial_max_streams_bidi);
	conn->scheduler.pending_fin = COMPAT_NO_FIN;
	return bind_streams(conn);
}

void
h3_stop(struct quic_conn *conn)
{
	nghttp3_conn_del(conn->h3);
	conn->h3 = NULL;
}

/* The first GOAWAY, which names no request. */
int
h3_announce_end(struct quic_conn *conn)
{
	return nghttp3_conn_submit_shutdown_notice(conn->h3) == 0 ? 0 : -ENOMEM;
}

/* The second GOAWAY names the last request. nghttp3 rejects later ones. */
int
h3_end(struct quic_conn *conn)
{
	return nghttp3_conn_shutdown(conn->h3) == 0 ? 0 : -ENOMEM;
}

/* The second GOAWAY was sent, and no stream is open any more. */
bool
h3_has_ended(const struct quic_conn *conn)
{
	return conn->streams.n == 0 && nghttp3_conn_is_drained(conn->h3) != 0;
}

/* ---- Sending ---- */

int
h3_submit(struct quic_stream *s, const struct quic_field *fields, size_t n)
{
	nghttp3_data_reader reader = { on_read_data };
	nghttp3_nv nv[QUIC_FIELDS_MAX];
	int rv;

	if (n > QUIC_FIELDS_MAX || s->conn->h3 == NULL)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		nv[i].name = (uint8_t *)(uintptr_t)fields[i].name;
		nv[i].namelen = strlen(fields[i].name);
		nv[i].value = (uint8_t *)(uintptr_t)fields[i].value;
		nv[i].valuelen = strlen(fields[i].value);
		nv[i].flags = NGHTTP3_NV_FLAG_NONE;
		if (strcmp(fields[i].name, "proxy-authorization") == 0)
			nv[i].flags = NGHTTP3_NV_FLAG_NEVER_INDEX;
	}
	if (conn_is_server(s->conn))
		rv = nghttp3_conn_submit_response(s->conn->h3, s->id, nv, n,
		    &reader);
	else
		rv = nghttp3_conn_submit_request(s->conn->h3, s->id, nv, n,
		    &reader, s);
	if (rv != 0)
		return rv == NGHTTP3_ERR_NOMEM ? -ENOMEM : -EPIPE;
	s->tx_started = true;
	conn_touch(s->conn);
	return 0;
}

void
h3_resume(struct quic_stream *s)
{
	if (s->conn->h3 == NULL || !s->tx_started)
		return;
	nghttp3_conn_resume_stream(s->conn->h3, s->id);
	conn_touch(s->conn);
}

/* The stream is about to be reset: nghttp3 sends no more of it. */
void
h3_forget(struct quic_stream *s)
{
	if (s->conn->h3 == NULL)
		return;
	nghttp3_conn_shutdown_stream_write(s->conn->h3, s->id);
}

/*
 * The connection has ended. Streams are freed here in turns, or h3_stop() would
 * free all of them at once: 20 ms for 16,000.
 */
void
h3_free_stream(struct quic_stream *s)
{
	if (s->conn->h3 != NULL && s->id >= 0)
		nghttp3_conn_close_stream(s->conn->h3, s->id, QUIC_H3_NO_ERROR);
}
