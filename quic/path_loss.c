/*
 * The peer's losses show as gaps in its packet numbers, and our own are counted
 * by h3.c. Congestion loses packets, too: while the round trip is long, a queue
 * is, and what is lost then may be the queue's. The rest is lost at random, or
 * by a policer.
 *
 * An interval counts when the next one has ended, since packets that arrive
 * late are not lost.
 */
#include "quic/internal.h"

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
 * A queue is short if the round trip is less than so much longer than the
 * shortest: an eighth, and what delayed acknowledgements and the scheduler
 * account for.
 */
#define QUEUE_PART 8
#define QUEUE_SLACK (4 * NS_PER_MS)

/*
 * With a shorter round trip the edge is near, and what is lost was lost in a
 * socket that was not read in time.
 */
#define NEAR_RTT (2 * NS_PER_MS)

/* RFC 9000 §A.3, for a number that was sent with `bits` bits. */
static uint64_t
full_number(uint64_t largest, uint64_t truncated, unsigned bits)
{
	uint64_t expected = largest + 1, window = UINT64_C(1) << bits;
	uint64_t n = (expected & ~(window - 1)) | truncated;

	if (n + window / 2 <= expected)
		return n + window;
	if (n > expected + window / 2 && n >= window)
		return n - window;
	return n;
}

static void
note_late(struct loss_count *c)
{
	if (c->lost > 0)
		c->lost--;
}

void
path_loss_received(struct quic_conn *conn, const uint8_t *header, size_t len)
{
	struct conn_path_loss *p = &conn->path_loss;
	size_t n = (header[0] & 3) + 1;
	uint64_t number = 0;

	if (conn_is_server(conn) || len < n + 1)
		return;
	for (size_t i = len - n; i < len; i++)
		number = number << 8 | header[i];
	number = full_number(p->largest, number, 8 * (unsigned)n);
	if (!p->any) {
		p->any = true;
		p->largest = number;
		return;
	}
	if (number > p->largest) {
		p->received.packets += number - p->largest;
		p->received.lost += number - p->largest - 1;
		p->largest = number;
	} else
		note_late(number >= p->first ? &p->received
					     : &p->received_before);
}

static bool
is_long(const struct ngtcp2_conn_info *info, uint64_t rtt)
{
	return rtt > info->min_rtt + info->min_rtt / QUEUE_PART + QUEUE_SLACK;
}

static void
end_interval(struct quic_loss *noted, const struct loss_count *n, bool random)
{
	noted->packets += n->packets;
	noted->lost += n->lost;
	noted->random_packets += random ? n->packets : 0;
	noted->random_lost += random ? n->lost : 0;
}

static void
next_interval(struct quic_conn *conn, bool random)
{
	struct conn_path_loss *p = &conn->path_loss;
	struct loss_count sent = { conn->counts.sent, conn->counts.lost };

	end_interval(&p->sent_noted, &p->sent_before, random);
	end_interval(&p->received_noted, &p->received_before, random);
	p->sent_before = (struct loss_count){ sent.packets -
		    p->sent_until.packets,
		sent.lost - p->sent_until.lost };
	p->sent_until = sent;
	p->received_before = p->received;
	p->received = (struct loss_count){ 0, 0 };
	p->first = p->largest + 1;
}

void
path_loss_update(struct quic_conn *conn, uint64_t now)
{
	struct conn_path_loss *p = &conn->path_loss;
	ngtcp2_conn_info info;

	if (conn_is_server(conn) || now < p->look_at)
		return;
	p->look_at = now + LOOK_INTERVAL;
	ngtcp2_conn_get_conn_info(conn->quic, &info);
	if (info.min_rtt == UINT64_MAX || info.min_rtt < NEAR_RTT ||
	    is_long(&info, info.latest_rtt) ||
	    is_long(&info, info.smoothed_rtt))
		p->queued_at = now;
	if (now - p->begin_at < INTERVAL)
		return;
	p->begin_at = now;
	next_interval(conn, now - p->queued_at >= QUEUE_REST);
}
