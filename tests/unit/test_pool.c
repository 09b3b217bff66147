#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include <cmocka.h>

#include "proxy/base/log.h"
#include "proxy/local/upstream/netlink.h"
#include "proxy/local/upstream/pool.h"
#include "proxy/local/upstream/suspend.h"
#include "proxy/local/upstream/tunnel_queue.h"
#include "proxy/local/upstream/upstream_edge.h"
#include "quic/io.h"

/*
 * The pool, its edges and the failover without a network: this file takes the
 * place of the loop and its clock, the attempts, the connections and the queue.
 */

#define CONNECTIONS_MAX 256
#define SECOND 1000 /* ms */
#define MINUTE (60 * SECOND)
#define RTT_MS 50

/* A connection, which is its own struct quic_conn. */
struct fake {
	struct connection c; /* first */
	struct upstream_edge *edge;
	size_t tunnels;
	bool closed, freed, dead; /* dead: nothing arrives */
	bool busy;		  /* something arrives all the time */
	uint64_t packets;
	uint64_t answers_at; /* ms: an answer to a PING arrives; 0: none is due
			      */
	uint64_t packets_seen;
	struct quic_loss sent, received;
	uint64_t migrations;
	struct quic_path path;
};

static struct {
	uint64_t now; /* ms */
	uint64_t due; /* UINT64_MAX: the timer is stopped */
	uv_timer_t *timer;

	struct fake *fakes[CONNECTIONS_MAX];
	size_t nfakes;
	size_t allowed;	      /* connections, by the edge */
	bool evicts;	      /* it makes room for a new one */
	uint64_t streams_max; /* tunnels of a connection */
	unsigned attempts;
	unsigned requeued;
	unsigned warnings;
	char network[NETWORK_NAME_MAX];
	struct edge_attempts *running;
	struct connection_context *context;
	void (*network_changed)(void *arg);
	void *network_arg;
} s;

static struct pool *pool;
static struct tunnel_request request;
static struct tunnel_queue *queue;

static struct fake *
fake_of(const struct quic_conn *conn)
{
	return (struct fake *)(uintptr_t)conn;
}

static struct sockaddr_storage
address(const char *text)
{
	struct sockaddr_storage ss = { .ss_family = AF_INET };

	inet_pton(AF_INET, text, &((struct sockaddr_in *)&ss)->sin_addr);
	return ss;
}

/* ---- Functions that the pool calls ---- */

void
log_info(const char *fmt, ...)
{
	(void)fmt;
}

void
log_debug(const char *fmt, ...)
{
	(void)fmt;
}

void
log_warn(const char *fmt, ...)
{
	(void)fmt;
	s.warnings++;
}

uint64_t
uv_now(const uv_loop_t *loop)
{
	(void)loop;
	return s.now;
}

int
uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
	(void)loop;
	s.timer = timer;
	return 0;
}

int
uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t timeout,
    uint64_t repeat)
{
	(void)repeat;
	timer->timer_cb = callback;
	s.due = s.now + timeout;
	return 0;
}

void
uv_close(uv_handle_t *handle, uv_close_cb callback)
{
	s.due = UINT64_MAX;
	callback(handle);
}

int
netlink_new(struct netlink **out, uv_loop_t *loop, void (*changed)(void *arg),
    void *arg)
{
	(void)loop;
	*out = NULL;
	s.network_changed = changed;
	s.network_arg = arg;
	return 0;
}

void
netlink_free(struct netlink *nl)
{
	(void)nl;
}

int
suspend_new(struct suspend **out, uv_loop_t *loop,
    void (*resumed)(void *arg, uint64_t ns), void *arg)
{
	(void)loop, (void)resumed, (void)arg;
	*out = NULL;
	return 0;
}

void
suspend_free(struct suspend *suspend)
{
	(void)suspend;
}

uint64_t
quic_io_now(void)
{
	return s.now * 1000000;
}

struct quic_tls *
quic_tls_ref(struct quic_tls *tls)
{
	return tls;
}

void
quic_tls_free(struct quic_tls *tls)
{
	(void)tls;
}

void
quic_conn_stats(const struct quic_conn *conn, struct quic_stats *stats)
{
	(void)conn;
	memset(stats, 0, sizeof(*stats));
}

void
quic_conn_pulse(const struct quic_conn *conn, struct quic_pulse *pulse)
{
	const struct fake *f = fake_of(conn);

	memset(pulse, 0, sizeof(*pulse));
	pulse->packets_received = f->packets;
	pulse->streams = f->tunnels;
	pulse->migrations = f->migrations;
	pulse->sent = f->sent;
	pulse->received = f->received;
}

