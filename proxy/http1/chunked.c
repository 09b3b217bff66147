/*
 * Each octet moves the decoder by at most one state; content is consumed in
 * one piece.
 *
 *	SIZE_START -> SIZE -> [PADDING] -> [EXTENSION] -> SIZE_LF -> DATA
 *	     ^                                              |         |
 *	     +----------- DATA_LF <- DATA_CR <--------------|---------+
 *	                                                    |
 *	                  the size was 0: TRAILER_START -> LAST_LF -> DONE
 *	                                   |         ^
 *	                                TRAILER -> TRAILER_LF
 *
 * BAD and DONE are final.  In a response, LF may replace CR LF as the end of a
 * line.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/http1/chunked.h"

void
chunked_init(struct chunked *c, bool response)
{
	memset(c, 0, sizeof(*c));
	c->response = response;
}

static int
hex_value(uint8_t octet)
{
	if (octet >= '0' && octet <= '9')
		return octet - '0';
	if (octet >= 'a' && octet <= 'f')
		return octet - 'a' + 10;
	if (octet >= 'A' && octet <= 'F')
		return octet - 'A' + 10;
	return -1;
}

static bool
is_control(uint8_t octet)
{
	return (octet < ' ' && octet != '\t') || octet == 0x7f;
}

static bool
is_space(uint8_t octet)
{
	return octet == ' ' || octet == '\t';
}

/* Counts a byte that is not content. */
static enum chunked_state
skip(struct chunked *c, size_t max, enum chunked_state next)
{
	return ++c->counted > max ? CHUNKED_BAD : next;
}

static enum chunked_state
end_size(struct chunked *c)
{
	c->counted = c->digits = 0;
	c->in_trailer = c->left == 0;
	return c->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER_START;
}

/* Leading zeros of a response count as overhead, not as digits. */
static enum chunked_state
step_digit(struct chunked *c, int value)
{
	if (c->response && c->left == 0 && value == 0)
		return skip(c, CHUNKED_EXTENSION_MAX, CHUNKED_SIZE);
	if (++c->digits > CHUNKED_DIGITS_MAX || c->left > INT64_MAX >> 4)
		return CHUNKED_BAD;
	c->left = c->left << 4 | (uint64_t)value;
	return CHUNKED_SIZE;
}

static enum chunked_state
step_size_start(struct chunked *c, uint8_t octet)
{
	int value = hex_value(octet);

	if (value >= 0)
		return step_digit(c, value);
	if (c->response && is_space(octet))
		return skip(c, CHUNKED_EXTENSION_MAX, CHUNKED_SIZE_START);
	return CHUNKED_BAD;
}

/* LF without CR: in a response it ends the line. */
static enum chunked_state
step_lf(struct chunked *c, enum chunked_state at_lf)
{
	c->odd = true;
	return c->response ? at_lf : CHUNKED_BAD;
}

/* After the digits. */
static enum chunked_state
step_padding(struct chunked *c, uint8_t octet)
{
	if (octet == '\r')
		return CHUNKED_SIZE_LF;
	if (octet == '\n')
		return step_lf(c, end_size(c));
	if (octet == ';')
		return CHUNKED_EXTENSION;
	if (!c->response)
		return CHUNKED_BAD;
	return skip(c, CHUNKED_EXTENSION_MAX,
	    is_space(octet) ? CHUNKED_PADDING : CHUNKED_EXTENSION);
}

static enum chunked_state
step_size(struct chunked *c, uint8_t octet)
{
	int value = hex_value(octet);

	if (value >= 0)
		return step_digit(c, value);
	if (octet != '\r' && octet != '\n' && octet != ';' && !is_space(octet))
		return CHUNKED_BAD;
	return step_padding(c, octet);
}

/* Text that is dropped; in a request, control characters are an error. */
static enum chunked_state
step_text(struct chunked *c, uint8_t octet, size_t max,
    enum chunked_state at_cr)
{
	if (octet == '\r')
		return skip(c, max, at_cr);
	if (is_control(octet) && !c->response)
		return CHUNKED_BAD;
	return skip(c, max, c->state);
}

static enum chunked_state
step_extension(struct chunked *c, uint8_t octet)
{
	if (octet == '\n')
		return step_lf(c, end_size(c));
	return step_text(c, octet, CHUNKED_EXTENSION_MAX, CHUNKED_SIZE_LF);
}

static enum chunked_state
step_trailer(struct chunked *c, uint8_t octet)
{
	if (octet == '\n')
		return step_lf(c,
		    skip(c, CHUNKED_TRAILER_MAX, CHUNKED_TRAILER_START));
	return step_text(c, octet, CHUNKED_TRAILER_MAX, CHUNKED_TRAILER_LF);
}

static enum chunked_state
step_trailer_start(struct chunked *c, uint8_t octet)
{
	if (octet == '\r')
		return CHUNKED_LAST_LF;
	if (octet == '\n')
		return step_lf(c, CHUNKED_DONE);
	if (is_space(octet) && !c->response)
		return CHUNKED_BAD;
	c->state = CHUNKED_TRAILER;
	return step_trailer(c, octet);
}

