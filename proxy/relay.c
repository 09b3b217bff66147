/*
 * Bytes between a TCP connection and a stream, in two equal halves.
 *
 *   TCP ── relay_alloc, relay_read ──▶ reserve, commit ──▶ stream
 *   TCP ◀── uv_try_write ◀── peek ── pump ── consume ──▶ credit to the peer
 *
 * Neither half has a buffer of its own. libuv reads directly into the buffer
 * that the stream will send, and stops when the stream has no room. It writes
 * directly from the buffer that the stream received; bytes that the kernel does
 * not take stay there, unconsumed, until the peer's flow control credit runs
 * out. So a slow reader stops its own tunnel and no other.
 *
 * Each direction ends with a FIN, which is passed on after the last byte, and
 * the relay is done when both have been. The direction from TCP may also end
 * because the stream's peer accepts no more (STOP_SENDING in QUIC). TCP has no
 * equivalent while the other direction continues, so its bytes are dropped.
 * When the other direction has ended, the socket is closed, and the kernel
 * answers further bytes with an RST.
 *
 * A failure is passed on after the last byte, too. If TCP fails, its last input
 * may still be in the kernel, and a write may be the first to see the error, so
 * reading goes on until it reports the error. If the stream fails, the bytes
 * that it received are written, and the RST waits until the peer has
 * acknowledged them, since an RST discards bytes in the kernel. Both cases are
 * a drain, which a timer checks.
 */
#include "proxy/relay.h"

#include <stddef.h>

/* Vectors of one write: 512 KiB at most, so that credit is returned often. */
#define WRITE_VECTORS 32

static void
count(struct relay *r, uint64_t *bytes, size_t n)
{
	*bytes += n;
	if (r->moved != NULL)
		r->moved(r);
}

/* ---- Drains ---- */

static bool
is_drained(const struct relay *r)
{
	struct iovec iov;

	return r->ending && tcp_unacknowledged(&r->tcp) == 0 &&
	    (!stream_is_open(&r->stream) ||
		stream_peek(&r->stream, &iov, 1) == 0);
}

/* Progress counts the bytes that either side has accepted. */
static void
on_check(uv_timer_t *timer)
{
	struct relay *r = timer->data;
	uint64_t progress = r->to_stream + r->to_tcp -
	    tcp_unacknowledged(&r->tcp);
	uint64_t next = tcp_drain_check(&r->drain, progress,
	    uv_now(timer->loop));

	if (is_drained(r) || next == 0)
		relay_close(r, r->reason);
	else
		uv_timer_start(timer, on_check, next, 0);
}

static void
drain(struct relay *r, const char *reason)
{
	r->reason = reason;
	if (is_drained(r)) {
		relay_close(r, reason);
		return;
	}
	if (r->has_timer)
		return;
	r->has_timer = true;
	r->handles++;
	uv_timer_init(r->tcp.loop, &r->timer);
	r->timer.data = r;
	uv_timer_start(&r->timer, on_check,
	    tcp_drain_begin(&r->drain, uv_now(r->tcp.loop)), 0);
}

/*
 * The normal end. Closing a socket with unread input sends an RST, which would
 * discard bytes that the peer has not acknowledged, so drain first.
 */
static void
finish_if_done(struct relay *r)
{
	if (!r->shut || r->closing)
		return;
	if (r->stopped) {
		relay_read_stop(r);
		r->ending = true;
		r->cut_short = stream_lost(&r->stream);
		drain(r,
		    r->cut_short ? "the other side takes no more" : "done");
	} else if (r->eof_seen)
		relay_close(r, "done");
}

/*
 * TCP accepts no more bytes. Drops those of the stream, and reads earlier input
 * of TCP until libuv reports its end.
 */
static void
tcp_write_failed(struct relay *r, const char *why)
{
	if (r->eof_seen || r->ending) {
		relay_close(r, why);
		return;
	}
	r->tcp_failed = true;
	drain(r, why);
}

/* ---- The peer is gone ---- */

/* While libuv reads, it reports the error itself, after the last input. */
static void
on_gone(struct liveness_watch *watch, const char *why)
{
	struct relay *r = (struct relay *)((char *)watch -
	    offsetof(struct relay, watch));

	if (r->reading && why == liveness_failed) {
		r->failed = true;
		return;
	}
	if (r->ending || (r->started && r->reading))
		relay_close(r, why);
	else if (r->started)
		tcp_write_failed(r, why);
	else
		r->on_gone(r, why);
}

