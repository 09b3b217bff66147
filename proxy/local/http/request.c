#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/http/request.h"
#include "proxy/local/http/rewrite.h"

/* Bytes that the chunked coding adds to a piece of content, at most. */
#define FRAME_MAX (CHUNKED_HEAD_MAX + 2 + sizeof(CHUNKED_LAST) - 1)

static bool
is_repeatable(const struct http1_request *req)
{
	static const char *const idempotent[] = {
		"GET",
		"HEAD",
		"OPTIONS",
		"TRACE",
		"PUT",
		"DELETE",
	};

	if (req->head.framing != HTTP1_NONE)
		return false;
	for (size_t i = 0; i < sizeof(idempotent) / sizeof(idempotent[0]); i++)
		if (slice_is(req->method, idempotent[i]))
			return true;
	return false;
}

/* The method, a space and the target, with a NUL. NULL: no memory. */
static char *
copy_line(const struct http1_request *req)
{
	char *line;

	if (asprintf(&line, "%.*s %.*s", (int)req->method.len, req->method.p,
		(int)req->path.len, req->path.p) < 0)
		return NULL;
	return line;
}

bool
request_is(const char *line, const struct http1_request *req)
{
	size_t method = req->method.len, path = req->path.len;

	return strlen(line) == method + 1 + path &&
	    memcmp(line, req->method.p, method) == 0 && line[method] == ' ' &&
	    memcmp(line + method + 1, req->path.p, path) == 0;
}

int
request_begin(struct request *r, const struct http1_request *req, bool via)
{
	char text[REWRITE_HEAD_MAX];
	int len;

	request_end(r);
	len = rewrite_request(req, via, text, sizeof(text));
	if (len < 0)
		return len;
	if ((r->head = malloc((size_t)len)) == NULL)
		return -ENOMEM;
	memcpy(r->head, text, (size_t)len);
	r->head_len = (size_t)len;
	r->head_sent = 0;
	r->keep_alive = req->head.keep_alive;
	r->repeatable = is_repeatable(req);
	r->upgrades = rewrite_upgrades(req);
	r->authenticates = rewrite_authenticates(&req->head, "authorization");
	r->head_only = slice_is(req->method, "HEAD");
	r->body_held = req->expect_continue;
	r->minor = req->head.minor;
	r->awaits_room = false;
	body_init(&r->body, &req->head);
	if (r->body_held && (r->line = copy_line(req)) == NULL) {
		request_end(r);
		return -ENOMEM;
	}
	return 0;
}

void
request_end(struct request *r)
{
	free(r->head);
	free(r->line);
	r->head = r->line = NULL;
	body_fini(&r->body);
}

void
request_rewind(struct request *r)
{
	r->head_sent = 0;
}

int
request_send_head(struct request *r, struct stream *stream)
{
	size_t n, room;
	void *out;

	while ((n = r->head_len - r->head_sent) > 0) {
		if ((out = stream_reserve(stream, &room)) == NULL)
			return stream_has_room(stream) ? -ENOMEM : 0;
		n = n < room ? n : room;
		memcpy(out, r->head + r->head_sent, n);
		stream_commit(stream, n);
		r->head_sent += n;
		r->written += n;
	}
	return 0;
}

bool
request_head_sent(const struct request *r)
{
	return r->head_sent == r->head_len;
}

bool
request_sent(const struct request *r)
{
	return request_head_sent(r) && r->body.complete;
}

static size_t
put(char *out, const void *data, size_t len)
{
	memcpy(out, data, len);
	return len;
}

/* Writes content with its framing. */
static size_t
put_content(const struct body *body, char *out, const uint8_t *data, size_t len)
{
	size_t n = 0;

	if (body->framing != HTTP1_CHUNKED || len == 0)
		return put(out, data, len);
	n = chunked_format(out, len);
	n += put(out + n, data, len);
	return n + put(out + n, "\r\n", 2);
}

/* The end of a body with a trailer section replaces the header section. */
static int
set_trailer(struct request *r, const char *fields, size_t len)
{
	char *text = malloc(sizeof(CHUNKED_LAST) - 1 + len);
	size_t n;

	if (text == NULL)
		return -ENOMEM;
	n = put(text, CHUNKED_LAST, CHUNKED_LAST_SIZE);
	n += put(text + n, fields, len);
	n += put(text + n, "\r\n", 2);
	free(r->head);
	r->head = text;
	r->head_len = n;
	r->head_sent = 0;
	return 0;
}

/* Writes the end of a chunked body, or leaves it to request_send_head(). */
static ssize_t
put_end(struct request *r, char *out)
{
	char *fields;
	size_t len;
	int rv;

	if (!r->body.complete || r->body.framing != HTTP1_CHUNKED)
		return 0;
	rv = body_trailer(&r->body, &fields, &len);
	if (rv < 0)
		return rv;
	if (fields == NULL)
		return (ssize_t)put(out, CHUNKED_LAST,
		    sizeof(CHUNKED_LAST) - 1);
	rv = set_trailer(r, fields, len);
	free(fields);
	return rv;
}

/* Moves one piece. Returns the bytes taken, 0 when there is no room. */
static ssize_t
feed_piece(struct request *r, struct stream *stream, const uint8_t *data,
    size_t len)
{
	const uint8_t *content;
	size_t content_len, n = 0, room, used;
	ssize_t rv;
	char *out;

	if ((out = stream_reserve(stream, &room)) == NULL)
		return stream_has_room(stream) ? -ENOMEM : 0;
	len = len < room - FRAME_MAX ? len : room - FRAME_MAX;
	rv = body_take(&r->body, data, len, &used, &content, &content_len);
	if (rv == 0) {
		n = put_content(&r->body, out, content, content_len);
		rv = put_end(r, out + n);
		n += rv > 0 ? (size_t)rv : 0;
	}
	stream_commit(stream, n);
	r->written += n;
	if (rv >= 0)
		rv = request_send_head(r, stream);
	return rv < 0 ? rv : (ssize_t)used;
}

ssize_t
request_feed(struct request *r, struct stream *stream, const uint8_t *data,
    size_t len)
{
	size_t taken = 0;
	ssize_t n;

	r->body_held = r->body_held && len == 0;
	while (taken < len && !r->body.complete) {
		n = feed_piece(r, stream, data + taken, len - taken);
		if (n < 0)
			return n;
		if (n == 0) {
			r->awaits_room = true;
			break;
		}
		taken += (size_t)n;
	}
	return (ssize_t)taken;
}
