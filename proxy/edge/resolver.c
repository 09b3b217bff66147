#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/edge/name_servers.h"
#include "proxy/edge/resolver.h"
#include "proxy/base/log.h"
#include "proxy/base/keyed_counter.h"

/*
 *	question	open -> served in part -> over -> all served, freed
 *	    rrset	its AAAA or A records: open -> done
 *	        query	to one server for one rrset: open -> answered, freed
 *	lookup		joined to a question -> served or cancelled, freed
 *
 * The hosts file is used first, and then the servers. The queries for AAAA and
 * A run in parallel. Each goes to the first server that is not known to be
 * silent, and to the next one if that one fails or has not answered within
 * NEXT_SERVER_MS. The first answer counts. If there is none, all servers are
 * queried again as long as there are lookups: a dial has its own time-out.
 *
 * A lookup of a name that is being resolved joins that question: a thousand
 * tunnels to a name whose servers are dead take one of RESOLVER_QUESTIONS_MAX.
 * c-ares completes every query, at the latest in dns_channel_free(), so a
 * question is freed with its last query.
 *
 * When the files have changed, new channels are opened, and the end of the old
 * ones returns their queries.
 */

/* Milliseconds without an answer before the next server is queried as well. */
#define NEXT_SERVER_MS 300

/* Milliseconds for which A waits for AAAA (RFC 8305 section 3). */
#define DELAY_MS 50

/*
 * Milliseconds for which one type waits for the other before it is given up:
 * there are servers that drop queries for AAAA.
 */
#define LATE_MS 2000

/*
 * The work of one loop iteration, counted in addresses, plus a constant for
 * each lookup: thousands may wait for a name with hundreds of addresses.
 */
#define REPORT_MAX 2048
#define REPORT_EACH 32

/* A time-out. All of one queue have the same delay, so it stays sorted. */
struct wait {
	struct queue *queue; /* NULL: it is not running */
	uint64_t at;
	TAILQ_ENTRY(wait) entry;
};

struct queue {
	uint64_t delay_ms;
	void (*over)(struct wait *);
	TAILQ_HEAD(, wait) waiting;
};

struct resolver {
	uv_loop_t *loop;
	char *conf, *list; /* a list of servers; may be NULL */
	struct name_servers servers;
	bool in_query; /* a status now comes from c-ares itself */
	unsigned busy; /* inside c-ares: channels must stay open */
	bool closing;
	uv_timer_t timer;
	struct queue late_server, delay, late;
	void *questions;		  /* tsearch(3) tree of those to join */
	unsigned nquestions;		  /* all, also those not in the tree */
	struct keyed_counter requesters;  /* questions by requester */
	TAILQ_HEAD(, question) again;	  /* to be queried once more */
	TAILQ_HEAD(, question) reporting; /* with lookups yet to be served */
};

struct query {
	struct rrset *rrset;
	unsigned server;
	uint64_t at;
	LIST_ENTRY(query) entry;
};

/* In the order of preference (RFC 8305 section 4). */
enum { RRSET_AAAA, RRSET_A, RRSETS };

struct rrset {
	struct wait late_server; /* first: cast back to the rrset */
	struct question *question;
	int family;
	unsigned tried; /* servers that were queried, by bits */
	bool timed_out; /* a query to one of these timed out */
	bool done;
	bool no_data; /* no such record, but the name may have the other */
	LIST_HEAD(, query) open;
	struct ares_addrinfo *info; /* NULL: there are none, or not yet */
};

TAILQ_HEAD(lookups, lookup);

struct question {
	char name[RESOLVER_NAME_MAX + 1]; /* first: the tree compares it */
	struct wait second;		  /* for the other rrset */
	struct resolver *resolver;
	struct key_count *requester;
	struct rrset rrsets[RRSETS];
	struct lookups lookups, served;	   /* not served so far; in part */
	struct ares_addrinfo *part, *rest; /* for the first, second call */
	bool listed;			   /* in resolver->questions */
	bool returned;			   /* in resolver->again */
	bool reporting;			   /* in resolver->reporting */
	bool over;			   /* there are no more queries */
	unsigned refs;			   /* calls and lists that use it */
	TAILQ_ENTRY(question) entry, report_entry;
};

