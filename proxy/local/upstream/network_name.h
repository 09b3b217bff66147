#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_NETWORK_NAME_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_NETWORK_NAME_H

#include "quic/quic.h"

#define NETWORK_NAME_MAX 96 /* bytes, with the NUL */

/*
 * A name for the network by which a path leaves this machine: the local address
 * (of IPv6: the prefix), the interface, and the hardware address of the
 * gateway. The addresses alone do not tell networks apart: many are
 * 192.168.1.0/24. What the kernel does not say is missing in the name. Returns
 * `name`. It asks the kernel, which answers at once, by rtnetlink(7).
 */
const char *network_name(const struct quic_path *, char name[NETWORK_NAME_MAX]);

#endif
