/*
 * proxy/local/http/exchange.c and its halves, between a real socket and a fake
 * tunnel: the test is the edge and the origin, and their bytes arrive in pieces
 * of every size. Consumed bytes are overwritten, so that a write of them to the
 * client would be noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/http1/chunked.h"
#include "proxy/local/http/exchange.h"
#include "proxy/local/http/pinned.h"

#define BUFFER (4 * 1048576) /* bytes: more than any socket buffer here */
#define STREAMS_MAX (PINNED_MAX + 4)
#define ROOM 8192 /* bytes of one reservation */

/* ---- The fake tunnel ---- */

struct fake_stream {
	struct stream *owner;
	char *rx;
	size_t rx_begin, rx_end, grain;
	bool rx_fin;
	char *tx;
	size_t tx_len, tx_limit;
	bool finished, released, reset;
};

static struct fake_stream streams[STREAMS_MAX];
static size_t nstreams;
static struct tunnel_request *asked; /* for a tunnel, without an outcome */
static size_t grain; /* bytes of one vector, of streams to come */
static size_t room;  /* bytes that these take */

static void
attach(struct stream *stream)
{
	((struct fake_stream *)stream->provider)->owner = stream;
}

static size_t
peek(const void *provider, struct iovec *iov, size_t max)
{
	const struct fake_stream *s = provider;
	size_t at = s->rx_begin, n;

	for (n = 0; n < max && at < s->rx_end; n++) {
		size_t len = s->rx_end - at;

		iov[n].iov_base = s->rx + at;
		iov[n].iov_len = len < s->grain ? len : s->grain;
		at += iov[n].iov_len;
	}
	return n;
}

static void
consume(void *provider, size_t n)
{
	struct fake_stream *s = provider;

	assert_true(n <= s->rx_end - s->rx_begin);
	memset(s->rx + s->rx_begin, '#', n);
	s->rx_begin += n;
}

static bool
ended(const void *provider)
{
	const struct fake_stream *s = provider;

	return s->rx_fin && s->rx_begin == s->rx_end;
}

static bool
has_room(void *provider)
{
	const struct fake_stream *s = provider;

	return s->tx_len < s->tx_limit;
}

static void *
reserve(void *provider, size_t *len)
{
	struct fake_stream *s = provider;

	*len = ROOM;
	return has_room(s) ? s->tx + s->tx_len : NULL;
}

static void
commit(void *provider, size_t n)
{
	struct fake_stream *s = provider;

	assert_false(s->finished);
	assert_true(n <= ROOM);
	s->tx_len += n;
}

static void
finish(void *provider)
{
	((struct fake_stream *)provider)->finished = true;
}

static void
release(void *provider)
{
	struct fake_stream *s = provider;

	assert_false(s->released || s->reset);
	s->released = true;
}

static void
flush_and_reset(void *provider, enum stream_error error)
{
	struct fake_stream *s = provider;

	assert_int_equal(error, STREAM_CANCELLED);
	assert_false(s->released || s->reset);
	s->reset = true;
	memset(s->rx, '#', s->rx_end);
}

static const struct stream_ops fake_ops = {
	.attach = attach,
	.peek = peek,
	.consume = consume,
	.ended = ended,
	.has_room = has_room,
	.reserve = reserve,
	.commit = commit,
	.finish = finish,
	.release = release,
	.reset = flush_and_reset,
	.flush_and_reset = flush_and_reset,
};

static void
open_tunnel(void *provider, struct tunnel_request *t)
{
	(void)provider;
	assert_null(asked);
	asked = t;
}

static void
cancel(void *provider, struct tunnel_request *t)
{
	(void)provider;
	assert_ptr_equal(asked, t);
	if (stream_is_open(&t->stream))
		stream_reset(&t->stream, STREAM_CANCELLED);
	asked = NULL;
}

static const struct outbound_ops outbound_ops = {
	.open = open_tunnel,
	.cancel = cancel,
};

static struct outbound outbound = { .ops = &outbound_ops };
static const struct routes routes = { .edges = &outbound };

/* Sends the request; an earlier one, if any, is lost. */
static struct fake_stream *
ask(void)
{
	struct fake_stream *s = &streams[nstreams];

	assert_non_null(asked);
	if (stream_is_open(&asked->stream))
		stream_reset(&asked->stream, STREAM_CANCELLED);
	assert_true(nstreams++ < STREAMS_MAX);
	*s = (struct fake_stream){ .grain = grain,
		.rx = malloc(BUFFER),
		.tx = malloc(BUFFER),
		.tx_limit = room };
	asked->stream = (struct stream){ .ops = &fake_ops, .provider = s };
	asked->events->sent(asked->arg, &asked->stream);
	return s;
}

/* The edge grants the tunnel. */
static struct fake_stream *
grant(void)
{
	struct fake_stream *s = ask();
	struct tunnel_request *t = asked;
	struct stream stream;

	stream_move(&stream, &t->stream);
	asked = NULL;
	tunnel_request_opened(t, &stream);
	return s;
}

static bool
is_open(const struct fake_stream *s)
{
	return !s->released && !s->reset;
}

/* The origin sends, `step` bytes at a time. */
static void
origin_sends(struct fake_stream *s, const char *data, size_t len, size_t step)
{
	for (size_t i = 0, n; i < len && is_open(s); i += n) {
		n = len - i < step ? len - i : step;
		memcpy(s->rx + s->rx_end, data + i, n);
		s->rx_end += n;
		s->owner->events->readable(s->owner->arg);
	}
}

static void
origin_says(struct fake_stream *s, const char *text)
{
	origin_sends(s, text, strlen(text), strlen(text));
}

static void
origin_closes(struct fake_stream *s)
{
	s->rx_fin = true;
	if (is_open(s))
		s->owner->events->readable(s->owner->arg);
}

static void
origin_resets(struct fake_stream *s)
{
	s->owner->events->reset(s->owner->arg, "reset by the peer");
}

static void
connection_breaks(struct fake_stream *s)
{
	s->reset = true;
	memset(s->rx, '#', s->rx_end);
	stream_abort_owner(s->owner, STREAM_RESET, "reset by the peer");
}

/* ---- The client ---- */

enum outcome { NONE, KEPT, CLOSED, REFUSED, BROKEN, LEFT, SWITCHED };

static struct {
	uv_loop_t loop;
	uv_tcp_t tcp;
	int fd; /* the client's end of it */
	struct exchange *exchange;
	char *got;
	size_t got_len;
	enum outcome outcome;
	size_t writable, response_dropped, response_done;
	enum connect_error_type error;
	char refusal[CONNECT_ERROR_TEXT_MAX];
} client;

static void
on_writable(void *arg)
{
	assert_ptr_equal(arg, &client);
	client.writable++;
}

static void
on_done(void *arg, bool keep_alive)
{
	(void)arg;
	client.outcome = keep_alive ? KEPT : CLOSED;
}

static void
on_response_done(void *arg)
{
	(void)arg;
	client.response_done++;
}

static void
on_refused(void *arg, const struct connect_error *refusal)
{
	(void)arg;
	client.outcome = REFUSED;
	client.error = refusal->type;
	assert_true(exchange_unanswered(client.exchange));
	strcpy(client.refusal, refusal->text);
}

static void
on_truncated(void *arg, const char *reason)
{
	(void)arg;
	client.outcome = BROKEN;
	assert_non_null(reason);
	assert_false(exchange_unanswered(client.exchange));
	uv_close((uv_handle_t *)&client.tcp, NULL);
}

static void
on_moved(void *arg)
{
	(void)arg;
}

static void
on_switched(void *arg, struct stream *stream)
{
	(void)arg;
	assert_ptr_equal(stream->provider, &streams[nstreams - 1]);
	assert_true(exchange_request_complete(client.exchange));
	client.outcome = SWITCHED;
}

static void
on_pinned_closed(void *arg)
{
	(void)arg;
	client.outcome = LEFT;
}

