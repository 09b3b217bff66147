/*
 * target: where hostile tunnels lead.
 *
 *	target
 *
 * Listens at every loopback address, on a port for each behaviour, whose
 * numbers it prints as "echo PORT" and so on, until standard input ends:
 *
 *	echo	sends back what comes
 *	one	sends a byte once one has come, and reads no more
 *	flood	sends for ever once a byte has come, and reads no more
 *	hold	reads nothing
 *	drop	resets all connections that it has when a byte comes
 *	silent	answers no SYN: its queue is full
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/hostile/target.h"

#define EVENTS_MAX 256
#define BACKLOG 4096  /* connections: more than a burst */
#define IO_SIZE 65536 /* bytes */
#define FILLERS 4     /* connections that fill a queue of none */

/* Bytes: thousands of connections that are not read must fit. */
#define BUFFER 16384

struct end {
	int fd;
	enum target behaviour;
	bool listens;
	LIST_ENTRY(end) entry; /* dropping */
};

static LIST_HEAD(, end) dropping = LIST_HEAD_INITIALIZER(dropping);
static char buffer[IO_SIZE];
static int poller;

static void
watch(struct end *e, uint32_t events, int op)
{
	struct epoll_event ev = { .events = events, .data.ptr = e };

	if (epoll_ctl(poller, op, e->fd, &ev) != 0)
		err(1, "epoll_ctl");
}

static struct end *
end_new(int fd, enum target behaviour, bool listens)
{
	struct end *e = calloc(1, sizeof(*e));

	if (e == NULL)
		err(1, "calloc");
	e->fd = fd;
	e->behaviour = behaviour;
	e->listens = listens;
	if (behaviour == DROP && !listens)
		LIST_INSERT_HEAD(&dropping, e, entry);
	return e;
}

static void
end_free(struct end *e)
{
	struct linger abort = { .l_onoff = 1 };

	if (e->behaviour == DROP) {
		LIST_REMOVE(e, entry);
		setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
	}
	close(e->fd);
	free(e);
}

static void
accept_all(struct end *listener)
{
	struct end *e;
	int fd;

	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		e = end_new(fd, listener->behaviour, false);
		watch(e, e->behaviour == HOLD ? EPOLLRDHUP : EPOLLIN,
		    EPOLL_CTL_ADD);
	}
}

/* False: the connection is over. */
static bool
flood(struct end *e)
{
	ssize_t n;

	while ((n = send(e->fd, buffer, sizeof(buffer), MSG_NOSIGNAL)) > 0)
		continue;
	return errno == EAGAIN;
}

static bool
answer(struct end *e)
{
	ssize_t n = recv(e->fd, buffer, sizeof(buffer), 0);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	switch (e->behaviour) {
	case ECHO_BACK:
		return send(e->fd, buffer, (size_t)n, MSG_NOSIGNAL) == n;
	case ONE:
		watch(e, EPOLLRDHUP, EPOLL_CTL_MOD);
		return send(e->fd, buffer, 1, MSG_NOSIGNAL) == 1;
	case FLOOD:
		watch(e, EPOLLOUT, EPOLL_CTL_MOD);
		return true;
	default:
		return false;
	}
}

static void
drop_all(void)
{
	while (!LIST_EMPTY(&dropping))
		end_free(LIST_FIRST(&dropping));
}

/* False: events that were fetched with this one may be of freed memory. */
static bool
serve(struct end *e, uint32_t events)
{
	bool goes_on = (events & (EPOLLERR | EPOLLHUP)) == 0;

	if (e->listens) {
		accept_all(e);
		return true;
	}
	if (goes_on && (events & EPOLLOUT) != 0)
		goes_on = flood(e);
	else if (goes_on && (events & EPOLLIN) != 0 && e->behaviour == DROP) {
		drop_all();
		return false;
	} else if (goes_on && (events & EPOLLIN) != 0)
		goes_on = answer(e);
	else
		goes_on = false;
	if (!goes_on)
		end_free(e);
	return true;
}

static void
fill(const struct sockaddr_in *address)
{
	for (int i = 0; i < FILLERS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

		connect(fd, (const struct sockaddr *)address, sizeof(*address));
	}
}

static void
listen_as(enum target behaviour)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(address);
	int size = BUFFER;

	/* Before listen(): connections inherit it. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
	    listen(fd, behaviour == SILENT ? 0 : BACKLOG) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0)
		err(1, "%s", target_names[behaviour]);
	printf("%s %u\n", target_names[behaviour], ntohs(address.sin_port));
	if (behaviour == SILENT) {
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fill(&address);
	} else
		watch(end_new(fd, behaviour, true), EPOLLIN, EPOLL_CTL_ADD);
}

int
main(void)
{
	struct epoll_event events[EVENTS_MAX];
	struct rlimit files;
	bool valid;
	int n;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	if ((poller = epoll_create1(0)) < 0)
		err(1, "epoll_create1");
	events[0] = (struct epoll_event){ .events = EPOLLIN };
	if (epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, events) != 0)
		err(1, "epoll_ctl");
	for (int i = 0; i < TARGETS; i++)
		listen_as((enum target)i);
	fflush(stdout);
	for (;;) {
		n = epoll_wait(poller, events, EVENTS_MAX, -1);
		valid = true;
		for (int i = 0; i < n && valid; i++) {
			if (events[i].data.ptr == NULL)
				_exit(0); /* with all that is open */
			valid = serve(events[i].data.ptr, events[i].events);
		}
	}
}
