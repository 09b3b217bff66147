#include <errno.h>
#include <netdb.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "proxy/edge/resolver.h"
#include "proxy/log.h"
#include "proxy/tally.h"

/*
 * c-ares opens and closes its own sockets and says so in on_socket_state();
 * each gets a poll handle, a watch. One timer runs at the time c-ares asks
 * for. Both only call ares_process_fd(), which calls on_addrinfo().
 *
 *	question	asked -> answered, freed
 *			  ^---------v when the servers have changed meanwhile
 *	lookup		joined to a question -> told or cancelled, freed
 *
 * Whoever looks up a name that is being asked for joins that question: a
 * thousand tunnels to a name that nobody answers for are one of those that may
 * be in flight. c-ares answers every question, if only from ares_destroy(), so
 * questions need no count to be freed. The resolver is freed by the close
 * callback of the last handle.
 *
 * A channel of c-ares keeps the servers it was made with (ares_reinit() is
 * younger than Debian 12). When the files have changed there is a new channel,
 * and the end of the old one brings back what it was asked.
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

/* What tells a file from the one that was there before. */
struct stamp {
	int error; /* of stat(2): there is no file */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified, changed;
};

#define HOSTS "/etc/hosts"

struct stamps {
	struct stamp conf, hosts;
};

struct resolver {
	uv_loop_t *loop;
	char *conf, *servers;	/* servers may be NULL */
	struct stamps stamps;	/* of the files that the channel has read */
	bool busy;		/* c-ares calls us: it keeps its channel */
	bool closing;
	uv_timer_t timer;
	ares_channel channel;
	LIST_HEAD(, watch) watches;
	unsigned handles;	/* open ones, the timer included */
	void *questions;	/* tsearch(3) tree, those in flight */
	unsigned nquestions;
	struct tally askers;	/* whose they are */
	TAILQ_HEAD(, question) again;	/* to be asked once more */
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
	TAILQ_ENTRY(question) entry;
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
	free(r->conf);
	free(r->servers);
	free(r);
}

static void on_timer(uv_timer_t *timer);

