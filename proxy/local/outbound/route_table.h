#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_TABLE_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_ROUTE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/local/outbound/route_pattern.h"

/*
 * Patterns of targets (route_pattern.h), and which of them covers a target
 * first. A look-up takes the same time for ten patterns and for a million. Pure:
 * no I/O.
 */

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

/* The sentence of route_table_add() for a lack of memory. */
extern const char route_no_memory[];

/* Patterns of one name or network: a look-up reads all of them. */
#define ROUTE_PORTS_MAX 256

/*
 * Adds a pattern after those that are there. Returns NULL, or a sentence without
 * its full stop: static text, and nothing was added.
 */
const char *route_table_add(struct route_table *, const struct route_pattern *,
    const struct route_value *);

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
