/*
 * The connections of a server by the address of the peer, for ICMP messages,
 * which do not contain a connection ID of ours.
 */
#ifndef CULVERT_QUIC_REMOTE_INDEX_H
#define CULVERT_QUIC_REMOTE_INDEX_H

#include <sys/queue.h>
#include <sys/socket.h>

struct quic_conn;

LIST_HEAD(remote_conns, quic_conn);

/* A connection's part. */
struct remote_entry {
	struct remote *at;	     /* its address; NULL: it is in no index */
	LIST_ENTRY(quic_conn) entry; /* of those at that address */
};

/* All zero at first; empty after all connections have left. */
struct remote_index {
	void *tree; /* tsearch(3) */
};

/*
 * Adds a connection under the remote address of its current path; removes it
 * from its old address. Without memory it is in no index, and gets no ICMP
 * messages.
 */
void remote_join(struct remote_index *, struct quic_conn *);
void remote_leave(struct remote_index *, struct quic_conn *);

/*
 * The connections with that address and port, linked by their entries; NULL:
 * none.
 */
const struct remote_conns *
remote_find(const struct remote_index *, const struct sockaddr_storage *);

#endif
