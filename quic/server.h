/*
 * Between a server and its connections: what a connection needs of its server,
 * and what the files of a server keep in each connection. The files of a
 * connection reach the server through `struct server_ops` only.
 */
#ifndef CULVERT_QUIC_SERVER_H
#define CULVERT_QUIC_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/queue.h>

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/admission.h"
#include "quic/conn_id.h"
#include "quic/evict.h"
#include "quic/quic.h"
#include "quic/remote_index.h"
#include "quic/timer_heap.h"

/* What a connection needs of its server. server.c has the only provider. */
struct server_ops {
	/* 0, -ENOMEM or -EEXIST. */
	int (*add_id)(struct quic_server *, struct quic_conn *,
	    const ngtcp2_cid *);
	void (*remove_id)(struct quic_server *, const ngtcp2_cid *);

	/* The stateless reset token of a connection ID (RFC 9000 §10.3). */
	void (*reset_token)(const struct quic_server *, const ngtcp2_cid *,
	    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN]);

	/* A token for NEW_TOKEN. Returns its length, or 0: there is none. */
	size_t (*new_token)(const struct quic_server *,
	    const struct quic_path *,
	    uint8_t token[NGTCP2_CRYPTO_MAX_REGULAR_TOKENLEN], uint64_t now);

	/* The handshake is complete. True: the server is draining. */
	bool (*handshake_done)(struct quic_server *, struct quic_conn *);

	/* The connection is on another path. */
	void (*path_changed)(struct quic_server *, struct quic_conn *);

	/* The connection may have something to write. */
	void (*touch)(struct quic_server *, struct quic_conn *);

	/*
	 * The oldest connection without an admitted request, or NULL. It is to
	 * be closed, and is not returned again.
	 */
	struct quic_conn *(*take_unused)(struct quic_server *);

	/*
	 * The events of one more stream may fire in this call. False: the next
	 * call goes on.
	 */
	bool (*take_step)(struct quic_server *);

	/* The connection is about to be freed. */
	void (*forget)(struct quic_server *, struct quic_conn *);
};

/* A connection's part, embedded in it as `server`. */
struct conn_server {
	struct quic_server *owner;    /* NULL: the connection is a client's */
	const struct server_ops *ops; /* of the owner */

	/* Private to server.c. */
	struct conn_ids ids;
	LIST_ENTRY(quic_conn) entry;
	TAILQ_ENTRY(quic_conn) dirty_entry;    /* if is_dirty */
	TAILQ_ENTRY(quic_conn) received_entry; /* if has_received */
	bool is_dirty;			       /* may have something to write */
	bool has_received;		       /* has events to deliver */
	bool listed;			 /* in the server's list and heap */
	bool counted;			 /* among the server's connections */
	bool half_open;			 /* counted as a handshake under way */
	struct admission_source *source; /* NULL: not validated yet */

	struct remote_entry remote;    /* remote_index.c */
	struct evict_entry evict;      /* evict.c */
	struct timer_heap_entry timer; /* timer_heap.c */
};

#endif
