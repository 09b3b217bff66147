#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/base/addr.h"
#include "proxy/local/client.h"
#include "proxy/local/listener.h"

/*
 * Accepting: clients do nothing, and the system may lack what accept(2) needs.
 */

#define CLIENTS_MAX 512

/* A session of nothing but its books. */
struct client {
	LIST_ENTRY(client) entry;
	struct client_source source;
	int fd;
};

static struct world {
	uv_loop_t loop;
	struct limits limits;
	struct listener *listener;
	struct clients *clients; /* of the clients that came */
	struct sockaddr_storage addresses[2];
	int peers[CLIENTS_MAX]; /* the clients' ends */
	size_t npeers;
	unsigned over_limit; /* clients over their limit */
	int accept_error;    /* that accept4 has to say, or 0 */
	unsigned accepts;    /* that have failed so */
} w;

/* ---- Functions that listener.c calls ---- */

int
accept4(int fd, __SOCKADDR_ARG addr, socklen_t *len, int flags)
{
	if (w.accept_error != 0) {
		w.accepts++;
		errno = w.accept_error;
		return -1;
	}
	return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

int
client_new(struct clients *clients, int fd, const struct client_source *source)
{
	struct client *c = calloc(1, sizeof(*c));

	c->source = *source;
	c->fd = fd;
	w.clients = clients;
	w.over_limit += source->over_limit;
	LIST_INSERT_HEAD(&clients->list, c, entry);
	clients->totals.open++;
	return 0;
}

static void
client_end(struct client *c)
{
	struct client_source source = c->source;

	close(c->fd);
	LIST_REMOVE(c, entry);
	w.clients->totals.open--;
	free(c);
	w.clients->on_closed(w.clients, &source);
}

bool
clients_are_busy(const struct clients *clients)
{
	return !LIST_EMPTY(&clients->list);
}

void
clients_close(struct clients *clients, const char *reason)
{
	(void)reason;
	while (!LIST_EMPTY(&clients->list))
		client_end(LIST_FIRST(&clients->list));
}

void
clients_each(const struct clients *clients,
    void (*each)(void *arg, const struct client_info *), void *arg)
{
	(void)clients, (void)each, (void)arg;
}

void
clients_top(struct clients *clients,
    void (*each)(void *arg, const struct client_info *), void *arg)
{
	(void)clients, (void)each, (void)arg;
}

/* ---- The world ---- */

static int
setup(void **state)
{
	struct sockaddr_storage any;

	(void)state;
	memset(&w, 0, sizeof(w));
	uv_loop_init(&w.loop);
	assert_int_equal(listener_new(&w.listener, &w.loop, NULL, NULL,
			     &w.limits),
	    0);
	for (int i = 0; i < 2; i++) {
		addr_parse(&any, "127.0.0.1:0");
		assert_int_equal(listener_add(w.listener,
				     (struct sockaddr *)&any, NULL),
		    0);
	}
	assert_int_equal(listener_addresses(w.listener, w.addresses, 2), 2);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	listener_free(w.listener, "the test is over");
	while (w.npeers > 0)
		close(w.peers[--w.npeers]);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	return uv_loop_close(&w.loop);
}

/* Connects to one of the addresses, from any address of 127.0.0.0/8. */
static int
dial(unsigned to, const char *from)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage addr;

	assert_true(fd >= 0 && w.npeers < CLIENTS_MAX);
	addr_parse(&addr, from);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr,
			     addr_len((struct sockaddr *)&addr)),
	    0);
	assert_int_equal(connect(fd, (struct sockaddr *)&w.addresses[to],
			     addr_len((struct sockaddr *)&w.addresses[to])),
	    0);
	return w.peers[w.npeers++] = fd;
}

static size_t
here(void)
{
	struct client_totals totals;

	listener_totals(w.listener, &totals);
	return totals.open;
}

/* One loop iteration sees all of it: loopback takes no time. */
static void
turn(void)
{
	uv_run(&w.loop, UV_RUN_NOWAIT);
}

/* Runs the loop until there are so many. */
static void
wait_for(size_t n)
{
	while (here() != n)
		uv_run(&w.loop, UV_RUN_ONCE);
}

static void
dial_many(unsigned n, unsigned to)
{
	for (unsigned i = 0; i < n; i++)
		dial(to, "127.0.0.1:0");
}

static uint64_t
hits(enum limit limit)
{
	return w.limits.v[limit].hits;
}

/* ---- Tests ---- */

static void
clients_wait_at_the_limit(void **state)
{
	(void)state;
	w.limits.v[LIMIT_CLIENTS].max = 3;
	dial_many(5, 0);
	dial_many(1, 1);
	turn();
	assert_int_equal(here(), 3);
	assert_true(hits(LIMIT_CLIENTS) > 0);
	turn();
	assert_int_equal(here(), 3);
	client_end(LIST_FIRST(&w.clients->list));
	turn();
	assert_int_equal(here(), 3);
	/* With a higher limit they need not wait for one to go. */
	w.limits.v[LIMIT_CLIENTS].max = 6;
	wait_for(5);
}

