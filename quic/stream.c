/*
 * A stream: the bytes of one tunnel in both directions.
 *
 *   owner ── reserve, commit ──▶ tx ── stream_take ──▶ nghttp3 ──▶ packets
 *                                 ▲                                   │
 *                                 └── stream_acked: the chunk is free ┘
 *   owner ◀── peek, consume ──── rx ◀── stream_append ◀── packets
 *
 * Committed bytes stay in their chunk until they are acknowledged: nghttp3 and
 * ngtcp2 point to them, and copy nothing. Received bytes are copied once, out
 * of the packet, so that the owner can write a whole batch with one call.
 *
 * A stream is freed after two releases, in either order: that of its owner, and
 * that of the transport, which may still point to tx after a reset.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "quic/internal.h"

/*
 * The bytes that one stream may have committed and not acknowledged: twice the
 * window, so that a full window is in flight and another is ready, and at least
 * enough for the first round trips of a short path.
 */
#define SEND_MIN 131072 /* bytes */

/*
 * The bytes that may wait to be sent: enough for an iteration of the loop on
 * the fastest path. More would leave the processor's cache before they are
 * sent, and would be read for nothing if their stream is reset. Each stream may
 * have its share, whatever the others have. Reading goes on at half of either.
 */
#define UNSENT_MAX 1048576U  /* bytes, of a connection */
#define UNSENT_SHARE 131072U /* bytes */

/*
 * The quantum of a stream in a round: what the path carries in a millisecond,
 * so that ten streams delay another by some 10 ms; but enough for many packets,
 * and no more than fills a train.
 */
#define QUANTUM_NS (NS_PER_S / 1000)
#define QUANTUM_MIN 16384 /* bytes */
#define QUANTUM_MAX 65536 /* bytes */

/* ---- Making and freeing ---- */

