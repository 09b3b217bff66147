#ifndef CULVERT_PROXY_EDGE_POLICY_H
#define CULVERT_PROXY_EDGE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "proxy/base/address_rule.h"

/*
 * Which destinations an edge may dial. One is decided by the first of these
 * that speaks about it, whatever the lengths of their prefixes:
 *
 *	1. a rule of the administrator that denies: denied
 *	2. a rule of the administrator that allows: permitted
 *	3. what is built in: global unicast is permitted, by the registries of
 *	   IANA, unless it is this machine's; all else is denied, and port 25
 *	4. everything else is permitted
 *
 * Address and port are decided apart, and both must be permitted. An allow
 * rule without a range says nothing about addresses, and one that names no
 * port says nothing about port 25. So a deny beats an allow, and
 * "0.0.0.0/0" does not turn an edge into a source of spam.
 *
 * The families are apart: no IPv6 range holds an IPv4 address. An IPv4-mapped
 * address is its IPv4 address. An IPv6 address that carries an IPv4 address to
 * a translator or a tunnel (NAT64, 6to4, Teredo, ISATAP, IPv4-translated,
 * IPv4-compatible) must be permitted as IPv6, and the IPv4 address inside it
 * as IPv4: no rule about the one lifts the check of the other.
 */

/*
 * Rules in each list: more than a person writes, and the lists are searched
 * from end to end for every address.
 */
#define POLICY_RULES_MAX 256

/* The caller's memory; nothing to release. */
struct policy {
	struct rule deny[POLICY_RULES_MAX];
	struct rule allow[POLICY_RULES_MAX];
	size_t ndeny;
	size_t nallow;
	bool open;	/* nothing is built in: embedded edge */

	/* Whether an address is this machine's; NULL: none is known. */
	bool (*is_own)(void *arg, const struct sockaddr *addr);
	void *arg;
};

/* Makes a policy of what is built in alone, or of nothing when `open`. */
void policy_init(struct policy *policy, bool open);

/*
 * Adds one rule (rule_parse). Returns 0, -EINVAL when it is not a rule, or
 * -ENOSPC when the list is full; the caller names the option and refuses to
 * start.
 */
int policy_deny(struct policy *policy, const char *rule);
int policy_allow(struct policy *policy, const char *rule);

/* Adds what the configuration holds, of which each is known to be a rule. */
void policy_load(struct policy *policy, const char (*allow)[RULE_STRLEN],
    size_t nallow, const char (*deny)[RULE_STRLEN], size_t ndeny);

/*
 * Whether this address and its port may be dialled. A family other than
 * AF_INET and AF_INET6 may not.
 */
bool policy_permits(const struct policy *policy, const struct sockaddr *addr);

#endif
