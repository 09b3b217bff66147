#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/addr.h"

#define PORT_DIGITS_MAX 5   /* digits of 65535 */
#define PREFIX_DIGITS_MAX 3 /* digits of 128 */
#define IPV4_PREFIX 96	    /* bits of ::ffff:0:0/96, which maps IPv4 */

/* The parts of "host:port"; host points into that text. */
struct hostport {
	const char *host;
	size_t len;
	bool bracketed;
	int port; /* -1 when there is none */
};

static const uint8_t ipv4_mapped[12] = { [10] = 0xff, [11] = 0xff };

/*
 * A port or a prefix consists of digits only, but strtoul(3) also accepts
 * leading blanks, a sign and trailing text.
 */
static int
parse_number(const char *s, size_t len, size_t max_digits, int max)
{
	int value = 0;

	if (len == 0 || len > max_digits)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		value = 10 * value + (s[i] - '0');
	}
	return value <= max ? value : -EINVAL;
}

static int
split_bracketed(struct hostport *hp, const char *s, size_t len, size_t *rest)
{
	const char *end = memchr(s, ']', len);

	if (end == NULL)
		return -EINVAL;
	hp->host = s + 1;
	hp->len = (size_t)(end - hp->host);
	*rest = hp->len + 2;
	return 0;
}

static int
split(struct hostport *hp, const char *s, size_t len)
{
	const char *colon = memchr(s, ':', len);
	size_t rest = colon != NULL ? (size_t)(colon - s) : len;

	*hp = (struct hostport){ .host = s, .len = rest, .port = -1 };
	hp->bracketed = len > 0 && s[0] == '[';
	if (hp->bracketed && split_bracketed(hp, s, len, &rest) != 0)
		return -EINVAL;
	if (rest == len)
		return 0;
	if (s[rest] != ':')
		return -EINVAL;
	rest++;
	hp->port = parse_number(s + rest, len - rest, PORT_DIGITS_MAX,
	    UINT16_MAX);
	return hp->port < 0 ? -EINVAL : 0;
}

static bool
is_literal(int family, const char *s, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (len >= sizeof(text) || memchr(s, '\0', len) != NULL)
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	return inet_pton(family, text, &address) == 1;
}

static bool
is_ipv6(const char *s, size_t len)
{
	return is_literal(AF_INET6, s, len);
}

/* No label is empty but the root, which a final dot stands for. */
static bool
is_reg_name(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '.' && (i == 0 || s[i - 1] == '.'))
			return false;
		if (!(s[i] >= 'a' && s[i] <= 'z') &&
		    !(s[i] >= 'A' && s[i] <= 'Z') &&
		    !(s[i] >= '0' && s[i] <= '9') && s[i] != '-' &&
		    s[i] != '_' && s[i] != '.')
			return false;
	}
	return len > 0;
}

int
target_parse(struct target *target, const char *s, size_t len,
    uint16_t default_port)
{
	struct hostport hp;

	if (split(&hp, s, len) != 0)
		return -EINVAL;
	if (hp.bracketed != is_ipv6(hp.host, hp.len) &&
	    !(hp.bracketed && is_literal(AF_INET, hp.host, hp.len)))
		return -EINVAL;
	if (hp.port < 0)
		hp.port = default_port;
	return target_set(target, hp.host, hp.len, (uint16_t)hp.port);
}

int
target_set(struct target *target, const char *host, size_t len, uint16_t port)
{
	if (port == 0 || len > TARGET_HOST_MAX)
		return -EINVAL;
	if (!is_reg_name(host, len) && !is_ipv6(host, len))
		return -EINVAL;
	memcpy(target->host, host, len);
	target->host[len] = '\0';
	target->port = port;
	return 0;
}

int
target_format(const struct target *target, char *buf, size_t size)
{
	bool ipv6 = strchr(target->host, ':') != NULL;
	int len = snprintf(buf, size, ipv6 ? "[%s]:%u" : "%s:%u", target->host,
	    (unsigned)target->port);

	if (len >= 0 && (size_t)len < size)
		return len;
	if (size > 0)
		buf[0] = '\0';
	return -ENOSPC;
}

int
addr_parse(struct sockaddr_storage *addr, const char *s)
{
	char host[INET6_ADDRSTRLEN];
	struct hostport hp;

	if (split(&hp, s, strlen(s)) != 0 || hp.port < 0)
		return -EINVAL;
	if (hp.len >= sizeof(host))
		return -EINVAL;
	memcpy(host, hp.host, hp.len);
	host[hp.len] = '\0';
	if (hp.bracketed != (strchr(host, ':') != NULL))
		return -EINVAL;
	return addr_literal(addr, host, (uint16_t)hp.port) ? 0 : -EINVAL;
}

bool
addr_literal(struct sockaddr_storage *addr, const char *host, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, host, &sin.sin_addr) == 1) {
		sin.sin_port = htons(port);
		memset(addr, 0, sizeof(*addr));
		memcpy(addr, &sin, sizeof(sin));
		return true;
	}
	if (inet_pton(AF_INET6, host, &sin6.sin6_addr) == 1) {
		sin6.sin6_port = htons(port);
		memset(addr, 0, sizeof(*addr));
		memcpy(addr, &sin6, sizeof(sin6));
		return true;
	}
	return false;
}

bool
addr_dotted_literal(struct sockaddr_storage *addr, const struct target *target)
{
	struct target t = *target;

	host_drop_final_dot(t.host);
	return addr_literal(addr, t.host, t.port);
}

void
host_drop_final_dot(char *host)
{
	size_t len = strlen(host);

	if (len > 1 && host[len - 1] == '.' && host[len - 2] != '.')
		host[len - 1] = '\0';
}

