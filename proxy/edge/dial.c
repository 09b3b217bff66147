#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "proxy/base/happy_eyeballs.h"
#include "proxy/base/basic.h"
#include "proxy/edge/dial.h"

/*
 * The states of a dial:
 *
 *	resolving -> connecting -> finished -> reported
 *
 * A literal is not resolved. If the addresses of one type are late, connecting
 * begins with those of the other, and the late ones are added as they arrive.
 * Every address that the policy permits is an attempt. Attempts start in the
 * order of happy_eyeballs.h (RFC 8305), each a delay after the one before, or at
 * once when that one fails. The states of an attempt:
 *
 *	started -> waiting -> ready -> connecting -> over
 *
 * It is waiting and ready only if there is no free dial slot at first. A
 * waiting attempt does not delay the next ones, whose addresses may have slots.
 *
 * The one timer serves all states: it limits the whole dial, starts the next
 * attempt and those that are ready, and reports the result, so that neither the
 * owner nor another dial is called from inside its own call. finish() closes
 * everything that is still open; on_closed() frees the memory with the last
 * handle.
 *
 * A loopback literal takes only four system calls: the handshake is complete
 * before connect(2) returns, and a second connect(2) finds that without a poll.
 */

struct attempt {
	uv_poll_t poll; /* first: on_poll() casts it to the attempt */
	struct sockaddr_in6 addr;
	struct dial *dial;
	SLIST_ENTRY(attempt) entry;
	struct dial_slot slot;
	bool waiting, ready;	 /* for the slot; has the slot, not started */
	int fd;			 /* -1 unless it is connecting */
	struct key_count *share; /* of fd */
	bool watched;		 /* poll is open */
};

struct dial {
	uv_timer_t timer;
	struct happy_eyeballs addresses;
	SLIST_HEAD(, attempt) attempts;
	unsigned handles;    /* open ones, the timer included */
	uint64_t deadline;   /* in milliseconds of uv_now() */
	uint64_t resolve_by; /* the same, for the first address */
	uint64_t halfway;    /* the same, for the last attempt */
	uint64_t next;	     /* the same, for the next attempt */
	bool finished;
	struct lookup *lookup; /* NULL if no more addresses can arrive */
	const struct dialer *dialer;
	struct target target;
	char requester[CREDENTIAL_MAX + 1];
	struct dial_result result;   /* the most informative one so far */
	struct sockaddr_in6 address; /* result.address points to it */
	void (*on_dialled)(void *arg, const struct dial_result *result);
	void *arg;
};

static const struct {
	int http_status;
	const char *proxy_error;
} answers[] = {
	[DIAL_OK] = { 200, NULL },
	[DIAL_REFUSED] = { 502, "connection_refused" },
	[DIAL_TIMEOUT] = { 504, "connection_timeout" },
	[DIAL_UNROUTABLE] = { 502, "destination_ip_unroutable" },
	[DIAL_LIMIT] = { 503, "connection_limit_reached" },
	[DIAL_SHARE] = { 503, "connection_limit_reached" },
	[DIAL_PROHIBITED] = { 403, "destination_ip_prohibited" },
	[DIAL_DNS_TIMEOUT] = { 504, "dns_timeout" },
	[DIAL_DNS_ERROR] = { 502, "dns_error" },
};

static void on_timer(uv_timer_t *timer);
static void start_attempts(struct dial *d);

static enum dial_status
status_of(int error, sa_family_t family)
{
	switch (-error) {
	case 0:
		return DIAL_OK;
	case ECONNREFUSED:
	case ECONNRESET:
		return DIAL_REFUSED;
	case ETIMEDOUT:
		return DIAL_TIMEOUT;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EAGAIN:
		return DIAL_LIMIT;
	case EDQUOT:
		return DIAL_SHARE;
	case EADDRNOTAVAIL:
		/* No free port; in IPv6 more likely no source address. */
		return family == AF_INET ? DIAL_LIMIT : DIAL_UNROUTABLE;
	default:
		return DIAL_UNROUTABLE;
	}
}

