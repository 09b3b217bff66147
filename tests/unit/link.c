/*
 * Datagrams are on the wire in the order of their arrival. A step delivers what
 * has arrived or is due, sends all that the ends have to send, and moves the
 * clock to the next arrival or deadline.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/link.h"

#define FIRST_PORT 10000
#define SERVER_PORT 443

/* Steps in which time stands still: far more than any burst has. */
#define STEPS_MAX 10000

/* Datagrams that one receive call may get, and their bytes. */
#define BATCH_MAX 8
#define BATCH_BYTES 65535

bool link_v6;

/* "192.0.", 2 and 7 make 192.0.2.7, or 2001:db8::192.0.2.7. */
static struct sockaddr_storage
address(const char *net, unsigned subnet, unsigned number, unsigned port)
{
	struct sockaddr_storage ss;
	struct sockaddr_in *in = (struct sockaddr_in *)&ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;
	char host[INET6_ADDRSTRLEN];

	memset(&ss, 0, sizeof(ss));
	ss.ss_family = link_v6 ? AF_INET6 : AF_INET;
	snprintf(host, sizeof(host), "%s%s%u.%u", link_v6 ? "2001:db8::" : "",
	    net, subnet, number);
	if (link_v6) {
		in6->sin6_port = htons((uint16_t)port);
		inet_pton(AF_INET6, host, &in6->sin6_addr);
	} else {
		in->sin_port = htons((uint16_t)port);
		inet_pton(AF_INET, host, &in->sin_addr);
	}
	return ss;
}

struct quic_path
link_path_again(size_t client, size_t place, unsigned visit)
{
	return (struct quic_path){
		.local = address("10.0.", visit, 1 + (unsigned)place,
		    5000 + (unsigned)client),
		.remote = address("203.0.", 113, 1, SERVER_PORT),
	};
}

struct quic_path
link_path_at(size_t client, size_t place)
{
	return link_path_again(client, place, 0);
}

struct quic_path
link_path(size_t client)
{
	return link_path_at(client, 0);
}

/* The same path from the other end, behind the NAT. */
static struct quic_path
server_path(const struct link *link, size_t client, size_t place,
    unsigned visit)
{
	return (struct quic_path){
		.local = address("203.0.", 113, 1, SERVER_PORT),
		.remote = address("192.0.", visit, 1 + (unsigned)place,
		    link->port[client]),
	};
}

/* The last four bytes of an address. */
static uint32_t
ending_of(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;
	uint32_t ending = in->sin_addr.s_addr;

	if (ss->ss_family == AF_INET6)
		memcpy(&ending, &in6->sin6_addr.s6_addr[12], sizeof(ending));
	return ntohl(ending);
}

/* Both ends know a place by the last byte of an address ... */
static size_t
place_of(const struct sockaddr_storage *ss)
{
	return (ending_of(ss) & 0xff) - 1;
}

/* ... and a visit there by the one before. */
static unsigned
visit_of(const struct sockaddr_storage *ss)
{
	return ending_of(ss) >> 8 & 0xff;
}

static size_t
client_of(const struct quic_path *path)
{
	const struct sockaddr_in *in = (const void *)&path->remote;
	const struct sockaddr_in6 *in6 = (const void *)&path->remote;

	return (size_t)(ntohs(in->sin_family == AF_INET6 ? in6->sin6_port
							 : in->sin_port) -
		   FIRST_PORT) /
	    LINK_NAT_PORTS;
}

struct link *
link_new(void)
{
	struct link *link = calloc(1, sizeof(*link));

	TAILQ_INIT(&link->wire);
	link->now = LINK_S;
	link->delay = 25 * LINK_MS;
	link->size_max = LINK_DATAGRAM_MAX;
	link->random = 1;
	link->server_train = calloc(1, sizeof(struct quic_gso));
	for (size_t i = 0; i < LINK_CROWD_MAX; i++) {
		link->port[i] = (uint16_t)(FIRST_PORT + i * LINK_NAT_PORTS);
		link->client_train[i] = calloc(1, sizeof(struct quic_gso));
	}
	return link;
}

