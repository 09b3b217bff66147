/*
 * Self-signed certificates: a key, and a certificate by it for one name.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include <gnutls/crypto.h>
#include <gnutls/x509.h>

#include "quic/internal.h"

#define SELF_SIGNED_S (10 * 365 * 86400) /* seconds: ten years */

static int
sign_self(gnutls_x509_crt_t crt, gnutls_x509_privkey_t key, const char *name,
    int64_t unix_now)
{
	unsigned char ip[sizeof(struct in6_addr)], serial[8];
	unsigned type = GNUTLS_SAN_DNSNAME, len = (unsigned)strlen(name);
	const void *san = name;

	if (inet_pton(AF_INET, name, ip) == 1)
		type = GNUTLS_SAN_IPADDRESS, len = 4, san = ip;
	else if (inet_pton(AF_INET6, name, ip) == 1)
		type = GNUTLS_SAN_IPADDRESS, len = 16, san = ip;
	gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof(serial));
	serial[0] &= 0x7f;
	if (gnutls_x509_crt_set_version(crt, 3) != 0 ||
	    gnutls_x509_crt_set_key(crt, key) != 0 ||
	    gnutls_x509_crt_set_serial(crt, serial, sizeof(serial)) != 0 ||
	    gnutls_x509_crt_set_activation_time(crt, unix_now) != 0 ||
	    gnutls_x509_crt_set_expiration_time(crt,
		unix_now + SELF_SIGNED_S) != 0 ||
	    gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0,
		name, (unsigned)strlen(name)) != 0 ||
	    gnutls_x509_crt_set_subject_alt_name(crt, type, san, len,
		GNUTLS_FSAN_SET) != 0 ||
	    gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER,
		0) != 0 ||
	    gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0) != 0)
		return -EINVAL;
	return 0;
}

static char *
take_text(gnutls_datum_t *d)
{
	char *text = d->data != NULL ? strndup((char *)d->data, d->size) : NULL;

	if (d->data != NULL)
		gnutls_memset(d->data, 0, d->size);
	gnutls_free(d->data);
	return text;
}

int
quic_tls_self_signed(const char *name, int64_t unix_now, char **cert_pem,
    char **key_pem)
{
	gnutls_datum_t cert = { NULL, 0 }, private = { NULL, 0 };
	gnutls_x509_privkey_t key = NULL;
	gnutls_x509_crt_t crt = NULL;

	if (gnutls_x509_privkey_init(&key) == 0 &&
	    gnutls_x509_crt_init(&crt) == 0 &&
	    gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
		GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0) == 0 &&
	    sign_self(crt, key, name, unix_now) == 0) {
		gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &cert);
		gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &private);
	}
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_crt_deinit(crt);
	*cert_pem = take_text(&cert);
	*key_pem = take_text(&private);
	if (*cert_pem != NULL && *key_pem != NULL)
		return 0;
	free(*cert_pem);
	free(*key_pem);
	return -ENOMEM;
}

/* The key in a PEM text. NULL: there is no usable one. */
static gnutls_x509_privkey_t
read_key(const struct quic_pem *pem)
{
	gnutls_datum_t text = tls_datum(pem);
	gnutls_x509_privkey_t key;

	if (gnutls_x509_privkey_init(&key) != 0)
		return NULL;
	if (gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, NULL,
		0) == 0)
		return key;
	gnutls_x509_privkey_deinit(key);
	return NULL;
}

int
quic_tls_sign_again(const char *name, int64_t unix_now,
    const struct quic_pem *key_pem, char **cert_pem)
{
	gnutls_x509_privkey_t key = read_key(key_pem);
	gnutls_datum_t cert = { NULL, 0 };
	gnutls_x509_crt_t crt = NULL;

	*cert_pem = NULL;
	if (key == NULL)
		return -EINVAL;
	if (gnutls_x509_crt_init(&crt) == 0 &&
	    sign_self(crt, key, name, unix_now) == 0)
		gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &cert);
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_crt_deinit(crt);
	*cert_pem = take_text(&cert);
	return *cert_pem != NULL ? 0 : -ENOMEM;
}

int
quic_tls_match(const struct quic_pem *cert_pem, const struct quic_pem *key_pem)
{
	gnutls_datum_t text = tls_datum(cert_pem);
	gnutls_x509_privkey_t key = read_key(key_pem);
	unsigned char a[QUIC_PIN_LEN], b[QUIC_PIN_LEN];
	size_t alen = sizeof(a), blen = sizeof(b);
	gnutls_x509_crt_t crt = NULL;
	int rv = -EINVAL;

	if (key != NULL && gnutls_x509_crt_init(&crt) == 0 &&
	    gnutls_x509_crt_import(crt, &text, GNUTLS_X509_FMT_PEM) == 0 &&
	    gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, a,
		&alen) == 0 &&
	    gnutls_x509_privkey_get_key_id(key, GNUTLS_KEYID_USE_SHA256, b,
		&blen) == 0 &&
	    alen == blen && memcmp(a, b, alen) == 0)
		rv = 0;
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_crt_deinit(crt);
	return rv;
}
