#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/address_rule.h"

#define PORT_DIGITS_MAX 5 /* digits of 65535 */

/* Returns the length of the range in `s`; the ports follow. */
static size_t
range_length(const char *s)
{
	const char *slash = strchr(s, '/'), *colon = strchr(s, ':');

	if (s[0] == '[')
		return strcspn(s, "]") + strcspn(strchrnul(s, ']'), ":");
	if (slash != NULL)
		return (size_t)(slash - s) + strcspn(slash, ":");
	/* More than one colon is an IPv6 address without ports. */
	if (colon != NULL && strchr(colon + 1, ':') == NULL)
		return (size_t)(colon - s);
	return strlen(s);
}

/* The prefix may be inside the brackets or after them. */
static int
parse_bracketed(struct cidr *range, const char *s, size_t len)
{
	const char *end = memchr(s, ']', len);
	char text[RULE_STRLEN];
	int n;

	if (end == NULL || memchr(s, ':', (size_t)(end - s)) == NULL)
		return -EINVAL;
	if (end + 1 < s + len && end[1] != '/')
		return -EINVAL;
	n = snprintf(text, sizeof(text), "%.*s%.*s", (int)(end - s - 1), s + 1,
	    (int)(s + len - end - 1), end + 1);
	return n < (int)sizeof(text) ? cidr_parse(range, text) : -EINVAL;
}

static int
parse_range(struct cidr *range, const char *s, size_t len)
{
	char text[RULE_STRLEN];

	if (len >= sizeof(text))
		return -EINVAL;
	if (s[0] == '[')
		return parse_bracketed(range, s, len);
	memcpy(text, s, len);
	text[len] = '\0';
	return cidr_parse(range, text);
}

/* A port consists of digits only, but strtoul(3) accepts more. */
static int
parse_port(uint16_t *port, const char *s, size_t len)
{
	unsigned long value;

	if (len == 0 || len > PORT_DIGITS_MAX || strspn(s, "0123456789") < len)
		return -EINVAL;
	value = strtoul(s, NULL, 10);
	if (value == 0 || value > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)value;
	return 0;
}

static int
parse_ports(struct rule *rule, const char *s)
{
	size_t len = strcspn(s, "-");
	const char *last = s[len] == '-' ? s + len + 1 : s;

	if (parse_port(&rule->first, s, len) != 0 ||
	    parse_port(&rule->last, last, strlen(last)) != 0 ||
	    rule->first > rule->last)
		return -EINVAL;
	return 0;
}

int
rule_parse(struct rule *rule, const char *s)
{
	struct rule r = { .any_port = true, .last = UINT16_MAX };
	size_t len = range_length(s);

	if (len == 0 && s[0] != ':')
		return -EINVAL;
	r.anywhere = len == 0;
	if (!r.anywhere && parse_range(&r.range, s, len) != 0)
		return -EINVAL;
	r.any_port = s[len] == '\0';
	if (!r.any_port && parse_ports(&r, s + len + 1) != 0)
		return -EINVAL;
	*rule = r;
	return 0;
}

bool
rule_covers(const struct rule *rule, const struct sockaddr *addr)
{
	/* sin6_port of an IPv6 address is at the same offset. */
	uint16_t port = ntohs(((const struct sockaddr_in *)addr)->sin_port);

	if (!rule->any_port && (port < rule->first || port > rule->last))
		return false;
	return rule->anywhere || cidr_contains(&rule->range, addr);
}
