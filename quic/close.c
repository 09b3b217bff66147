/*
 * The end of a connection: its reason, as text, and the CONNECTION_CLOSE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quic/error_text.h"
#include "quic/internal.h"

static void
conn_end(struct quic_conn *conn, enum quic_cause cause, bool application,
    uint64_t code, const char *text, enum conn_state state)
{
	if (conn->state >= CONN_CLOSING)
		return;
	conn->state = state;
	conn->end.why.cause = cause;
	conn->end.why.application = application;
	conn->end.why.code = code;
	snprintf(conn->end.why.text, sizeof(conn->end.why.text), "%s", text);
	conn->end.why.streams = conn->streams.n;
	conn->end.pending = true;
	conn->end.lingers = state == CONN_CLOSING;
	conn_touch(conn);
}

/*
 * Records why the connection fails. The peer gets a CONNECTION_CLOSE with
 * ccerr, unless it cannot receive it.
 */
void
conn_fail(struct quic_conn *conn, enum quic_cause cause, const char *text)
{
	bool silent = cause == QUIC_RESET || cause == QUIC_IDLE ||
	    cause == QUIC_NO_ANSWER || cause == QUIC_NO_VERSION;

	conn_end(conn, cause,
	    conn->end.ccerr.type == NGTCP2_CCERR_TYPE_APPLICATION,
	    conn->end.ccerr.error_code, text,
	    silent ? CONN_CLOSED : CONN_CLOSING);
}

#define ALERT_NO_APPLICATION_PROTOCOL 120 /* RFC 7301 §3.2 */

static void
fail_tls(struct quic_conn *conn)
{
	uint8_t alert = ngtcp2_conn_get_tls_alert(conn->quic);
	char text[QUIC_ERROR_MAX];

	ngtcp2_ccerr_set_tls_alert(&conn->end.ccerr, alert, NULL, 0);
	if (conn->end.verify_error != NULL) {
		snprintf(text, sizeof(text), "%s%s%s", conn->end.verify_error,
		    conn->server_name != NULL ? ": " : "",
		    conn->server_name != NULL ? conn->server_name : "");
		conn_fail(conn, QUIC_BAD_CERTIFICATE, text);
		return;
	}
	if (alert == ALERT_NO_APPLICATION_PROTOCOL) {
		conn_fail(conn, QUIC_NO_H3,
		    "the peer does not support HTTP/3 (ALPN h3)");
		return;
	}
	snprintf(text, sizeof(text), "the TLS handshake failed: %s",
	    gnutls_alert_get_name((gnutls_alert_description_t)alert));
	conn_fail(conn, QUIC_PROTOCOL_ERROR, text);
}

/* Copies the reason phrase of the peer: printable ASCII only. */
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

/* The peer has sent CONNECTION_CLOSE. */
static void
fail_drained(struct quic_conn *conn)
{
	const ngtcp2_ccerr *err = ngtcp2_conn_get_ccerr(conn->quic);
	bool application = err->type == NGTCP2_CCERR_TYPE_APPLICATION;
	char text[QUIC_ERROR_MAX], phrase[128];

	if (!application &&
	    err->error_code == CRYPTO_ERROR + ALERT_NO_APPLICATION_PROTOCOL) {
		conn_end(conn, QUIC_NO_H3, false, err->error_code,
		    "the server does not support HTTP/3 (ALPN h3)",
		    CONN_CLOSED);
		return;
	}
	if (!application && err->error_code == NGTCP2_CONNECTION_REFUSED) {
		conn_end(conn, QUIC_CLOSED_BY_PEER, false, err->error_code,
		    "the edge accepts no new connections", CONN_CLOSED);
		return;
	}
	if (!application && err->error_code == NGTCP2_INVALID_TOKEN) {
		tls_keep_token(conn->tls, NULL, 0);
		conn_end(conn, QUIC_CLOSED_BY_PEER, false, err->error_code,
		    "the edge rejected the address validation token",
		    CONN_CLOSED);
		return;
	}
	copy_phrase(phrase, sizeof(phrase), err->reason, err->reasonlen);
	if (!application && err->error_code >= CRYPTO_ERROR &&
	    err->error_code < CRYPTO_ERROR + 256)
		snprintf(text, sizeof(text),
		    "the peer rejected the TLS handshake: %s",
		    gnutls_alert_get_name(
			(gnutls_alert_description_t)(err->error_code -
			    CRYPTO_ERROR)));
	else
		snprintf(text, sizeof(text),
		    "closed by the peer (%s error 0x%llx%s%s)",
		    application ? "HTTP/3" : "QUIC",
		    (unsigned long long)err->error_code,
		    phrase[0] != '\0' ? ", " : "", phrase);
	conn_end(conn, QUIC_CLOSED_BY_PEER, application, err->error_code, text,
	    CONN_CLOSED);
}

