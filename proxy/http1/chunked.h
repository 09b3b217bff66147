#ifndef CULVERT_PROXY_HTTP1_CHUNKED_H
#define CULVERT_PROXY_HTTP1_CHUNKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The chunked transfer coding (RFC 9112, section 7.1), decoded without a copy.
 * In requests the decoder is strict: only CRLF ends a line, and a size consists
 * of hexadecimal digits only.  In responses it accepts what curl and Chromium
 * accept: LF ends a line, whitespace may surround a size, and extensions and
 * trailers may contain anything.  Both have limits; extensions are dropped.
 */

/* Hexadecimal digits of one size, which must also stay below 2^63. */
#define CHUNKED_DIGITS_MAX 16

/*
 * Bytes of one line with the size of a chunk, beyond the digits: extensions,
 * whitespace, and leading zeros.  They are not stored.  The limit is that of
 * Chromium; it bounds the overhead of reading little content.
 */
#define CHUNKED_EXTENSION_MAX 16384

/* Bytes of the whole trailer section, line ends included. */
#define CHUNKED_TRAILER_MAX 8192

/* Bytes that chunked_format writes at most: the digits and CRLF. */
#define CHUNKED_HEAD_MAX (CHUNKED_DIGITS_MAX + 2)

/* Bytes of the sentence that chunked_why writes, with its NUL. */
#define CHUNKED_WHY_MAX 128

/* The end of a body: the last chunk, and an empty trailer section. */
#define CHUNKED_LAST "0\r\n\r\n"
#define CHUNKED_LAST_SIZE 3 /* its bytes before the trailer section */

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
	 * Output: a line of a response did not end in CRLF, so sender and
	 * reader may disagree about the end of the body.
	 */
	bool odd;

	/*
	 * Output: the last chunk has arrived, and later calls consume the
	 * trailer section, its empty line included.
	 */
	bool in_trailer;

	/* Private. */
	bool response;
	enum chunked_state state;
	uint64_t left;	/* bytes of data to come in this chunk */
	size_t digits;	/* of the size, without leading zeros */
	size_t counted; /* other bytes of the line, or bytes of the trailer */
	enum chunked_state failed; /* the state before the error, ... */
	uint8_t octet;		   /* ... and the octet that caused it */
};

/* Begins to decode the body of a response, or of a request. */
void chunked_init(struct chunked *c, bool response);

/*
 * Decodes len bytes of the coded body.  *consumed is the number of bytes used,
 * and (*data, *datalen) is the content among them: one range inside in, maybe
 * empty.  Call again until the input is used up.  A call stops where the
 * trailer section begins.
 *
 * Returns 1 at the end of the body: the bytes after *consumed belong to the
 * next message.  Returns 0 if the body continues.  Returns -EBADMSG, also on
 * every later call, if the body is malformed or over a limit: the caller must
 * close the connection.
 */
int chunked_feed(struct chunked *c, const uint8_t *in, size_t len,
    size_t *consumed, const uint8_t **data, size_t *datalen);

/*
 * After -EBADMSG: writes the error and its place, as a sentence of printable
 * ASCII without a full stop.  If the decoder has found no error, the text says
 * that the trailer section is malformed, which the caller has found.
 */
void chunked_why(const struct chunked *c, char out[CHUNKED_WHY_MAX]);

/*
 * Writes the line before a chunk of datalen bytes, the size and CRLF, without
 * a NUL.  The caller sends this line, the content and CRLF for each chunk, and
 * CHUNKED_LAST at the end.  datalen must not be 0, which would end the body.
 * Returns the number of bytes written.
 */
size_t chunked_format(char out[CHUNKED_HEAD_MAX], size_t datalen);

#endif
