#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <gnutls/crypto.h>

#include "quic/internal.h"
#include "tests/unit/world.h"

/* Packets of 1-RTT that GnuTLS has encrypted or decrypted. */
static unsigned by_gnutls;
/* There is no memory for allocations of this size; 0: of any. */
static size_t no_memory_for;

int
__wrap_ngtcp2_crypto_encrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);
int
__real_ngtcp2_crypto_encrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);
int
__wrap_ngtcp2_crypto_decrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *sealed, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);
int
__real_ngtcp2_crypto_decrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *sealed, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);
void *__wrap_memory_calloc(struct quic_conn *conn, size_t size);
void *__real_memory_calloc(struct quic_conn *conn, size_t size);

int
__wrap_ngtcp2_crypto_encrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen)
{
	by_gnutls += aad[0] < 0x80;
	return __real_ngtcp2_crypto_encrypt_cb(dest, aead, ctx, plain, len,
	    nonce, noncelen, aad, aadlen);
}

int
__wrap_ngtcp2_crypto_decrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *sealed, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen)
{
	by_gnutls += aad[0] < 0x80;
	return __real_ngtcp2_crypto_decrypt_cb(dest, aead, ctx, sealed, len,
	    nonce, noncelen, aad, aadlen);
}

void *
__wrap_memory_calloc(struct quic_conn *conn, size_t size)
{
	return size == no_memory_for ? NULL : __real_memory_calloc(conn, size);
}

/* Skips the test where libipsec-mb cannot be used. */
static void
need_ipsec_mb(void)
{
	char text[QUIC_ERROR_MAX];

	if (quic_ipsec_mb_load(text))
		return;
	print_message("%s\n", text);
	skip();
}

/* ---- The library ---- */

#define VECTOR_LEN 60 /* bytes */

/* McGrew and Viega, The Galois/Counter Mode of Operation: cases 4 and 16. */
static const struct vector {
	size_t keylen;
	uint8_t sealed[VECTOR_LEN + IPSEC_MB_TAG_LEN];
} vectors[] = {
	{ 16,
	    { 0x42, 0x83, 0x1e, 0xc2, 0x21, 0x77, 0x74, 0x24, 0x4b, 0x72, 0x21,
		0xb7, 0x84, 0xd0, 0xd4, 0x9c, 0xe3, 0xaa, 0x21, 0x2f, 0x2c,
		0x02, 0xa4, 0xe0, 0x35, 0xc1, 0x7e, 0x23, 0x29, 0xac, 0xa1,
		0x2e, 0x21, 0xd5, 0x14, 0xb2, 0x54, 0x66, 0x93, 0x1c, 0x7d,
		0x8f, 0x6a, 0x5a, 0xac, 0x84, 0xaa, 0x05, 0x1b, 0xa3, 0x0b,
		0x39, 0x6a, 0x0a, 0xac, 0x97, 0x3d, 0x58, 0xe0, 0x91, 0x5b,
		0xc9, 0x4f, 0xbc, 0x32, 0x21, 0xa5, 0xdb, 0x94, 0xfa, 0xe9,
		0x5a, 0xe7, 0x12, 0x1a, 0x47 } },
	{ 32,
	    { 0x52, 0x2d, 0xc1, 0xf0, 0x99, 0x56, 0x7d, 0x07, 0xf4, 0x7f, 0x37,
		0xa3, 0x2a, 0x84, 0x42, 0x7d, 0x64, 0x3a, 0x8c, 0xdc, 0xbf,
		0xe5, 0xc0, 0xc9, 0x75, 0x98, 0xa2, 0xbd, 0x25, 0x55, 0xd1,
		0xaa, 0x8c, 0xb0, 0x8e, 0x48, 0x59, 0x0d, 0xbb, 0x3d, 0xa7,
		0xb0, 0x8b, 0x10, 0x56, 0x82, 0x88, 0x38, 0xc5, 0xf6, 0x1e,
		0x63, 0x93, 0xba, 0x7a, 0x0a, 0xbc, 0xc9, 0xf6, 0x62, 0x76,
		0xfc, 0x6e, 0xce, 0x0f, 0x4e, 0x17, 0x68, 0xcd, 0xdf, 0x88,
		0x53, 0xbb, 0x2d, 0x55, 0x1b } },
};

static const uint8_t vector_key[32] = { 0xfe, 0xff, 0xe9, 0x92, 0x86, 0x65,
	0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30, 0x83, 0x08, 0xfe, 0xff,
	0xe9, 0x92, 0x86, 0x65, 0x73, 0x1c, 0x6d, 0x6a, 0x8f, 0x94, 0x67, 0x30,
	0x83, 0x08 };
static const uint8_t vector_nonce[IPSEC_MB_NONCE_LEN] = { 0xca, 0xfe, 0xba,
	0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88 };
static const uint8_t vector_aad[20] = { 0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad,
	0xbe, 0xef, 0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xab, 0xad,
	0xda, 0xd2 };
