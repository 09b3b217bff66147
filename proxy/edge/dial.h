#ifndef CULVERT_PROXY_EDGE_DIAL_H
#define CULVERT_PROXY_EDGE_DIAL_H

#include <stdint.h>
#include <sys/socket.h>

#include "proxy/base/addr.h"
#include "proxy/edge/descriptors.h"
#include "proxy/edge/dial_queue.h"
#include "proxy/edge/policy.h"
#include "proxy/edge/resolver.h"

/*
 * From a target to a connected TCP socket: resolves the name, checks each
 * address against the policy, and tries the permitted ones (RFC 8305), each
 * with a dial slot. The address that was checked is the address that is
 * dialled; one that had to wait for its slot is checked again.
 */

/* Milliseconds that a client waits for a tunnel before it gives up. */
#define DIAL_TIMEOUT_MS 10000

/* What all dials of an edge share; must outlive them. */
struct dialer {
	struct resolver *resolver;
	const struct policy *policy;
	struct dial_queue *queue;
	struct descriptors *descriptors;
	uint64_t timeout_ms; /* of clients; usually DIAL_TIMEOUT_MS */
};

/*
 * The part of the time-out, as n/4, for the name to resolve: the answer reaches
 * the client before the client's own time-out.
 */
#define DIAL_RESOLVE_QUARTERS 3

/*
 * The part of the time-out, as n/10, for the whole dial: a client with the same
 * time-out as the edge, which is the default, still receives the reason.
 */
#define DIAL_CONNECT_TENTHS 9

/* Addresses tried for one target: more than any normal name has. */
#define DIAL_ADDRESSES_MAX 128

/*
 * Milliseconds after which the next address of the target is tried, too, if
 * there is no answer yet (RFC 8305 §5); less if the addresses are many.
 */
#define DIAL_ATTEMPT_DELAY_MS 250

/*
 * The result of a dial. If attempts fail in different ways, the result is the
 * first of these in this order, which is the most informative.
 */
enum dial_status {
	DIAL_OK,
	DIAL_REFUSED,	  /* the target's host refused the connection */
	DIAL_TIMEOUT,	  /* no answer in time */
	DIAL_UNROUTABLE,  /* no route to the address */
	DIAL_LIMIT,	  /* out of descriptors, ports, memory, slots */
	DIAL_SHARE,	  /* the user's share of descriptors is used up */
	DIAL_PROHIBITED,  /* the policy permits none of the addresses */
	DIAL_DNS_TIMEOUT, /* no name server answered in time */
	DIAL_DNS_ERROR	  /* the name has no address */
};

struct dial_result {
	enum dial_status status;

	/*
	 * With DIAL_OK a connected TCP socket, non-blocking, close-on-exec,
	 * without a poll handle; the callback becomes its owner. Else -1.
	 */
	int fd;
	struct key_count *share; /* of `fd`, for descriptors_give() */

	/*
	 * The address to which `status` applies, or NULL if there is none
	 * (DIAL_DNS_ERROR, DIAL_DNS_TIMEOUT); valid until the callback returns.
	 */
	const struct sockaddr *address;
};

/* A dial in progress. It frees its own memory. */
struct dial;

/*
 * Dials `target` on the resolver's loop, for DIAL_CONNECT_TENTHS of the
 * dialer's time-out at most. Address literals need no name server. A name that
 * looks like a number but is not a dotted quad ("127.1", "0x7f.1") is never
 * interpreted: the result is DIAL_DNS_ERROR. `target` is copied, and so is
 * `requester`, a user or the address of the client, whose share includes the
 * name while it is looked up and the descriptor while it is open.
 *
 * Returns 0 and sets `*dial`: `on_dialled` will fire once, from the loop,
 * never from inside this call, and `*dial` is gone as it fires. Returns a
 * negative errno (-ENOMEM) if nothing was started: the caller answers as for
 * DIAL_LIMIT.
 */
int dial_start(struct dial **dial, const struct dialer *dialer,
    const struct target *target, const char *requester,
    void (*on_dialled)(void *arg, const struct dial_result *result), void *arg);

/*
 * Cancels a dial: `on_dialled` does not fire any more, `arg` is not used again,
 * and every attempt is closed. The loop must run until the handles are closed.
 * NULL is a no-op.
 */
void dial_cancel(struct dial *dial);

/*
 * The HTTP status code of a result, and the error type of proxy-status (RFC
 * 9209 section 2.3), which is NULL for DIAL_OK.
 */
int dial_http_status(enum dial_status status);
const char *dial_proxy_error(enum dial_status status);

#endif
