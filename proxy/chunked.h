#ifndef CULVERT_PROXY_CHUNKED_H
#define CULVERT_PROXY_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

/*
 * The chunked transfer coding (RFC 9112, section 7.1), decoded without a copy.
 * Strict as the heads are: CRLF and nothing else ends a line, a size is bare
 * hexadecimal digits.  Extensions and trailers are read, bounded and dropped.
 */

/* Hexadecimal digits of one size, which must also stay below 2^63. */
#define CHUNKED_DIGITS_MAX 16

/*
 * Bytes of the extensions of one chunk.  Nobody uses them but to make servers
 * read many bytes for few of content.
 */
#define CHUNKED_EXTENSION_MAX 256

/* Bytes of the whole trailer section, line ends included. */
#define CHUNKED_TRAILER_MAX 8192

/* Bytes that chunked_format writes at most: the digits and CRLF. */
#define CHUNKED_HEAD_MAX (CHUNKED_DIGITS_MAX + 2)

/* What ends a body: the last chunk, and an empty trailer section. */
#define CHUNKED_LAST "0\r\n\r\n"

enum chunked_state {
	CHUNKED_SIZE,
	CHUNKED_EXTENSION,
	CHUNKED_SIZE_LF,
	CHUNKED_DATA,
	CHUNKED_DATA_CR,
	CHUNKED_DATA_LF,
	CHUNKED_TRAILER_START,
	CHUNKED_TRAILER,
	CHUNKED_TRAILER_LF,
	CHUNKED_LAST_LF,
	CHUNKED_DONE,
	CHUNKED_BAD
};

/* A decoder, in the caller's memory; all of it is private. */
struct chunked {
	enum chunked_state state;
	uint64_t left; /* bytes of data to come in this chunk */
	size_t counted; /* digits, or bytes of extension or trailer */
};

/* Begins a body. */
void chunked_init(struct chunked *c);

/*
 * Takes len bytes of the coded body.  *consumed is how many were used, and
 * (*data, *datalen) is the content among them: one span inside in, possibly of
 * no bytes.  Call again with the rest until it is used up.
 *
 * Returns 1 at the end of the body: the bytes after *consumed are the next
 * message.  0: the body goes on.  -EBADMSG: malformed or over a limit, now and
 * on every later call; the message is lost and its connection must be closed.
 */
int chunked_feed(struct chunked *c, const uint8_t *in, size_t len,
    size_t *consumed, const uint8_t **data, size_t *datalen);

/*
 * Writes what goes before datalen bytes of content, the size and CRLF, without
 * a NUL.  The caller sends it, the content and CRLF, and CHUNKED_LAST in the
 * end.  datalen may not be 0, as that would end the body.  Returns the bytes
 * written.
 */
size_t chunked_format(char out[CHUNKED_HEAD_MAX], size_t datalen);

#endif
