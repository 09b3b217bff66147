#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <gnutls/x509.h>

#include "tests/unit/world.h"

/*
 * Which peers are trusted, and what is remembered of them: both ends use GnuTLS
 * for real, with UNIX_NOW as the time.
 */

/* ---- Credentials ---- */

#define YEAR INT64_C(31536000) /* seconds */

/*
 * A P-256 key and a certificate for `name` from a CA; NULL: a CA itself. Its
 * key is for `purpose`, an OID, or NULL for all.
 */
static void
issue(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *name,
    const char *purpose, gnutls_x509_crt_t ca, gnutls_x509_privkey_t ca_key)
{
	const char *cn = name != NULL ? name : "A CA";

	gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
	    GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	gnutls_x509_crt_set_version(crt, 3);
	gnutls_x509_crt_set_key(crt, key);
	gnutls_x509_crt_set_serial(crt, cn, 1);
	gnutls_x509_crt_set_activation_time(crt, UNIX_NOW - 1);
	gnutls_x509_crt_set_expiration_time(crt, UNIX_NOW + YEAR);
	gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, cn,
	    (unsigned)strlen(cn));
	gnutls_x509_crt_set_ca_status(crt, name == NULL);
	if (purpose != NULL)
		gnutls_x509_crt_set_key_purpose_oid(crt, purpose, 0);
	if (name != NULL)
		gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME,
		    name, (unsigned)strlen(name), GNUTLS_FSAN_SET);
	assert_int_equal(gnutls_x509_crt_sign2(crt, ca, ca_key,
			     GNUTLS_DIG_SHA256, 0),
	    0);
}

/* The PEM texts of a CA, and of a certificate for SERVER_NAME from it. */
struct issued {
	gnutls_datum_t ca, cert, key;
};

static struct issued
issue_chain_for(const char *purpose)
{
	gnutls_x509_privkey_t ca_key, key;
	gnutls_x509_crt_t ca, crt;
	struct issued pem_texts;

	gnutls_x509_privkey_init(&ca_key);
	gnutls_x509_privkey_init(&key);
	gnutls_x509_crt_init(&ca);
	gnutls_x509_crt_init(&crt);
	issue(ca, ca_key, NULL, NULL, ca, ca_key);
	issue(crt, key, SERVER_NAME, purpose, ca, ca_key);
	gnutls_x509_crt_export2(ca, GNUTLS_X509_FMT_PEM, &pem_texts.ca);
	gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem_texts.cert);
	gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem_texts.key);
	gnutls_x509_privkey_deinit(ca_key);
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_crt_deinit(ca);
	gnutls_x509_crt_deinit(crt);
	return pem_texts;
}

static struct issued
issue_chain(void)
{
	return issue_chain_for(NULL);
}

static void
issued_free(struct issued *i)
{
	gnutls_free(i->ca.data);
	gnutls_free(i->cert.data);
	gnutls_free(i->key.data);
}

static void
a_ca_is_enough(void **state)
{
	struct issued issued = issue_chain();
	struct world *w = *state;

	world_trust(w, (char *)issued.ca.data, NULL, NULL, NULL);
	world_present(w, (char *)issued.cert.data, (char *)issued.key.data,
	    NULL);
	world_up(w);
	assert_true(link_run(w->link, is_some, &w->server.connected, RTT));
	assert_string_equal(stats_of(near_conn(w)).tls_version, "TLS1.3");
	assert_string_equal(stats_of(near_conn(w)).tls_cipher, "AES-128-GCM");
	assert_string_equal(stats_of(near_conn(w)).tls_group, "X25519");
	issued_free(&issued);
}

