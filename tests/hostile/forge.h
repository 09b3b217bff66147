#ifndef CULVERT_TESTS_HOSTILE_FORGE_H
#define CULVERT_TESTS_HOSTILE_FORGE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Bytes of QUIC and HTTP/3 without a library's checks. A forgery grows at its
 * end, and bytes that do not fit are left out.
 */
#define FORGERY_MAX 1400 /* bytes: a packet's, with room for its head */
struct forgery {
	size_t len;
	uint8_t data[FORGERY_MAX];
};

void forge_clear(struct forgery *f);
void forge_byte(struct forgery *f, uint8_t byte);
void forge_bytes(struct forgery *f, const void *bytes, size_t len);

/* A variable-length integer (RFC 9000 §16). */
void forge_integer(struct forgery *f, uint64_t value);

/* A run of them: a frame of QUIC, type first. */
void forge_integers(struct forgery *f, const uint64_t *values, size_t n);

/* A HEADERS frame with CONNECT to an authority, the static table alone. */
void forge_connect(struct forgery *f, const char *authority);

/* The head of a DATA frame that promises `len` bytes. */
void forge_data(struct forgery *f, uint64_t len);

/* An HTTP/3 frame of that type with that payload. */
void
forge_frame(struct forgery *f, uint64_t type, const void *payload, size_t len);

#endif