struct lookup {
	struct question *question;
	struct lookups *list;
	void (*on_addresses)(void *arg, const struct ares_addrinfo_node *list,
	    bool more);
	void *arg;
	TAILQ_ENTRY(lookup) entry;
};

/* ---- Time-outs ---- */

static void on_timer(uv_timer_t *timer);

static void
arm(struct resolver *r)
{
	const struct queue *const all[] = { &r->late_server, &r->delay,
		&r->late };
	uint64_t now = uv_now(r->loop), at = UINT64_MAX;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		const struct wait *w = TAILQ_FIRST(&all[i]->waiting);

		if (w != NULL && w->at < at)
			at = w->at;
	}
	if (!TAILQ_EMPTY(&r->again))
		at = now;
	/* In the next iteration: libuv runs a timer of 0 in this one. */
	else if (!TAILQ_EMPTY(&r->reporting) && at > now)
		at = now + 1;
	if (at == UINT64_MAX)
		uv_timer_stop(&r->timer);
	else
		uv_timer_start(&r->timer, on_timer, at > now ? at - now : 0, 0);
}

static void
wait_stop(struct wait *w)
{
	if (w->queue != NULL)
		TAILQ_REMOVE(&w->queue->waiting, w, entry);
	w->queue = NULL;
}

static void
wait_start(struct resolver *r, struct queue *queue, struct wait *w)
{
	wait_stop(w);
	w->queue = queue;
	w->at = uv_now(r->loop) + queue->delay_ms;
	TAILQ_INSERT_TAIL(&queue->waiting, w, entry);
	if (TAILQ_FIRST(&queue->waiting) == w)
		arm(r);
}

static void
queue_run(struct resolver *r, struct queue *queue)
{
	struct wait *w;

	while ((w = TAILQ_FIRST(&queue->waiting)) != NULL &&
	    w->at <= uv_now(r->loop)) {
		wait_stop(w);
		queue->over(w);
	}
}

static void
queue_init(struct queue *queue, uint64_t delay_ms, void (*over)(struct wait *))
{
	queue->delay_ms = delay_ms;
	queue->over = over;
	TAILQ_INIT(&queue->waiting);
}

/* ---- Questions ---- */

static int
compare_names(const void *a, const void *b)
{
	return strcasecmp(a, b);
}

/* Makes a question, in the tree and without queries; NULL without memory. */
static struct question *
question_new(struct resolver *resolver, const char *name,
    struct key_count *requester)
{
	struct question *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->requester = requester;
	strcpy(q->name, name);
	q->resolver = resolver;
	TAILQ_INIT(&q->lookups);
	TAILQ_INIT(&q->served);
	for (int i = 0; i < RRSETS; i++) {
		q->rrsets[i].question = q;
		q->rrsets[i].family = i == RRSET_A ? AF_INET : AF_INET6;
		LIST_INIT(&q->rrsets[i].open);
	}
	if (tsearch(q, &resolver->questions, compare_names) == NULL) {
		free(q);
		return NULL;
	}
	q->listed = true;
	resolver->nquestions++;
	return q;
}

/* Makes a question if the limits allow. */
static int
question_add(struct resolver *resolver, const char *name, const char *requester,
    struct question **out)
{
	struct key_count *share;
	int rv;

	if (resolver->nquestions == RESOLVER_QUESTIONS_MAX)
		return -EAGAIN;
	rv = keyed_counter_take(&resolver->requesters, requester,
	    RESOLVER_QUESTIONS_PER_REQUESTER, &share);
	if (rv != 0)
		return rv == -EDQUOT ? -EAGAIN : rv;
	if ((*out = question_new(resolver, name, share)) != NULL)
		return 0;
	keyed_counter_give(&resolver->requesters, share);
	return -ENOMEM;
}

/* Later lookups of the name make a new question. */
static void
question_unlist(struct question *q)
{
	if (q->listed)
		tdelete(q, &q->resolver->questions, compare_names);
	q->listed = false;
}