const struct quic_path *
quic_conn_path(const struct quic_conn *conn)
{
	return &fake_of(conn)->path;
}

void
quic_conn_reprobe(struct quic_conn *conn, uint64_t now)
{
	(void)conn, (void)now;
}

void
quic_conn_ping(struct quic_conn *conn)
{
	if (!fake_of(conn)->dead)
		fake_of(conn)->answers_at = s.now + RTT_MS;
}

const char *
network_name(const struct quic_path *path, char name[NETWORK_NAME_MAX])
{
	(void)path;
	return strcpy(name, s.network);
}

/* ---- The queue ---- */

void
tunnel_queue_init(struct tunnel_queue *q, void (*on_requeued)(void *arg),
    void *arg)
{
	(void)on_requeued, (void)arg;
	queue = q;
}

void
tunnel_queue_set_user(struct tunnel_queue *q, const struct credentials *user)
{
	(void)q, (void)user;
}

void
tunnel_queue_fini(struct tunnel_queue *q)
{
	(void)q;
}

void
tunnel_queue_add(struct tunnel_queue *q, struct tunnel_request *t, uint64_t now)
{
	(void)t, (void)now;
	q->nwaiting++;
}

void
tunnel_queue_remove(struct tunnel_request *t)
{
	(void)t;
}

int
tunnel_queue_send(struct tunnel_queue *q, struct quic_conn *conn, size_t max)
{
	struct fake *f = fake_of(conn);

	for (; q->nwaiting > 0 && max > 0; q->nwaiting--, max--) {
		if (f->tunnels >= s.streams_max)
			return -EAGAIN;
		f->tunnels++;
	}
	return 0;
}

void
tunnel_queue_requeue(struct tunnel_queue *q, struct quic_conn *conn)
{
	(void)q, (void)conn;
	s.requeued++;
}

void
tunnel_queue_refuse(struct tunnel_queue *q, const struct connect_error *error)
{
	(void)q, (void)error;
}

void
tunnel_queue_expire(struct tunnel_queue *q, uint64_t now,
    const struct connect_error *why)
{
	(void)q, (void)now, (void)why;
}

uint64_t
tunnel_queue_deadline(const struct tunnel_queue *q)
{
	(void)q;
	return UINT64_MAX;
}

uint64_t
tunnel_queue_waiting_since(const struct tunnel_queue *q)
{
	return q->nwaiting > 0 ? 1 : UINT64_MAX;
}

/* ---- Connections ---- */

static void
close_fake(struct connection *c)
{
	c->state = CONNECTION_CLOSED;
	((struct fake *)c)->closed = true;
	((struct fake *)c)->tunnels = 0;
}

void
connection_close(struct connection *c, const char *why)
{
	(void)why;
	if (c->state != CONNECTION_CLOSED)
		close_fake(c);
}

void
connection_free(struct connection *c)
{
	connection_close(c, "");
	((struct fake *)c)->freed = true;
}

void
connection_drain(struct connection *c)
{
	if (c->state != CONNECTION_UP)
		return;
	c->state = CONNECTION_DRAINING;
	c->drained = true;
}

size_t
connection_tunnels(const struct connection *c)
{
	return ((const struct fake *)c)->tunnels;
}

/* As the real one. */
uint64_t
connection_check(struct connection *c, uint64_t now)
{
	struct fake *f = (struct fake *)c;

	if (!c->suspect || c->state == CONNECTION_CLOSED)
		return UINT64_MAX;
	if (f->packets == f->packets_seen)
		return now + 250;
	c->suspect = false;
	return UINT64_MAX;
}

void
connection_network_changed(struct connection *c)
{
	(void)c;
}

void
connection_resumed(struct connection *c, uint64_t ns)
{
	(void)c, (void)ns;
}

void
connection_keep_repair(struct connection *c, const char *network,
    const struct quic_pulse *known)
{
	(void)c, (void)network, (void)known;
}

void
connection_edge_answers(struct connection *c)
{
	(void)c;
}

/* ---- Attempts ---- */

void
edge_attempts_init(struct edge_attempts *e, struct connection_context *context,
    const struct target *edge, struct quic_tls *tls)
{
	e->context = s.context = context;
	e->edge = edge;
	e->tls = tls;
	TAILQ_INIT(&e->attempts);
}

