/*
 * The queries of a question: which server is queried for a set of records, and
 * which one after it. The hosts file is used first.
 */
#include <stdlib.h>

#include "proxy/edge/resolver_internal.h"

static void
on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info);

static void
query(struct rrset *h, unsigned server)
{
	struct resolver *r = h->question->resolver;
	struct query *a = malloc(sizeof(*a));
	bool in_query = r->in_query;

	h->tried |= 1U << server;
	if (a == NULL)
		return;
	*a = (struct query){ .rrset = h,
		.server = server,
		.at = uv_now(r->loop) };
	LIST_INSERT_HEAD(&h->open, a, entry);
	r->in_query = true;
	r->busy++;
	dns_channel_query(r->servers.v[server].channel, h->question->name,
	    h->family, on_answer, a);
	r->busy--;
	r->in_query = in_query;
}

/* Queries one more server. False: all have been queried. */
static bool
query_next(struct rrset *h)
{
	struct resolver *r = h->question->resolver;
	bool also_next;
	int i;

	do {
		i = name_servers_next(&r->servers, h->tried, uv_now(r->loop),
		    &also_next);
		if (i < 0)
			return false;
		query(h, (unsigned)i);
	} while ((also_next || LIST_EMPTY(&h->open)) && !h->done);
	if (!h->done)
		wait_start(r, &r->late_server, &h->late_server);
	return true;
}

static void
retry_later(struct question *q)
{
	struct resolver *r = q->resolver;

	if (q->returned)
		return;
	TAILQ_INSERT_TAIL(&r->again, q, entry);
	q->returned = true;
	q->refs++;
	resolver_arm(r);
}

/*
 * A server has failed. Queries the next one, or waits for those still open, or
 * queries all again, but only if this took time: otherwise it could loop.
 */
static void
try_others(struct rrset *h)
{
	struct question *q = h->question;
	struct resolver *r = q->resolver;

	if (query_next(h) || !LIST_EMPTY(&h->open) || h->done)
		return;
	if (question_has_lookups(q) &&
	    (h->timed_out || name_servers_changed(&r->servers, r->conf)))
		retry_later(q);
	else
		question_rrset_done(h, NULL);
}

/* Starts with the first server. No query is open. */
static void
query_all(struct rrset *h)
{
	h->tried = 0;
	h->timed_out = false;
	try_others(h);
}

/* The channel was closed: the servers have changed, or the resolver ends. */
static void
on_returned(struct rrset *h)
{
	if (h->done || !LIST_EMPTY(&h->open))
		return;
	if (h->question->resolver->closing)
		question_rrset_done(h, NULL);
	else
		retry_later(h->question);
}

/* No such record. Some servers answer NXDOMAIN for AAAA but have an A. */
static bool
has_no_record(int status)
{
	return status == ARES_SUCCESS || status == ARES_ENODATA ||
	    status == ARES_ENOTFOUND || status == ARES_EBADNAME;
}

static bool
is_answer(int status)
{
	return has_no_record(status) || status == ARES_EFORMERR ||
	    status == ARES_ESERVFAIL || status == ARES_ENOTIMP ||
	    status == ARES_EREFUSED || status == ARES_EBADRESP;
}

static void
note_server(struct rrset *h, const struct query *a, int status)
{
	struct resolver *r = h->question->resolver;
	struct name_server *s = &r->servers.v[a->server];

	if (status == ARES_ETIMEOUT)
		h->timed_out = true;
	if (!is_answer(status))
		name_server_timed_out(s, a->at, uv_now(r->loop));
	else if (!r->in_query)
		name_server_answered(s, uv_now(r->loop));
}

static void
on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct query a = *(struct query *)arg;
	struct rrset *h = a.rrset;
	struct resolver *r = h->question->resolver;

	(void)timeouts;
	LIST_REMOVE((struct query *)arg, entry);
	free(arg);
	h->question->refs++;
	r->busy++;
	if (status == ARES_EDESTRUCTION) {
		on_returned(h);
	} else {
		note_server(h, &a, status);
		if (h->done) {
			/* Another server was faster. */
		} else if (status == ARES_SUCCESS && info->nodes != NULL) {
			question_rrset_done(h, info);
			info = NULL;
		} else if (has_no_record(status)) {
			h->no_data = status == ARES_SUCCESS ||
			    status == ARES_ENODATA;
			question_rrset_done(h, NULL);
		} else {
			try_others(h);
		}
	}
	ares_freeaddrinfo(info);
	r->busy--;
	question_release(h->question);
}

/* The servers that were queried are late. */
void
dns_query_late(struct wait *w)
{
	struct rrset *h = (struct rrset *)w;
	struct resolver *r = h->question->resolver;
	const struct query *a;

	LIST_FOREACH(a, &h->open, entry)
		name_server_timed_out(&r->servers.v[a->server], a->at,
		    uv_now(r->loop));
	h->question->refs++;
	query_next(h);
	question_release(h->question);
}

static void
on_hosts(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct question *q = arg;

	(void)timeouts;
	if (status == ARES_SUCCESS && info->nodes != NULL) {
		q->rrsets[RRSET_AAAA].info = info;
		question_finish(q);
	} else {
		ares_freeaddrinfo(info);
	}
}

/* Uses the hosts file, unless a server has answered before, and the servers. */
void
dns_query_start(struct question *q)
{
	struct resolver *r = q->resolver;

	q->refs++;
	r->busy++;
	if (!q->rrsets[RRSET_AAAA].done && !q->rrsets[RRSET_A].done)
		dns_channel_query(r->servers.hosts, q->name, AF_UNSPEC,
		    on_hosts, q);
	for (int i = 0; i < RRSETS; i++)
		if (!q->rrsets[i].done && LIST_EMPTY(&q->rrsets[i].open))
			query_all(&q->rrsets[i]);
	r->busy--;
	question_release(q);
}

/* Queries again; questions without lookups are finished instead. */
void
dns_query_retry(struct resolver *r)
{
	TAILQ_HEAD(, question) list = TAILQ_HEAD_INITIALIZER(list);
	struct question *q;

	TAILQ_CONCAT(&list, &r->again, entry);
	while ((q = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, q, entry);
		q->returned = false;
		if (!q->over && question_has_lookups(q))
			dns_query_start(q);
		else if (!q->over)
			question_finish(q);
		question_release(q);
	}
}
