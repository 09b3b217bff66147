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
 * From a target to a connected TCP socket: resolve, hold every address against
 * the policy, race the permitted ones (RFC 8305), each of which waits for its
 * turn. The address that was held against the policy is the address that is
 * dialled, and is held against it again when it has waited.
 */

/* Milliseconds that a client waits for all of it before it gives up. */
#define DIAL_TIMEOUT_MS 10000

/* What an edge dials with; must outlive its dials. */
struct dialer {
	struct resolver *resolver;
	const struct policy *policy;
	struct dial_queue *origins;
	struct descriptors *descriptors;
	uint64_t timeout_ms; /* of clients; DIAL_TIMEOUT_MS as a rule */
};

/*
 * Milliseconds between two attempts of one race (RFC 8305 section 5); fewer
 * where there are so many addresses that the last of them would start when half
 * of the time is over.
 */
#define DIAL_ATTEMPT_DELAY_MS 250
#define DIAL_ATTEMPT_DELAY_MIN_MS 10

/*
 * The part of the time, as n/4, after which a name without an address is given
 * up: then the client hears of it before its own time is over.
 */
#define DIAL_RESOLVE_QUARTERS 3

/*
 * ... and as n/10, after which a dial is given up: a client that waits as long
 * as the edge, which is the default of both, hears what the matter is.
 */
#define DIAL_CONNECT_TENTHS 9

/* Addresses tried for one target: more than any honest name has. */
#define DIAL_ADDRESSES_MAX 128

/*
 * How a dial ended. When attempts fail in different ways, the one that comes
 * first in this order is reported: it tells the client most.
 */
enum dial_status {
	DIAL_OK,
	DIAL_REFUSED,		/* the target's host answered no */
	DIAL_TIMEOUT,		/* no answer in time */
	DIAL_UNROUTABLE,	/* no way from here to there */
	DIAL_LIMIT,		/* out of descriptors, ports, memory, turns */
	DIAL_SHARE,		/* what is left of descriptors is for others */
	DIAL_PROHIBITED,	/* the policy permits none of the addresses */
	DIAL_DNS_TIMEOUT,	/* no name server has answered in time */
	DIAL_DNS_ERROR		/* no address for that name */
};

struct dial_result {
	enum dial_status status;

	/*
	 * With DIAL_OK a connected TCP socket, non-blocking, close-on-exec,
	 * watched by nobody, and the callback's from then on; else -1.
	 */
	int fd;
	struct tally_entry *share; /* of `fd`, for descriptors_give() */

	/*
	 * The address that `status` speaks about, or NULL when there is none
	 * (DIAL_DNS_ERROR, DIAL_DNS_TIMEOUT); valid until the callback returns.
	 */
	const struct sockaddr *address;
};

/* A dial under way. Its memory is its own, not the caller's. */
struct dial;

/*
 * Dials `target` on the resolver's loop, for DIAL_CONNECT_TENTHS of the
 * dialer's time-out at most. Address literals ask no name server; what looks like a number but is no
 * dotted quad ("127.1", "0x7f.1") is a DIAL_DNS_ERROR and never interpreted.
 * `target` is copied, and so is `requester`, a user or where the client comes from:
 * a name counts in its share while it is asked for, and a descriptor while it
 * is open.
 *
 * Returns 0 and sets `*dial`: `on_dialled` will fire once, from the loop,
 * never from inside this call, and `*dial` is gone as it fires. Returns a
 * negative errno (-ENOMEM) when nothing was started: the caller answers as
 * for DIAL_LIMIT.
 */
int dial_start(struct dial **dial, const struct dialer *dialer,
    const struct target *target, const char *requester,
    void (*on_dialled)(void *arg, const struct dial_result *result),
    void *arg);

/*
 * The caller no longer wants the socket: `on_dialled` does not fire any more,
 * `arg` is not touched again, every attempt is closed. The loop must run on
 * until the handles are gone. NULL is a no-op.
 */
void dial_cancel(struct dial *dial);

/*
 * What a refusal looks like in HTTP: the status code, and the proxy-status
 * error type (RFC 9209 section 2.3) or NULL for DIAL_OK.
 */
int dial_http_status(enum dial_status status);
const char *dial_proxy_error(enum dial_status status);

#endif
