#include "quic/conn_id.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Buckets that one ID may have when others are freed; more are merged. */
#define BUCKETS_AN_ID 2

/* ---- Buckets ---- */

/* The largest power of 2 that is not above `n`; n > 0. */
static size_t
power_below(size_t n)
{
	return (size_t)1 << (8 * sizeof(n) - 1 - (size_t)__builtin_clzl(n));
}

/* The segment with that bucket. */
static unsigned
segment_of(size_t bucket)
{
	return bucket < CONN_ID_BUCKETS
	    ? 0
	    : (unsigned)__builtin_ctzl(power_below(bucket) / CONN_ID_BUCKETS) +
		1;
}

static size_t
first_of(unsigned segment)
{
	return segment == 0 ? 0 : (size_t)CONN_ID_BUCKETS << (segment - 1);
}

static struct conn_ids *
bucket_at(const struct conn_id_map *map, size_t bucket)
{
	unsigned segment = segment_of(bucket);

	return &map->segments[segment][bucket - first_of(segment)];
}

/* Of the buckets beyond a power of 2, those exist that are split off. */
static struct conn_ids *
bucket_of(const struct conn_id_map *map, uint64_t hash)
{
	size_t power = power_below(map->nbuckets);
	size_t bucket = hash & (2 * power - 1);

	return bucket_at(map, bucket < map->nbuckets ? bucket : bucket - power);
}

/* False: no memory. All zero is a valid list. */
static bool
make_segment(struct conn_id_map *map, unsigned segment)
{
	size_t n = segment == 0 ? CONN_ID_BUCKETS : first_of(segment);

	if (segment < CONN_ID_SEGMENTS && map->segments[segment] == NULL)
		map->segments[segment] = calloc(n, sizeof(struct conn_ids));
	return segment < CONN_ID_SEGMENTS && map->segments[segment] != NULL;
}

static void
free_segment(struct conn_id_map *map, unsigned segment)
{
	free(map->segments[segment]);
	map->segments[segment] = NULL;
}

/* Splits one bucket in two. Without memory, lists are longer. */
static void
grow(struct conn_id_map *map)
{
	size_t power = power_below(map->nbuckets);
	struct conn_ids *from, *to;
	struct conn_id *id, *next;

	if (!make_segment(map, segment_of(map->nbuckets)))
		return;
	from = bucket_at(map, map->nbuckets - power);
	to = bucket_at(map, map->nbuckets);
	map->nbuckets++;
	for (id = LIST_FIRST(from); id != NULL; id = next) {
		next = LIST_NEXT(id, bucket_entry);
		if ((id->hash & power) == 0)
			continue;
		LIST_REMOVE(id, bucket_entry);
		LIST_INSERT_HEAD(to, id, bucket_entry);
	}
}

/* Merges the last bucket with the one that it was split off. */
static void
shrink(struct conn_id_map *map)
{
	size_t bucket = --map->nbuckets;
	struct conn_ids *from = bucket_at(map, bucket);
	struct conn_ids *to = bucket_at(map, bucket - power_below(bucket));
	struct conn_id *id;

	while ((id = LIST_FIRST(from)) != NULL) {
		LIST_REMOVE(id, bucket_entry);
		LIST_INSERT_HEAD(to, id, bucket_entry);
	}
	if (bucket == first_of(segment_of(bucket)))
		free_segment(map, segment_of(bucket));
}

/* ---- IDs ---- */

static bool
is_equal(const ngtcp2_cid *a, const ngtcp2_cid *b)
{
	return a->datalen == b->datalen &&
	    memcmp(a->data, b->data, a->datalen) == 0;
}

static struct conn_id *
find_hash(const struct conn_id_map *map, const ngtcp2_cid *cid, uint64_t hash)
{
	struct conn_id *id;

	if (map->nbuckets == 0)
		return NULL;
	LIST_FOREACH(id, bucket_of(map, hash), bucket_entry)
		if (id->hash == hash && is_equal(&id->cid, cid))
			return id;
	return NULL;
}

struct conn_id *
conn_id_find(struct conn_id_map *map, const ngtcp2_cid *cid)
{
	struct conn_id *id = map->last;

	if (id != NULL && is_equal(&id->cid, cid))
		return id;
	id = find_hash(map, cid, siphash(map->key, cid->data, cid->datalen));
	if (id != NULL)
		map->last = id;
	return id;
}

int
conn_id_add(struct conn_id_map *map, struct conn_ids *list,
    struct quic_conn *conn, const ngtcp2_cid *cid)
{
	uint64_t hash = siphash(map->key, cid->data, cid->datalen);
	struct conn_id *id;

	if (find_hash(map, cid, hash) != NULL)
		return -EEXIST;
	if (!make_segment(map, 0) || (id = calloc(1, sizeof(*id))) == NULL)
		return -ENOMEM;
	if (map->nbuckets == 0)
		map->nbuckets = CONN_ID_BUCKETS;
	id->cid = *cid;
	id->hash = hash;
	id->conn = conn;
	LIST_INSERT_HEAD(bucket_of(map, hash), id, bucket_entry);
	LIST_INSERT_HEAD(list, id, entry);
	if (++map->n > map->nbuckets)
		grow(map);
	return 0;
}

void
conn_id_free(struct conn_id_map *map, struct conn_id *id)
{
	if (map->last == id)
		map->last = NULL;
	LIST_REMOVE(id, bucket_entry);
	LIST_REMOVE(id, entry);
	free(id);
	map->n--;
	for (int i = 0; i < BUCKETS_AN_ID; i++)
		if (map->nbuckets > CONN_ID_BUCKETS &&
		    map->nbuckets > BUCKETS_AN_ID * map->n)
			shrink(map);
	if (map->n == 0) {
		free_segment(map, 0);
		map->nbuckets = 0;
	}
}

void
conn_ids_free(struct conn_id_map *map, struct conn_ids *list)
{
	struct conn_id *id;

	while ((id = LIST_FIRST(list)) != NULL)
		conn_id_free(map, id);
}
