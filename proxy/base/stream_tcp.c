/*
 * A TCP connection as a stream, in two halves.
 *
 *   socket ── on_alloc, on_read ──▶ rx ── peek, consume ──▶ owner
 *   socket ◀── flush, on_written ── tx ◀── reserve, commit ── owner
 *
 *   OPEN ─▶ OWNED ── release, reset, flush_and_reset ──▶ DRAINING ─▶ closed
 *    (attach)  └── aborted (context_fini) ───────────────────────────▶┘
 *
 * Each half ends by itself. rx ends with a FIN or a failure, which is known
 * when libuv has read everything before it. tx ends with a FIN, after the last
 * byte, or when the peer refuses more; what is committed then is dropped.
 *
 * Calls of the owner fire no event: what they find out is pending until the
 * timer fires, in the next iteration of the loop. After the owner has ended the
 * stream, the same timer checks whether the peer has accepted what is left.
 *
 * The memory is freed in one place: when the loop has closed both handles.
 */
#include "proxy/base/stream_tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/tcp.h"

/* Vectors of one write: all that a queue holds as a rule, and more. */
#define WRITE_VECTORS 8

/* Events that the owner is to receive, in the order of their firing. */
enum pending {
	PENDING_READABLE = 1,
	PENDING_WRITABLE = 2,
	PENDING_STOPPED = 4,
	PENDING_RESET = 8
};

struct stream_tcp {
	uv_tcp_t tcp;
	uv_timer_t timer; /* of pending events; later of the drain */
	uv_write_t write;
	unsigned handles; /* tcp and timer */
	struct stream_tcp_context *context;
	LIST_ENTRY(stream_tcp) entry;
	struct liveness_watch watch;
	struct stream *owner; /* NULL: none yet, or not any more */
	unsigned pending;     /* enum pending */
	const char *why;      /* of PENDING_RESET */
	struct chunk_queue rx, tx;
	size_t writing; /* bytes of the pending write, the first of tx */
	struct tcp_drain drain;
	bool reading : 1;      /* libuv polls TCP */
	bool rx_fin : 1;       /* the peer's FIN was read */
	bool rx_failed : 1;    /* or no FIN will come */
	bool wants_room : 1;   /* `writable` is owed */
	bool write_failed : 1; /* it took the error of the socket */
	bool refused : 1;      /* the peer accepts no more ... */
	bool stopped : 1;      /* ... and had not accepted everything */
	bool lost : 1;	       /* it did not accept what was committed */
	bool finished : 1;     /* a FIN follows what is in tx */
	bool shut : 1;	       /* it was sent */
	bool released : 1;     /* the owner has ended the stream */
	bool resets : 1;       /* ... which ends with RST */
	bool closing : 1;
};

/* ---- The end ---- */

static void
on_handle_closed(uv_handle_t *handle)
{
	struct stream_tcp *t = handle->data;

	if (--t->handles == 0)
		free(t);
}

/* A pending write is cancelled, and does not read its bytes any more. */
static void
close_stream(struct stream_tcp *t, bool reset)
{
	if (t->closing)
		return;
	t->closing = true;
	tcp_set_reset(&t->tcp, reset);
	liveness_unwatch(&t->watch);
	LIST_REMOVE(t, entry);
	uv_close((uv_handle_t *)&t->tcp, on_handle_closed);
	uv_close((uv_handle_t *)&t->timer, on_handle_closed);
	chunk_queue_clear(&t->rx);
	chunk_queue_clear(&t->tx);
}

/*
 * Whether the peer has accepted what it will ever accept. If it has sent its
 * FIN, the kernel delivers the rest after a close; else there may be unread
 * input, and closing with that would send an RST.
 */
static bool
is_drained(const struct stream_tcp *t)
{
	if (t->refused)
		return true;
	return t->tx.len == 0 &&
	    ((t->rx_fin && !t->resets) || tcp_unacknowledged(&t->tcp) == 0);
}

static void
close_drained(struct stream_tcp *t)
{
	close_stream(t, t->resets || t->tx.len > 0);
}

static void on_timer(uv_timer_t *);

