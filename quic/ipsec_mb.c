#include "quic/ipsec_mb.h"

#include <errno.h>

#if defined(__has_include)
#if __has_include(<intel-ipsec-mb.h>)
#define HAVE_HEADER
#endif
#endif

#ifdef HAVE_HEADER

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <intel-ipsec-mb.h>

#define KEY_ALIGN 64 /* bytes; a line of the cache */

/* Bytes of a packet in the comparison: more than the code has paths for. */
#define CHECK_MAX 1500
#define CHECK_STEP 61

struct ipsec_mb_key {
	size_t len; /* bytes of the key: 16 or 32 */
	uint8_t room[sizeof(struct gcm_key_data) + KEY_ALIGN - 1];
};

static IMB_MGR *manager;
static const char *version;

/* ---- Keys and packets ---- */

static struct gcm_key_data *
data_of(const struct ipsec_mb_key *key)
{
	uintptr_t at = (uintptr_t)key->room + KEY_ALIGN - 1;

	return (struct gcm_key_data *)(at & ~(uintptr_t)(KEY_ALIGN - 1));
}

size_t
ipsec_mb_key_size(void)
{
	return sizeof(struct ipsec_mb_key);
}

void
ipsec_mb_expand(struct ipsec_mb_key *expanded, const uint8_t *key, size_t len)
{
	expanded->len = len;
	if (len == 16)
		IMB_AES128_GCM_PRE(manager, key, data_of(expanded));
	else
		IMB_AES256_GCM_PRE(manager, key, data_of(expanded));
}

void
ipsec_mb_seal(const struct ipsec_mb_key *key, uint8_t *dest,
    const uint8_t *plain, size_t len, const struct ipsec_mb_packet *packet)
{
	struct gcm_context_data context;

	if (key->len == 16)
		IMB_AES128_GCM_ENC(manager, data_of(key), &context, dest, plain,
		    len, packet->nonce, packet->aad, packet->aadlen, dest + len,
		    IPSEC_MB_TAG_LEN);
	else
		IMB_AES256_GCM_ENC(manager, data_of(key), &context, dest, plain,
		    len, packet->nonce, packet->aad, packet->aadlen, dest + len,
		    IPSEC_MB_TAG_LEN);
}

bool
ipsec_mb_open(const struct ipsec_mb_key *key, uint8_t *dest,
    const uint8_t *sealed, size_t len, const struct ipsec_mb_packet *packet)
{
	uint8_t expected[IPSEC_MB_TAG_LEN], tag[IPSEC_MB_TAG_LEN];
	struct gcm_context_data context;

	if (len < IPSEC_MB_TAG_LEN)
		return false;
	len -= IPSEC_MB_TAG_LEN;
	memcpy(expected, sealed + len, sizeof(expected));
	if (key->len == 16)
		IMB_AES128_GCM_DEC(manager, data_of(key), &context, dest,
		    sealed, len, packet->nonce, packet->aad, packet->aadlen,
		    tag, sizeof(tag));
	else
		IMB_AES256_GCM_DEC(manager, data_of(key), &context, dest,
		    sealed, len, packet->nonce, packet->aad, packet->aadlen,
		    tag, sizeof(tag));
	if (gnutls_memcmp(tag, expected, sizeof(tag)) == 0)
		return true;
	memset(dest, 0, len);
	return false;
}

/* ---- Comparison with GnuTLS ---- */

static bool
check_packet(const struct ipsec_mb_key *key, gnutls_aead_cipher_hd_t gnutls,
    const uint8_t *plain, size_t len, const struct ipsec_mb_packet *packet)
{
	uint8_t ours[CHECK_MAX + IPSEC_MB_TAG_LEN];
	uint8_t theirs[CHECK_MAX + IPSEC_MB_TAG_LEN];
	size_t n = sizeof(theirs);

	ipsec_mb_seal(key, ours, plain, len, packet);
	if (gnutls_aead_cipher_encrypt(gnutls, packet->nonce,
		IPSEC_MB_NONCE_LEN, packet->aad, packet->aadlen,
		IPSEC_MB_TAG_LEN, plain, len, theirs, &n) != 0 ||
	    n != len + IPSEC_MB_TAG_LEN || memcmp(ours, theirs, n) != 0)
		return false;
	if (!ipsec_mb_open(key, ours, ours, n, packet) ||
	    memcmp(ours, plain, len) != 0)
		return false;
	theirs[n - 1] ^= 1;
	return !ipsec_mb_open(key, ours, theirs, n, packet);
}