void
edge_attempts_set_tls(struct edge_attempts *e, struct quic_tls *tls)
{
	e->tls = tls;
}

void
edge_attempts_start(struct edge_attempts *e, uint64_t now)
{
	e->running = true;
	e->began = now;
	s.attempts++;
	e->context->changed(e->context->arg); /* the name is resolved */
}

void
edge_attempts_stop(struct edge_attempts *e)
{
	e->running = false;
}

void
edge_attempts_fini(struct edge_attempts *e)
{
	e->running = false;
}

static size_t
open_connections(void)
{
	size_t n = 0;

	for (size_t i = 0; i < s.nfakes; i++)
		n += !s.fakes[i]->closed;
	return n;
}

/* An edge at its limit closes the oldest that has carried nothing. */
static bool
evict_one(void)
{
	for (size_t i = 0; i < s.nfakes; i++)
		if (!s.fakes[i]->closed && !s.fakes[i]->c.carried) {
			close_fake(&s.fakes[i]->c);
			s.fakes[i]->c.evicted = true;
			return true;
		}
	return false;
}

static struct connection *
connect_fake(void)
{
	struct fake *f = calloc(1, sizeof(*f));

	assert_true(s.nfakes < CONNECTIONS_MAX);
	f->c.conn = (struct quic_conn *)f;
	f->c.state = CONNECTION_UP;
	f->c.was_up = true;
	f->packets = 1;
	f->path.local = address("192.0.2.1");
	f->path.remote = address("203.0.113.1");
	s.fakes[s.nfakes++] = f;
	return &f->c;
}

enum edge_attempts_result
edge_attempts_step(struct edge_attempts *e, uint64_t now, uint64_t *at)
{
	if (!e->running)
		return EDGE_ATTEMPTS_IDLE;
	if (now < e->began + RTT_MS) {
		if (e->began + RTT_MS < *at)
			*at = e->began + RTT_MS;
		return EDGE_ATTEMPTS_RUNNING;
	}
	e->running = false;
	if (open_connections() >= s.allowed && !(s.evicts && evict_one())) {
		strcpy(e->why, "refused");
		return EDGE_ATTEMPTS_FAILED;
	}
	e->winner = connect_fake();
	return EDGE_ATTEMPTS_CONNECTED;
}

/* ---- The stage ---- */

static void
answer_pings(void)
{
	struct fake *f;

	for (size_t i = 0; i < s.nfakes; i++) {
		f = s.fakes[i];
		f->packets += f->busy && !f->dead;
		if (f->answers_at != 0 && f->answers_at <= s.now) {
			f->packets++;
			f->answers_at = 0;
		}
	}
}

static void
run(uint64_t ms)
{
	uint64_t until = s.now + ms, due;

	while (s.due <= until) {
		due = s.due;
		if (due > s.now)
			s.now = due;
		s.due = UINT64_MAX;
		answer_pings();
		s.timer->timer_cb(s.timer);
		if (s.due <= s.now)
			s.due = s.now + (due == s.now);
	}
	s.now = until;
	answer_pings();
}

/* A connection changes: the pool looks at it. */
static void
changed(void)
{
	s.context->changed(s.context->arg);
}

static void
open_tunnels(size_t n)
{
	struct outbound *outbound = pool_outbound(pool);

	for (size_t i = 0; i < n; i++)
		outbound->ops->open(outbound->provider, &request);
}

static void
fall_silent(struct fake *f)
{
	f->packets_seen = f->packets;
	f->c.suspect = true;
	changed();
}

static struct pool_status
status(void)
{
	struct pool_status status;

	pool_status(pool, &status);
	return status;
}

/* The settings with one edge, or with two. */
static struct pool_settings
settings_of(size_t nedges)
{
	struct pool_settings settings = { .nedges = nedges,
		.connections = 4,
		.spread = 4,
		.connect_timeout_ms = 10 * SECOND };

	for (size_t i = 0; i < nedges; i++)
		settings.edges[i].target = (struct target){ "edge.example",
			(uint16_t)(443 + i) };
	return settings;
}

static int
begin(void **state)
{
	struct pool_settings settings = settings_of(1);

	(void)state;
	memset(&s, 0, sizeof(s));
	s.now = 100 * MINUTE;
	strcpy(s.network, "home");
	s.due = UINT64_MAX;
	s.allowed = SIZE_MAX;
	s.streams_max = SIZE_MAX;
	assert_int_equal(pool_new(&pool, NULL, &settings), 0);
	run(SECOND);
	assert_int_equal(s.nfakes, 1);
	return 0;
}

