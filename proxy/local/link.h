#ifndef CULVERT_PROXY_LOCAL_LINK_H
#define CULVERT_PROXY_LOCAL_LINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uv.h>

#include "proxy/addr.h"
#include "quic/quic.h"
#include "quic/socket.h"

/*
 * One QUIC connection to one address of an edge, with its sockets, and whether
 * the edge still seems to be there. It goes along from network to network.
 *
 *	CONNECTING ──▶ UP ──▶ DRAINING ──▶ OVER
 *	    └──────────┴───────────────────▶
 */
enum link_state {
	LINK_CONNECTING, /* the handshake is under way */
	LINK_UP,	 /* takes requests */
	LINK_DRAINING,	 /* takes none, and ends with its last tunnel */
	LINK_OVER	 /* has ended; link_close() is all that is left */
};

/* What the links of an uplink have in common. */
struct link_host {
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

struct link {
	/* For the owner to read. */
	enum link_state state;
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
	TAILQ_ENTRY(link) entry;
	bool full; /* set when a request met the peer's limit; then cleared */
	bool counted;	     /* that it has served */
	uint64_t idle_since; /* milliseconds; 0: it is not */

	/* Private. */
	struct link_host *host;
	struct quic_io *io;
	struct roam *roam;
	struct qlog *qlog; /* NULL: none, and no event for it */
	struct quic_events events;
	uint64_t heard;	  /* packets, when the doubt began */
	bool behind;	  /* on an old network, for good */
	bool silent;	  /* the connection says so */
	bool unreachable; /* the network does */
};

TAILQ_HEAD(link_list, link);

/*
 * Opens a socket towards `addr` and begins the handshake with the edge that
 * has the name `name` and the credentials `tls`. 0, or -ENOMEM, or a negative
 * errno of connect(2): there is no way to that address.
 */
int link_new(struct link **, struct link_host *, struct quic_tls *tls,
    const char *name, const struct sockaddr *addr);

/*
 * Notices that an edge which was `doubted` is back. Returns when to call it
 * again, at the latest; `now` and the result are milliseconds of the loop's
 * clock, UINT64_MAX means never.
 */
uint64_t link_check(struct link *, uint64_t now);

/*
 * Ends the connection with H3_NO_ERROR, and every tunnel on it. OVER when it
 * returns. `why` is for people.
 */
void link_end(struct link *, const char *why);

/*
 * Frees a link in any state; who is not OVER ends as by link_end(). Not from
 * inside a connection's events.
 */
void link_close(struct link *);

/* What the kernel says: the network has changed, or the machine has slept. */
void link_network_changed(struct link *);
void link_slept(struct link *, uint64_t ns);

/* The edge has answered another link: this one is silent for no good reason. */
void link_edge_answers(struct link *);

/* Takes no more requests; the tunnels go on. */
void link_drain(struct link *);

/* Streams that are open, requests without an answer included. */
size_t link_tunnels(const struct link *);

#endif
