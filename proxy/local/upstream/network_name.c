#include "proxy/local/upstream/network_name.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "proxy/base/addr.h"

#define MESSAGE_MAX 4096 /* bytes: of one route, or of one neighbour */
#define HARDWARE_MAX 16	 /* bytes of an address that are named */

/* An IP address. */
struct host {
	sa_family_t family;
	size_t len;
	uint8_t bytes[sizeof(struct in6_addr)];
};

/* A request, or its answer. */
union message {
	struct nlmsghdr header;
	uint8_t bytes[MESSAGE_MAX];
};

static struct host
host_of(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *in = (const void *)ss;
	const struct sockaddr_in6 *in6 = (const void *)ss;
	struct host h = { .family = ss->ss_family };

	h.len = h.family == AF_INET6 ? sizeof(in6->sin6_addr)
				     : sizeof(in->sin_addr);
	memcpy(h.bytes,
	    h.family == AF_INET6 ? (const void *)&in6->sin6_addr
				 : (const void *)&in->sin_addr,
	    h.len);
	return h;
}

/* ---- Messages ---- */

static void
begin(union message *m, unsigned type, const void *body, size_t len)
{
	memset(m, 0, sizeof(*m));
	m->header.nlmsg_type = (uint16_t)type;
	m->header.nlmsg_flags = NLM_F_REQUEST;
	memcpy(m->bytes + NLMSG_HDRLEN, body, len);
	m->header.nlmsg_len = (uint32_t)NLMSG_SPACE(len);
}

static void
add(union message *m, unsigned type, const void *data, size_t len)
{
	struct rtattr attr = { .rta_type = (uint16_t)type,
		.rta_len = (uint16_t)RTA_LENGTH(len) };
	uint8_t *at = m->bytes + m->header.nlmsg_len;

	memcpy(at, &attr, sizeof(attr));
	memcpy(at + RTA_LENGTH(0), data, len);
	m->header.nlmsg_len += (uint32_t)RTA_SPACE(len);
}

/*
 * The data of an attribute after a body of `body` bytes, of at least `least`
 * bytes. NULL: there is none.
 */
static const uint8_t *
find(const union message *m, size_t body, unsigned type, size_t least,
    size_t *len)
{
	size_t at = NLMSG_SPACE(body), end = m->header.nlmsg_len;
	struct rtattr attr;

	for (; at + sizeof(attr) <= end; at += RTA_ALIGN(attr.rta_len)) {
		memcpy(&attr, m->bytes + at, sizeof(attr));
		if (attr.rta_len < sizeof(attr) || attr.rta_len > end - at)
			return NULL;
		*len = attr.rta_len - RTA_LENGTH(0);
		if (attr.rta_type == type && *len >= least)
			return m->bytes + at + RTA_LENGTH(0);
	}
	return NULL;
}

/* Replaces a request by its answer. False: there is none. */
static bool
ask(int fd, union message *m, unsigned type)
{
	ssize_t n;

	if (send(fd, m, m->header.nlmsg_len, MSG_DONTWAIT) < 0)
		return false;
	n = recv(fd, m, sizeof(*m), MSG_DONTWAIT);
	return n >= (ssize_t)sizeof(m->header) &&
	    m->header.nlmsg_len <= (size_t)n && m->header.nlmsg_type == type;
}

/* ---- Questions ---- */

/*
 * The interface by which a packet leaves. `*next` is its destination, and
 * becomes the gateway, if there is one. 0: not known.
 */
static unsigned
ask_route(int fd, const struct host *from, struct host *next)
{
	struct rtmsg route = { .rtm_family = (uint8_t)next->family,
		.rtm_dst_len = (uint8_t)(8 * next->len),
		.rtm_src_len = (uint8_t)(8 * from->len) };
	const uint8_t *found;
	union message m;
	unsigned interface;
	size_t len;

	begin(&m, RTM_GETROUTE, &route, sizeof(route));
	add(&m, RTA_DST, next->bytes, next->len);
	add(&m, RTA_SRC, from->bytes, from->len);
	if (!ask(fd, &m, RTM_NEWROUTE))
		return 0;
	found = find(&m, sizeof(route), RTA_GATEWAY, next->len, &len);
	if (found != NULL)
		memcpy(next->bytes, found, next->len);
	found = find(&m, sizeof(route), RTA_OIF, sizeof(interface), &len);
	if (found == NULL)
		return 0;
	memcpy(&interface, found, sizeof(interface));
	return interface;
}

/* Appends the hardware address of a neighbour, if it has one. */
static void
ask_neighbour(int fd, unsigned interface, const struct host *next, char *name)
{
	struct ndmsg neighbour = { .ndm_family = (uint8_t)next->family,
		.ndm_ifindex = (int)interface };
	size_t len = 0, at = strlen(name);
	const uint8_t *found;
	union message m;

	begin(&m, RTM_GETNEIGH, &neighbour, sizeof(neighbour));
	add(&m, NDA_DST, next->bytes, next->len);
	if (!ask(fd, &m, RTM_NEWNEIGH))
		return;
	found = find(&m, sizeof(neighbour), NDA_LLADDR, 1, &len);
	for (size_t i = 0; found != NULL && i < len && i < HARDWARE_MAX; i++)
		at += (size_t)snprintf(name + at, NETWORK_NAME_MAX - at,
		    "%c%02x", i == 0 ? ' ' : ':', found[i]);
}

const char *
network_name(const struct quic_path *path, char name[NETWORK_NAME_MAX])
{
	char source[ADDR_SOURCE_STRLEN];
	struct host from = host_of(&path->local), next = host_of(&path->remote);
	unsigned interface = 0;
	int fd;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd >= 0)
		interface = ask_route(fd, &from, &next);
	snprintf(name, NETWORK_NAME_MAX, "%s %u",
	    addr_source((const struct sockaddr *)&path->local, source),
	    interface);
	if (interface != 0)
		ask_neighbour(fd, interface, &next, name);
	if (fd >= 0)
		close(fd);
	return name;
}
