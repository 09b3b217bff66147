/*
 * Which bytes go into packets, and in which order. nghttp3 returns bytes of one
 * stream, and is called once for as many packets as they fill.
 *
 * nghttp3 serves one stream after the other. The streams of a proxy must share,
 * so each has a quantum in each round (see stream_take()). A new round begins
 * when no stream has anything to send in the current one, unless
 * bbr_bottleneck_queue.c forbids it.
 */
#include "quic/compat.h"
#include "quic/internal.h"

/* Streams that have used up their quantum may go on. */
static void
new_round(struct quic_conn *conn)
{
	struct quic_stream *s;

	conn->scheduler.round++;
	while ((s = TAILQ_FIRST(&conn->scheduler.deferred)) != NULL) {
		stream_undefer(s);
		nghttp3_conn_resume_stream(conn->h3, s->id);
	}
}

/*
 * Gets data from nghttp3. If the next stream has none, nghttp3 returns as if no
 * stream had any: then it is called again for the one after it.
 */
static nghttp3_ssize
ask(struct quic_conn *conn)
{
	struct h3_write *o = &conn->scheduler.write;
	nghttp3_ssize n;

	do {
		conn->scheduler.skipped = false;
		n = nghttp3_conn_writev_stream(conn->h3, &o->id, &o->fin,
		    o->vec, WRITE_VECS);
	} while (n == 0 && o->id == -1 && conn->scheduler.skipped);
	return n;
}

/* Gets the next stream data; id -1: there is none. */
static int
write_begin(struct quic_conn *conn)
{
	struct h3_write *o = &conn->scheduler.write;
	nghttp3_ssize n;

	*o = (struct h3_write){ .id = -1 };
	if (conn->h3 == NULL)
		return 0;
	if (conn->scheduler.pending_fin != COMPAT_NO_FIN) {
		*o = (struct h3_write){ .open = true,
			.id = conn->scheduler.pending_fin,
			.fin = 1 };
		return 0;
	}
	if (ngtcp2_conn_get_max_data_left(conn->quic) == 0)
		return 0;
	n = ask(conn);
	if (n == 0 && o->id == -1 && !TAILQ_EMPTY(&conn->scheduler.deferred) &&
	    !bbr_bottleneck_queue_is_full(conn)) {
		new_round(conn);
		n = ask(conn);
	}
	if (n < 0)
		return h3_fail(conn, (int)n);
	o->nvec = (size_t)n;
	o->open = o->id != -1;
	return 0;
}

/* Reports to nghttp3 how many bytes packets have taken, if only the FIN. */
static int
write_end(struct quic_conn *conn)
{
	struct h3_write *o = &conn->scheduler.write;
	int rv;

	o->open = false;
	conn->scheduler.pending_fin = COMPAT_NO_FIN;
	rv = nghttp3_conn_add_write_offset(conn->h3, o->id, o->taken);
	return rv == 0 ? 0 : h3_fail(conn, rv);
}

/*
 * Ends a write for now: nghttp3 returns again what no packet has taken. A FIN
 * without data is kept here: see compat.h.
 */
int
scheduler_finish(struct quic_conn *conn)
{
	struct h3_write *o = &conn->scheduler.write;

	if (o->open && o->taken > 0)
		return write_end(conn);
	if (o->open && o->fin && o->nvec == 0)
		conn->scheduler.pending_fin = o->id;
	o->open = false;
	return 0;
}

/* A packet has taken `n` bytes. */
static int
write_advance(struct quic_conn *conn, size_t n)
{
	struct h3_write *o = &conn->scheduler.write;
	nghttp3_vec *v;

	o->taken += n;
	for (v = &o->vec[o->first]; o->first < o->nvec && n >= v->len; v++) {
		n -= v->len;
		o->first++;
	}
	if (o->first == o->nvec)
		return write_end(conn);
	v->base += n;
	v->len -= n;
	return 0;
}

/* The peer accepts no more of a stream, or has closed it: see compat.h. */
static void
stop_stream(struct quic_conn *conn, int64_t id)
{
	struct quic_stream *s;

	conn->scheduler.pending_fin = COMPAT_NO_FIN;
	nghttp3_conn_shutdown_stream_write(conn->h3, id);
	if ((s = stream_find(conn, id)) != NULL)
		stream_stopped(s);
}

/* Puts stream data into the packet. Returns as ngtcp2_conn_writev_stream(). */
static ngtcp2_ssize
write_data(struct quic_conn *conn, ngtcp2_path *path, ngtcp2_pkt_info *pi,
    uint8_t *buf, size_t cap, uint64_t now)
{
	struct h3_write *o = &conn->scheduler.write;
	uint32_t flags = NGTCP2_WRITE_STREAM_FLAG_MORE |
	    (o->fin ? NGTCP2_WRITE_STREAM_FLAG_FIN : 0);
	ngtcp2_ssize n, taken;

	n = ngtcp2_conn_writev_stream(conn->quic, path, pi, buf, cap, &taken,
	    flags, o->id, (const ngtcp2_vec *)&o->vec[o->first],
	    o->nvec - o->first, now);
	if (taken >= 0 && write_advance(conn, (size_t)taken) != 0)
		return NGTCP2_ERR_CALLBACK_FAILURE;
	return n;
}

/*
 * Fills one packet. Returns as ngtcp2_conn_writev_stream(). The write stays
 * open for the next packet, until scheduler_finish().
 */
ngtcp2_ssize
scheduler_write_packet(struct quic_conn *conn, ngtcp2_path *path,
    ngtcp2_pkt_info *pi, uint8_t *buf, size_t cap, uint64_t now)
{
	struct h3_write *o = &conn->scheduler.write;
	ngtcp2_ssize n;

	for (;;) {
		/* The connection's window does not block one stream. */
		if (ngtcp2_conn_get_max_data_left(conn->quic) == 0 &&
		    scheduler_finish(conn) != 0)
			return NGTCP2_ERR_CALLBACK_FAILURE;
		if (!o->open && write_begin(conn) != 0)
			return NGTCP2_ERR_CALLBACK_FAILURE;
		n = write_data(conn, path, pi, buf, cap, now);
		if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED ||
		    compat_is_stopped(n)) {
			if (scheduler_finish(conn) != 0)
				return NGTCP2_ERR_CALLBACK_FAILURE;
			if (n == NGTCP2_ERR_STREAM_DATA_BLOCKED)
				nghttp3_conn_block_stream(conn->h3, o->id);
			else
				stop_stream(conn, o->id);
		} else if (n != NGTCP2_ERR_WRITE_MORE)
			return n;
	}
}