/* Frees the question with the last reference and the last query. */
static void
question_release(struct question *q)
{
	struct resolver *r = q->resolver;

	if (--q->refs > 0 || !q->over ||
	    !LIST_EMPTY(&q->rrsets[RRSET_AAAA].open) ||
	    !LIST_EMPTY(&q->rrsets[RRSET_A].open))
		return;
	r->nquestions--;
	keyed_counter_give(&r->requesters, q->requester);
	free(q);
}

static bool
has_lookups(const struct question *q)
{
	return !TAILQ_EMPTY(&q->lookups) || !TAILQ_EMPTY(&q->served);
}

/* ---- Reports to lookups ---- */

/* Takes the addresses that have not been reported yet, AAAA first. */
static struct ares_addrinfo *
take_addresses(struct question *q)
{
	struct ares_addrinfo *all = q->rrsets[RRSET_AAAA].info,
			     *more = q->rrsets[RRSET_A].info;
	struct ares_addrinfo_node **end;

	q->rrsets[RRSET_AAAA].info = q->rrsets[RRSET_A].info = NULL;
	if (all == NULL)
		return more;
	if (more == NULL)
		return all;
	for (end = &all->nodes; *end != NULL; end = &(*end)->ai_next)
		;
	*end = more->nodes;
	more->nodes = NULL;
	ares_freeaddrinfo(more);
	return all;
}

/* The cost of reporting these to one lookup. */
static size_t
cost_of(const struct ares_addrinfo *info)
{
	const struct ares_addrinfo_node *node = NULL;
	size_t n = 0;

	if (info != NULL)
		node = info->nodes;
	for (; node != NULL && n < RESOLVER_ADDRESSES_MAX; node = node->ai_next)
		n++;
	return REPORT_EACH + n;
}

/* False, here and below: the budget is used up, and lookups remain. */
static bool
spend(size_t *left, size_t cost)
{
	if (*left == 0)
		return false;
	*left -= cost < *left ? cost : *left;
	return true;
}

static bool
report_part(struct question *q, size_t *left)
{
	size_t cost = cost_of(q->part);
	struct lookup *l;

	while ((l = TAILQ_FIRST(&q->lookups)) != NULL) {
		if (!spend(left, cost))
			return false;
		TAILQ_REMOVE(&q->lookups, l, entry);
		TAILQ_INSERT_TAIL(&q->served, l, entry);
		l->list = &q->served;
		l->on_addresses(l->arg, q->part->nodes, true);
	}
	ares_freeaddrinfo(q->part);
	q->part = NULL;
	return true;
}

static bool
report_rest(struct question *q, struct lookups *lookups, size_t *left)
{
	size_t cost = cost_of(q->rest);
	struct lookup *l, served;

	while ((l = TAILQ_FIRST(lookups)) != NULL) {
		if (!spend(left, cost))
			return false;
		TAILQ_REMOVE(lookups, l, entry);
		served = *l;
		free(l);
		served.on_addresses(served.arg,
		    q->rest != NULL ? q->rest->nodes : NULL, false);
	}
	return true;
}

static bool
report_some(struct question *q, size_t *left)
{
	if (q->part != NULL && !report_part(q, left))
		return false;
	if (!q->over)
		return true;
	if (!report_rest(q, &q->served, left) ||
	    !report_rest(q, &q->lookups, left))
		return false;
	ares_freeaddrinfo(q->rest);
	q->rest = NULL;
	return true;
}

/* Reports at once as far as the budget goes, unless others wait for theirs. */
static void
report(struct question *q)
{
	struct resolver *r = q->resolver;
	size_t left = REPORT_MAX;

	if (q->reporting ||
	    (TAILQ_EMPTY(&r->reporting) && report_some(q, &left)))
		return;
	TAILQ_INSERT_TAIL(&r->reporting, q, report_entry);
	q->reporting = true;
	q->refs++;
	arm(r);
}

static void
report_more(struct resolver *r, size_t left)
{
	struct question *q;

	while ((q = TAILQ_FIRST(&r->reporting)) != NULL &&
	    report_some(q, &left)) {
		TAILQ_REMOVE(&r->reporting, q, report_entry);
		q->reporting = false;
		question_release(q);
	}
}