void
relay_watch(struct relay *r, struct liveness *liveness, unsigned timeout_s,
    void (*gone)(struct relay *, const char *why))
{
	uv_os_fd_t fd;

	r->on_gone = gone;
	r->watch.on_gone = on_gone;
	if (uv_fileno((const uv_handle_t *)&r->tcp, &fd) == 0)
		liveness_watch(liveness, &r->watch, fd, timeout_s);
}

void
relay_read_start(struct relay *r, uv_alloc_cb alloc, uv_read_cb read)
{
	r->reading = uv_read_start((uv_stream_t *)&r->tcp, alloc, read) == 0;
}

void
relay_read_stop(struct relay *r)
{
	uv_read_stop((uv_stream_t *)&r->tcp);
	r->reading = false;
}

/* ---- From TCP to the stream ---- */

static bool
has_room(struct relay *r)
{
	return r->dropped < RELAY_DROP_MAX && stream_has_room(&r->stream);
}

void
relay_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct relay *r = handle->data;
	size_t len = 0;

	(void)suggested;
	buf->base = stream_reserve(&r->stream, &len);
	buf->len = len;
}

void
relay_read(uv_stream_t *tcp, ssize_t n, const uv_buf_t *buf)
{
	struct relay *r = tcp->data;

	(void)buf;
	if (n == UV_ENOBUFS) {
		relay_read_stop(r);
		if (has_room(r) && !r->stopped)
			relay_close(r, "out of memory");
		return;
	}
	stream_commit(&r->stream, n > 0 ? (size_t)n : 0);
	if (n > 0) {
		if (r->stopped)
			r->dropped += (size_t)n;
		else
			count(r, &r->to_stream, (size_t)n);
		if (!has_room(r))
			relay_read_stop(r);
	} else if (n == UV_EOF && tcp_has_ended(&r->tcp, r->tcp_failed)) {
		relay_read_stop(r);
		r->eof_seen = true;
		stream_finish(&r->stream);
		finish_if_done(r);
	} else if (n < 0)
		relay_close(r, liveness_failed);
}

static void
on_stream_writable(void *arg)
{
	struct relay *r = arg;

	if (!r->eof_seen && !r->ending && r->dropped < RELAY_DROP_MAX)
		relay_read_start(r, relay_alloc, relay_read);
}

/* ---- From the stream to TCP ---- */

static void pump(struct relay *);

static void
on_written(uv_write_t *request, int status)
{
	struct relay *r = request->data;
	size_t n = r->writing;

	r->writing = 0;
	if (r->closing)
		return;
	if (status < 0) {
		tcp_write_failed(r, liveness_failed);
	} else {
		count(r, &r->to_tcp, n);
		stream_consume(&r->stream, n);
	}
	if (!r->closing)
		pump(r);
}

/*
 * The stream has ended, and all of it is written. If TCP has ended, too, its
 * close sends the FIN. shutdown(2) saves a request of libuv, which with an
 * empty queue would do the same, but poll the socket before.
 */
static void
shut(struct relay *r)
{
	if ((!r->eof_seen || r->stopped) && tcp_shutdown(&r->tcp) != 0) {
		tcp_write_failed(r, liveness_failed);
		return;
	}
	r->shut = true;
	finish_if_done(r);
}

/* The socket's buffer is full: libuv writes the rest later. */
static int
write_later(struct relay *r, const struct iovec *iov, size_t n)
{
	for (size_t i = 0; i < n; i++)
		r->writing += iov[i].iov_len;
	r->write.data = r;
	return uv_write(&r->write, (uv_stream_t *)&r->tcp,
	    (const uv_buf_t *)iov, (unsigned)n, on_written);
}

/* Writes as much as TCP accepts now. Returns a negative error on failure. */
static int
write_now(struct relay *r, const struct iovec *iov, size_t n)
{
	uv_stream_t *tcp = (uv_stream_t *)&r->tcp;
	int rv = uv_try_write(tcp, (const uv_buf_t *)iov, (unsigned)n);

	if (rv == UV_EAGAIN)
		rv = write_later(r, iov, n);
	if (rv > 0) {
		count(r, &r->to_tcp, (size_t)rv);
		stream_consume(&r->stream, (size_t)rv);
	}
	return rv;
}

