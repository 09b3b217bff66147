/*
 * A UDP socket: options, control messages, addresses.
 *
 * System calls for each packet would cost most of the time. So it receives in
 * batches and sends in trains: recvmmsg(2) with GRO, sendmsg(2) with GSO.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>

#include "quic/socket.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define ECN_MASK 3 /* RFC 3168 §5 */

/*
 * A send call may return the ICMP error of an earlier packet, and sends nothing
 * then. So many errors in a row, between two calls, do not happen.
 */
#define SEND_TRIES 4

/* ---- Addresses: IPv4-mapped ones are shown as IPv4 ---- */

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
map_for(const struct quic_socket *s, const struct sockaddr_storage *ss,
    struct sockaddr_storage *out)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)out;

	*out = *ss;
	if (ss->ss_family == AF_INET && s->local.ss_family == AF_INET6) {
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
		/* IP_TOS has one byte. */
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
			set_local_ip(&rx->path.local, AF_INET, &info.ipi_addr);
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

int
quic_socket_receive(struct quic_socket *s, uint8_t *memory,
    struct quic_rx rx[QUIC_SOCKET_BATCH])
{
	union rx_control control[QUIC_SOCKET_BATCH];
	struct mmsghdr msgs[QUIC_SOCKET_BATCH];
	struct iovec iov[QUIC_SOCKET_BATCH];
	int n;

	memset(msgs, 0, sizeof(msgs));
	for (size_t i = 0; i < QUIC_SOCKET_BATCH; i++) {
		iov[i].iov_base = memory + i * QUIC_SOCKET_RX_SIZE;
		iov[i].iov_len = QUIC_SOCKET_RX_SIZE;
		rx[i].path.local = rx[i].path.remote = s->local;
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		msgs[i].msg_hdr.msg_name = &rx[i].path.remote;
		msgs[i].msg_hdr.msg_namelen = sizeof(rx[i].path.remote);
		msgs[i].msg_hdr.msg_control = &control[i];
		msgs[i].msg_hdr.msg_controllen = sizeof(control[i]);
	}
	n = recvmmsg(s->fd, msgs, QUIC_SOCKET_BATCH, MSG_DONTWAIT, NULL);
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

/* ---- Errors (ip(7), IP_RECVERR) ---- */

static bool
find_error(struct msghdr *msg, struct sock_extended_err *error)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		if ((c->cmsg_level != IPPROTO_IP ||
			c->cmsg_type != IP_RECVERR) &&
		    (c->cmsg_level != IPPROTO_IPV6 ||
			c->cmsg_type != IPV6_RECVERR))
			continue;
		memcpy(error, CMSG_DATA(c), sizeof(*error));
		return true;
	}
	return false;
}

/* A route may come back: such an error does not mean that the host is down. */
static bool
is_passing(const struct sock_extended_err *error)
{
	if (error->ee_errno != ENETUNREACH && error->ee_errno != EHOSTUNREACH)
		return false;
	return error->ee_origin == SO_EE_ORIGIN_ICMP6 ||
	    error->ee_code <= ICMP_HOST_UNREACH;
}