static int
compare(const void *a, const void *b)
{
	const struct quic_stream *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

/* Sets the ID of the stream, by which stream_find() finds it; or -ENOMEM. */
int
stream_set_id(struct quic_stream *s, int64_t id)
{
	s->id = id;
	s->indexed = tsearch(s, &s->conn->streams.by_id, compare) != NULL;
	return s->indexed ? 0 : -ENOMEM;
}

struct quic_stream *
stream_find(const struct quic_conn *conn, int64_t id)
{
	struct quic_stream key = { .id = id };
	struct quic_stream *const *found;

	found = tfind(&key, &conn->streams.by_id, compare);
	return found != NULL ? *found : NULL;
}

struct quic_stream *
stream_new(struct quic_conn *conn, int64_t id)
{
	struct quic_stream *s = memory_calloc(conn, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->conn = conn;
	s->id = id;
	s->rx.use = MEMORY_RX;
	s->tx.use = MEMORY_TX;
	s->tx_chunk = CHUNK_FIRST;
	flow_open(s);
	TAILQ_INSERT_HEAD(&conn->streams.all, s, entry);
	conn->streams.n++;
	conn->memory.all->nstreams++;
	if (id >= 0 && stream_set_id(s, id) != 0) {
		stream_free(s);
		return NULL;
	}
	return s;
}

static void
drop_received(struct quic_stream *s)
{
	buffer_clear(s, &s->rx);
	flow_close(s);
}

static void
note_unsent(struct quic_stream *s, size_t n)
{
	s->conn->streams.unsent = s->conn->streams.unsent - s->tx_unsent + n;
	s->tx_unsent = n;
}

/*
 * Nothing points to tx any more: ngtcp2 does not retransmit a stream that is
 * reset, and nghttp3 does not read from one that is shut down.
 */
static void
drop_committed(struct quic_stream *s)
{
	note_unsent(s, 0);
	s->tx_next = NULL;
	buffer_clear(s, &s->tx);
}

void
stream_free(struct quic_stream *s)
{
	struct quic_conn *conn = s->conn;

	if (s->pending != 0)
		TAILQ_REMOVE(&conn->streams.ready, s, ready_entry);
	stream_undefer(s);
	commit_quota_wait_end(s);
	orphan_end(s);
	pending_request_remove(s);
	reclaim_wait_end(s);
	drop_received(s);
	drop_committed(s);
	memory_release(conn, s->head);
	if (s->indexed)
		tdelete(s, &conn->streams.by_id, compare);
	TAILQ_REMOVE(&conn->streams.all, s, entry);
	conn->streams.n--;
	/* A process may be idle for days: it keeps no chunks for that time. */
	if (--conn->memory.all->nstreams == 0)
		memory_trim(conn->memory.all);
	if (conn->goaway.state == GOAWAY_FINAL)
		conn_touch(conn); /* it may have been the last stream */
	memory_release(conn, s);
}

static void
free_if_done(struct quic_stream *s)
{
	if (s->released && s->transport_gone && !s->delivering)
		stream_free(s);
}

/* The owner has released the stream: rx is not read, and no event fires. */
static void
disown(struct quic_stream *s)
{
	s->released = true;
	s->events = NULL;
	pending_request_remove(s);
	if (s->pending != 0) {
		TAILQ_REMOVE(&s->conn->streams.ready, s, ready_entry);
		s->pending = 0;
	}
	commit_quota_wait_end(s);
	reclaim_wait_end(s);
	drop_received(s);
	memory_release(s->conn, s->head);
	s->head = NULL;
	if (!s->transport_gone)
		orphan_begin(s);
	free_if_done(s);
}

static void
report_room(struct quic_stream *s)
{
	if (s->wants_room && quic_stream_has_room(s))
		stream_pend(s, PENDING_WRITABLE);
}

/*
 * No more bytes are sent. An owner that waits for room may go on: what it
 * commits is dropped, so there is room for any amount.
 */
static void
refuse_tx(struct quic_stream *s)
{
	s->tx_refused = true;
	s->tx_lost = s->tx_lost || s->tx.len > 0;
	stream_undefer(s);
	if (!s->reserved)
		drop_committed(s);
	report_room(s);
}

/*
 * The peer accepts no more bytes. The other direction goes on, whatever the
 * code is: a server may have sent a complete response without reading the
 * request (RFC 9114 §4.1).
 */
void
stream_stopped(struct quic_stream *s)
{
	bool delivered = s->finished && !s->tx_lost && s->tx.len == 0;

	refuse_tx(s);
	if (s->stopped || delivered)
		return;
	s->stopped = true;
	stream_pend(s, PENDING_STOPPED);
}

/*
 * The transport has closed the stream: nothing points to tx any more. If not
 * all of it was delivered, the peer has asked us to stop.
 */
void
stream_transport_gone(struct quic_stream *s, uint64_t code)
{
	if (!s->rx_fin)
		stream_reset_received(s, code);
	s->transport_gone = true;
	stream_stopped(s);
	free_if_done(s);
}

/*
 * The connection has ended: aborts the stream and frees it. False: that was
 * done before. The libraries still know the stream, but do nothing any more.
 */
bool
stream_conn_gone(struct quic_stream *s)
{
	struct quic_conn *conn = s->conn;

	if (s->conn_gone)
		return false;
	s->conn_gone = s->transport_gone = true;
	h3_free_stream(s);
	/* A handler of it may be running. */
	TAILQ_REMOVE(&conn->streams.all, s, entry);
	TAILQ_INSERT_TAIL(&conn->streams.all, s, entry);
	if (s->released) {
		free_if_done(s);
		return true;
	}
	stream_abort(s, conn->end.why.code);
	stream_deliver(s);
	return true;
}

void
quic_stream_attach(struct quic_stream *s,
    const struct quic_stream_events *events, void *arg)
{
	s->events = events;
	s->arg = arg;
	if (!s->stopped)
		return;
	stream_pend(s, PENDING_STOPPED);
	conn_touch(s->conn);
}

void
quic_stream_reset(struct quic_stream *s, uint64_t code)
{
	if (!s->transport_gone) {
		h3_forget(s);
		ngtcp2_conn_shutdown_stream(s->conn->quic, 0, s->id, code);
		conn_touch(s->conn);
	}
	s->reset_sent = true;
	s->reserved = false;
	s->orphan.flushing = false;
	refuse_tx(s);
	disown(s);
}

/* Asks the peer to stop sending, unless it has ended its direction. */
void
stream_stop(struct quic_stream *s, uint64_t code)
{
	if (s->rx_fin || s->transport_gone)
		return;
	ngtcp2_conn_shutdown_stream_read(s->conn->quic, 0, s->id, code);
	conn_touch(s->conn);
}

void
quic_stream_flush_and_reset(struct quic_stream *s, uint64_t code)
{
	if (s->transport_gone || s->tx_refused || s->tx.len == 0) {
		quic_stream_reset(s, code);
		return;
	}
	if (!conn_is_server(s->conn))
		stream_stop(s, code);
	conn_touch(s->conn);
	s->orphan.code = code;
	s->orphan.flushing = true;
	disown(s);
}

void
quic_stream_release(struct quic_stream *s)
{
	if (!s->finished) {
		quic_stream_reset(s, QUIC_H3_REQUEST_CANCELLED);
		return;
	}
	if (!conn_is_server(s->conn))
		stream_stop(s, QUIC_H3_NO_ERROR);
	else
		/* A sender that has used up its window goes on. */
		quic_stream_consume(s, s->rx.len);
	s->orphan.answering = conn_is_server(s->conn);
	s->orphan.code = QUIC_H3_REQUEST_CANCELLED;
	disown(s);
}

int64_t
quic_stream_id(const struct quic_stream *s)
{
	return s->id;
}

struct quic_conn *
quic_stream_conn(const struct quic_stream *s)
{
	return s->conn;
}

/* ---- Events ---- */

void
stream_pend(struct quic_stream *s, unsigned events)
{
	if (s->released)
		return;
	if (s->pending == 0)
		TAILQ_INSERT_TAIL(&s->conn->streams.ready, s, ready_entry);
	s->pending |= events;
}

/* The peer has reset the stream. */
void
stream_reset_received(struct quic_stream *s, uint64_t code)
{
	if (s->reset_reported || (s->pending & PENDING_RESET) != 0)
		return;
	s->abort_code = code;
	stream_pend(s, PENDING_RESET);
}

/* The owner can use neither direction any more. */
void
stream_abort(struct quic_stream *s, uint64_t code)
{
	if (s->released || (s->pending & PENDING_ABORTED) != 0)
		return;
	s->abort_code = code;
	stream_pend(s, PENDING_ABORTED);
}

static void
deliver_head(struct quic_stream *s)
{
	struct quic_field fields[QUIC_FIELDS_MAX];
	struct header_section *buffer = s->head;
	struct quic_header_section head = header_section_view(buffer, fields);
	struct quic_conn *conn = s->conn;

	s->head = NULL;
	if (conn_is_server(conn) && conn->events->request != NULL)
		conn->events->request(conn, s, &head, conn->arg);
	else if (!conn_is_server(conn) && s->events->response != NULL)
		s->events->response(s, &head, s->arg);
	if (!s->released && s->events == NULL)
		quic_stream_reset(s, QUIC_H3_INTERNAL_ERROR);
	memory_release(conn, buffer);
}

static void
deliver_aborted(struct quic_stream *s)
{
	const struct quic_close *why = NULL;

	if (s->conn->state >= CONN_CLOSING)
		why = &s->conn->end.why;
	if (s->events != NULL)
		s->events->aborted(s, s->abort_code, why, s->arg);
	if (!s->released)
		quic_stream_reset(s, QUIC_H3_CONNECT_ERROR);
}

static void
deliver_reset(struct quic_stream *s)
{
	s->reset_reported = true;
	if (s->events != NULL && s->events->reset != NULL)
		s->events->reset(s, s->abort_code, s->arg);
	else
		deliver_aborted(s);
}

/*
 * A request that its client has cancelled before the request event fired, and
 * without a byte for its target.
 */
static bool
is_cancelled(struct quic_stream *s, unsigned pending)
{
	if (!conn_is_server(s->conn) ||
	    ((pending & PENDING_ABORTED) == 0 &&
		((pending & PENDING_RESET) == 0 || s->rx.len > 0)))
		return false;
	memory_release(s->conn, s->head);
	s->head = NULL;
	return true;
}

/*
 * Fires the pending events. After each of them the owner may have released the
 * stream. A handler that closes the connection enters here again, and only the
 * outermost call may free the stream.
 */
void
stream_deliver(struct quic_stream *s)
{
	unsigned pending = s->pending;
	bool inner = s->delivering;

	TAILQ_REMOVE(&s->conn->streams.ready, s, ready_entry);
	s->pending = 0;
	s->delivering = true;
	if ((pending & PENDING_HEAD) != 0 && !is_cancelled(s, pending))
		deliver_head(s);
	if ((pending & PENDING_READABLE) != 0 && s->events != NULL &&
	    s->events->readable != NULL)
		s->events->readable(s, s->arg);
	/* The room may be used up by now, or lost with the window. */
	if ((pending & PENDING_WRITABLE) != 0 && s->events != NULL &&
	    s->events->writable != NULL && quic_stream_has_room(s))
		s->events->writable(s, s->arg);
	if ((pending & PENDING_STOPPED) != 0 && s->events != NULL &&
	    s->events->stopped != NULL)
		s->events->stopped(s, s->arg);
	if ((pending & PENDING_ABORTED) != 0 && !s->released)
		deliver_aborted(s);
	else if ((pending & PENDING_RESET) != 0 && !s->released)
		deliver_reset(s);
	if ((pending & PENDING_FLUSHED) != 0)
		quic_stream_reset(s, s->orphan.code);
	s->delivering = inner;
	free_if_done(s);
}

/* ---- Receiving ---- */

int
stream_append(struct quic_stream *s, const uint8_t *data, size_t len)
{
	struct quic_conn *conn = s->conn;
	size_t here, n = len;
	struct chunk *c;

	if (s->released || (s->pending & PENDING_ABORTED) != 0) {
		ngtcp2_conn_extend_max_offset(conn->quic, len);
		if (!s->orphan.flushing)
			ngtcp2_conn_extend_max_stream_offset(conn->quic, s->id,
			    len);
		orphan_received(s);
		return 0;
	}
	s->rx.len += len;
	while (len > 0) {
		if (buffer_grow(s, &s->rx, 1, flow_chunk(s, len)) != 0)
			return -ENOMEM;
		c = s->rx.last;
		here = c->cap - c->end;
		here = here < len ? here : len;
		memcpy(c->data + c->end, data, here);
		c->end += here;
		data += here;
		len -= here;
	}
	flow_fill(s, n);
	stream_pend(s, PENDING_READABLE);
	return 0;
}

void
stream_append_fin(struct quic_stream *s)
{
	s->rx_fin = true;
	stream_pend(s, PENDING_READABLE);
}

size_t
quic_stream_peek(const struct quic_stream *s, struct iovec *iov, size_t max)
{
	struct chunk *c;
	size_t n = 0;

	for (c = s->rx.first; c != NULL && n < max; c = c->next) {
		iov[n].iov_base = c->data + c->begin;
		iov[n].iov_len = c->end - c->begin;
		n++;
	}
	return n;
}

void
quic_stream_consume(struct quic_stream *s, size_t n)
{
	if (n == 0)
		return;
	buffer_drop(s, &s->rx, n, false);
	memory_drained(s, n);
	flow_drain(s, n);
}

bool
quic_stream_ended(const struct quic_stream *s)
{
	return s->rx_fin && s->rx.len == 0;
}

/* ---- Sending ---- */

static size_t
send_limit(const struct quic_stream *s)
{
	ngtcp2_conn_info info;

	ngtcp2_conn_get_conn_info(s->conn->quic, &info);
	return 2 * info.cwnd > SEND_MIN ? 2 * (size_t)info.cwnd : SEND_MIN;
}

static bool
is_far_ahead(const struct quic_stream *s)
{
	unsigned half = s->wants_room;

	return s->tx_unsent >= UNSENT_SHARE >> half &&
	    s->conn->streams.unsent >= UNSENT_MAX >> half;
}

/* Dropped bytes need no room. For others this stream and the rest count. */
static bool
has_space(const struct quic_stream *s)
{
	if (s->tx_refused)
		return true;
	return !is_far_ahead(s) &&
	    s->tx.held + CHUNK_FIRST <= memory_to_send(s) &&
	    (s->tx.held < SEND_MIN || s->tx.held < send_limit(s));
}

bool
quic_stream_has_room(struct quic_stream *s)
{
	bool space = has_space(s);

	/* A stream that holds nothing has no acknowledgement to wait for. */
	if (!space && s->tx.len == 0)
		reclaim_wait(s);
	else
		reclaim_wait_end(s);
	s->wants_room = !space || !commit_quota_left(s);
	if (space && s->wants_room)
		commit_quota_wait(s);
	return !s->wants_room;
}

/* The size that the last chunk suggests, within the limit of memory. */
static size_t
chunk_to_send(const struct quic_stream *s)
{
	size_t room = memory_to_send(s) - s->tx.held;

	if (room >= s->tx_chunk)
		return s->tx_chunk;
	return room >= CHUNK_NEXT ? CHUNK_NEXT : CHUNK_FIRST;
}

void *
quic_stream_reserve(struct quic_stream *s, size_t *len)
{
	struct chunk *c;

	if (!quic_stream_has_room(s))
		return NULL;
	if (buffer_grow(s, &s->tx, QUIC_RESERVE_MIN, chunk_to_send(s)) != 0) {
		s->wants_room = true;
		if (s->tx.len == 0)
			reclaim_wait(s);
		return NULL;
	}
	c = s->tx.last;
	s->reserved = true;
	*len = c->cap - c->end;
	return c->data + c->end;
}

/*
 * A larger chunk follows one that was filled; a small one follows little data.
 */
static size_t
next_chunk(const struct chunk *c, size_t n)
{
	if (c->end == c->cap)
		return CHUNK_MAX;
	return n < CHUNK_FIRST ? CHUNK_FIRST : CHUNK_NEXT;
}

void
quic_stream_commit(struct quic_stream *s, size_t n)
{
	struct chunk *c;

	s->reserved = false;
	if (n > 0)
		commit_quota_take(s, n);
	if (n == 0 || s->tx_refused) {
		s->tx_lost = s->tx_lost || n > 0;
		/* An idle stream holds no chunk. */
		if (s->tx.len == 0)
			drop_committed(s);
		return;
	}
	if (s->tx.len == 0)
		buffer_trim(s, &s->tx, n);
	c = s->tx.last;
	if (s->tx_next == NULL) {
		s->tx_next = c;
		s->tx_next_at = c->end;
	}
	c->end += n;
	s->tx_chunk = next_chunk(c, n);
	s->tx.len += n;
	note_unsent(s, s->tx_unsent + n);
	h3_resume(s);
}

size_t
quic_stream_push(struct quic_stream *s, const void *data, size_t len)
{
	size_t done = 0, here;
	struct chunk *c;

	while (done < len &&
	    buffer_grow(s, &s->tx, 1,
		len - done < CHUNK_NEXT ? len - done : CHUNK_NEXT) == 0) {
		c = s->tx.last;
		here = c->cap - c->end;
		here = here < len - done ? here : len - done;
		memcpy(c->data + c->end, (const uint8_t *)data + done, here);
		quic_stream_commit(s, here);
		done += here;
	}
	return done;
}

bool
quic_stream_lost(const struct quic_stream *s)
{
	return s->tx_lost;
}

void
quic_stream_finish(struct quic_stream *s)
{
	if (s->finished)
		return;
	s->finished = true;
	if (!s->transport_gone)
		h3_resume(s);
}

static size_t
quantum(const struct quic_conn *conn)
{
	uint64_t size = conn_capacity(conn, QUANTUM_NS);

	if (size < QUANTUM_MIN)
		return QUANTUM_MIN;
	return size < QUANTUM_MAX ? (size_t)size : QUANTUM_MAX;
}

void
stream_undefer(struct quic_stream *s)
{
	if (s->deferred)
		TAILQ_REMOVE(&s->conn->scheduler.deferred, s, deferred_entry);
	s->deferred = false;
}

/*
 * Passes committed bytes to nghttp3, which sends them in one DATA frame: as
 * many as are left of the quantum. With nothing left the stream waits for the
 * next round, which resumes it.
 */
size_t
stream_take(struct quic_stream *s, nghttp3_vec *vec, size_t max, bool *eof)
{
	size_t n = 0, len;
	struct chunk *c;

	if (s->round != s->conn->scheduler.round) {
		s->round = s->conn->scheduler.round;
		s->quantum = quantum(s->conn);
	}
	while (s->tx_unsent > 0 && s->quantum > 0 && n < max) {
		c = s->tx_next;
		if (s->tx_next_at == c->end) {
			s->tx_next = c->next;
			s->tx_next_at = c->next->begin;
			continue;
		}
		len = c->end - s->tx_next_at;
		len = len < s->quantum ? len : s->quantum;
		vec[n].base = c->data + s->tx_next_at;
		vec[n].len = len;
		s->tx_next_at += len;
		note_unsent(s, s->tx_unsent - len);
		s->quantum -= len;
		n++;
	}
	if (s->tx_unsent > 0 && s->quantum == 0 && !s->deferred) {
		s->deferred = true;
		bbr_probe_rtt_note(s->conn);
		TAILQ_INSERT_TAIL(&s->conn->scheduler.deferred, s,
		    deferred_entry);
	}
	report_room(s);
	*eof = s->finished && s->tx_unsent == 0;
	return n;
}

void
stream_acked(struct quic_stream *s, size_t n)
{
	struct chunk *c = s->tx_next;

	s->conn->streams.acked += n;
	if (s->tx.len == 0)
		return; /* dropped by a reset */
	/* tx_next may point to a used-up chunk that is about to be freed. */
	if (c != NULL && s->tx_unsent == 0 && n == s->tx.len && !s->reserved)
		s->tx_next = NULL;
	else if (c != NULL && s->tx_next_at == c->end && c->next != NULL) {
		s->tx_next = c->next;
		s->tx_next_at = c->next->begin;
	}
	buffer_drop(s, &s->tx, n, s->reserved);
	memory_drained(s, n);
	report_room(s);
}