static void
note_status(struct dial *d, enum dial_status status,
    const struct sockaddr *addr)
{
	if (status >= d->result.status)
		return;
	memcpy(&d->address, addr, addr_len(addr));
	d->result.status = status;
	d->result.address = (const struct sockaddr *)&d->address;
}

static void
on_closed(uv_handle_t *handle)
{
	struct dial *d = handle->data;
	struct attempt *a;

	if (--d->handles > 0)
		return;
	while ((a = SLIST_FIRST(&d->attempts)) != NULL) {
		SLIST_REMOVE_HEAD(&d->attempts, entry);
		free(a);
	}
	happy_eyeballs_clear(&d->addresses);
	free(d);
}

static const struct sockaddr *
attempt_addr(const struct attempt *a)
{
	return (const struct sockaddr *)&a->addr;
}

/*
 * Ends the attempt and returns its descriptor. Polling stops before the
 * descriptor is closed or passed on.
 */
static int
attempt_take(struct attempt *a)
{
	int fd = a->fd;

	if (a->watched)
		uv_close((uv_handle_t *)&a->poll, on_closed);
	dial_slot_release(&a->slot);
	a->waiting = a->ready = a->watched = false;
	a->fd = -1;
	return fd;
}

/* Ends the attempt and closes its descriptor. */
static void
attempt_drop(struct attempt *a)
{
	int fd = attempt_take(a);

	if (fd >= 0)
		close(fd);
	descriptors_give(a->dial->dialer->descriptors, a->share);
	a->share = NULL;
}

static bool
attempt_is_open(const struct attempt *a)
{
	return a->waiting || a->ready || a->fd >= 0;
}

static bool
has_open_attempt(const struct dial *d)
{
	const struct attempt *a;

	SLIST_FOREACH(a, &d->attempts, entry)
	if (attempt_is_open(a))
		return true;
	return false;
}

static void
stop(struct dial *d)
{
	struct attempt *a;

	resolver_cancel(d->lookup);
	d->lookup = NULL;
	SLIST_FOREACH(a, &d->attempts, entry)
	attempt_drop(a);
}

static void
finish(struct dial *d)
{
	stop(d);
	d->finished = true;
	uv_timer_start(&d->timer, on_timer, 0, 0);
}

/* The first call starts the handshake, each later one returns its state. */
static int
attempt_connect(struct attempt *a)
{
	const struct sockaddr *addr = attempt_addr(a);

	if (connect(a->fd, addr, addr_len(addr)) == 0 || errno == EISCONN)
		return 0;
	return errno == EALREADY ? -EINPROGRESS : -errno;
}

static void
attempt_done(struct dial *d, struct attempt *a, int error)
{
	note_status(d, status_of(error, a->addr.sin6_family), attempt_addr(a));
	if (error != 0) {
		attempt_drop(a);
		return;
	}
	d->result.fd = attempt_take(a);
	d->result.share = a->share;
	a->share = NULL;
	finish(d);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct attempt *a = (struct attempt *)poll;
	struct dial *d = poll->data;
	int rv = attempt_connect(a);

	/* `status` does not say which error it was; connect(2) does. */
	(void)events;
	if (rv == -EINPROGRESS && status == 0)
		return;
	attempt_done(d, a, rv);
	if (!d->finished)
		start_attempts(d);
}

static int
attempt_watch(struct dial *d, struct attempt *a)
{
	int rv = uv_poll_init(d->timer.loop, &a->poll, a->fd);

	if (rv < 0)
		return rv;
	a->poll.data = d;
	a->watched = true;
	d->handles++;
	return uv_poll_start(&a->poll, UV_WRITABLE, on_poll);
}

