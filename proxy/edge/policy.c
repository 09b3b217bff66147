#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>

#include "proxy/edge/policy.h"

#define PORT_SMTP 25 /* RFC 5321 4.5.4.2; denied because of spam */

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define INET4(a, b, c, d, len) \
	{ \
		{ [10] = 0xff, [11] = 0xff, [12] = (a), (b), (c), (d) }, \
		    96 + (len) \
	}

/* The first four groups, the last octet and the prefix length. */
#define INET6(g0, g1, g2, g3, last, len) \
	{ \
		{ (g0) >> 8, (g0)&0xff, (g1) >> 8, (g1)&0xff, (g2) >> 8, \
			(g2)&0xff, (g3) >> 8, (g3)&0xff, [15] = (last) }, \
		    (len) \
	}

/*
 * Global unicast: the address spaces of IPv4 and IPv6 as IANA assigns them, and
 * every entry of its two registries of special-purpose addresses (RFC 6890,
 * RFC 8190) with its value of "Globally Reachable". The longest prefix decides.
 * Where that value is "N/A", as for 6to4 and Teredo, only the embedded IPv4
 * address decides.
 */
static const struct {
	struct cidr range;
	bool global;
} spaces[] = {
	{ INET4(0, 0, 0, 0, 0), true },
	{ INET4(0, 0, 0, 0, 8), false },	/* this network, RFC 791 */
	{ INET4(0, 0, 0, 0, 32), false },	/* this host, RFC 1122 */
	{ INET4(10, 0, 0, 0, 8), false },	/* private, RFC 1918 */
	{ INET4(100, 64, 0, 0, 10), false },	/* shared, RFC 6598 */
	{ INET4(127, 0, 0, 0, 8), false },	/* loopback, RFC 1122 */
	{ INET4(168, 63, 129, 16, 32), false }, /* Azure's own services */
	{ INET4(169, 254, 0, 0, 16), false },	/* link-local, RFC 3927;
						 * metadata of most clouds */
	{ INET4(172, 16, 0, 0, 12), false },	/* private, RFC 1918 */
	{ INET4(192, 0, 0, 0, 24), false },	/* protocols, RFC 6890 */
	{ INET4(192, 0, 0, 0, 29), false },	/* DS-Lite, RFC 7335 */
	{ INET4(192, 0, 0, 8, 32), false },	/* dummy, RFC 7600 */
	{ INET4(192, 0, 0, 9, 32), true },	/* PCP anycast, RFC 7723 */
	{ INET4(192, 0, 0, 10, 32), true },	/* TURN anycast, RFC 8155 */
	{ INET4(192, 0, 0, 170, 32), false },	/* NAT64 found, RFC 7050 */
	{ INET4(192, 0, 0, 171, 32), false },
	{ INET4(192, 0, 2, 0, 24), false },	  /* TEST-NET-1, RFC 5737 */
	{ INET4(192, 31, 196, 0, 24), true },	  /* AS112, RFC 7535 */
	{ INET4(192, 52, 193, 0, 24), true },	  /* AMT, RFC 7450 */
	{ INET4(192, 88, 99, 0, 24), false },	  /* 6to4 relays, RFC 7526 */
	{ INET4(192, 88, 99, 2, 32), false },	  /* 6a44 relays, RFC 6751 */
	{ INET4(192, 168, 0, 0, 16), false },	  /* private, RFC 1918 */
	{ INET4(192, 175, 48, 0, 24), true },	  /* AS112, RFC 7534 */
	{ INET4(198, 18, 0, 0, 15), false },	  /* benchmarks, RFC 2544 */
	{ INET4(198, 51, 100, 0, 24), false },	  /* TEST-NET-2, RFC 5737 */
	{ INET4(203, 0, 113, 0, 24), false },	  /* TEST-NET-3, RFC 5737 */
	{ INET4(224, 0, 0, 0, 4), false },	  /* multicast, RFC 5771 */
	{ INET4(240, 0, 0, 0, 4), false },	  /* reserved, RFC 1112 */
	{ INET4(255, 255, 255, 255, 32), false }, /* broadcast, RFC 8190 */

	{ INET6(0, 0, 0, 0, 0, 0), false },   /* not for unicast, RFC 4291 */
	{ INET6(0, 0, 0, 0, 0, 128), false }, /* unspecified, RFC 4291 */
	{ INET6(0, 0, 0, 0, 1, 128), false }, /* loopback, RFC 4291 */
	{ INET6(0x64, 0xff9b, 0, 0, 0, 96), true },  /* NAT64, RFC 6052 */
	{ INET6(0x64, 0xff9b, 1, 0, 0, 48), false }, /* local, RFC 8215 */
	{ INET6(0x100, 0, 0, 0, 0, 64), false },     /* discard, RFC 6666 */
	{ INET6(0x100, 0, 0, 1, 0, 64), false },     /* dummy, RFC 9780 */
	{ INET6(0x2000, 0, 0, 0, 0, 3), true },	  /* global unicast, RFC 4291 */
	{ INET6(0x2001, 0, 0, 0, 0, 23), false }, /* protocols, RFC 2928 */
	{ INET6(0x2001, 0, 0, 0, 0, 32), true },  /* Teredo, RFC 4380 */
	{ INET6(0x2001, 1, 0, 0, 1, 128), true }, /* PCP, RFC 7723 */
	{ INET6(0x2001, 1, 0, 0, 2, 128), true }, /* TURN, RFC 8155 */
	{ INET6(0x2001, 1, 0, 0, 3, 128), true }, /* DNS-SD, RFC 9665 */
	{ INET6(0x2001, 2, 0, 0, 0, 48), false }, /* benchmarks, RFC 5180 */
	{ INET6(0x2001, 3, 0, 0, 0, 32), true },  /* AMT, RFC 7450 */
	{ INET6(0x2001, 4, 0x112, 0, 0, 48), true },  /* AS112, RFC 7535 */
	{ INET6(0x2001, 0x10, 0, 0, 0, 28), false },  /* ORCHID, RFC 4843 */
	{ INET6(0x2001, 0x20, 0, 0, 0, 28), true },   /* ORCHIDv2, RFC 7343 */
	{ INET6(0x2001, 0x30, 0, 0, 0, 28), true },   /* drones, RFC 9374 */
	{ INET6(0x2001, 0xdb8, 0, 0, 0, 32), false }, /* RFC 3849 */
	{ INET6(0x2002, 0, 0, 0, 0, 16), true },      /* 6to4, RFC 3056 */
	{ INET6(0x2620, 0x4f, 0x8000, 0, 0, 48), true }, /* AS112, RFC 7534 */
	{ INET6(0x3fff, 0, 0, 0, 0, 20), false }, /* examples, RFC 9637 */
	{ INET6(0x5f00, 0, 0, 0, 0, 16), false }, /* segments, RFC 9602 */
	{ INET6(0xfc00, 0, 0, 0, 0, 7), false },  /* unique local, RFC 4193 */
	{ INET6(0xfe80, 0, 0, 0, 0, 10), false }, /* link-local, RFC 4291 */
};

