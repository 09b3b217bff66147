#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_TABLE_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"

/*
 * Patterns of targets, and which of them covers a target first. A look-up takes
 * the same time for ten patterns and for a million.
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

/* What a pattern stands for: the caller's. */
struct route_value {
	uint32_t line;
	uint16_t file, action;
};

/* All zero at first. */
struct route_table {
	/* Private. */
	uint32_t npatterns;
	struct route_slot *slots; /* a hash table of names and networks */
	uint32_t nslots;	  /* a power of 2 */
	uint32_t nkeys;		  /* slots that are in use */
	uint32_t *cells; /* the keys, and patterns: see route_table.c */
	size_t ncells, cells_max;
	uint64_t prefixes[3]; /* bit n: a network has n bits */
};

/*
 * Adds a pattern of `len` octets, which need no NUL. It comes after those that
 * are there. Returns NULL, or a sentence that says what is wrong: static text,
 * and nothing was added.
 */
const char *route_table_add(struct route_table *, const char *pattern,
    size_t len, const struct route_value *);

/* Gives back what the table has allocated in advance. No pattern follows. */
void route_table_shrink(struct route_table *);

/* The value of the first pattern that covers the target; NULL: none does. */
const struct route_value *
route_table_find(const struct route_table *, const struct target *);

/* Octets that the table has allocated. */
size_t route_table_size(const struct route_table *);

/* Frees what the table holds, and makes it all zero. */
void route_table_free(struct route_table *);

#endif