static void
report_first(struct question *q)
{
	q->part = take_addresses(q);
	question_unlist(q);
	wait_start(q->resolver, &q->resolver->late, &q->second);
	report(q);
}

static void
finish(struct question *q)
{
	q->rest = take_addresses(q);
	question_unlist(q);
	wait_stop(&q->second);
	for (int i = 0; i < RRSETS; i++) {
		q->rrsets[i].done = true;
		wait_stop(&q->rrsets[i].late_server);
	}
	q->over = true;
	report(q);
}

/* AAAA or A is done. */
static void
on_rrset_done(struct question *q)
{
	struct resolver *r = q->resolver;
	const struct rrset *aaaa = &q->rrsets[RRSET_AAAA],
			   *a = &q->rrsets[RRSET_A];

	if (q->over)
		return;
	if (aaaa->done && a->done)
		finish(q);
	else if (aaaa->info != NULL)
		report_first(q);
	else if (a->done && !a->no_data)
		wait_start(r, a->info != NULL ? &r->delay : &r->late,
		    &q->second);
}

static void
rrset_done(struct rrset *h, struct ares_addrinfo *info)
{
	h->done = true;
	h->info = info;
	wait_stop(&h->late_server);
	on_rrset_done(h->question);
}

static struct question *
question_of(struct wait *second)
{
	return (struct question *)((char *)second -
	    offsetof(struct question, second));
}

static void
on_delay_over(struct wait *w)
{
	struct question *q = question_of(w);

	q->refs++;
	report_first(q);
	question_release(q);
}

static void
on_late(struct wait *w)
{
	struct question *q = question_of(w);

	q->refs++;
	finish(q);
	question_release(q);
}

/* ---- Queries ---- */

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
	arm(r);
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
	if (has_lookups(q) &&
	    (h->timed_out || name_servers_changed(&r->servers, r->conf)))
		retry_later(q);
	else
		rrset_done(h, NULL);
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
		rrset_done(h, NULL);
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
			rrset_done(h, info);
			info = NULL;
		} else if (has_no_record(status)) {
			h->no_data = status == ARES_SUCCESS ||
			    status == ARES_ENODATA;
			rrset_done(h, NULL);
		} else {
			try_others(h);
		}
	}
	ares_freeaddrinfo(info);
	r->busy--;
	question_release(h->question);
}

/* The servers that were queried are late. */
static void
on_late_server(struct wait *w)
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
		finish(q);
	} else {
		ares_freeaddrinfo(info);
	}
}

/* Uses the hosts file, unless a server has answered before, and the servers. */
static void
question_start(struct question *q)
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
static void
retry_returned(struct resolver *r)
{
	TAILQ_HEAD(, question) list = TAILQ_HEAD_INITIALIZER(list);
	struct question *q;

	TAILQ_CONCAT(&list, &r->again, entry);
	while ((q = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, q, entry);
		q->returned = false;
		if (!q->over && has_lookups(q))
			question_start(q);
		else if (!q->over)
			finish(q);
		question_release(q);
	}
}

/* ---- Changes of the servers ---- */

/* Open queries are returned and sent again. Not from inside c-ares. */
static void
reopen_servers(struct resolver *r)
{
	struct name_servers old = r->servers, fresh;
	int rv = name_servers_open(&fresh, r->loop, r->conf, r->list);

	if (rv != 0) {
		/* Try again only after the next change. */
		r->servers.conf_stamp = fresh.conf_stamp;
		r->servers.hosts_stamp = fresh.hosts_stamp;
		log_warn("%s cannot be read (%s); the previous name servers "
			 "stay in use; send SIGHUP to try again",
		    r->conf,
		    rv == -EIO ? "does its mode allow it?" : strerror(-rv));
		return;
	}
	r->servers = fresh;
	name_servers_close(&old);
}

static void
reopen_if_changed(struct resolver *r)
{
	if (r->busy > 0 || !name_servers_changed(&r->servers, r->conf))
		return;
	log_info("%s or " NAME_SERVERS_HOSTS " has changed; reading both "
		 "again",
	    r->conf);
	reopen_servers(r);
}