/* IPv6 addresses that lead to an embedded IPv4 address. */
static const struct embedding {
	struct cidr range;
	uint8_t at[4]; /* its octets */
	uint8_t mask;  /* each of which is XORed with this */
} embeddings[] = {
	{ { { [8] = 0xff, 0xff }, 96 }, /* translated, RFC 2765 */
	    { 12, 13, 14, 15 }, 0 },
	{ INET6(0x64, 0xff9b, 0, 0, 0, 96), { 12, 13, 14, 15 }, 0 },
	{ INET6(0x2002, 0, 0, 0, 0, 16), { 2, 3, 4, 5 }, 0 },
	{ INET6(0x2001, 0, 0, 0, 0, 32), { 4, 5, 6, 7 }, 0 }, /* its server */
	{ INET6(0x2001, 0, 0, 0, 0, 32), { 12, 13, 14, 15 }, 0xff },
};

/*
 * With local NAT64 the IPv4 address follows the prefix, whose length is the
 * operator's choice (RFC 6052 2.2): 48, 56, 64 or 96 bits.
 */
static const struct cidr local_nat64 = INET6(0x64, 0xff9b, 1, 0, 0, 48);
static const struct embedding local_places[] = {
	{ .at = { 6, 7, 9, 10 } },
	{ .at = { 7, 9, 10, 11 } },
	{ .at = { 9, 10, 11, 12 } },
	{ .at = { 12, 13, 14, 15 } },
};

/* The position in all others: the last four octets. */
static const struct embedding last = { .at = { 12, 13, 14, 15 } };

static bool
is_global(const struct sockaddr *addr)
{
	const struct cidr *longest = NULL;
	bool global = false;

	for (size_t i = 0; i < COUNT(spaces); i++) {
		const struct cidr *range = &spaces[i].range;

		if (!cidr_contains(range, addr) ||
		    (longest != NULL && range->prefix < longest->prefix))
			continue;
		longest = range;
		global = spaces[i].global;
	}
	return global;
}

/* ---- An address within its family ---- */

static bool
is_denied(const struct policy *policy, const struct sockaddr *addr)
{
	for (size_t i = 0; i < policy->ndeny; i++)
		if (rule_covers(&policy->deny[i], addr))
			return true;
	return false;
}

static bool
address_is_allowed(const struct policy *policy, const struct sockaddr *addr)
{
	for (size_t i = 0; i < policy->nallow; i++)
		if (!policy->allow[i].anywhere &&
		    rule_covers(&policy->allow[i], addr))
			return true;
	return is_global(addr) &&
	    (policy->is_own == NULL || !policy->is_own(policy->arg, addr));
}

