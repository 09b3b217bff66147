#ifndef CULVERT_PROXY_EDGE_OWN_ADDRESSES_H
#define CULVERT_PROXY_EDGE_OWN_ADDRESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * The addresses of this machine: those that the kernel delivers locally
 * (rtnetlink(7)). Each check queries the kernel, since addresses change, and a
 * local route may cover a whole range.
 */
struct own_addresses {
	int fd; /* a netlink socket, or -1 */
	uint32_t sequence;
};

/*
 * Opens the socket; call it before the sandbox. Returns 0, or a negative errno
 * if netlink is not available (a sandbox of the service manager): then
 * own_addresses_is_own() relies on the source address that a socket would get,
 * and misses local routes, broadcasts and IPv6 anycast.
 */
int own_addresses_open(struct own_addresses *);
void own_addresses_close(struct own_addresses *);

/* Whether the kernel delivers to this address locally; if in doubt, true. */
bool own_addresses_is_own(struct own_addresses *, const struct sockaddr *addr);

#endif
