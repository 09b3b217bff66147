#include "proxy/local/upstream/tunnel_queue.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/base/stream_quic.h"
#include "proxy/local/upstream/edge_response.h"

/* An edge may reject a request so often without processing it. */
#define REJECTED_MAX 3

static const char lost[] =
    "the connection to the edge was lost before the "
    "answer; the target may or may not have received the data sent with the "
    "request";

void
tunnel_queue_init(struct tunnel_queue *q, void (*on_requeued)(void *),
    void *arg)
{
	memset(q, 0, sizeof(*q));
	TAILQ_INIT(&q->waiting);
	TAILQ_INIT(&q->sent);
	TAILQ_INIT(&q->by_age);
	q->on_requeued = on_requeued;
	q->arg = arg;
}

void
tunnel_queue_set_user(struct tunnel_queue *q, const struct credentials *user)
{
	explicit_bzero(q->authorization, sizeof(q->authorization));
	if (user->user[0] != '\0')
		basic_format(user->user, user->password, q->authorization,
		    sizeof(q->authorization));
}

void
tunnel_queue_fini(struct tunnel_queue *q)
{
	explicit_bzero(q->authorization, sizeof(q->authorization));
}

/* ---- The queue ---- */

/* Behind those that came before: as a rule at the end. */
static void
enqueue(struct tunnel_queue *q, struct tunnel_request *t)
{
	struct tunnel_request *last = TAILQ_LAST(&q->waiting,
	    tunnel_request_list);
	struct tunnel_request *later = NULL;

	if (last != NULL && last->edge.sequence > t->edge.sequence)
		TAILQ_FOREACH(later, &q->waiting, entry)
			if (later->edge.sequence > t->edge.sequence)
				break;
	if (later != NULL)
		TAILQ_INSERT_BEFORE(later, t, entry);
	else
		TAILQ_INSERT_TAIL(&q->waiting, t, entry);
	t->no_retry = false;
	t->edge.queue = q;
	q->nwaiting++;
}

static bool
is_sent(const struct tunnel_request *t)
{
	return stream_is_open(&t->stream);
}

/*
 * Out of the list of its state, before it goes to the other list. It gives up
 * its stream, which is open if it was sent.
 */
static void
dequeue(struct tunnel_request *t, struct stream *stream)
{
	struct tunnel_queue *q = t->edge.queue;

	if (is_sent(t))
		TAILQ_REMOVE(&q->sent, t, entry);
	else {
		TAILQ_REMOVE(&q->waiting, t, entry);
		q->nwaiting--;
	}
	stream_move(stream, &t->stream);
}

static void
forget(struct tunnel_request *t, struct stream *stream)
{
	dequeue(t, stream);
	TAILQ_REMOVE(&t->edge.queue->by_age, t, edge.age);
	t->edge.queue = NULL;
}

void
tunnel_queue_add(struct tunnel_queue *q, struct tunnel_request *t, uint64_t now)
{
	t->edge.sequence = q->next_sequence++;
	t->edge.queued_ms = now;
	t->edge.rejected = 0;
	TAILQ_INSERT_TAIL(&q->by_age, t, edge.age);
	enqueue(q, t);
}

void
tunnel_queue_remove(struct tunnel_request *t)
{
	struct stream stream;

	if (t->edge.queue == NULL)
		return;
	forget(t, &stream);
	if (stream_is_open(&stream))
		stream_reset(&stream, STREAM_CANCELLED);
}

static void
refuse(struct tunnel_request *t, const struct connect_error *error)
{
	t->edge.queue->failed++;
	tunnel_queue_remove(t);
	tunnel_request_refused(t, error);
}

/* ---- Outcomes ---- */

static void
on_response(struct quic_stream *quic, const struct quic_header_section *head,
    void *arg)
{
	const char *value = quic_header_section_find(head, ":status");
	int status = value != NULL ? atoi(value) : 0;
	struct tunnel_request *t = arg;
	struct connect_error error;
	struct stream stream;

	(void)quic;
	if (status >= 200 && status < 300) {
		t->edge.queue->opened++;
		forget(t, &stream);
		tunnel_request_opened(t, &stream);
		return;
	}
	edge_response_error(&error, t->target, head, status);
	refuse(t, &error);
}

/*
 * Whether a request without a response may be sent again: if it was not
 * processed (RFC 9114 §4.1.1), or was lost with its connection and does no harm
 * if the target receives it twice.
 */
static bool
may_retry(struct tunnel_request *t, uint64_t code, const struct quic_close *why)
{
	if (why != NULL)
		return !t->no_retry;
	return code == QUIC_H3_REQUEST_REJECTED &&
	    ++t->edge.rejected <= REJECTED_MAX;
}

