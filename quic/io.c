/*
 * The socket, the clock and the loop.
 *
 *   poll ──▶ on_readable ──▶ recvmmsg ──▶ quic_*_receive ──▶ events
 *   timer ─▶ on_timer ─────▶ quic_*_expire ──▶ events
 *   ... whatever else the loop has to do in this turn ...
 *   prepare, before the loop sleeps ──▶ quic_*_write ──▶ sendmsg, until done
 *
 * The timer is a timerfd, since libuv's own count whole milliseconds and the
 * pacing of a fast path counts microseconds.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/timerfd.h>

#include "quic/io.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define RX_SIZE 65536  /* bytes: the largest datagram, or GRO's joined ones */
#define RX_BATCH 8     /* messages a call */
#define RX_ROUNDS_MAX 4 /* calls a turn: then others have their say */
#define TX_TRAINS_MAX 64 /* trains a turn: 4 MiB, for the same reason */

/*
 * Socket buffers: what arrives or leaves in 30 ms at 1 Gbit/s. The kernel cuts
 * them to net.core.rmem_max and wmem_max.
 */
#define SOCKET_BUFFER (4 * 1048576) /* bytes */

/* While the socket is full, timers may be this late. */
#define BLOCKED_DELAY 1000000 /* nanoseconds */

#define ECN_MASK 3 /* RFC 3168 §5 */

#define NS_PER_S UINT64_C(1000000000)

struct quic_io {
	uv_loop_t *loop;
	int fd, timer_fd;
	uv_poll_t poll, timer;
	uv_prepare_t prepare;
	unsigned handles; /* open; the last one's close frees */
	bool closing;

	struct quic_conn *conn; /* one of the two is driven */
	struct quic_server *server;
	void (*unreachable)(void *arg, int error);
	void *arg;

	struct sockaddr_storage local;
	bool connected;	 /* every datagram goes to one address */
	bool gso;	 /* the kernel cuts trains for us */
	bool blocked;	 /* the socket is full: train waits in `train` */
	uint64_t timer_at; /* armed for; UINT64_MAX: not at all */

	uint8_t *rx_memory; /* RX_BATCH times RX_SIZE */
	struct quic_train train;
};

uint64_t
quic_io_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- Whom we drive ---- */

static void
drive_receive(struct quic_io *io, const struct quic_rx *rx, size_t n,
    uint64_t now)
{
	if (io->server != NULL)
		quic_server_receive(io->server, rx, n, now);
	else if (io->conn != NULL)
		quic_conn_receive(io->conn, rx, n, now);
}

static void
drive_expire(struct quic_io *io, uint64_t now)
{
	if (io->server != NULL)
		quic_server_expire(io->server, now);
	else if (io->conn != NULL)
		quic_conn_expire(io->conn, now);
}

static bool
drive_write(struct quic_io *io, uint64_t now)
{
	if (io->server != NULL)
		return quic_server_write(io->server, &io->train, now);
	return io->conn != NULL && quic_conn_write(io->conn, &io->train, now);
}

static uint64_t
drive_deadline(const struct quic_io *io)
{
	if (io->server != NULL)
		return quic_server_deadline(io->server);
	return io->conn != NULL ? quic_conn_deadline(io->conn) : UINT64_MAX;
}

/* ---- Addresses: IPv4 on an IPv6 socket is shown as what it is ---- */

static void
unmap(struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in sin = { .sin_family = AF_INET };

	if (ss->ss_family != AF_INET6 ||
	    !IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr))
		return;
	sin.sin_port = sin6->sin6_port;
	memcpy(&sin.sin_addr, &sin6->sin6_addr.s6_addr[12], 4);
	memset(ss, 0, sizeof(*ss));
	memcpy(ss, &sin, sizeof(sin));
}

