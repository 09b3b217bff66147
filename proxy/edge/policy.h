#ifndef CULVERT_PROXY_EDGE_POLICY_H
#define CULVERT_PROXY_EDGE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "proxy/addr.h"

/*
 * Which addresses an edge may dial. An address is decided by the first of
 * these that speaks about it, whatever the lengths of their prefixes:
 *
 *	1. a range denied by the administrator: denied
 *	2. a range allowed by the administrator: permitted
 *	3. the built-in table: what is not the public Internet is denied
 *	4. everything else is permitted
 *
 * So a deny beats an allow. An IPv4-mapped IPv6 address is its IPv4 address.
 * An IPv6 address that carries an IPv4 address to a translator or a tunnel
 * (NAT64, 6to4, Teredo, IPv4-compatible) must itself be permitted and carry
 * a permitted address; an allowed range that holds the IPv6 address does not
 * lift a denied range that holds the IPv4 address inside it.
 */

/*
 * Ranges in each list: more than a person writes, and the lists are searched
 * from end to end for every address.
 */
#define POLICY_RANGES_MAX 256

/* The caller's memory; nothing to release. */
struct policy {
	struct cidr deny[POLICY_RANGES_MAX];
	struct cidr allow[POLICY_RANGES_MAX];
	size_t ndeny;
	size_t nallow;
	bool open;	/* the built-in table is not asked: embedded edge */
};

/* Makes a policy of the built-in table alone, or of nothing when `open`. */
void policy_init(struct policy *policy, bool open);

/*
 * Adds one range, "192.0.2.0/24" or "2001:db8::/32" (cidr_parse). Returns 0,
 * -EINVAL when it is not a range, or -ENOSPC when the list is full; the
 * caller names the option and refuses to start.
 */
int policy_deny(struct policy *policy, const char *range);
int policy_allow(struct policy *policy, const char *range);

/*
 * Whether this address may be dialled; the port does not matter. A family
 * other than AF_INET and AF_INET6 may not.
 */
bool policy_permits(const struct policy *policy, const struct sockaddr *addr);

#endif