/* When c-ares wants it. */
static void
arm(struct resolver *r)
{
	struct timeval tv;
	uint64_t ms;

	if (!TAILQ_EMPTY(&r->again)) {
		uv_timer_start(&r->timer, on_timer, 0, 0);
		return;
	}
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
process(struct resolver *r, ares_socket_t readable, ares_socket_t writable)
{
	r->busy = true;
	ares_process_fd(r->channel, readable, writable);
	r->busy = false;
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct resolver *r = w->resolver;

	/* An error is c-ares' to find, by reading or by writing. */
	if (status < 0)
		events = UV_READABLE | UV_WRITABLE;
	process(r, (events & UV_READABLE) != 0 ? w->fd : ARES_SOCKET_BAD,
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

/* ---- Servers that change ---- */

static struct stamp
stamp_of(const char *path)
{
	struct stat st = { 0 };
	int error = stat(path, &st) == 0 ? 0 : errno;

	return (struct stamp){ .error = error, .device = st.st_dev,
		.inode = st.st_ino, .size = st.st_size,
		.modified = st.st_mtim, .changed = st.st_ctim };
}

static bool
same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool
same_stamp(const struct stamp *a, const struct stamp *b)
{
	return a->error == b->error && a->device == b->device &&
	    a->inode == b->inode && a->size == b->size &&
	    same_time(&a->modified, &b->modified) &&
	    same_time(&a->changed, &b->changed);
}

static struct stamps
stamps_of(const struct resolver *r)
{
	return (struct stamps){ stamp_of(r->conf), stamp_of(HOSTS) };
}

static bool
is_changed(const struct resolver *r)
{
	struct stamps now = stamps_of(r);

	return !same_stamp(&now.conf, &r->stamps.conf) ||
	    !same_stamp(&now.hosts, &r->stamps.hosts);
}

static int
open_channel(ares_channel *channel, struct resolver *r)
{
	static char lookups[] = "fb"; /* the hosts file, then the servers */
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
		.timeout = RETRY_MS,
		.tries = ROUNDS,
		.lookups = lookups,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = r,
		.resolvconf_path = r->conf,
	};
	int status;

	/* Before they are read: what changes meanwhile is read once more. */
	r->stamps = stamps_of(r);
	status = ares_init_options(channel, &options,
	    ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
	    ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF);
	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	if (r->servers == NULL)
		return 0;
	status = ares_set_servers_ports_csv(*channel, r->servers);
	if (status == ARES_SUCCESS)
		return 0;
	ares_destroy(*channel);
	return status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

/*
 * Makes a new channel in the place of the old one, which gives back what it
 * was asked as it ends: that is asked again by the timer. Not from inside a
 * call of c-ares.
 */
static void
renew(struct resolver *r)
{
	ares_channel fresh;
	int rv = open_channel(&fresh, r);

	if (rv != 0) {
		log_warn("%s cannot be read (%s): names are asked of the "
		    "servers from before; SIGHUP tries again", r->conf,
		    rv == -EIO ? "is it for all to read?" : strerror(-rv));
		return;
	}
	ares_destroy(r->channel);
	r->channel = fresh;
}

static void
follow(struct resolver *r)
{
	if (r->busy || !is_changed(r))
		return;
	log_info("%s or " HOSTS " has changed: they are read again", r->conf);
	renew(r);
}

void
resolver_reload(struct resolver *resolver)
{
	renew(resolver);
}

/* ---- Life ---- */

static int
init(struct resolver *r, const char *conf, const char *servers)
{
	r->conf = strdup(conf);
	r->servers = servers != NULL ? strdup(servers) : NULL;
	if (r->conf == NULL || (servers != NULL && r->servers == NULL) ||
	    ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
		return -ENOMEM;
	return 0;
}

int
resolver_new(struct resolver **resolver, uv_loop_t *loop, const char *conf,
    const char *servers)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int rv;

	if (r == NULL)
		return -ENOMEM;
	r->loop = loop;
	LIST_INIT(&r->watches);
	TAILQ_INIT(&r->again);
	rv = init(r, conf, servers);
	if (rv == 0 && (rv = open_channel(&r->channel, r)) != 0)
		ares_library_cleanup();
	if (rv != 0) {
		free(r->conf);
		free(r->servers);
		free(r);
		return rv;
	}
	uv_timer_init(loop, &r->timer);
	r->timer.data = r;
	r->handles = 1;
	*resolver = r;
	return 0;
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
answer(struct question *q, const struct ares_addrinfo_node *list)
{
	struct lookup *l, told;

	tdelete(q, &q->resolver->questions, compare_names);
	q->resolver->nquestions--;
	tally_give(&q->resolver->askers, q->asker);
	while ((l = TAILQ_FIRST(&q->lookups)) != NULL) {
		TAILQ_REMOVE(&q->lookups, l, entry);
		told = *l;
		free(l);
		told.on_addresses(told.arg, list);
	}
	free(q);
}

void
resolver_free(struct resolver *resolver)
{
	struct question *q;

	if (resolver == NULL)
		return;
	resolver->closing = true;
	ares_destroy(resolver->channel);
	while ((q = TAILQ_FIRST(&resolver->again)) != NULL) {
		TAILQ_REMOVE(&resolver->again, q, entry);
		answer(q, NULL);
	}
	uv_close((uv_handle_t *)&resolver->timer, on_timer_closed);
}

uv_loop_t *
resolver_loop(const struct resolver *resolver)
{
	return resolver->loop;
}

/* Whether the servers had a say: without them, others may have one now. */
static bool
is_answer(int status)
{
	return status == ARES_SUCCESS || status == ARES_ENODATA ||
	    status == ARES_ENOTFOUND || status == ARES_EBADNAME;
}

static void
on_addrinfo(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct question *q = arg;
	struct resolver *r = q->resolver;

	(void)timeouts;
	if (!r->closing && !TAILQ_EMPTY(&q->lookups) && !is_answer(status) &&
	    (status == ARES_EDESTRUCTION || is_changed(r))) {
		TAILQ_INSERT_TAIL(&r->again, q, entry);
		uv_timer_start(&r->timer, on_timer, 0, 0);
	} else {
		answer(q, status == ARES_SUCCESS && info != NULL
		    ? info->nodes : NULL);
	}
	ares_freeaddrinfo(info);
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
	bool busy = resolver->busy;

	/* This may answer at once, and then the question is gone. */
	resolver->busy = true;
	ares_getaddrinfo(resolver->channel, q->name, NULL, &hints, on_addrinfo,
	    q);
	resolver->busy = busy;
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

/* Those that nobody waits for any more are done with. */
static void
ask_again(struct resolver *r)
{
	TAILQ_HEAD(, question) list = TAILQ_HEAD_INITIALIZER(list);
	struct question *q;

	TAILQ_CONCAT(&list, &r->again, entry);
	while ((q = TAILQ_FIRST(&list)) != NULL) {
		TAILQ_REMOVE(&list, q, entry);
		if (TAILQ_EMPTY(&q->lookups))
			answer(q, NULL);
		else
			ask(q);
	}
}

/* An answer is late, or has been given back. */
static void
on_timer(uv_timer_t *timer)
{
	struct resolver *r = timer->data;

	follow(r);
	ask_again(r);
	process(r, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(r);
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
	follow(resolver);
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
