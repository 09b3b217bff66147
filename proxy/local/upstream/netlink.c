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
 * network gets its address and its route; and between two calls, at least, for
 * a machine whose routes change all the time.
 */
#define BURST_MS 50
#define INTERVAL_MS 200

#define DATAGRAM_MAX 16384 /* bytes: the kernel writes at most 8192 of events */
#define ROUNDS_MAX 64	   /* datagrams in a loop iteration */

#define GROUP(group) (UINT32_C(1) << ((group)-1))
#define GROUPS \
	(GROUP(RTNLGRP_LINK) | GROUP(RTNLGRP_IPV4_IFADDR) | \
	    GROUP(RTNLGRP_IPV6_IFADDR) | GROUP(RTNLGRP_IPV4_ROUTE) | \
	    GROUP(RTNLGRP_IPV6_ROUTE) | GROUP(RTNLGRP_IPV4_RULE) | \
	    GROUP(RTNLGRP_IPV6_RULE))

struct netlink {
	uv_loop_t *loop;
	int fd;
	uv_poll_t poll;
	uv_timer_t timer; /* until the call */
	unsigned handles; /* open */
	bool closing;
	uint64_t called_ms; /* when the last call was made; 0: never */
	void (*changed)(void *arg);
	void *arg;
};

/* ---- Messages ---- */

/* A scan or a signal strength of a radio: the link has not changed. */
static bool
is_radio_event(const uint8_t *payload, size_t len)
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
		return !is_radio_event(payload, len);
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
on_timer(uv_timer_t *timer)
{
	struct netlink *nl = timer->data;

	nl->called_ms = uv_now(nl->loop);
	nl->changed(nl->arg);
}

static void
note_change(struct netlink *nl)
{
	uint64_t now = uv_now(nl->loop);
	uint64_t at = now + BURST_MS;

	if (uv_is_active((uv_handle_t *)&nl->timer))
		return;
	if (nl->called_ms != 0 && at < nl->called_ms + INTERVAL_MS)
		at = nl->called_ms + INTERVAL_MS;
	uv_timer_start(&nl->timer, on_timer, at - now, 0);
}

/* One datagram, of which only the kernel's count. False: there is none. */
static bool
receive(struct netlink *nl)
{
	uint8_t data[DATAGRAM_MAX];
	struct sockaddr_nl from = { 0 };
	socklen_t len = sizeof(from);
	ssize_t n;

	n = recvfrom(nl->fd, data, sizeof(data), MSG_DONTWAIT | MSG_TRUNC,
	    (struct sockaddr *)&from, &len);
	if (n < 0 && errno == ENOBUFS) {
		note_change(nl);
		return true;
	}
	if (n < 0)
		return errno == EINTR;
	if (from.nl_pid == 0 &&
	    ((size_t)n > sizeof(data) || netlink_matters(data, (size_t)n)))
		note_change(nl);
	return true;
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
	struct netlink *nl = poll->data;

	(void)events;
	/* libuv stops polling a socket after an error, such as an overrun. */
	if (status < 0)
		uv_poll_start(poll, UV_READABLE, on_readable);
	for (int i = 0; i < ROUNDS_MAX && receive(nl); i++)
		continue;
}

/* ---- Life ---- */

static int
open_netlink(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK,
		.nl_groups = GROUPS };
	int rv,
	    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
		NETLINK_ROUTE);

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
	struct netlink *nl = calloc(1, sizeof(*nl));
	int rv;

	if (nl == NULL)
		return -ENOMEM;
	if ((rv = nl->fd = open_netlink()) < 0) {
		free(nl);
		return rv;
	}
	if ((rv = uv_poll_init(loop, &nl->poll, nl->fd)) != 0) {
		close(nl->fd);
		free(nl);
		return rv;
	}
	uv_timer_init(loop, &nl->timer);
	nl->poll.data = nl->timer.data = nl;
	nl->handles = 2;
	nl->loop = loop;
	nl->changed = changed;
	nl->arg = arg;
	uv_poll_start(&nl->poll, UV_READABLE, on_readable);
	*out = nl;
	return 0;
}

static void
on_closed(uv_handle_t *handle)
{
	struct netlink *nl = handle->data;

	if (--nl->handles > 0)
		return;
	close(nl->fd);
	free(nl);
}

void
netlink_free(struct netlink *nl)
{
	if (nl == NULL || nl->closing)
		return;
	nl->closing = true;
	uv_close((uv_handle_t *)&nl->poll, on_closed);
	uv_close((uv_handle_t *)&nl->timer, on_closed);
}
