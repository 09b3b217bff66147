/*
 * A response between an origin and a client.
 *
 *	             interim
 *	             ┌─────┐
 *	stream ──▶ take_head ──▶ take_body ──▶ ended
 *	                │         │     ▲
 *	                ▼         ▼     └── the batch is written: consume
 *	              one batch of buffers ──▶ client
 *
 * There is at most one batch. libuv writes what the client's kernel does not
 * take at once, and until then nothing more is taken: so a slow client fills
 * the stream's window and stops its own origin, and no other.
 *
 * A header section is parsed in place; only one that came in pieces is gathered
 * in memory of its own. Content is never copied: the pieces that the stream
 * holds become one chunk, its size before them and CRLF after.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/local/http/response.h"
#include "proxy/local/http/rewrite.h"

/* The buffers of a batch; after the content comes the end. */
enum { BUF_HEAD, BUF_SIZE, BUF_CONTENT };

/* Bytes for a header section in pieces, at first; doubled as needed. */
#define GATHERED_FIRST 4096

/* The end of a chunk, and after it the end of a body. */
#define CHUNK_END "\r\n" CHUNKED_LAST
#define CHUNK_END_CRLF 2 /* bytes of it that belong to the chunk */

static int
fail(struct response *r, int error, const char *why)
{
	r->why = why;
	return error;
}

/* ---- The batch ---- */

static void
batch_clear(struct response_batch *b)
{
	free(b->head);
	free(b->trailer);
	memset(b, 0, sizeof(*b));
}

static void
batch_set(struct response_batch *b, size_t i, const void *data, size_t len)
{
	b->bufs[i].base = (char *)data;
	b->bufs[i].len = len;
	b->len += len;
}

static void
batch_done(struct response *r)
{
	r->written += r->batch.len;
	if (r->stream != NULL)
		stream_consume(r->stream, r->batch.consume);
	batch_clear(&r->batch);
}

/* No refusal can reach the client any more. */
static void
client_failed(struct response *r)
{
	r->answered = r->client_lost = true;
	fail(r, -EPIPE, "the client's connection failed");
}

static void
on_written(uv_write_t *request, int status)
{
	struct response *r = request->data;

	r->writing = false;
	if (status == 0)
		batch_done(r);
	else
		client_failed(r);
	r->on_written(r->arg);
}

/* The kernel has taken `done` bytes; libuv writes the rest. */
static int
write_rest(struct response *r, size_t done)
{
	struct response_batch *b = &r->batch;
	uv_buf_t *buf = b->bufs;
	int rv;

	for (; done >= buf->len; buf++)
		done -= buf->len;
	buf->base += done;
	buf->len -= done;
	r->write.data = r;
	rv = uv_write(&r->write, (uv_stream_t *)r->tcp, buf,
	    (unsigned)(&b->bufs[BUF_CONTENT + b->pieces + 1] - buf),
	    on_written);
	r->writing = rv == 0;
	return rv;
}

static void
batch_send(struct response *r)
{
	struct response_batch *b = &r->batch;
	int rv = 0;

	if (b->len > 0)
		rv = uv_try_write((uv_stream_t *)r->tcp, b->bufs,
		    (unsigned)(BUF_CONTENT + b->pieces + 1));
	if (rv == UV_EAGAIN)
		rv = 0;
	if (rv >= 0 && (size_t)rv < b->len)
		rv = write_rest(r, (size_t)rv);
	else if (rv >= 0)
		batch_done(r);
	if (rv < 0)
		client_failed(r);
}

/* ---- Header sections ---- */

static bool
make_room(struct response *r, size_t len)
{
	size_t size = r->gathered_size > 0 ? r->gathered_size : GATHERED_FIRST;
	char *grown;

	while (size < len)
		size *= 2;
	if (size == r->gathered_size)
		return true;
	if ((grown = realloc(r->gathered, size)) == NULL)
		return false;
	r->gathered = grown;
	r->gathered_size = size;
	return true;
}

static int
gather(struct response *r, const struct iovec *iov)
{
	size_t room = HTTP1_RESPONSE_HEAD_MAX - r->gathered_len;
	size_t n = iov->iov_len < room ? iov->iov_len : room;

	if (!make_room(r, r->gathered_len + n))
		return fail(r, -ENOMEM, "out of memory");
	memcpy(r->gathered + r->gathered_len, iov->iov_base, n);
	r->gathered_len += n;
	return 0;
}

