#include "proxy/local/upstream/tunnel_request.h"

#include <stdlib.h>
#include <string.h>

/* An edge may reject a request so often, without looking at it. */
#define REJECTED_MAX 3

static const char lost[] = "the connection to the edge was lost before the "
    "answer; the target may or may not have received the data sent with the "
    "request";

void
tunnel_requests_init(
    struct tunnel_requests *ts, void (*on_returned)(void *), void *arg)
{
	memset(ts, 0, sizeof(*ts));
	TAILQ_INIT(&ts->waiting);
	TAILQ_INIT(&ts->asked);
	TAILQ_INIT(&ts->by_age);
	ts->on_returned = on_returned;
	ts->arg = arg;
}

void
tunnel_requests_set_user(
    struct tunnel_requests *ts, const struct credentials *user)
{
	explicit_bzero(ts->authorization, sizeof(ts->authorization));
	if (user->user[0] != '\0')
		basic_format(user->user, user->password, ts->authorization,
		    sizeof(ts->authorization));
}

void
tunnel_requests_fini(struct tunnel_requests *ts)
{
	explicit_bzero(ts->authorization, sizeof(ts->authorization));
}

/* ---- One ticket ---- */

/* Behind those who came before: as a rule that is everybody. */
static void
line_up(struct tunnel_requests *ts, struct tunnel_request *t)
{
	struct tunnel_request *last =
	    TAILQ_LAST(&ts->waiting, tunnel_request_list);
	struct tunnel_request *later = NULL;

	if (last != NULL && last->number > t->number)
		TAILQ_FOREACH(later, &ts->waiting, entry)
			if (later->number > t->number)
				break;
	if (later != NULL)
		TAILQ_INSERT_BEFORE(later, t, entry);
	else
		TAILQ_INSERT_TAIL(&ts->waiting, t, entry);
	t->bound = false;
	t->tickets = ts;
	ts->nwaiting++;
}

/* Out of the list of its state, to stand in the other one. */
static void
step_out(struct tunnel_request *t)
{
	struct tunnel_requests *ts = t->tickets;

	if (t->stream != NULL)
		TAILQ_REMOVE(&ts->asked, t, entry);
	else {
		TAILQ_REMOVE(&ts->waiting, t, entry);
		ts->nwaiting--;
	}
	t->stream = NULL;
}

static void
leave(struct tunnel_request *t)
{
	step_out(t);
	TAILQ_REMOVE(&t->tickets->by_age, t, age);
	t->tickets = NULL;
}

void
tunnel_request_wait(
    struct tunnel_requests *ts, struct tunnel_request *t, uint64_t now)
{
	t->number = ts->numbers++;
	t->stream = NULL;
	t->came = now;
	t->rejected = 0;
	TAILQ_INSERT_TAIL(&ts->by_age, t, age);
	line_up(ts, t);
}

void
tunnel_request_cancel(struct tunnel_request *t)
{
	struct quic_stream *stream = t->stream;

	if (t->tickets == NULL)
		return;
	leave(t);
	if (stream != NULL)
		quic_stream_reset(stream, QUIC_H3_REQUEST_CANCELLED);
}

static void
refuse(struct tunnel_request *t, const struct connect_error *refusal)
{
	t->tickets->failed++;
	tunnel_request_cancel(t);
	t->events->refused(t->arg, refusal);
}

/* ---- Answers ---- */

static void
on_response(struct quic_stream *stream, const struct quic_head *head,
    void *arg)
{
	const char *value = quic_head_find(head, ":status");
	int status = value != NULL ? atoi(value) : 0;
	struct tunnel_request *t = arg;
	struct connect_error refusal;

	if (status >= 200 && status < 300) {
		t->tickets->opened++;
		leave(t);
		t->events->opened(t->arg, stream);
		return;
	}
	connect_error_from_response(&refusal, t->target, head, status);
	refuse(t, &refusal);
}

/*
 * Whether a request that came to nothing may be made again: if it was not
 * looked at (RFC 9114 §4.1.1), or is lost with its connection, and it does no
 * harm that the target may have heard it.
 */
static bool
may_ask_again(
    struct tunnel_request *t, uint64_t code, const struct quic_close *why)
{
	if (why != NULL)
		return !t->bound;
	return code == QUIC_H3_REQUEST_REJECTED &&
	    ++t->rejected <= REJECTED_MAX;
}

