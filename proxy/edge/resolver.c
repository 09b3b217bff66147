#include <errno.h>
#include <netdb.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proxy/edge/resolver.h"
#include "proxy/tally.h"

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

/*
 * Milliseconds. c-ares may look through all questions for the first that is
 * due: it is asked for that when the timer has fired, but neither for each
 * question nor too often. No time-out of c-ares' is shorter than the longer of
 * these, so a question that comes while the timer runs is not forgotten.
 */
#define TIMER_MIN_MS 20
#define TIMER_MAX_MS 250

struct resolver {
	uv_loop_t *loop;
	uv_timer_t timer;
	ares_channel channel;
	LIST_HEAD(, watch) watches;
	unsigned handles;	/* open ones, the timer included */
	void *questions;	/* tsearch(3) tree, those in flight */
	unsigned nquestions;
	struct tally askers;	/* whose they are */
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
	struct tally_entry *asker;
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

/* When c-ares wants it. */
static void
arm(struct resolver *r)
{
	struct timeval tv;
	uint64_t ms;

	if (ares_timeout(r->channel, NULL, &tv) == NULL) {
		uv_timer_stop(&r->timer);
		return;
	}
	ms = (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000 + 1;
	uv_timer_start(&r->timer, on_timer, ms > TIMER_MIN_MS ? ms
							      : TIMER_MIN_MS,
	    0);
}

/* In time for what c-ares may want by now: too early is no harm. */
static void
arm_early(struct resolver *r)
{
	if (!uv_is_active((uv_handle_t *)&r->timer) ||
	    uv_timer_get_due_in(&r->timer) > TIMER_MAX_MS)
		uv_timer_start(&r->timer, on_timer, TIMER_MAX_MS, 0);
}

static void
on_timer(uv_timer_t *timer)
{
	struct resolver *r = timer->data;

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(r);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct resolver *r = w->resolver;

	/* An error is c-ares' to find, by reading or by writing. */
	if (status < 0)
		events = UV_READABLE | UV_WRITABLE;
	ares_process_fd(r->channel,
	    (events & UV_READABLE) != 0 ? w->fd : ARES_SOCKET_BAD,
	    (events & UV_WRITABLE) != 0 ? w->fd : ARES_SOCKET_BAD);
	arm_early(r);
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
	tally_give(&q->resolver->askers, q->asker);
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
question_new(struct resolver *resolver, const char *name,
    struct tally_entry *asker)
{
	struct question *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->asker = asker;
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
	arm_early(resolver);
}

/* Makes a question for somebody who may have one more. */
static int
question_add(struct resolver *resolver, const char *name, const char *asker,
    struct question **out)
{
	struct tally_entry *share;
	int rv;

	if (resolver->nquestions == RESOLVER_QUESTIONS_MAX)
		return -EAGAIN;
	rv = tally_take(&resolver->askers, asker, RESOLVER_QUESTIONS_PER_ASKER,
	    &share);
	if (rv != 0)
		return rv == -EDQUOT ? -EAGAIN : rv;
	if ((*out = question_new(resolver, name, share)) != NULL)
		return 0;
	tally_give(&resolver->askers, share);
	return -ENOMEM;
}

int
resolver_lookup(struct resolver *resolver, const char *name,
    const char *asker, struct lookup **lookup,
    void (*on_addresses)(void *arg, const struct ares_addrinfo_node *list),
    void *arg)
{
	struct question *const *found, *q, *fresh = NULL;
	struct lookup *l;
	int rv;

	if (strlen(name) > RESOLVER_NAME_MAX)
		return -EINVAL;
	if ((l = malloc(sizeof(*l))) == NULL)
		return -ENOMEM;
	found = tfind(name, &resolver->questions, compare_names);
	if (found == NULL &&
	    (rv = question_add(resolver, name, asker, &fresh)) != 0) {
		free(l);
		return rv;
	}
	q = found != NULL ? *found : fresh;
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
