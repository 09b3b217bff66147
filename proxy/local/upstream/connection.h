#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_CONNECTION_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uv.h>

#include "proxy/base/addr.h"
#include "proxy/local/upstream/network_name.h"
#include "proxy/local/upstream/repair_history.h"
#include "proxy/local/upstream/spread.h"
#include "quic/quic.h"
#include "quic/socket.h"

/*
 * One QUIC connection to one address of an edge, with its socket, and whether
 * the edge still seems to be there. It migrates from network to network.
 *
 *	CONNECTING ──▶ UP ──▶ DRAINING ──▶ CLOSED
 *	    └──────────┴───────────────────▶
 */
enum connection_state {
	CONNECTION_CONNECTING, /* the handshake is under way */
	CONNECTION_UP,	       /* takes requests */
	CONNECTION_DRAINING,   /* takes none, and ends with its last tunnel */
	CONNECTION_CLOSED      /* only connection_free() may follow */
};

/* What all connections of a pool share. */
struct connection_context {
	uv_loop_t *loop;
	struct quic_settings quic;
	struct quic_via via;  /* of every socket */
	const char *qlog_dir; /* NULL: none */
	uint64_t migrations;  /* of all connections, since the start */
	struct repair_history repair_history;

	/*
	 * A connection has changed: look at it in the next loop iteration. It
	 * fires from inside events, where nothing may be freed.
	 */
	void (*changed)(void *arg);
	void *arg;
};

/* Whether it works while another is suspect: for edge_silence.c. */
struct connection_proof {
	bool noted;	  /* the others were asked since it is suspect */
	bool due;	  /* it was asked, and has received nothing yet */
	uint64_t seen;	  /* packets received, at the last look ... */
	uint64_t seen_at; /* milliseconds: ... that showed more */
	uint64_t at;	  /* milliseconds: the answer; 0: it was not asked */
};

/* What it has lost: for edge_losses.c. */
struct connection_losses {
	char network[NETWORK_NAME_MAX]; /* of its path; empty: not known */
	uint64_t network_since;		/* milliseconds */
	uint64_t migrations;
	struct spread_losses noted;    /* since it began */
	struct spread_losses interval; /* in the last interval ... */
	bool learned;		       /* ... which the line's spread knows */
};

struct connection {
	/* For the owner to read. */
	enum connection_state state;
	bool suspect;	/* the edge is silent, or the connection left behind */
	bool was_up;	/* it has been UP ... */
	bool drained;	/* ... or DRAINING: also true when it is CLOSED */
	bool permanent; /* CLOSED: the next attempt would end the same way */
	bool no_h3;	/* ... since the edge has no HTTP/3 over QUIC 1 */
	bool goaway;	/* DRAINING since the edge shuts it down */
	bool evicted;	/* CLOSED while idle: the edge needed its room */
	struct quic_conn *conn;
	char address[ADDR_STRLEN];
	char why[QUIC_ERROR_MAX]; /* CLOSED: a sentence */

	/* For the owner to use. */
	TAILQ_ENTRY(connection) entry;
	bool at_stream_limit; /* set by the owner; cleared when there is room */
	bool has_served;      /* it has been the active connection */
	uint64_t idle_since;  /* milliseconds; 0: it is not idle */
	bool carried;	      /* a request was sent on it */
	struct connection_proof proof;
	struct connection_losses losses;

	/* Private. */
	struct connection_context *context;
	struct quic_io *io;
	struct migration *migration;
	struct qlog *qlog; /* NULL: none, and no event for it */
	struct quic_events events;
	uint64_t packets_seen; /* received when it became suspect */
	bool left_behind;      /* on an old network, for good */
	bool silent;	       /* QUIC reports that an answer is overdue */
	bool unreachable;      /* ICMP reports that no socket is there */
};

TAILQ_HEAD(connection_list, connection);

/*
 * Opens a socket towards `addr` and begins the handshake with the edge that
 * has the name `name` and the credentials `tls`. 0, or -ENOMEM, or a negative
 * errno of connect(2), such as no route to that address.
 */
int connection_new(struct connection **, struct connection_context *,
    struct quic_tls *tls, const char *name, const struct sockaddr *addr);

/*
 * Clears `suspect` if packets have come since it was set. Returns when to call
 * it again at the latest; `now` and the result are milliseconds of the loop's
 * clock, UINT64_MAX means never.
 */
uint64_t connection_check(struct connection *, uint64_t now);

/*
 * Closes with H3_NO_ERROR, and ends every tunnel. The state is CLOSED when it
 * returns. `why` is a sentence.
 */
void connection_close(struct connection *, const char *why);

/*
 * Keeps how much repair the path needs, if it is known, for the connections
 * that follow in that network. The last time is when this one is freed.
 */
void connection_keep_repair(struct connection *, const char *network,
    const struct quic_pulse *);

/* Frees in any state, after a close. Not from inside a connection's events. */
void connection_free(struct connection *);

/* The network has changed, or the machine resumes after `ns` of sleep. */
void connection_network_changed(struct connection *);
void connection_resumed(struct connection *, uint64_t ns);

/* The edge answers on another connection: its silence here is of this path. */
void connection_edge_answers(struct connection *);

/* Takes no more requests; the tunnels go on. */
void connection_drain(struct connection *);

/* Open streams, requests without a response included. */
size_t connection_tunnels(const struct connection *);

#endif