static const uint8_t vector_plain[VECTOR_LEN] = { 0xd9, 0x31, 0x32, 0x25, 0xf8,
	0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5, 0xaf, 0xf5, 0x26, 0x9a, 0x86,
	0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda, 0x2e, 0x4c, 0x30, 0x3d, 0x8a,
	0x31, 0x8a, 0x72, 0x1c, 0x3c, 0x0c, 0x95, 0x95, 0x68, 0x09, 0x53, 0x2f,
	0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25, 0xb1, 0x6a, 0xed, 0xf5, 0xaa,
	0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39 };

static struct ipsec_mb_key *
new_key(const uint8_t *raw, size_t len)
{
	/* Not aligned: keys may be anywhere. */
	uint8_t *room = malloc(ipsec_mb_key_size() + 8);
	struct ipsec_mb_key *key = (struct ipsec_mb_key *)(void *)(room + 8);

	assert_non_null(room);
	ipsec_mb_expand(key, raw, len);
	return key;
}

static void
free_key(struct ipsec_mb_key *key)
{
	free((uint8_t *)key - 8);
}

static void
results_are_those_of_the_specification(void **state)
{
	struct ipsec_mb_packet packet = { vector_nonce, vector_aad,
		sizeof(vector_aad) };
	uint8_t out[VECTOR_LEN + IPSEC_MB_TAG_LEN];

	(void)state;
	need_ipsec_mb();
	for (size_t i = 0; i < COUNT(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct ipsec_mb_key *key = new_key(vector_key, v->keylen);

		ipsec_mb_seal(key, out, vector_plain, VECTOR_LEN, &packet);
		assert_memory_equal(out, v->sealed, sizeof(out));
		assert_true(ipsec_mb_open(key, out, v->sealed, sizeof(out),
		    &packet));
		assert_memory_equal(out, vector_plain, VECTOR_LEN);
		free_key(key);
	}
}

static void
a_changed_packet_is_refused(void **state)
{
	struct ipsec_mb_packet packet = { vector_nonce, vector_aad,
		sizeof(vector_aad) };
	struct ipsec_mb_key *key;
	uint8_t sealed[sizeof(vectors[0].sealed)], out[sizeof(sealed)];
	static const uint8_t zeros[VECTOR_LEN];

	(void)state;
	need_ipsec_mb();
	key = new_key(vector_key, 16);
	for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
		memcpy(sealed, vectors[0].sealed, sizeof(sealed));
		sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(ipsec_mb_open(key, out, sealed, sizeof(sealed),
		    &packet));
		assert_memory_equal(out, zeros, VECTOR_LEN);
	}
	packet.aadlen--;
	assert_false(ipsec_mb_open(key, out, vectors[0].sealed, sizeof(sealed),
	    &packet));
	for (size_t len = 0; len < IPSEC_MB_TAG_LEN; len++)
		assert_false(ipsec_mb_open(key, out, sealed, len, &packet));
	free_key(key);
}

#define SIZE_MAX_TRIED 9000u /* bytes */

static void
compare_with_gnutls(gnutls_cipher_algorithm_t cipher, unsigned keylen)
{
	static uint8_t plain[SIZE_MAX_TRIED], ours[SIZE_MAX_TRIED + 16],
	    theirs[SIZE_MAX_TRIED + 16];
	uint8_t raw[32], nonce[12], aad[64];
	struct ipsec_mb_packet packet = { nonce, aad, 0 };
	gnutls_datum_t datum = { raw, keylen };
	gnutls_aead_cipher_hd_t gnutls;
	struct ipsec_mb_key *key;
	uint16_t random[2];
	size_t len, n;

	gnutls_rnd(GNUTLS_RND_NONCE, raw, sizeof(raw));
	gnutls_rnd(GNUTLS_RND_NONCE, nonce, sizeof(nonce));
	gnutls_rnd(GNUTLS_RND_NONCE, aad, sizeof(aad));
	gnutls_rnd(GNUTLS_RND_NONCE, plain, sizeof(plain));
	gnutls_rnd(GNUTLS_RND_NONCE, random, sizeof(random));
	len = random[0] % (random[1] & 1 ? 200u : SIZE_MAX_TRIED);
	packet.aadlen = (random[1] >> 1) % sizeof(aad);
	assert_int_equal(gnutls_aead_cipher_init(&gnutls, cipher, &datum), 0);
	key = new_key(raw, keylen);
	n = sizeof(theirs);
	assert_int_equal(gnutls_aead_cipher_encrypt(gnutls, nonce, 12, aad,
			     packet.aadlen, 16, plain, len, theirs, &n),
	    0);
	ipsec_mb_seal(key, ours, plain, len, &packet);
	assert_memory_equal(ours, theirs, n);
	/* In place, as ngtcp2 encrypts. */
	memcpy(ours, plain, len);
	ipsec_mb_seal(key, ours, ours, len, &packet);
	assert_memory_equal(ours, theirs, n);
	assert_true(ipsec_mb_open(key, ours, ours, n, &packet));
	assert_memory_equal(ours, plain, len);
	gnutls_aead_cipher_deinit(gnutls);
	free_key(key);
}

