#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#include "proxy/edge/policy.h"

/* What in IPv4 is not the public Internet. */
static const struct {
	uint32_t net;
	unsigned prefix;
} inet4_denied[] = {
	{ 0x00000000, 8 },	/* 0.0.0.0/8 this network, RFC 1122 3.2.1.3 */
	{ 0x0a000000, 8 },	/* 10.0.0.0/8 private, RFC 1918 */
	{ 0x64400000, 10 },	/* 100.64.0.0/10 shared (CGNAT), RFC 6598 */
	{ 0x7f000000, 8 },	/* 127.0.0.0/8 loopback, RFC 1122 3.2.1.3 */
	{ 0xa9fe0000, 16 },	/* 169.254.0.0/16 link-local, RFC 3927;
				 * cloud metadata at 169.254.169.254 */
	{ 0xac100000, 12 },	/* 172.16.0.0/12 private, RFC 1918 */
	{ 0xc0000000, 24 },	/* 192.0.0.0/24 protocols, RFC 6890 */
	{ 0xc0000200, 24 },	/* 192.0.2.0/24 documentation, RFC 5737 */
	{ 0xc0586300, 24 },	/* 192.88.99.0/24 6to4 relays, RFC 7526 */
	{ 0xc0a80000, 16 },	/* 192.168.0.0/16 private, RFC 1918 */
	{ 0xc6120000, 15 },	/* 198.18.0.0/15 benchmarks, RFC 2544 */
	{ 0xc6336400, 24 },	/* 198.51.100.0/24 documentation, RFC 5737 */
	{ 0xcb007100, 24 },	/* 203.0.113.0/24 documentation, RFC 5737 */
	{ 0xe0000000, 4 },	/* 224.0.0.0/4 multicast, RFC 5771 */
	{ 0xf0000000, 4 },	/* 240.0.0.0/4 reserved, RFC 1112 section 4;
				 * broadcast, RFC 919 */
};

/* The same in IPv6. */
static const struct cidr inet6_denied[] = {
	{ { 0 }, 128 },			/* ::/128 unspecified, RFC 4291 2.5.2 */
	{ { [15] = 1 }, 128 },		/* ::1/128 loopback, RFC 4291 2.5.3 */

	/*
	 * 64:ff9b:1::/48 local NAT64, RFC 8215: where the IPv4 address sits
	 * in it is the operator's choice (RFC 6052 2.2), so none is looked at.
	 */
	{ { 0x00, 0x64, 0xff, 0x9b, 0x00, 0x01 }, 48 },
	{ { 0x01, 0x00 }, 64 },		/* 100::/64 discard, RFC 6666 */
	{ { 0x20, 0x01, 0x00, 0x02 }, 48 }, /* 2001:2::/48 RFC 5180 */
	{ { 0x20, 0x01, 0x00, 0x10 }, 28 }, /* 2001:10::/28 RFC 4843 */
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* 2001:db8::/32 RFC 3849 */
	{ { 0x3f, 0xff }, 20 },		/* 3fff::/20 RFC 9637 */
	{ { 0x5f, 0x00 }, 16 },		/* 5f00::/16 segments, RFC 9602 */
	{ { 0xfc }, 7 },		/* fc00::/7 unique local, RFC 4193;
					 * metadata at fd00:ec2::254 */
	{ { 0xfe, 0x80 }, 10 },		/* fe80::/10 link-local, RFC 4291 */
	{ { 0xfe, 0xc0 }, 10 },		/* fec0::/10 site-local, RFC 3879 */
	{ { 0xff }, 8 },		/* ff00::/8 multicast, RFC 4291 2.7 */
};