void
link_free(struct link *link)
{
	struct link_datagram *d;

	while ((d = TAILQ_FIRST(&link->wire)) != NULL) {
		TAILQ_REMOVE(&link->wire, d, entry);
		free(d);
	}
	for (size_t i = 0; i < LINK_CROWD_MAX; i++) {
		quic_conn_free(link->clients[i]);
		free(link->client_train[i]);
	}
	quic_server_free(link->server);
	free(link->server_train);
	free(link);
}

void
link_drop_client(struct link *link, size_t client)
{
	quic_conn_free(link->clients[client]);
	link->clients[client] = NULL;
	link->client_train[client]->held_len = 0;
}

void
link_drop_server(struct link *link)
{
	quic_server_free(link->server);
	link->server = NULL;
	link->server_train->held_len = 0;
}

/* xorshift64*: the state is never 0. */
uint64_t
link_random(struct link *link, uint64_t n)
{
	link->random ^= link->random >> 12;
	link->random ^= link->random << 25;
	link->random ^= link->random >> 27;
	return (link->random * UINT64_C(0x2545f4914f6cdd1d) >> 16) % n;
}

/* ---- On the wire ---- */

static void
wire_put(struct link *link, const struct link_datagram *copied, uint64_t at)
{
	struct link_datagram *d = malloc(sizeof(*d)), *before;

	*d = *copied;
	d->at = at;
	TAILQ_FOREACH_REVERSE(before, &link->wire, link_wire, entry)
		if (before->at <= at)
			break;
	if (before == NULL)
		TAILQ_INSERT_HEAD(&link->wire, d, entry);
	else
		TAILQ_INSERT_AFTER(&link->wire, before, d, entry);
}

static bool
by_chance(struct link *link, unsigned of_1000)
{
	return of_1000 > 0 && link_random(link, 1000) < of_1000;
}

/* Whether the queue before the line takes a datagram, and when it is sent. */
static bool
line_takes(struct link *link, const struct link_datagram *d, uint64_t *at)
{
	uint64_t *busy_until = &link->busy_until[d->up];

	*at = link->now;
	if (link->byte_ns == 0)
		return true;
	if (*busy_until > *at)
		*at = *busy_until;
	if (*at - link->now > link->queue_max)
		return false;
	*busy_until = *at += d->len * link->byte_ns;
	return true;
}

static void
wire_send(struct link *link, struct link_datagram *d)
{
	uint64_t at;

	if ((link->tamper != NULL && !link->tamper(d, link->tamper_arg)) ||
	    d->len > link->size_max || link->down[d->place] ||
	    (link->place_size_max[d->place] != 0 &&
		d->len > link->place_size_max[d->place]) ||
	    by_chance(link, link->loss) || !line_takes(link, d, &at))
		return;
	at += link->delay;
	if (d->up && link->batch_ns[d->client] != 0)
		at += link->batch_ns[d->client] -
		    at % link->batch_ns[d->client];
	if (by_chance(link, link->late))
		at += link_random(link, link->delay);
	if (by_chance(link, link->twice))
		wire_put(link, d, at + link_random(link, link->delay));
	wire_put(link, d, at);
}

/* Cuts a train into its packets. */
static void
send_train(struct link *link, bool up, size_t client,
    const struct quic_gso *gso)
{
	const struct sockaddr_storage *from_or_to = up ? &gso->path.local
						       : &gso->path.remote;
	struct link_datagram d = { .up = up, .client = client };
	size_t at, len;

	d.place = place_of(from_or_to);
	d.path = up ? server_path(link, client, d.place, visit_of(from_or_to))
		    : link_path_again(client, d.place, visit_of(from_or_to));
	d.ecn = gso->ecn;
	for (at = 0; at < gso->len; at += len) {
		len = gso->len - at;
		if (len > gso->segment)
			len = gso->segment;
		*(up ? &link->sent_up : &link->sent_down) += 1;
		if (len > sizeof(d.data))
			continue;
		memcpy(d.data, gso->buf + at, len);
		d.len = len;
		wire_send(link, &d);
	}
}

static void
flush(struct link *link)
{
	struct quic_gso *gso = link->server_train;

	while (link->server != NULL &&
	    quic_server_write(link->server, gso, link->now))
		send_train(link, false, client_of(&gso->path), gso);
	for (size_t i = 0; i < LINK_CROWD_MAX; i++) {
		gso = link->client_train[i];
		while (link->clients[i] != NULL &&
		    quic_conn_write(link->clients[i], gso, link->now))
			send_train(link, true, i, gso);
	}
}