static socklen_t
map_for(const struct quic_io *io, const struct sockaddr_storage *ss,
    struct sockaddr_storage *out)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)out;

	*out = *ss;
	if (ss->ss_family == AF_INET && io->local.ss_family == AF_INET6) {
		memset(out, 0, sizeof(*out));
		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = sin->sin_port;
		memset(&sin6->sin6_addr.s6_addr[10], 0xff, 2);
		memcpy(&sin6->sin6_addr.s6_addr[12], &sin->sin_addr, 4);
	}
	return out->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					  : sizeof(struct sockaddr_in);
}

static void
set_local_ip(struct sockaddr_storage *local, int family, const void *ip)
{
	struct sockaddr_in *sin = (struct sockaddr_in *)local;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)local;
	in_port_t port = local->ss_family == AF_INET6 ? sin6->sin6_port
						      : sin->sin_port;

	memset(local, 0, sizeof(*local));
	local->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		sin->sin_port = port;
		memcpy(&sin->sin_addr, ip, sizeof(sin->sin_addr));
	} else {
		sin6->sin6_port = port;
		memcpy(&sin6->sin6_addr, ip, sizeof(sin6->sin6_addr));
	}
}

/* ---- Receiving ---- */

union rx_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(struct in6_pktinfo)) +
	    CMSG_SPACE(sizeof(struct in_pktinfo)) +
	    3 * CMSG_SPACE(sizeof(int))];
};

static int
int_of(const struct cmsghdr *c)
{
	int value = 0;
	uint8_t byte;

	if (c->cmsg_len >= CMSG_LEN(sizeof(value)))
		memcpy(&value, CMSG_DATA(c), sizeof(value));
	else {
		/* IP_TOS comes as one byte. */
		memcpy(&byte, CMSG_DATA(c), 1);
		value = byte;
	}
	return value;
}

static void
read_control(struct msghdr *msg, struct quic_rx *rx)
{
	struct in6_pktinfo info6;
	struct in_pktinfo info;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
			rx->segment = (size_t)int_of(c);
		else if ((c->cmsg_level == IPPROTO_IP &&
			     c->cmsg_type == IP_TOS) ||
		    (c->cmsg_level == IPPROTO_IPV6 &&
			c->cmsg_type == IPV6_TCLASS))
			rx->ecn = (uint8_t)(int_of(c) & ECN_MASK);
		else if (c->cmsg_level == IPPROTO_IP &&
		    c->cmsg_type == IP_PKTINFO) {
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			set_local_ip(&rx->path.local, AF_INET,
			    &info.ipi_addr);
		} else if (c->cmsg_level == IPPROTO_IPV6 &&
		    c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&info6, CMSG_DATA(c), sizeof(info6));
			set_local_ip(&rx->path.local, AF_INET6,
			    &info6.ipi6_addr);
		}
	}
	unmap(&rx->path.local);
	unmap(&rx->path.remote);
}

/* One recvmmsg(2). Returns the number of messages, or a negative errno. */
static int
receive_batch(struct quic_io *io, struct quic_rx *rx)
{
	union rx_control control[RX_BATCH];
	struct mmsghdr msgs[RX_BATCH];
	struct iovec iov[RX_BATCH];
	int n;

	memset(msgs, 0, sizeof(msgs));
	for (size_t i = 0; i < RX_BATCH; i++) {
		iov[i].iov_base = io->rx_memory + i * RX_SIZE;
		iov[i].iov_len = RX_SIZE;
		rx[i].path.local = rx[i].path.remote = io->local;
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		msgs[i].msg_hdr.msg_name = &rx[i].path.remote;
		msgs[i].msg_hdr.msg_namelen = sizeof(rx[i].path.remote);
		msgs[i].msg_hdr.msg_control = &control[i];
		msgs[i].msg_hdr.msg_controllen = sizeof(control[i]);
	}
	n = recvmmsg(io->fd, msgs, RX_BATCH, MSG_DONTWAIT, NULL);
	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		rx[i].data = iov[i].iov_base;
		rx[i].len = msgs[i].msg_len;
		rx[i].segment = 0;
		rx[i].ecn = 0;
		read_control(&msgs[i].msg_hdr, &rx[i]);
	}
	return n;
}