bool
host_ends_in_number(const char *host)
{
	char name[TARGET_HOST_MAX + 1];
	size_t len = strlen(host);
	const char *label;

	if (len > 0 && host[len - 1] == '.')
		len--;
	memcpy(name, host, len);
	name[len] = '\0';
	label = strrchr(name, '.');
	label = label != NULL ? label + 1 : name;
	if (label[strspn(label, "0123456789")] == '\0')
		return true;
	return label[0] == '0' && (label[1] | 0x20) == 'x' &&
	    label[2 + strspn(label + 2, "0123456789abcdefABCDEF")] == '\0';
}

const char *
addr_format(const struct sockaddr *addr, char buf[ADDR_STRLEN])
{
	const struct sockaddr_in *sin = (const void *)addr;
	const struct sockaddr_in6 *sin6 = (const void *)addr;
	char host[INET6_ADDRSTRLEN];

	switch (addr->sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &sin->sin_addr, host, sizeof(host));
		snprintf(buf, ADDR_STRLEN, "%s:%u", host,
		    (unsigned)ntohs(sin->sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &sin6->sin6_addr, host, sizeof(host));
		snprintf(buf, ADDR_STRLEN, "[%s]:%u", host,
		    (unsigned)ntohs(sin6->sin6_port));
		break;
	default:
		snprintf(buf, ADDR_STRLEN, "?");
	}
	return buf;
}

bool
addr_bytes(const struct sockaddr *addr, uint8_t bytes[16])
{
	const struct sockaddr_in *sin = (const void *)addr;
	const struct sockaddr_in6 *sin6 = (const void *)addr;

	switch (addr->sa_family) {
	case AF_INET:
		memcpy(bytes, ipv4_mapped, sizeof(ipv4_mapped));
		memcpy(bytes + sizeof(ipv4_mapped), &sin->sin_addr, 4);
		return true;
	case AF_INET6:
		memcpy(bytes, &sin6->sin6_addr, 16);
		return true;
	default:
		return false;
	}
}

bool
addr_is_loopback(const struct sockaddr *addr)
{
	static const struct cidr ipv4 = {
		{ [10] = 0xff, [11] = 0xff, [12] = 127 }, IPV4_PREFIX + 8
	};
	static const struct cidr ipv6 = { { [15] = 1 }, 128 };

	return cidr_contains(&ipv4, addr) || cidr_contains(&ipv6, addr);
}

socklen_t
addr_len(const struct sockaddr *addr)
{
	switch (addr->sa_family) {
	case AF_INET:
		return sizeof(struct sockaddr_in);
	case AF_INET6:
		return sizeof(struct sockaddr_in6);
	default:
		return 0;
	}
}

const char *
addr_source(const struct sockaddr *addr, char name[ADDR_SOURCE_STRLEN])
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)addr;
	struct in6_addr prefix;

	if (addr->sa_family == AF_INET)
		return inet_ntop(AF_INET, &sin->sin_addr, name,
		    ADDR_SOURCE_STRLEN);
	prefix = ((const struct sockaddr_in6 *)addr)->sin6_addr;
	if (IN6_IS_ADDR_V4MAPPED(&prefix))
		return inet_ntop(AF_INET, &prefix.s6_addr[12], name,
		    ADDR_SOURCE_STRLEN);
	memset(&prefix.s6_addr[8], 0, 8);
	return inet_ntop(AF_INET6, &prefix, name, ADDR_SOURCE_STRLEN);
}

/* Returns the bits of byte i that are not part of the prefix. */
static unsigned
host_bits(unsigned prefix, unsigned i)
{
	if (prefix >= 8 * i + 8)
		return 0;
	return prefix <= 8 * i ? 0xff : 0xffU >> (prefix - 8 * i);
}

int
cidr_parse(struct cidr *cidr, const char *s)
{
	const char *slash = strchrnul(s, '/');
	size_t len = (size_t)(slash - s);
	char host[INET6_ADDRSTRLEN];
	struct sockaddr_storage addr;
	struct cidr range;
	int base, prefix;

	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, s, len);
	host[len] = '\0';
	if (!addr_literal(&addr, host, 0))
		return -EINVAL;
	addr_bytes((const struct sockaddr *)&addr, range.addr);
	base = addr.ss_family == AF_INET ? IPV4_PREFIX : 0;
	prefix = *slash == '\0' ? 128 - base
				: parse_number(slash + 1, strlen(slash + 1),
				      PREFIX_DIGITS_MAX, 128 - base);
	if (prefix < 0)
		return -EINVAL;
	range.prefix = (unsigned)(base + prefix);
	for (unsigned i = 0; i < 16; i++) {
		if ((range.addr[i] & host_bits(range.prefix, i)) != 0)
			return -EINVAL;
	}
	*cidr = range;
	return 0;
}

static bool
is_mapped(const uint8_t bytes[16])
{
	return memcmp(bytes, ipv4_mapped, sizeof(ipv4_mapped)) == 0;
}

bool
cidr_contains(const struct cidr *cidr, const struct sockaddr *addr)
{
	uint8_t bytes[16];

	if (!addr_bytes(addr, bytes))
		return false;
	/* A range wider than ::ffff:0:0/96 is of IPv6, not of IPv4. */
	if (is_mapped(bytes) && cidr->prefix < IPV4_PREFIX)
		return false;
	for (unsigned i = 0; i < 16; i++) {
		if (((bytes[i] ^ cidr->addr[i]) & ~host_bits(cidr->prefix, i) &
			0xff) != 0)
			return false;
	}
	return true;
}
