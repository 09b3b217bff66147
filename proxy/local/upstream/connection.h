#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_CONNECTION_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uv.h>

#include "proxy/base/addr.h"
#include "quic/quic.h"
#include "quic/socket.h"

/*
 * One QUIC connection to one address of an edge, with its sockets, and whether
 * the edge still seems to be there. It goes along from network to network.
 *
 *	CONNECTING ──▶ UP ──▶ DRAINING ──▶ OVER
 *	    └──────────┴───────────────────▶
 */
enum connection_state {
	CONNECTION_CONNECTING, /* the handshake is under way */
	CONNECTION_UP, /* takes requests */
	CONNECTION_DRAINING, /* takes none, and ends with its last tunnel */
	CONNECTION_OVER /* has ended; connection_close() is all that is left */
};

/* What the links of an uplink have in common. */
struct connection_host {
	uv_loop_t *loop;
	struct quic_settings quic;
	struct quic_via via;  /* of every socket */
	const char *qlog_dir; /* NULL: none */
	uint64_t migrations;  /* of all of them, since the start; they count */

	/*
	 * A link has changed, and wants to be looked at in the next turn of
	 * the loop. Called from inside events: nothing may be closed here.
	 */
	void (*changed)(void *arg);
	void *arg;
};

struct connection {
	/* For the owner to read. */
	enum connection_state state;
	bool doubted; /* silent or left behind: do not rely on it */
	bool was_up;  /* it has been UP ... */
	bool drained; /* ... or DRAINING: true when it is OVER, too */
	bool hopeless; /* OVER: the next attempt would end the same way */
	bool foreign;  /* ... for it does not speak HTTP/3 over QUIC 1 */
	bool spare;    /* OVER: nobody used it, and the edge needed its room */
	struct quic_conn *conn;
	char address[ADDR_STRLEN];
	char why[QUIC_ERROR_MAX]; /* OVER: a sentence */

	/* For the owner to use. */
	TAILQ_ENTRY(connection) entry;
	bool full; /* set when a request met the peer's limit; then cleared */
	bool counted;	     /* that it has served */
	uint64_t idle_since; /* milliseconds; 0: it is not */

	/* Private. */
	struct connection_host *host;
	struct quic_io *io;
	struct migration *roam;
	struct qlog *qlog; /* NULL: none, and no event for it */
	struct quic_events events;
	uint64_t heard;	  /* packets, when the doubt began */
	bool behind;	  /* on an old network, for good */
	bool silent;	  /* the connection says so */
	bool unreachable; /* the network does */
};

TAILQ_HEAD(connection_list, connection);

/*
 * Opens a socket towards `addr` and begins the handshake with the edge that
 * has the name `name` and the credentials `tls`. 0, or -ENOMEM, or a negative
 * errno of connect(2): there is no way to that address.
 */
int connection_new(struct connection **, struct connection_host *,
    struct quic_tls *tls, const char *name, const struct sockaddr *addr);

/*
 * Notices that an edge which was `doubted` is back. Returns when to call it
 * again, at the latest; `now` and the result are milliseconds of the loop's
 * clock, UINT64_MAX means never.
 */
uint64_t connection_check(struct connection *, uint64_t now);

/*
 * Ends the connection with H3_NO_ERROR, and every tunnel on it. OVER when it
 * returns. `why` is for people.
 */
void connection_end(struct connection *, const char *why);

/*
 * Frees a link in any state; who is not OVER ends as by connection_end(). Not
 * from inside a connection's events.
 */
void connection_close(struct connection *);

/* What the kernel says: the network has changed, or the machine has slept. */
void connection_network_changed(struct connection *);
void connection_slept(struct connection *, uint64_t ns);

/* The edge has answered another link: this one is silent for no good reason. */
void connection_edge_answers(struct connection *);

/* Takes no more requests; the tunnels go on. */
void connection_drain(struct connection *);

/* Streams that are open, requests without an answer included. */
size_t connection_tunnels(const struct connection *);

#endif
