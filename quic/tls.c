/*
 * TLS: GnuTLS credentials, the verification of peers, and what a client stores
 * of its server.
 *
 * A server is accepted if its chain and name are valid with the trusted CAs,
 * or, if pins are given, if its key is one of them. There is no third way.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>

#include "quic/internal.h"

/* TLS 1.3 only. AES-128-GCM is first, since it is the fastest with AES-NI. */
#define PRIORITY \
	"NONE:+VERS-TLS1.3:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:" \
	"+AEAD:+SHA256:+SHA384:+ECDHE-ECDSA:+ECDHE-RSA:+GROUP-X25519:" \
	"+GROUP-SECP256R1:+GROUP-SECP384R1:+SIGN-ALL:+CTYPE-X509:" \
	"%DISABLE_TLS13_COMPAT_MODE:%SERVER_PRECEDENCE"

struct quic_tls {
	unsigned refs;
	gnutls_certificate_credentials_t cred;
	gnutls_priority_t priority;
	bool is_server;
	bool wants_client_cert;
	gnutls_datum_t ticket_key; /* server */

	uint8_t pins[QUIC_PINS_MAX][QUIC_PIN_LEN]; /* of the peer's keys */
	size_t npins;
	gnutls_datum_t session; /* client: the last ticket */
	uint8_t *token;		/* client: the last NEW_TOKEN; malloc */
	size_t tokenlen;
};

gnutls_datum_t
tls_datum(const struct quic_pem *pem)
{
	return (gnutls_datum_t){ (unsigned char *)(uintptr_t)pem->data,
		(unsigned)pem->len };
}

static int
set_error(char error[QUIC_ERROR_MAX], const char *what, int rv)
{
	snprintf(error, QUIC_ERROR_MAX, "%s: %s", what, gnutls_strerror(rv));
	return rv == GNUTLS_E_MEMORY_ERROR ? -ENOMEM : -EINVAL;
}

struct quic_tls *
quic_tls_ref(struct quic_tls *tls)
{
	tls->refs++;
	return tls;
}

void
quic_tls_free(struct quic_tls *tls)
{
	if (tls == NULL || --tls->refs > 0)
		return;
	if (tls->cred != NULL)
		gnutls_certificate_free_credentials(tls->cred);
	if (tls->priority != NULL)
		gnutls_priority_deinit(tls->priority);
	if (tls->ticket_key.data != NULL)
		gnutls_memset(tls->ticket_key.data, 0, tls->ticket_key.size);
	gnutls_free(tls->ticket_key.data);
	gnutls_free(tls->session.data);
	free(tls->token);
	free(tls);
}

static int
tls_alloc(struct quic_tls **out, char error[QUIC_ERROR_MAX])
{
	struct quic_tls *tls = calloc(1, sizeof(*tls));
	int rv = GNUTLS_E_MEMORY_ERROR;

	if (tls == NULL)
		return set_error(error, "TLS", rv);
	tls->refs = 1;
	if ((rv = gnutls_priority_init(&tls->priority, PRIORITY, NULL)) != 0 ||
	    (rv = gnutls_certificate_allocate_credentials(&tls->cred)) != 0) {
		quic_tls_free(tls);
		return set_error(error, "TLS", rv);
	}
	*out = tls;
	return 0;
}

static int
load_key_pair(struct quic_tls *tls, const struct quic_pem *cert,
    const struct quic_pem *key, char error[QUIC_ERROR_MAX])
{
	gnutls_datum_t c = tls_datum(cert), k = tls_datum(key);
	int rv;

	if (cert->len == 0 && key->len == 0)
		return 0;
	rv = gnutls_certificate_set_x509_key_mem(tls->cred, &c, &k,
	    GNUTLS_X509_FMT_PEM);
	if (rv < 0)
		return set_error(error,
		    "the certificate and key cannot be used", rv);
	return 0;
}

static int
load_ca(struct quic_tls *tls, const struct quic_pem *ca,
    char error[QUIC_ERROR_MAX])
{
	gnutls_datum_t d = tls_datum(ca);
	int rv;

	rv = gnutls_certificate_set_x509_trust_mem(tls->cred, &d,
	    GNUTLS_X509_FMT_PEM);
	if (rv < 0)
		return set_error(error, "the CA file cannot be used", rv);
	if (rv == 0) {
		snprintf(error, QUIC_ERROR_MAX,
		    "the CA file contains no certificate");
		return -EINVAL;
	}
	return 0;
}