static void
results_are_those_of_gnutls(void **state)
{
	(void)state;
	need_ipsec_mb();
	for (int i = 0; i < 500; i++) {
		compare_with_gnutls(GNUTLS_CIPHER_AES_128_GCM, 16);
		compare_with_gnutls(GNUTLS_CIPHER_AES_256_GCM, 32);
	}
}

/* ---- Connections ---- */

/*
 * ngtcp2 allows it when the last one is confirmed and some time has passed;
 * newer versions (1.24) prepare the next keys with the next packet.
 */
static void
update_keys(struct world *w, struct quic_conn *conn)
{
	int rv = -EAGAIN;

	for (int i = 0; i < 10 && rv == -EAGAIN; i++) {
		if (i > 0) {
			quic_conn_ping(conn);
			link_run(w->link, NULL, NULL, LINK_S);
		}
		rv = quic_conn_update_keys(conn, w->link->now);
	}
	assert_int_equal(rv, 0);
}

/* A tunnel each way while the keys change `updates` times, by either side. */
static void
transfer(struct world *w, unsigned updates)
{
	size_t part = 200 * KB;

	w->near[0].stays_open = w->far[0].stays_open = true;
	world_up(w);
	assert_int_equal(tunnel_open(w, 0), 0);
	by_gnutls = 0;
	for (unsigned i = 0; i <= updates; i++) {
		w->near[0].to_send += part;
		w->far[0].to_send += part;
		end_pump(&w->near[0]);
		if (w->far[0].stream != NULL)
			end_pump(&w->far[0]);
		link_run(w->link, NULL, NULL, LINK_S);
		if (i < updates)
			update_keys(w, i % 2 ? w->server.conn : near_conn(w));
	}
	assert_whole(&w->near[0], w->far[0].to_send);
	assert_whole(&w->far[0], w->near[0].to_send);
	assert_int_equal(w->far[0].to_send, part * (updates + 1));
}

static size_t
count_keys(const struct aead_keys *keys)
{
	const struct aead_key *key;
	size_t n = 0;

	LIST_FOREACH(key, keys, entry)
		n++;
	return n;
}

/* No packet is one of GnuTLS, and old keys are freed. */
static void
keys_are_updated(void **state)
{
	struct world *w = *state;

	need_ipsec_mb();
	transfer(w, 10);
	assert_string_equal(stats_of(near_conn(w)).aead, "libipsec-mb");
	assert_int_equal(by_gnutls, 0);
	assert_in_range(count_keys(&near_conn(w)->aead.rx), 1, 3);
	assert_in_range(count_keys(&near_conn(w)->aead.tx), 1, 3);
	world_down(w);
}

/* With either setting at either end. */
static void
both_libraries_understand_each_other(void **state)
{
	char text[QUIC_ERROR_MAX];
	bool loaded = quic_ipsec_mb_load(text);

	for (unsigned i = 0; i < 4; i++) {
		struct world *w = *state;
		bool near = i & 1, far = i >> 1 & 1;

		w->client_settings.no_ipsec_mb = !near;
		w->server_settings.no_ipsec_mb = !far;
		w->near[0].to_send = w->far[0].to_send = 0;
		transfer(w, 3);
		assert_string_equal(stats_of(near_conn(w)).aead,
		    loaded && near ? "libipsec-mb" : "GnuTLS");
		if (!loaded || !near || !far)
			assert_true(by_gnutls > 100);
		world_down(w);
	}
}

static bool
change_some(struct link_datagram *datagram, void *arg)
{
	struct link *link = arg;

	if (datagram->data[0] < 0x80 && link_random(link, 20) == 0)
		datagram->data[datagram->len - 1] ^= 1;
	return true;
}

/* Packets with a wrong tag count as lost. */
static void
forged_packets_do_no_harm(void **state)
{
	struct world *w = *state;

	need_ipsec_mb();
	w->link->tamper = change_some;
	w->link->tamper_arg = w->link;
	transfer(w, 1);
	assert_int_equal(by_gnutls, 0);
	assert_int_equal(w->client[0].closed, 0);
	world_down(w);
}

/* Then GnuTLS has the packets. */
static void
keys_without_memory_are_those_of_gnutls(void **state)
{
	struct world *w = *state;

	need_ipsec_mb();
	for (int i = 0; i < 2; i++) {
		no_memory_for = i == 0 ? sizeof(struct aead_key)
				       : ipsec_mb_key_size();
		w->near[0].to_send = w->far[0].to_send = 0;
		transfer(w, 2);
		no_memory_for = 0;
		assert_true(by_gnutls > 100);
		world_down(w);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_are_those_of_the_specification),
		cmocka_unit_test(a_changed_packet_is_refused),
		cmocka_unit_test(results_are_those_of_gnutls),
		TEST(keys_are_updated),
		TEST(both_libraries_understand_each_other),
		TEST(forged_packets_do_no_harm),
		TEST(keys_without_memory_are_those_of_gnutls),
	};

	return cmocka_run_group_tests_name("aead", tests, NULL, NULL);
}
