#ifndef CULVERT_PROXY_EDGE_POLICY_H
#define CULVERT_PROXY_EDGE_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "proxy/base/address_rule.h"

/*
 * Which destinations an edge may dial. The first of these that applies to a
 * destination decides, whatever the lengths of the prefixes:
 *
 *	1. an administrator's deny rule: denied
 *	2. an administrator's allow rule: permitted
 *	3. built in: global unicast is permitted, by the registries of IANA,
 *	   unless it is this machine's; other addresses and port 25 are denied
 *	4. everything else is permitted
 *
 * Address and port are decided separately, and both must be permitted. An allow
 * rule without a range does not apply to addresses, and one without a port does
 * not apply to port 25. So a deny rule overrides an allow rule, and "0.0.0.0/0"
 * does not open port 25 for spam.
 *
 * The families are separate: no IPv6 range contains an IPv4 address. An
 * IPv4-mapped address is treated as its IPv4 address. An IPv6 address that
 * embeds an IPv4 address for a translator or a tunnel (NAT64, 6to4, Teredo,
 * ISATAP, IPv4-translated, IPv4-compatible) must be permitted as IPv6, and the
 * embedded address as IPv4: a rule for one does not skip the check of the
 * other.
 */

/*
 * Rules in each list: more than a person writes, and few enough for a linear
 * search for every address.
 */
#define POLICY_RULES_MAX 256

/* The caller's memory; nothing to release. */
struct policy {
	struct rule deny[POLICY_RULES_MAX];
	struct rule allow[POLICY_RULES_MAX];
	size_t ndeny;
	size_t nallow;
	bool open; /* without the built-in rules: embedded edge */

	/* Whether an address is this machine's; NULL: unknown. */
	bool (*is_own)(void *arg, const struct sockaddr *addr);
	void *arg;
};

/* Makes a policy of the built-in rules, or without any if `open`. */
void policy_init(struct policy *policy, bool open);

/*
 * Adds one rule (rule_parse). Returns 0, -EINVAL if it is not a rule, or
 * -ENOSPC if the list is full; the caller names the option and refuses to
 * start.
 */
int policy_deny(struct policy *policy, const char *rule);
int policy_allow(struct policy *policy, const char *rule);

/* Adds the rules of the configuration, which are known to be valid. */
void policy_load(struct policy *policy, const char (*allow)[RULE_STRLEN],
    size_t nallow, const char (*deny)[RULE_STRLEN], size_t ndeny);

/*
 * Whether this address and its port may be dialled. A family other than
 * AF_INET and AF_INET6 may not.
 */
bool policy_permits(const struct policy *policy, const struct sockaddr *addr);

#endif