static void
on_response_dropped(void *arg)
{
	(void)arg;
	client.response_dropped++;
}

static const struct exchange_events events = {
	.writable = on_writable,
	.moved = on_moved,
	.done = on_done,
	.response_done = on_response_done,
	.refused = on_refused,
	.truncated = on_truncated,
	.pinned_closed = on_pinned_closed,
	.switched = on_switched,
	.response_dropped = on_response_dropped,
};

static int
setup(void **state)
{
	int fd[2];

	(void)state;
	memset(&client, 0, sizeof(client));
	grain = BUFFER;
	room = BUFFER - ROOM;
	client.got = malloc(BUFFER);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) != 0)
		return -1;
	client.fd = fd[0];
	uv_loop_init(&client.loop);
	uv_tcp_init(&client.loop, &client.tcp);
	if (uv_tcp_open(&client.tcp, fd[1]) != 0)
		return -1;
	return exchange_new(&client.exchange, &client.tcp, &routes, 0, true,
	    &events, &client);
}

static int
teardown(void **state)
{
	(void)state;
	if (!uv_is_closing((uv_handle_t *)&client.tcp))
		uv_close((uv_handle_t *)&client.tcp, NULL);
	exchange_free(client.exchange);
	uv_run(&client.loop, UV_RUN_DEFAULT);
	if (asked != NULL || uv_loop_close(&client.loop) != 0)
		return -1;
	close(client.fd);
	free(client.got);
	for (size_t i = 0; i < nstreams; i++) {
		if (is_open(&streams[i]))
			return -1;
		free(streams[i].rx);
		free(streams[i].tx);
	}
	nstreams = 0;
	return 0;
}

static void
client_reads(void)
{
	ssize_t n;

	do {
		uv_run(&client.loop, UV_RUN_NOWAIT);
		n = read(client.fd, client.got + client.got_len,
		    BUFFER - client.got_len);
		if (n > 0)
			client.got_len += (size_t)n;
	} while (n > 0);
}

/* Returns how many bytes of the text were taken. */
static size_t
client_asks(const char *text)
{
	struct http1_request req;
	size_t scanned = 0;
	ssize_t n;
	int head;

	client.outcome = NONE;
	client.got_len = 0;
	head = http1_request_parse(&req, text, strlen(text), &scanned);
	assert_true(head > 0);
	assert_int_equal(exchange_request(client.exchange, &req), 0);
	if (asked != NULL)
		grant();
	n = exchange_feed(client.exchange, (const uint8_t *)text + head,
	    strlen(text) - (size_t)head);
	assert_true(n >= 0);
	exchange_fed(client.exchange);
	return (size_t)head + (size_t)n;
}

static void
assert_text(const char *got, size_t len, const char *expected)
{
	char *text = strndup(got, len);

	assert_string_equal(text, expected);
	free(text);
}

static void
assert_client_got(const char *expected)
{
	client_reads();
	assert_text(client.got, client.got_len, expected);
}

/* ---- One exchange, whatever the splits ---- */

#define HOST " HTTP/1.1\r\nHost: a.example\r\n"
#define GET "GET http://a.example/" HOST "\r\n"
#define GET_10 "GET http://a.example/ HTTP/1.0\r\n\r\n"
#define ORIGIN_GET "GET /" HOST VIA
#define ORIGIN_GET_10 \
	"GET / HTTP/1.1\r\nHost: a.example\r\nVia: 1.0 culvert\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\n"
#define VIA "Via: 1.1 culvert\r\n\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define CLOSE "Connection: close\r\n"
#define LENGTH_5 "Content-Length: 5\r\n"
#define RESPONSE OK LENGTH_5 "\r\nhello"
#define ANSWER OK LENGTH_5 VIA "hello"
#define POST_0 "POST http://a.example/" HOST "Content-Length: 0\r\n\r\n"
#define CONTINUE "HTTP/1.1 100 Continue\r\n"

enum then { STAYS, CLOSES, RESETS };

struct exchange {
	const char *name;
	const char *request;   /* of the client */
	const char *forwarded; /* to the origin */
	const char *response;  /* of the origin, which then ... */
	enum then then;
	const char *answer; /* all that the client gets, or only the head ... */
	const char
	    *content; /* ... and this, in chunks that follow the splits */
	enum outcome outcome;
	bool kept; /* the tunnel */
};

