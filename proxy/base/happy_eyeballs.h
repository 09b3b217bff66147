#ifndef CULVERT_PROXY_BASE_HAPPY_EYEBALLS_H
#define CULVERT_PROXY_BASE_HAPPY_EYEBALLS_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Happy Eyeballs (RFC 8305): the order and the pace in which the addresses of
 * one name are tried, for connections to edges and to origins, which have their
 * own delays: EDGE_ATTEMPTS_DELAY_MS and DIAL_ATTEMPT_DELAY_MS.  Pure: no I/O,
 * no clock.
 *
 * The families alternate (section 4), beginning with that of the first address
 * that was added.  Within a family the order is that of adding.  Addresses may
 * be added while others have been tried already.
 */

/* The least milliseconds between two attempts, if there are many (section 5). */
#define HAPPY_EYEBALLS_DELAY_MIN_MS 10

/* An address; one of IPv4 has the room of one of IPv6.  Private. */
struct happy_eyeballs_entry;

/* In the caller's memory; zero is empty, but for max. */
struct happy_eyeballs {
	unsigned max; /* addresses; set by the caller */

	/* To be read. */
	unsigned n; /* addresses */
	unsigned ntried;

	/* Private. */
	struct happy_eyeballs_entry *v; /* malloc */
	sa_family_t family;		/* of the next one, if possible */
};

/*
 * Appends an address of IPv4 or IPv6 with its port.  Returns 0; -EEXIST if it
 * is there already, tried or not; -ENOSPC if there are `max`; or -ENOMEM.
 */
int happy_eyeballs_add(struct happy_eyeballs *, const struct sockaddr *addr);

/*
 * Returns the address to try next, and counts it as tried; NULL if all have
 * been.  It is valid until another one is added.
 */
const struct sockaddr *happy_eyeballs_next(struct happy_eyeballs *);

/* Makes all addresses untried again, for another round. */
void happy_eyeballs_rewind(struct happy_eyeballs *);

/* Releases all addresses; the order is empty. */
void happy_eyeballs_clear(struct happy_eyeballs *);

/*
 * Returns the milliseconds from one attempt to the next: usual_ms, or less if
 * otherwise the last address would be tried after within_ms from now.
 */
uint64_t happy_eyeballs_delay(const struct happy_eyeballs *, uint64_t usual_ms,
    uint64_t within_ms);

#endif
