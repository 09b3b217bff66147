#ifndef CULVERT_PROXY_BASE_ADDRESS_ORDER_H
#define CULVERT_PROXY_BASE_ADDRESS_ORDER_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * The order and the pace in which the addresses of one name are tried (RFC
 * 8305), for connections to edges and to origins.  Pure: no I/O, no clock.
 *
 * The families alternate (section 4), beginning with that of the first address
 * that was added.  Within a family the order is that of adding.  Addresses may
 * be added while others have been tried already.
 */

/*
 * Milliseconds between two attempts (section 5), and the least if many have to
 * begin within a given time.
 */
#define ADDRESS_DELAY_MS 250
#define ADDRESS_DELAY_MIN_MS 10

/* An address; one of IPv4 has the room of one of IPv6.  Private. */
struct address_order_entry;

/* In the caller's memory; zero is empty, but for max. */
struct address_order {
	unsigned max; /* addresses; set by the caller */

	/* To be read. */
	unsigned n; /* addresses */
	unsigned ntried;

	/* Private. */
	struct address_order_entry *v; /* malloc */
	sa_family_t family;	       /* of the next one, if possible */
};

/*
 * Appends an address of IPv4 or IPv6 with its port.  Returns 0; -EEXIST if it
 * is there already, tried or not; -ENOSPC if there are `max`; or -ENOMEM.
 */
int address_order_add(struct address_order *, const struct sockaddr *addr);

/*
 * Returns the address to try next, and counts it as tried; NULL if all have
 * been.  It is valid until another one is added.
 */
const struct sockaddr *address_order_next(struct address_order *);

/* Makes all addresses untried again, for another round. */
void address_order_rewind(struct address_order *);

/* Releases all addresses; the order is empty. */
void address_order_clear(struct address_order *);

/*
 * Returns the milliseconds from one attempt to the next: ADDRESS_DELAY_MS, or
 * less if otherwise the last address would be tried after within_ms from now.
 */
uint64_t address_order_delay(const struct address_order *, uint64_t within_ms);

#endif