void
resolver_reload(struct resolver *resolver)
{
	reopen_servers(resolver);
}

static void
on_timer(uv_timer_t *timer)
{
	struct resolver *r = timer->data;

	reopen_if_changed(r);
	retry_returned(r);
	report_more(r, REPORT_MAX);
	queue_run(r, &r->delay);
	queue_run(r, &r->late);
	queue_run(r, &r->late_server);
	arm(r);
}

/* ---- Life cycle ---- */

static void
resolver_init(struct resolver *r, uv_loop_t *loop)
{
	r->loop = loop;
	TAILQ_INIT(&r->again);
	TAILQ_INIT(&r->reporting);
	queue_init(&r->late_server, NEXT_SERVER_MS, on_late_server);
	queue_init(&r->delay, DELAY_MS, on_delay_over);
	queue_init(&r->late, LATE_MS, on_late);
}

static int
open_servers(struct resolver *r)
{
	int rv;

	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return -ENOMEM;
	rv = name_servers_open(&r->servers, r->loop, r->conf, r->list);
	if (rv != 0)
		ares_library_cleanup();
	return rv;
}

static void
resolver_fini(struct resolver *r)
{
	free(r->conf);
	free(r->list);
	free(r);
}

int
resolver_new(struct resolver **resolver, uv_loop_t *loop, const char *conf,
    const char *servers)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int rv = -ENOMEM;

	if (r == NULL)
		return -ENOMEM;
	resolver_init(r, loop);
	r->conf = strdup(conf);
	r->list = servers != NULL ? strdup(servers) : NULL;
	if (r->conf != NULL && (r->list != NULL || servers == NULL))
		rv = open_servers(r);
	if (rv != 0) {
		resolver_fini(r);
		return rv;
	}
	uv_timer_init(loop, &r->timer);
	r->timer.data = r;
	*resolver = r;
	return 0;
}

static void
on_timer_closed(uv_handle_t *handle)
{
	ares_library_cleanup();
	resolver_fini(handle->data);
}

void
resolver_free(struct resolver *resolver)
{
	struct question *q;

	if (resolver == NULL)
		return;
	resolver->closing = true;
	name_servers_close(&resolver->servers);
	while ((q = TAILQ_FIRST(&resolver->again)) != NULL) {
		TAILQ_REMOVE(&resolver->again, q, entry);
		if (!q->over)
			finish(q);
		question_release(q);
	}
	report_more(resolver, SIZE_MAX);
	uv_close((uv_handle_t *)&resolver->timer, on_timer_closed);
}

uv_loop_t *
resolver_loop(const struct resolver *resolver)
{
	return resolver->loop;
}

/* ---- Lookups ---- */

int
resolver_lookup(struct resolver *resolver, const char *name,
    const char *requester, struct lookup **lookup,
    void (*on_addresses)(void *arg, const struct ares_addrinfo_node *list,
	bool more),
    void *arg)
{
	struct question *const *found, *q, *fresh = NULL;
	struct lookup *l;
	int rv;

	if (strlen(name) > RESOLVER_NAME_MAX)
		return -EINVAL;
	reopen_if_changed(resolver);
	if ((l = malloc(sizeof(*l))) == NULL)
		return -ENOMEM;
	found = tfind(name, &resolver->questions, compare_names);
	if (found == NULL &&
	    (rv = question_add(resolver, name, requester, &fresh)) != 0) {
		free(l);
		return rv;
	}
	q = found != NULL ? *found : fresh;
	*l = (struct lookup){ .question = q,
		.list = &q->lookups,
		.on_addresses = on_addresses,
		.arg = arg };
	TAILQ_INSERT_TAIL(&q->lookups, l, entry);
	*lookup = l;
	if (fresh != NULL)
		question_start(fresh);
	return 0;
}

void
resolver_cancel(struct lookup *lookup)
{
	if (lookup == NULL)
		return;
	TAILQ_REMOVE(lookup->list, lookup, entry);
	free(lookup);
}
