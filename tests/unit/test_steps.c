#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "quic/internal.h"
#include "tests/unit/world.h"

/*
 * What a server does for one connection is not work for all of them: calls are
 * counted, see the Makefile.
 */

void __real_conn_deliver(struct quic_conn *conn);
void __wrap_conn_deliver(struct quic_conn *conn);
int __real_ngtcp2_path_eq(const ngtcp2_path *a, const ngtcp2_path *b);
int __wrap_ngtcp2_path_eq(const ngtcp2_path *a, const ngtcp2_path *b);

static unsigned delivered, compared;

void
__wrap_conn_deliver(struct quic_conn *conn)
{
	delivered++;
	__real_conn_deliver(conn);
}

int
__wrap_ngtcp2_path_eq(const ngtcp2_path *a, const ngtcp2_path *b)
{
	compared++;
	return __real_ngtcp2_path_eq(a, b);
}

/* As many connections as the link has room for; the server's, in order. */
static void
crowd(struct world *w, struct quic_conn *conns[LINK_CLIENTS_MAX])
{
	world_serve(w);
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++) {
		world_dial(w, i);
		assert_true(world_connected(w, i));
		link_run(w->link, NULL, NULL, RTT);
		conns[i] = w->server.conn;
	}
	link_run(w->link, NULL, NULL, LINK_S);
}

/* All of them wait to be written, since the socket is full, say. */
static void
a_datagram_is_one_connections_work(void **state)
{
	struct quic_conn *conns[LINK_CLIENTS_MAX];
	static struct quic_train train;
	struct world *w = *state;
	struct quic_rx rx;

	crowd(w, conns);
	quic_conn_ping(near_conn(w));
	assert_true(quic_conn_write(near_conn(w), &train, w->link->now));
	rx = (struct quic_rx){ .path = *quic_conn_path(conns[0]),
		.data = train.buf, .len = train.len };
	for (size_t i = 0; i < LINK_CLIENTS_MAX; i++)
		conn_touch(conns[i]);
	delivered = 0;
	quic_server_receive(w->link->server, &rx, 1, w->link->now);
	assert_int_equal(delivered, 1);
}

/* A router may say so, and anybody who says to be one. */
static void
news_of_a_path_are_one_connections_work(void **state)
{
	struct quic_conn *conns[LINK_CLIENTS_MAX];
	struct quic_too_big news = { .ip_mtu = 1400, .len = QUIC_QUOTE_MAX };
	struct world *w = *state;

	crowd(w, conns);
	for (size_t i = 0; i < 2; i++) {
		news.remote = quic_conn_path(conns[7])->remote;
		compared = 0;
		quic_server_too_big(w->link->server, &news, w->link->now);
		assert_int_equal(compared, 0);
		for (size_t j = 0; j < LINK_CLIENTS_MAX; j++)
			assert_int_equal(stats_of(conns[j]).ptb_seen,
			    j == 7 ? i + 1 : 0);
		/* They find it at another port, too. */
		w->link->port[7]++;
		quic_conn_ping(w->link->clients[7]);
		link_run(w->link, NULL, NULL, LINK_S);
	}
	/* Nobody is where it was. */
	news.remote = link_path(7).local;
	quic_server_too_big(w->link->server, &news, w->link->now);
	assert_int_equal(stats_of(conns[7]).ptb_seen, 2);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_datagram_is_one_connections_work),
		TEST(news_of_a_path_are_one_connections_work),
	};

	return cmocka_run_group_tests_name("steps", tests, NULL, NULL);
}
