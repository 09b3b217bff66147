#ifndef CULVERT_PROXY_EDGE_OWN_ADDRESSES_H
#define CULVERT_PROXY_EDGE_OWN_ADDRESSES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Which addresses are this machine's: those that the kernel delivers to itself
 * (rtnetlink(7)). It is asked each time, for addresses come and go, and a local
 * route makes a whole range of them.
 */
struct own_addresses {
	int fd;	/* a netlink socket; -1: there is none */
	uint32_t sequence;
};

/*
 * Opens it; before the sandbox. Returns 0, or a negative errno where there is
 * no netlink (a sandbox of the service manager): then own_addresses_is_own()
 * sees what source address a socket would get, and misses what is local by a
 * route alone, broadcasts and IPv6 anycast.
 */
int own_addresses_open(struct own_addresses *);
void own_addresses_close(struct own_addresses *);

/* Whether a packet to this address would stay here; if in doubt, yes. */
bool own_addresses_is_own(struct own_addresses *, const struct sockaddr *addr);

#endif
