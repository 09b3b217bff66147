#include "proxy/local/outbound/direct_outbound.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "proxy/base/happy_eyeballs.h"
#include "proxy/base/stream_tcp.h"
#include "proxy/local/outbound/refuse_outbound.h"

/*
 * A request is a dial:
 *
 *	looking up ──▶ attempts ──▶ over
 *
 * A literal is not looked up. Attempts start a delay after the one before, or
 * at once when that one fails, and the first that connects wins. The timer
 * starts the next one, limits the whole, and reports the outcome, so that it
 * never comes from inside open(). A dial lives until its last handle is closed,
 * and a look-up that has begun cannot always be cancelled.
 */

struct attempt {
	uv_poll_t poll;
	struct dial *dial;
	struct sockaddr_storage addr;
	int fd; /* -1: it is over */
	SLIST_ENTRY(attempt) entry;
};

struct dial {
	struct direct_outbound *direct;
	struct tunnel_request *request; /* NULL: withdrawn, or answered */
	uv_timer_t timer;
	uv_getaddrinfo_t lookup;
	bool looking;
	unsigned handles; /* open ones, and the look-up */
	struct happy_eyeballs addresses;
	SLIST_HEAD(, attempt) attempts;
	unsigned nopen;	   /* attempts that are not over */
	uint64_t deadline; /* milliseconds of uv_now() */
	int fd;		   /* connected; -1: not yet */
	int error;	   /* negative: the most telling one so far */
	const char *why;   /* a sentence in place of that */
	bool over;
	LIST_ENTRY(dial) entry; /* while it has a request */
};

struct direct_outbound {
	struct outbound outbound;
	uv_loop_t *loop;
	struct direct_settings settings;
	struct liveness *liveness;
	struct stream_tcp_context tcp;
	struct refuse_outbound *no_memory; /* has what open() cannot take */
	LIST_HEAD(, dial) dials;
	unsigned ndials; /* also those without a request */
	bool freed;
};

static void on_timer(uv_timer_t *);

/* ---- The outcome ---- */

static const char no_memory[] = "there is not enough memory";

static const struct {
	int error;
	enum connect_error_type type;
	const char *text;
} outcomes[] = {
	/* In this order: the first is the most telling. */
	{ -ECONNREFUSED, CONNECT_ERROR_CONNECTION_REFUSED,
	    "the target refused the connection; check the port, and that the "
	    "service runs" },
	{ -ECONNRESET, CONNECT_ERROR_CONNECTION_TERMINATED,
	    "the target closed the connection at once" },
	{ -ETIMEDOUT, CONNECT_ERROR_CONNECTION_TIMEOUT,
	    "the target does not answer; it may be down or behind a "
	    "firewall" },
	{ -EHOSTUNREACH, CONNECT_ERROR_DESTINATION_IP_UNROUTABLE,
	    "this machine does not reach the target's network" },
	{ -ENETUNREACH, CONNECT_ERROR_DESTINATION_IP_UNROUTABLE,
	    "this machine has no route to the target" },
	{ -EMFILE, CONNECT_ERROR_CONNECTION_LIMIT_REACHED,
	    "culvert has no file descriptor left; raise its limit "
	    "(LimitNOFILE=, or ulimit -n)" },
	{ -ENOMEM, CONNECT_ERROR_CONNECTION_LIMIT_REACHED, no_memory },
	{ -EADDRNOTAVAIL, CONNECT_ERROR_CONNECTION_LIMIT_REACHED,
	    "this machine has no address or port left for the connection" },
	{ -EPERM, CONNECT_ERROR_DESTINATION_IP_PROHIBITED,
	    "clients on other machines may reach public addresses only; see "
	    "--allow in culvert(1)" },
	{ UV_EAI_AGAIN, CONNECT_ERROR_DNS_TIMEOUT,
	    "the name servers of this machine do not answer" },
	{ UV_EAI_NONAME, CONNECT_ERROR_DNS_ERROR,
	    "the name does not resolve on this machine; check its spelling" },
};

#define NOUTCOMES (sizeof(outcomes) / sizeof(outcomes[0]))

