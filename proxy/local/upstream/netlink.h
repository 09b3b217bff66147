#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_NETLINK_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_NETLINK_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

/*
 * The kernel's notifications that this machine's network has changed
 * (rtnetlink(7)): links, addresses, routes and routing rules.
 */
struct netlink;

/*
 * Calls changed(arg) from the loop, once for a burst of changes and some
 * milliseconds after its first; also when the kernel has dropped
 * notifications. It does not say what has changed: ask the kernel for what you
 * need. Open it before the sandbox. 0 or a negative errno, such as
 * -EAFNOSUPPORT in a jail without netlink: then changes are not reported.
 */
int netlink_new(struct netlink **, uv_loop_t *, void (*changed)(void *arg),
    void *arg);

/* Frees when the loop has closed the handles. NULL is a no-op. */
void netlink_free(struct netlink *);

/*
 * Whether a datagram of rtnetlink reports a change that can affect the route
 * of packets. Any bytes are fine. For netlink.c and its tests.
 */
bool netlink_matters(const void *data, size_t len);

#endif