static void
free_gathered(struct response *r)
{
	free(r->gathered);
	r->gathered = NULL;
	r->gathered_len = r->gathered_size = r->scanned = 0;
}

/* Sets the sentence for the user about a response that is of no use. */
static int __attribute__((format(printf, 3, 4)))
blame_origin(struct response *r, int error, const char *format, ...)
{
	static const char fault[] =
	    "; this is the fault of the site, whose operator can mend it";
	va_list ap;

	va_start(ap, format);
	vsnprintf(r->fault, sizeof(r->fault) - sizeof(fault), format, ap);
	va_end(ap);
	strcat(r->fault, fault);
	return fail(r, error, r->fault);
}

static int
cannot_read(struct response *r, int error, const char *why)
{
	return blame_origin(r, error, "the site's answer cannot be read: %s",
	    why);
}

/* The origin has closed its connection before the final response. */
static void
blame_early_close(struct response *r)
{
	if (!r->received)
		blame_origin(r, -ECONNRESET,
		    "it closed the connection without an answer");
	else if (r->gathered == NULL)
		blame_origin(r, -ECONNRESET,
		    "it closed the connection after "
		    "an interim response (%03d), without the final one",
		    r->interim);
	else
		blame_origin(r, -ECONNRESET, "the head was cut short");
}

/* Returns the length of the header section, 0 if it goes on, or an error. */
static int
parse_head(struct response *r, const struct iovec *iov,
    struct http1_response *resp)
{
	const char *buf = iov->iov_base;
	size_t len = iov->iov_len;
	int rv;

	if (r->gathered != NULL) {
		if ((rv = gather(r, iov)) < 0)
			return rv;
		buf = r->gathered;
		len = r->gathered_len;
	}
	rv = http1_response_parse(resp, buf, len, &r->scanned,
	    r->request->head_only);
	r->unrelated = rv <= 0 && r->interim == 0 &&
	    !http1_response_begins(buf, len);
	if (rv < 0)
		return cannot_read(r, rv, resp->head.why);
	if (rv == 0 && r->gathered == NULL)
		return gather(r, iov);
	return rv;
}

static int
put_head(struct response *r, const struct http1_response *resp, bool keep_alive)
{
	char text[REWRITE_HEAD_MAX];
	int len;

	len = rewrite_response(resp, r->request->minor, keep_alive, r->via,
	    text, sizeof(text));
	if (len < 0)
		return fail(r, len, "the head is too large");
	if ((r->batch.head = malloc((size_t)len)) == NULL)
		return fail(r, -ENOMEM, "out of memory");
	memcpy(r->batch.head, text, (size_t)len);
	batch_set(&r->batch, BUF_HEAD, r->batch.head, (size_t)len);
	return 0;
}

/* A 401 offers it (RFC 4559); a request that authenticates has begun it. */
static void
pin(struct response *r, const struct http1_response *resp)
{
	if (r->request->authenticates ||
	    (resp->status == 401 &&
		rewrite_authenticates(&resp->head, "www-authenticate")))
		r->pinned = true;
	r->handshake = r->request->authenticates && resp->status == 401;
}

/*
 * The origin does not ask for the body that the client holds back: nobody can
 * tell what the client sends next, that body or another request (RFC 9110,
 * section 10.1.1). So it has to use another connection for a request.
 */
static bool
is_declined(const struct response *r, const struct http1_response *resp)
{
	return resp->status >= 300 && r->request->body_held &&
	    !r->request->body.complete && r->interim != 100;
}

/*
 * After 417 a client repeats the request without the expectation (RFC 9110
 * §15.5.18). curl does so only if its connection stays, and then sends no body
 * first. The owner makes sure that nothing but this request follows.
 */
static bool
may_be_repeated(const struct response *r, const struct http1_response *resp)
{
	return resp->status == 417 && r->request->keep_alive && !r->pinned &&
	    resp->head.keep_alive;
}

/*
 * The client's connection outlives the origin's, unless the client has
 * authenticated that, or is still sending: then the origin decides about it.
 */
static bool
client_may_keep_alive(const struct response *r,
    const struct http1_response *resp)
{
	return r->request->keep_alive && !r->declined &&
	    (resp->head.keep_alive ||
		(r->request->body.complete && !r->pinned));
}