static void
check_drain(struct stream_tcp *t)
{
	uint64_t left = t->tx.len + tcp_unacknowledged(&t->tcp);
	uint64_t next = tcp_drain_check(&t->drain, left,
	    uv_now(t->context->loop));

	if (is_drained(t) || next == 0)
		close_drained(t);
	else
		uv_timer_start(&t->timer, on_timer, next, 0);
}

static void
stop_reading(struct stream_tcp *t)
{
	uv_read_stop((uv_stream_t *)&t->tcp);
	t->reading = false;
}

static void
disown(struct stream_tcp *t)
{
	t->owner = NULL;
	t->released = true;
	t->pending = 0;
	stop_reading(t);
	chunk_queue_clear(&t->rx);
}

static void
drain(struct stream_tcp *t)
{
	disown(t);
	if (is_drained(t))
		close_drained(t);
	else
		uv_timer_start(&t->timer, on_timer,
		    tcp_drain_begin(&t->drain, uv_now(t->context->loop)), 0);
}

/* ---- Events ---- */

/* Any handler may end the stream, or move it to another owner. */
static void
deliver(struct stream_tcp *t)
{
	unsigned pending = t->pending;

	if (t->owner == NULL)
		return; /* until one attaches */
	t->pending = 0;
	if ((pending & PENDING_READABLE) != 0 && t->owner != NULL)
		t->owner->events->readable(t->owner->arg);
	if ((pending & PENDING_WRITABLE) != 0 && t->owner != NULL &&
	    stream_has_room(t->owner))
		t->owner->events->writable(t->owner->arg);
	if ((pending & PENDING_STOPPED) != 0 && t->owner != NULL)
		t->owner->events->stopped(t->owner->arg);
	if ((pending & PENDING_RESET) != 0 && t->owner != NULL)
		t->owner->events->reset(t->owner->arg, t->why);
}

static void
on_timer(uv_timer_t *timer)
{
	struct stream_tcp *t = timer->data;

	if (t->released)
		check_drain(t);
	else
		deliver(t);
}

/* From a call of the owner: the events fire in the next iteration. */
static void
deliver_later(struct stream_tcp *t)
{
	if (t->pending != 0)
		uv_timer_start(&t->timer, on_timer, 0, 0);
}

/* From the loop. */
static void
deliver_now(struct stream_tcp *t)
{
	if (!t->released)
		deliver(t);
	else if (!t->closing && is_drained(t))
		close_drained(t);
}

/* ---- Sending ---- */

/* The peer accepts no more. A pending write still reads its bytes. */
static void
refuse_tx(struct stream_tcp *t)
{
	size_t fin = t->shut ? 1 : 0, left = t->tx.len + tcp_queued(&t->tcp);

	if (t->writing == 0)
		chunk_queue_clear(&t->tx);
	if (t->refused)
		return;
	t->refused = true;
	t->lost = left > fin;
	t->stopped = left > 0 || !t->shut;
	t->pending |= t->wants_room ? PENDING_WRITABLE : 0;
	t->pending |= t->stopped ? PENDING_STOPPED : 0;
}

static void
send_failed(struct stream_tcp *t)
{
	t->write_failed = true;
	refuse_tx(t);
}

static void flush(struct stream_tcp *);

static void
on_written(uv_write_t *request, int status)
{
	struct stream_tcp *t = request->data;
	size_t n = t->writing;

	t->writing = 0;
	if (t->closing)
		return;
	if (status < 0)
		send_failed(t);
	else if (t->refused)
		refuse_tx(t);
	else {
		chunk_queue_drop(&t->tx, n);
		flush(t);
		if (t->wants_room &&
		    chunk_queue_has_room(&t->tx, STREAM_RESERVE_MIN))
			t->pending |= PENDING_WRITABLE;
	}
	deliver_now(t);
}

/* The socket's buffer is full: libuv writes the rest later. */
static int
write_later(struct stream_tcp *t, const struct iovec *iov, size_t n)
{
	int rv = uv_write(&t->write, (uv_stream_t *)&t->tcp,
	    (const uv_buf_t *)iov, (unsigned)n, on_written);

	for (size_t i = 0; i < n && rv == 0; i++)
		t->writing += iov[i].iov_len;
	return rv;
}