static const struct exchange exchanges[] = {
	{ "length", GET, ORIGIN_GET, OK LENGTH_5 "\r\nhello", STAYS,
	    OK LENGTH_5 VIA "hello", NULL, KEPT, true },
	{ "length, and the origin closes", GET, ORIGIN_GET,
	    OK LENGTH_5 CLOSE "\r\nhello", CLOSES, OK LENGTH_5 VIA "hello",
	    NULL, KEPT, false },
	{ "length, and the origin will close", GET, ORIGIN_GET,
	    OK LENGTH_5 CLOSE "\r\nhello", STAYS, OK LENGTH_5 VIA "hello", NULL,
	    KEPT, false },
	{ "no content", GET, ORIGIN_GET, OK "Content-Length: 0\r\n\r\n", STAYS,
	    OK "Content-Length: 0\r\n" VIA, NULL, KEPT, true },
	{ "chunked", GET, ORIGIN_GET,
	    OK CHUNKED "\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", STAYS,
	    OK CHUNKED VIA, "hello", KEPT, true },
	{ "chunked, to HTTP/1.0", GET_10, ORIGIN_GET_10,
	    OK CHUNKED "\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", STAYS,
	    OK CLOSE VIA "hello", NULL, CLOSED, true },
	{ "empty, chunked", GET, ORIGIN_GET, OK CHUNKED "\r\n0\r\n\r\n", STAYS,
	    OK CHUNKED VIA, "", KEPT, true },
	{ "until close", GET, ORIGIN_GET, OK "\r\nhello", CLOSES,
	    OK CHUNKED VIA, "hello", KEPT, false },
	{ "until close, to HTTP/1.0", GET_10, ORIGIN_GET_10, OK "\r\nhello",
	    CLOSES, OK CLOSE VIA "hello", NULL, CLOSED, false },
	{ "the client closes", "GET http://a.example/" HOST CLOSE "\r\n",
	    ORIGIN_GET, OK LENGTH_5 "\r\nhello", STAYS,
	    OK LENGTH_5 CLOSE VIA "hello", NULL, CLOSED, true },
	{ "HEAD", "HEAD http://a.example/" HOST "\r\n", "HEAD /" HOST VIA,
	    OK LENGTH_5 "\r\n", STAYS, OK LENGTH_5 VIA, NULL, KEPT, true },
	{ "204 with a length", GET, ORIGIN_GET,
	    "HTTP/1.1 204 No Content\r\n" LENGTH_5 "\r\n", STAYS,
	    "HTTP/1.1 204 No Content\r\n" VIA, NULL, KEPT, false },
	{ "204", GET, ORIGIN_GET, "HTTP/1.1 204 No Content\r\n\r\n", STAYS,
	    "HTTP/1.1 204 No Content\r\n" VIA, NULL, KEPT, true },
	{ "304", GET, ORIGIN_GET,
	    "HTTP/1.1 304 Not Modified\r\n" LENGTH_5 "\r\n", STAYS,
	    "HTTP/1.1 304 Not Modified\r\n" LENGTH_5 VIA, NULL, KEPT, true },
	{ "interim", GET, ORIGIN_GET,
	    CONTINUE "\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" OK LENGTH_5
		     "\r\nhello",
	    STAYS,
	    CONTINUE VIA
	    "HTTP/1.1 103 Early Hints\r\nA: b\r\n" VIA OK LENGTH_5 VIA "hello",
	    NULL, KEPT, true },
	{ "interim, to HTTP/1.0", GET_10, ORIGIN_GET_10,
	    CONTINUE "\r\n" OK LENGTH_5 "\r\nhello", STAYS,
	    OK LENGTH_5 CLOSE VIA "hello", NULL, CLOSED, true },
	{ "a body of a length",
	    "POST http://a.example/" HOST LENGTH_5 "\r\nhello",
	    "POST /" HOST LENGTH_5 VIA "hello", OK LENGTH_5 "\r\nhello", STAYS,
	    OK LENGTH_5 VIA "hello", NULL, KEPT, true },
	{ "a chunked body",
	    "POST http://a.example/" HOST CHUNKED
	    "\r\n0005;x\r\nhello\r\n1\r\n!\r\n0\r\nT: t\r\n\r\n",
	    "POST /" HOST CHUNKED VIA
	    "5\r\nhello\r\n1\r\n!\r\n0\r\nT: t\r\n\r\n",
	    OK LENGTH_5 "\r\nhello", STAYS, OK LENGTH_5 VIA "hello", NULL, KEPT,
	    true },
	{ "an answer before the body",
	    "POST http://a.example/" HOST LENGTH_5 "\r\nhel",
	    "POST /" HOST LENGTH_5 VIA "hel", OK LENGTH_5 "\r\nhello", STAYS,
	    OK LENGTH_5 VIA "hello", NULL, NONE, true },
	{ "an answer before the body, and the origin closes",
	    "POST http://a.example/" HOST LENGTH_5 "\r\nhel",
	    "POST /" HOST LENGTH_5 VIA "hel", OK "\r\nhello", CLOSES,
	    OK CHUNKED CLOSE VIA, "hello", NONE, true },
	{ "an answer before the body, and the origin resets",
	    "POST http://a.example/" HOST LENGTH_5 "\r\nhel",
	    "POST /" HOST LENGTH_5 VIA "hel", OK LENGTH_5 "\r\nhello", RESETS,
	    OK LENGTH_5 VIA "hello", NULL, CLOSED, false },
	{ "excess", GET, ORIGIN_GET, OK LENGTH_5 "\r\nhello!", STAYS,
	    OK LENGTH_5 VIA "hello", NULL, KEPT, false },
	{ "cut short", GET, ORIGIN_GET, OK LENGTH_5 "\r\nhell", CLOSES,
	    OK LENGTH_5 VIA "hell", NULL, BROKEN, false },
	{ "cut short by a reset", GET, ORIGIN_GET, OK "\r\nhell", RESETS,
	    OK CHUNKED VIA "4\r\nhell\r\n", NULL, BROKEN, false },
	{ "no answer", GET, ORIGIN_GET, "", CLOSES, "", NULL, REFUSED, false },
	{ "a reset", GET, ORIGIN_GET, "", RESETS, "", NULL, REFUSED, false },
	{ "half a head", GET, ORIGIN_GET, OK LENGTH_5, CLOSES, "", NULL,
	    REFUSED, false },
	{ "an interim answer only", GET, ORIGIN_GET, CONTINUE "\r\n", CLOSES,
	    CONTINUE VIA, NULL, REFUSED, false },
	{ "malformed", GET, ORIGIN_GET, "SSH-2.0-OpenSSH\r\n\r\n", STAYS, "",
	    NULL, REFUSED, false },
	{ "lines that end in LF", GET, ORIGIN_GET,
	    "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", STAYS,
	    OK LENGTH_5 VIA "hello", NULL, KEPT, false },
	{ "two framings", GET, ORIGIN_GET,
	    OK "Content-Length: 3\r\n" CHUNKED "\r\n5\r\nhello\r\n0\r\n\r\n",
	    STAYS, OK CHUNKED VIA, "hello", KEPT, false },
	{ "chunks that end in LF", GET, ORIGIN_GET,
	    OK CHUNKED "\r\n5  ;x\nhello\n0\n\n", STAYS, OK CHUNKED VIA,
	    "hello", KEPT, false },
	{ "padded chunks", GET, ORIGIN_GET,
	    OK CHUNKED "\r\n5  \r\nhello\r\n0 \r\n\r\n", STAYS, OK CHUNKED VIA,
	    "hello", KEPT, true },
	{ "101", GET, ORIGIN_GET, "HTTP/1.1 101 Hm\r\n\r\n", STAYS, "", NULL,
	    REFUSED, false },
};

/* Takes a chunked body out of its chunks, in place. */
static size_t
decode(char *body, size_t len)
{
	struct chunked c;
	const uint8_t *data;
	size_t at = 0, out = 0, n, used;
	int rv = 0;

	chunked_init(&c, false);
	while (rv == 0 && at < len) {
		rv = chunked_feed(&c, (uint8_t *)body + at, len - at, &used,
		    &data, &n);
		memmove(body + out, data, n);
		out += n;
		at += used;
	}
	assert_int_equal(rv, 1);
	assert_int_equal(at, len);
	return out;
}

static void
check_answer(const struct exchange *e, bool split)
{
	size_t head = strlen(e->answer);

	client_reads();
	if (e->content != NULL) {
		assert_true(client.got_len > head);
		client.got_len = head +
		    decode(client.got + head, client.got_len - head);
		assert_text(client.got, head, e->answer);
		assert_text(client.got + head, client.got_len - head,
		    e->content);
	} else if (e->then != RESETS || !split)
		assert_text(client.got, client.got_len, e->answer);
}

static void
run_exchange(const struct exchange *e, size_t vector, size_t step)
{
	struct fake_stream *s;

	assert_int_equal(setup(NULL), 0);
	grain = vector;
	client_asks(e->request);
	s = &streams[0];
	assert_text(s->tx, s->tx_len, e->forwarded);
	origin_sends(s, e->response, strlen(e->response), step);
	if (e->then == CLOSES)
		origin_closes(s);
	else if (e->then == RESETS)
		origin_resets(s);
	if (e->outcome != client.outcome)
		print_error("%s, pieces of %zu, %zu\n", e->name, vector, step);
	assert_int_equal(client.outcome, e->outcome);
	check_answer(e, vector < BUFFER || step < BUFFER);
	if (e->outcome != BROKEN)
		assert_int_equal(is_open(s), e->kept);
	assert_int_equal(nstreams, 1);
	assert_int_equal(teardown(NULL), 0);
}

static void
test_exchanges(void **state)
{
	static const size_t sizes[] = { 1, 2, 3, 7, 50, BUFFER };

	(void)state;
	for (size_t i = 0; i < sizeof(exchanges) / sizeof(exchanges[0]); i++)
		for (size_t j = 0; j < 6; j++)
			for (size_t k = 0; k < 6; k++)
				run_exchange(&exchanges[i], sizes[j], sizes[k]);
}

static void
exchange_over(struct fake_stream *s)
{
	origin_says(s, RESPONSE);
	assert_client_got(ANSWER);
	assert_int_equal(client.outcome, KEPT);
}

/* ---- An answer before the end of the request ---- */

#define EARLY "POST http://a.example/" HOST

/* More of a request's body; which may be its end. */
static void
client_sends(const char *text)
{
	assert_int_equal(exchange_feed(client.exchange, (const uint8_t *)text,
			     strlen(text)),
	    strlen(text));
	exchange_fed(client.exchange);
}