static int
end(void **state)
{
	(void)state;
	pool_free(pool);
	for (size_t i = 0; i < s.nfakes; i++) {
		assert_true(s.fakes[i]->freed);
		free(s.fakes[i]);
	}
	return 0;
}

/* Connections with tunnels carry and lose so much; none counts as worn. */
static void
carry(const struct quic_loss *loss)
{
	const struct quic_loss none = { 0 };

	for (size_t i = 0; i < s.nfakes; i++) {
		struct fake *f = s.fakes[i];

		f->c.losses.noted.of[SPREAD_RECEIVED] = none;
		f->received = f->tunnels > 0 ? *loss : none;
	}
}

/* Tunnels open, twice a second, on a line that loses 3 % for so long. */
static void
lose(unsigned seconds)
{
	const struct quic_loss loss = { 100, 3, 100, 3 };

	for (unsigned i = 0; i < 4 * seconds; i++) {
		carry(&loss);
		if (i % 2 == 0)
			open_tunnels(1);
		run(SECOND / 4);
	}
}

/* ---- Tests ---- */

static void
a_lossy_line_has_four_connections(void **state)
{
	(void)state;
	lose(10);
	assert_int_equal(open_connections(), 4);
	assert_int_equal(status().spread, 4);
	assert_int_equal(s.warnings, 0);
}

/* An edge that allows two is asked again rarely, and nobody is warned. */
static void
a_refusal_is_remembered(void **state)
{
	(void)state;
	s.allowed = 2;
	lose(20);
	assert_int_equal(open_connections(), 2);
	assert_int_equal(s.attempts, 3);
	assert_int_equal(s.warnings, 0);
	lose(600);
	assert_in_range(s.attempts, 4, 8);
	assert_int_equal(s.warnings, 0);
	assert_int_equal(status().state, POOL_UP);
}

/* One that closes an unused connection for each new one refuses, too. */
static void
an_eviction_is_a_refusal(void **state)
{
	(void)state;
	s.allowed = 2;
	s.evicts = true;
	lose(1);
	for (unsigned i = 0; i < 60; i++) {
		lose(1);
		/* Tunnels share the first; the others carry nothing. */
		for (size_t j = 1; j < s.nfakes; j++) {
			s.fakes[j]->c.carried = false;
			s.fakes[j]->tunnels = 0;
		}
	}
	assert_in_range(s.attempts, 2, 8);
	assert_int_equal(s.warnings, 0);
}

/* One that accepts a further connection and then shuts it down, too. */
static void
a_goaway_is_a_refusal(void **state)
{
	(void)state;
	s.allowed = 2;
	lose(1);
	for (unsigned i = 0; i < 240; i++) {
		for (size_t j = 1; j < s.nfakes; j++) {
			s.fakes[j]->c.goaway = s.fakes[j]->c.drained = true;
			s.fakes[j]->c.state = CONNECTION_DRAINING;
			s.fakes[j]->c.carried = false;
			s.fakes[j]->tunnels = 0;
		}
		changed();
		lose(1);
	}
	assert_in_range(s.attempts, 2, 8);
}

/* The same where a connection has no stream left. */
static void
a_refusal_counts_for_streams(void **state)
{
	(void)state;
	s.allowed = 2;
	s.streams_max = 2;
	open_tunnels(5);
	run(20 * SECOND);
	assert_int_equal(open_connections(), 2);
	assert_int_equal(s.attempts, 3);
	assert_int_equal(s.warnings, 0);
	assert_int_equal(queue->nwaiting, 1);
	/* A connection that is lost is replaced at once. */
	close_fake(&s.fakes[1]->c);
	changed();
	run(SECOND);
	assert_int_equal(open_connections(), 2);
	assert_int_equal(s.attempts, 4);
}

/* A change of the network ends the backoff. */
static void
another_network_may_allow_more(void **state)
{
	(void)state;
	s.allowed = 2;
	lose(5);
	assert_int_equal(open_connections(), 2);
	s.allowed = SIZE_MAX;
	s.network_changed(s.network_arg);
	lose(5);
	assert_int_equal(open_connections(), 4);
}

