/*
 * Losses show as gaps: of what is received in its packet numbers, and of what
 * was sent in the ranges of ACK frames. A packet that arrives late, or whose
 * loss the library declared too soon, is none. Congestion loses packets, too:
 * while the round trip is long, a queue is, and what is lost then may be the
 * queue's; loss_window.c has the rule for short queues. The rest is lost at
 * random.
 *
 * An interval counts when the next one has ended, since packets that arrive
 * late are not lost.
 */
#include <stdlib.h>

#include "quic/internal.h"
#include "quic/loss_window.h"

/* An interval in nanoseconds: some round trips of most paths. */
#define INTERVAL (200 * NS_PER_MS)

/* Nanoseconds between looks at the queue: it does not change faster. */
#define LOOK_INTERVAL (10 * NS_PER_MS)

/*
 * Losses are the queue's for so long after it was long: a sender needs a round
 * trip or two to notice them.
 */
#define QUEUE_REST (2 * NS_PER_S)

/*
 * For so long after a change of the path nothing counts, since packets of the
 * one before still arrive, or are missing.
 */
#define MOVE_REST (2 * NS_PER_S)

/*
 * A queue is short if the round trip is less than so much longer than the
 * shortest: an eighth, and what delayed acknowledgements and the scheduler
 * account for.
 */
#define QUEUE_PART 8
#define QUEUE_SLACK (4 * NS_PER_MS)

/* Samples of the round-trip time that show a queue. */
#define SAMPLES_MIN 3

/*
 * With a shorter round trip the edge is near, and what is lost was lost in a
 * socket that was not read in time.
 */
#define NEAR_RTT (2 * NS_PER_MS)

struct path_loss_windows {
	struct loss_window sent, received;
	uint64_t acked;	     /* numbers below were acknowledged, or are lost */
	uint64_t mean_bytes; /* of a packet that was sent */
};

/* ---- Windows ---- */

/* They are kept from the first packet on, unless memory is short. */
static struct path_loss_windows *
windows_of(struct quic_conn *conn)
{
	struct conn_path_loss *p = &conn->path_loss;

	if (conn_is_server(conn) ||
	    (p->moved_at != 0 && conn->now - p->moved_at < MOVE_REST))
		return NULL;
	if (p->windows == NULL)
		p->windows = calloc(1, sizeof(*p->windows));
	return p->windows;
}

void
path_loss_free(struct quic_conn *conn)
{
	free(conn->path_loss.windows);
	conn->path_loss.windows = NULL;
}

/* Another window begins with the first packet after the rest. */
void
path_loss_moved(struct quic_conn *conn)
{
	struct conn_path_loss *p = &conn->path_loss;

	path_loss_free(conn);
	p->any = false;
	p->nsamples = 0;
	p->moved_at = p->queued_at = conn->now;
}

/* ---- Packets ---- */

void
path_loss_received(struct quic_conn *conn, uint64_t number, size_t bytes)
{
	struct conn_path_loss *p = &conn->path_loss;
	struct path_loss_windows *w = windows_of(conn);

	if (conn_is_server(conn))
		return;
	if (number > p->largest || !p->any)
		p->largest = number;
	if (w == NULL)
		return;
	if (!p->any)
		loss_window_init(&w->received, number, conn->now);
	p->any = true;
	loss_window_add(&w->received, number, bytes, conn->now);
	loss_window_arrived(&w->received, number, number);
	loss_window_delivered(&w->received, bytes, conn->now);
}

/* Nothing was sent before the window: it begins with this number. */
static void
begin_sent(struct path_loss_windows *w, uint64_t number, size_t bytes,
    uint64_t now)
{
	loss_window_init(&w->sent, number, now);
	w->acked = number;
	w->mean_bytes = bytes;
}

void
path_loss_sent(struct quic_conn *conn, uint64_t number, size_t bytes,
    bool probe)
{
	struct path_loss_windows *w = windows_of(conn);

	if (w == NULL)
		return;
	if (w->mean_bytes == 0)
		begin_sent(w, number, bytes, conn->now);
	loss_window_add(&w->sent, number, bytes, conn->now);
	w->mean_bytes = (7 * w->mean_bytes + bytes) / 8;
	if (probe)
		loss_window_arrived(&w->sent, number, number);
}

void
path_loss_acked(struct quic_conn *conn, uint64_t first, uint64_t last)
{
	struct path_loss_windows *w = windows_of(conn);
	uint64_t n;

	if (w == NULL || w->mean_bytes == 0)
		return;
	n = loss_window_arrived(&w->sent, first, last);
	loss_window_delivered(&w->sent, n * w->mean_bytes, conn->now);
	if (last >= w->acked)
		w->acked = last + 1;
}

/* ---- Intervals ---- */

/* A sample of the round-trip time, unless it is the last one still. */
static void
note_rtt(struct conn_path_loss *p, uint64_t rtt)
{
	if (rtt == p->last_rtt)
		return;
	p->last_rtt = rtt;
	if (p->nsamples++ == 0 || rtt < p->least_rtt)
		p->least_rtt = rtt;
}

/*
 * After a few samples, which may take some intervals, since a side that only
 * receives has few. One short round trip is enough: others may be long by
 * chance.
 */
static void
note_queue(struct conn_path_loss *p, const struct ngtcp2_conn_info *info,
    uint64_t now)
{
	uint64_t most = info->min_rtt + info->min_rtt / QUEUE_PART +
	    QUEUE_SLACK;

	if (info->min_rtt == UINT64_MAX || info->min_rtt < NEAR_RTT)
		p->queued_at = now;
	if (p->nsamples < SAMPLES_MIN)
		return;
	if (p->least_rtt > most)
		p->queued_at = now;
	p->nsamples = 0;
}

static void
end_interval(struct quic_loss *noted, struct loss_window *w, uint64_t end,
    bool random)
{
	struct loss_count c;

	loss_window_next(w, end, &c);
	noted->packets += c.packets;
	noted->lost += c.lost;
	noted->random_packets += random ? c.calm_packets : 0;
	noted->random_lost += random ? c.calm_lost : 0;
}

void
path_loss_update(struct quic_conn *conn, uint64_t now)
{
	struct conn_path_loss *p = &conn->path_loss;
	ngtcp2_conn_info info;
	bool random;

	if (conn_is_server(conn) || now < p->look_at)
		return;
	p->look_at = now + LOOK_INTERVAL;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	note_rtt(p, info.latest_rtt);
	if (now - p->begin_at < INTERVAL || p->windows == NULL)
		return;
	p->begin_at = now;
	note_queue(p, &info, now);
	random = now - p->queued_at >= QUEUE_REST;
	if (p->windows->mean_bytes != 0)
		end_interval(&p->sent_noted, &p->windows->sent,
		    p->windows->acked, random);
	if (p->any)
		end_interval(&p->received_noted, &p->windows->received,
		    p->largest + 1, random);
}