/* Writes what the socket takes, and the FIN after the last byte. */
static void
flush(struct stream_tcp *t)
{
	struct iovec iov[WRITE_VECTORS];
	int rv = 0;
	size_t n;

	while (rv >= 0 && t->writing == 0 && t->tx.len > 0) {
		n = chunk_queue_peek(&t->tx, iov, WRITE_VECTORS);
		rv = uv_try_write((uv_stream_t *)&t->tcp, (const uv_buf_t *)iov,
		    (unsigned)n);
		if (rv == UV_EAGAIN)
			rv = write_later(t, iov, n);
		else if (rv > 0)
			chunk_queue_drop(&t->tx, (size_t)rv);
	}
	if (rv >= 0 && t->tx.len == 0 && t->finished && !t->shut) {
		rv = tcp_shutdown(&t->tcp);
		t->shut = rv == 0;
	}
	if (rv < 0)
		send_failed(t);
}

static bool
has_room(void *provider)
{
	struct stream_tcp *t = provider;

	t->wants_room = !t->refused &&
	    !chunk_queue_has_room(&t->tx, STREAM_RESERVE_MIN);
	return !t->wants_room;
}

static void *
reserve(void *provider, size_t *len)
{
	struct stream_tcp *t = provider;

	if (!has_room(t))
		return NULL;
	return chunk_queue_reserve(&t->tx, STREAM_RESERVE_MIN, len);
}

static void
commit(void *provider, size_t n)
{
	struct stream_tcp *t = provider;

	t->lost = t->lost || (t->refused && n > 0);
	chunk_queue_commit(&t->tx, t->refused ? 0 : n);
	if (!t->refused && n > 0)
		flush(t);
	deliver_later(t);
}

static size_t
push(void *provider, const void *data, size_t len)
{
	struct stream_tcp *t = provider;
	size_t done = 0, room;
	void *out;

	while (done < len &&
	    (out = chunk_queue_reserve(&t->tx, 1, &room)) != NULL) {
		room = room < len - done ? room : len - done;
		memcpy(out, (const char *)data + done, room);
		done += room;
		commit(t, room);
	}
	return done;
}

static bool
lost(const void *provider)
{
	return ((const struct stream_tcp *)provider)->lost;
}

static void
finish(void *provider)
{
	struct stream_tcp *t = provider;

	t->finished = true;
	if (!t->refused)
		flush(t);
	deliver_later(t);
}

/* ---- Receiving ---- */

/* No FIN follows. */
static void
receive_failed(struct stream_tcp *t, const char *why)
{
	stop_reading(t);
	if (t->rx_fin || t->rx_failed)
		return;
	t->rx_failed = true;
	t->why = why;
	t->pending |= PENDING_RESET;
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct stream_tcp *t = handle->data;
	size_t len = 0;

	(void)suggested;
	buf->base = chunk_queue_reserve(&t->rx, STREAM_RESERVE_MIN, &len);
	buf->len = buf->base != NULL ? len : 0;
}

static void
on_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
	struct stream_tcp *t = tcp->data;

	if (buf->base != NULL)
		chunk_queue_commit(&t->rx, n > 0 ? (size_t)n : 0);
	if (n > 0)
		t->pending |= PENDING_READABLE;
	if (n == UV_EOF && tcp_has_ended(&t->tcp, t->write_failed)) {
		stop_reading(t);
		t->rx_fin = true;
		t->pending |= PENDING_READABLE;
	} else if (n == UV_ENOBUFS)
		receive_failed(t, "out of memory");
	else if (n < 0) {
		refuse_tx(t);
		receive_failed(t, "reset by the peer");
	} else if (!chunk_queue_has_room(&t->rx, STREAM_RESERVE_MIN))
		stop_reading(t);
	deliver_now(t);
}

static void
start_reading(struct stream_tcp *t)
{
	if (!t->reading && !t->rx_fin && !t->rx_failed &&
	    chunk_queue_has_room(&t->rx, STREAM_RESERVE_MIN))
		t->reading = uv_read_start((uv_stream_t *)&t->tcp, on_alloc,
				 on_read) == 0;
}

static size_t
peek(const void *provider, struct iovec *iov, size_t max)
{
	const struct stream_tcp *t = provider;

	return chunk_queue_peek(&t->rx, iov, max);
}