/* The pin alone decides: neither the name nor the date matters with it. */
static void
a_pin_is_enough(void **state)
{
	struct world *w = *state;
	uint8_t pin[QUIC_PIN_LEN];
	struct quic_pem text;
	char *cert, *key;

	assert_int_equal(quic_tls_self_signed("another.example",
			     UNIX_NOW - 11 * YEAR, &cert, &key),
	    0);
	world_present(w, cert, key, NULL);
	text = pem(cert);
	assert_int_equal(quic_tls_pin(&text, pin), 0);
	world_trust(w, NULL, pin, NULL, NULL);
	world_up(w);
	free(cert);
	free(key);
}

static void
an_address_is_a_name(void **state)
{
	struct world *w = *state;
	char *cert, *key;

	assert_int_equal(quic_tls_self_signed("203.0.113.1", UNIX_NOW, &cert,
			     &key),
	    0);
	world_present(w, cert, key, NULL);
	world_trust(w, cert, NULL, NULL, NULL);
	w->server_name = "203.0.113.1";
	world_up(w);
	free(cert);
	free(key);
}

/*
 * The client rejects the server with a reason, and the server never has a
 * connection.
 */
static void
assert_refused(struct world *w, const char *why)
{
	world_serve(w);
	world_dial(w, 0);
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].connected, 0);
	assert_int_equal(w->client[0].closed, 1);
	assert_int_equal(w->client[0].why.cause, QUIC_BAD_CERTIFICATE);
	assert_text(&w->client[0], why);
	link_run(w->link, NULL, NULL, 20 * LINK_S);
	assert_int_equal(w->server.connected, 0);
	assert_int_equal(w->server.closed, 0);
	assert_int_equal(server_stats(w).connections, 0);
	assert_int_equal(server_stats(w).half_open, 0);
	world_down(w);
}

static void
a_bad_certificate_is_refused(void **state)
{
	static const struct {
		const char *name;
		int64_t from; /* seconds after now */
		const char *why;
	} rows[] = {
		{ SERVER_NAME, -11 * YEAR, "has expired: " SERVER_NAME },
		{ SERVER_NAME, 86400, "not valid yet" },
		{ "another.example", -1, "for another name" },
		{ "203.0.113.1", -1, "for another name" },
	};
	struct world *w = *state;
	char *cert, *key;

	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(quic_tls_self_signed(rows[i].name,
				     UNIX_NOW + rows[i].from, &cert, &key),
		    0);
		world_present(w, cert, key, NULL);
		world_trust(w, cert, NULL, NULL, NULL);
		assert_refused(w, rows[i].why);
		free(cert);
		free(key);
	}
}

static void
an_unknown_client_is_refused(void **state)
{
	static const uint8_t no_pin[QUIC_PIN_LEN];
	struct issued issued = issue_chain();
	struct world *w = *state;

	world_trust(w, (char *)issued.ca.data, NULL, NULL, NULL);
	assert_refused(w, "not signed by a trusted CA");
	world_trust(w, NULL, no_pin, NULL, NULL);
	assert_refused(w, "not the pinned one");
	issued_free(&issued);
}

/* The server does not accept the certificate that the client presents. */
static void
dial_is_rejected(struct world *w)
{
	world_dial(w, 0);
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_CLOSED_BY_PEER);
	assert_text(&w->client[0], "rejected the TLS");
	assert_int_equal(w->server.connected, 0);
	link_drop_client(w->link, 0);
}

/* With TLS 1.3 a client without a certificate is rejected after `connected`. */
static void
a_client_certificate_is_demanded(void **state)
{
	struct issued issued = issue_chain(), forged = issue_chain();
	struct world *w = *state;

	world_present(w, w->cert, w->key, (char *)issued.ca.data);
	world_serve(w);
	for (int i = 0; i < 2; i++) {
		dial_is_rejected(w);
		/* Then with one of a CA that only has the same name. */
		world_trust(w, w->cert, NULL, (char *)forged.cert.data,
		    (char *)forged.key.data);
	}

	world_trust(w, w->cert, NULL, (char *)issued.cert.data,
	    (char *)issued.key.data);
	world_dial(w, 0);
	assert_true(link_run(w->link, is_some, &w->server.connected, LONG));
	issued_free(&issued);
	issued_free(&forged);
}