int
quic_socket_error(struct quic_socket *s, struct quic_too_big *report)
{
	struct iovec iov = { report->quote, sizeof(report->quote) };
	union {
		struct cmsghdr align;
		char buf[256]; /* the error, its sender, other messages */
	} control;
	struct msghdr msg = { .msg_name = &report->remote,
		.msg_namelen = sizeof(report->remote),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	struct sock_extended_err error;
	ssize_t n = recvmsg(s->fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : 0;
	if (!find_error(&msg, &error))
		return 0;
	unmap(&report->remote);
	report->len = (size_t)n;
	report->ip_mtu = error.ee_info;
	report->local = error.ee_origin == SO_EE_ORIGIN_LOCAL;
	if (error.ee_errno == EMSGSIZE)
		return -EMSGSIZE;
	return report->local || is_passing(&error) ? 0 : -(int)error.ee_errno;
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

/* The source address: a server replies from the address of the request. */
static void
add_source(struct msghdr *msg, const struct sockaddr_storage *local)
{
	struct in6_pktinfo info6 = { 0 };
	struct in_pktinfo info = { 0 };

	if (local->ss_family == AF_INET6) {
		info6.ipi6_addr =
		    ((const struct sockaddr_in6 *)local)->sin6_addr;
		add_control(msg, IPPROTO_IPV6, IPV6_PKTINFO, &info6,
		    sizeof(info6));
	} else {
		info.ipi_spec_dst =
		    ((const struct sockaddr_in *)local)->sin_addr;
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

/* One sendmsg(2) of `len` bytes of a train, in packets of `segment` bytes. */
static int
send_packets(const struct quic_socket *s, const struct quic_gso *gso,
    uint8_t *data, size_t len, size_t segment)
{
	struct iovec iov = { data, len };
	struct sockaddr_storage remote, local;
	union tx_control control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	uint16_t size = (uint16_t)segment;

	memset(&control, 0, sizeof(control));
	msg.msg_control = &control;
	if (!s->connected) {
		msg.msg_namelen = map_for(s, &gso->path.remote, &remote);
		msg.msg_name = &remote;
		map_for(s, &gso->path.local, &local);
		add_source(&msg, &local);
	}
	if (gso->ecn != 0)
		add_ecn(&msg, &gso->path.remote, gso->ecn);
	if (len > segment)
		add_control(&msg, SOL_UDP, UDP_SEGMENT, &size, sizeof(size));
	if (msg.msg_controllen == 0)
		msg.msg_control = NULL;
	for (int i = 0; i < SEND_TRIES; i++) {
		if (sendmsg(s->fd, &msg, MSG_DONTWAIT) >= 0)
			return 0;
		if (errno == EAGAIN || errno == ENOBUFS)
			break;
	}
	return -errno;
}

/*
 * Sends packet by packet, if the kernel or the device cannot split trains.
 * Returns the first error.
 */
static int
send_singly(const struct quic_socket *s, struct quic_gso *gso)
{
	size_t at, here;
	int rv, first = 0;

	for (at = 0; at < gso->len; at += here) {
		here = gso->len - at < gso->segment ? gso->len - at
						    : gso->segment;
		rv = send_packets(s, gso, gso->buf + at, here, here);
		if (rv == -EAGAIN || rv == -ENOBUFS) {
			/* The rest of the train waits for room. */
			memmove(gso->buf, gso->buf + at, gso->len - at);
			gso->len -= at;
			return -EAGAIN;
		}
		if (first == 0)
			first = rv;
	}
	return first;
}

/* GSO may cause these errors; so may a missing address or a large packet. */
static bool
may_be_cut(int rv)
{
	return rv == -EIO || rv == -EINVAL || rv == -EMSGSIZE;
}

int
quic_socket_send(struct quic_socket *s, struct quic_gso *gso)
{
	bool many = gso->len > gso->segment;
	int rv;

	if (s->gso || !many)
		rv = send_packets(s, gso, gso->buf, gso->len, gso->segment);
	else
		rv = send_singly(s, gso);
	if (many && s->gso && may_be_cut(rv)) {
		rv = send_singly(s, gso);
		s->gso = may_be_cut(rv);
	}
	if (rv == -EAGAIN || rv == -ENOBUFS)
		return -EAGAIN;
	return rv == -EMSGSIZE ? rv : 0;
}

/* ---- Opening ---- */

static void
set_option(int fd, int level, int option, int value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

size_t
quic_socket_buffer(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), granted = 0;
	socklen_t len = sizeof(granted);

	if (fd < 0)
		return QUIC_SOCKET_BUFFER; /* the next socket call reports it */
	set_option(fd, SOL_SOCKET, SO_RCVBUF, QUIC_SOCKET_BUFFER);
	getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &len);
	close(fd);
	return (size_t)granted / 2; /* Linux doubles it, for its overhead */
}

/*
 * Sets DF on every packet, and ignores the path MTU that the kernel caches (RFC
 * 8899 §4.5): PROBE. Options that a kernel does not have are not needed.
 */
static void
set_options(struct quic_socket *s, int family)
{
	int fd = s->fd, off = 0;

	set_option(fd, SOL_SOCKET, SO_RCVBUF, QUIC_SOCKET_BUFFER);
	set_option(fd, SOL_SOCKET, SO_SNDBUF, QUIC_SOCKET_BUFFER);
	set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
	set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
	set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
	set_option(fd, SOL_UDP, UDP_GRO, 1);
	if (family == AF_INET6) {
		set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
		    IPV6_PMTUDISC_PROBE);
		set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
		set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	}
	if (!s->connected) {
		set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
		if (family == AF_INET6) {
			set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
			set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
		}
	}
	s->gso = setsockopt(fd, SOL_UDP, UDP_SEGMENT, &off, sizeof(off)) == 0;
}

socklen_t
quic_socket_len(const struct sockaddr *addr)
{
	return addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					   : sizeof(struct sockaddr_in);
}

/* Opens a socket with everything but its addresses. */
static int
open_socket(struct quic_socket *s, int family, bool connected)
{
	memset(s, 0, sizeof(*s));
	s->connected = connected;
	s->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return -errno;
	set_options(s, family);
	return 0;
}

/* Reads the local address; `rv` is the result of connect(2) or bind(2). */
static int
set_local(struct quic_socket *s, int rv)
{
	socklen_t len = sizeof(s->local);

	if (rv == 0)
		rv = getsockname(s->fd, (struct sockaddr *)&s->local, &len);
	if (rv == 0)
		return 0;
	rv = -errno;
	quic_socket_close(s);
	return rv;
}

static bool
same_ip(const struct sockaddr *a, const struct sockaddr *b)
{
	if (a == NULL || a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)a)
					       ->sin6_addr,
		    &((const struct sockaddr_in6 *)b)->sin6_addr);
	return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
	    ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

/* The index of the interface with that address, or 0. */
static unsigned
interface_with(const struct sockaddr_storage *local, bool *running)
{
	struct ifaddrs *list, *i;
	unsigned index = 0;

	*running = false;
	if (getifaddrs(&list) != 0)
		return 0;
	for (i = list; i != NULL && !*running; i = i->ifa_next) {
		if (!same_ip(i->ifa_addr, (const struct sockaddr *)local))
			continue;
		index = if_nametoindex(i->ifa_name);
		*running = (i->ifa_flags & IFF_UP) != 0 &&
		    (i->ifa_flags & IFF_RUNNING) != 0;
	}
	freeifaddrs(list);
	return index;
}

static int
set_via(int fd, const struct quic_via *via)
{
	if (via->interface[0] != '\0' &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, via->interface,
		(socklen_t)strlen(via->interface)) != 0)
		return -errno;
	if (via->mark != 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &via->mark,
		sizeof(via->mark)) != 0)
		return -errno;
	return 0;
}

