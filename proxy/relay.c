/*
 * Bytes between a TCP connection and a QUIC stream, in two equal halves.
 *
 *   TCP ── relay_alloc, relay_read ──▶ reserve, commit ──▶ stream
 *   TCP ◀── uv_try_write ◀── peek ── pump ── consume ──▶ credit to the peer
 *
 * Neither half has a buffer of its own. Reading goes straight into the chunk
 * that will be sent, and stops when the stream has no room; writing goes from
 * the chunk that was received, and what the kernel does not take stays there,
 * unconsumed, until the peer's credit runs out. So a slow end stops its own
 * tunnel and no other.
 *
 * Each direction ends with a FIN that is passed on after its last byte, and
 * the relay is done when both have been. Of the two the one from TCP may end
 * otherwise: the stream's peer takes no more. TCP has no word for that while the
 * other goes on, so what comes is dropped; and when the other has ended, the
 * socket is closed as by the peer itself, which leaves the kernel to answer
 * what may still come by RST.
 *
 * A failure is passed on after the last byte, too. When TCP fails, its last
 * input may still be in the kernel, and even a write may be the first to see
 * the failure: so reading goes on until it is told of that. When the stream
 * fails, what it brought is written, and the RST waits until the peer has
 * acknowledged it, since an RST takes back what is in the kernel. Either is a
 * drain, which a timer looks after.
 */
#include "proxy/relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>

/* Vectors of one write: 512 KiB at most, so that credit flows meanwhile. */
#define WRITE_VECTORS 32

/* Milliseconds between two looks at a drain: most are over at the first. */
#define LOOK_FIRST_MS 1
#define LOOK_LAST_MS 256

static void
count(struct relay *r, uint64_t *bytes, size_t n)
{
	*bytes += n;
	if (r->moved != NULL)
		r->moved(r);
}

/* ---- Drains ---- */

/* The kernel still counts what such a peer has not acknowledged. */
static bool
is_over(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	    info.tcpi_state == TCP_CLOSE;
}

/* Bytes that TCP was given and that its peer has yet to acknowledge. */
static size_t
unacknowledged(const struct relay *r)
{
	size_t n = uv_stream_get_write_queue_size((uv_stream_t *)&r->tcp);
	uv_os_fd_t fd;
	int queued;

	if (uv_fileno((const uv_handle_t *)&r->tcp, &fd) != 0)
		return n;
	if (is_over(fd))
		return 0;
	if (ioctl(fd, SIOCOUTQ, &queued) == 0)
		n += (size_t)queued;
	return n;
}

static bool
is_drained(const struct relay *r)
{
	struct iovec iov;

	return r->ending && unacknowledged(r) == 0 && (r->stream == NULL ||
	    quic_stream_peek(r->stream, &iov, 1) == 0);
}

/* Progress is what either side has taken. */
static void
on_look(uv_timer_t *timer)
{
	struct relay *r = timer->data;
	uint64_t mark = r->to_stream + r->to_tcp - unacknowledged(r);
	uint64_t now = uv_now(timer->loop);

	if (mark != r->mark) {
		r->mark = mark;
		r->mark_ms = now;
	}
	if (is_drained(r) || now - r->mark_ms >= RELAY_STALL_MS) {
		relay_close(r, r->reason);
		return;
	}
	if (r->look_ms < LOOK_LAST_MS)
		r->look_ms *= 2;
	uv_timer_start(timer, on_look, r->look_ms, 0);
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
	r->mark_ms = uv_now(r->tcp.loop);
	r->look_ms = LOOK_FIRST_MS;
	uv_timer_start(&r->timer, on_look, r->look_ms, 0);
}

/*
 * The end that both sides wanted. With input unread a close is an RST, which
 * would take back what the peer has not acknowledged.
 */
static void
finish_if_done(struct relay *r)
{
	if (!r->shut || r->closing)
		return;
	if (r->stopped) {
		relay_read_stop(r);
		r->ending = true;
		r->cut_short = quic_stream_lost(r->stream);
		drain(r, r->cut_short ? "the other side takes no more"
				      : "done");
	} else if (r->eof_seen)
		relay_close(r, "done");
}

