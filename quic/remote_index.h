/*
 * The connections of a server by where their peers are, for news of a path
 * that do not say of which connection they are.
 */
#ifndef CULVERT_QUIC_REMOTE_INDEX_H
#define CULVERT_QUIC_REMOTE_INDEX_H

#include <sys/queue.h>
#include <sys/socket.h>

struct quic_conn;

LIST_HEAD(remote_conns, quic_conn);

/* A connection's part. */
struct remote_entry {
	struct remote *at; /* its address; NULL: it is in no index */
	LIST_ENTRY(quic_conn) entry; /* of those at that address */
};

/* All zero at first; empty when every connection has left. */
struct remote_index {
	void *tree; /* tsearch(3) */
};

/*
 * A connection is at its path's remote address, or elsewhere than before: it
 * joins that place. Without memory it is nowhere, and no news reach it.
 */
void remote_join(struct remote_index *, struct quic_conn *);
void remote_leave(struct remote_index *, struct quic_conn *);

/* Those at that address and port, linked by server.remote.entry; NULL: none. */
const struct remote_conns *
remote_find(const struct remote_index *, const struct sockaddr_storage *);

#endif
