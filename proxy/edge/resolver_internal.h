#ifndef CULVERT_PROXY_EDGE_RESOLVER_INTERNAL_H
#define CULVERT_PROXY_EDGE_RESOLVER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "proxy/base/keyed_counter.h"
#include "proxy/edge/name_servers.h"
#include "proxy/edge/resolver.h"

/* Shared by resolver.c, dns_question.c and dns_query.c only. */

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

/*
 * The work of one loop iteration, counted in addresses, plus a constant for
 * each lookup: thousands may wait for a name with hundreds of addresses.
 */
#define REPORT_MAX 2048

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

/* resolver.c: the timer; time-outs of a queue */
void resolver_arm(struct resolver *);
void wait_start(struct resolver *, struct queue *, struct wait *);
void wait_stop(struct wait *);

/* dns_question.c */
int question_compare(const void *, const void *);
int question_add(struct resolver *resolver, const char *name,
    const char *requester, struct question **out);
void question_release(struct question *);
bool question_has_lookups(const struct question *);
void question_rrset_done(struct rrset *, struct ares_addrinfo *);
void question_finish(struct question *);
void question_delay_over(struct wait *);
void question_late(struct wait *);
void question_report_more(struct resolver *, size_t left);

/* dns_query.c */
void dns_query_start(struct question *);
void dns_query_retry(struct resolver *);
void dns_query_late(struct wait *);

#endif
