#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/internal.h"
#include "tests/unit/world.h"

/*
 * Changes to a packet as it is encrypted. Here nothing is encrypted, but the
 * length of the payload is kept: see the Makefile.
 */

int
__wrap_ngtcp2_crypto_encrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);
int
__real_ngtcp2_crypto_encrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen);

static bool kept;
static size_t sealed;

int
__wrap_ngtcp2_crypto_encrypt_cb(uint8_t *dest, const ngtcp2_crypto_aead *aead,
    const ngtcp2_crypto_aead_ctx *ctx, const uint8_t *plain, size_t len,
    const uint8_t *nonce, size_t noncelen, const uint8_t *aad, size_t aadlen)
{
	sealed = len;
	if (kept)
		return 0;
	return __real_ngtcp2_crypto_encrypt_cb(dest, aead, ctx, plain, len,
	    nonce, noncelen, aad, aadlen);
}

#define HEADER 10 /* bytes of a short header, and an acknowledgement */
#define ACK_LEN 5

static const uint8_t ack[ACK_LEN] = { 0x02, 0, 0, 0, 0 };

/* The length that an ACK gets, so far behind the start of its datagram. */
static size_t
seal_ack(struct quic_conn *conn, size_t at)
{
	static uint8_t datagram[1500], nonce[12];
	uint8_t *packet = datagram + at, *payload = packet + HEADER;

	packet[0] = 0x40;
	memcpy(payload, ack, ACK_LEN);
	conn->mtu_probe.sees_base = true;
	conn->mtu_probe.pings_left = MTU_PROBE_PINGS;
	mtu_probe_watch(conn);
	mtu_probe_begin(conn, datagram);
	kept = true;
	assert_int_equal(mtu_probe_encrypt(payload, NULL, NULL, payload,
			     ACK_LEN, nonce, sizeof(nonce), packet, HEADER),
	    0);
	kept = false;
	mtu_probe_watch(NULL);
	return sealed;
}

/* A sender that looks for its size is helped by a PING, if there is room. */
static void
a_coalesced_datagram_does_not_grow(void **state)
{
	struct world *w = *state;

	world_up(w);
	link_run(w->link, NULL, NULL, LINK_S);
	assert_int_equal(seal_ack(near_conn(w), 0), ACK_LEN + 1);
	assert_int_equal(mtu_probe_added(near_conn(w)), 1);
	assert_int_equal(seal_ack(near_conn(w), 1173), ACK_LEN);
	assert_int_equal(mtu_probe_added(near_conn(w)), 0);
	/* A byte that was added to one datagram does not count for the next. */
	seal_ack(near_conn(w), 0);
	mtu_probe_begin(near_conn(w), NULL);
	assert_int_equal(mtu_probe_added(near_conn(w)), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_coalesced_datagram_does_not_grow),
	};

	return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