/* What stands for the error in `outcomes`. */
static int
kind_of(int error)
{
	switch (error) {
	case UV_EAI_NODATA:
	case UV_EAI_ADDRFAMILY:
		return UV_EAI_NONAME;
	case UV_EAI_MEMORY:
	case -ENOBUFS:
		return -ENOMEM;
	case -ENFILE:
		return -EMFILE;
	default:
		return error;
	}
}

/* An error that is not among the outcomes comes after all of them. */
static size_t
rank(int error)
{
	size_t i = 0;

	while (i < NOUTCOMES && outcomes[i].error != error)
		i++;
	return i;
}

static void
note(struct dial *d, int error)
{
	error = kind_of(error);
	if (d->error == 0 || rank(error) < rank(d->error))
		d->error = error;
}

static void
refuse(struct dial *d, struct tunnel_request *t)
{
	struct connect_error error;
	char text[128];
	size_t i = rank(d->error);

	if (d->why != NULL) {
		connect_error_set_target(&error, t->target,
		    CONNECT_ERROR_SHUTTING_DOWN, d->why);
	} else if (i < NOUTCOMES) {
		connect_error_set_target(&error, t->target, outcomes[i].type,
		    outcomes[i].text);
	} else {
		snprintf(text, sizeof(text), "this machine cannot connect: %s",
		    uv_strerror(d->error));
		connect_error_set_target(&error, t->target,
		    CONNECT_ERROR_DESTINATION_UNAVAILABLE, text);
	}
	tunnel_request_refused(t, &error);
}

static void
report(struct dial *d)
{
	struct tunnel_request *t = d->request;
	struct stream stream = { 0 };
	int fd = d->fd;

	LIST_REMOVE(d, entry);
	d->request = NULL;
	d->fd = -1;
	if (fd >= 0) {
		d->error = stream_tcp_open(&stream, &d->direct->tcp, fd);
		fd = d->error == 0 ? fd : -1;
	}
	if (fd >= 0)
		tunnel_request_opened(t, &stream);
	else
		refuse(d, t);
}

/* ---- The end of a dial ---- */

static void
release(struct direct_outbound *direct)
{
	if (direct->freed && direct->ndials == 0)
		free(direct);
}

static void
drop_handle(struct dial *d)
{
	struct direct_outbound *direct = d->direct;
	struct attempt *a;

	if (--d->handles > 0)
		return;
	while ((a = SLIST_FIRST(&d->attempts)) != NULL) {
		SLIST_REMOVE_HEAD(&d->attempts, entry);
		free(a);
	}
	happy_eyeballs_clear(&d->addresses);
	free(d);
	direct->ndials--;
	release(direct);
}

static void
on_poll_closed(uv_handle_t *handle)
{
	struct attempt *a = handle->data;

	drop_handle(a->dial);
}

static void
on_timer_closed(uv_handle_t *handle)
{
	drop_handle(handle->data);
}

/* Polling stops before the descriptor is closed, or used elsewhere. */
static int
attempt_take(struct attempt *a)
{
	int fd = a->fd;

	a->fd = -1;
	a->dial->nopen--;
	uv_close((uv_handle_t *)&a->poll, on_poll_closed);
	return fd;
}

static void
stop(struct dial *d)
{
	struct attempt *a;

	d->over = true;
	SLIST_FOREACH(a, &d->attempts, entry)
	if (a->fd >= 0)
		close(attempt_take(a));
	if (d->looking)
		uv_cancel((uv_req_t *)&d->lookup);
}

/* The outcome is known: the timer reports it. */
static void
finish(struct dial *d)
{
	stop(d);
	if (d->request != NULL)
		uv_timer_start(&d->timer, on_timer, 0, 0);
}

/* ---- Attempts ---- */

static void start_attempts(struct dial *);

static void
attempt_done(struct attempt *a, int error)
{
	struct dial *d = a->dial;
	int fd = attempt_take(a);

	if (error == 0) {
		d->fd = fd;
		finish(d);
		return;
	}
	close(fd);
	note(d, error);
	start_attempts(d);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct attempt *a = poll->data;
	socklen_t len = sizeof(int);
	int error = 0;

	(void)events;
	if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	attempt_done(a, error != 0 ? -error : status);
}