/*
 * TCP takes no more. What the stream brings is dropped, and what TCP has sent
 * before is read until libuv tells of the end.
 */
static void
tcp_fails(struct relay *r, const char *why)
{
	if (r->eof_seen || r->ending) {
		relay_close(r, why);
		return;
	}
	r->tcp_failed = true;
	drain(r, why);
}

/* ---- The peer is gone ---- */

/* Of an error libuv tells, too, where it reads, and after the last input. */
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
		tcp_fails(r, why);
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
has_room(const struct relay *r)
{
	return r->dropped < RELAY_DROP_MAX && quic_stream_has_room(r->stream);
}

void
relay_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct relay *r = handle->data;
	size_t len = 0;

	(void)suggested;
	buf->base = quic_stream_reserve(r->stream, &len);
	buf->len = len;
}

bool
relay_tcp_ended(const struct relay *r)
{
	uv_os_fd_t fd;
	char byte;

	return !r->tcp_failed &&
	    uv_fileno((const uv_handle_t *)&r->tcp, &fd) == 0 &&
	    recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
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
	quic_stream_commit(r->stream, n > 0 ? (size_t)n : 0);
	if (n > 0) {
		if (r->stopped)
			r->dropped += (size_t)n;
		else
			count(r, &r->to_stream, (size_t)n);
		if (!has_room(r))
			relay_read_stop(r);
	} else if (n == UV_EOF && relay_tcp_ended(r)) {
		relay_read_stop(r);
		r->eof_seen = true;
		quic_stream_finish(r->stream);
		finish_if_done(r);
	} else if (n < 0)
		relay_close(r, liveness_failed);
}

static void
on_stream_writable(struct quic_stream *stream, void *arg)
{
	struct relay *r = arg;

	(void)stream;
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
		tcp_fails(r, liveness_failed);
	} else {
		count(r, &r->to_tcp, n);
		quic_stream_consume(r->stream, n);
	}
	if (!r->closing)
		pump(r);
}

/*
 * The stream has ended, and all of it is written. Where TCP has ended too, its
 * close says so. No request of libuv's: with nothing queued it would do the
 * same, and watch the socket for a turn.
 */
static void
shut(struct relay *r)
{
	uv_os_fd_t fd;

	if ((!r->eof_seen || r->stopped) &&
	    (uv_fileno((uv_handle_t *)&r->tcp, &fd) != 0 ||
	    shutdown(fd, SHUT_WR) != 0)) {
		tcp_fails(r, liveness_failed);
		return;
	}
	r->shut = true;
	finish_if_done(r);
}

/* The kernel is full: libuv writes the rest as it empties. */
static int
write_later(struct relay *r, const struct iovec *iov, size_t n)
{
	for (size_t i = 0; i < n; i++)
		r->writing += iov[i].iov_len;
	r->write.data = r;
	return uv_write(&r->write, (uv_stream_t *)&r->tcp,
	    (const uv_buf_t *)iov, (unsigned)n, on_written);
}

/* Gives TCP what it takes at once. Returns a negative error when it fails. */
static int
write_now(struct relay *r, const struct iovec *iov, size_t n)
{
	uv_stream_t *tcp = (uv_stream_t *)&r->tcp;
	int rv = uv_try_write(tcp, (const uv_buf_t *)iov, (unsigned)n);

	if (rv == UV_EAGAIN)
		rv = write_later(r, iov, n);
	if (rv > 0) {
		count(r, &r->to_tcp, (size_t)rv);
		quic_stream_consume(r->stream, (size_t)rv);
	}
	return rv;
}

static void
drop(struct relay *r, const struct iovec *iov, size_t n)
{
	for (size_t i = 0; i < n; i++)
		quic_stream_consume(r->stream, iov[i].iov_len);
}

