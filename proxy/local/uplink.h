#ifndef CULVERT_PROXY_LOCAL_UPLINK_H
#define CULVERT_PROXY_LOCAL_UPLINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include <uv.h>

#include "proxy/addr.h"
#include "proxy/basic.h"
#include "proxy/local/refusal.h"
#include "quic/quic.h"
#include "quic/socket.h"

/*
 * The way to the edge: one QUIC connection, made anew when it is lost, and
 * the tunnels that are asked for on it.
 */
struct uplink;

/* Edges in order of preference: a longer list would never be tried out. */
#define UPLINK_EDGES_MAX 8

/* Milliseconds that a client waits for its tunnel: browsers give up later. */
#define UPLINK_CONNECT_TIMEOUT_MS 10000

struct uplink_edge {
	struct target target;	/* host and UDP port */
	struct quic_tls *tls;	/* the uplink takes a reference of its own */
};

struct uplink_settings {
	struct uplink_edge edges[UPLINK_EDGES_MAX];
	size_t nedges;
	struct credentials user; /* for the edge; empty name: none */
	struct quic_settings quic;
	struct quic_via via;	 /* of every socket to the edge */
	const char *qlog_dir;	 /* must outlive the uplink; NULL: none */
};

/* Copies `settings`, and begins to connect. 0 or -ENOMEM. */
int uplink_new(struct uplink **, uv_loop_t *,
    const struct uplink_settings *settings);

/*
 * Refuses who waits, closes the connection with H3_NO_ERROR and frees when
 * the loop has closed the handles. Not legal from inside one of the uplink's
 * callbacks. NULL is a no-op.
 */
void uplink_free(struct uplink *);

/*
 * Takes other settings, as uplink_new() would. New tunnels are asked for under
 * the new user at once; the edges and their credentials are for the connections
 * to come, and the one that is up goes on. Without edges, those before stay.
 */
void uplink_reload(struct uplink *, const struct uplink_settings *);

/*
 * Drops the connection, with every tunnel on it, and connects again. The drop
 * happens in the next turn of the loop.
 */
void uplink_reconnect(struct uplink *);

/* Looks for a larger path MTU now; nothing when it is not up. */
void uplink_reprobe(struct uplink *);

/* ---- Asking for a tunnel ---- */

/*
 * A request for a tunnel, in the caller's memory, zeroed at first. Only
 * uplink.c looks inside.
 */
struct ticket {
	struct uplink *uplink; /* NULL: not waiting */
	struct quic_stream *stream; /* once the request is sent */
	const struct target *target;
	void (*on_opened)(void *arg, struct quic_stream *);
	void (*on_refused)(void *arg, const struct refusal *);
	void *arg;
	uint64_t deadline_ms; /* of the loop's clock */
	TAILQ_ENTRY(ticket) entry;
};

/*
 * Asks the edge for a tunnel to `target`, which must stay where it is until
 * the answer. Exactly one of the callbacks follows, from the loop and never
 * from inside this call, within UPLINK_CONNECT_TIMEOUT_MS or little more.
 *
 * on_opened gets a stream that the edge has joined to the target: it must
 * attach itself to it before it returns. on_refused gets the reason, valid
 * during the call. The ticket may be used again from either.
 */
void uplink_open(struct uplink *, struct ticket *,
    const struct target *target,
    void (*on_opened)(void *arg, struct quic_stream *),
    void (*on_refused)(void *arg, const struct refusal *), void *arg);

/* Withdraws the request: no callback follows. Fine when none is pending. */
void uplink_cancel(struct ticket *);

/* ---- Looking at it ---- */

enum uplink_state {
	UPLINK_CONNECTING, /* a handshake is under way, or a name look-up */
	UPLINK_UP,
	UPLINK_DOWN	   /* the last attempt failed; the next one waits */
};

struct uplink_status {
	enum uplink_state state;
	char edge[TARGET_STRLEN];  /* in use or last tried, as configured */
	char address[ADDR_STRLEN]; /* of it; empty before the look-up */
	char error[REFUSAL_TEXT_MAX]; /* why it is not up; empty: no failure */
	uint64_t reconnects;	   /* connections since the first one */
	uint64_t migrations;	   /* changes of path, of all connections */
	uint64_t opened;	   /* tunnels that the edge granted */
	uint64_t failed;	   /* tunnels that were refused or timed out */
	size_t waiting;		   /* clients that wait for a tunnel now */
	struct quic_stats quic;	   /* zero unless UPLINK_UP */
};
void uplink_status(const struct uplink *, struct uplink_status *);

#endif
