#ifndef CULVERT_TESTS_BENCH_TUNNEL_H
#define CULVERT_TESTS_BENCH_TUNNEL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/wire.h"

/*
 * A client's connection to the origin, directly or through a SOCKS5 proxy, and
 * one request on it at a time. Whatever goes wrong ends the program with a
 * sentence: a figure with a failure in it is none.
 *
 *	CONNECTING ──▶ GREETING ──▶ REQUESTING ──▶ OPEN
 *	     └───────── without a proxy ────────────▲
 */

/* How to get to the origin. */
struct route {
	struct sockaddr_in origin;
	struct sockaddr_in proxy; /* sin_port 0: there is none */
	bool early; /* say all at once, and wait for no answer of the proxy */
};

struct tunnel {
	const struct route *route;
	int fd, poller;
	uint32_t events; /* that we wait for */
	enum { CONNECTING, GREETING, REQUESTING, OPEN } state;
	uint8_t reply[10]; /* the proxy's, with an IPv4 address ... */
	size_t reply_len;  /* ... and how much of it has come */
	uint8_t head[WIRE_HEAD_LEN];
	uint64_t count;	  /* bytes of the request */
	uint64_t send;	  /* bytes of the request that are still to go ... */
	uint64_t receive; /* ... and to come */
	double started;	  /* seconds, when the request was made */
};

/* Seconds of a clock that only goes forward. */
double tunnel_now(void);

/*
 * Opens a tunnel, which the caller frees by tunnel_close(), with a first
 * request. Its events come at `poller`, an epoll instance, with the tunnel as
 * their data: call tunnel_drive() for each.
 */
struct tunnel *
tunnel_open(const struct route *route, int poller, char what, uint64_t count);

/* Goes on as far as possible. True: the request is done. */
bool tunnel_drive(struct tunnel *t);

/* Makes the next request, once the one before is done. */
void tunnel_request(struct tunnel *t, char what, uint64_t count);

/*
 * Ends an upload that is under way with the next whole report, so that what is
 * on its way is waited for and counts.
 */
void tunnel_shorten(struct tunnel *t);

/* How many bytes of the request have arrived, whichever way they went. */
uint64_t tunnel_delivered(const struct tunnel *t);

/* Closes the connection, and frees it. NULL does nothing. */
void tunnel_close(struct tunnel *t);

#endif