/* Passes on what was received, and then the FIN if it came, or the reset. */
static void
pump(struct relay *r)
{
	struct iovec iov[WRITE_VECTORS];
	size_t n;

	while (r->writing == 0 &&
	    (n = quic_stream_peek(r->stream, iov, WRITE_VECTORS)) > 0) {
		if (r->tcp_failed)
			drop(r, iov, n);
		else if (write_now(r, iov, n) < 0) {
			r->writing = 0;
			tcp_fails(r, liveness_failed);
			if (r->closing)
				return;
		}
	}
	if (quic_stream_ended(r->stream) && !r->shut && !r->tcp_failed)
		shut(r);
	if (r->ending && !r->closing)
		drain(r, r->reason);
}

static void
on_stream_readable(struct quic_stream *stream, void *arg)
{
	(void)stream;
	pump(arg);
}

/* ---- The end ---- */

static const char *
reason_of(uint64_t code)
{
	return code == QUIC_H3_EXCESSIVE_LOAD
	    ? "its data was not read for long, and memory ran out"
	    : "reset by the peer";
}

/* What TCP says is dropped. With TCP failed as well, both ways are over. */
static void
on_stream_stopped(struct quic_stream *stream, void *arg)
{
	struct relay *r = arg;

	(void)stream;
	r->stopped = true;
	if (r->tcp_failed)
		relay_close(r, r->reason);
	else
		finish_if_done(r);
}

/* With TCP failed as well, there is nobody to deliver anything to. */
static void
on_stream_reset(struct quic_stream *stream, uint64_t code, void *arg)
{
	struct relay *r = arg;

	(void)stream;
	if (r->tcp_failed) {
		relay_close(r, r->reason);
		return;
	}
	relay_read_stop(r);
	r->ending = true;
	r->reason = reason_of(code);
	pump(r);
}

static const char *
reason_of_close(const struct relay *r, const struct quic_close *why)
{
	if (why->cause == QUIC_CLOSED_BY_PEER && r->peer_closed != NULL &&
	    why->code == (why->application ? QUIC_H3_NO_ERROR : 0))
		return r->peer_closed;
	return "the QUIC connection was lost";
}

/* What is being written goes with the stream, and the rest is not lost. */
static void
on_stream_aborted(struct quic_stream *stream, uint64_t code,
    const struct quic_close *why, void *arg)
{
	const char *reason;
	struct relay *r = arg;

	(void)stream;
	r->stream = NULL;
	if (r->ending && r->shut)
		return; /* TCP has it all, and the rest is the drain's */
	reason = why != NULL ? reason_of_close(r, why) : reason_of(code);
	if (why == NULL || r->writing > 0 || r->tcp_failed)
		relay_close(r, reason);
	else
		relay_end(r, reason);
}

static void
on_handle_closed(uv_handle_t *handle)
{
	struct relay *r = handle->data;

	if (--r->handles == 0)
		r->on_closed(r);
}

/*
 * Whether the peer gets RST and not FIN when the socket is closed: a cut must
 * not look like an end. It holds when the kernel closes it for us, too.
 */
static void
set_reset(struct relay *r, bool reset)
{
	struct linger linger = { .l_onoff = reset, .l_linger = 0 };
	uv_os_fd_t fd;

	if (uv_fileno((uv_handle_t *)&r->tcp, &fd) == 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
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
		set_reset(r, r->cut_short || !done);
	liveness_unwatch(&r->watch);
	uv_close((uv_handle_t *)&r->tcp, on_handle_closed);
	if (r->has_timer)
		uv_close((uv_handle_t *)&r->timer, on_handle_closed);
	if (r->stream == NULL)
		return;
	if (done)
		quic_stream_release(r->stream);
	else
		quic_stream_flush_and_reset(r->stream, QUIC_H3_CONNECT_ERROR);
	r->stream = NULL;
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

/* ---- The beginning ---- */

void
relay_socket_options(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static const struct quic_stream_events stream_events = {
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
relay_start(struct relay *r, struct quic_stream *stream)
{
	r->stream = stream;
	r->started = true;
	quic_stream_attach(stream, &stream_events, r);
	set_reset(r, true); /* should this process be killed */
	relay_read_start(r, relay_alloc, relay_read);
	pump(r);
}