/* IPv6 addresses that lead to the IPv4 address inside them. */
static const struct embedding {
	struct cidr range;
	unsigned offset;	/* of the IPv4 address, in octets */
	uint8_t mask;		/* each of its octets is XORed with this */
} embeddings[] = {
	{ { { 0 }, 96 }, 12, 0 },	/* ::/96 compatible, RFC 4291 2.5.5.1 */
	{ { { 0x00, 0x64, 0xff, 0x9b }, 96 }, 12, 0 }, /* NAT64, RFC 6052 */
	{ { { 0x20, 0x02 }, 16 }, 2, 0 },	/* 6to4, RFC 3056 */
	{ { { 0x20, 0x01 }, 32 }, 4, 0 },	/* Teredo server, RFC 4380 */
	{ { { 0x20, 0x01 }, 32 }, 12, 0xff },	/* Teredo client, RFC 4380 */
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool
listed(const struct cidr *list, size_t n, const struct sockaddr *addr)
{
	for (size_t i = 0; i < n; i++)
		if (cidr_contains(&list[i], addr))
			return true;
	return false;
}

static bool
inet4_public(const uint8_t octets[4])
{
	uint32_t ip = (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 |
	    (uint32_t)octets[2] << 8 | octets[3];

	for (size_t i = 0; i < COUNT(inet4_denied); i++) {
		uint32_t host = UINT32_MAX >> inet4_denied[i].prefix;

		if ((ip & ~host) == inet4_denied[i].net)
			return false;
	}
	return true;
}

static struct sockaddr_in
embedded(const struct embedding *e, const struct in6_addr *outer)
{
	struct sockaddr_in inner = { .sin_family = AF_INET };
	uint8_t *octets = (uint8_t *)&inner.sin_addr;

	for (unsigned i = 0; i < sizeof(inner.sin_addr); i++)
		octets[i] = outer->s6_addr[e->offset + i] ^ e->mask;
	return inner;
}

/* What was configured says: 1 permitted, -1 denied, 0 nothing. */
static int
administrator(const struct policy *policy, const struct sockaddr *addr)
{
	if (listed(policy->deny, policy->ndeny, addr))
		return -1;
	return policy->open || listed(policy->allow, policy->nallow, addr);
}

static int
inet4_said(const struct policy *policy, const struct sockaddr_in *sin)
{
	return administrator(policy, (const struct sockaddr *)sin);
}

static bool
inet4_permits(const struct policy *policy, const struct sockaddr_in *sin)
{
	int said = inet4_said(policy, sin);

	return said ? said > 0 : inet4_public((const uint8_t *)&sin->sin_addr);
}

static bool
inet6_permits(const struct policy *policy, const struct sockaddr_in6 *sin6)
{
	const struct sockaddr *addr = (const struct sockaddr *)sin6;
	int said = administrator(policy, addr);

	if (said < 0)
		return false;
	for (size_t i = 0; i < COUNT(embeddings); i++) {
		struct sockaddr_in inner;

		if (!cidr_contains(&embeddings[i].range, addr))
			continue;
		inner = embedded(&embeddings[i], &sin6->sin6_addr);
		if (said == 0 && !inet4_permits(policy, &inner))
			return false;
		if (said > 0 && inet4_said(policy, &inner) < 0)
			return false;
	}
	return said > 0 || !listed(inet6_denied, COUNT(inet6_denied), addr);
}

void
policy_init(struct policy *policy, bool open)
{
	memset(policy, 0, sizeof(*policy));
	policy->open = open;
}

static int
add(struct cidr *list, size_t *n, const char *range)
{
	int rv;

	if (*n == POLICY_RANGES_MAX)
		return -ENOSPC;
	rv = cidr_parse(&list[*n], range);
	if (rv == 0)
		(*n)++;
	return rv;
}

int
policy_deny(struct policy *policy, const char *range)
{
	return add(policy->deny, &policy->ndeny, range);
}

int
policy_allow(struct policy *policy, const char *range)
{
	return add(policy->allow, &policy->nallow, range);
}

bool
policy_permits(const struct policy *policy, const struct sockaddr *addr)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)addr;
	struct sockaddr_in sin = { .sin_family = AF_INET };

	if (addr->sa_family == AF_INET)
		return inet4_permits(policy,
		    (const struct sockaddr_in *)addr);
	if (addr->sa_family != AF_INET6)
		return false;
	if (!IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr))
		return inet6_permits(policy, sin6);
	memcpy(&sin.sin_addr, &sin6->sin6_addr.s6_addr[12], 4);
	return inet4_permits(policy, &sin);
}
