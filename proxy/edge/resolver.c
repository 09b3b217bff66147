#include <errno.h>
#include <netdb.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/edge/resolver.h"

/*
 * c-ares opens and closes its own sockets and says so in on_socket_state();
 * each gets a poll handle, a watch. One timer runs at the time c-ares asks
 * for. Both only call ares_process_fd(), which calls on_addrinfo().
 *
 *	question	asked -> answered, freed
 *	lookup		joined to a question -> told or cancelled, freed
 *
 * Whoever looks up a name that is being asked for joins that question: a
 * thousand tunnels to a name that nobody answers for are one of those that may
 * be in flight. c-ares answers every question, if only from ares_destroy(), so
 * questions need no count to be freed. The resolver is freed by the close
 * callback of the last handle.
 */

/* Milliseconds until a server is asked again; doubles with every round. */
#define RETRY_MS 2000

/* Rounds: 2 s and 4 s are over before a dial's time is. */
#define ROUNDS 2

struct resolver {
	uv_loop_t *loop;
	uv_timer_t timer;
	ares_channel channel;
	LIST_HEAD(, watch) watches;
	unsigned handles;	/* open ones, the timer included */
	void *questions;	/* tsearch(3) tree, those in flight */
	unsigned nquestions;
};

struct watch {
	uv_poll_t poll;
	ares_socket_t fd;
	struct resolver *resolver;
	LIST_ENTRY(watch) entry;
};

/* First the name, which the tree compares. */
struct question {
	char name[RESOLVER_NAME_MAX + 1];
	struct resolver *resolver;
	TAILQ_HEAD(, lookup) lookups;
};

struct lookup {
	struct question *question;
	void (*on_addresses)(void *arg,
	    const struct ares_addrinfo_node *list);
	void *arg;
	TAILQ_ENTRY(lookup) entry;
};

static void
release(struct resolver *r)
{
	if (--r->handles > 0)
		return;
	ares_library_cleanup();
	free(r);
}

static void on_timer(uv_timer_t *timer);

static void
arm(struct resolver *r)
{
	struct timeval tv;

	if (ares_timeout(r->channel, NULL, &tv) == NULL)
		uv_timer_stop(&r->timer);
	else
		uv_timer_start(&r->timer, on_timer, (uint64_t)tv.tv_sec * 1000 +
		    (uint64_t)tv.tv_usec / 1000 + 1, 0);
}

static void
process(struct resolver *r, ares_socket_t readable, ares_socket_t writable)
{
	ares_process_fd(r->channel, readable, writable);
	arm(r);
}

static void
on_timer(uv_timer_t *timer)
{
	process(timer->data, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;

	/* An error is c-ares' to find, by reading or by writing. */
	if (status < 0)
		events = UV_READABLE | UV_WRITABLE;
	process(w->resolver,
	    (events & UV_READABLE) != 0 ? w->fd : ARES_SOCKET_BAD,
	    (events & UV_WRITABLE) != 0 ? w->fd : ARES_SOCKET_BAD);
}

static void
on_watch_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;

	release(w->resolver);
	free(w);
}

static void
on_timer_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static struct watch *
watch_new(struct resolver *r, ares_socket_t fd)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL || uv_poll_init(r->loop, &w->poll, fd) < 0) {
		free(w);
		return NULL;
	}
	w->poll.data = w;
	w->resolver = r;
	w->fd = fd;
	LIST_INSERT_HEAD(&r->watches, w, entry);
	r->handles++;
	return w;
}

static struct watch *
watch_find(const struct resolver *r, ares_socket_t fd)
{
	struct watch *w;

	LIST_FOREACH(w, &r->watches, entry)
		if (w->fd == fd)
			break;
	return w;
}

static void
on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = data;
	struct watch *w = watch_find(r, fd);
	int events = (readable ? UV_READABLE : 0) |
	    (writable ? UV_WRITABLE : 0);

	if (w == NULL && events != 0)
		w = watch_new(r, fd);
	/* A socket that nobody watches is a server that does not answer. */
	if (w == NULL)
		return;
	if (events != 0) {
		uv_poll_start(&w->poll, events, on_poll);
		return;
	}
	LIST_REMOVE(w, entry);
	uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static int