static void
receive_all(struct quic_io *io)
{
	struct quic_rx rx[RX_BATCH];
	int n;

	for (int round = 0; round < RX_ROUNDS_MAX && !io->closing; round++) {
		n = receive_batch(io, rx);
		if (n > 0)
			drive_receive(io, rx, (size_t)n, quic_io_now());
		else if (n < 0 && n != -EAGAIN && n != -EINTR) {
			if (io->unreachable != NULL)
				io->unreachable(io->arg, n);
			return;
		}
		if (n < RX_BATCH)
			return;
	}
}

/* ---- Sending ---- */

union tx_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(struct in6_pktinfo)) +
	    2 * CMSG_SPACE(sizeof(int))];
};

static void
add_control(struct msghdr *msg, int level, int type, const void *data,
    size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((char *)msg->msg_control +
	    msg->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	msg->msg_controllen += CMSG_SPACE(len);
}

/* From where: a server answers from the address that it was asked at. */
static void
add_source(struct msghdr *msg, const struct sockaddr_storage *local)
{
	struct in6_pktinfo info6 = { 0 };
	struct in_pktinfo info = { 0 };

	if (local->ss_family == AF_INET6) {
		info6.ipi6_addr = ((const struct sockaddr_in6 *)local)
				      ->sin6_addr;
		add_control(msg, IPPROTO_IPV6, IPV6_PKTINFO, &info6,
		    sizeof(info6));
	} else {
		info.ipi_spec_dst = ((const struct sockaddr_in *)local)
					->sin_addr;
		add_control(msg, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
}

static void
add_ecn(struct msghdr *msg, const struct sockaddr_storage *remote, uint8_t ecn)
{
	int value = ecn;

	if (remote->ss_family == AF_INET)
		add_control(msg, IPPROTO_IP, IP_TOS, &value, sizeof(value));
	else
		add_control(msg, IPPROTO_IPV6, IPV6_TCLASS, &value,
		    sizeof(value));
}

/* One sendmsg(2) of `len` bytes, in packets of `segment`. */
static int
send_packets(struct quic_io *io, uint8_t *data, size_t len, size_t segment)
{
	struct quic_train *train = &io->train;
	struct iovec iov = { data, len };
	struct sockaddr_storage remote, local;
	union tx_control control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint16_t size = (uint16_t)segment;

	memset(&control, 0, sizeof(control));
	msg.msg_control = &control;
	if (!io->connected) {
		msg.msg_namelen = map_for(io, &train->path.remote, &remote);
		msg.msg_name = &remote;
		map_for(io, &train->path.local, &local);
		add_source(&msg, &local);
	}
	if (train->ecn != 0)
		add_ecn(&msg, &train->path.remote, train->ecn);
	if (len > segment)
		add_control(&msg, SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
	if (msg.msg_controllen == 0)
		msg.msg_control = NULL;
	return sendmsg(io->fd, &msg, MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* Packet by packet, where the kernel or the device cannot cut trains. */
static int
send_singly(struct quic_io *io)
{
	struct quic_train *train = &io->train;
	size_t at, here;
	int rv;

	for (at = 0; at < train->len; at += here) {
		here = train->len - at < train->segment ? train->len - at
							: train->segment;
		rv = send_packets(io, train->buf + at, here, here);
		if (rv == -EAGAIN || rv == -ENOBUFS) {
			/* What is left of the train waits for room. */
			memmove(train->buf, train->buf + at, train->len - at);
			train->len -= at;
			return -EAGAIN;
		}
	}
	return 0;
}

/*
 * Sends the train. -EAGAIN: it waits for room. Any other failure is that of
 * the network and loses the packets, as the network may: QUIC finds out.
 */
static int
send_train(struct quic_io *io)
{
	int rv;

	if (!io->gso && io->train.len > io->train.segment)
		return send_singly(io);
	rv = send_packets(io, io->train.buf, io->train.len, io->train.segment);
	if ((rv == -EIO || rv == -EINVAL) && io->gso &&
	    io->train.len > io->train.segment) {
		io->gso = false;
		return send_singly(io);
	}
	return rv == -EAGAIN || rv == -ENOBUFS ? -EAGAIN : 0;
}

static void on_readable(uv_poll_t *, int status, int events);

static void
set_blocked(struct quic_io *io, bool blocked)
{
	if (io->blocked == blocked)
		return;
	io->blocked = blocked;
	uv_poll_start(&io->poll, blocked ? UV_READABLE | UV_WRITABLE
					 : UV_READABLE, on_readable);
}

/* Sends what there is. True: the turn's share is used up, there is more. */
static bool
flush(struct quic_io *io)
{
	uint64_t now = quic_io_now();

	for (int n = 0; n < TX_TRAINS_MAX; n++) {
		if (!io->blocked && !drive_write(io, now))
			return false;
		if (send_train(io) != 0) {
			set_blocked(io, true);
			return false;
		}
		set_blocked(io, false);
	}
	return true;
}

/* ---- The loop ---- */

static void
arm_timer(struct quic_io *io, uint64_t at)
{
	struct itimerspec spec = { 0 };

	if (at == io->timer_at)
		return;
	io->timer_at = at;
	if (at != UINT64_MAX) {
		spec.it_value.tv_sec = (time_t)(at / NS_PER_S);
		spec.it_value.tv_nsec = (long)(at % NS_PER_S);
		if (at == 0)
			spec.it_value.tv_nsec = 1; /* zero would disarm */
	}
	timerfd_settime(io->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void
on_prepare(uv_prepare_t *handle)
{
	struct quic_io *io = handle->data;
	uint64_t at;

	at = !io->blocked && flush(io) ? 0 : drive_deadline(io);
	/* Pacing deadlines pass while the socket is full: do not spin. */
	if (io->blocked && at < quic_io_now() + BLOCKED_DELAY)
		at = quic_io_now() + BLOCKED_DELAY;
	arm_timer(io, at);
}

static void
on_timer(uv_poll_t *handle, int status, int events)
{
	struct quic_io *io = handle->data;
	uint64_t expirations;

	(void)status, (void)events;
	if (read(io->timer_fd, &expirations, sizeof(expirations)) < 0)
		return;
	io->timer_at = UINT64_MAX;
	drive_expire(io, quic_io_now());
}

static void
on_readable(uv_poll_t *handle, int status, int events)
{
	struct quic_io *io = handle->data;

	if (status < 0 || (events & UV_READABLE) != 0)
		receive_all(io);
	if (!io->closing && io->blocked && (events & UV_WRITABLE) != 0)
		flush(io);
}

static void
on_closed(uv_handle_t *handle)
{
	struct quic_io *io = handle->data;

	if (--io->handles > 0)
		return;
	close(io->fd);
	close(io->timer_fd);
	free(io->rx_memory);
	free(io);
}

void
quic_io_close(struct quic_io *io)
{
	if (io == NULL || io->closing)
		return;
	if (!io->blocked)
		flush(io);
	io->closing = true;
	io->conn = NULL;
	io->server = NULL;
	uv_close((uv_handle_t *)&io->poll, on_closed);
	uv_close((uv_handle_t *)&io->timer, on_closed);
	uv_close((uv_handle_t *)&io->prepare, on_closed);
}

/* ---- Opening ---- */

static void
set_option(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

/*
 * DF on every packet, and the kernel's own idea of the path MTU ignored
 * (RFC 8899 §4.5): PROBE. What a kernel does not have, it refuses, and the
 * plain way remains.
 */
static void
set_options(struct quic_io *io, int family)
{
	int fd = io->fd, off = 0;

	set_option(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER);
	set_option(fd, SOL_SOCKET, SO_SNDBUF, SOCKET_BUFFER);
	set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
	set_option(fd, SOL_UDP, UDP_GRO, 1);
	if (family == AF_INET6) {
		set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
		    IPV6_PMTUDISC_PROBE);
		set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	}
	if (!io->connected) {
		set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
		if (family == AF_INET6) {
			set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
			set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
		}
	}
	io->gso = setsockopt(fd, SOL_UDP, UDP_SEGMENT, &off,
		      sizeof(off)) == 0;
}

/* Everything but the handles. On failure nothing is left. */
static int
io_alloc(struct quic_io **out, uv_loop_t *loop, int family, bool connected)
{
	struct quic_io *io = calloc(1, sizeof(*io));

	if (io == NULL)
		return -ENOMEM;
	io->loop = loop;
	io->connected = connected;
	io->timer_at = UINT64_MAX;
	io->timer_fd = -1;
	io->rx_memory = malloc((size_t)RX_BATCH * RX_SIZE);
	io->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (io->fd >= 0)
		io->timer_fd = timerfd_create(CLOCK_MONOTONIC,
		    TFD_NONBLOCK | TFD_CLOEXEC);
	if (io->rx_memory == NULL || io->timer_fd < 0) {
		int rv = io->rx_memory == NULL ? -ENOMEM : -errno;
		if (io->fd >= 0)
			close(io->fd);
		free(io->rx_memory);
		free(io);
		return rv;
	}
	set_options(io, family);
	*out = io;
	return 0;
}

static void
io_free(struct quic_io *io)
{
	close(io->fd);
	close(io->timer_fd);
	free(io->rx_memory);
	free(io);
}

static void
io_run(struct quic_io *io)
{
	uv_poll_init(io->loop, &io->poll, io->fd);
	uv_poll_init(io->loop, &io->timer, io->timer_fd);
	uv_prepare_init(io->loop, &io->prepare);
	io->poll.data = io->timer.data = io->prepare.data = io;
	io->handles = 3;
	uv_poll_start(&io->poll, UV_READABLE, on_readable);
	uv_poll_start(&io->timer, UV_READABLE, on_timer);
	uv_prepare_start(&io->prepare, on_prepare);
}

static socklen_t
length_of(const struct sockaddr *addr)
{
	return addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					   : sizeof(struct sockaddr_in);
}

int
quic_io_connect(struct quic_io **out, uv_loop_t *loop,
    const struct sockaddr *remote, struct quic_path *path)
{
	socklen_t len = sizeof(struct sockaddr_storage);
	struct quic_io *io;
	int rv;

	if ((rv = io_alloc(&io, loop, remote->sa_family, true)) != 0)
		return rv;
	if (connect(io->fd, remote, length_of(remote)) != 0 ||
	    getsockname(io->fd, (struct sockaddr *)&io->local, &len) != 0) {
		rv = -errno;
		io_free(io);
		return rv;
	}
	memset(path, 0, sizeof(*path));
	path->local = io->local;
	memcpy(&path->remote, remote, length_of(remote));
	io_run(io);
	*out = io;
	return 0;
}

void
quic_io_start(struct quic_io *io, struct quic_conn *conn,
    void (*unreachable)(void *arg, int error), void *arg)
{
	io->conn = conn;
	io->unreachable = unreachable;
	io->arg = arg;
}

int
quic_io_listen(struct quic_io **out, uv_loop_t *loop,
    const struct sockaddr *addr, struct quic_server *server)
{
	socklen_t len = sizeof(struct sockaddr_storage);
	struct quic_io *io;
	int rv;

	if ((rv = io_alloc(&io, loop, addr->sa_family, false)) != 0)
		return rv;
	if (bind(io->fd, addr, length_of(addr)) != 0 ||
	    getsockname(io->fd, (struct sockaddr *)&io->local, &len) != 0) {
		rv = -errno;
		io_free(io);
		return rv;
	}
	io->server = server;
	io_run(io);
	*out = io;
	return 0;
}

const struct sockaddr *
quic_io_local(const struct quic_io *io)
{
	return (const struct sockaddr *)&io->local;
}