static int
attempt_open(struct dial *d, struct attempt *a)
{
	a->fd = socket(a->addr.sin6_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return a->fd < 0 ? -errno
			 : descriptors_take(d->dialer->descriptors, a->fd,
			       d->requester, &a->share);
}

/* Has its slot. The policy may have changed since the name was looked up. */
static void
attempt_go(struct dial *d, struct attempt *a)
{
	int rv;

	if (!policy_permits(d->dialer->policy, attempt_addr(a))) {
		note_status(d, DIAL_PROHIBITED, attempt_addr(a));
		attempt_drop(a);
		return;
	}
	a->ready = false;
	rv = attempt_open(d, a);
	if (rv == 0)
		rv = attempt_connect(a);
	if (rv == -EINPROGRESS)
		rv = attempt_connect(a);
	if (rv == -EINPROGRESS)
		rv = attempt_watch(d, a) < 0 ? -ENOMEM : -EINPROGRESS;
	if (rv != -EINPROGRESS)
		attempt_done(d, a, rv);
}

/* Called while another attempt ends, so start this one by the timer. */
static void
on_slot(void *arg)
{
	struct attempt *a = arg;

	a->waiting = false;
	a->ready = true;
	uv_timer_start(&a->dial->timer, on_timer, 0, 0);
}

static void
attempt_start(struct dial *d, struct attempt *a)
{
	int rv = dial_slot_take(&a->slot, d->dialer->queue, attempt_addr(a),
	    on_slot, a);

	if (rv < 0)
		attempt_done(d, a, rv);
	else if (rv == 0)
		a->waiting = true;
	else
		attempt_go(d, a);
}

/* Returns NULL if all addresses have been tried or memory is exhausted. */
static struct attempt *
attempt_new(struct dial *d)
{
	const struct sockaddr *addr = happy_eyeballs_next(&d->addresses);
	struct attempt *a = addr != NULL ? calloc(1, sizeof(*a)) : NULL;

	if (a == NULL) {
		if (addr != NULL)
			note_status(d, DIAL_LIMIT, addr);
		return NULL;
	}
	memcpy(&a->addr, addr, addr_len(addr));
	a->dial = d;
	a->fd = -1;
	SLIST_INSERT_HEAD(&d->attempts, a, entry);
	return a;
}

static void
arm(struct dial *d)
{
	uint64_t now = uv_now(d->timer.loop), at = d->deadline;

	if (d->lookup != NULL && d->addresses.n == 0)
		at = d->resolve_by;
	else if (d->addresses.ntried < d->addresses.n && d->next < at)
		at = d->next;
	uv_timer_start(&d->timer, on_timer, at > now ? at - now : 0, 0);
}

/* Starts the next attempt, and further ones while they fail immediately. */
static void
start_attempts(struct dial *d)
{
	uint64_t now = uv_now(d->timer.loop);
	struct attempt *a;

	if (d->addresses.ntried == 0)
		d->halfway = now + (d->deadline - now) / 2;
	while (!d->finished && (a = attempt_new(d)) != NULL) {
		attempt_start(d, a);
		if (attempt_is_open(a))
			break;
	}
	if (d->finished)
		return;
	d->next = now +
	    happy_eyeballs_delay(&d->addresses, DIAL_ATTEMPT_DELAY_MS,
		now < d->halfway ? d->halfway - now : 0);
	if (has_open_attempt(d) || d->lookup != NULL)
		arm(d);
	else
		finish(d);
}

/* Starts the attempts that have got their slot. */
static void
start_ready(struct dial *d)
{
	struct attempt *a;

	SLIST_FOREACH(a, &d->attempts, entry)
	if (a->ready && !d->finished)
		attempt_go(d, a);
	if (d->finished)
		return;
	if (uv_now(d->timer.loop) >= d->next || !has_open_attempt(d))
		start_attempts(d);
	else
		arm(d);
}

static void
time_out(struct dial *d)
{
	const struct attempt *a;

	SLIST_FOREACH(a, &d->attempts, entry)
	if (attempt_is_open(a))
		note_status(d, a->fd >= 0 ? DIAL_TIMEOUT : DIAL_LIMIT,
		    attempt_addr(a));
	finish(d);
}

/* No usable address in time; if some arrived, the policy denied them. */
static void
resolve_timed_out(struct dial *d)
{
	if (d->result.status == DIAL_DNS_ERROR)
		d->result.status = DIAL_DNS_TIMEOUT;
	finish(d);
}

static void
report(struct dial *d)
{
	uv_close((uv_handle_t *)&d->timer, on_closed);
	d->on_dialled(d->arg, &d->result);
}

static void
on_timer(uv_timer_t *timer)
{
	struct dial *d = timer->data;

	if (d->finished)
		report(d);
	else if (uv_now(timer->loop) >= d->deadline)
		time_out(d);
	else if (d->addresses.n == 0 && uv_now(timer->loop) >= d->resolve_by)
		resolve_timed_out(d);
	else
		start_ready(d);
}

static void
add_address(struct dial *d, const struct sockaddr *address)
{
	struct sockaddr_in6 copy = { 0 };
	const struct sockaddr *addr = (const struct sockaddr *)&copy;

	memcpy(&copy, address, addr_len(address));
	/* sin_port of an IPv4 address is at the same offset. */
	copy.sin6_port = htons(d->target.port);
	if (d->addresses.n == DIAL_ADDRESSES_MAX)
		return;
	if (!policy_permits(d->dialer->policy, addr))
		note_status(d, DIAL_PROHIBITED, addr);
	else if (happy_eyeballs_add(&d->addresses, addr) == -ENOMEM)
		note_status(d, DIAL_LIMIT, addr);
}

static void
on_addresses(void *arg, const struct ares_addrinfo_node *list, bool more)
{
	struct dial *d = arg;
	unsigned n = 0;

	if (!more)
		d->lookup = NULL;
	for (; list != NULL && n < RESOLVER_ADDRESSES_MAX; n++) {
		add_address(d, list->ai_addr);
		list = list->ai_next;
	}
	if (has_open_attempt(d))
		arm(d);
	else
		start_attempts(d);
}

static void
begin(struct dial *d)
{
	const struct target *target = &d->target;
	struct sockaddr_storage literal;

	if (addr_literal(&literal, target->host, target->port)) {
		add_address(d, (const struct sockaddr *)&literal);
		start_attempts(d);
		return;
	}
	if (host_ends_in_number(target->host)) {
		finish(d);
		return;
	}
	if (resolver_lookup(d->dialer->resolver, target->host, d->requester,
		&d->lookup, on_addresses, d) != 0) {
		d->result.status = DIAL_LIMIT;
		finish(d);
	} else if (d->lookup != NULL) {
		arm(d);
	}
}

int
dial_start(struct dial **dial, const struct dialer *dialer,
    const struct target *target, const char *requester,
    void (*on_dialled)(void *arg, const struct dial_result *result), void *arg)
{
	uv_loop_t *loop = resolver_loop(dialer->resolver);
	struct dial *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return -ENOMEM;
	uv_timer_init(loop, &d->timer);
	d->timer.data = d;
	d->handles = 1;
	SLIST_INIT(&d->attempts);
	d->addresses.max = DIAL_ADDRESSES_MAX;
	d->deadline = uv_now(loop) +
	    dialer->timeout_ms * DIAL_CONNECT_TENTHS / 10;
	d->resolve_by = uv_now(loop) +
	    dialer->timeout_ms * DIAL_RESOLVE_QUARTERS / 4;
	d->dialer = dialer;
	d->target = *target;
	host_drop_final_dot(d->target.host);
	snprintf(d->requester, sizeof(d->requester), "%s", requester);
	d->result.status = DIAL_DNS_ERROR;
	d->result.fd = -1;
	d->on_dialled = on_dialled;
	d->arg = arg;
	begin(d);
	*dial = d;
	return 0;
}

void
dial_cancel(struct dial *dial)
{
	if (dial == NULL)
		return;
	stop(dial);
	if (dial->result.fd >= 0)
		close(dial->result.fd);
	descriptors_give(dial->dialer->descriptors, dial->result.share);
	uv_close((uv_handle_t *)&dial->timer, on_closed);
}

int
dial_http_status(enum dial_status status)
{
	return answers[status].http_status;
}

const char *
dial_proxy_error(enum dial_status status)
{
	return answers[status].proxy_error;
}