/* Tunnels that flow are not ended to make room, whatever edge has them. */
static void
live_tunnels_are_not_closed(void **state)
{
	struct pool_settings settings = settings_of(1);

	(void)state;
	for (unsigned i = 1; i <= 2 * POOL_CONNECTIONS_MAX; i++) {
		open_tunnels(1);
		run(SECOND);
		settings.edges[0].target.port = (uint16_t)(443 + i);
		assert_int_equal(pool_reload(pool, &settings), 0);
		run(SECOND);
	}
	open_tunnels(1);
	run(SECOND);
	assert_int_equal(open_connections(), 2 * POOL_CONNECTIONS_MAX + 1);
	assert_int_equal(status().open, 2 * POOL_CONNECTIONS_MAX + 1);
}

/* ... and beyond a number no more are made, of which each has tunnels. */
static void
worn_connections_are_bounded(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		lose(5);
		for (size_t j = 0; j < s.nfakes; j++)
			s.fakes[j]->received.lost = 1000;
		open_tunnels(4);
		run(2 * SECOND);
	}
	assert_int_equal(open_connections(), UPSTREAM_EDGE_CONNECTIONS_MAX);
}

/*
 * All connections are cut, and the idle one does not know: the busy ones keep
 * their tunnels, and new ones.
 */
static void
an_idle_connection_proves_nothing(void **state)
{
	(void)state;
	lose(10);
	assert_int_equal(open_connections(), 4);
	s.fakes[3]->tunnels = 0;
	for (unsigned i = 0; i < 4; i++)
		s.fakes[i]->dead = true;
	for (unsigned i = 0; i < 3; i++)
		fall_silent(s.fakes[i]);
	run(900);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(s.fakes[i]->c.state, CONNECTION_UP);
	assert_int_equal(s.requeued, 0);
	/* The line is back; the busy ones take a little longer. */
	for (unsigned i = 0; i < 4; i++)
		s.fakes[i]->dead = false;
	s.fakes[3]->packets++;
	run(500);
	for (unsigned i = 0; i < 3; i++)
		s.fakes[i]->packets++;
	run(10 * SECOND);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(s.fakes[i]->c.state, CONNECTION_UP);
		assert_false(s.fakes[i]->c.suspect);
	}
	assert_int_equal(s.requeued, 0);
}

/* The idle one is dead for good: it falls silent as well, and is replaced. */
static void
a_dead_idle_connection_is_noticed(void **state)
{
	(void)state;
	lose(10);
	s.fakes[3]->tunnels = 0;
	s.fakes[3]->dead = s.fakes[0]->dead = true;
	fall_silent(s.fakes[0]);
	run(10);
	assert_int_equal(s.fakes[0]->c.state, CONNECTION_UP);
	/* The PING that it was sent has no answer, which QUIC reports. */
	fall_silent(s.fakes[3]);
	run(5 * SECOND);
	assert_int_not_equal(s.fakes[0]->c.state, CONNECTION_UP);
	assert_int_not_equal(s.fakes[3]->c.state, CONNECTION_UP);
	assert_int_equal(s.fakes[1]->c.state, CONNECTION_UP);
	assert_int_equal(s.fakes[2]->c.state, CONNECTION_UP);
}

/* One that works replaces one that is silent, and gets its requests. */
static void
a_silent_connection_is_replaced(void **state)
{
	(void)state;
	lose(10);
	s.fakes[0]->dead = true;
	fall_silent(s.fakes[0]);
	run(2 * SECOND);
	assert_int_equal(s.fakes[0]->c.state, CONNECTION_DRAINING);
	assert_true(s.requeued > 0);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(s.fakes[i]->c.state, CONNECTION_UP);
}

/* If the others have received something all the while, at once. */
static void
a_silent_one_of_busy_ones_is_replaced_at_once(void **state)
{
	(void)state;
	lose(10);
	for (unsigned i = 1; i < 4; i++)
		s.fakes[i]->busy = true;
	s.fakes[0]->dead = true;
	run(SECOND);
	fall_silent(s.fakes[0]);
	run(1);
	assert_int_equal(s.fakes[0]->c.state, CONNECTION_DRAINING);
	assert_true(s.requeued > 0);
}

/* A new connection on a line that is known is not alone for a moment. */
static void
what_is_known_counts_at_once(void **state)
{
	(void)state;
	lose(10);
	assert_int_equal(status().spread, 4);
	open_tunnels(1);
	run(SECOND);
	for (size_t i = 0; i < s.nfakes; i++)
		close_fake(&s.fakes[i]->c);
	changed();
	while (open_connections() == 0)
		run(1);
	assert_int_equal(status().spread, 4);
}

