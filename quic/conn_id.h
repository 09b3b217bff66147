/*
 * The connection IDs of a server (RFC 9000 §5.1). Each leads to a connection,
 * or to what closing.c keeps of it.
 *
 * They are in a hash table that grows and shrinks by one or two buckets at a
 * time (linear hashing), so that no call moves all of them. Clients choose the
 * first ID of their connection, so the hash has a secret key.
 */
#ifndef CULVERT_QUIC_CONN_ID_H
#define CULVERT_QUIC_CONN_ID_H

#include <sys/queue.h>

#include <ngtcp2/ngtcp2.h>

#include "quic/siphash.h"

struct quic_conn;
struct closing;

struct conn_id {
	ngtcp2_cid cid;
	uint64_t hash;
	struct quic_conn *conn;	   /* one of these two is set */
	struct closing *closing;   /* closing.h */
	LIST_ENTRY(conn_id) entry; /* in the list of its owner */
	LIST_ENTRY(conn_id) bucket_entry;
};

LIST_HEAD(conn_ids, conn_id);

/*
 * Buckets are allocated in segments: one of CONN_ID_BUCKETS, and then each as
 * large as all before it. These are enough for 2^29 IDs.
 */
#define CONN_ID_BUCKETS 64
#define CONN_ID_SEGMENTS 24

/* All zero at first, but for the key; it has no memory when all are freed. */
struct conn_id_map {
	uint8_t key[SIPHASH_KEY_LEN];
	size_t n;
	size_t nbuckets; /* 0, or CONN_ID_BUCKETS and more */
	struct conn_ids *segments[CONN_ID_SEGMENTS];
	/* Found last, or NULL: packets of one connection arrive together. */
	struct conn_id *last;
};

/* NULL: there is no such ID. */
struct conn_id *conn_id_find(struct conn_id_map *, const ngtcp2_cid *);

/* Makes an ID of `conn` and adds it to the list. 0, -ENOMEM or -EEXIST. */
int conn_id_add(struct conn_id_map *, struct conn_ids *, struct quic_conn *,
    const ngtcp2_cid *);

/* Frees an ID, or all of a list. */
void conn_id_free(struct conn_id_map *, struct conn_id *);
void conn_ids_free(struct conn_id_map *, struct conn_ids *);

#endif