open_channel(struct resolver *r, const char *servers)
{
	static char lookups[] = "fb"; /* the hosts file, then the servers */
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
		.timeout = RETRY_MS,
		.tries = ROUNDS,
		.lookups = lookups,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = r,
	};
	int status;

	status = ares_init_options(&r->channel, &options,
	    ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
	    ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	if (servers == NULL)
		return 0;
	status = ares_set_servers_ports_csv(r->channel, servers);
	if (status == ARES_SUCCESS)
		return 0;
	ares_destroy(r->channel);
	return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

int
resolver_new(struct resolver **resolver, uv_loop_t *loop, const char *servers)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int rv;

	if (r == NULL)
		return -ENOMEM;
	r->loop = loop;
	LIST_INIT(&r->watches);
	if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		free(r);
		return -ENOMEM;
	}
	rv = open_channel(r, servers);
	if (rv < 0) {
		ares_library_cleanup();
		free(r);
		return rv;
	}
	uv_timer_init(loop, &r->timer);
	r->timer.data = r;
	r->handles = 1;
	*resolver = r;
	return 0;
}

void
resolver_free(struct resolver *resolver)
{
	if (resolver == NULL)
		return;
	ares_destroy(resolver->channel);
	uv_close((uv_handle_t *)&resolver->timer, on_timer_closed);
}

uv_loop_t *
resolver_loop(const struct resolver *resolver)
{
	return resolver->loop;
}

static int
compare_names(const void *a, const void *b)
{
	return strcasecmp(a, b);
}

/*
 * The question leaves the tree first, so that whoever asks again from inside
 * its callback begins another one.
 */
static void
on_addrinfo(void *arg, int status, int timeouts, struct ares_addrinfo *answer)
{
	const struct ares_addrinfo_node *list = NULL;
	struct question *q = arg;
	struct lookup *l, told;

	(void)timeouts;
	tdelete(q, &q->resolver->questions, compare_names);
	q->resolver->nquestions--;
	if (status == ARES_SUCCESS && answer != NULL)
		list = answer->nodes;
	while ((l = TAILQ_FIRST(&q->lookups)) != NULL) {
		TAILQ_REMOVE(&q->lookups, l, entry);
		told = *l;
		free(l);
		told.on_addresses(told.arg, list);
	}
	free(q);
	ares_freeaddrinfo(answer);
}

/* A new question, in the tree and not yet asked; NULL without memory. */
static struct question *
question_new(struct resolver *resolver, const char *name)
{
	struct question *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	strcpy(q->name, name);
	q->resolver = resolver;
	TAILQ_INIT(&q->lookups);
	if (tsearch(q, &resolver->questions, compare_names) == NULL) {
		free(q);
		return NULL;
	}
	resolver->nquestions++;
	return q;
}

static void
ask(struct question *q)
{
	static const struct ares_addrinfo_hints hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	struct resolver *resolver = q->resolver;

	/* This may answer at once, and then the question is gone. */
	ares_getaddrinfo(resolver->channel, q->name, NULL, &hints, on_addrinfo,
	    q);
	arm(resolver);
}

int
resolver_lookup(struct resolver *resolver, const char *name,
    struct lookup **lookup,
    void (*on_addresses)(void *arg, const struct ares_addrinfo_node *list),
    void *arg)
{
	struct question *const *found, *q, *fresh = NULL;
	struct lookup *l;

	if (strlen(name) > RESOLVER_NAME_MAX)
		return -EINVAL;
	found = tfind(name, &resolver->questions, compare_names);
	if (found == NULL && resolver->nquestions == RESOLVER_QUESTIONS_MAX)
		return -EAGAIN;
	if ((l = malloc(sizeof(*l))) == NULL)
		return -ENOMEM;
	q = found != NULL ? *found : (fresh = question_new(resolver, name));
	if (q == NULL) {
		free(l);
		return -ENOMEM;
	}
	*l = (struct lookup){ .question = q, .on_addresses = on_addresses,
		.arg = arg };
	TAILQ_INSERT_TAIL(&q->lookups, l, entry);
	*lookup = l;
	if (fresh != NULL)
		ask(fresh);
	return 0;
}

void
resolver_cancel(struct lookup *lookup)
{
	if (lookup == NULL)
		return;
	TAILQ_REMOVE(&lookup->question->lookups, lookup, entry);
	free(lookup);
}
