/*
 * A question: a name that is being resolved, and the lookups that wait for it.
 * Its two sets of records may come in any order; addresses are reported as soon
 * as RFC 8305 allows, a part of them in each iteration of the loop.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/edge/resolver_internal.h"

/* What a lookup counts, in addresses. */
#define REPORT_EACH 32

int
question_compare(const void *a, const void *b)
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
	if (tsearch(q, &resolver->questions, question_compare) == NULL) {
		free(q);
		return NULL;
	}
	q->listed = true;
	resolver->nquestions++;
	return q;
}

/* Makes a question if the limits allow. */
int
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
		tdelete(q, &q->resolver->questions, question_compare);
	q->listed = false;
}

/* Frees the question with the last reference and the last query. */
void
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

bool
question_has_lookups(const struct question *q)
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
	resolver_arm(r);
}

void
question_report_more(struct resolver *r, size_t left)
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

void
question_finish(struct question *q)
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
		question_finish(q);
	else if (aaaa->info != NULL)
		report_first(q);
	else if (a->done && !a->no_data)
		wait_start(r, a->info != NULL ? &r->delay : &r->late,
		    &q->second);
}

void
question_rrset_done(struct rrset *h, struct ares_addrinfo *info)
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

void
question_delay_over(struct wait *w)
{
	struct question *q = question_of(w);

	q->refs++;
	report_first(q);
	question_release(q);
}

void
question_late(struct wait *w)
{
	struct question *q = question_of(w);

	q->refs++;
	question_finish(q);
	question_release(q);
}
