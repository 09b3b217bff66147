#include "proxy/edge/resolver.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proxy/base/log.h"
#include "proxy/edge/resolver_internal.h"

/* Milliseconds without an answer before the next server is queried as well. */
#define NEXT_SERVER_MS 300

/* Milliseconds for which A waits for AAAA (RFC 8305 section 3). */
#define DELAY_MS 50

/*
 * Milliseconds for which one type waits for the other before it is given up:
 * there are servers that drop queries for AAAA.
 */
#define LATE_MS 2000

/* ---- Time-outs ---- */

static void on_timer(uv_timer_t *timer);

void
resolver_arm(struct resolver *r)
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

void
wait_stop(struct wait *w)
{
	if (w->queue != NULL)
		TAILQ_REMOVE(&w->queue->waiting, w, entry);
	w->queue = NULL;
}

void
wait_start(struct resolver *r, struct queue *queue, struct wait *w)
{
	wait_stop(w);
	w->queue = queue;
	w->at = uv_now(r->loop) + queue->delay_ms;
	TAILQ_INSERT_TAIL(&queue->waiting, w, entry);
	if (TAILQ_FIRST(&queue->waiting) == w)
		resolver_arm(r);
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
	dns_query_retry(r);
	question_report_more(r, REPORT_MAX);
	queue_run(r, &r->delay);
	queue_run(r, &r->late);
	queue_run(r, &r->late_server);
	resolver_arm(r);
}

/* ---- Life cycle ---- */

static void
resolver_init(struct resolver *r, uv_loop_t *loop)
{
	r->loop = loop;
	TAILQ_INIT(&r->again);
	TAILQ_INIT(&r->reporting);
	queue_init(&r->late_server, NEXT_SERVER_MS, dns_query_late);
	queue_init(&r->delay, DELAY_MS, question_delay_over);
	queue_init(&r->late, LATE_MS, question_late);
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
			question_finish(q);
		question_release(q);
	}
	question_report_more(resolver, SIZE_MAX);
	uv_close((uv_handle_t *)&resolver->timer, on_timer_closed);
}

uv_loop_t *
resolver_loop(const struct resolver *resolver)
{
	return resolver->loop;
}

/* ---- Lookups ---- */

/*
 * What is below "localhost" is this machine, too (RFC 6761 §6.3), but c-ares
 * 1.18 asks the servers for it.
 */
static const char *
without_labels(const char *name)
{
	static const char local[] = ".localhost";
	size_t len = strlen(name), n = sizeof(local) - 1;

	if (len > 0 && name[len - 1] == '.')
		len--;
	return len > n && strncasecmp(name + len - n, local, n) == 0 ? local + 1
								     : name;
}

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
	name = without_labels(name);
	reopen_if_changed(resolver);
	if ((l = malloc(sizeof(*l))) == NULL)
		return -ENOMEM;
	found = tfind(name, &resolver->questions, question_compare);
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
		dns_query_start(fresh);
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