/* 0, or a negative errno: there is no attempt. */
static int
attempt_new(struct dial *d, const struct sockaddr *addr)
{
	struct attempt *a = calloc(1, sizeof(*a));
	int fd, rv;

	if (a == NULL)
		return -ENOMEM;
	fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	rv = fd < 0 ? -errno : 0;
	if (rv == 0 && connect(fd, addr, addr_len(addr)) != 0 &&
	    errno != EINPROGRESS)
		rv = -errno;
	if (rv == 0)
		rv = uv_poll_init(d->direct->loop, &a->poll, fd);
	if (rv != 0) {
		if (fd >= 0)
			close(fd);
		free(a);
		return rv;
	}
	a->dial = d;
	a->fd = fd;
	a->poll.data = a;
	d->handles++;
	d->nopen++;
	SLIST_INSERT_HEAD(&d->attempts, a, entry);
	uv_poll_start(&a->poll, UV_WRITABLE, on_poll);
	return 0;
}

static uint64_t
left(const struct dial *d)
{
	uint64_t now = uv_now(d->direct->loop);

	return now < d->deadline ? d->deadline - now : 0;
}

/* Starts the next attempt, and those after it that fail at once. */
static void
start_attempts(struct dial *d)
{
	const struct sockaddr *addr = NULL;
	uint64_t delay;
	int rv = 0;

	while (!d->over &&
	    (addr = happy_eyeballs_next(&d->addresses)) != NULL) {
		rv = attempt_new(d, addr);
		if (rv == 0)
			break;
		note(d, rv);
	}
	if (d->over)
		return;
	if (addr == NULL && d->nopen == 0) {
		if (d->error == 0)
			note(d, UV_EAI_NONAME);
		finish(d);
		return;
	}
	delay = left(d);
	if (d->addresses.ntried < d->addresses.n)
		delay = happy_eyeballs_delay(&d->addresses,
		    DIRECT_ATTEMPT_DELAY_MS, delay / 2);
	uv_timer_start(&d->timer, on_timer, delay, 0);
}

static void
on_timer(uv_timer_t *timer)
{
	struct dial *d = timer->data;

	if (!d->over && left(d) > 0 && !d->looking) {
		start_attempts(d);
		return;
	}
	if (!d->over) {
		note(d, d->looking ? UV_EAI_AGAIN : -ETIMEDOUT);
		stop(d);
	}
	if (d->request != NULL)
		report(d);
	uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}

/* ---- Addresses ---- */

static void
add_address(struct dial *d, const struct sockaddr *addr)
{
	const struct direct_settings *s = &d->direct->settings;

	if (s->permits != NULL && !s->permits(s->arg, addr))
		note(d, -EPERM);
	else if (happy_eyeballs_add(&d->addresses, addr) == -ENOMEM)
		note(d, -ENOMEM);
}

static void
on_looked_up(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list)
{
	struct dial *d = lookup->data;

	d->looking = false;
	for (const struct addrinfo *ai = list; ai != NULL && !d->over;
	     ai = ai->ai_next)
		add_address(d, ai->ai_addr);
	uv_freeaddrinfo(list);
	if (!d->over) {
		if (status != 0)
			note(d, status);
		start_attempts(d);
	}
	drop_handle(d);
}

static int
look_up(struct dial *d, const struct target *target)
{
	struct target to = *target;
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV };
	char port[6];
	int rv;

	host_drop_final_dot(to.host);
	snprintf(port, sizeof(port), "%u", target->port);
	d->lookup.data = d;
	rv = uv_getaddrinfo(d->direct->loop, &d->lookup, on_looked_up, to.host,
	    port, &hints);
	if (rv != 0)
		return rv;
	d->looking = true;
	d->handles++;
	uv_timer_start(&d->timer, on_timer, left(d), 0);
	return 0;
}

/* ---- Requests ---- */

