#include "proxy/local/upstream/netlink.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

/*
 * Milliseconds from the first change of a burst to the call, in which a new
 * network gets its address and its route; and at least between two calls, for
 * a machine whose routes never rest.
 */
#define SETTLE_MS 50
#define REST_MS 200

#define DATAGRAM_MAX 16384 /* bytes: the kernel writes at most 8192 of events */
#define ROUNDS_MAX 64	   /* datagrams a turn of the loop */

#define GROUP(group) (UINT32_C(1) << ((group) - 1))
#define GROUPS \
	(GROUP(RTNLGRP_LINK) | GROUP(RTNLGRP_IPV4_IFADDR) | \
	GROUP(RTNLGRP_IPV6_IFADDR) | GROUP(RTNLGRP_IPV4_ROUTE) | \
	GROUP(RTNLGRP_IPV6_ROUTE) | GROUP(RTNLGRP_IPV4_RULE) | \
	GROUP(RTNLGRP_IPV6_RULE))

struct netlink {
	uv_loop_t *loop;
	int fd;
	uv_poll_t poll;
	uv_timer_t timer; /* to the call */
	unsigned handles; /* open */
	bool closing;
	uint64_t called_ms; /* when the last call was made; 0: never */
	void (*changed)(void *arg);
	void *arg;
};

/* ---- Messages ---- */

/* A scan or a signal strength of a radio: the link is as it was. */
static bool
is_radio_news(const uint8_t *payload, size_t len)
{
	size_t at = NLMSG_ALIGN(sizeof(struct ifinfomsg));
	struct rtattr attr;

	for (; at + sizeof(attr) <= len; at += RTA_ALIGN(attr.rta_len)) {
		memcpy(&attr, payload + at, sizeof(attr));
		if (attr.rta_len < sizeof(attr))
			return false;
		if (attr.rta_type == IFLA_WIRELESS)
			return true;
	}
	return false;
}

/* A route that the kernel keeps for itself, such as a learnt path MTU. */
static bool
is_cached(const uint8_t *payload, size_t len)
{
	struct rtmsg route;

	if (len < sizeof(route))
		return false;
	memcpy(&route, payload, sizeof(route));
	return (route.rtm_flags & RTM_F_CLONED) != 0;
}

static bool
message_matters(unsigned type, const uint8_t *payload, size_t len)
{
	switch (type) {
	case RTM_NEWLINK:
		return !is_radio_news(payload, len);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return !is_cached(payload, len);
	case RTM_DELLINK:
	case RTM_NEWADDR:
	case RTM_DELADDR:
	case RTM_NEWRULE:
	case RTM_DELRULE:
	case NLMSG_OVERRUN:
		return true;
	}
	return false;
}

bool
netlink_matters(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	struct nlmsghdr header;
	size_t at = 0;

	while (at < len && len - at >= sizeof(header)) {
		memcpy(&header, bytes + at, sizeof(header));
		if (header.nlmsg_len < sizeof(header) ||
		    header.nlmsg_len > len - at)
			return false;
		if (message_matters(header.nlmsg_type,
			bytes + at + NLMSG_HDRLEN,
			header.nlmsg_len - NLMSG_HDRLEN))
			return true;
		at += NLMSG_ALIGN((size_t)header.nlmsg_len);
	}
	return false;
}

/* ---- On the loop ---- */

static void
on_settled(uv_timer_t *timer)
{
	struct netlink *network = timer->data;

	network->called_ms = uv_now(network->loop);
	network->changed(network->arg);
}

static void
note_change(struct netlink *network)
{
	uint64_t now = uv_now(network->loop);
	uint64_t at = now + SETTLE_MS;

	if (uv_is_active((uv_handle_t *)&network->timer))
		return;
	if (network->called_ms != 0 && at < network->called_ms + REST_MS)
		at = network->called_ms + REST_MS;
	uv_timer_start(&network->timer, on_settled, at - now, 0);
}

/* One datagram; false: there is none. Only the kernel is believed. */
static bool
receive(struct netlink *network)
{
	uint8_t data[DATAGRAM_MAX];
	struct sockaddr_nl from = { 0 };
	socklen_t len = sizeof(from);
	ssize_t n;

	n = recvfrom(network->fd, data, sizeof(data), MSG_DONTWAIT | MSG_TRUNC,
	    (struct sockaddr *)&from, &len);
	if (n < 0 && errno == ENOBUFS) {
		note_change(network);
		return true;
	}
	if (n < 0)
		return errno == EINTR;
	if (from.nl_pid == 0 &&
	    ((size_t)n > sizeof(data) || netlink_matters(data, (size_t)n)))
		note_change(network);
	return true;
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
	struct netlink *network = poll->data;

	(void)events;
	/* libuv gives up a socket that has an error to tell: an overrun. */
	if (status < 0)
		uv_poll_start(poll, UV_READABLE, on_readable);
	for (int i = 0; i < ROUNDS_MAX && receive(network); i++)
		continue;
}

/* ---- Life ---- */

static int
open_netlink(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK,
		.nl_groups = GROUPS };
	int rv, fd = socket(AF_NETLINK,
	    SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	rv = -errno;
	close(fd);
	return rv;
}

int
netlink_new(struct netlink **out, uv_loop_t *loop, void (*changed)(void *arg),
    void *arg)
{
	struct netlink *network = calloc(1, sizeof(*network));
	int rv;

	if (network == NULL)
		return -ENOMEM;
	if ((rv = network->fd = open_netlink()) < 0) {
		free(network);
		return rv;
	}
	if ((rv = uv_poll_init(loop, &network->poll, network->fd)) != 0) {
		close(network->fd);
		free(network);
		return rv;
	}
	uv_timer_init(loop, &network->timer);
	network->poll.data = network->timer.data = network;
	network->handles = 2;
	network->loop = loop;
	network->changed = changed;
	network->arg = arg;
	uv_poll_start(&network->poll, UV_READABLE, on_readable);
	*out = network;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	struct netlink *network = handle->data;

	if (--network->handles > 0)
		return;
	close(network->fd);
	free(network);
}

void
netlink_free(struct netlink *network)
{
	if (network == NULL || network->closing)
		return;
	network->closing = true;
	uv_close((uv_handle_t *)&network->poll, on_closed);
	uv_close((uv_handle_t *)&network->timer, on_closed);
}
