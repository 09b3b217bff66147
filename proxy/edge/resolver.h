#ifndef CULVERT_PROXY_EDGE_RESOLVER_H
#define CULVERT_PROXY_EDGE_RESOLVER_H

#include <stdbool.h>

#include <ares.h>
#include <uv.h>

/*
 * Resolves names by c-ares on a libuv loop, so that a slow domain does not
 * delay others. One resolver per loop.
 */
struct resolver;

/* A request for the addresses of a name. */
struct lookup;

/*
 * Names that are being resolved, also those whose lookups were cancelled:
 * c-ares cannot cancel a query, and a client that sends requests and leaves
 * must not fill the memory, at 2 KB each. This is a quarter of the IDs that DNS
 * has for queries, of which a name takes two.
 */
#define RESOLVER_QUESTIONS_MAX 8192

/* The names of one requester: the rest stays free for others. */
#define RESOLVER_QUESTIONS_PER_REQUESTER 1024

/*
 * Addresses of a name that are used: an answer by TCP may contain thousands,
 * and each costs every lookup some time.
 */
#define RESOLVER_ADDRESSES_MAX 512

/* Octets of a name (RFC 1035 2.3.4). */
#define RESOLVER_NAME_MAX 255

/* The system's list of name servers. */
#define RESOLVER_CONF "/etc/resolv.conf"

/*
 * Makes a resolver in `*resolver`. It queries the servers of the file `conf`,
 * in the format of resolv.conf(5), or those of `servers`
 * ("127.0.0.1:5353,[::1]:53") unless that is NULL. With every lookup, and
 * whenever an answer is late, it checks whether the file has changed, and then
 * sends pending queries again, to the new servers. Returns 0 or a negative
 * errno.
 */
int resolver_new(struct resolver **resolver, uv_loop_t *loop, const char *conf,
    const char *servers);

/* Reads the files again, whether they have changed or not (SIGHUP). */
void resolver_reload(struct resolver *resolver);

/*
 * Answers pending lookups with NULL, from inside this call, and closes every
 * handle; the last one frees the memory, so the loop must run on. Must not be
 * called from `on_addresses`. NULL is a no-op.
 */
void resolver_free(struct resolver *resolver);

/* The loop that the resolver was made for. */
uv_loop_t *resolver_loop(const struct resolver *resolver);

/*
 * Looks up the addresses of both families of `name`: first in /etc/hosts, then
 * with queries for A and AAAA in parallel, without search domains. Underscores
 * and A-labels are allowed. Lookups of the same name share the queries.
 * `requester` is the name under which the queries count until they are
 * answered.
 *
 * `on_addresses` fires once or twice, perhaps from inside this call. If `more`
 * is set, the other type of record is late; a second call follows when it
 * arrives or times out. `*lookup` is set before, and is gone as the callback
 * fires without `more`. The list has AAAA first, each type in the order of the
 * answer, with port 0. It is NULL if there are no addresses, or none besides
 * those of the first call. The resolver owns it; it is valid until the callback
 * returns. Only RESOLVER_ADDRESSES_MAX of it need be used. If a name has many
 * lookups, the calls are spread over several iterations of the loop.
 *
 * If a server fails or does not respond, the next one is queried; if none
 * responds, all are queried again until the lookup is cancelled.
 *
 * Returns 0; -EAGAIN if too many names are being resolved, for that requester
 * or in total; -EINVAL if the name is too long; or -ENOMEM. After an error
 * nothing fires.
 */
int resolver_lookup(struct resolver *resolver, const char *name,
    const char *requester, struct lookup **lookup,
    void (*on_addresses)(void *arg, const struct ares_addrinfo_node *list,
	bool more),
    void *arg);

/*
 * Cancels a lookup: `on_addresses` does not fire any more, and `arg` is not
 * used again. NULL is a no-op.
 */
void resolver_cancel(struct lookup *lookup);

#endif
