/*
 * origin: what lies behind the proxies that are measured.
 *
 *	origin ADDRESS:PORT
 *
 * Prints "port PORT", and serves the requests of wire.h until its standard
 * input ends. A connection waits for a head, does what it says, and waits for
 * the next one.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/wire.h"

#define IO_SIZE 262144 /* bytes a call: one call fills a socket's buffer */
#define EVENTS_MAX 256
#define BACKLOG 4096 /* connections: more than the clients open at once */

struct connection {
	int fd;
	uint32_t events; /* that we wait for */
	uint8_t head[WIRE_HEAD_LEN];
	size_t head_len;  /* bytes of it that have come */
	uint64_t count;	  /* bytes of the upload ... */
	uint64_t receive; /* ... and how many are still to come */
	uint64_t send;	  /* bytes still to go, of data or reports */
};

static char buffer[IO_SIZE];
static int poller;

static size_t
at_most(uint64_t n)
{
	return n < IO_SIZE ? (size_t)n : IO_SIZE;
}

/* Waits for heads and uploads, but while a download goes for nothing else. */
static void
watch(struct connection *c)
{
	uint32_t events = (c->send > 0 ? EPOLLOUT : 0u) |
	    (c->send == 0 || c->receive > 0 ? EPOLLIN : 0u);
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (events == c->events)
		return;
	if (epoll_ctl(poller, c->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
		c->fd, &ev) != 0)
		err(1, "epoll_ctl");
	c->events = events;
}

static void
begin(struct connection *c)
{
	c->head_len = 0;
	c->count = c->receive = c->send = 0;
	if (c->head[0] == WIRE_UP)
		c->count = c->receive = wire_count(c->head);
	else
		c->send = wire_count(c->head);
}

/* Returns what recv() does. */
static ssize_t
take(struct connection *c)
{
	uint64_t taken = c->count - c->receive;
	ssize_t n;

	if (c->receive == 0) {
		n = recv(c->fd, c->head + c->head_len,
		    WIRE_HEAD_LEN - c->head_len, 0);
		if (n > 0 && (c->head_len += (size_t)n) == WIRE_HEAD_LEN)
			begin(c);
		return n;
	}
	n = recv(c->fd, buffer, at_most(c->receive), 0);
	if (n > 0) {
		c->receive -= (uint64_t)n;
		c->send += wire_reports(taken + (uint64_t)n, c->count) -
		    wire_reports(taken, c->count);
	}
	return n;
}

static ssize_t
give(struct connection *c)
{
	ssize_t n = send(c->fd, buffer, at_most(c->send), MSG_NOSIGNAL);

	if (n > 0)
		c->send -= (uint64_t)n;
	return n;
}

/* Does one call of each kind, for the others' sake; or ends the connection. */
static void
serve(struct connection *c, uint32_t events)
{
	ssize_t n = 1;

	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		n = take(c);
	if (n > 0 && c->send > 0)
		n = give(c);
	if (n <= 0 && !(n < 0 && errno == EAGAIN)) {
		close(c->fd);
		free(c);
		return;
	}
	watch(c);
}

static void
accept_all(int listener)
{
	struct connection *c;
	int fd, on = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if ((c = calloc(1, sizeof(*c))) == NULL)
			err(1, "calloc");
		c->fd = fd;
		watch(c);
	}
}

static int
listen_at(struct sockaddr_in address)
{
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
	    listen(fd, BACKLOG) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		err(1, "listen");
	printf("port %u\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

/* The listener and the standard input have no connection, but one of these. */
static struct connection listener, input;

static void
add(struct connection *c, int fd)
{
	c->fd = fd;
	watch(c);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS_MAX];
	struct connection *c;
	int n;

	if (argc != 2)
		errx(2, "usage: origin address:port");
	wire_raise_files();
	if ((poller = epoll_create1(0)) < 0)
		err(1, "epoll_create1");
	add(&input, STDIN_FILENO);
	add(&listener, listen_at(wire_address(argv[1])));
	for (;;) {
		n = epoll_wait(poller, events, EVENTS_MAX, -1);
		for (int i = 0; i < n; i++) {
			c = events[i].data.ptr;
			if (c == &input) {
				if (read(c->fd, buffer, sizeof(buffer)) <= 0)
					return 0;
			} else if (c == &listener)
				accept_all(c->fd);
			else
				serve(c, events[i].events);
		}
	}
}