static bool
port_is_allowed(const struct policy *policy, const struct sockaddr *addr)
{
	/* sin6_port of an IPv6 address is at the same offset. */
	if (((const struct sockaddr_in *)addr)->sin_port != htons(PORT_SMTP))
		return true;
	for (size_t i = 0; i < policy->nallow; i++)
		if (!policy->allow[i].any_port &&
		    rule_covers(&policy->allow[i], addr))
			return true;
	return false;
}

static bool
permits(const struct policy *policy, const struct sockaddr *addr)
{
	if (is_denied(policy, addr))
		return false;
	return policy->open ||
	    (port_is_allowed(policy, addr) && address_is_allowed(policy, addr));
}

/* ---- IPv4 in IPv6 ---- */

static struct sockaddr_in
embedded(const struct embedding *e, const struct sockaddr_in6 *outer)
{
	struct sockaddr_in inner = { .sin_family = AF_INET,
		.sin_port = outer->sin6_port };
	uint8_t *octets = (uint8_t *)&inner.sin_addr;

	for (size_t i = 0; i < sizeof(e->at); i++)
		octets[i] = outer->sin6_addr.s6_addr[e->at[i]] ^ e->mask;
	return inner;
}

static bool
permits_embedded(const struct policy *policy, const struct embedding *e,
    const struct sockaddr_in6 *outer)
{
	struct sockaddr_in inner = embedded(e, outer);

	return permits(policy, (const struct sockaddr *)&inner);
}

/*
 * The address at each possible position must be permitted. One that begins with
 * a zero octet is padding, since no translator leads to 0.0.0.0/8; if all
 * positions are padding, there is no address.
 */
static bool
permits_local_nat64(const struct policy *policy,
    const struct sockaddr_in6 *outer)
{
	bool found = false;

	for (size_t i = 0; i < COUNT(local_places); i++) {
		const struct embedding *e = &local_places[i];

		if (outer->sin6_addr.s6_addr[e->at[0]] == 0)
			continue;
		if (!permits_embedded(policy, e, outer))
			return false;
		found = true;
	}
	return found || policy->open;
}

/* ::a.b.c.d (RFC 4291 2.5.5.1), which :: and ::1 are not. */
static bool
is_compatible(const struct in6_addr *addr)
{
	static const uint8_t zeros[12];

	return memcmp(addr, zeros, sizeof(zeros)) == 0 &&
	    addr->s6_addr[12] != 0;
}

/* An interface identifier 0:5efe:a.b.c.d or 200:5efe:... (RFC 5214 6.1). */
static bool
is_isatap(const struct in6_addr *addr)
{
	const uint8_t *id = &addr->s6_addr[8];

	return (id[0] & ~0x02) == 0 && id[1] == 0 && id[2] == 0x5e &&
	    id[3] == 0xfe;
}

static bool
inet6_permits(const struct policy *policy, const struct sockaddr_in6 *sin6)
{
	const struct sockaddr *addr = (const struct sockaddr *)sin6;

	for (size_t i = 0; i < COUNT(embeddings); i++)
		if (cidr_contains(&embeddings[i].range, addr) &&
		    !permits_embedded(policy, &embeddings[i], sin6))
			return false;
	if ((is_compatible(&sin6->sin6_addr) || is_isatap(&sin6->sin6_addr)) &&
	    !permits_embedded(policy, &last, sin6))
		return false;
	if (cidr_contains(&local_nat64, addr) &&
	    !permits_local_nat64(policy, sin6))
		return false;
	return permits(policy, addr);
}

/* ---- The interface ---- */

void
policy_init(struct policy *policy, bool open)
{
	memset(policy, 0, sizeof(*policy));
	policy->open = open;
}

static int
add(struct rule *list, size_t *n, const char *rule)
{
	int rv;

	if (*n == POLICY_RULES_MAX)
		return -ENOSPC;
	rv = rule_parse(&list[*n], rule);
	if (rv == 0)
		(*n)++;
	return rv;
}

int
policy_deny(struct policy *policy, const char *rule)
{
	return add(policy->deny, &policy->ndeny, rule);
}

int
policy_allow(struct policy *policy, const char *rule)
{
	return add(policy->allow, &policy->nallow, rule);
}

void
policy_load(struct policy *policy, const char (*allow)[RULE_STRLEN],
    size_t nallow, const char (*deny)[RULE_STRLEN], size_t ndeny)
{
	for (size_t i = 0; i < nallow; i++)
		policy_allow(policy, allow[i]);
	for (size_t i = 0; i < ndeny; i++)
		policy_deny(policy, deny[i]);
}

bool
policy_permits(const struct policy *policy, const struct sockaddr *addr)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)addr;

	if (addr->sa_family == AF_INET)
		return permits(policy, addr);
	if (addr->sa_family != AF_INET6)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr))
		return permits_embedded(policy, &last, sin6);
	return inet6_permits(policy, sin6);
}