static void
consume(void *provider, size_t n)
{
	struct stream_tcp *t = provider;

	chunk_queue_drop(&t->rx, n);
	start_reading(t);
}

static bool
ended(const void *provider)
{
	const struct stream_tcp *t = provider;

	return t->rx_fin && t->rx.len == 0;
}

/* ---- The peer is gone ---- */

/*
 * libuv reports an error after the last input, while it reads. When it does
 * not, since the owner has yet to consume, it will.
 */
static void
on_gone(struct liveness_watch *watch, const char *why)
{
	struct stream_tcp *t = (struct stream_tcp *)((char *)watch -
	    offsetof(struct stream_tcp, watch));

	if (t->reading && why == liveness_failed)
		return;
	refuse_tx(t);
	if (why != liveness_failed)
		receive_failed(t, why);
	deliver_now(t);
}

/* ---- The owner ---- */

static void
attach(struct stream *s)
{
	struct stream_tcp *t = s->provider;

	t->owner = s;
	t->pending |= t->stopped ? PENDING_STOPPED : 0;
	start_reading(t);
	deliver_later(t);
}

static void
reset(void *provider, enum stream_error error)
{
	struct stream_tcp *t = provider;

	(void)error;
	disown(t);
	close_stream(t, true);
}

static void
flush_and_reset(void *provider, enum stream_error error)
{
	struct stream_tcp *t = provider;

	(void)error;
	t->resets = true;
	drain(t);
}

static void
release(void *provider)
{
	struct stream_tcp *t = provider;

	t->resets = !t->finished;
	if (t->finished)
		drain(t);
	else
		reset(t, STREAM_CANCELLED);
}

static const struct stream_ops ops = {
	.attach = attach,
	.peek = peek,
	.consume = consume,
	.ended = ended,
	.has_room = has_room,
	.reserve = reserve,
	.commit = commit,
	.push = push,
	.lost = lost,
	.finish = finish,
	.release = release,
	.reset = reset,
	.flush_and_reset = flush_and_reset,
};

/* ---- Life ---- */

int
stream_tcp_open(struct stream *s, struct stream_tcp_context *context, int fd)
{
	struct stream_tcp *t = calloc(1, sizeof(*t));
	int rv;

	if (t == NULL) {
		close(fd);
		return -ENOMEM;
	}
	t->context = context;
	t->handles = 2;
	chunk_queue_init(&t->rx, &context->pool);
	chunk_queue_init(&t->tx, &context->pool);
	t->watch.on_gone = on_gone;
	LIST_INSERT_HEAD(&context->streams, t, entry);
	uv_tcp_init(context->loop, &t->tcp);
	uv_timer_init(context->loop, &t->timer);
	t->tcp.data = t->timer.data = t->write.data = t;
	if ((rv = uv_tcp_open(&t->tcp, fd)) != 0) {
		close(fd);
		close_stream(t, false);
		return rv;
	}
	tcp_set_nodelay(fd);
	tcp_set_reset(&t->tcp, true); /* in case this process is killed */
	if (context->liveness != NULL)
		liveness_watch(context->liveness, &t->watch, fd,
		    context->keepalive_timeout_s);
	*s = (struct stream){ .ops = &ops, .provider = t };
	return 0;
}

void
stream_tcp_context_init(struct stream_tcp_context *context, uv_loop_t *loop,
    struct liveness *liveness, unsigned keepalive_timeout_s)
{
	*context = (struct stream_tcp_context){ .loop = loop,
		.liveness = liveness,
		.keepalive_timeout_s = keepalive_timeout_s };
	chunk_pool_init(&context->pool);
	LIST_INIT(&context->streams);
}

void
stream_tcp_context_fini(struct stream_tcp_context *context, const char *why)
{
	struct stream_tcp *t;
	struct stream *owner;

	while ((t = LIST_FIRST(&context->streams)) != NULL) {
		owner = t->owner;
		t->owner = NULL;
		t->released = true;
		if (owner != NULL)
			stream_abort_owner(owner, STREAM_CLOSED, why);
		close_stream(t, true);
	}
	chunk_pool_fini(&context->pool);
}
