#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_PATTERN_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"

/*
 * A pattern of targets, as rules have it:
 *
 *	www.example.com		this name
 *	*.example.com		the names below it
 *	.example.com		itself, and the names below it
 *	10.0.0.0/8 [::1]	addresses
 *	*			every target
 *
 * Ports may follow each of them, as in "*.example.com:80-90", and ":25" alone
 * is that port of every target. A name is compared as a name, without regard to
 * case and to a dot at its end; it is never resolved. A pattern may have U-labels
 * (RFC 5890), and is compared as UTS 46 maps it.
 *
 * Pure: no I/O.
 */

/* Octets of a pattern: each character of a name may take four, and ports. */
#define ROUTE_PATTERN_MAX (4 * TARGET_HOST_MAX + 16)

enum route_pattern_kind { ROUTE_EVERYTHING, ROUTE_NAME, ROUTE_NETWORK };

struct route_pattern {
	enum route_pattern_kind kind;
	char name[TARGET_HOST_MAX + 1]; /* ROUTE_NAME: A-labels, lower case */
	bool itself, below;		/* that is covered */
	struct cidr network;		/* ROUTE_NETWORK */
	uint16_t first_port, last_port; /* 0 to 65535: all */
};

/*
 * Reads a pattern of `len` octets, which need no NUL. Returns NULL, or a
 * sentence without its full stop that says what is wrong: static text.
 */
const char *
route_pattern_parse(struct route_pattern *, const char *s, size_t len);

#endif
