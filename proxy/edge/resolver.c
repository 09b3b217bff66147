#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/edge/name_servers.h"
#include "proxy/edge/resolver.h"
#include "proxy/base/log.h"
#include "proxy/base/tally.h"

/*
 *	question	asked -> served in part -> over -> all served, freed
 *	    half	its AAAA or A records: asked -> done
 *	        query	one server for one half: open -> answered, freed
 *	lookup		joined to a question -> served or cancelled, freed
 *
 * The hosts file has the first word, and then the servers. Both halves of a
 * question are asked for side by side, each of the first server that is not
 * known to be silent; of the next one when that one fails, or has not answered
 * within NEXT_SERVER_MS. The first answer counts. When none has come, all servers
 * are asked again as long as somebody waits: a dial has a time-out of its own.
 *
 * Whoever looks up a name that is being asked for joins that question: a
 * thousand tunnels to a name that nobody answers for are one of those that may
 * be in flight. c-ares answers every query, if only from dns_channel_free(), so a
 * question is freed with its last query.
 *
 * When the files have changed there are new channels, and the end of the old
 * ones brings back what they were asked.
 */

/* Milliseconds that a server has before the next one is asked as well. */
#define NEXT_SERVER_MS 300

/* Milliseconds that AAAA may come after A (RFC 8305 section 3). */
#define DELAY_MS 50

/*
 * Milliseconds that one half may come after the other before it is given up:
 * there are servers that drop AAAA.
 */
#define LATE_MS 2000

/*
 * What is served in a turn of the loop: addresses, and so many more for each who
 * is served. Thousands may wait for a name that has hundreds of addresses.
 */
#define REPORT_MAX 2048
#define REPORT_EACH 32

/* What waits, in the order of its time: in one queue all wait equally long. */
struct wait {
	struct queue *queue; /* NULL: it does not wait */
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
	char *conf, *list;	/* a list of servers; may be NULL */
	struct name_servers servers;
	bool in_query;		/* what is answered now, no server has */
	unsigned busy;		/* c-ares calls us: it keeps its channels */
	bool closing;
	uv_timer_t timer;
	struct queue late_server, delay, late;
	void *questions;	/* tsearch(3) tree, those to join */
	unsigned nquestions;	/* all there are */
	struct tally requesters;	/* whose they are */
	TAILQ_HEAD(, question) again;	/* to be asked once more */
	TAILQ_HEAD(, question) reporting; /* not all have been served */
};

struct query {
	struct half *half;
	unsigned server;
	uint64_t at;
	LIST_ENTRY(query) entry;
};

/* In the order of preference (RFC 8305 section 4). */
enum { HALF_AAAA, HALF_A, HALVES };

struct half {
	struct wait late_server; /* first: its callback casts it back */
	struct question *question;
	int family;
	unsigned asked; /* servers of this round, by bits */
	bool timed_out; /* one of these has been silent to the end */
	bool done;
	bool no_data; /* the name has no such record, but may have the other */
	LIST_HEAD(, query) open;
	struct ares_addrinfo *info; /* NULL: there are none, or not yet */
};

TAILQ_HEAD(lookups, lookup);

/* First the name, which the tree compares. */
struct question {
	char name[RESOLVER_NAME_MAX + 1];
	struct wait other; /* half: what is waited for */
	struct resolver *resolver;
	struct tally_entry *requester;
	struct half halves[HALVES];
	struct lookups lookups, served; /* nothing so far, and in part */
	struct ares_addrinfo *part, *rest; /* what they are served */
	bool listed;	/* in the tree */
	bool returned;	/* in the list of those to be asked again */
	bool reporting;	/* in the list of those that go on reporting */
	bool over;	/* nothing more is asked */
	unsigned refs; /* calls and lists that it has to outlive */
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

/* ---- Waiting ---- */

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
	/* Not in this turn: libuv runs what is due at once within the same. */
	else if (!TAILQ_EMPTY(&r->reporting) && at > now)
		at = now + 1;
	if (at == UINT64_MAX)
		uv_timer_stop(&r->timer);
	else
		uv_timer_start(&r->timer, on_timer, at > now ? at - now : 0,
		    0);
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

/* A new question, in the tree and not yet asked; NULL without memory. */
static struct question *
question_new(struct resolver *resolver, const char *name,
    struct tally_entry *requester)
{
	struct question *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->requester = requester;
	strcpy(q->name, name);
	q->resolver = resolver;
	TAILQ_INIT(&q->lookups);
	TAILQ_INIT(&q->served);
	for (int i = 0; i < HALVES; i++) {
		q->halves[i].question = q;
		q->halves[i].family = i == HALF_A ? AF_INET : AF_INET6;
		LIST_INIT(&q->halves[i].open);
	}
	if (tsearch(q, &resolver->questions, compare_names) == NULL) {
		free(q);
		return NULL;
	}
	q->listed = true;
	resolver->nquestions++;
	return q;
}

/* Makes a question for somebody who may have one more. */
static int
question_add(struct resolver *resolver, const char *name, const char *requester,
    struct question **out)
{
	struct tally_entry *share;
	int rv;