static bool
check_key(gnutls_cipher_algorithm_t cipher, size_t keylen)
{
	uint8_t bytes[CHECK_MAX], raw[IPSEC_MB_KEY_MAX];
	struct ipsec_mb_packet packet = { .nonce = bytes, .aad = bytes + 100 };
	gnutls_datum_t datum = { raw, (unsigned)keylen };
	gnutls_aead_cipher_hd_t gnutls;
	struct ipsec_mb_key key;
	bool equal = true;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	memcpy(raw, bytes + 200, sizeof(raw));
	if (gnutls_aead_cipher_init(&gnutls, cipher, &datum) != 0)
		return false;
	ipsec_mb_expand(&key, raw, keylen);
	for (size_t len = 0; len <= sizeof(bytes) && equal; len += CHECK_STEP) {
		packet.aadlen = len % 40;
		equal = check_packet(&key, gnutls, bytes, len, &packet);
	}
	gnutls_aead_cipher_deinit(gnutls);
	return equal;
}

/* ---- Loading ---- */

static int
open_library(void)
{
	void (*init)(IMB_MGR *, IMB_ARCH *);
	const char *(*version_text)(void);
	IMB_MGR *(*alloc)(uint64_t flags);
	char name[32];
	IMB_ARCH arch;
	void *library;

	/* The layout of IMB_MGR is that of the major version. */
	snprintf(name, sizeof(name), "libIPSec_MB.so.%d",
	    IMB_VERSION_NUM >> 16);
	if ((library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) == NULL)
		return -ENOENT;
	*(void **)&alloc = dlsym(library, "alloc_mb_mgr");
	*(void **)&init = dlsym(library, "init_mb_mgr_auto");
	*(void **)&version_text = dlsym(library, "imb_get_version_str");
	if (alloc == NULL || init == NULL || version_text == NULL ||
	    (manager = alloc(0)) == NULL)
		return -ENOENT;
	version = version_text();
	init(manager, &arch);
	return (manager->features & IMB_FEATURE_VAES) != 0 ? 0 : -ENODEV;
}

int
ipsec_mb_load(void)
{
	static bool opened;
	static int result;

	if (!opened) {
		opened = true;
		if ((result = open_library()) == 0 &&
		    (!check_key(GNUTLS_CIPHER_AES_128_GCM, 16) ||
			!check_key(GNUTLS_CIPHER_AES_256_GCM, 32)))
			result = -EBADMSG;
		if (result != 0)
			version = NULL;
	}
	return result;
}

const char *
ipsec_mb_version(void)
{
	return version;
}

#else

int
ipsec_mb_load(void)
{
	return -ENOSYS;
}

const char *
ipsec_mb_version(void)
{
	return NULL;
}

size_t
ipsec_mb_key_size(void)
{
	return 0;
}

void
ipsec_mb_expand(struct ipsec_mb_key *expanded, const uint8_t *key, size_t len)
{
	(void)expanded, (void)key, (void)len;
}

void
ipsec_mb_seal(const struct ipsec_mb_key *key, uint8_t *dest,
    const uint8_t *plain, size_t len, const struct ipsec_mb_packet *packet)
{
	(void)key, (void)dest, (void)plain, (void)len, (void)packet;
}

bool
ipsec_mb_open(const struct ipsec_mb_key *key, uint8_t *dest,
    const uint8_t *sealed, size_t len, const struct ipsec_mb_packet *packet)
{
	(void)key, (void)dest, (void)sealed, (void)len, (void)packet;
	return false;
}

#endif
