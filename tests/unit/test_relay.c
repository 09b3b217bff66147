#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

/* First: termios.h, which uv.h includes, has an ECHO of its own. */
#include "tests/unit/world.h"

#include "proxy/base/stream_quic.h"
#include "proxy/relay.h"
#include "quic/internal.h"

/*
 * The edge's end of tunnel 0 is a relay to a real TCP socket, whose other end
 * is the test's; the transport is the link.
 */
struct play {
	struct world *w;
	uv_loop_t loop;
	struct relay relay;
	int origin; /* does not block */
	unsigned closed, moved;
};

static void
on_closed(struct relay *r)
{
	((struct play *)r->tcp.loop->data)->closed++;
}

static void
on_moved(struct relay *r)
{
	((struct play *)r->tcp.loop->data)->moved++;
}

static void
socket_pair(int fds[2])
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(sin);

	assert_int_equal(bind(l, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&sin, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&sin, len), 0);
	fds[1] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fds[1] >= 0);
	close(l);
}

static void
play_begin(struct play *p, struct world *w)
{
	struct stream stream;
	int fds[2];

	*p = (struct play){ .w = w };
	world_up(w);
	w->near[0].stays_open = w->far[0].stays_open = true;
	w->near[0].hears_reset = true;
	assert_int_equal(tunnel_open(w, 0), 0);
	link_run(w->link, NULL, NULL, RTT);
	socket_pair(fds);
	p->origin = fds[1];
	assert_int_equal(uv_loop_init(&p->loop), 0);
	p->loop.data = p;
	relay_init(&p->relay, &p->loop, on_closed);
	p->relay.moved = on_moved;
	assert_int_equal(uv_tcp_open(&p->relay.tcp, fds[0]), 0);
	stream_quic_open(&stream, w->far[0].stream);
	relay_start(&p->relay, &stream);
	w->far[0].stream = NULL;
}

static void
play_on(struct play *p)
{
	uv_run(&p->loop, UV_RUN_NOWAIT);
	link_run(p->w->link, NULL, NULL, LINK_MS);
}

static void
play_end(struct play *p)
{
	relay_close(&p->relay, "the test is over");
	while (p->closed == 0)
		uv_run(&p->loop, UV_RUN_ONCE);
	assert_int_equal(uv_loop_close(&p->loop), 0);
	close(p->origin);
}

/* What the origin gets rid of, of so many bytes, until nothing moves. */
static size_t
send_all(struct play *p, size_t n)
{
	static char buf[65536];
	unsigned idle = 0;
	size_t sent = 0;

	while (sent < n && idle < 100) {
		ssize_t rv = send(p->origin, buf, sizeof(buf), MSG_NOSIGNAL);

		idle = rv > 0 ? 0 : idle + 1;
		sent += rv > 0 ? (size_t)rv : 0;
		play_on(p);
	}
	return sent;
}

#define SOCKET_BUFFERS (16 * MB) /* what the kernel takes besides, at most */

/*
 * A client that stops its download has no more of it read than what its origin
 * may have under way, and that does not keep the tunnel from being idle. What
 * the client sends still arrives.
 */
static void
a_stopped_download_is_not_read(void **state)
{
	struct play p;
	char buf[KB];

	play_begin(&p, *state);
	assert_int_equal(send_all(&p, MB), MB / 65536 * 65536 + 65536);
	stream_stop(p.w->near[0].stream, QUIC_H3_NO_ERROR);
	for (unsigned i = 0; i < 100; i++)
		play_on(&p);
	p.moved = 0;
	assert_in_range(send_all(&p, 100 * MB), RELAY_DROP_MAX - MB,
	    RELAY_DROP_MAX + SOCKET_BUFFERS);
	assert_int_equal(p.moved, 0);
	p.w->near[0].to_send = KB;
	end_pump(&p.w->near[0]);
	for (unsigned i = 0; i < 100; i++)
		play_on(&p);
	assert_int_equal(recv(p.origin, buf, sizeof(buf), 0), KB);
	assert_int_equal(p.closed, 0);
	play_end(&p);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_stopped_download_is_not_read),
	};

	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