static void
on_aborted(struct quic_stream *stream, uint64_t code,
    const struct quic_close *why, void *arg)
{
	struct tunnel_request *t = arg;
	struct tunnel_requests *ts = t->tickets;
	struct connect_error refusal;

	(void)stream;
	if (may_ask_again(t, code, why)) {
		step_out(t);
		line_up(ts, t);
		ts->on_returned(ts->arg);
		return;
	}
	leave(t);
	ts->failed++;
	if (why != NULL)
		connect_error_set(&refusal,
		    CONNECT_ERROR_EDGE_CONNECTION_LOST, lost);
	else
		connect_error_set(&refusal, CONNECT_ERROR_EDGE_RESET,
		    "the edge reset the request without an answer; its log "
		    "may say why");
	t->events->refused(t->arg, &refusal);
}

static const struct quic_stream_events events = {
	.response = on_response,
	.aborted = on_aborted,
};

/* ---- Asking ---- */

static int
ask(struct tunnel_requests *ts, struct tunnel_request *t,
    struct quic_conn *conn)
{
	struct quic_field fields[3] = { { ":method", "CONNECT" } };
	char authority[TARGET_STRLEN];
	struct quic_stream *stream;
	size_t n = 2;
	int rv;

	target_format(t->target, authority, sizeof(authority));
	fields[1] = (struct quic_field){ ":authority", authority };
	if (ts->authorization[0] != '\0')
		fields[n++] = (struct quic_field){ "proxy-authorization",
			ts->authorization };
	rv = quic_stream_request(conn, fields, n, &events, t, &stream);
	if (rv != 0)
		return rv;
	step_out(t);
	t->stream = stream;
	TAILQ_INSERT_TAIL(&ts->asked, t, entry);
	if (t->events->asked != NULL)
		t->events->asked(t->arg, stream);
	return 0;
}

int
tunnel_requests_ask(struct tunnel_requests *ts, struct quic_conn *conn)
{
	struct tunnel_request *t;
	int rv;

	while ((t = TAILQ_FIRST(&ts->waiting)) != NULL)
		if ((rv = ask(ts, t, conn)) != 0)
			return rv;
	return 0;
}

static struct tunnel_request *
first_bound(const struct tunnel_requests *ts, const struct quic_conn *conn)
{
	struct tunnel_request *t;

	TAILQ_FOREACH(t, &ts->asked, entry)
		if (t->bound && quic_stream_conn(t->stream) == conn)
			break;
	return t;
}

void
tunnel_requests_recall(struct tunnel_requests *ts, struct quic_conn *conn)
{
	struct tunnel_request *t, *before;
	struct quic_stream *stream;
	struct connect_error refusal;

	/* From the last one on: each goes to the front of the queue. */
	for (t = TAILQ_LAST(&ts->asked, tunnel_request_list); t != NULL;
	     t = before) {
		before = TAILQ_PREV(t, tunnel_request_list, entry);
		stream = t->stream;
		if (quic_stream_conn(stream) != conn || t->bound)
			continue;
		step_out(t);
		line_up(ts, t);
		quic_stream_reset(stream, QUIC_H3_REQUEST_CANCELLED);
	}
	connect_error_set(&refusal, CONNECT_ERROR_EDGE_CONNECTION_LOST, lost);
	while ((t = first_bound(ts, conn)) != NULL)
		refuse(t, &refusal);
}

void
tunnel_requests_refuse(
    struct tunnel_requests *ts, const struct connect_error *refusal)
{
	struct tunnel_request *t;

	for (size_t n = ts->nwaiting;
	    n > 0 && (t = TAILQ_FIRST(&ts->waiting)) != NULL; n--)
		refuse(t, refusal);
}

/* ---- Time ---- */

/* All have the same time, so the oldest is the next one whose time is over. */
void
tunnel_requests_expire(
    struct tunnel_requests *ts, uint64_t now, const struct connect_error *why)
{
	struct connect_error silent;
	struct tunnel_request *t;

	while (tunnel_requests_deadline(ts) <= now) {
		t = TAILQ_FIRST(&ts->by_age);
		if (t->stream == NULL) {
			refuse(t, why);
			continue;
		}
		connect_error_set_target(&silent, t->target,
		    CONNECT_ERROR_EDGE_TIMEOUT,
		    "no answer in time (connect-timeout): either the target "
		    "does not answer or the edge does not");
		refuse(t, &silent);
	}
}

uint64_t
tunnel_requests_deadline(const struct tunnel_requests *ts)
{
	const struct tunnel_request *oldest = TAILQ_FIRST(&ts->by_age);

	return oldest != NULL ? oldest->came + ts->wait_ms : UINT64_MAX;
}

uint64_t
tunnel_requests_first(const struct tunnel_requests *ts)
{
	const struct tunnel_request *t = TAILQ_FIRST(&ts->waiting);

	return t != NULL ? t->came : UINT64_MAX;
}