static void
test_early_answer(void **state)
{
	struct fake_stream *s = &streams[0];

	(void)state;
	client_asks(EARLY CHUNKED "\r\n3\r\nhel\r\n");
	origin_says(s, OK LENGTH_5 "\r\nhello");
	assert_client_got(OK LENGTH_5 VIA "hello");
	client_sends("2\r\nlo\r\n");
	assert_int_equal(client.outcome, NONE);
	client_sends("0\r\n\r\n");
	assert_int_equal(client.outcome, KEPT);
	assert_text(s->tx, s->tx_len,
	    "POST /" HOST CHUNKED VIA "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
	client_asks(GET);
	origin_says(s, OK LENGTH_5 "\r\nhello");
	assert_int_equal(client.outcome, KEPT);
	assert_int_equal(client.response_done, 0);
}

/* The origin announces its close, closes, and goes on reading. */
static void
test_early_answer_of_the_last(void **state)
{
	struct fake_stream *s = &streams[0];

	(void)state;
	client_asks(EARLY LENGTH_5 "\r\nhel");
	origin_says(s, OK LENGTH_5 CLOSE "\r\nhello");
	assert_client_got(OK LENGTH_5 CLOSE VIA "hello");
	assert_int_equal(client.response_done, 0);
	origin_closes(s);
	assert_int_equal(client.response_done, 1);
	client_sends("l");
	assert_int_equal(client.outcome, NONE);
	client_sends("o");
	assert_int_equal(client.outcome, CLOSED);
	assert_int_equal(client.response_done, 1);
	assert_true(s->finished && s->released);
}

/* It promised keep-alive and closed: no other request can be answered. */
static void
test_early_answer_and_close(void **state)
{
	(void)state;
	client_asks(EARLY LENGTH_5 "\r\nhel");
	origin_says(&streams[0], OK LENGTH_5 "\r\nhello");
	origin_closes(&streams[0]);
	assert_int_equal(client.response_done, 1);
	client_sends("lo");
	assert_int_equal(client.outcome, CLOSED);
}

/* Where only the end of the connection ends the body, it comes at once. */
static void
test_early_answer_to_http_1_0(void **state)
{
	(void)state;
	client_asks("POST http://a.example/ HTTP/1.0\r\n" LENGTH_5 "\r\nhel");
	origin_says(&streams[0], OK CHUNKED "\r\n1\r\nx\r\n0\r\n\r\n");
	assert_int_equal(client.response_done, 1);
	client_sends("lo");
	assert_int_equal(client.outcome, CLOSED);
}

static void
test_early_answer_and_the_end_of_the_connection(void **state)
{
	(void)state;
	client_asks(EARLY LENGTH_5 "\r\nhel");
	origin_says(&streams[0], OK LENGTH_5 "\r\nhello");
	connection_breaks(&streams[0]);
	assert_int_equal(client.outcome, CLOSED);
	assert_int_equal(exchange_feed(client.exchange, (const uint8_t *)"l",
			     1),
	    0);
}

/* The origin takes no more: there is no reason to go on. */
static void
test_early_answer_and_stop(void **state)
{
	struct fake_stream *s = &streams[0];

	(void)state;
	client_asks(EARLY LENGTH_5 "\r\nhel");
	origin_says(s, OK LENGTH_5 "\r\nhello");
	s->owner->events->stopped(s->owner->arg);
	assert_int_equal(client.outcome, CLOSED);
	assert_true(s->reset);
}

/* The head has yet to leave when the answer is complete. */
static void
test_early_answer_before_the_head(void **state)
{
	struct http1_request req;
	size_t scanned = 0;
	struct fake_stream *s;

	(void)state;
	http1_request_parse(&req, POST_0, strlen(POST_0), &scanned);
	assert_int_equal(exchange_request(client.exchange, &req), 0);
	room = 0;
	s = grant();
	origin_says(s, OK LENGTH_5 "\r\nhello");
	assert_int_equal(client.outcome, NONE);
	s->tx_limit = BUFFER - ROOM;
	s->owner->events->writable(s->owner->arg);
	assert_int_equal(client.outcome, KEPT);
}

#define EXPECTS EARLY "Expect: 100-continue\r\n" LENGTH_5 "\r\n"
#define FAILED "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n"

static bool
may_follow(const char *text)
{
	struct http1_request req;
	size_t scanned = 0;

	assert_true(http1_request_parse(&req, text, strlen(text), &scanned) >
	    0);
	return exchange_may_follow(client.exchange, &req);
}

/* The client may send the request again, once, and nothing else. */
static void
test_expectation_fails(void **state)
{
	(void)state;
	client_asks(EXPECTS);
	origin_says(&streams[0], FAILED "\r\n");
	assert_client_got(FAILED VIA);
	assert_int_equal(client.outcome, KEPT);
	assert_true(streams[0].reset);
	assert_false(exchange_may_follow(client.exchange, NULL));
	assert_false(may_follow(GET));
	assert_false(may_follow("POST http://a.example/x" HOST "\r\n"));
	assert_false(may_follow("POST http://b.example/" HOST "\r\n"));
	assert_false(may_follow("POST http://a.example:8/" HOST "\r\n"));
	assert_false(may_follow("POST /" HOST "\r\n"));
	assert_false(may_follow("CONNECT a.example:80" HOST "\r\n"));
	assert_true(may_follow(EARLY LENGTH_5 "\r\n"));
	client_asks(EARLY LENGTH_5 "\r\nhello");
	assert_text(streams[1].tx, streams[1].tx_len,
	    "POST /" HOST LENGTH_5 VIA "hello");
	origin_says(&streams[1], RESPONSE);
	assert_client_got(OK LENGTH_5 CLOSE VIA "hello");
	assert_int_equal(client.outcome, CLOSED);
}

/* The client has not waited for it. */
static void
test_expectation_fails_late(void **state)
{
	(void)state;
	client_asks(EXPECTS "hel");
	origin_says(&streams[0], FAILED "\r\n");
	assert_int_equal(client.outcome, NONE);
	client_sends("lo");
	assert_int_equal(client.outcome, KEPT);
	assert_true(may_follow(GET));
}

/* Then there is no connection for the client to repeat it on. */
static void
test_expectation_fails_at_the_end(void **state)
{
	(void)state;
	client_asks(EXPECTS);
	origin_says(&streams[0], FAILED CLOSE "\r\n");
	assert_client_got(FAILED CLOSE VIA);
	origin_closes(&streams[0]);
	assert_int_equal(client.response_done, 1);
}

/* ---- Trailers ---- */

#define LAST "0\r\n"
#define POST_CHUNKED EARLY CHUNKED "\r\n5\r\nhello\r\n"
#define ORIGIN_POST_CHUNKED "POST /" HOST CHUNKED VIA "5\r\nhello\r\n"

/* What arrives, and what is forwarded of it; NULL if it ends the exchange. */
static const struct {
	const char *in;
	const char *response, *request;
} trailers[] = {
	{ "\r\n", "\r\n", "\r\n" },
	{ "A: b\r\nC:d\r\n\r\n", "A: b\r\nC: d\r\n\r\n",
	    "A: b\r\nC: d\r\n\r\n" },
	{ "Host: x\r\nA: b\r\nContent-Length: 5\r\n"
	  "Transfer-Encoding: chunked\r\nAuthorization: x\r\n"
	  "Set-Cookie: x\r\nContent-Type: x\r\nTrailer: x\r\n\r\n",
	    "A: b\r\n\r\n", "A: b\r\n\r\n" },
	{ "Connection: x\r\nKeep-Alive: x\r\nTE: x\r\nUpgrade: x\r\n"
	  "Proxy-Authorization: x\r\n\r\n",
	    "\r\n", "\r\n" },
	{ "A: b\n c\nD : e\nno field\n\n", "A: b c\r\nD: e\r\n\r\n", NULL },
	{ "A: b\r\n c\r\n\r\n", "A: b c\r\n\r\n", NULL },
	{ "A: b\x01\r\n\r\n", "A: b \r\n\r\n", NULL },
	{ "A : b\r\n\r\n", "A: b\r\n\r\n", NULL },
};

static void
run_response_trailer(size_t row, size_t step)
{
	char text[400], expected[400];
	struct fake_stream *s = &streams[0];

	assert_int_equal(setup(NULL), 0);
	grain = step;
	snprintf(text, sizeof(text), OK CHUNKED "\r\n" LAST "%s",
	    trailers[row].in);
	snprintf(expected, sizeof(expected), OK CHUNKED VIA LAST "%s",
	    trailers[row].response);
	client_asks(GET);
	origin_sends(s, text, strlen(text), step);
	assert_client_got(expected);
	assert_int_equal(client.outcome, KEPT);
	assert_int_equal(teardown(NULL), 0);
}

/* In steps, and with no more room than the head has taken: then there is. */
static void
run_request_trailer(size_t row, size_t step)
{
	const uint8_t *in = (const uint8_t *)trailers[row].in;
	size_t len = strlen(trailers[row].in), n, taken;
	struct fake_stream *s = &streams[0];
	char expected[400];

	assert_int_equal(setup(NULL), 0);
	client_asks(POST_CHUNKED LAST);
	for (taken = 0; taken < len; taken += n) {
		n = step < len - taken ? step : len - taken;
		if (exchange_feed(client.exchange, in + taken, n) < 0)
			break;
	}
	if (trailers[row].request != NULL) {
		snprintf(expected, sizeof(expected),
		    ORIGIN_POST_CHUNKED LAST "%s", trailers[row].request);
		assert_text(s->tx, s->tx_len, expected);
		exchange_over(s);
	} else
		assert_true(taken < len && s->reset);
	assert_int_equal(teardown(NULL), 0);
}

static void
test_trailers(void **state)
{
	static const size_t steps[] = { 1, 2, 7, 1000 };

	(void)state;
	for (size_t i = 0; i < sizeof(trailers) / sizeof(trailers[0]); i++)
		for (size_t j = 0; j < 4; j++) {
			run_response_trailer(i, steps[j]);
			run_request_trailer(i, steps[j]);
		}
}

/* Fields that Connection names are for this hop only. */
static void
test_trailers_of_one_hop(void **state)
{
	(void)state;
	client_asks(GET);
	origin_says(&streams[0],
	    OK CHUNKED "Connection: keep-alive, X-Hop\r\n"
		       "\r\n" LAST "x-hop: 1\r\nX-Hop2: 2\r\n\r\n");
	assert_client_got(OK CHUNKED VIA LAST "X-Hop2: 2\r\n\r\n");
	assert_int_equal(client.outcome, KEPT);
}

/* After the answer, when there is room: more than a reservation has. */
static void
test_trailers_wait_for_room(void **state)
{
	struct fake_stream *s = &streams[0];
	char text[8010] = LAST;

	(void)state;
	for (size_t i = strlen(LAST); i < 8000; i += strlen("A:b\r\n"))
		strcpy(text + i, "A:b\r\n\r\n");
	client_asks(POST_CHUNKED);
	origin_says(s, RESPONSE);
	assert_int_equal(client.outcome, NONE);
	s->tx_limit = s->tx_len + 1;
	client_sends(text);
	assert_int_equal(client.outcome, NONE);
	s->tx_limit = BUFFER - ROOM;
	s->owner->events->writable(s->owner->arg);
	assert_int_equal(client.outcome, KEPT);
	assert_memory_equal(s->tx + s->tx_len - 10, "\r\nA: b\r\n\r\n", 10);
}

/* No more is kept than the limit of chunked.h. */
static void
test_trailers_too_long(void **state)
{
	size_t len = CHUNKED_TRAILER_MAX + 10;
	char *text = malloc(len + 1);

	(void)state;
	memset(text, 'a', len);
	text[1] = ':';
	text[len] = '\0';
	client_asks(GET);
	origin_says(&streams[0], OK CHUNKED "\r\n" LAST);
	origin_says(&streams[0], text);
	assert_int_equal(client.outcome, BROKEN);
	free(text);
}

/* ---- Other protocols ---- */

#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\n"
#define FRAMES "two frames"

/* However the bytes are split, and when one side is ahead of the other. */
static void
test_upgrade(void **state)
{
	static const char request[] = "GET http://a.example/" HOST UPGRADE
				      "\r\n" FRAMES;
	static const size_t sizes[] = { 1, 2, 7, 50, BUFFER };
	struct fake_stream *s = &streams[0];

	(void)state;
	for (size_t i = 0; i < 5; i++)
		for (size_t j = 0; j < 5; j++) {
			assert_int_equal(setup(NULL), 0);
			grain = sizes[i];
			assert_int_equal(client_asks(request),
			    strlen(request) - strlen(FRAMES));
			assert_text(s->tx, s->tx_len, "GET /" HOST UPGRADE VIA);
			origin_sends(s, SWITCHING UPGRADE "\r\n",
			    strlen(SWITCHING UPGRADE "\r\n") - 1, sizes[j]);
			memcpy(s->rx + s->rx_end, "\n" FRAMES,
			    strlen("\n" FRAMES));
			s->rx_end += strlen("\n" FRAMES);
			s->owner->events->readable(s->owner->arg);
			assert_int_equal(client.outcome, SWITCHED);
			assert_client_got(SWITCHING UPGRADE VIA);
			assert_text(s->rx + s->rx_begin,
			    s->rx_end - s->rx_begin, FRAMES);
			assert_true(is_open(s));
			release(s);
			assert_int_equal(teardown(NULL), 0);
		}
}

static void
test_upgrade_ignored(void **state)
{
	static const char request[] = "GET http://a.example/" HOST UPGRADE
				      "\r\n";

	(void)state;
	client_asks(request);
	origin_says(&streams[0], RESPONSE);
	assert_int_equal(client.outcome, KEPT);
	client_reads();
	client_asks(request);
	origin_says(&streams[0],
	    "HTTP/1.1 426 No\r\n" UPGRADE LENGTH_5 "\r\nhello");
	assert_client_got("HTTP/1.1 426 No\r\n" UPGRADE LENGTH_5 VIA "hello");
	assert_int_equal(client.outcome, KEPT);
	assert_int_equal(nstreams, 1);
}

/* The rest of the request comes first, framed as it is. */
static void
test_upgrade_before_the_body(void **state)
{
	struct fake_stream *s = &streams[0];

	(void)state;
	client_asks("POST http://a.example/" HOST UPGRADE CHUNKED
		    "\r\n3\r\nhel");
	origin_says(s, SWITCHING UPGRADE "\r\n" FRAMES);
	assert_client_got(SWITCHING UPGRADE VIA);
	assert_int_equal(client.outcome, NONE);
	client_sends("\r\n0\r\n\r\n");
	assert_int_equal(client.outcome, SWITCHED);
	assert_text(s->rx + s->rx_begin, s->rx_end - s->rx_begin, FRAMES);
	release(s);
}

static void
test_upgrade_and_reset(void **state)
{
	(void)state;
	client_asks("POST http://a.example/" HOST UPGRADE LENGTH_5 "\r\nhel");
	origin_says(&streams[0], SWITCHING UPGRADE "\r\n");
	origin_resets(&streams[0]);
	assert_int_equal(client.outcome, BROKEN);
}

static void
test_unasked_upgrade(void **state)
{
	(void)state;
	client_asks(
	    "GET http://a.example/" HOST "Upgrade: h2c\r\n"
	    "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n"
	    "\r\n");
	assert_text(streams[0].tx, streams[0].tx_len, ORIGIN_GET);
	origin_says(&streams[0], SWITCHING "Upgrade: h2c\r\n\r\n");
	assert_int_equal(client.outcome, REFUSED);
}

/* ---- Several exchanges, and which tunnel each takes ---- */

#define POST "POST http://a.example/" HOST LENGTH_5 "\r\nhello"

static void
test_reuse(void **state)
{
	(void)state;
	client_asks(POST);
	exchange_over(&streams[0]);
	client_asks("GET http://A.EXAMPLE:80/" HOST "\r\n");
	exchange_over(&streams[0]);
	assert_int_equal(nstreams, 1);
}

static void
test_another_origin(void **state)
{
	(void)state;
	client_asks(GET);
	exchange_over(&streams[0]);
	client_asks("GET http://a.example:8080/" HOST "\r\n");
	assert_true(streams[0].released && streams[0].finished);
	exchange_over(&streams[1]);
}

/* It is unknown whether the origin has received it before the close. */
static void
test_no_reuse_for_post(void **state)
{
	(void)state;
	client_asks(GET);
	exchange_over(&streams[0]);
	client_asks(POST);
	assert_true(streams[0].released);
	exchange_over(&streams[1]);
	client_asks("PUT http://a.example/" HOST LENGTH_5 "\r\nhello");
	assert_true(streams[1].released);
	exchange_over(&streams[2]);
}

static void
test_tunnel_ends_with_response(void **state)
{
	(void)state;
	client_asks(GET);
	streams[0].rx_fin = true;
	exchange_over(&streams[0]);
	assert_true(streams[0].released && streams[0].finished);
	client_asks(GET);
	exchange_over(&streams[1]);
}

static void
test_idle_tunnel_ends(void **state)
{
	(void)state;
	client_asks(GET);
	exchange_over(&streams[0]);
	origin_closes(&streams[0]);
	assert_true(streams[0].released);
	client_asks(GET);
	exchange_over(&streams[1]);
	origin_resets(&streams[1]);
	client_asks(GET);
	exchange_over(&streams[2]);
	origin_says(&streams[2], "HTTP/1.1 408 Too Late\r\n\r\n");
	assert_true(streams[2].reset);
	client_asks(GET);
	exchange_over(&streams[3]);
}

static void
test_stale_tunnel(void **state)
{
	(void)state;
	client_asks(GET);
	exchange_over(&streams[0]);
	client_asks(GET);
	origin_closes(&streams[0]);
	assert_int_equal(client.outcome, NONE);
	grant();
	assert_text(streams[1].tx, streams[1].tx_len, ORIGIN_GET);
	exchange_over(&streams[1]);
	client_asks(GET);
	origin_resets(&streams[1]);
	assert_int_equal(client.outcome, NONE);
	grant();
	origin_closes(&streams[2]);
	assert_int_equal(client.outcome, REFUSED);
	assert_int_equal(client.error, CONNECT_ERROR_HTTP_RESPONSE_INCOMPLETE);
	assert_string_equal(client.refusal,
	    "a.example:80: it closed the connection without an answer; this "
	    "is the fault of the site, whose operator can mend it");
	assert_int_equal(nstreams, 3);
}

/* After half a response the request is not repeated: it could act twice. */
static void
test_stale_but_seen(void **state)
{
	(void)state;
	client_asks(GET);
	exchange_over(&streams[0]);
	client_asks(GET);
	origin_says(&streams[0], "H");
	origin_closes(&streams[0]);
	assert_int_equal(client.outcome, REFUSED);
	assert_null(asked);
}

/*
 * Bytes about the last response that arrive after the next request was sent are
 * no response to that.
 */
static void
test_stale_bytes(void **state)
{
	static const struct {
		const char *late;
		bool closes, asked_again;
	} rows[] = {
		{ "hello, world", false, true },
		{ "helloHTTP/1.1 200 OK\r\n\r\n", false, true },
		{ "5\r\nhello\r\n0\r\n\r\n", false, true },
		{ "<p>", true, true },
		{ "hello", true, true },
		{ "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
		  "\r\n",
		    true, true },
		{ "Hello, world", false, true },
		{ "HTTP/1.1 408 Request Timeout\r\n" LENGTH_5 "\r\nhello",
		    false, false },
		{ "HTTP/1.1 200 OK\r\n" LENGTH_5 "\r\nhello", false, false },
		{ "\r\n\r\nHTTP/1.1 200 OK\r\n" LENGTH_5 "\r\nhello", false,
		    false },
		{ "HTTP/1.1 2", true, false },
		{ "HTTP/1.1 103 Early Hints\r\n\r\nhello, world", false,
		    false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(setup(NULL), 0);
		client_asks("HEAD http://a.example/" HOST "\r\n");
		origin_says(&streams[0], OK LENGTH_5 "\r\n");
		assert_int_equal(client.outcome, KEPT);
		client_reads();
		client_asks(GET);
		assert_int_equal(nstreams, 1);
		origin_says(&streams[0], rows[i].late);
		if (rows[i].closes)
			origin_closes(&streams[0]);
		assert_int_equal(asked != NULL, rows[i].asked_again);
		assert_int_equal(client.outcome == NONE, rows[i].asked_again);
		if (rows[i].asked_again) {
			grant();
			exchange_over(&streams[1]);
			assert_text(streams[1].tx, streams[1].tx_len,
			    ORIGIN_GET);
		}
		assert_int_equal(teardown(NULL), 0);
	}
}

/* ---- Connections that the client has authenticated ---- */

#define AT(host) "http://" host "/ HTTP/1.1\r\nHost: x\r\n"
#define UNAUTHORIZED "HTTP/1.1 401 Unauthorized\r\n"
#define NTLM "WWW-Authenticate: NTLM\r\n"

/* One exchange with `host`; the origin's answer has no content. */
static void
exchange(const char *request, struct fake_stream *s, const char *answer)
{
	client_asks(request);
	assert_false(s->finished || s->reset);
	origin_says(s, answer);
	origin_says(s, "Content-Length: 0\r\n\r\n");
	assert_int_equal(client.outcome, KEPT);
	client_reads();
}

static void
test_pinned(void **state)
{
	static const struct {
		const char *request, *answer;
		bool pinned;
	} rows[] = {
		{ "", UNAUTHORIZED NTLM, true },
		{ "", UNAUTHORIZED "www-authenticate: ntlm TlRMTVNT\r\n",
		    true },
		{ "", UNAUTHORIZED "WWW-Authenticate: Negotiate oRQw\r\n",
		    true },
		{ "",
		    UNAUTHORIZED
		    "WWW-Authenticate: Basic realm=\"a, b\"\r\n" NTLM,
		    true },
		{ "",
		    UNAUTHORIZED
		    "WWW-Authenticate: Basic realm=x, NEGOTIATE\r\n",
		    true },
		{ "Authorization: ntlm TlRMTVNT\r\n", OK, true },
		{ "Authorization: Negotiate YII\r\n", UNAUTHORIZED, true },
		{ "", UNAUTHORIZED "WWW-Authenticate: Basic realm=ntlm\r\n",
		    false },
		{ "Authorization: Basic bnRsbTp4\r\n", OK, false },
		{ "", OK NTLM, false },
		{ "", UNAUTHORIZED "X: NTLM\r\n", false },
	};
	char request[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(setup(NULL), 0);
		snprintf(request, sizeof(request),
		    "GET http://a.example/" HOST "%s\r\n", rows[i].request);
		exchange(request, &streams[0], rows[i].answer);
		exchange(POST_0, &streams[rows[i].pinned ? 0 : 1], OK);
		assert_int_equal(nstreams, rows[i].pinned ? 1 : 2);
		assert_int_equal(teardown(NULL), 0);
	}
}

/* Other origins meanwhile, some of which are authenticated, too. */
static void
test_pinned_meanwhile(void **state)
{
	(void)state;
	exchange(GET, &streams[0], UNAUTHORIZED NTLM);
	exchange("POST " AT("b") "Content-Length: 0\r\n\r\n", &streams[1],
	    UNAUTHORIZED NTLM);
	exchange("GET " AT("c") "\r\n", &streams[2], OK);
	exchange(POST_0, &streams[0], OK);
	assert_true(streams[2].released);
	exchange("GET " AT("b") "\r\n", &streams[1], OK);
	exchange(POST_0, &streams[0], OK);
	assert_int_equal(nstreams, 3);
}

#define AUTHORIZATION "Authorization: NTLM TlRMTVNT\r\n"

/*
 * Stores one pinned connection after the other, with handshakes on them or not.
 */
static void
ask_many(size_t handshakes)
{
	char request[200];

	for (size_t i = 0; i < PINNED_MAX + 2; i++) {
		snprintf(request, sizeof(request),
		    "GET http://h%zu.example/ "
		    "HTTP/1.1\r\nHost: x\r\n%s\r\n",
		    i, i < handshakes ? AUTHORIZATION : "");
		exchange(request, &streams[i], UNAUTHORIZED NTLM);
	}
}

/* The one that is unused for longest is dropped, and none in mid-handshake. */
static void
test_pinned_too_many(void **state)
{
	static const struct {
		size_t handshakes, gone;
	} rows[] = { { 0, 0 }, { 1, 1 }, { 3, 3 },
		{ PINNED_MAX - 1, PINNED_MAX - 1 }, { PINNED_MAX, 0 },
		{ PINNED_MAX + 2, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(setup(NULL), 0);
		ask_many(rows[i].handshakes);
		for (size_t n = 0; n < PINNED_MAX + 2; n++)
			assert_int_equal(streams[n].released,
			    n == rows[i].gone);
		exchange("POST " AT("h2.example") AUTHORIZATION
		    "Content-Length: 0\r\n\r\n",
		    &streams[2], OK);
		assert_int_equal(teardown(NULL), 0);
	}
}

/* The client must notice it, as without a proxy. */
static void
test_pinned_ends(void **state)
{
	static void (*const ends[])(struct fake_stream *) = { origin_closes,
		origin_resets, connection_breaks };

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < 3; j++) {
			assert_int_equal(setup(NULL), 0);
			exchange(GET, &streams[0], UNAUTHORIZED NTLM);
			if (j == 1) /* it is put aside */
				exchange("GET " AT("b") "\r\n", &streams[1],
				    OK);
			else if (j == 2) /* a request is on its way */
				client_asks(GET);
			ends[i](&streams[0]);
			assert_int_equal(client.outcome, LEFT);
			assert_null(asked);
			assert_int_equal(teardown(NULL), 0);
		}
}

/* A response that is under way to another origin is finished first. */
static void
test_pinned_ends_meanwhile(void **state)
{
	(void)state;
	exchange(GET, &streams[0], UNAUTHORIZED NTLM);
	client_asks("GET " AT("b") "\r\n");
	origin_closes(&streams[0]);
	assert_int_equal(client.outcome, NONE);
	origin_says(&streams[1], RESPONSE);
	assert_client_got(ANSWER);
	assert_int_equal(client.outcome, CLOSED);
}

static void
test_pinned_closes(void **state)
{
	(void)state;
	client_asks(GET);
	origin_says(&streams[0], UNAUTHORIZED NTLM CLOSE LENGTH_5 "\r\nhello");
	assert_client_got(UNAUTHORIZED NTLM
	    "Proxy-Support: Session-Based-Authentication\r\n"
	    "Connection: Proxy-Support\r\n" LENGTH_5 CLOSE VIA "hello");
	assert_int_equal(client.outcome, CLOSED);
}

static void
test_pipelined(void **state)
{
	const char *both = POST GET;
	size_t taken;

	(void)state;
	taken = client_asks(both);
	assert_int_equal(taken, strlen(POST));
	assert_true(exchange_request_complete(client.exchange));
	exchange_over(&streams[0]);
	client_asks(both + taken);
	exchange_over(&streams[0]);
}

/* Begins an exchange, and leaves the edge to the test. */
static void
request(const char *text)
{
	struct http1_request req;
	size_t scanned = 0;

	http1_request_parse(&req, text, strlen(text), &scanned);
	assert_int_equal(exchange_request(client.exchange, &req), 0);
}

/* The request is lost twice before it comes to an answer. */
static void
test_goes_ahead(void **state)
{
	struct fake_stream *s;

	(void)state;
	request(GET);
	for (int i = 0; i < 2; i++) {
		s = ask();
		assert_text(s->tx, s->tx_len, ORIGIN_GET);
		assert_false(asked->no_retry);
	}
	s = grant();
	assert_text(s->tx, s->tx_len, ORIGIN_GET);
	exchange_over(s);
}

static void
test_post_stays_behind(void **state)
{
	struct fake_stream *s;

	(void)state;
	request(POST);
	s = ask();
	assert_int_equal(s->tx_len, 0);
	s = grant();
	assert_memory_equal(s->tx, "POST", 4);
}

static void
test_edge_refuses(void **state)
{
	struct connect_error refusal = { .type = CONNECT_ERROR_DNS_ERROR,
		.text = "no" };
	struct tunnel_request *t;

	(void)state;
	request(GET);
	t = asked;
	asked = NULL;
	tunnel_request_refused(t, &refusal);
	assert_int_equal(client.outcome, REFUSED);
	assert_int_equal(client.error, CONNECT_ERROR_DNS_ERROR);
	assert_string_equal(client.refusal, "no");
}

/* ---- Pace ---- */

static void
test_slow_origin(void **state)
{
	const char *head = "PUT http://a.example/" HOST CHUNKED "\r\n";
	const char *body = "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
	size_t at = 0, len = strlen(body);
	struct fake_stream *s;

	(void)state;
	client_asks(head);
	s = &streams[0];
	s->tx_len = 0;
	while (at < len) {
		s->tx_limit = s->tx_len;
		assert_int_equal(exchange_feed(client.exchange,
				     (const uint8_t *)body + at, len - at),
		    0);
		s->tx_limit = BUFFER - ROOM;
		client.writable = 0;
		s->owner->events->writable(s->owner->arg);
		assert_int_equal(client.writable, 1);
		assert_int_equal(exchange_feed(client.exchange,
				     (const uint8_t *)body + at++, 1),
		    1);
	}
	assert_text(s->tx, s->tx_len,
	    "1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n");
	exchange_over(s);
}

/* More than one reservation takes, in one chunk. */
static void
test_large_body(void **state)
{
	const char *size = "186a0\r\n";
	size_t len = 100000, head;
	char *body = malloc(len);
	struct fake_stream *s;

	(void)state;
	memset(body, 'x', len);
	client_asks("PUT http://a.example/" HOST CHUNKED "\r\n");
	s = &streams[0];
	head = s->tx_len;
	exchange_feed(client.exchange, (const uint8_t *)size, strlen(size));
	assert_int_equal(exchange_feed(client.exchange, (const uint8_t *)body,
			     len),
	    len);
	size = "\r\n" CHUNKED_LAST;
	exchange_feed(client.exchange, (const uint8_t *)size, strlen(size));
	assert_int_equal(decode(s->tx + head, s->tx_len - head), len);
	assert_memory_equal(s->tx + head, body, len);
	free(body);
}

/* The body waits for the tunnel, and then for the head. */
static void
test_body_before_tunnel(void **state)
{
	struct http1_request req;
	size_t scanned = 0;
	const uint8_t hello[] = "hello";

	(void)state;
	http1_request_parse(&req, POST, strlen(POST), &scanned);
	assert_int_equal(exchange_request(client.exchange, &req), 0);
	assert_int_equal(exchange_feed(client.exchange, hello, 5), 0);
	grant();
	assert_int_equal(client.writable, 1);
	assert_int_equal(exchange_feed(client.exchange, hello, 5), 5);
	exchange_over(&streams[0]);
}

/* A body that no socket buffer holds, to a client that reads late. */
static struct fake_stream *
send_large(const char *head, char *body, size_t len)
{
	struct fake_stream *s;

	for (size_t i = 0; i < len; i++)
		body[i] = (char)('a' + i % 23);
	grain = 10000;
	client_asks(GET);
	s = &streams[0];
	origin_says(s, head);
	origin_sends(s, body, len, len);
	assert_true(s->rx_end - s->rx_begin > 0);
	assert_int_equal(client.outcome, NONE);
	return s;
}

static void
test_slow_client(void **state)
{
	size_t len = 2000000, head = strlen(OK CHUNKED VIA);
	char *body = malloc(len);
	struct fake_stream *s = send_large(OK "\r\n", body, len);

	(void)state;
	origin_closes(s);
	assert_int_equal(client.outcome, NONE);
	client_reads();
	assert_int_equal(client.outcome, KEPT);
	assert_int_equal(decode(client.got + head, client.got_len - head), len);
	assert_memory_equal(client.got + head, body, len);
	free(body);
}

static void
test_reset_while_writing(void **state)
{
	size_t len = 2000000, head = strlen(OK CHUNKED VIA);
	char *body = malloc(len);
	struct fake_stream *s = send_large(OK "\r\n", body, len);

	(void)state;
	origin_resets(s);
	assert_int_equal(client.outcome, NONE);
	client_reads();
	assert_int_equal(client.outcome, BROKEN);
	assert_true(client.got_len > head + len);
	assert_null(memchr(client.got, '#', client.got_len));
	free(body);
}

/* A complete response is delivered; but the tunnel is not reused. */
static void
test_reset_after_answer(void **state)
{
	(void)state;
	client_asks(GET);
	streams[0].rx_end = strlen(RESPONSE);
	memcpy(streams[0].rx, RESPONSE, strlen(RESPONSE));
	origin_resets(&streams[0]);
	assert_client_got(ANSWER);
	assert_int_equal(client.outcome, KEPT);
	assert_true(streams[0].reset);
	client_asks(GET);
	exchange_over(&streams[1]);
}

static void
test_cut_while_writing(void **state)
{
	size_t len = 2000000;
	char *body = malloc(len);
	struct fake_stream *s = send_large(OK "\r\n", body, len);

	(void)state;
	connection_breaks(s);
	assert_int_equal(client.outcome, BROKEN);
	client_reads();
	assert_null(memchr(client.got, '#', client.got_len));
	free(body);
}

static void
test_freed_while_writing(void **state)
{
	size_t len = 2000000;
	char *body = malloc(len);

	(void)state;
	send_large(OK "\r\n", body, len);
	exchange_free(client.exchange);
	client.exchange = NULL;
	assert_true(streams[0].reset);
	free(body);
}

static void
test_client_gone(void **state)
{
	(void)state;
	client_asks(GET);
	shutdown(client.fd, SHUT_RD);
	origin_says(&streams[0], CONTINUE "\r\n");
	assert_int_equal(client.outcome, BROKEN);
	assert_true(streams[0].reset);
}

static void
test_client_gone_early(void **state)
{
	(void)state;
	request(GET);
	assert_non_null(asked);
	exchange_free(client.exchange);
	client.exchange = NULL;
	assert_null(asked);
}

static void
test_malformed_body(void **state)
{
	const char *bad = "POST http://a.example/" HOST CHUNKED "\r\n";

	(void)state;
	client_asks(bad);
	assert_int_equal(exchange_feed(client.exchange, (const uint8_t *)"x",
			     1),
	    -EBADMSG);
	assert_true(exchange_unanswered(client.exchange));
	assert_true(streams[0].reset);
	assert_int_equal(client.outcome, NONE);
}

/* As long as nothing was written there is a better answer than a reset. */
static void
test_malformed_answer(void **state)
{
	(void)state;
	client_asks(GET);
	origin_says(&streams[0], OK CHUNKED "\r\nx");
	assert_int_equal(client.outcome, REFUSED);
	assert_client_got("");
	client_asks(GET);
	origin_says(&streams[1], OK CHUNKED "\r\n1\r\nx\r\n");
	origin_says(&streams[1], "x");
	assert_int_equal(client.outcome, BROKEN);
	assert_client_got(OK CHUNKED VIA "1\r\nx\r\n");
}

/* The client's bytes do not depend on where the network splits a response. */
static void
test_content_before_a_fault(void **state)
{
	(void)state;
	client_asks(GET);
	origin_says(&streams[0], OK CHUNKED "\r\n5\r\nhello\r\nx");
	assert_int_equal(client.outcome, BROKEN);
	assert_client_got(OK CHUNKED VIA "5\r\nhello\r\n");
}

static void
test_cut_at_once(void **state)
{
	(void)state;
	client_asks(GET);
	streams[0].rx_fin = true;
	origin_says(&streams[0], OK LENGTH_5 "\r\n");
	assert_int_equal(client.outcome, REFUSED);
	assert_int_equal(client.error, CONNECT_ERROR_HTTP_RESPONSE_INCOMPLETE);
	assert_string_equal(client.refusal,
	    "a.example:80: the body was cut short");
	assert_client_got("");
}

/* Nothing is begun that cannot be. */
static void
test_not_forwarded(void **state)
{
	const char *text = "OPTIONS http://a.example" HOST
			   "Max-Forwards: 0\r\n\r\n";
	struct http1_request req;
	size_t scanned = 0;

	(void)state;
	http1_request_parse(&req, text, strlen(text), &scanned);
	assert_int_equal(exchange_request(client.exchange, &req), -ELOOP);
	assert_null(asked);
}

static void
test_large_head(void **state)
{
	size_t len = HTTP1_RESPONSE_HEAD_MAX + 100;
	char *text = malloc(len + 1);

	(void)state;
	memset(text, 'a', len);
	memcpy(text, OK "A: ", strlen(OK "A: "));
	text[len] = '\0';
	grain = 1000;
	client_asks(GET);
	origin_sends(&streams[0], text, len, 3000);
	assert_int_equal(client.outcome, REFUSED);
	assert_int_equal(client.error, CONNECT_ERROR_HTTP_RESPONSE_INCOMPLETE);
	assert_string_equal(client.refusal,
	    "a.example:80: the site's answer cannot be read: the head is "
	    "longer than 262144 bytes; this is the fault of the site, whose "
	    "operator can mend it");
	free(text);
}

static void
test_counters(void **state)
{
	uint64_t up, down;

	(void)state;
	client_asks(GET);
	exchange_over(&streams[0]);
	exchange_bytes(client.exchange, &up, &down);
	assert_int_equal(up, strlen(ORIGIN_GET));
	assert_int_equal(down, strlen(ANSWER));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exchanges),
		TEST(test_early_answer),
		TEST(test_early_answer_of_the_last),
		TEST(test_early_answer_and_close),
		TEST(test_early_answer_to_http_1_0),
		TEST(test_early_answer_and_the_end_of_the_connection),
		TEST(test_early_answer_and_stop),
		TEST(test_early_answer_before_the_head),
		TEST(test_expectation_fails),
		TEST(test_expectation_fails_late),
		TEST(test_expectation_fails_at_the_end),
		cmocka_unit_test(test_trailers),
		TEST(test_trailers_of_one_hop),
		TEST(test_trailers_wait_for_room),
		TEST(test_trailers_too_long),
		cmocka_unit_test(test_upgrade),
		TEST(test_upgrade_ignored),
		TEST(test_upgrade_before_the_body),
		TEST(test_upgrade_and_reset),
		TEST(test_unasked_upgrade),
		TEST(test_reuse),
		TEST(test_another_origin),
		TEST(test_no_reuse_for_post),
		TEST(test_tunnel_ends_with_response),
		TEST(test_idle_tunnel_ends),
		TEST(test_stale_tunnel),
		TEST(test_stale_but_seen),
		cmocka_unit_test(test_stale_bytes),
		cmocka_unit_test(test_pinned),
		TEST(test_pinned_meanwhile),
		cmocka_unit_test(test_pinned_too_many),
		cmocka_unit_test(test_pinned_ends),
		TEST(test_pinned_ends_meanwhile),
		TEST(test_pinned_closes),
		TEST(test_pipelined),
		TEST(test_goes_ahead),
		TEST(test_post_stays_behind),
		TEST(test_edge_refuses),
		TEST(test_slow_origin),
		TEST(test_large_body),
		TEST(test_body_before_tunnel),
		TEST(test_slow_client),
		TEST(test_reset_while_writing),
		TEST(test_reset_after_answer),
		TEST(test_cut_while_writing),
		TEST(test_freed_while_writing),
		TEST(test_client_gone),
		TEST(test_client_gone_early),
		TEST(test_malformed_body),
		TEST(test_malformed_answer),
		TEST(test_content_before_a_fault),
		TEST(test_cut_at_once),
		TEST(test_not_forwarded),
		TEST(test_large_head),
		TEST(test_counters),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
