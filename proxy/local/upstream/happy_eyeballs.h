#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_HAPPY_EYEBALLS_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_HAPPY_EYEBALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/base/addr.h"
#include "proxy/local/upstream/connection.h"
#include "proxy/local/upstream/connect_error.h"

/*
 * A connection to an edge by whichever of its addresses is fastest (RFC 8305):
 * the name is looked up, then the addresses are tried one after another, IPv6
 * first, without waiting for the earlier ones to fail. The first handshake
 * that is complete wins, and the others are dropped.
 *
 *	eyeballs_start ──▶ eyeballs_step, when due or when the host is told of a
 *change ──▶ EYEBALLS_WON, EYEBALLS_LOST
 */

/* Addresses of one edge: each attempt costs a socket and its memory. */
#define EYEBALLS_ADDRESSES_MAX 8

enum eyeballs_result {
	EYEBALLS_OFF, /* not started, or its end was told before */
	EYEBALLS_ON, /* goes on */
	EYEBALLS_WON, /* `winner` is the caller's from now on */
	EYEBALLS_LOST /* no address answers: `why` */
};

/* In the caller's memory. */
struct eyeballs {
	/* For the owner to read. */
	struct connection *winner; /* after EYEBALLS_WON */
	char why[CONNECT_ERROR_TEXT_MAX]; /* after EYEBALLS_LOST: a sentence */
	bool hopeless;		/* another race would be lost the same way */
	char address[ADDR_STRLEN]; /* tried last, or empty */
	bool looking_up;	/* the memory may not go yet */
	bool met;		/* the edge has been connected to, ever */
	struct connection_list links; /* attempts under way */

	/* Private. */
	struct connection_host *host;
	const struct target *edge;
	struct quic_tls *tls;
	bool running;
	uint64_t began;	/* milliseconds */
	uint64_t due;	/* milliseconds: when the next address is tried */
	uv_getaddrinfo_t lookup;
	struct sockaddr_storage addresses[EYEBALLS_ADDRESSES_MAX];
	size_t naddresses, next;
};

/* The host, the edge and its credentials must outlive the race. */
void eyeballs_init(struct eyeballs *, struct connection_host *,
    const struct target *edge, struct quic_tls *tls);

/* Stops, and connects with these credentials from now on. */
void eyeballs_set_tls(struct eyeballs *, struct quic_tls *tls);

/* Begins to look up the name. Nothing if it is under way. */
void eyeballs_start(struct eyeballs *, uint64_t now);

/*
 * Does what is due, not from inside a connection's events, and says how it
 * stands; `*at` is made no later than the time of the next call. `now` is
 * milliseconds of the loop's clock.
 */
enum eyeballs_result
eyeballs_step(struct eyeballs *, uint64_t now, uint64_t *at);

/* Drops all attempts; nothing is told. Idempotent. */
void eyeballs_stop(struct eyeballs *);

/*
 * Stops for good. While `looking_up` the host is told of another change, and
 * the memory must stay where it is until then.
 */
void eyeballs_fini(struct eyeballs *);

#endif
