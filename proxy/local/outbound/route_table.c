#include "proxy/local/outbound/route_table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* What a pattern covers of the name that is its key. */
#define COVERS_ITSELF 1
#define COVERS_BELOW 2

/* A key that is a network: this octet, the prefix length and the address. */
#define NETWORK_MARK 0x01
#define NETWORK_LEN 18

/* The key that every target has. */
#define ANY ((const uint8_t *)"")

#define SLOTS_MIN 64
#define CELLS_MIN 1024

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char route_no_memory[] = "there is not enough memory";

static const char too_many[] =
    "more than 256 rules have this name or network, with different ports";

/*
 * A look-up costs as much as the memory that it touches. So a name lies beside
 * its first pattern, and a slot tells other names by their hash.
 */
struct route_slot {
	uint32_t key;  /* the cell of its first pattern, plus 1; 0: none */
	uint32_t hash; /* of the key */
};

struct pattern {
	uint32_t next;	 /* its cell, of the same key; 0: none */
	uint32_t number; /* the order in which they were added */
	struct route_value value;
	uint16_t first_port, last_port;
	uint8_t covers;
	uint8_t len;   /* octets of the key; of its first pattern only */
	uint8_t key[]; /* the same */
};

/* ---- Keys ---- */

static struct pattern *
pattern_at(const struct route_table *t, uint32_t cell)
{
	return (struct pattern *)(void *)&t->cells[cell];
}

/*
 * From the last octet to the first, so that the hash of every name that ends a
 * longer one is a value on the way.
 */
