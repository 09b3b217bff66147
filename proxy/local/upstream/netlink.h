#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_NETLINK_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_NETLINK_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

/*
 * The kernel's word that this machine's network has changed (rtnetlink(7)):
 * links, addresses, routes and the rules that choose among them.
 */
struct netlink;

/*
 * Calls changed(arg) from the loop, once for a burst of changes and some
 * milliseconds after its first; also when the kernel had more to say than it
 * could keep. What has changed is not said: ask for what you need. Open it
 * before the sandbox. 0 or a negative errno, such as -EAFNOSUPPORT in a jail
 * without netlink: then nobody will tell.
 */
int netlink_new(
    struct netlink **, uv_loop_t *, void (*changed)(void *arg), void *arg);

/* Frees when the loop has closed the handles. NULL is a no-op. */
void netlink_free(struct netlink *);

/*
 * Whether a datagram of rtnetlink tells of something that can change by which
 * way packets leave. Any bytes are fine. For netlink.c and its tests.
 */
bool netlink_matters(const void *data, size_t len);

#endif