static int
load_pins(struct quic_tls *tls, const uint8_t (*pins)[QUIC_PIN_LEN], size_t n,
    char error[QUIC_ERROR_MAX])
{
	if (n > QUIC_PINS_MAX) {
		snprintf(error, QUIC_ERROR_MAX, "more than %d pins",
		    QUIC_PINS_MAX);
		return -EINVAL;
	}
	for (size_t i = 0; i < n; i++)
		memcpy(tls->pins[i], pins[i], QUIC_PIN_LEN);
	tls->npins = n;
	return 0;
}

/* ---- Verification ---- */

static int
pin_of(const gnutls_datum_t *cert, gnutls_x509_crt_fmt_t format,
    uint8_t pin[QUIC_PIN_LEN])
{
	gnutls_datum_t spki = { NULL, 0 };
	gnutls_x509_crt_t crt = NULL;
	gnutls_pubkey_t key = NULL;
	int rv = -EINVAL;

	if (gnutls_x509_crt_init(&crt) == 0 && gnutls_pubkey_init(&key) == 0 &&
	    gnutls_x509_crt_import(crt, cert, format) == 0 &&
	    gnutls_pubkey_import_x509(key, crt, 0) == 0 &&
	    gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &spki) == 0 &&
	    gnutls_hash_fast(GNUTLS_DIG_SHA256, spki.data, spki.size, pin) == 0)
		rv = 0;
	gnutls_free(spki.data);
	gnutls_pubkey_deinit(key);
	gnutls_x509_crt_deinit(crt);
	return rv;
}

int
quic_tls_pin(const struct quic_pem *cert, uint8_t pin[QUIC_PIN_LEN])
{
	gnutls_datum_t pem = tls_datum(cert);

	return pin_of(&pem, GNUTLS_X509_FMT_PEM, pin);
}

static const char *
verify_pin(const struct quic_tls *tls, gnutls_session_t session)
{
	const gnutls_datum_t *chain;
	uint8_t pin[QUIC_PIN_LEN];
	unsigned n;

	chain = gnutls_certificate_get_peers(session, &n);
	if (chain == NULL || n == 0)
		return tls->is_server ? "the client sent no certificate"
				      : "the server sent no certificate";
	if (pin_of(&chain[0], GNUTLS_X509_FMT_DER, pin) != 0)
		return tls->is_server
		    ? "the client's certificate cannot be read"
		    : "the server's certificate cannot be read";
	for (size_t i = 0; i < tls->npins; i++)
		if (gnutls_memcmp(pin, tls->pins[i], QUIC_PIN_LEN) == 0)
			return NULL;
	return tls->is_server ? "the client's public key is not the pinned one"
			      : "the server's public key is not the pinned one";
}

