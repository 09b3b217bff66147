/*
 * load: an origin and its clients in one program, to measure what lies
 * between them. Clients come through a SOCKS5 proxy, or directly with port 0.
 *
 *	load PORT down BYTES [N]	N downloads at once, each of BYTES
 *	load PORT up BYTES [N]		the same, as uploads
 *	load PORT tunnels COUNT [N]	COUNT tunnels opened and closed, N at once
 *	load PORT idle COUNT		COUNT tunnels held until standard input ends
 *
 * The origin is a child process, so that its work runs beside the clients'.
 * It reads a head of 9 bytes, a letter and 8 of a count, and does what it
 * says: D sends the count, U reads the count and answers one byte, E echoes
 * one byte. Prints "seconds SECONDS" for the work, and for idle "open COUNT".
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_LEN 9	    /* bytes: a letter and a count */
#define IO_SIZE 262144	    /* bytes a call */
#define EVENTS_MAX 256
#define SOCKS_REPLY_LEN 12  /* bytes: method choice and reply with IPv4 */

/* One connection, of the origin's side or of the clients'. */
struct peer {
	int fd;
	bool greeted;	  /* client: the proxy has answered; origin: head read */
	size_t got;	  /* bytes of what greets us */
	uint8_t head[32];
	uint64_t send, receive; /* bytes still to go */
};

static char buffer[IO_SIZE];
static int poller;
static uint16_t proxy_port, origin_port;

static void
add(struct peer *p, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = p };

	if (epoll_ctl(poller, EPOLL_CTL_ADD, p->fd, &ev) != 0)
		err(1, "epoll_ctl");
}

static void
watch(struct peer *p)
{
	struct epoll_event ev = { .events = EPOLLIN |
		(p->send > 0 ? EPOLLOUT : 0), .data.ptr = p };

	epoll_ctl(poller, EPOLL_CTL_MOD, p->fd, &ev);
}

static void
drop(struct peer *p)
{
	close(p->fd);
	free(p);
}

/* Moves bytes as far as the kernel goes. -1: the peer is gone. */
static int
move(struct peer *p)
{
	ssize_t n;

	while (p->send > 0) {
		n = send(p->fd, buffer, p->send < IO_SIZE ? p->send : IO_SIZE,
		    MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			return -1;
		p->send -= (uint64_t)n;
	}
	while (p->receive > 0) {
		n = recv(p->fd, buffer, p->receive < IO_SIZE ? p->receive
							     : IO_SIZE, 0);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0)
			return -1;
		p->receive -= (uint64_t)n;
	}
	return 0;
}

/* ---- The origin ---- */

static int
read_head(struct peer *p)
{
	uint64_t count;
	ssize_t n = recv(p->fd, p->head + p->got, HEAD_LEN - p->got, 0);

	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return -1;
	if ((p->got += (size_t)n) < HEAD_LEN)
		return 0;
	memcpy(&count, p->head + 1, sizeof(count));
	p->greeted = true;
	p->receive = p->head[0] == 'U' ? count : 0;
	p->send = p->head[0] == 'D' ? count : p->head[0] == 'E' ? 1 : 0;
	return 0;
}

static int
serve(struct peer *p)
{
	char end;
	ssize_t n;

	if (!p->greeted && (read_head(p) != 0 || !p->greeted))
		return p->greeted ? 0 : p->got > HEAD_LEN ? -1 : 0;
	if (move(p) != 0)
		return -1;
	if (p->head[0] == 'U' && p->receive == 0) {
		p->head[0] = 'E';
		p->send = 1;
		if (move(p) != 0)
			return -1;
	}
	watch(p);
	if (p->send > 0 || p->receive > 0)
		return 0;
	n = recv(p->fd, &end, 1, 0);
	return n == 0 || (n < 0 && errno != EAGAIN) ? -1 : 0;
}

static void
run_origin(int listener)
{
	struct epoll_event events[EVENTS_MAX];
	struct peer self = { .fd = listener }, *p;
	int n, fd, on = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	poller = epoll_create1(0);
	add(&self, EPOLLIN);
	for (;;) {
		n = epoll_wait(poller, events, EVENTS_MAX, -1);
		for (int i = 0; i < n; i++) {
			p = events[i].data.ptr;
			if (p != &self) {
				if (serve(p) != 0)
					drop(p);
				continue;
			}
			while ((fd = accept4(listener, NULL, NULL,
				    SOCK_NONBLOCK)) >= 0) {
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
				    sizeof(on));
				if ((p = calloc(1, sizeof(*p))) == NULL)
					err(1, "calloc");
				p->fd = fd;
				add(p, EPOLLIN);
			}
		}
	}
}