/* The key usage of a certificate counts (RFC 5280 §4.2.1.12). */
static void
a_client_does_not_show_a_server_certificate(void **state)
{
	struct issued issued = issue_chain_for(GNUTLS_KP_TLS_WWW_SERVER);
	struct world *w = *state;

	world_present(w, w->cert, w->key, (char *)issued.ca.data);
	world_trust(w, w->cert, NULL, (char *)issued.cert.data,
	    (char *)issued.key.data);
	world_serve(w);
	world_dial(w, 0);
	assert_true(world_closed(w, 0));
	assert_int_equal(w->client[0].why.cause, QUIC_CLOSED_BY_PEER);
	assert_text(&w->client[0], "rejected the TLS");
	assert_int_equal(w->server.connected, 0);
	issued_free(&issued);
}

static void
a_client_shows_a_client_certificate(void **state)
{
	struct issued issued = issue_chain_for(GNUTLS_KP_TLS_WWW_CLIENT);
	struct world *w = *state;

	world_present(w, w->cert, w->key, (char *)issued.ca.data);
	world_trust(w, w->cert, NULL, (char *)issued.cert.data,
	    (char *)issued.key.data);
	world_serve(w);
	world_dial(w, 0);
	assert_true(link_run(w->link, is_some, &w->server.connected, LONG));
	issued_free(&issued);
}

/* Neither name, purpose nor date counts, only the key. */
static void
a_pin_is_enough_for_a_client(void **state)
{
	struct quic_tls_server_settings settings = { .nclient_pins = 1 };
	char *cert, *key, *other, *other_key, error[QUIC_ERROR_MAX];
	struct world *w = *state;
	uint8_t pin[QUIC_PIN_LEN];
	struct quic_pem text;

	assert_int_equal(quic_tls_self_signed("a.example", UNIX_NOW - 11 * YEAR,
			     &cert, &key),
	    0);
	assert_int_equal(quic_tls_self_signed("a.example", UNIX_NOW, &other,
			     &other_key),
	    0);
	text = pem(cert);
	assert_int_equal(quic_tls_pin(&text, pin), 0);
	settings.cert = pem(w->cert);
	settings.key = pem(w->key);
	settings.client_pins = (const uint8_t(*)[QUIC_PIN_LEN])pin;
	quic_tls_free(w->server_tls);
	assert_int_equal(quic_tls_server_new(&w->server_tls, &settings, error),
	    0);
	world_serve(w);
	for (int i = 0; i < 2; i++) {
		dial_is_rejected(w);
		/* Then with one that differs by its key alone. */
		world_trust(w, w->cert, NULL, other, other_key);
	}
	world_trust(w, w->cert, NULL, cert, key);
	for (int i = 0; i < 2; i++) { /* by its key, then by its ticket */
		world_dial(w, 0);
		assert_true(link_run(w->link, is_some, &w->server.connected,
		    LONG));
		link_run(w->link, NULL, NULL, LINK_S);
		assert_int_equal(stats_of(near_conn(w)).resumed, i > 0);
		link_drop_client(w->link, 0);
		w->server.connected = 0;
	}
	free(cert);
	free(key);
	free(other);
	free(other_key);
}

static void
a_server_does_not_show_a_client_certificate(void **state)
{
	struct issued issued = issue_chain_for(GNUTLS_KP_TLS_WWW_CLIENT);
	struct world *w = *state;

	world_trust(w, (char *)issued.ca.data, NULL, NULL, NULL);
	world_present(w, (char *)issued.cert.data, (char *)issued.key.data,
	    NULL);
	assert_refused(w, "not for TLS servers");
	issued_free(&issued);
}