static const char *
verify_chain(const struct quic_conn *conn, gnutls_session_t session)
{
	unsigned status = 0;
	int rv;

	/* The name and the purpose (server) are verified with the chain. */
	gnutls_typed_vdata_st data[2] = {
		{ .type = GNUTLS_DT_DNS_HOSTNAME,
		    .data = (unsigned char *)conn->server_name },
		{ .type = GNUTLS_DT_KEY_PURPOSE_OID,
		    .data = (unsigned char *)(uintptr_t)
			GNUTLS_KP_TLS_WWW_SERVER },
	};

	rv = gnutls_certificate_verify_peers(session, data, 2, &status);
	if (rv != 0)
		return "the server's certificate cannot be read";
	if (status == 0)
		return NULL;
	if ((status & GNUTLS_CERT_EXPIRED) != 0)
		return "the server's certificate has expired";
	if ((status & GNUTLS_CERT_NOT_ACTIVATED) != 0)
		return "the server's certificate is not valid yet";
	if ((status &
		(GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA)) !=
	    0)
		return "the server's certificate is not signed by a trusted CA";
	if ((status & GNUTLS_CERT_UNEXPECTED_OWNER) != 0)
		return "the server's certificate is for another name";
	if ((status & GNUTLS_CERT_REVOKED) != 0)
		return "the server's certificate is revoked";
	if ((status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0)
		return "the server's certificate is not for TLS servers";
	return "the server's certificate is not acceptable";
}

static struct quic_conn *
session_conn(gnutls_session_t session)
{
	ngtcp2_crypto_conn_ref *ref = gnutls_session_get_ptr(session);

	return ref->user_data;
}

static int
verify_server(gnutls_session_t session)
{
	struct quic_conn *conn = session_conn(session);

	conn->end.verify_error = conn->tls->npins > 0
	    ? verify_pin(conn->tls, session)
	    : verify_chain(conn, session);
	return conn->end.verify_error == NULL ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

static const char *
verify_client_chain(gnutls_session_t session)
{
	unsigned status = 0;
	gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT };

	if (gnutls_certificate_verify_peers(session, &purpose, 1, &status) ==
		0 &&
	    status == 0)
		return NULL;
	return (status & GNUTLS_CERT_PURPOSE_MISMATCH) != 0
	    ? "the client's certificate is not for TLS clients"
	    : "the client's certificate is not acceptable";
}

static int
verify_client(gnutls_session_t session)
{
	struct quic_conn *conn = session_conn(session);

	conn->end.verify_error = conn->tls->npins > 0
	    ? verify_pin(conn->tls, session)
	    : verify_client_chain(session);
	return conn->end.verify_error == NULL ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

/* ---- Credentials ---- */

int
quic_tls_client_new(struct quic_tls **out,
    const struct quic_tls_client_settings *settings, char error[QUIC_ERROR_MAX])
{
	struct quic_tls *tls;
	int rv;

	if ((rv = tls_alloc(&tls, error)) != 0)
		return rv;
	rv = load_pins(tls, settings->pins, settings->npins, error);
	if (rv == 0 && settings->ca.len > 0)
		rv = load_ca(tls, &settings->ca, error);
	else if (rv == 0 && tls->npins == 0 &&
	    gnutls_certificate_set_x509_system_trust(tls->cred) <= 0)
		rv = set_error(error, "the system's CAs cannot be read",
		    GNUTLS_E_FILE_ERROR);
	if (rv == 0)
		rv = load_key_pair(tls, &settings->cert, &settings->key, error);
	if (rv != 0) {
		quic_tls_free(tls);
		return rv;
	}
	gnutls_certificate_set_verify_function(tls->cred, verify_server);
	*out = tls;
	return 0;
}

int
quic_tls_server_new(struct quic_tls **out,
    const struct quic_tls_server_settings *settings, char error[QUIC_ERROR_MAX])
{
	struct quic_tls *tls;
	int rv;

	if ((rv = tls_alloc(&tls, error)) != 0)
		return rv;
	tls->is_server = true;
	tls->wants_client_cert = settings->client_ca.len > 0 ||
	    settings->nclient_pins > 0;
	rv = load_pins(tls, settings->client_pins, settings->nclient_pins,
	    error);
	if (rv == 0)
		rv = load_key_pair(tls, &settings->cert, &settings->key, error);
	if (rv == 0 && settings->client_ca.len > 0)
		rv = load_ca(tls, &settings->client_ca, error);
	if (rv == 0 && gnutls_session_ticket_key_generate(&tls->ticket_key))
		rv = set_error(error, "TLS", GNUTLS_E_MEMORY_ERROR);
	if (rv != 0) {
		quic_tls_free(tls);
		return rv;
	}
	if (tls->wants_client_cert)
		gnutls_certificate_set_verify_function(tls->cred,
		    verify_client);
	*out = tls;
	return 0;
}

/* ---- The server's secret ---- */

int
quic_tls_secret(const struct quic_pem *key, uint8_t secret[QUIC_SECRET_LEN])
{
	static const char label[] = "culvert edge stateless secret";
	gnutls_datum_t ikm = tls_datum(key), prk;
	gnutls_datum_t info = { (unsigned char *)(uintptr_t)label,
		sizeof(label) - 1 };
	unsigned char extracted[32];
	int rv;

	prk = (gnutls_datum_t){ extracted, sizeof(extracted) };
	rv = gnutls_hkdf_extract(GNUTLS_MAC_SHA256, &ikm, NULL, extracted);
	if (rv == 0)
		rv = gnutls_hkdf_expand(GNUTLS_MAC_SHA256, &prk, &info, secret,
		    QUIC_SECRET_LEN);
	gnutls_memset(extracted, 0, sizeof(extracted));
	return rv == 0 ? 0 : -EINVAL;
}

/* ---- Sessions ---- */

static int
on_ticket(gnutls_session_t session, unsigned type, unsigned when,
    unsigned incoming, const gnutls_datum_t *msg)
{
	struct quic_tls *tls = session_conn(session)->tls;
	gnutls_datum_t ticket;

	(void)type, (void)when, (void)incoming, (void)msg;
	if (gnutls_session_get_data2(session, &ticket) != 0)
		return 0;
	gnutls_free(tls->session.data);
	tls->session = ticket;
	return 0;
}

static int
start_client(struct quic_conn *conn)
{
	struct quic_tls *tls = conn->tls;
	gnutls_session_t session = conn->session;
	unsigned char ip[sizeof(struct in6_addr)];

	gnutls_handshake_set_hook_function(session,
	    GNUTLS_HANDSHAKE_NEW_SESSION_TICKET, GNUTLS_HOOK_POST, on_ticket);
	if (tls->session.data != NULL)
		gnutls_session_set_data(session, tls->session.data,
		    tls->session.size);
	if (inet_pton(AF_INET, conn->server_name, ip) != 1 &&
	    inet_pton(AF_INET6, conn->server_name, ip) != 1 &&
	    gnutls_server_name_set(session, GNUTLS_NAME_DNS, conn->server_name,
		strlen(conn->server_name)) != 0)
		return -ENOMEM;
	return ngtcp2_crypto_gnutls_configure_client_session(session);
}

static int
start_server(struct quic_conn *conn)
{
	struct quic_tls *tls = conn->tls;

	if (gnutls_session_ticket_enable_server(conn->session,
		&tls->ticket_key) != 0)
		return -ENOMEM;
	gnutls_certificate_server_set_request(conn->session,
	    tls->wants_client_cert ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
	return ngtcp2_crypto_gnutls_configure_server_session(conn->session);
}

int
tls_session_new(struct quic_conn *conn)
{
	static const gnutls_datum_t alpn = { (unsigned char *)"h3", 2 };
	struct quic_tls *tls = conn->tls;

	if (gnutls_init(&conn->session,
		tls->is_server ? GNUTLS_SERVER | GNUTLS_NO_AUTO_SEND_TICKET
			       : GNUTLS_CLIENT))
		return -ENOMEM;
	gnutls_session_set_ptr(conn->session, &conn->ref);
	ngtcp2_conn_set_tls_native_handle(conn->quic, conn->session);
	if (gnutls_priority_set(conn->session, tls->priority) != 0 ||
	    gnutls_credentials_set(conn->session, GNUTLS_CRD_CERTIFICATE,
		tls->cred) != 0 ||
	    gnutls_alpn_set_protocols(conn->session, &alpn, 1,
		GNUTLS_ALPN_MANDATORY) != 0)
		return -ENOMEM;
	if ((tls->is_server ? start_server(conn) : start_client(conn)) != 0)
		return -ENOMEM;
	aead_start(conn);
	return 0;
}

/* After the handshake; one, since our client stores only one. */
void
tls_send_ticket(gnutls_session_t session)
{
	gnutls_session_ticket_send(session, 1, 0);
}

bool
tls_is_h3(gnutls_session_t session)
{
	gnutls_datum_t alpn;

	return gnutls_alpn_get_selected_protocol(session, &alpn) == 0 &&
	    alpn.size == 2 && memcmp(alpn.data, "h3", 2) == 0;
}

void
tls_describe(gnutls_session_t session, struct quic_stats *stats)
{
	gnutls_protocol_t version = gnutls_protocol_get_version(session);

	stats->tls_version = gnutls_protocol_get_name(version);
	stats->tls_cipher = gnutls_cipher_get_name(gnutls_cipher_get(session));
	stats->tls_group = gnutls_group_get_name(gnutls_group_get(session));
}

const uint8_t *
tls_token(const struct quic_tls *tls, size_t *len)
{
	*len = tls->tokenlen;
	return tls->token;
}

void
tls_keep_token(struct quic_tls *tls, const uint8_t *token, size_t len)
{
	uint8_t *copy = NULL;

	if (len > 0) {
		if ((copy = malloc(len)) == NULL)
			return;
		memcpy(copy, token, len);
	}
	free(tls->token);
	tls->token = copy;
	tls->tokenlen = len;
}