static void
one_address_may_be_at_its_limit(void **state)
{
	(void)state;
	w.limits.v[LIMIT_PER_LISTENER].max = 3;
	dial_many(5, 0);
	turn();
	assert_int_equal(here(), 3);
	assert_int_equal(hits(LIMIT_PER_LISTENER), 1);
	dial_many(2, 1);
	turn();
	assert_int_equal(here(), 5);
	listener_update_limits(w.listener);
	assert_int_equal(w.limits.v[LIMIT_PER_LISTENER].use, 3);
	assert_int_equal(w.limits.v[LIMIT_CLIENTS].use, 5);
	clients_close(w.clients, "");
	turn();
	assert_int_equal(here(), 2);
}

static void
clients_over_their_limit_are_refused(void **state)
{
	char byte;

	(void)state;
	w.limits.v[LIMIT_PER_SOURCE].max = 3;
	dial_many(5, 0);
	dial(0, "127.0.0.2:0");
	dial(1, "127.0.0.2:0");
	turn();
	assert_int_equal(here(), 7);
	assert_int_equal(w.over_limit, 2);
	assert_int_equal(hits(LIMIT_PER_SOURCE), 2);
	listener_update_limits(w.listener);
	assert_int_equal(w.limits.v[LIMIT_PER_SOURCE].use, 3);
	/* So many are refused at once, and the rest is reset. */
	dial_many(254, 0);
	for (int i = 0; i < 5; i++)
		turn();
	assert_int_equal(w.over_limit, 256);
	dial_many(1, 0);
	turn();
	assert_int_equal(here(), 7 + 254);
	assert_int_equal(recv(w.peers[w.npeers - 1], &byte, 1, 0), -1);
	assert_int_equal(errno, ECONNRESET);
	/* Clients that are gone do not count. */
	clients_close(w.clients, "");
	dial_many(4, 0);
	turn();
	assert_int_equal(here(), 4);
	assert_int_equal(w.over_limit, 257);
}

/* accept4(2) fails without resources: no client is lost. */
static void
accepting_pauses_when_resources_run_out(void **state)
{
	static const int errors[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM };
	size_t n = sizeof(errors) / sizeof(errors[0]);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		w.accept_error = errors[i];
		w.accepts = 0;
		dial_many(1, 0);
		turn();
		turn();
		assert_int_equal(w.accepts, 1);
		assert_int_equal(here(), i);
		assert_int_equal(hits(LIMIT_DESCRIPTORS), i + 1);
		w.accept_error = 0;
		wait_for(i + 1);
	}
	/* Or as soon as a client has made room. */
	w.accept_error = EMFILE;
	dial_many(1, 0);
	turn();
	w.accept_error = 0;
	client_end(LIST_FIRST(&w.clients->list));
	turn();
	assert_int_equal(here(), n);
}

static void
some_accept_errors_concern_one_client(void **state)
{
	(void)state;
	w.accept_error = ECONNABORTED;
	dial_many(1, 0);
	turn();
	assert_true(w.accepts > 1);
	w.accept_error = 0;
	turn();
	assert_int_equal(here(), 1);
	assert_int_equal(hits(LIMIT_DESCRIPTORS), 0);
}

static void
descriptors_are_reserved(void **state)
{
	size_t n;

	(void)state;
	w.limits.v[LIMIT_DESCRIPTORS].max = 256;
	dial_many(150, 0);
	for (int i = 0; i < 3; i++)
		turn();
	n = here();
	assert_in_range(n, 65, 80);
	listener_update_limits(w.listener);
	assert_true(w.limits.v[LIMIT_DESCRIPTORS].use <= 256 - 20);
	assert_true(hits(LIMIT_DESCRIPTORS) > 0);
	/* As many as were accepted have gone: the lowest are free again. */
	while (here() > 0)
		client_end(LIST_FIRST(&w.clients->list));
	for (int i = 0; i < 3; i++)
		turn();
	assert_int_equal(here(), n);
}

static void
descriptors_are_counted(void **state)
{
	uint64_t before;

	(void)state;
	listener_update_limits(w.listener);
	before = w.limits.v[LIMIT_DESCRIPTORS].use;
	dial_many(10, 0);
	turn();
	listener_update_limits(w.listener);
	assert_int_equal(w.limits.v[LIMIT_DESCRIPTORS].use, before + 20);
	assert_true(w.limits.v[LIMIT_DESCRIPTORS].max > before + 20);
}

#define LISTENER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		LISTENER_TEST(clients_wait_at_the_limit),
		LISTENER_TEST(one_address_may_be_at_its_limit),
		LISTENER_TEST(clients_over_their_limit_are_refused),
		LISTENER_TEST(accepting_pauses_when_resources_run_out),
		LISTENER_TEST(some_accept_errors_concern_one_client),
		LISTENER_TEST(descriptors_are_reserved),
		LISTENER_TEST(descriptors_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