/*
 * getaddrinfo(3) would take such a name for an address that no rule has seen,
 * as 127.1 and 0x7f000001.
 */
static int
begin(struct dial *d, const struct target *target)
{
	struct sockaddr_storage addr;

	if (addr_dotted_literal(&addr, target)) {
		add_address(d, (struct sockaddr *)&addr);
		uv_timer_start(&d->timer, on_timer, 0, 0);
		return 0;
	}
	return host_ends_in_number(target->host) ? UV_EAI_NONAME
						 : look_up(d, target);
}

static void
open_tunnel(void *provider, struct tunnel_request *t)
{
	struct direct_outbound *direct = provider;
	struct dial *d = calloc(1, sizeof(*d));
	struct outbound *refuser;
	int rv;

	t->direct.dial = d;
	if (d == NULL) {
		refuser = refuse_outbound_get(direct->no_memory);
		refuser->ops->open(refuser->provider, t);
		return;
	}
	*d = (struct dial){ .direct = direct, .request = t, .fd = -1 };
	d->addresses.max = DIRECT_ADDRESSES_MAX;
	d->deadline = uv_now(direct->loop) + direct->settings.timeout_ms;
	uv_timer_init(direct->loop, &d->timer);
	d->timer.data = d;
	d->handles = 1;
	direct->ndials++;
	LIST_INSERT_HEAD(&direct->dials, d, entry);
	rv = begin(d, t->target);
	if (rv != 0) {
		note(d, rv);
		finish(d);
	}
}

static void
cancel(void *provider, struct tunnel_request *t)
{
	struct direct_outbound *direct = provider;
	struct outbound *refuser = refuse_outbound_get(direct->no_memory);
	struct dial *d = t->direct.dial;

	if (d == NULL) {
		refuser->ops->cancel(refuser->provider, t);
		return;
	}
	LIST_REMOVE(d, entry);
	d->request = NULL;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	stop(d);
	uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}

static const struct outbound_ops ops = {
	.open = open_tunnel,
	.cancel = cancel,
};

/* ---- The outbound ---- */

static void
explain_memory(void *arg, const struct target *target,
    struct connect_error *error)
{
	(void)arg;
	connect_error_set_target(error, target,
	    CONNECT_ERROR_CONNECTION_LIMIT_REACHED, no_memory);
}

int
direct_outbound_new(struct direct_outbound **out, uv_loop_t *loop,
    const struct direct_settings *settings)
{
	struct direct_outbound *direct = calloc(1, sizeof(*direct));
	int rv;

	if (direct == NULL)
		return -ENOMEM;
	direct->outbound = (struct outbound){ .ops = &ops, .provider = direct };
	direct->loop = loop;
	direct->settings = *settings;
	LIST_INIT(&direct->dials);
	rv = refuse_outbound_new(&direct->no_memory, loop, explain_memory,
	    NULL);
	if (rv == 0)
		rv = liveness_new(&direct->liveness, loop);
	if (rv != 0) {
		refuse_outbound_free(direct->no_memory);
		free(direct);
		return rv;
	}
	stream_tcp_context_init(&direct->tcp, loop, direct->liveness,
	    settings->keepalive_timeout_s);
	*out = direct;
	return 0;
}

void
direct_outbound_set(struct direct_outbound *direct,
    const struct direct_settings *settings)
{
	direct->settings = *settings;
}

struct outbound *
direct_outbound_get(struct direct_outbound *direct)
{
	return &direct->outbound;
}

void
direct_outbound_free(struct direct_outbound *direct)
{
	static const char why[] = "culvert is shutting down";
	struct dial *d;

	if (direct == NULL)
		return;
	direct->freed = true;
	while ((d = LIST_FIRST(&direct->dials)) != NULL) {
		d->why = why;
		if (d->fd >= 0)
			close(d->fd);
		d->fd = -1;
		stop(d);
		report(d);
		uv_close((uv_handle_t *)&d->timer, on_timer_closed);
	}
	stream_tcp_context_fini(&direct->tcp, why);
	liveness_close(direct->liveness);
	refuse_outbound_free(direct->no_memory);
	release(direct);
}