/* ---- The clients ---- */

static struct peer *
start_client(char what, uint64_t count)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(proxy_port ? proxy_port : origin_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint8_t hello[13 + HEAD_LEN] = { 5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1,
		(uint8_t)(origin_port >> 8), (uint8_t)origin_port };
	struct peer *p = calloc(1, sizeof(*p));
	size_t skip = proxy_port ? 0 : 13;
	int on = 1;

	if (p == NULL)
		err(1, "calloc");
	p->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&to, sizeof(to)))
		err(1, "connect");
	setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	hello[13] = (uint8_t)what;
	memcpy(hello + 14, &count, sizeof(count));
	if (send(p->fd, hello + skip, sizeof(hello) - skip, 0) !=
	    (ssize_t)(sizeof(hello) - skip))
		err(1, "send");
	fcntl(p->fd, F_SETFL, O_NONBLOCK);
	p->greeted = !proxy_port;
	p->send = what == 'U' ? count : 0;
	p->receive = what == 'D' ? count : 1;
	add(p, EPOLLIN | (p->greeted && p->send > 0 ? EPOLLOUT : 0));
	return p;
}

/* 1: all is done. */
static int
drive(struct peer *p)
{
	ssize_t n;

	if (!p->greeted) {
		n = recv(p->fd, p->head + p->got, SOCKS_REPLY_LEN - p->got, 0);
		if (n <= 0 && !(n < 0 && errno == EAGAIN))
			errx(1, "the proxy closed the connection");
		if (n < 0 || (p->got += (size_t)n) < SOCKS_REPLY_LEN)
			return 0;
		if (p->head[3] != 0)
			errx(1, "the proxy refused: 0x%02x", p->head[3]);
		p->greeted = true;
	}
	if (move(p) != 0)
		errx(1, "cut short, %llu bytes missing",
		    (unsigned long long)(p->send + p->receive));
	watch(p);
	return p->send == 0 && p->receive == 0;
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Runs `count` clients, `width` at once; keeps them when `hold`. */
static void
run_clients(char what, uint64_t bytes, size_t count, size_t width, bool hold)
{
	struct epoll_event events[EVENTS_MAX];
	size_t started = 0, done = 0;
	struct peer *p;
	int n;

	while (started < count && started < width) {
		start_client(what, bytes);
		started++;
	}
	while (done < count) {
		n = epoll_wait(poller, events, EVENTS_MAX, -1);
		for (int i = 0; i < n; i++) {
			p = events[i].data.ptr;
			if (drive(p) == 0)
				continue;
			done++;
			if (hold)
				epoll_ctl(poller, EPOLL_CTL_DEL, p->fd, NULL);
			else
				drop(p);
			if (started < count) {
				start_client(what, bytes);
				started++;
			}
		}
	}
}

static int
open_origin(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 ||
	    listen(fd, 4096) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		err(1, "origin");
	origin_port = ntohs(at.sin_port);
	return fd;
}

int
main(int argc, char **argv)
{
	struct rlimit files;
	uint64_t count;
	size_t width;
	double start;
	int fd;

	if (argc < 4)
		errx(2, "usage: load port down|up|tunnels|idle count [n]");
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	proxy_port = (uint16_t)atoi(argv[1]);
	count = strtoull(argv[3], NULL, 10);
	width = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
	fd = open_origin();
	if (fork() == 0)
		run_origin(fd);
	poller = epoll_create1(0);
	start = now();
	if (strcmp(argv[2], "down") == 0)
		run_clients('D', count, width, width, false);
	else if (strcmp(argv[2], "up") == 0)
		run_clients('U', count, width, width, false);
	else if (strcmp(argv[2], "tunnels") == 0)
		run_clients('E', 1, count, width, false);
	else
		run_clients('E', 1, count, 64, true);
	printf("seconds %.6f\n", now() - start);
	if (strcmp(argv[2], "idle") == 0) {
		printf("open %llu\n", (unsigned long long)count);
		fflush(stdout);
		while (read(0, buffer, sizeof(buffer)) > 0)
			continue;
	}
	return 0;
}
