#include "proxy/edge/own_addresses.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>

#include "proxy/base/addr.h"

#define ANSWER_MAX 8192 /* bytes: a route with every attribute is below 1000 */
#define ANSWERS_MAX 16	/* late answers to earlier requests that are skipped */

/* A request for the route to one address. */
struct route_request {
	struct nlmsghdr header;
	struct rtmsg route;
	struct rtattr attribute;
	uint8_t address[16];
};

enum answer { FOREIGN, OWN, UNKNOWN };

static const void *
host_of(const struct sockaddr_storage *addr)
{
	if (addr->ss_family == AF_INET)
		return &((const struct sockaddr_in *)addr)->sin_addr;
	return &((const struct sockaddr_in6 *)addr)->sin6_addr;
}

/* ---- By netlink ---- */

static void
write_request(struct route_request *q, const struct sockaddr *addr)
{
	struct sockaddr_storage to;
	size_t len = addr->sa_family == AF_INET ? 4 : 16;

	memcpy(&to, addr, addr_len(addr));
	memset(q, 0, sizeof(*q));
	q->header.nlmsg_len =
	    (uint32_t)(offsetof(struct route_request, address) + len);
	q->header.nlmsg_type = RTM_GETROUTE;
	q->header.nlmsg_flags = NLM_F_REQUEST;
	q->route.rtm_family = (uint8_t)addr->sa_family;
	q->route.rtm_dst_len = (uint8_t)(8 * len);
	q->attribute.rta_type = RTA_DST;
	q->attribute.rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(q->address, host_of(&to), len);
}

/* Without a route the address cannot be local. */
static enum answer
read_answer(const uint8_t *data, size_t len, uint32_t sequence)
{
	struct nlmsghdr header;
	struct rtmsg route;

	if (len < sizeof(header))
		return UNKNOWN;
	memcpy(&header, data, sizeof(header));
	if (header.nlmsg_seq != sequence)
		return UNKNOWN;
	if (header.nlmsg_type == NLMSG_ERROR)
		return FOREIGN;
	if (header.nlmsg_type != RTM_NEWROUTE ||
	    len < NLMSG_HDRLEN + sizeof(route))
		return UNKNOWN;
	memcpy(&route, data + NLMSG_HDRLEN, sizeof(route));
	switch (route.rtm_type) {
	case RTN_LOCAL:
	case RTN_BROADCAST:
	case RTN_ANYCAST:
	case RTN_MULTICAST:
		return OWN;
	}
	return FOREIGN;
}

/* The kernel has answered before send(2) returns. */
static enum answer
request(struct own_addresses *route, const struct sockaddr *addr)
{
	uint8_t data[ANSWER_MAX];
	struct route_request q;

	write_request(&q, addr);
	q.header.nlmsg_seq = ++route->sequence;
	if (send(route->fd, &q, q.header.nlmsg_len, MSG_DONTWAIT) < 0)
		return UNKNOWN;
	for (int i = 0; i < ANSWERS_MAX; i++) {
		ssize_t n = recv(route->fd, data, sizeof(data), MSG_DONTWAIT);
		enum answer answer;

		if (n < 0)
			return UNKNOWN;
		answer = read_answer(data, (size_t)n, q.header.nlmsg_seq);
		if (answer != UNKNOWN)
			return answer;
	}
	return UNKNOWN;
}

int
own_addresses_open(struct own_addresses *route)
{
	struct sockaddr_in loopback = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };

	route->sequence = 0;
	route->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    NETLINK_ROUTE);
	if (route->fd < 0)
		return -errno;
	/* Netlink that does not report routes is of no use. */
	if (request(route, (struct sockaddr *)&loopback) == OWN)
		return 0;
	own_addresses_close(route);
	return -EOPNOTSUPP;
}

void
own_addresses_close(struct own_addresses *route)
{
	if (route->fd >= 0)
		close(route->fd);
	route->fd = -1;
}

/* ---- By the source address ---- */

/* For a local address, the source address is the destination address. */
static bool
is_own_source(const struct sockaddr *addr)
{
	struct sockaddr_storage to = { 0 }, from = { 0 };
	int fd = socket(addr->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(from);
	bool own = true;

	if (fd < 0)
		return true;
	memcpy(&to, addr, addr_len(addr));
	if (connect(fd, (struct sockaddr *)&to, addr_len(addr)) != 0)
		own = false;
	else if (getsockname(fd, (struct sockaddr *)&from, &len) == 0)
		own = memcmp(host_of(&from), host_of(&to),
			  addr->sa_family == AF_INET ? 4 : 16) == 0;
	close(fd);
	return own;
}

bool
own_addresses_is_own(struct own_addresses *route, const struct sockaddr *addr)
{
	enum answer answer = route->fd >= 0 ? request(route, addr) : UNKNOWN;

	return answer == UNKNOWN ? is_own_source(addr) : answer == OWN;
}
