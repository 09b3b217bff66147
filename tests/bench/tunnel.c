#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/tunnel.h"

#define IO_SIZE 262144 /* bytes a call: one call fills a socket's buffer */

/* RFC 1928 §3, §4 and §6, for no authentication and an IPv4 address */
#define GREETING_LEN 3
#define REQUEST_LEN 10
#define CHOICE_LEN 2

static char buffer[IO_SIZE];

double
tunnel_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static size_t
at_most(uint64_t n)
{
	return n < IO_SIZE ? (size_t)n : IO_SIZE;
}

static void
watch(struct tunnel *t)
{
	bool writes = t->state == CONNECTING ||
	    (t->state == OPEN && t->send > 0);
	uint32_t events = EPOLLIN | (writes ? EPOLLOUT : 0u);
	struct epoll_event ev = { .events = events, .data.ptr = t };

	if (events == t->events)
		return;
	if (epoll_ctl(t->poller, t->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
		t->fd, &ev) != 0)
		err(1, "epoll_ctl");
	t->events = events;
}

/* Sends what is small enough for any socket to take it whole. */
static void
say(struct tunnel *t, const void *data, size_t len)
{
	if (send(t->fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(1, "send");
}

/* Sends the client's side of SOCKS from `from`, with the head if `early`. */
static void
say_socks(struct tunnel *t, size_t from, size_t to)
{
	uint8_t all[GREETING_LEN + REQUEST_LEN + WIRE_HEAD_LEN] = { 5, 1, 0, 5,
		1, 0, 1 };

	memcpy(all + GREETING_LEN + 4, &t->route->origin.sin_addr, 4);
	memcpy(all + GREETING_LEN + 8, &t->route->origin.sin_port, 2);
	memcpy(all + GREETING_LEN + REQUEST_LEN, t->head, WIRE_HEAD_LEN);
	say(t, all + from, (t->route->early ? sizeof(all) : to) - from);
}

/* Reads a reply of `len` bytes. True: it is whole. */
static bool
hear(struct tunnel *t, size_t len)
{
	ssize_t n = recv(t->fd, t->reply + t->reply_len, len - t->reply_len, 0);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0)
		err(1, "the proxy's reply");
	if (n == 0)
		errx(1, "the proxy closed the connection");
	if ((t->reply_len += (size_t)n) < len)
		return false;
	t->reply_len = 0;
	return true;
}

static void
on_connected(struct tunnel *t)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error != 0)
		errx(1, "connect: %s", strerror(error));
	if (t->route->proxy.sin_port != 0) {
		t->state = GREETING;
		say_socks(t, 0, GREETING_LEN);
	} else {
		t->state = OPEN;
		say(t, t->head, WIRE_HEAD_LEN);
	}
}

static void
on_choice(struct tunnel *t)
{
	if (t->reply[0] != 5 || t->reply[1] != 0)
		errx(1, "the proxy is not for us");
	t->state = REQUESTING;
	if (!t->route->early)
		say_socks(t, GREETING_LEN, GREETING_LEN + REQUEST_LEN);
}

static void
on_reply(struct tunnel *t)
{
	if (t->reply[1] != 0)
		errx(1, "the proxy refused: 0x%02x", t->reply[1]);
	t->state = OPEN;
	if (!t->route->early)
		say(t, t->head, WIRE_HEAD_LEN);
}

static void
move(struct tunnel *t)
{
	ssize_t n = 0;

	if (t->send > 0)
		n = send(t->fd, buffer, at_most(t->send), MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		err(1, "send");
	if (n > 0)
		t->send -= (uint64_t)n;
	if (t->receive == 0)
		return;
	n = recv(t->fd, buffer, at_most(t->receive), 0);
	if (n < 0 && errno != EAGAIN)
		err(1, "recv");
	if (n == 0)
		errx(1, "cut short, %ju bytes missing", (uintmax_t)t->receive);
	if (n > 0)
		t->receive -= (uint64_t)n;
}

bool
tunnel_drive(struct tunnel *t)
{
	if (t->state == CONNECTING)
		on_connected(t);
	if (t->state == GREETING && hear(t, CHOICE_LEN))
		on_choice(t);
	if (t->state == REQUESTING && hear(t, sizeof(t->reply)))
		on_reply(t);
	if (t->state == OPEN)
		move(t);
	watch(t);
	return t->state == OPEN && t->send == 0 && t->receive == 0;
}

static void
begin(struct tunnel *t, char what, uint64_t count)
{
	wire_write_head(t->head, what, count);
	t->count = count;
	t->send = what == WIRE_UP ? count : 0;
	t->receive = what == WIRE_UP ? wire_reports(count, count) : count;
	t->started = tunnel_now();
}

struct tunnel *
tunnel_open(const struct route *route, int poller, char what, uint64_t count)
{
	const struct sockaddr_in *to = route->proxy.sin_port != 0
	    ? &route->proxy
	    : &route->origin;
	struct tunnel *t = calloc(1, sizeof(*t));
	int on = 1;

	if (t == NULL)
		err(1, "calloc");
	t->route = route;
	t->poller = poller;
	begin(t, what, count);
	t->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (t->fd < 0)
		err(1, "socket");
	setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(t->fd, (const struct sockaddr *)to, sizeof(*to)) != 0 &&
	    errno != EINPROGRESS)
		err(1, "connect");
	watch(t);
	return t;
}

void
tunnel_request(struct tunnel *t, char what, uint64_t count)
{
	begin(t, what, count);
	say(t, t->head, WIRE_HEAD_LEN);
	watch(t);
}

void
tunnel_shorten(struct tunnel *t)
{
	uint64_t sent = t->count - t->send;
	uint64_t count = (sent / WIRE_REPORT + 1) * WIRE_REPORT;

	if (count >= t->count)
		return;
	t->receive -= wire_reports(t->count, t->count) - count / WIRE_REPORT;
	t->send = count - sent;
	t->count = count;
}

uint64_t
tunnel_delivered(const struct tunnel *t)
{
	if (t->head[0] == WIRE_DOWN)
		return t->count - t->receive;
	if (t->receive == 0)
		return t->count;
	return (wire_reports(t->count, t->count) - t->receive) * WIRE_REPORT;
}

void
tunnel_close(struct tunnel *t)
{
	if (t == NULL)
		return;
	close(t->fd);
	free(t);
}
