/*
 * The connection IDs of a server (RFC 9000 §5.1). Each leads to a connection,
 * or to what closing.c keeps of it.
 */
#ifndef CULVERT_QUIC_CONN_ID_H
#define CULVERT_QUIC_CONN_ID_H

#include <sys/queue.h>

#include <ngtcp2/ngtcp2.h>

struct quic_conn;
struct closing;

struct conn_id {
	ngtcp2_cid cid; /* first: the look-up tree compares keys by it */
	struct quic_conn *conn;	   /* one of these two is set */
	struct closing *closing;   /* closing.h */
	LIST_ENTRY(conn_id) entry; /* in the list of its owner */
};

LIST_HEAD(conn_ids, conn_id);

/* All zero at first; empty after all IDs are freed. */
struct conn_id_map {
	void *tree; /* tsearch(3) */
};

/* NULL: there is no such ID. */
struct conn_id *conn_id_find(const struct conn_id_map *, const ngtcp2_cid *);

/* Makes an ID of `conn` and adds it to the list. 0, -ENOMEM or -EEXIST. */
int conn_id_add(struct conn_id_map *, struct conn_ids *, struct quic_conn *,
    const ngtcp2_cid *);

/* Frees an ID, or all of a list. */
void conn_id_free(struct conn_id_map *, struct conn_id *);
void conn_ids_free(struct conn_id_map *, struct conn_ids *);

#endif