/* After a CR.  In a response, a CR without LF is a part of the text. */
static enum chunked_state
step_line_end(struct chunked *c, uint8_t octet, enum chunked_state at_lf,
    enum chunked_state text)
{
	if (octet == '\n')
		return at_lf;
	if (!c->response)
		return CHUNKED_BAD;
	c->odd = true;
	c->state = text;
	return text == CHUNKED_EXTENSION ? step_extension(c, octet)
					 : step_trailer(c, octet);
}

static enum chunked_state
expect(uint8_t octet, char expected, enum chunked_state next)
{
	return octet == expected ? next : CHUNKED_BAD;
}

static enum chunked_state
step(struct chunked *c, uint8_t octet)
{
	switch (c->state) {
	case CHUNKED_SIZE_START:
		return step_size_start(c, octet);
	case CHUNKED_SIZE:
		return step_size(c, octet);
	case CHUNKED_PADDING:
		return step_padding(c, octet);
	case CHUNKED_EXTENSION:
		return step_extension(c, octet);
	case CHUNKED_SIZE_LF:
		return octet == '\n'
		    ? end_size(c)
		    : step_line_end(c, octet, CHUNKED_BAD, CHUNKED_EXTENSION);
	case CHUNKED_DATA_CR:
		if (octet == '\n')
			return step_lf(c, CHUNKED_SIZE_START);
		return expect(octet, '\r', CHUNKED_DATA_LF);
	case CHUNKED_DATA_LF:
		return expect(octet, '\n', CHUNKED_SIZE_START);
	case CHUNKED_TRAILER_START:
		return step_trailer_start(c, octet);
	case CHUNKED_TRAILER:
		return step_trailer(c, octet);
	case CHUNKED_TRAILER_LF:
		c->counted++;
		return step_line_end(c, octet, CHUNKED_TRAILER_START,
		    CHUNKED_TRAILER);
	case CHUNKED_LAST_LF:
		return step_line_end(c, octet, CHUNKED_DONE, CHUNKED_TRAILER);
	default:
		return CHUNKED_BAD;
	}
}

static void
take_octet(struct chunked *c, uint8_t octet)
{
	enum chunked_state before = c->state;

	c->state = step(c, octet);
	if (c->state == CHUNKED_BAD) {
		c->failed = before;
		c->octet = octet;
	}
}

static size_t
take_data(struct chunked *c, size_t len)
{
	size_t n = c->left < len ? (size_t)c->left : len;

	c->left -= n;
	if (c->left == 0)
		c->state = CHUNKED_DATA_CR;
	return n;
}

int
chunked_feed(struct chunked *c, const uint8_t *in, size_t len, size_t *consumed,
    const uint8_t **data, size_t *datalen)
{
	bool in_trailer = c->in_trailer;

	*consumed = 0;
	*data = in;
	*datalen = 0;
	while (*consumed < len && *datalen == 0 &&
	    c->in_trailer == in_trailer && c->state != CHUNKED_DONE &&
	    c->state != CHUNKED_BAD) {
		if (c->state == CHUNKED_DATA) {
			*data = in + *consumed;
			*datalen = take_data(c, len - *consumed);
			*consumed += *datalen;
		} else
			take_octet(c, in[(*consumed)++]);
	}
	if (c->state == CHUNKED_BAD)
		return -EBADMSG;
	return c->state == CHUNKED_DONE;
}

/* Returns the error text unless one octet was the error, then NULL. */
static const char *
limit_of(const struct chunked *c)
{
	if (c->state != CHUNKED_BAD)
		return "the trailer section is malformed";
	if (c->failed >= CHUNKED_TRAILER_START)
		return c->counted > CHUNKED_TRAILER_MAX
		    ? "the trailer section is too long"
		    : NULL;
	if (c->counted > CHUNKED_EXTENSION_MAX)
		return "the line of a chunk's size is too long";
	if (c->failed <= CHUNKED_SIZE && hex_value(c->octet) >= 0)
		return "the size of a chunk is too large";
	return NULL;
}

void
chunked_why(const struct chunked *c, char out[CHUNKED_WHY_MAX])
{
	static const char *const places[] = {
		[CHUNKED_SIZE_START] = "where the size of a chunk must be",
		[CHUNKED_SIZE] = "in the size of a chunk",
		[CHUNKED_PADDING] = "behind the size of a chunk",
		[CHUNKED_EXTENSION] = "in the extension of a chunk",
		[CHUNKED_SIZE_LF] = "after the CR behind the size of a chunk",
		[CHUNKED_DATA_CR] = "where CRLF must end a chunk",
		[CHUNKED_DATA_LF] = "where LF must end a chunk",
		[CHUNKED_TRAILER_START] = "at the start of a trailer field",
		[CHUNKED_TRAILER] = "in a trailer field",
		[CHUNKED_TRAILER_LF] = "after the CR of a trailer field",
		[CHUNKED_LAST_LF] = "after the last CR of the body",
	};
	const char *limit = limit_of(c);

	if (limit != NULL)
		snprintf(out, CHUNKED_WHY_MAX, "%s", limit);
	else
		snprintf(out, CHUNKED_WHY_MAX,
		    "byte 0x%02x %s, in the chunked coding", c->octet,
		    places[c->failed]);
}

size_t
chunked_format(char out[CHUNKED_HEAD_MAX], size_t datalen)
{
	char text[CHUNKED_HEAD_MAX + 1];
	int len = snprintf(text, sizeof(text), "%zx\r\n", datalen);

	memcpy(out, text, (size_t)len);
	return (size_t)len;
}