void
link_inject(struct link *link, bool up, size_t client, const void *data,
    size_t len)
{
	struct link_datagram d = { .up = up, .client = client };

	d.path = up ? server_path(link, client, 0, 0) : link_path(client);
	d.len = len;
	memcpy(d.data, data, len);
	wire_put(link, &d, link->now);
}

/* ---- At its ends ---- */

/* One receive call: datagrams of one kind are joined, as by GRO. */
struct batch {
	struct quic_rx rx[BATCH_MAX];
	size_t n, len;
	uint8_t bytes[BATCH_BYTES];
};

static bool
joins(const struct quic_rx *rx, const struct link_datagram *d)
{
	return memcmp(&rx->path, &d->path, sizeof(d->path)) == 0 &&
	    rx->ecn == d->ecn && rx->segment > 0 &&
	    rx->len % rx->segment == 0 && d->len <= rx->segment;
}

static bool
batch_add(struct batch *batch, const struct link_datagram *d)
{
	struct quic_rx *rx = &batch->rx[batch->n];

	if (batch->len + d->len > sizeof(batch->bytes))
		return false;
	if (batch->n > 0 && joins(rx - 1, d))
		rx[-1].len += d->len;
	else if (batch->n < BATCH_MAX) {
		*rx = (struct quic_rx){ .path = d->path,
			.len = d->len,
			.data = batch->bytes + batch->len,
			.ecn = d->ecn,
			.segment = d->len };
		batch->n++;
	} else
		return false;
	memcpy(batch->bytes + batch->len, d->data, d->len);
	batch->len += d->len;
	return true;
}

static void
deliver(struct link *link, bool up, size_t client, const struct batch *batch)
{
	link->delivered++;
	if (up && link->server != NULL)
		quic_server_receive(link->server, batch->rx, batch->n,
		    link->now);
	else if (!up && link->clients[client] != NULL)
		quic_conn_receive(link->clients[client], batch->rx, batch->n,
		    link->now);
}

/* Delivers all that has arrived by now, in one call for each end. */
static void
deliver_due(struct link *link)
{
	static struct batch batch;
	struct link_datagram *d;
	size_t client;
	bool up;

	while ((d = TAILQ_FIRST(&link->wire)) != NULL && d->at <= link->now) {
		up = d->up;
		client = d->client;
		batch.n = batch.len = 0;
		while (d != NULL && d->at <= link->now && d->up == up &&
		    (up || d->client == client) && batch_add(&batch, d)) {
			TAILQ_REMOVE(&link->wire, d, entry);
			free(d);
			d = TAILQ_FIRST(&link->wire);
		}
		deliver(link, up, client, &batch);
	}
}

static void
expire_due(struct link *link)
{
	if (link->server != NULL &&
	    quic_server_deadline(link->server) <= link->now)
		quic_server_expire(link->server, link->now);
	for (size_t i = 0; i < LINK_CROWD_MAX; i++)
		if (link->clients[i] != NULL &&
		    quic_conn_deadline(link->clients[i]) <= link->now)
			quic_conn_expire(link->clients[i], link->now);
}

static void
sooner(uint64_t *at, uint64_t other)
{
	if (other < *at)
		*at = other;
}

static uint64_t
next_event(const struct link *link)
{
	uint64_t at = UINT64_MAX;

	if (!TAILQ_EMPTY(&link->wire))
		at = TAILQ_FIRST(&link->wire)->at;
	if (link->server != NULL)
		sooner(&at, quic_server_deadline(link->server));
	for (size_t i = 0; i < LINK_CROWD_MAX; i++)
		if (link->clients[i] != NULL)
			sooner(&at, quic_conn_deadline(link->clients[i]));
	return at;
}

bool
link_run(struct link *link, bool (*done)(void *arg), void *arg, uint64_t limit)
{
	uint64_t until = link->now + limit, next;
	unsigned steps = 0;

	for (;;) {
		deliver_due(link);
		expire_due(link);
		flush(link);
		if (done != NULL && done(arg))
			return true;
		next = next_event(link);
		if (next > until) {
			link->now = until;
			return done == NULL;
		}
		if (next > link->now) {
			link->now = next;
			steps = 0;
		} else if (++steps > STEPS_MAX) {
			fprintf(stderr, "link: time stands still\n");
			return false;
		}
	}
}