bool
quic_via_is_allowed(const struct quic_via *via)
{
	int rv, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return true; /* the privilege is not the problem */
	rv = set_via(fd, via);
	close(fd);
	return rv != -EPERM;
}

const char *
quic_via_error(const struct quic_via *via, int error, char text[QUIC_ERROR_MAX])
{
	if (error == -ENODEV && via->interface[0] != '\0')
		snprintf(text, QUIC_ERROR_MAX, "there is no interface %s",
		    via->interface);
	else
		snprintf(text, QUIC_ERROR_MAX, "%s", strerror(-error));
	return text;
}

int
quic_socket_connect(struct quic_socket *s, const struct sockaddr *remote,
    const struct quic_via *via)
{
	int rv = open_socket(s, remote->sa_family, true);

	if (rv != 0)
		return rv;
	if ((rv = set_via(s->fd, via)) != 0) {
		quic_socket_close(s);
		return rv;
	}
	rv = set_local(s, connect(s->fd, remote, quic_socket_len(remote)));
	if (rv == 0)
		s->interface = interface_with(&s->local, &s->running);
	return rv;
}

int
quic_socket_bind(struct quic_socket *s, const struct sockaddr *local)
{
	int rv = open_socket(s, local->sa_family, false);

	if (rv != 0)
		return rv;
	return set_local(s, bind(s->fd, local, quic_socket_len(local)));
}

bool
quic_socket_is_down(const struct quic_socket *s)
{
	bool running;

	return interface_with(&s->local, &running) != s->interface ||
	    (s->running && !running);
}

void
quic_socket_pin(struct quic_socket *s)
{
	char name[IF_NAMESIZE];

	if (s->interface != 0 && if_indextoname(s->interface, name) != NULL)
		(void)setsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, name,
		    (socklen_t)strlen(name));
}

void
quic_socket_close(struct quic_socket *s)
{
	close(s->fd);
	s->fd = -1;
}