static void
drop(struct relay *r, const struct iovec *iov, size_t n)
{
	for (size_t i = 0; i < n; i++)
		stream_consume(&r->stream, iov[i].iov_len);
}

/* Writes the bytes received, and then passes on the FIN or the reset. */
static void
pump(struct relay *r)
{
	struct iovec iov[WRITE_VECTORS];
	size_t n;

	while (r->writing == 0 &&
	    (n = stream_peek(&r->stream, iov, WRITE_VECTORS)) > 0) {
		if (r->tcp_failed)
			drop(r, iov, n);
		else if (write_now(r, iov, n) < 0) {
			r->writing = 0;
			tcp_write_failed(r, liveness_failed);
			if (r->closing)
				return;
		}
	}
	if (stream_ended(&r->stream) && !r->shut && !r->tcp_failed)
		shut(r);
	if (r->ending && !r->closing)
		drain(r, r->reason);
}

static void
on_stream_readable(void *arg)
{
	pump(arg);
}

/* ---- The end ---- */

/* If TCP has failed as well, both directions have ended. */
static void
on_stream_stopped(void *arg)
{
	struct relay *r = arg;

	r->stopped = true;
	if (r->tcp_failed)
		relay_close(r, r->reason);
	else
		finish_if_done(r);
}

/* If TCP has failed as well, received bytes cannot be delivered. */
static void
on_stream_reset(void *arg, const char *why)
{
	struct relay *r = arg;

	if (r->tcp_failed) {
		relay_close(r, r->reason);
		return;
	}
	relay_read_stop(r);
	r->ending = true;
	r->reason = why;
	pump(r);
}

/* A pending write uses memory of the stream, so it cannot be completed. */
static void
on_stream_aborted(void *arg, enum stream_end how, const char *why)
{
	struct relay *r = arg;

	if (r->ending && r->shut)
		return; /* everything is written; the drain does the rest */
	if (how == STREAM_CLOSED && r->peer_closed != NULL)
		why = r->peer_closed;
	if (how == STREAM_RESET || r->writing > 0 || r->tcp_failed)
		relay_close(r, why);
	else
		relay_end(r, why);
}

static void
on_handle_closed(uv_handle_t *handle)
{
	struct relay *r = handle->data;

	if (--r->handles == 0)
		r->on_closed(r);
}

void
relay_close(struct relay *r, const char *reason)
{
	bool done = (r->eof_seen || r->stopped) && r->shut;

	if (r->closing)
		return;
	r->closing = true;
	r->reason = reason;
	if (r->started || r->cut_short)
		tcp_set_reset(&r->tcp, r->cut_short || !done);
	liveness_unwatch(&r->watch);
	uv_close((uv_handle_t *)&r->tcp, on_handle_closed);
	if (r->has_timer)
		uv_close((uv_handle_t *)&r->timer, on_handle_closed);
	if (!stream_is_open(&r->stream))
		return;
	if (done)
		stream_release(&r->stream);
	else
		stream_flush_and_reset(&r->stream, STREAM_CONNECT_ERROR);
}

void
relay_end(struct relay *r, const char *reason)
{
	if (r->closing)
		return;
	relay_read_stop(r);
	r->cut_short = r->ending = true;
	drain(r, reason);
}

/* ---- Start ---- */

static const struct stream_events stream_events = {
	.readable = on_stream_readable,
	.writable = on_stream_writable,
	.stopped = on_stream_stopped,
	.reset = on_stream_reset,
	.aborted = on_stream_aborted,
};

void
relay_init(struct relay *r, uv_loop_t *loop, void (*on_closed)(struct relay *))
{
	*r = (struct relay){ .on_closed = on_closed, .handles = 1 };
	uv_tcp_init(loop, &r->tcp);
	r->tcp.data = r;
}

void
relay_start(struct relay *r, struct stream *stream)
{
	r->started = true;
	stream_attach(&r->stream, stream, &stream_events, r);
	tcp_set_reset(&r->tcp, true); /* in case this process is killed */
	relay_read_start(r, relay_alloc, relay_read);
	pump(r);
}