static uint64_t
hash_octet(uint64_t hash, uint8_t octet)
{
	hash = (hash ^ octet) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

static uint32_t
fold(uint64_t hash)
{
	return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t
hash_key(const uint8_t *key, size_t len)
{
	uint64_t hash = 0;

	while (len > 0)
		hash = hash_octet(hash, key[--len]);
	return fold(hash);
}

/* The slot of that key, or the free one where it belongs. */
static struct route_slot *
find_slot(const struct route_table *t, uint32_t hash, const uint8_t *key,
    size_t len)
{
	struct route_slot *slot;
	const struct pattern *p;

	for (uint32_t at = hash;; at++) {
		slot = &t->slots[at & (t->nslots - 1)];
		if (slot->key == 0)
			return slot;
		if (slot->hash != hash)
			continue;
		p = pattern_at(t, slot->key - 1);
		if (p->len == len && memcmp(p->key, key, len) == 0)
			return slot;
	}
}

static void
move_slot(struct route_slot *slots, uint32_t n, const struct route_slot *from)
{
	uint32_t at = from->hash;

	while (slots[at & (n - 1)].key != 0)
		at++;
	slots[at & (n - 1)] = *from;
}

/* Half of the slots stay free. False: there is no memory. */
static bool
grow_slots(struct route_table *t)
{
	uint32_t n = t->nslots == 0 ? SLOTS_MIN : 2 * t->nslots;
	struct route_slot *slots;

	if (t->nkeys < t->nslots / 2)
		return true;
	slots = calloc(n, sizeof(*slots));
	if (slots == NULL)
		return false;
	for (uint32_t i = 0; i < t->nslots; i++)
		if (t->slots[i].key != 0)
			move_slot(slots, n, &t->slots[i]);
	free(t->slots);
	t->slots = slots;
	t->nslots = n;
	return true;
}

/* Makes room for so many more cells. False: there is no memory. */
static bool
grow_cells(struct route_table *t, size_t more)
{
	size_t max = t->cells_max;
	uint32_t *cells;

	if (t->ncells + more <= max)
		return true;
	while (max < t->ncells + more)
		max = max == 0 ? CELLS_MIN : max + max / 2;
	if (max > UINT32_MAX)
		return false;
	cells = realloc(t->cells, max * sizeof(*cells));
	if (cells == NULL)
		return false;
	t->cells = cells;
	t->cells_max = max;
	return true;
}

/* Cells of a pattern with so many octets of a key. */
static size_t
cells_for(size_t len)
{
	size_t size = offsetof(struct pattern, key) + len;

	if (size < sizeof(struct pattern))
		size = sizeof(struct pattern);
	return (size + sizeof(uint32_t) - 1) / sizeof(uint32_t);
}

enum appended { APPENDED, COVERED, TOO_MANY };

/* COVERED: a pattern of the key covers all that this one does. */
static enum appended
append(struct route_table *t, uint32_t first, uint32_t cell)
{
	const struct pattern *added = pattern_at(t, cell);
	struct pattern *p;
	unsigned n = 1;

	for (p = pattern_at(t, first);; p = pattern_at(t, p->next), n++) {
		if ((added->covers & ~p->covers) == 0 &&
		    added->first_port >= p->first_port &&
		    added->last_port <= p->last_port)
			return COVERED;
		if (p->next == 0)
			break;
	}
	if (n == ROUTE_PORTS_MAX)
		return TOO_MANY;
	p->next = cell;
	return APPENDED;
}

static const char *
add(struct route_table *t, const uint8_t *key, size_t len, uint8_t covers,
    const struct route_pattern *pattern, const struct route_value *value)
{
	size_t cells = cells_for(len);
	uint32_t hash = hash_key(key, len), cell;
	struct route_slot *slot;
	enum appended how;
	struct pattern *p;

	if (!grow_slots(t) || !grow_cells(t, cells))
		return route_no_memory;
	slot = find_slot(t, hash, key, len);
	cell = (uint32_t)t->ncells;
	p = pattern_at(t, cell);
	*p = (struct pattern){ .number = t->npatterns++,
		.value = *value,
		.first_port = pattern->first_port,
		.last_port = pattern->last_port,
		.covers = covers };
	if (slot->key != 0) {
		how = append(t, slot->key - 1, cell);
		t->ncells += how == APPENDED ? cells_for(0) : 0;
		t->npatterns -= how == TOO_MANY;
		return how == TOO_MANY ? too_many : NULL;
	}
	t->ncells += cells;
	p->len = (uint8_t)len;
	memcpy(p->key, key, len);
	*slot = (struct route_slot){ cell + 1, hash };
	t->nkeys++;
	return NULL;
}

/* ---- Patterns ---- */

static void
make_network(uint8_t key[NETWORK_LEN], const uint8_t address[16],
    unsigned prefix)
{
	key[0] = NETWORK_MARK;
	key[1] = (uint8_t)prefix;
	for (unsigned i = 0; i < 16; i++) {
		unsigned mask = prefix >= 8 * i + 8 ? 0xff
		    : prefix <= 8 * i		    ? 0
				      : 0xff00u >> (prefix - 8 * i);
		key[2 + i] = (uint8_t)(address[i] & mask);
	}
}

const char *
route_table_add(struct route_table *t, const struct route_pattern *pattern,
    const struct route_value *value)
{
	uint8_t network[NETWORK_LEN];
	unsigned prefix = pattern->network.prefix;

	switch (pattern->kind) {
	case ROUTE_EVERYTHING:
		return add(t, ANY, 0, COVERS_ITSELF, pattern, value);
	case ROUTE_NETWORK:
		make_network(network, pattern->network.addr, prefix);
		t->prefixes[prefix / 64] |= UINT64_C(1) << prefix % 64;
		return add(t, network, sizeof(network), COVERS_ITSELF, pattern,
		    value);
	case ROUTE_NAME:
		break;
	}
	return add(t, (const uint8_t *)pattern->name, strlen(pattern->name),
	    (uint8_t)((pattern->itself ? COVERS_ITSELF : 0) |
		(pattern->below ? COVERS_BELOW : 0)),
	    pattern, value);
}

/* ---- Look-up ---- */

/* The first pattern of the key that covers the port, if it is before `best`. */
static const struct pattern *
first_of(const struct route_table *t, uint32_t hash, const uint8_t *key,
    size_t len, uint8_t covers, uint16_t port, const struct pattern *best)
{
	uint32_t cell = find_slot(t, hash, key, len)->key;
	const struct pattern *p;

	for (p = cell == 0 ? NULL : pattern_at(t, cell - 1);
	     p != NULL && (best == NULL || p->number < best->number);
	     p = p->next == 0 ? NULL : pattern_at(t, p->next))
		if ((p->covers & covers) != 0 && port >= p->first_port &&
		    port <= p->last_port)
			return p;
	return best;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* All slots are fetched at once: each is probably not in the cache. */
static const struct pattern *
find_name(const struct route_table *t, const struct target *target,
    const struct pattern *best)
{
	size_t len = strlen(target->host), ends[TARGET_HOST_MAX], n = 0;
	uint32_t hashes[TARGET_HOST_MAX];
	uint8_t name[TARGET_HOST_MAX + 1];
	uint64_t hash = 0;

	for (size_t i = 0; i < len; i++)
		name[i] = (uint8_t)lower(target->host[i]);
	if (len > 0 && name[len - 1] == '.')
		len--;
	for (size_t i = len; i-- > 0;) {
		hash = hash_octet(hash, name[i]);
		if (i > 0 && name[i - 1] != '.')
			continue;
		hashes[n] = fold(hash);
		__builtin_prefetch(&t->slots[hashes[n] & (t->nslots - 1)]);
		ends[n++] = i;
	}
	for (size_t i = 0; i < n; i++)
		best = first_of(t, hashes[i], name + ends[i], len - ends[i],
		    ends[i] == 0 ? COVERS_ITSELF : COVERS_BELOW, target->port,
		    best);
	return best;
}

static const struct pattern *
find_address(const struct route_table *t, const struct sockaddr *addr,
    uint16_t port, const struct pattern *best)
{
	static const struct cidr ipv4 = { { [10] = 0xff, [11] = 0xff }, 96 };
	unsigned least = cidr_contains(&ipv4, addr) ? ipv4.prefix : 0;
	uint8_t key[NETWORK_LEN], bytes[16];
	uint64_t left;
	unsigned prefix;

	addr_bytes(addr, bytes);
	for (size_t i = 0; i < COUNT(t->prefixes); i++)
		for (left = t->prefixes[i]; left != 0; left &= left - 1) {
			prefix = (unsigned)(64 * i) +
			    (unsigned)__builtin_ctzll(left);
			if (prefix < least)
				continue; /* no network of IPv6 contains it */
			make_network(key, bytes, prefix);
			best = first_of(t, hash_key(key, sizeof(key)), key,
			    sizeof(key), COVERS_ITSELF, port, best);
		}
	return best;
}

const struct route_value *
route_table_find(const struct route_table *t, const struct target *target)
{
	const struct pattern *best;
	struct sockaddr_storage addr;

	if (t->nkeys == 0)
		return NULL;
	best = first_of(t, 0, ANY, 0, COVERS_ITSELF, target->port, NULL);
	if (addr_dotted_literal(&addr, target))
		best = find_address(t, (struct sockaddr *)&addr, target->port,
		    best);
	else
		best = find_name(t, target, best);
	return best == NULL ? NULL : &best->value;
}

/* ---- Memory ---- */

void
route_table_shrink(struct route_table *t)
{
	uint32_t *cells = t->ncells == 0
	    ? NULL
	    : realloc(t->cells, t->ncells * sizeof(*cells));

	if (cells == NULL)
		return;
	t->cells = cells;
	t->cells_max = t->ncells;
}

size_t
route_table_size(const struct route_table *t)
{
	return t->cells_max * sizeof(*t->cells) + t->nslots * sizeof(*t->slots);
}

void
route_table_free(struct route_table *t)
{
	free(t->cells);
	free(t->slots);
	memset(t, 0, sizeof(*t));
}
