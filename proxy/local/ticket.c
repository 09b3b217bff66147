#include "proxy/local/ticket.h"

#include <stdlib.h>
#include <string.h>

/* An edge may reject a request so often, without looking at it. */
#define REJECTED_MAX 3

static const char lost[] = "the connection to the edge was lost before the "
    "answer; the target may or may not have received the data sent with the "
    "request";

void
tickets_init(struct tickets *ts, void (*on_returned)(void *), void *arg)
{
	memset(ts, 0, sizeof(*ts));
	TAILQ_INIT(&ts->waiting);
	TAILQ_INIT(&ts->asked);
	TAILQ_INIT(&ts->by_age);
	ts->on_returned = on_returned;
	ts->arg = arg;
}

void
tickets_set_user(struct tickets *ts, const struct credentials *user)
{
	explicit_bzero(ts->authorization, sizeof(ts->authorization));
	if (user->user[0] != '\0')
		basic_format(user->user, user->password, ts->authorization,
		    sizeof(ts->authorization));
}

void
tickets_fini(struct tickets *ts)
{
	explicit_bzero(ts->authorization, sizeof(ts->authorization));
}

/* ---- One ticket ---- */

/* Behind those who came before: as a rule that is everybody. */
static void
line_up(struct tickets *ts, struct ticket *t)
{
	struct ticket *last = TAILQ_LAST(&ts->waiting, ticket_list);
	struct ticket *later = NULL;

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
step_out(struct ticket *t)
{
	struct tickets *ts = t->tickets;

	if (t->stream != NULL)
		TAILQ_REMOVE(&ts->asked, t, entry);
	else {
		TAILQ_REMOVE(&ts->waiting, t, entry);
		ts->nwaiting--;
	}
	t->stream = NULL;
}

static void
leave(struct ticket *t)
{
	step_out(t);
	TAILQ_REMOVE(&t->tickets->by_age, t, age);
	t->tickets = NULL;
}

void
ticket_wait(struct tickets *ts, struct ticket *t, uint64_t now)
{
	t->number = ts->numbers++;
	t->stream = NULL;
	t->came = now;
	t->rejected = 0;
	TAILQ_INSERT_TAIL(&ts->by_age, t, age);
	line_up(ts, t);
}

void
ticket_cancel(struct ticket *t)
{
	struct quic_stream *stream = t->stream;

	if (t->tickets == NULL)
		return;
	leave(t);
	if (stream != NULL)
		quic_stream_reset(stream, QUIC_H3_REQUEST_CANCELLED);
}

static void
refuse(struct ticket *t, const struct refusal *refusal)
{
	t->tickets->failed++;
	ticket_cancel(t);
	t->events->refused(t->arg, refusal);
}

/* ---- Answers ---- */

static void
on_response(struct quic_stream *stream, const struct quic_head *head,
    void *arg)
{
	const char *value = quic_head_find(head, ":status");
	int status = value != NULL ? atoi(value) : 0;
	struct ticket *t = arg;
	struct refusal refusal;

	if (status >= 200 && status < 300) {
		t->tickets->opened++;
		leave(t);
		t->events->opened(t->arg, stream);
		return;
	}
	refusal_read(&refusal, t->target, head, status);
	refuse(t, &refusal);
}

/*
 * Whether a request that came to nothing may be made again: if it was not
 * looked at (RFC 9114 §4.1.1), or is lost with its connection, and it does no
 * harm that the target may have heard it.
 */
static bool
may_ask_again(struct ticket *t, uint64_t code, const struct quic_close *why)
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
	struct ticket *t = arg;
	struct tickets *ts = t->tickets;
	struct refusal refusal;

	(void)stream;
	if (may_ask_again(t, code, why)) {
		step_out(t);
		line_up(ts, t);
		ts->on_returned(ts->arg);
		return;
	}
	leave(t);
	ts->failed++;
	refusal_set(&refusal, 502, SOCKS_GENERAL_FAILURE,
	    why != NULL ? lost : "the edge reset the request without an "
	    "answer; its log may say why");
	t->events->refused(t->arg, &refusal);
}

static const struct quic_stream_events events = {
	.response = on_response,
	.aborted = on_aborted,
};

/* ---- Asking ---- */

static int
ask(struct tickets *ts, struct ticket *t, struct quic_conn *conn)
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
tickets_ask(struct tickets *ts, struct quic_conn *conn)
{
	struct ticket *t;
	int rv;

	while ((t = TAILQ_FIRST(&ts->waiting)) != NULL)
		if ((rv = ask(ts, t, conn)) != 0)
			return rv;
	return 0;
}

static struct ticket *
first_bound(const struct tickets *ts, const struct quic_conn *conn)
{
	struct ticket *t;

	TAILQ_FOREACH(t, &ts->asked, entry)
		if (t->bound && quic_stream_conn(t->stream) == conn)
			break;
	return t;
}

void
tickets_recall(struct tickets *ts, struct quic_conn *conn)
{
	struct ticket *t, *before;
	struct quic_stream *stream;
	struct refusal refusal;

	/* From the last one on: each goes to the front of the queue. */
	for (t = TAILQ_LAST(&ts->asked, ticket_list); t != NULL; t = before) {
		before = TAILQ_PREV(t, ticket_list, entry);
		stream = t->stream;
		if (quic_stream_conn(stream) != conn || t->bound)
			continue;
		step_out(t);
		line_up(ts, t);
		quic_stream_reset(stream, QUIC_H3_REQUEST_CANCELLED);
	}
	refusal_set(&refusal, 502, SOCKS_GENERAL_FAILURE, lost);
	while ((t = first_bound(ts, conn)) != NULL)
		refuse(t, &refusal);
}

void
tickets_refuse(struct tickets *ts, const struct refusal *refusal)
{
	struct ticket *t;

	for (size_t n = ts->nwaiting;
	    n > 0 && (t = TAILQ_FIRST(&ts->waiting)) != NULL; n--)
		refuse(t, refusal);
}

/* ---- Time ---- */

/* All have the same time, so the oldest is the next one whose time is over. */
void
tickets_expire(struct tickets *ts, uint64_t now, const struct refusal *why)
{
	struct refusal silent;
	struct ticket *t;

	while (tickets_deadline(ts) <= now) {
		t = TAILQ_FIRST(&ts->by_age);
		if (t->stream == NULL) {
			refuse(t, why);
			continue;
		}
		refusal_of(&silent, t->target, 504, SOCKS_TTL_EXPIRED,
		    "no answer in time (connect-timeout): either the target "
		    "does not answer or the edge does not");
		refuse(t, &silent);
	}
}

uint64_t
tickets_deadline(const struct tickets *ts)
{
	const struct ticket *oldest = TAILQ_FIRST(&ts->by_age);

	return oldest != NULL ? oldest->came + ts->wait_ms : UINT64_MAX;
}

uint64_t
tickets_first(const struct tickets *ts)
{
	const struct ticket *t = TAILQ_FIRST(&ts->waiting);

	return t != NULL ? t->came : UINT64_MAX;
}
