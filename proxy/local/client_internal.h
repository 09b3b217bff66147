#ifndef CULVERT_PROXY_LOCAL_CLIENT_INTERNAL_H
#define CULVERT_PROXY_LOCAL_CLIENT_INTERNAL_H

#include "proxy/base/users.h"
#include "proxy/local/client.h"
#include "proxy/local/frontend.h"
#include "proxy/local/limits.h"
#include "proxy/local/outbound/connect_error.h"
#include "proxy/local/outbound/tunnel_request.h"
#include "proxy/relay.h"

/*
 * The insides of a client, for client*.c alone: the core's fields, and what the
 * core does for its front ends. A function here may close the client, but the
 * memory stays until the loop has closed the handles: after a call the caller
 * looks at `closing` and the state.
 */
enum client_state {
	CLIENT_NEGOTIATING,
	CLIENT_CHECKING,
	CLIENT_WAITING,
	CLIENT_TUNNEL,
	CLIENT_EXCHANGE,
	CLIENT_LINGERING
};

struct client {
	struct relay relay; /* first: its callbacks find the client by it */
	struct clients *clients;
	LIST_ENTRY(client) entry;
	uv_timer_t timer;
	uv_shutdown_t shutdown;
	unsigned handles; /* tcp and timer */
	bool closing;

	enum client_state state;
	const struct frontend *frontend; /* NULL: no byte has come */
	void *session;			 /* the front end's own */
	struct client_source source;
	enum limit timer_limit;	    /* which limit the timer runs for */
	uint64_t bytes_seen;	    /* moved when has_moved() last looked */
	struct traffic_share share; /* of the bytes of all clients */
	uint64_t started_ms;
	struct target target;
	struct tunnel_request request;
	struct users_check *check;
	bool head_begun; /* bytes of a request have come: head-timeout runs */
	bool authorized; /* the request at the buffer's start may pass */
	bool head_only;	 /* the request is HEAD: its answer has no body */
	bool overloaded; /* the password was not checked: no tunnel */
	bool eof_seen;	 /* the client sends nothing more */
	bool flushing;	 /* the client is gone, and its request still leaves */
	bool logged;	 /* the line in the log is written */

	char *buf;
	size_t len, cap, scanned;
	size_t sent_early; /* of buf, on the request's stream */
};

/* ---- client.c ---- */

/*
 * The client is gone: closes it, unless the origin has yet to receive a part
 * of the request. `reason` is static text.
 */
void client_disconnected(struct client *, const char *reason);

/* Keeps a client that is gone while its request moves on to the origin. */
void client_flush(struct client *);

/* Closes in any state. The first reason counts; it is static text. */
void client_close(struct client *, const char *reason);

/* Counts the bytes that have moved. Does nothing when closing. */
void client_update_traffic(struct client *);

/*
 * Writes the client's line in the log now, for a reason that says more than
 * that of the close: no other line follows.
 */
void client_log_end(struct client *, const char *reason);

/* Starts reading, or goes on. Does nothing when closing. */
void client_start_reading(struct client *);

/* Has the front end interpret the buffer, as far as the state permits. */
void client_process(struct client *);

/* Removes the first `n` bytes of the buffer. */
void client_consume(struct client *, size_t n);

/* Frees the buffer, and drops what is in it. */
void client_free_buffer(struct client *);

/* Runs the timer for `limit`, in place of any other. */
void client_start_timer(struct client *, enum limit limit);

/* Writes a short answer. False: the socket does not take it; close. */
bool client_write(struct client *, const void *bytes, size_t n);

/*
 * Writes the last answer, logs `why` as the end of the session, and lingers or
 * closes.
 */
void client_write_last(struct client *, const void *bytes, size_t n,
    const char *why);

/* Ends the sending side, and waits for the client's FIN. */
void client_linger(struct client *);

/*
 * Checks a password. Either the front end's `checked` fires before this
 * returns, or the client is CLIENT_CHECKING, reading stops, and `checked` fires
 * from the loop.
 */
void client_check_password(struct client *, const struct credentials *);

/* ---- client_tunnel.c ---- */

/* The source has too many connections. */
extern const struct connect_error client_over_limit;

/* Too many password checks wait. */
extern const struct connect_error client_overloaded;

/*
 * Asks for a tunnel to `target`. The front end's `opened` or `refused` follows,
 * the latter perhaps before this returns.
 */
void client_tunnel_open(struct client *, const struct target *target);

/* The same for a client that needs no protocol: client_forward.c. */
void client_forward(struct client *, const struct target *target);

/*
 * An exchange, which is over, has become a tunnel on `stream`, and has moved
 * so many bytes before.
 */
void client_tunnel_switch(struct client *, struct stream *stream, uint64_t up,
    uint64_t down);

/*
 * Sends what has come since the request, ahead of the edge's response. What
 * there is no memory for follows after it.
 */
void client_tunnel_send_early(struct client *);

#endif