/* The peer has violated a protocol, or we have failed. */
static void
fail_fault(struct quic_conn *conn, int rv)
{
	struct quic_close why;

	error_text_describe(&why, rv, conn->end.h3_error);
	if (why.application)
		ngtcp2_ccerr_set_application_error(&conn->end.ccerr, why.code,
		    NULL, 0);
	else
		ngtcp2_ccerr_set_transport_error(&conn->end.ccerr, why.code,
		    NULL, 0);
	conn_fail(conn, why.cause, why.text);
}

/* Turns what a library call returned into the end of the connection. */
void
conn_check(struct quic_conn *conn, int rv)
{
	switch (rv) {
	case 0:
		return;
	case NGTCP2_ERR_DRAINING:
		fail_drained(conn);
		conn->end.lingers = true; /* packets may be under way */
		return;
	case NGTCP2_ERR_CRYPTO:
		fail_tls(conn);
		return;
	case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
		conn_fail(conn, QUIC_NO_VERSION,
		    "the server does not support QUIC version 1: "
		    "it may be outdated, or no HTTP/3 proxy");
		return;
	case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
		conn_fail(conn, QUIC_NO_ANSWER, "no answer");
		return;
	case NGTCP2_ERR_IDLE_CLOSE:
		conn_fail(conn,
		    conn->state == CONN_UP ? QUIC_IDLE : QUIC_NO_ANSWER,
		    conn->state == CONN_UP ? "the peer stopped responding"
					   : "no answer");
		return;
	case NGTCP2_ERR_DROP_CONN:
	case NGTCP2_ERR_RETRY:
		/*
		 * The first packet was corrupted: a server waits for the next
		 * one.
		 */
		conn_end(conn, QUIC_PROTOCOL_ERROR, false, 0,
		    "the handshake cannot continue", CONN_CLOSED);
		return;
	}
	/* A callback may have ended the connection before. */
	if (conn->state < CONN_CLOSING)
		fail_fault(conn, rv);
}

void
quic_conn_close(struct quic_conn *conn, uint64_t code, const char *reason,
    uint64_t now)
{
	if (conn->state >= CONN_CLOSING)
		return;
	conn->now = now;
	conn_end(conn, QUIC_CLOSED_HERE, true, code, reason, CONN_CLOSING);
	/* The phrase is read by the next write: use our own copy. */
	ngtcp2_ccerr_set_application_error(&conn->end.ccerr, code,
	    (const uint8_t *)conn->end.why.text, strlen(conn->end.why.text));
	conn_deliver(conn);
}

bool
quic_conn_is_closing(const struct quic_conn *conn)
{
	return conn->end.pending;
}

/* It has ended, and its event has fired: a server may free it. */
bool
conn_is_over(const struct quic_conn *conn)
{
	return conn->state >= CONN_CLOSING && !conn->end.pending;
}

/* Writes the CONNECTION_CLOSE, once. 0: there is none. */
size_t
conn_seal_close(struct quic_conn *conn, uint8_t *buf, size_t size, uint64_t now)
{
	ngtcp2_path_storage ps;
	ngtcp2_pkt_info pi;
	ngtcp2_ssize n;

	if (conn->state != CONN_CLOSING)
		return 0;
	conn->state = CONN_CLOSED;
	ngtcp2_path_storage_zero(&ps);
	n = ngtcp2_conn_write_connection_close(conn->quic, &ps.path, &pi, buf,
	    size, &conn->end.ccerr, now);
	return n > 0 ? (size_t)n : 0;
}

/*
 * Writes the CONNECTION_CLOSE of a client, and keeps it to answer late packets.
 * A server frees its connections, and closing.c does that.
 */
bool
conn_write_close(struct quic_conn *conn, struct quic_gso *gso, uint64_t now)
{
	size_t n;

	conn->dirty = false;
	if (conn_is_server(conn))
		return false;
	n = conn_seal_close(conn, gso->buf, NGTCP2_MAX_UDP_PAYLOAD_SIZE, now);
	if (n > 0 && (conn->end.packet = malloc(n)) != NULL) {
		memcpy(conn->end.packet, gso->buf, n);
		conn->end.packet_len = n;
	}
	if (conn->end.packet == NULL)
		return false;
	memcpy(gso->buf, conn->end.packet, conn->end.packet_len);
	gso->len = gso->segment = conn->end.packet_len;
	gso->path = conn->path.current;
	gso->ecn = 0;
	return true;
}