static int
switch_protocols(struct response *r, const struct http1_response *resp)
{
	if (!r->request->upgrades)
		return blame_origin(r, -EBADMSG,
		    "it switches to another "
		    "protocol (101), which the request does not ask for");
	r->answered = r->switched = put_head(r, resp, true) == 0;
	return r->answered ? 0 : -ENOMEM;
}

/* The origin has closed an idle connection, and says so (RFC 9110 §15.5.9). */
static bool
is_idle_timeout(const struct response *r, const struct http1_response *resp)
{
	return resp->status == 408 && !resp->head.keep_alive && r->interim == 0;
}

static int
answer(struct response *r, const struct http1_response *resp)
{
	bool keep_alive;

	if (r->reused && is_idle_timeout(r, resp)) {
		r->unrelated = true;
		return fail(r, -ECONNRESET, "it closed an idle connection");
	}
	if (resp->status == 101)
		return switch_protocols(r, resp);
	if (resp->status / 100 == 1) {
		r->interim = resp->status;
		return r->request->minor > 0 ? put_head(r, resp, true) : 0;
	}
	pin(r, resp);
	r->declined = is_declined(r, resp);
	r->repeat = r->declined && may_be_repeated(r, resp);
	r->declined = r->declined && !r->repeat;
	keep_alive = client_may_keep_alive(r, resp);
	r->framing = rewrite_framing(resp, r->request->minor);
	r->client_keep_alive = keep_alive && r->framing != HTTP1_UNTIL_CLOSE;
	r->origin_keep_alive = resp->head.keep_alive;
	body_init(&r->body, &resp->head);
	r->answered = put_head(r, resp, keep_alive) == 0;
	return r->answered ? 0 : -ENOMEM;
}

/*
 * The origin ended the connection within the header section. Some forget the
 * empty line after a redirection, which browsers follow. Anything else would
 * look whole to the client.
 */
static bool
take_cut_head(struct response *r)
{
	struct iovec end = { (char *)"\r\n", 2 };
	struct http1_response resp;

	if (r->gathered == NULL || r->gathered[r->gathered_len - 1] != '\n' ||
	    parse_head(r, &end, &resp) <= 0 || resp.status / 100 != 3) {
		blame_early_close(r);
		return false;
	}
	if (answer(r, &resp) < 0)
		return false;
	free_gathered(r);
	return true;
}

/* Takes a header section into the batch. False: there is none yet. */
static bool
take_head(struct response *r)
{
	struct http1_response resp;
	struct iovec iov;
	size_t before;
	int len;

	while (stream_peek(r->stream, &iov, 1) > 0) {
		r->received = true;
		before = r->gathered_len;
		len = parse_head(r, &iov, &resp);
		if (len < 0 || (len > 0 && answer(r, &resp) < 0))
			return false;
		if (len > 0) {
			stream_consume(r->stream, (size_t)len - before);
			free_gathered(r);
			return true;
		}
		stream_consume(r->stream, iov.iov_len);
	}
	return stream_ended(r->stream) && take_cut_head(r);
}

/* ---- The body ---- */

/* Blames the site if the client has nothing of the response yet. */
static void
fail_body(struct response *r, int error)
{
	char why[CHUNKED_WHY_MAX];

	chunked_why(&r->body.chunked, why);
	if (error == -ENOMEM)
		fail(r, error, "out of memory");
	else if (r->batch.head != NULL)
		cannot_read(r, error, why);
	else
		fail(r, error, "the chunked body is malformed");
}

/* Returns whether the batch has room for more. */
static bool
take_pieces(struct response *r, const struct iovec *iov)
{
	struct response_batch *b = &r->batch;
	const uint8_t *in = iov->iov_base, *end = in + iov->iov_len, *data;
	size_t used, len;
	int rv;

	for (; in < end && !r->body.complete; in += used) {
		if (b->pieces == RESPONSE_PIECES_MAX)
			return false;
		rv = body_take(&r->body, in, (size_t)(end - in), &used, &data,
		    &len);
		if (rv < 0) {
			fail_body(r, rv);
			return false;
		}
		b->consume += used;
		b->content += len;
		if (len > 0)
			batch_set(b, BUF_CONTENT + b->pieces++, data, len);
	}
	return !r->body.complete;
}

