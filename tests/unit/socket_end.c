#include "tests/unit/socket_end.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/sockios.h>

#include "tests/unit/pattern.h"

/* Bytes: small, so that what a test sends does not vanish in the kernel. */
#define SOCKET_BUFFER 16384

static void
send_more(struct socket_end *e)
{
	uint8_t buf[65536];
	size_t n;
	ssize_t rv;

	while (e->sent < e->to_send && !e->send_failed) {
		n = e->to_send - e->sent;
		n = n < sizeof(buf) ? n : sizeof(buf);
		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(0, e->sent + i);
		rv = send(e->fd, buf, n, MSG_NOSIGNAL);
		e->send_failed = rv < 0 && errno != EAGAIN;
		if (rv < 0)
			return;
		e->sent += (size_t)rv;
	}
	if (e->finishes && !e->finished)
		shutdown(e->fd, SHUT_WR);
	e->finished = e->finishes;
}

/* After a FIN, or a failure to send, an RST is reported by no read. */
static bool
was_reset(const struct socket_end *e)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return e->send_failed || error != 0;
}

static void
read_more(struct socket_end *e)
{
	uint8_t buf[65536];
	ssize_t n;

	while ((n = recv(e->fd, buf, sizeof(buf), 0)) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != pattern(0, e->received++))
				e->spoilt = true;
	if (n == 0)
		*(was_reset(e) ? &e->reset : &e->ended) = true;
	else
		e->reset = errno != EAGAIN;
}

void
socket_end_pump(struct socket_end *e)
{
	if (e->fd < 0 || e->reset)
		return;
	send_more(e);
	if (!e->holds && !e->ended)
		read_more(e);
}

void
socket_end_reset(struct socket_end *e)
{
	struct linger linger = { .l_onoff = 1 };

	setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(e->fd);
	e->fd = -1;
}

bool
socket_end_delivered(const struct socket_end *e)
{
	int queued = 0;

	ioctl(e->fd, SIOCOUTQ, &queued);
	return e->sent == e->to_send && queued == 0;
}

static void
shrink(int fd)
{
	int size = SOCKET_BUFFER;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

void
socket_end_pair(int fds[2])
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(sin);

	shrink(l); /* accepted sockets inherit it */
	assert_int_equal(bind(l, (struct sockaddr *)&sin, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&sin, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	shrink(fds[0]);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&sin, len), 0);
	fds[1] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fds[1] >= 0);
	close(l);
}
