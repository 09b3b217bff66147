#ifndef CULVERT_PROXY_LOCAL_UPLINK_H
#define CULVERT_PROXY_LOCAL_UPLINK_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "proxy/addr.h"
#include "proxy/basic.h"
#include "proxy/local/choice.h"
#include "proxy/local/link.h"
#include "proxy/local/refusal.h"
#include "proxy/local/ticket.h"
#include "quic/quic.h"
#include "quic/socket.h"

/*
 * The way to the edge: QUIC connections, made anew when they are lost, and the
 * tunnels that are asked for on them.
 */
struct uplink;

/* Edges in order of preference. */
#define UPLINK_EDGES_MAX CHOICE_EDGES_MAX

/*
 * Connections in all. One serves, a few more where an edge allows few tunnels,
 * and those that drain may take long: beyond, the oldest of them is cut.
 */
#define UPLINK_LINKS_MAX 32

struct uplink_edge {
	struct target target;	/* host and UDP port */
	struct quic_tls *tls;	/* the uplink takes a reference of its own */
};

struct uplink_settings {
	struct uplink_edge edges[UPLINK_EDGES_MAX];
	size_t nedges;
	size_t connections;	 /* to one edge at once, at most; not 0 */
	uint64_t connect_timeout_ms; /* that a client waits for its tunnel */
	struct credentials user; /* for the edge; empty name: none */
	struct quic_settings quic;
	struct quic_via via;	 /* of every socket to the edge */
	const char *qlog_dir;	 /* must outlive the uplink; NULL: none */
};

/* Copies `settings`, and begins to connect. 0 or -ENOMEM. */
int uplink_new(struct uplink **, uv_loop_t *,
    const struct uplink_settings *settings);

/*
 * Refuses who waits, closes the connections with H3_NO_ERROR and frees when
 * the loop has closed the handles. Not legal from inside one of the uplink's
 * callbacks. NULL is a no-op.
 */
void uplink_free(struct uplink *);

/*
 * Takes other settings, as uplink_new() would. New tunnels are asked for under
 * the new user at once; the credentials of edges are for the connections to
 * come, and those that are up go on. Connections to an edge that is not among
 * them any more finish their tunnels. Without edges, those before stay. 0, or
 * -ENOMEM: nothing has changed.
 */
int uplink_reload(struct uplink *, const struct uplink_settings *);

/*
 * Drops all connections, with every tunnel on them, and connects again. The
 * drop happens in the next turn of the loop.
 */
void uplink_reconnect(struct uplink *);

/* Looks for larger path MTUs now; nothing when it is not up. */
void uplink_reprobe(struct uplink *);

/* ---- Asking for a tunnel ---- */

/*
 * Asks the edge for a tunnel to `target`, which must stay where it is until
 * the answer: the events of ticket.h tell of it, within the connect time-out
 * while there is no connection or no room, and TICKET_GRACE_MS more once the
 * edge was asked. At once, when it is known that no edge can be used.
 */
void uplink_open(struct uplink *, struct ticket *, const struct target *target,
    const struct ticket_events *events, void *arg);

/* Withdraws the request: no event follows. Fine when none is pending. */
void uplink_cancel(struct ticket *);

/* ---- Looking at it ---- */

enum uplink_state {
	UPLINK_CONNECTING, /* a handshake is under way, or a name look-up */
	UPLINK_UP,
	UPLINK_DOWN	   /* the last attempt failed; the next one waits */
};

/* One connection to an edge. */
struct uplink_connection {
	enum link_state state;
	bool silent;		   /* the edge owes an answer for long */
	char edge[TARGET_STRLEN];  /* as configured */
	char address[ADDR_STRLEN];
	size_t tunnels;		   /* requests without an answer included */
};

struct uplink_status {
	enum uplink_state state;
	char edge[TARGET_STRLEN];  /* in use or last tried, as configured */
	char address[ADDR_STRLEN]; /* of it; empty before the look-up */
	char error[REFUSAL_TEXT_MAX]; /* why it is not up; empty: no failure */
	uint64_t reconnects;	   /* connections that took over */
	uint64_t migrations;	   /* changes of path, of all connections */
	uint64_t opened;	   /* tunnels that the edge granted */
	uint64_t failed;	   /* tunnels that were refused or timed out */
	size_t open;		   /* tunnels on all connections */
	size_t waiting;		   /* clients that wait for a tunnel now */
	struct quic_stats quic;	   /* of the one in use; zero unless UP */
	struct uplink_connection connections[UPLINK_LINKS_MAX];
	size_t nconnections;
};
void uplink_status(const struct uplink *, struct uplink_status *);

#endif