/* The end of a body with a trailer section, which goes before its CRLF. */
static int
put_trailer(struct response *r, const char *end, size_t end_len,
    const char *fields, size_t len)
{
	struct response_batch *b = &r->batch;
	size_t before = end_len - CHUNK_END_CRLF;

	if ((b->trailer = malloc(end_len + len)) == NULL)
		return -ENOMEM;
	memcpy(b->trailer, end, before);
	memcpy(b->trailer + before, fields, len);
	memcpy(b->trailer + before + len, end + before, CHUNK_END_CRLF);
	batch_set(b, BUF_CONTENT + b->pieces, b->trailer, end_len + len);
	return 0;
}

static void
put_end(struct response *r, const char *end, size_t end_len)
{
	char *fields;
	size_t len;
	int rv = body_trailer(&r->body, &fields, &len);

	if (rv == 0 && fields != NULL)
		rv = put_trailer(r, end, end_len, fields, len);
	else if (rv == 0)
		batch_set(&r->batch, BUF_CONTENT + r->batch.pieces, end,
		    end_len);
	if (rv < 0)
		fail(r, rv, "out of memory");
	free(fields);
}

static void
put_frame(struct response *r)
{
	struct response_batch *b = &r->batch;
	size_t from = b->content > 0 ? 0 : CHUNK_END_CRLF;

	if (r->framing != HTTP1_CHUNKED)
		return;
	if (b->content > 0)
		batch_set(b, BUF_SIZE, b->size,
		    chunked_format(b->size, b->content));
	if (r->ended)
		put_end(r, &CHUNK_END[from], sizeof(CHUNK_END) - 1 - from);
	else
		batch_set(b, BUF_CONTENT + b->pieces, &CHUNK_END[from],
		    CHUNK_END_CRLF - from);
}

/* The client gets the content before a fault, as without a proxy. */
static void
defer_failure(struct response *r)
{
	r->deferred_why = r->why;
	r->why = NULL;
}

/* Returns whether anything was taken: content, or the end of the body. */
static bool
take_body(struct response *r)
{
	struct iovec iov[RESPONSE_PIECES_MAX];
	size_t i, n;

	if (r->ended)
		return false;
	n = stream_peek(r->stream, iov, RESPONSE_PIECES_MAX);
	for (i = 0; i < n && take_pieces(r, &iov[i]); i++)
		continue;
	if (r->why == NULL && stream_ended(r->stream) && !body_end(&r->body))
		fail(r, -ECONNRESET, "the body was cut short");
	if (r->why != NULL && r->batch.content > 0)
		defer_failure(r);
	if (r->why != NULL || (r->batch.consume == 0 && !r->body.complete))
		return false;
	r->ended = r->body.complete;
	if (r->body.chunked.odd)
		r->origin_keep_alive = false;
	put_frame(r);
	return r->why == NULL;
}

/*
 * Fills the batch. A header section whose body fails before it has any content
 * is not sent: a refusal explains more.
 */
static bool
fill_batch(struct response *r)
{
	bool head, body;

	if (r->deferred_why != NULL) {
		r->why = r->deferred_why;
		return false;
	}
	head = !r->answered && take_head(r);
	body = r->answered && !r->switched && take_body(r);
	if (head && r->why != NULL)
		r->answered = false;
	return (head || body) && r->why == NULL;
}

/* ---- The functions of response.h ---- */

void
response_init(struct response *r, uv_tcp_t *tcp, void (*written)(void *arg),
    void *arg)
{
	r->tcp = tcp;
	r->on_written = written;
	r->arg = arg;
}

void
response_fini(struct response *r)
{
	free_gathered(r);
	batch_clear(&r->batch);
	body_fini(&r->body);
}

void
response_begin(struct response *r, const struct request *request)
{
	response_fini(r);
	r->received = r->unrelated = false;
	r->answered = r->switched = r->ended = false;
	r->declined = r->repeat = false;
	r->client_keep_alive = r->origin_keep_alive = false;
	r->interim = 0;
	r->why = r->deferred_why = NULL;
	r->request = request;
}

void
response_set_stream(struct response *r, struct stream *stream)
{
	r->stream = stream;
	r->pinned = false;
	r->why = r->deferred_why = NULL;
	if (r->answered)
		return;
	r->received = r->unrelated = false;
	free_gathered(r);
}

enum response_state
response_pump(struct response *r)
{
	while (r->why == NULL && !r->writing && fill_batch(r))
		batch_send(r);
	if (r->why != NULL)
		return RESPONSE_FAILED;
	return (r->ended || r->switched) && !r->writing ? RESPONSE_DONE
							: RESPONSE_PENDING;
}
