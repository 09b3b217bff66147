#include <errno.h>

#include "proxy/local/http/body.h"

void
body_init(struct body *body, const struct http1_head *head)
{
	body->framing = head->framing;
	body->left = head->length;
	body->complete = head->framing == HTTP1_NONE ||
	    (head->framing == HTTP1_LENGTH && head->length == 0);
	chunked_init(&body->chunked, head->response);
	trailer_begin(&body->trailer, head);
}

void
body_fini(struct body *body)
{
	trailer_fini(&body->trailer);
}

static void
take_length(struct body *body, size_t len, size_t *datalen)
{
	*datalen = body->left < len ? (size_t)body->left : len;
	body->left -= *datalen;
	body->complete = body->left == 0;
}

static int
take_chunked(struct body *body, const uint8_t *in, size_t len, size_t *used,
    const uint8_t **data, size_t *datalen)
{
	bool in_trailer = body->chunked.in_trailer;
	int rv = chunked_feed(&body->chunked, in, len, used, data, datalen);

	if (rv >= 0 && in_trailer && trailer_add(&body->trailer, in, *used) < 0)
		return -ENOMEM;
	body->complete = rv == 1;
	return rv < 0 ? rv : 0;
}

int
body_take(struct body *body, const uint8_t *in, size_t len, size_t *used,
    const uint8_t **data, size_t *datalen)
{
	*data = in;
	*used = *datalen = 0;
	if (body->complete)
		return 0;
	if (body->framing == HTTP1_CHUNKED)
		return take_chunked(body, in, len, used, data, datalen);
	if (body->framing == HTTP1_LENGTH)
		take_length(body, len, datalen);
	else
		*datalen = len;
	*used = *datalen;
	return 0;
}

int
body_trailer(const struct body *body, char **out, size_t *len)
{
	return trailer_write(&body->trailer, out, len);
}

bool
body_end(struct body *body)
{
	if (body->framing == HTTP1_UNTIL_CLOSE)
		body->complete = true;
	return body->complete;
}