static void
unusable_credentials_say_why(void **state)
{
	static const char junk[] = "-----BEGIN CERTIFICATE-----\nAAAA\n";
	uint8_t pins[QUIC_PINS_MAX + 1][QUIC_PIN_LEN];
	struct quic_tls_client_settings client = { .ca = pem(junk) };
	struct quic_tls_server_settings server = { .cert = pem(junk) };
	const uint8_t(*many)[QUIC_PIN_LEN] = (const uint8_t(*)[QUIC_PIN_LEN])
	    pins;
	char error[QUIC_ERROR_MAX] = "";
	struct quic_tls *tls;
	struct quic_pem text = pem(junk);

	(void)state;
	assert_int_equal(quic_tls_client_new(&tls, &client, error), -EINVAL);
	assert_non_null(strstr(error, "CA"));
	client = (struct quic_tls_client_settings){ .cert = pem(junk) };
	assert_int_equal(quic_tls_client_new(&tls, &client, error), -EINVAL);
	assert_non_null(strstr(error, "certificate and key"));
	client = (struct quic_tls_client_settings){ .pins = many,
		.npins = COUNT(pins) };
	assert_int_equal(quic_tls_client_new(&tls, &client, error), -EINVAL);
	assert_non_null(strstr(error, "pins"));
	assert_int_equal(quic_tls_server_new(&tls, &server, error), -EINVAL);
	assert_non_null(strstr(error, "certificate and key"));
	server = (struct quic_tls_server_settings){ .client_pins = many,
		.nclient_pins = COUNT(pins) };
	assert_int_equal(quic_tls_server_new(&tls, &server, error), -EINVAL);
	assert_non_null(strstr(error, "pins"));
	assert_int_equal(quic_tls_pin(&text, pins[0]), -EINVAL);
}

static void
a_secret_follows_from_the_key(void **state)
{
	struct world *w = *state;
	struct quic_pem key = pem(w->key), other = pem(w->cert);
	uint8_t a[QUIC_SECRET_LEN], b[QUIC_SECRET_LEN];

	assert_int_equal(quic_tls_secret(&key, a), 0);
	assert_int_equal(quic_tls_secret(&key, b), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(quic_tls_secret(&other, b), 0);
	assert_memory_not_equal(a, b, sizeof(a));
}

/* ---- Tickets ---- */

static void
a_ticket_resumes(void **state)
{
	struct world *w = *state;

	world_up(w);
	assert_false(stats_of(near_conn(w)).resumed);
	link_run(w->link, NULL, NULL, LINK_S);
	link_drop_client(w->link, 0);
	world_dial(w, 0);
	assert_true(world_connected(w, 0));
	assert_true(stats_of(near_conn(w)).resumed);
	w->far[0].habit = ECHO;
	w->near[0].to_send = 10 * KB;
	assert_int_equal(tunnel_open(w, 0), 0);
	assert_true(tunnels_done(w, 1));
	assert_whole(&w->near[0], 10 * KB);
}

/* The server has new keys for its tickets: the handshake is a full one. */
static void
a_stale_ticket_does_no_harm(void **state)
{
	struct world *w = *state;

	world_up(w);
	link_run(w->link, NULL, NULL, LINK_S);
	world_down(w);
	world_present(w, w->cert, w->key, NULL);
	world_up(w);
	assert_false(stats_of(near_conn(w)).resumed);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_ca_is_enough),
		TEST(a_pin_is_enough),
		TEST(an_address_is_a_name),
		TEST(a_bad_certificate_is_refused),
		TEST(an_unknown_client_is_refused),
		TEST(a_client_certificate_is_demanded),
		TEST(a_client_does_not_show_a_server_certificate),
		TEST(a_client_shows_a_client_certificate),
		TEST(a_pin_is_enough_for_a_client),
		TEST(a_server_does_not_show_a_client_certificate),
		TEST(unusable_credentials_say_why),
		TEST(a_secret_follows_from_the_key),
		TEST(a_ticket_resumes),
		TEST(a_stale_ticket_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
