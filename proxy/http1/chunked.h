#ifndef CULVERT_PROXY_HTTP1_CHUNKED_H
#define CULVERT_PROXY_HTTP1_CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The chunked transfer coding (RFC 9112, section 7.1), decoded without a copy.
 * Strict in requests: CRLF and nothing else ends a line, a size is bare
 * hexadecimal digits.  Responses are read as curl and Chromium read them: LF
 * ends a line, whitespace may stand around a size, and extensions and trailers
 * may look like anything.  Both are bounded; extensions are dropped.
 */

/* Hexadecimal digits of one size, which must also stay below 2^63. */
#define CHUNKED_DIGITS_MAX 16

/*
 * Bytes of one line with the size of a chunk, beyond the digits: extensions,
 * whitespace, and zeros in front.  They are not stored.  Chromium takes as
 * much; more makes us read many bytes for few of content.
 */
#define CHUNKED_EXTENSION_MAX 16384

/* Bytes of the whole trailer section, line ends included. */
#define CHUNKED_TRAILER_MAX 8192

/* Bytes that chunked_format writes at most: the digits and CRLF. */
#define CHUNKED_HEAD_MAX (CHUNKED_DIGITS_MAX + 2)

/* Bytes of the sentence that chunked_why writes, with its NUL. */
#define CHUNKED_WHY_MAX 128

/* What ends a body: the last chunk, and an empty trailer section. */
#define CHUNKED_LAST "0\r\n\r\n"
#define CHUNKED_LAST_SIZE 3 /* bytes of it before the trailer section */

enum chunked_state {
	CHUNKED_SIZE_START,
	CHUNKED_SIZE,
	CHUNKED_PADDING,
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

/* A decoder, in the caller's memory. */
struct chunked {
	/*
	 * To be read: a line of a response did not end in CRLF.  The sender
	 * may see another end of the body than we do.
	 */
	bool odd;

	/*
	 * To be read: the last chunk has come, and what later calls consume is
	 * the trailer section, its empty line included.
	 */
	bool in_trailer;

	/* Private. */
	bool response;
	enum chunked_state state;
	uint64_t left; /* bytes of data to come in this chunk */
	size_t digits; /* of the size, zeros in front of it left out */
	size_t counted; /* other bytes of the line, or bytes of the trailer */
	enum chunked_state failed; /* where it was when all ended, ... */
	uint8_t octet; /* ... and what came */
};

/* Begins the body of a response, or of a request. */
void chunked_init(struct chunked *c, bool response);

/*
 * Takes len bytes of the coded body.  *consumed is how many were used, and
 * (*data, *datalen) is the content among them: one span inside in, possibly of
 * no bytes.  Call again with the rest until it is used up.  A call ends where
 * the trailer section begins.
 *
 * Returns 1 at the end of the body: the bytes after *consumed are the next
 * message.  0: the body goes on.  -EBADMSG: malformed or over a limit, now and
 * on every later call; the message is lost and its connection must be closed.
 */
int chunked_feed(struct chunked *c, const uint8_t *in, size_t len,
    size_t *consumed, const uint8_t **data, size_t *datalen);

/*
 * After -EBADMSG: writes what is wrong and where, as a sentence of printable
 * ASCII without a full stop.  A body that was refused although the decoder has
 * found nothing has a bad trailer section.
 */
void chunked_why(const struct chunked *c, char out[CHUNKED_WHY_MAX]);

/*
 * Writes what goes before datalen bytes of content, the size and CRLF, without
 * a NUL.  The caller sends it, the content and CRLF, and CHUNKED_LAST in the
 * end.  datalen may not be 0, as that would end the body.  Returns the bytes
 * written.
 */
size_t chunked_format(char out[CHUNKED_HEAD_MAX], size_t datalen);

#endif
