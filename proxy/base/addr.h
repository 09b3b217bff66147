#ifndef CULVERT_PROXY_BASE_ADDR_H
#define CULVERT_PROXY_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Targets, socket addresses and address ranges, as text and as values.
 * Everything here is pure: nothing is resolved, no socket is touched, no
 * memory is allocated.
 */

/* Octets of a host: SOCKS5 gives its length in one octet (RFC 1928 4). */
#define TARGET_HOST_MAX 255

/* Bytes for target_format: host, "[]", ":65535" and the NUL. */
#define TARGET_STRLEN (TARGET_HOST_MAX + 2 + 6 + 1)

/* Bytes for addr_format: IPv6 text with its NUL, "[]" and ":65535". */
#define ADDR_STRLEN (INET6_ADDRSTRLEN + 2 + 6)

/* Where a tunnel leads, or where an edge is: not resolved yet. */
struct target {
	/* A name, or an IPv4 or IPv6 literal without brackets. */
	char host[TARGET_HOST_MAX + 1];
	/* In host byte order, 1 to 65535. */
	uint16_t port;
};

/* A range of addresses of one family, kept in one space for both. */
struct cidr {
	/* Network byte order; an IPv4 address a.b.c.d is ::ffff:a.b.c.d. */
	uint8_t addr[16];
	/* Leading bits that count, 0 to 128; for IPv4 that is 96 to 128. */
	unsigned prefix;
};

/*
 * Reads "name:443", "192.0.2.1:80" or "[2001:db8::1]:443" (RFC 3986 3.2)
 * from the len bytes at s, which need no NUL.  Where the port is absent,
 * default_port stands in for it; a default_port of 0 means that the port is
 * required.  An IPv6 literal without brackets is refused, since its last
 * group could be a port; an IPv4 literal may have brackets, which some users
 * type.  User information, paths and percent-encoding are
 * refused too.
 *
 * Returns 0, or -EINVAL with the target unchanged.
 */
int target_parse(struct target *target, const char *s, size_t len,
    uint16_t default_port);

/*
 * Sets a target from a host of len bytes without brackets, as SOCKS carries
 * it.  A host is an IPv6 literal without a zone, or 1 to 255 letters, digits,
 * '-', '_' and '.': a reg-name that needs no percent-encoding, which takes
 * in IPv4 literals, names with underscores and IDNA A-labels.
 *
 * Returns 0, or -EINVAL with the target unchanged when the host is anything
 * else or the port is 0.
 */
int target_set(struct target *target, const char *host, size_t len,
    uint16_t port);

/*
 * Writes "host:port" with its NUL, an IPv6 literal in brackets: the form of
 * :authority in CONNECT (RFC 9114 4.4).  TARGET_STRLEN bytes always suffice.
 *
 * Returns the length without the NUL, or -ENOSPC with an empty string (and
 * with nothing written when size is 0).
 */
int target_format(const struct target *target, char *buf, size_t size);

/*
 * Reads a numeric "ADDR:PORT" or "[ADDR6]:PORT".  The port is required and
 * may be 0, which lets bind(2) choose one.  Zones are refused.
 *
 * Returns 0, or -EINVAL with the address unchanged.
 */
int addr_parse(struct sockaddr_storage *addr, const char *s);

/*
 * Sets an address from a host that is an IPv4 literal in dotted quads or an
 * IPv6 literal without brackets, and from a port in host byte order.  The
 * shortened and hexadecimal forms of inet_aton(3) are no literals.
 *
 * Returns true, or false with the address unchanged: the host is a name.
 */
bool addr_literal(struct sockaddr_storage *addr, const char *host,
    uint16_t port);

/*
 * Writes "192.0.2.1:443" or "[::1]:443" into the caller's buffer, and "?" for
 * a family that is neither IPv4 nor IPv6.
 *
 * Returns buf, so that the call can stand among the arguments of a printf.
 */
const char *addr_format(const struct sockaddr *addr, char buf[ADDR_STRLEN]);

/* Says whether only this machine reaches addr; sees through IPv4-mapped. */
bool addr_is_loopback(const struct sockaddr *addr);

/* Returns the size to pass with addr to bind(2), or 0 for other families. */
socklen_t addr_len(const struct sockaddr *addr);

/*
 * Reads "10.0.0.0/8", "fc00::/7", or a bare address, which is a range of one.
 * Bits set after the prefix are an error: such a line is a mistyped one.
 *
 * Returns 0, or -EINVAL with the range unchanged.
 */
int cidr_parse(struct cidr *cidr, const char *s);

/*
 * Says whether addr lies within the range.  IPv4 and IPv4-mapped addresses
 * are the same, and belong to IPv4: no IPv6 range holds them, not even ::/0.
 * Other families lie nowhere.
 */
bool cidr_contains(const struct cidr *cidr, const struct sockaddr *addr);

#endif
