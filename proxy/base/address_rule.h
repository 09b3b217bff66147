#ifndef CULVERT_PROXY_BASE_ADDRESS_RULE_H
#define CULVERT_PROXY_BASE_ADDRESS_RULE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "proxy/base/addr.h"

/*
 * A rule about destinations: a range of addresses, a range of ports, or both.
 * Pure, like addr.h.
 */
struct rule {
	bool anywhere; /* no range: every address of both families */
	struct cidr range;
	bool any_port;	      /* no ports were given */
	uint16_t first, last; /* host byte order; all ports if any_port */
};

/* Bytes of a rule as text: "[", IPv6 with its NUL, "]", "/128" and ports. */
#define RULE_STRLEN (INET6_ADDRSTRLEN + 2 + 4 + 12)

/*
 * Reads a range as cidr_parse() does, and a port or PORT-PORT after a colon:
 *
 *	10.0.0.0/8	192.0.2.1:25	10.0.0.0/8:6660-6669
 *	fc00::/7	fc00::/7:25	[2001:db8::1]:25	[fc00::]/7:25
 *	:25
 *
 * A rule without a range covers every address. An IPv6 address that a port
 * follows needs brackets or a prefix length.
 *
 * Returns 0, or -EINVAL with the rule unchanged.
 */
int rule_parse(struct rule *, const char *s);

/* Whether the rule covers this address and its port. */
bool rule_covers(const struct rule *, const struct sockaddr *addr);

#endif
