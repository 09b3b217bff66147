#include "proxy/base/tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>

/* Milliseconds between checks of a drain, doubling; most end at the first. */
#define CHECK_FIRST_MS 1
#define CHECK_LAST_MS 256

/* The descriptor, or -1. */
static int
fd_of(const uv_tcp_t *tcp)
{
	uv_os_fd_t fd;

	return uv_fileno((const uv_handle_t *)tcp, &fd) == 0 ? fd : -1;
}

void
tcp_set_nodelay(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void
tcp_set_reset(const uv_tcp_t *tcp, bool reset)
{
	struct linger linger = { .l_onoff = reset, .l_linger = 0 };

	setsockopt(fd_of(tcp), SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

int
tcp_shutdown(const uv_tcp_t *tcp)
{
	return shutdown(fd_of(tcp), SHUT_WR) == 0 ? 0 : -errno;
}

bool
tcp_has_ended(const uv_tcp_t *tcp, bool write_failed)
{
	char byte;

	return !write_failed &&
	    recv(fd_of(tcp), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

size_t
tcp_queued(const uv_tcp_t *tcp)
{
	size_t n = uv_stream_get_write_queue_size((const uv_stream_t *)tcp);
	int queued;

	if (ioctl(fd_of(tcp), SIOCOUTQ, &queued) == 0)
		n += (size_t)queued;
	return n;
}

/* SIOCOUTQ still counts bytes on a connection that has ended. */
static bool
is_over(const uv_tcp_t *tcp)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd_of(tcp), IPPROTO_TCP, TCP_INFO, &info, &len) ==
	    0 &&
	    info.tcpi_state == TCP_CLOSE;
}

size_t
tcp_unacknowledged(const uv_tcp_t *tcp)
{
	return is_over(tcp) ? 0 : tcp_queued(tcp);
}

uint64_t
tcp_drain_begin(struct tcp_drain *d, uint64_t now)
{
	*d = (struct tcp_drain){ .progress_ms = now,
		.check_ms = CHECK_FIRST_MS };
	return d->check_ms;
}

uint64_t
tcp_drain_check(struct tcp_drain *d, uint64_t progress, uint64_t now)
{
	if (progress != d->progress) {
		d->progress = progress;
		d->progress_ms = now;
	}
	if (now - d->progress_ms >= TCP_STALL_MS)
		return 0;
	if (d->check_ms < CHECK_LAST_MS)
		d->check_ms *= 2;
	return d->check_ms;
}
