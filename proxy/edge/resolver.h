#ifndef CULVERT_PROXY_EDGE_RESOLVER_H
#define CULVERT_PROXY_EDGE_RESOLVER_H

#include <stdbool.h>

#include <ares.h>
#include <uv.h>

/*
 * Names to addresses by c-ares on a libuv loop, so that a slow domain holds
 * up nobody else. One resolver a loop.
 */
struct resolver;

/* One who waits for the addresses of a name. */
struct lookup;

/*
 * Names that are being asked for, with those that nobody waits for any more:
 * c-ares cannot take a question back, and a client that asks and leaves must
 * not fill the memory, at 2 KB each. A quarter of the numbers that DNS has for
 * questions, of which a name takes two.
 */
#define RESOLVER_QUESTIONS_MAX 8192

/* Of these one requester may have so many: what others ask for must find room. */
#define RESOLVER_QUESTIONS_PER_REQUESTER 1024

/*
 * Addresses of a name that count: an answer by TCP may hold thousands, and each
 * is work for whoever is told.
 */
#define RESOLVER_ADDRESSES_MAX 512

/* Octets of a name (RFC 1035 2.3.4). */
#define RESOLVER_NAME_MAX 255

/* Where the system names its servers. */
#define RESOLVER_CONF "/etc/resolv.conf"

/*
 * Makes a resolver in `*resolver`. It asks the servers of the file `conf`, in
 * the format of resolv.conf(5), or those of `servers`
 * ("127.0.0.1:5353,[::1]:53") when that is not NULL. The file is followed: with
 * every name that is asked for, and whenever an answer is late, it is looked
 * whether there is another one now, and those who wait are asked for again.
 * Returns 0 or a negative errno.
 */
int resolver_new(struct resolver **resolver, uv_loop_t *loop,
    const char *conf, const char *servers);

/* Reads the files again whether they have changed or not, as on SIGHUP. */
void resolver_reload(struct resolver *resolver);

/*
 * Answers what is pending with NULL, from inside this call, and closes every
 * handle; the memory goes with the last of them, so the loop must run on.
 * Not legal from inside `on_addresses`. NULL is a no-op.
 */
void resolver_free(struct resolver *resolver);

/* The loop that the resolver was made for. */
uv_loop_t *resolver_loop(const struct resolver *resolver);

/*
 * Asks for the addresses of both families of `name`: /etc/hosts first, then
 * A and AAAA side by side, no search domains. Underscores and A-labels pass.
 * Whoever wants a name that is being asked for already gets the same answer.
 * `requester` is a name under which this counts until the servers have answered.
 *
 * `on_addresses` fires once or twice, perhaps from inside this call. When
 * `more` is set the other type of record is late, and comes or is given up in a
 * while.
 * `*lookup` is set before, and is gone as it fires without `more`. The list has
 * AAAA first, each type in the order of the answer, with port 0; it is NULL when
 * there are none (no more, with what came before), belongs to the resolver and
 * lives until the callback returns. Nobody need look at more than
 * RESOLVER_ADDRESSES_MAX of it. Where many wait they are told in turns.
 *
 * A server that fails or is silent has the next one asked; when none has
 * answered, they are asked until the lookup is cancelled.
 *
 * Returns 0, or -EAGAIN when too many names are being asked for, by that requester
 * or by all, -EINVAL for a name that is too long, or -ENOMEM; then nothing
 * fires.
 */
int resolver_lookup(struct resolver *resolver, const char *name,
    const char *requester, struct lookup **lookup,
    void (*on_addresses)(void *arg, const struct ares_addrinfo_node *list,
	bool more),
    void *arg);

/*
 * The caller no longer wants the answer: `on_addresses` does not fire any
 * more and `arg` is not touched again. NULL is a no-op.
 */
void resolver_cancel(struct lookup *lookup);

#endif
