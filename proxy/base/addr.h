#ifndef CULVERT_PROXY_BASE_ADDR_H
#define CULVERT_PROXY_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Targets, socket addresses and address ranges, as text and as values.
 * Everything here is pure: it resolves no name, uses no socket and allocates
 * no memory.
 */

/* Octets of a host: SOCKS5 sends its length in one octet (RFC 1928 4). */
#define TARGET_HOST_MAX 255

/* Bytes for target_format: host, "[]", ":65535" and the NUL. */
#define TARGET_STRLEN (TARGET_HOST_MAX + 2 + 6 + 1)

/* Bytes for addr_format: IPv6 text with its NUL, "[]" and ":65535". */
#define ADDR_STRLEN (INET6_ADDRSTRLEN + 2 + 6)

/* The destination of a tunnel, or the place of an edge, before resolution. */
struct target {
	/* A name, or an IPv4 or IPv6 literal without brackets. */
	char host[TARGET_HOST_MAX + 1];
	/* In host byte order, 1 to 65535. */
	uint16_t port;
};

/* A range of addresses of one family; both families share one notation. */
struct cidr {
	/* Network byte order; an IPv4 address a.b.c.d is ::ffff:a.b.c.d. */
	uint8_t addr[16];
	/* Leading bits that are compared: 0 to 128; 96 to 128 for IPv4. */
	unsigned prefix;
};

/*
 * Reads "name:443", "192.0.2.1:80" or "[2001:db8::1]:443" (RFC 3986 3.2)
 * from the len bytes at s, which need no NUL.  default_port replaces a missing
 * port; if default_port is 0, the port is required.  An IPv6 literal without
 * brackets is rejected, since its last group could be a port; an IPv4 literal
 * may have brackets, which some users type.  User information, paths and
 * percent-encoding are rejected too.
 *
 * Returns 0, or -EINVAL with the target unchanged.
 */
int target_parse(struct target *target, const char *s, size_t len,
    uint16_t default_port);

/*
 * Sets a target from a host of len bytes without brackets, as SOCKS carries
 * it.  A host is an IPv6 literal without a zone, or 1 to 255 letters, digits,
 * '-', '_' and '.', with no empty label but after a final dot: a reg-name that
 * needs no percent-encoding, which includes IPv4 literals, names with underscores
 * and IDNA A-labels.
 *
 * Returns 0, or -EINVAL with the target unchanged if the host is anything
 * else or the port is 0.
 */
int
target_set(struct target *target, const char *host, size_t len, uint16_t port);

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
 * Sets an address from a host that is an IPv4 literal in dotted-quad form or
 * an IPv6 literal without brackets, and from a port in host byte order.  The
 * shortened and hexadecimal forms of inet_aton(3) do not count as literals.
 *
 * Returns true, or false with the address unchanged: the host is a name.
 */
bool
addr_literal(struct sockaddr_storage *addr, const char *host, uint16_t port);

/*
 * The same for a host of which others drop a final dot, as "10.0.0.1.".
 */
bool
addr_dotted_literal(struct sockaddr_storage *addr, const struct target *target);

/*
 * Removes the final dot, which marks a name as complete: in the hosts file it
 * has none, and "127.0.0.1." is an address.
 */
void host_drop_final_dot(char *host);

/*
 * Whether the last label of a host is a number: inet_aton(3) and similar
 * functions, and so other programs, take such a name for an IPv4 address.
 */
bool host_ends_in_number(const char *host);

/*
 * Writes "192.0.2.1:443" or "[::1]:443" into the caller's buffer, and "?" for
 * a family that is neither IPv4 nor IPv6.
 *
 * Returns buf, so that the call can be an argument of printf(3).
 */
const char *addr_format(const struct sockaddr *addr, char buf[ADDR_STRLEN]);

/* Whether addr is a loopback address; an IPv4-mapped one counts as IPv4. */
bool addr_is_loopback(const struct sockaddr *addr);

/* Returns the size to pass with addr to bind(2), or 0 for other families. */
socklen_t addr_len(const struct sockaddr *addr);

/*
 * Writes the name under which a client address is counted: an IPv4 address,
 * also if IPv4-mapped, or an IPv6 prefix of 64 bits, the least that a provider
 * assigns to a customer (RFC 6177).  Returns name.
 */
#define ADDR_SOURCE_STRLEN INET6_ADDRSTRLEN
const char *
addr_source(const struct sockaddr *addr, char name[ADDR_SOURCE_STRLEN]);

/*
 * Writes an address of either family in the notation of struct cidr. Returns
 * true, or false for other families.
 */
bool addr_bytes(const struct sockaddr *addr, uint8_t bytes[16]);

/*
 * Reads "10.0.0.0/8", "fc00::/7", or a bare address, which is a range of one.
 * Bits that are set after the prefix are an error: probably a typing mistake.
 *
 * Returns 0, or -EINVAL with the range unchanged.
 */
int cidr_parse(struct cidr *cidr, const char *s);

/*
 * Whether addr is in the range.  An IPv4-mapped address is the same as its
 * IPv4 address: no IPv6 range contains it, not even ::/0.  An address of
 * another family is in no range.
 */
bool cidr_contains(const struct cidr *cidr, const struct sockaddr *addr);

#endif
