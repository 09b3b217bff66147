#ifndef CULVERT_PROXY_LOCAL_RACE_H
#define CULVERT_PROXY_LOCAL_RACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <uv.h>

#include "proxy/addr.h"
#include "proxy/local/link.h"
#include "proxy/local/refusal.h"

/*
 * A connection to an edge by whichever of its addresses is fastest (RFC 8305):
 * the name is looked up, then the addresses are tried one after another, IPv6
 * first, without waiting for the earlier ones to fail. The first handshake
 * that is complete wins, and the others are dropped.
 *
 *	race_start ──▶ race_step, when due or when the host is told of a change
 *	           ──▶ RACE_WON, RACE_LOST
 */

/* Addresses of one edge: each attempt costs a socket and its memory. */
#define RACE_ADDRESSES_MAX 8

enum race_result {
	RACE_OFF,  /* not started, or its end was told before */
	RACE_ON,   /* goes on */
	RACE_WON,  /* `winner` is the caller's from now on */
	RACE_LOST  /* no address answers: `why` */
};

/* In the caller's memory. */
struct race {
	/* For the owner to read. */
	struct link *winner;	/* after RACE_WON */
	char why[REFUSAL_TEXT_MAX]; /* after RACE_LOST: a sentence */
	bool hopeless;		/* another race would be lost the same way */
	char address[ADDR_STRLEN]; /* tried last, or empty */
	bool looking_up;	/* the memory may not go yet */
	bool met;		/* the edge has been connected to, ever */
	struct link_list links; /* attempts under way */

	/* Private. */
	struct link_host *host;
	const struct target *edge;
	struct quic_tls *tls;
	bool running;
	uint64_t began;	/* milliseconds */
	uint64_t due;	/* milliseconds: when the next address is tried */
	uv_getaddrinfo_t lookup;
	struct sockaddr_storage addresses[RACE_ADDRESSES_MAX];
	size_t naddresses, next;
};

/* The host, the edge and its credentials must outlive the race. */
void race_init(struct race *, struct link_host *,
    const struct target *edge, struct quic_tls *tls);

/* Stops, and connects with these credentials from now on. */
void race_set_tls(struct race *, struct quic_tls *tls);

/* Begins to look up the name. Nothing if it is under way. */
void race_start(struct race *, uint64_t now);

/*
 * Does what is due, not from inside a connection's events, and says how it
 * stands; `*at` is made no later than the time of the next call. `now` is
 * milliseconds of the loop's clock.
 */
enum race_result race_step(struct race *, uint64_t now, uint64_t *at);

/* Drops all attempts; nothing is told. Idempotent. */
void race_stop(struct race *);

/*
 * Stops for good. While `looking_up` the host is told of another change, and
 * the memory must stay where it is until then.
 */
void race_fini(struct race *);

#endif