static void
on_aborted(struct quic_stream *stream, uint64_t code,
    const struct quic_close *why, void *arg)
{
	struct tunnel_request *t = arg;
	struct tunnel_queue *q = t->edge.queue;
	struct connect_error error;
	struct stream gone;

	(void)stream;
	if (may_retry(t, code, why)) {
		dequeue(t, &gone);
		enqueue(q, t);
		q->on_requeued(q->arg);
		return;
	}
	forget(t, &gone);
	q->failed++;
	if (why != NULL)
		connect_error_set(&error, CONNECT_ERROR_EDGE_CONNECTION_LOST,
		    lost);
	else
		connect_error_set(&error, CONNECT_ERROR_EDGE_RESET,
		    "the edge reset the request without an answer; its log "
		    "may say why");
	tunnel_request_refused(t, &error);
}

static const struct quic_stream_events events = {
	.response = on_response,
	.aborted = on_aborted,
};

/* ---- Sending ---- */

/* The fields that ask for a tunnel of this kind. Returns their number. */
static size_t
put_request(struct quic_field fields[2], enum tunnel_kind kind,
    const char *authority)
{
	switch (kind) {
	case TUNNEL_TCP:
		break;
	}
	fields[0] = (struct quic_field){ ":method", "CONNECT" };
	fields[1] = (struct quic_field){ ":authority", authority };
	return 2;
}

static int
send_request(struct tunnel_queue *q, struct tunnel_request *t,
    struct quic_conn *conn)
{
	struct quic_field fields[3];
	char authority[TARGET_STRLEN];
	struct quic_stream *stream;
	struct stream none;
	size_t n;
	int rv;

	target_format(t->target, authority, sizeof(authority));
	n = put_request(fields, t->kind, authority);
	if (q->authorization[0] != '\0')
		fields[n++] = (struct quic_field){ "proxy-authorization",
			q->authorization };
	rv = quic_stream_request(conn, fields, n, &events, t, &stream);
	if (rv != 0)
		return rv;
	dequeue(t, &none);
	stream_quic_open(&t->stream, stream);
	TAILQ_INSERT_TAIL(&q->sent, t, entry);
	if (t->events->sent != NULL)
		t->events->sent(t->arg, &t->stream);
	return 0;
}

int
tunnel_queue_send(struct tunnel_queue *q, struct quic_conn *conn, size_t max)
{
	struct tunnel_request *t;
	int rv;

	while (max-- > 0 && (t = TAILQ_FIRST(&q->waiting)) != NULL)
		if ((rv = send_request(q, t, conn)) != 0)
			return rv;
	return 0;
}

static const struct quic_conn *
conn_of(const struct tunnel_request *t)
{
	return quic_stream_conn(stream_quic(&t->stream));
}

static struct tunnel_request *
first_without_retry(const struct tunnel_queue *q, const struct quic_conn *conn)
{
	struct tunnel_request *t;

	TAILQ_FOREACH(t, &q->sent, entry)
		if (t->no_retry && conn_of(t) == conn)
			break;
	return t;
}

void
tunnel_queue_requeue(struct tunnel_queue *q, struct quic_conn *conn)
{
	struct tunnel_request *t, *before;
	struct connect_error error;
	struct stream stream;

	/* From the last to the first: each goes to the front of the queue. */
	for (t = TAILQ_LAST(&q->sent, tunnel_request_list); t != NULL;
	     t = before) {
		before = TAILQ_PREV(t, tunnel_request_list, entry);
		if (conn_of(t) != conn || t->no_retry)
			continue;
		dequeue(t, &stream);
		enqueue(q, t);
		stream_reset(&stream, STREAM_CANCELLED);
	}
	connect_error_set(&error, CONNECT_ERROR_EDGE_CONNECTION_LOST, lost);
	while ((t = first_without_retry(q, conn)) != NULL)
		refuse(t, &error);
}

void
tunnel_queue_refuse(struct tunnel_queue *q, const struct connect_error *error)
{
	struct tunnel_request *t;

	for (size_t n = q->nwaiting;
	     n > 0 && (t = TAILQ_FIRST(&q->waiting)) != NULL; n--)
		refuse(t, error);
}

/* ---- Time-outs ---- */

/* The time-out is the same for all, so the oldest is the next to expire. */
void
tunnel_queue_expire(struct tunnel_queue *q, uint64_t now,
    const struct connect_error *why)
{
	struct connect_error timeout;
	struct tunnel_request *t;

	while (tunnel_queue_deadline(q) <= now) {
		t = TAILQ_FIRST(&q->by_age);
		if (!is_sent(t)) {
			refuse(t, why);
			continue;
		}
		connect_error_set_target(&timeout, t->target,
		    CONNECT_ERROR_EDGE_TIMEOUT,
		    "no answer in time (connect-timeout): either the target "
		    "does not answer or the edge does not");
		refuse(t, &timeout);
	}
}

uint64_t
tunnel_queue_deadline(const struct tunnel_queue *q)
{
	const struct tunnel_request *oldest = TAILQ_FIRST(&q->by_age);

	return oldest != NULL ? oldest->edge.queued_ms + q->timeout_ms
			      : UINT64_MAX;
}

uint64_t
tunnel_queue_waiting_since(const struct tunnel_queue *q)
{
	const struct tunnel_request *t = TAILQ_FIRST(&q->waiting);

	return t != NULL ? t->edge.queued_ms : UINT64_MAX;
}