	if (resolver->nquestions == RESOLVER_QUESTIONS_MAX)
		return -EAGAIN;
	rv = tally_take(&resolver->requesters, requester,
	    RESOLVER_QUESTIONS_PER_REQUESTER, &share);
	if (rv != 0)
		return rv == -EDQUOT ? -EAGAIN : rv;
	if ((*out = question_new(resolver, name, share)) != NULL)
		return 0;
	tally_give(&resolver->requesters, share);
	return -ENOMEM;
}

/* Whoever asks for the name from now on asks anew. */
static void
question_unlist(struct question *q)
{
	if (q->listed)
		tdelete(q, &q->resolver->questions, compare_names);
	q->listed = false;
}

/* Frees it with the last call that uses it and the last query. */
static void
question_release(struct question *q)
{
	struct resolver *r = q->resolver;

	if (--q->refs > 0 || !q->over ||
	    !LIST_EMPTY(&q->halves[HALF_AAAA].open) ||
	    !LIST_EMPTY(&q->halves[HALF_A].open))
		return;
	r->nquestions--;
	tally_give(&r->requesters, q->requester);
	free(q);
}

static bool
has_lookups(const struct question *q)
{
	return !TAILQ_EMPTY(&q->lookups) || !TAILQ_EMPTY(&q->served);
}

/* ---- Those who are served ---- */

/* All that have come and nobody knows, AAAA in front. */
static struct ares_addrinfo *
take_addresses(struct question *q)
{
	struct ares_addrinfo *all = q->halves[HALF_AAAA].info,
			     *more = q->halves[HALF_A].info;
	struct ares_addrinfo_node **end;

	q->halves[HALF_AAAA].info = q->halves[HALF_A].info = NULL;
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

/* What it takes to tell somebody of these. */
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

/* False, here and below: the turn is over, and there are more to be served. */
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

/* At once, as far as a turn goes, unless others have not come to their end. */
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
	wait_start(q->resolver, &q->resolver->late, &q->other);
	report(q);
}

static void
finish(struct question *q)
{
	q->rest = take_addresses(q);
	question_unlist(q);
	wait_stop(&q->other);
	for (int i = 0; i < HALVES; i++) {
		q->halves[i].done = true;
		wait_stop(&q->halves[i].late_server);
	}
	q->over = true;
	report(q);
}

/* A half is done. */
static void
on_half_done(struct question *q)
{
	struct resolver *r = q->resolver;
	const struct half *aaaa = &q->halves[HALF_AAAA],
			  *a = &q->halves[HALF_A];

	if (q->over)
		return;
	if (aaaa->done && a->done)
		finish(q);
	else if (aaaa->info != NULL)
		report_first(q);
	else if (a->done && !a->no_data)
		wait_start(r, a->info != NULL ? &r->delay : &r->late,
		    &q->other);
}

static void
half_done(struct half *h, struct ares_addrinfo *info)
{
	h->done = true;
	h->info = info;
	wait_stop(&h->late_server);
	on_half_done(h->question);
}

static struct question *
question_of(struct wait *other)
{
	return (struct question *)((char *)other -
	    offsetof(struct question, other));
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

/* ---- Asking ---- */

static void on_answer(void *arg, int status, int timeouts,
    struct ares_addrinfo *info);

static void
query(struct half *h, unsigned server)
{
	struct resolver *r = h->question->resolver;
	struct query *a = malloc(sizeof(*a));
	bool in_query = r->in_query;

	h->asked |= 1U << server;
	if (a == NULL)
		return;
	*a = (struct query){ .half = h, .server = server,
		.at = uv_now(r->loop) };
	LIST_INSERT_HEAD(&h->open, a, entry);
	r->in_query = true;
	r->busy++;
	dns_channel_ask(r->servers.v[server].channel, h->question->name,
	    h->family, on_answer, a);
	r->busy--;
	r->in_query = in_query;
}

/* Asks one more server. False: all have been asked. */
static bool
query_next(struct half *h)
{
	struct resolver *r = h->question->resolver;
	bool also_next;
	int i;

	do {
		i = name_servers_next(&r->servers, h->asked, uv_now(r->loop),
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
 * A server has failed: the next one, or those that are still to answer; or else
 * all again, if it took time and so cannot go round and round.
 */
static void
try_others(struct half *h)
{
	struct question *q = h->question;
	struct resolver *r = q->resolver;

	if (query_next(h) || !LIST_EMPTY(&h->open) || h->done)
		return;
	if (has_lookups(q) && (h->timed_out ||
	    name_servers_changed(&r->servers, r->conf)))
		retry_later(q);
	else
		half_done(h, NULL);
}

/* From the first server on, when no query is open. */
static void
query_all(struct half *h)
{
	h->asked = 0;
	h->timed_out = false;
	try_others(h);
}

/* The old servers are given up, or all is. */
static void
on_returned(struct half *h)
{
	if (h->done || !LIST_EMPTY(&h->open))
		return;
	if (h->question->resolver->closing)
		half_done(h, NULL);
	else
		retry_later(h->question);
}

/* There is none: some servers say NXDOMAIN of one type and have the other. */
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
note_server(struct half *h, const struct query *a, int status)
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
	struct half *h = a.half;
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
			half_done(h, info);
			info = NULL;
		} else if (has_no_record(status)) {
			h->no_data = status == ARES_SUCCESS ||
			    status == ARES_ENODATA;
			half_done(h, NULL);
		} else {
			try_others(h);
		}
	}
	ares_freeaddrinfo(info);
	r->busy--;
	question_release(h->question);
}

/* The servers that were asked have not answered so far. */
static void
on_late_server(struct wait *w)
{
	struct half *h = (struct half *)w;
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
		q->halves[HALF_AAAA].info = info;
		finish(q);
	} else {
		ares_freeaddrinfo(info);
	}
}

/* The hosts file is read at once; for what servers have said it is too late. */
static void
question_start(struct question *q)
{
	struct resolver *r = q->resolver;

	q->refs++;
	r->busy++;
	if (!q->halves[HALF_AAAA].done && !q->halves[HALF_A].done)
		dns_channel_ask(
		    r->servers.hosts, q->name, AF_UNSPEC, on_hosts, q);
	for (int i = 0; i < HALVES; i++)
		if (!q->halves[i].done && LIST_EMPTY(&q->halves[i].open))
			query_all(&q->halves[i]);
	r->busy--;
	question_release(q);
}

/* Those that nobody waits for any more are done with. */
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

/* ---- Servers that change ---- */

/* What is open comes back and is asked again. Not from inside c-ares. */
static void
reopen_servers(struct resolver *r)
{
	struct name_servers old = r->servers, fresh;
	int rv = name_servers_open(&fresh, r->loop, r->conf, r->list);

	if (rv != 0) {
		/* Until they change once more. */
		r->servers.conf_stamp = fresh.conf_stamp;
		r->servers.hosts_stamp = fresh.hosts_stamp;
		log_warn("%s cannot be read (%s): names are asked of the "
		    "servers from before; SIGHUP tries again", r->conf,
		    rv == -EIO ? "is it for all to read?" : strerror(-rv));
		return;
	}
	r->servers = fresh;
	name_servers_close(&old);
}

static void
check_files(struct resolver *r)
{
	if (r->busy > 0 || !name_servers_changed(&r->servers, r->conf))
		return;
	log_info("%s or " NAME_SERVERS_HOSTS " has changed: they are read "
	    "again", r->conf);
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

	check_files(r);
	retry_returned(r);
	report_more(r, REPORT_MAX);
	queue_run(r, &r->delay);
	queue_run(r, &r->late);
	queue_run(r, &r->late_server);
	arm(r);
}

/* ---- Life ---- */

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
	check_files(resolver);
	if ((l = malloc(sizeof(*l))) == NULL)
		return -ENOMEM;
	found = tfind(name, &resolver->questions, compare_names);
	if (found == NULL &&
	    (rv = question_add(resolver, name, requester, &fresh)) != 0) {
		free(l);
		return rv;
	}
	q = found != NULL ? *found : fresh;
	*l = (struct lookup){ .question = q, .list = &q->lookups,
		.on_addresses = on_addresses, .arg = arg };
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
