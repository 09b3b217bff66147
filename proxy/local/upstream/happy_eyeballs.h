#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_HAPPY_EYEBALLS_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_HAPPY_EYEBALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/base/addr.h"
#include "proxy/base/address_order.h"
#include "proxy/local/upstream/connection.h"
#include "proxy/local/outbound/connect_error.h"

/*
 * Happy Eyeballs (RFC 8305): resolves the name of an edge and connects to its
 * addresses, IPv6 first, each attempt beginning a moment after the one before.
 * The first complete handshake is used, and the other attempts are dropped.
 *
 *	eyeballs_start ──▶ eyeballs_step, when due or after `changed`
 *	                     ──▶ EYEBALLS_CONNECTED or EYEBALLS_FAILED
 */

/* Addresses of one edge: each attempt costs a socket and its memory. */
#define EYEBALLS_ADDRESSES_MAX 8

enum eyeballs_result {
	EYEBALLS_IDLE, /* not started, or its result was returned */
	EYEBALLS_RUNNING,
	EYEBALLS_CONNECTED, /* `winner` is the caller's from now on */
	EYEBALLS_FAILED	    /* no address answers: `why` */
};

/* In the caller's memory. */
struct eyeballs {
	/* For the owner to read. */
	struct connection *winner;	  /* after EYEBALLS_CONNECTED */
	char why[CONNECT_ERROR_TEXT_MAX]; /* after EYEBALLS_FAILED */
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
	struct address_order addresses;
};

/* The context, the edge and its credentials must outlive it. */
void eyeballs_init(struct eyeballs *, struct connection_context *,
    const struct target *edge, struct quic_tls *tls);

/* Stops, and uses these credentials from now on. */
void eyeballs_set_tls(struct eyeballs *, struct quic_tls *tls);

/* Begins to resolve the name. Does nothing while it runs. */
void eyeballs_start(struct eyeballs *, uint64_t now);

/*
 * Does what is due, and returns the outcome. Not from inside a connection's
 * events. `*at` is made no later than the time of the next call; `now` is
 * milliseconds of the loop's clock.
 */
enum eyeballs_result
eyeballs_step(struct eyeballs *, uint64_t now, uint64_t *at);

/* Drops all attempts, without a result. Idempotent. */
void eyeballs_stop(struct eyeballs *);

/*
 * Stops for good. While `resolving`, one more `changed` follows, and the memory
 * must stay where it is until then.
 */
void eyeballs_fini(struct eyeballs *);

#endif
