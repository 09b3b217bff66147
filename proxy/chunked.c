/*
 * One octet moves the decoder by at most one state; only content is taken in
 * one piece.
 *
 *	SIZE -> [EXTENSION] -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE
 *	                          |
 *	                  the size was 0: TRAILER_START -> LAST_LF -> DONE
 *	                                   |         ^
 *	                                TRAILER -> TRAILER_LF
 *
 * BAD and DONE are final.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proxy/chunked.h"

void
chunked_init(struct chunked *c)
{
	memset(c, 0, sizeof(*c));
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

static enum chunked_state
step_size(struct chunked *c, uint8_t octet)
{
	int value = hex_value(octet);

	if (value < 0 && c->counted == 0)
		return CHUNKED_BAD;
	if (octet == '\r')
		return CHUNKED_SIZE_LF;
	if (octet == ';') {
		c->counted = 0;
		return CHUNKED_EXTENSION;
	}
	if (value < 0 || ++c->counted > CHUNKED_DIGITS_MAX ||
	    c->left > INT64_MAX >> 4)
		return CHUNKED_BAD;
	c->left = c->left << 4 | (uint64_t)value;
	return CHUNKED_SIZE;
}

/* Text that is dropped: an extension or a trailer field. */
static enum chunked_state
step_text(struct chunked *c, uint8_t octet, size_t max,
    enum chunked_state at_cr)
{
	if (++c->counted > max)
		return CHUNKED_BAD;
	if (octet == '\r')
		return at_cr;
	return is_control(octet) ? CHUNKED_BAD : c->state;
}

static enum chunked_state
step_trailer_start(struct chunked *c, uint8_t octet)
{
	if (octet == '\r')
		return CHUNKED_LAST_LF;
	if (octet == ' ' || octet == '\t')
		return CHUNKED_BAD;
	c->state = CHUNKED_TRAILER;
	return step_text(c, octet, CHUNKED_TRAILER_MAX, CHUNKED_BAD);
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
	case CHUNKED_SIZE:
		return step_size(c, octet);
	case CHUNKED_EXTENSION:
		return step_text(c, octet, CHUNKED_EXTENSION_MAX,
		    CHUNKED_SIZE_LF);
	case CHUNKED_SIZE_LF:
		c->counted = 0;
		return expect(octet, '\n',
		    c->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER_START);
	case CHUNKED_DATA_CR:
		return expect(octet, '\r', CHUNKED_DATA_LF);
	case CHUNKED_DATA_LF:
		return expect(octet, '\n', CHUNKED_SIZE);
	case CHUNKED_TRAILER_START:
		return step_trailer_start(c, octet);
	case CHUNKED_TRAILER:
		return step_text(c, octet, CHUNKED_TRAILER_MAX,
		    CHUNKED_TRAILER_LF);
	case CHUNKED_TRAILER_LF:
		c->counted++;
		return expect(octet, '\n', CHUNKED_TRAILER_START);
	case CHUNKED_LAST_LF:
		return expect(octet, '\n', CHUNKED_DONE);
	default:
		return CHUNKED_BAD;
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
chunked_feed(struct chunked *c, const uint8_t *in, size_t len,
    size_t *consumed, const uint8_t **data, size_t *datalen)
{
	*consumed = 0;
	*data = in;
	*datalen = 0;
	while (*consumed < len && *datalen == 0 && c->state != CHUNKED_DONE &&
	    c->state != CHUNKED_BAD) {
		if (c->state == CHUNKED_DATA) {
			*data = in + *consumed;
			*datalen = take_data(c, len - *consumed);
			*consumed += *datalen;
		} else {
			c->state = step(c, in[(*consumed)++]);
		}
	}
	if (c->state == CHUNKED_BAD)
		return -EBADMSG;
	return c->state == CHUNKED_DONE;
}

size_t
chunked_format(char out[CHUNKED_HEAD_MAX], size_t datalen)
{
	char text[CHUNKED_HEAD_MAX + 1];
	int len = snprintf(text, sizeof(text), "%zx\r\n", datalen);

	memcpy(out, text, (size_t)len);
	return (size_t)len;
}
