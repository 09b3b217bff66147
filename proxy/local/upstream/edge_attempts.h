#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_EDGE_ATTEMPTS_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_EDGE_ATTEMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/base/addr.h"
#include "proxy/base/happy_eyeballs.h"
#include "proxy/local/upstream/connection.h"
#include "proxy/local/outbound/connect_error.h"

/*
 * The attempts to connect to one edge: resolves its name and connects to its
 * addresses, IPv6 first, each attempt EDGE_ATTEMPTS_DELAY_MS after the one
 * before. The first complete handshake is used, and the other attempts are
 * dropped.
 *
 *	edge_attempts_start ──▶ edge_attempts_step, when due or after `changed`
 *	                     ──▶ EDGE_ATTEMPTS_CONNECTED or EDGE_ATTEMPTS_FAILED
 */

/* Addresses of one edge: each attempt costs a socket and its memory. */
#define EDGE_ATTEMPTS_ADDRESSES_MAX 8

/*
 * Milliseconds after which the next address of the edge is tried, too, if there
 * is no connection yet (RFC 8305 §5).
 */
#define EDGE_ATTEMPTS_DELAY_MS 250

enum edge_attempts_result {
	EDGE_ATTEMPTS_IDLE, /* not started, or its result was returned */
	EDGE_ATTEMPTS_RUNNING,
	EDGE_ATTEMPTS_CONNECTED, /* `winner` is the caller's from now on */
	EDGE_ATTEMPTS_FAILED	 /* no address answers: `why` */
};

/* In the caller's memory. */
struct edge_attempts {
	/* For the owner to read. */
	struct connection *winner;	  /* after EDGE_ATTEMPTS_CONNECTED */
	char why[CONNECT_ERROR_TEXT_MAX]; /* after EDGE_ATTEMPTS_FAILED */
	bool permanent;			  /* the next attempt would fail, too */
	char address[ADDR_STRLEN];	  /* tried last, or empty */
	bool resolving;			  /* the memory must stay meanwhile */
	bool was_connected;		  /* to this edge, ever */
	struct connection_list attempts;  /* under way */

	/* Private. */
	struct connection_context *context;
	const struct target *edge;
	struct quic_tls *tls;
	bool running;
	uint64_t began; /* milliseconds */
	uint64_t due;	/* milliseconds: when the next address is tried */
	uv_getaddrinfo_t lookup;
	struct happy_eyeballs addresses;
};

/* The context, the edge and its credentials must outlive it. */
void edge_attempts_init(struct edge_attempts *, struct connection_context *,
    const struct target *edge, struct quic_tls *tls);

/* Stops, and uses these credentials from now on. */
void edge_attempts_set_tls(struct edge_attempts *, struct quic_tls *tls);

/* Begins to resolve the name. Does nothing while it runs. */
void edge_attempts_start(struct edge_attempts *, uint64_t now);

/*
 * Does what is due, and returns the outcome. Not from inside a connection's
 * events. `*at` is made no later than the time of the next call; `now` is
 * milliseconds of the loop's clock.
 */
enum edge_attempts_result
edge_attempts_step(struct edge_attempts *, uint64_t now, uint64_t *at);

/* Drops all attempts, without a result. Idempotent. */
void edge_attempts_stop(struct edge_attempts *);

/*
 * Stops for good. While `resolving`, one more `changed` follows, and the memory
 * must stay where it is until then.
 */
void edge_attempts_fini(struct edge_attempts *);

#endif