/* While the first is silent the only other one does not end for idleness. */
static void
an_idle_connection_is_kept_in_doubt(void **state)
{
	(void)state;
	s.streams_max = 2;
	open_tunnels(3);
	run(SECOND);
	assert_int_equal(s.nfakes, 2);
	s.fakes[1]->tunnels = 0;
	run(4 * SECOND);
	s.fakes[0]->dead = true;
	fall_silent(s.fakes[0]);
	run(20 * SECOND);
	assert_int_equal(s.fakes[1]->c.state, CONNECTION_UP);
	assert_int_equal(s.fakes[0]->c.state, CONNECTION_DRAINING);
}

/* One burst hits all connections, and they tell of it one after another. */
static void
a_burst_in_all_connections_is_one(void **state)
{
	const struct quic_loss burst = { 100, 50, 100, 50 },
			       none = { 1000, 0, 1000, 0 };

	(void)state;
	s.streams_max = 2;
	open_tunnels(8);
	run(2 * SECOND);
	assert_int_equal(open_connections(), 4);
	for (unsigned i = 0; i < 20; i++) {
		carry(&none);
		for (size_t j = 0; j < s.nfakes; j++) {
			s.fakes[j]->received = burst;
			open_tunnels(1);
			run(5);
		}
		for (unsigned j = 0; j < 40; j++) {
			carry(&none);
			open_tunnels(1);
			run(SECOND / 4);
		}
	}
	assert_int_equal(status().spread, 1);
}

/* While one connection fills a queue, the losses of the others are its. */
static void
a_full_queue_counts_for_all_connections(void **state)
{
	const struct quic_loss some = { 100, 3, 100, 3 };
	const struct quic_loss full = { 10000, 100, 10, 0 };

	(void)state;
	s.streams_max = 8;
	open_tunnels(10);
	run(2 * SECOND);
	assert_int_equal(open_connections(), 2);
	for (unsigned i = 0; i < 40; i++) {
		carry(&some);
		s.fakes[0]->received = full;
		open_tunnels(i % 8 == 0);
		run(SECOND / 4);
	}
	assert_int_equal(status().spread, 1);
}

/*
 * The losses of a network are not another one's, where the address may be the
 * same; each of them is remembered.
 */
static void
networks_are_told_apart(void **state)
{
	const struct quic_loss loss = { 100, 3, 100, 3 };
	const struct quic_loss none = { 100, 0, 100, 0 };

	(void)state;
	lose(10);
	assert_int_equal(status().spread, 4);
	strcpy(s.network, "cafe");
	for (unsigned i = 0; i < 40; i++) {
		/* What was lost at home is missed for a second. */
		carry(i < 4 ? &loss : &none);
		open_tunnels(i % 2);
		run(SECOND / 4);
		assert_int_equal(status().spread, 1);
	}
	strcpy(s.network, "home");
	open_tunnels(1);
	run(SECOND);
	assert_int_equal(status().spread, 4);
}

/* What was lost before a migration that nobody has seen yet is not counted. */
static void
a_migration_begins_anew(void **state)
{
	const struct quic_loss loss = { 1000, 30, 1000, 30 };

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		open_tunnels(1);
		carry(&loss);
		s.fakes[0]->migrations++;
		run(SECOND);
	}
	assert_int_equal(status().spread, 1);
}

#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		POOL_TEST(a_lossy_line_has_four_connections),
		POOL_TEST(a_refusal_is_remembered),
		POOL_TEST(an_eviction_is_a_refusal),
		POOL_TEST(a_goaway_is_a_refusal),
		POOL_TEST(a_refusal_counts_for_streams),
		POOL_TEST(another_network_may_allow_more),
		POOL_TEST(live_tunnels_are_not_closed),
		POOL_TEST(worn_connections_are_bounded),
		POOL_TEST(an_idle_connection_proves_nothing),
		POOL_TEST(a_dead_idle_connection_is_noticed),
		POOL_TEST(a_silent_connection_is_replaced),
		POOL_TEST(a_silent_one_of_busy_ones_is_replaced_at_once),
		POOL_TEST(what_is_known_counts_at_once),
		POOL_TEST(an_idle_connection_is_kept_in_doubt),
		POOL_TEST(a_burst_in_all_connections_is_one),
		POOL_TEST(a_full_queue_counts_for_all_connections),
		POOL_TEST(networks_are_told_apart),
		POOL_TEST(a_migration_begins_anew),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
