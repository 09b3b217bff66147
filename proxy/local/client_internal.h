#ifndef CULVERT_PROXY_LOCAL_CLIENT_INTERNAL_H
#define CULVERT_PROXY_LOCAL_CLIENT_INTERNAL_H

#include "proxy/local/client.h"
#include "proxy/local/limits.h"
#include "proxy/local/upstream/connect_error.h"
#include "proxy/local/upstream/tunnel_request.h"
#include "proxy/relay.h"
#include "proxy/base/users.h"

/*
 * What the files of a client share: its insides, and what they do for each
 * other. Nobody else includes this. To go on with a client may close it, but
 * its memory stays until the loop has closed the handles: who has called may
 * look at `closing` and the state.
 */
enum client_state {
	CLIENT_NEGOTIATING,
	CLIENT_CHECKING,
	CLIENT_WAITING,
	CLIENT_TUNNEL,
	CLIENT_EXCHANGE,
	CLIENT_LINGERING
};

enum client_kind {
	CLIENT_NEW,
	CLIENT_SOCKS4,
	CLIENT_SOCKS5,
	CLIENT_CONNECT,
	CLIENT_HTTP
};

struct client {
	struct relay relay; /* first: its callbacks find us by it */
	struct client_host *host;
	LIST_ENTRY(client) entry;
	uv_timer_t timer;
	uv_shutdown_t shutdown;
	unsigned handles; /* tcp and timer */
	bool closing;

	enum client_state state;
	enum client_kind kind;
	struct client_origin origin;
	enum limit armed;  /* what the timer is about, ... */
	uint64_t moved;	   /* ... and for an idle tunnel, bytes so far */
	struct traffic_share share; /* of what all move */
	uint64_t started_ms;
	struct target target;
	struct tunnel_request ticket;
	struct users_check *check;
	struct socks *socks;	 /* during a SOCKS negotiation */
	struct exchange *forward; /* of a client of plain HTTP */
	bool head_begun;	 /* bytes of a head have come: HEAD_TIMEOUT */
	bool authorized;	 /* the head at the buffer's start has passed */
	bool overloaded;	 /* its password was not checked: no tunnel */
	bool eof_seen;		 /* nothing more comes from it */
	bool gone;		 /* what it sent before has yet to leave */
	bool logged;		 /* a refusal says more than the close does */

	char *buf;
	size_t len, cap, scanned;
	size_t said; /* of buf, ahead of the answer, on the ticket's stream */
};

/* ---- client.c ---- */

/* Speaks HTTP/1.1, and not SOCKS. */
bool client_is_http(const struct client *);

/*
 * The client is gone. It closes, unless the origin has yet to get of a request
 * what came before. Static text.
 */
void client_gone(struct client *, const char *reason);

/* What the client has sent goes on its way, unless that takes for ever. */
void client_wind_up(struct client *);

/* Closes in any state; the first reason counts. Static text. */
void client_close(struct client *, const char *reason);

/* Notes the bytes that it has moved. Nothing when it is closing. */
void client_note(struct client *);

/*
 * The line in the log now, with a reason that says more than the close will:
 * no other follows.
 */
void client_log_end(struct client *, const char *reason);

/* Begins or goes on to read; nothing when it is closing. */
void client_start_reading(struct client *);

/* Does what can be done with the bytes that are here, in the state it is in. */
void client_process(struct client *);

/* The first `n` bytes of the buffer are dealt with. */
void client_drop(struct client *, size_t n);

/* Gives the buffer back, and what is in it. */
void client_free_buffer(struct client *);

/* The time of `limit` runs from now, in place of the one that ran before. */
void client_arm(struct client *, enum limit limit);

/* Says something short. False: the socket does not take it, so close. */
bool client_say(struct client *, const void *bytes, size_t n);

/*
 * The last word: says it, logs `why` as the end of the session, and lingers or
 * closes.
 */
void client_say_last(struct client *, const void *bytes, size_t n,
    const char *why);

/* All is said: ends the sending side and waits for the client's FIN. */
void client_linger(struct client *);

/*
 * Has the password checked. The verdict is carried out before this returns, or
 * reading stops, the state is CLIENT_CHECKING, and the client goes on by itself
 * when it is known.
 */
void client_check(struct client *, const struct credentials *);

/* ---- client_socks.c ---- */

/* One step of the negotiation. False: more bytes are needed. */
bool client_socks_step(struct client *);

/* Says what socks->out holds, before more is read ... */
void client_socks_say(struct client *);

/*
 * ... or as the last word, for the reason that is in socks->why, unless the log
 * has another one already.
 */
void client_socks_say_last(struct client *);

/* ---- client_http.c ---- */

/* One request head. False: more bytes are needed. */
bool client_http_step(struct client *);

/* The body of the request under way. False: no more of it can be taken. */
bool client_http_exchange(struct client *);

/* The exchange under way has carried nothing for too long: ends it. */
void client_http_idle(struct client *);
void client_http_slow(struct client *);

/* A page that says what is wrong, as the last word. Static text. */
void client_http_error(struct client *, int status, const char *text);

/* The same, of a tunnel or an exchange that is refused. */
void client_http_refuse(struct client *, const struct connect_error *);

/* The last word to a client that speaks TLS where no TLS is spoken. */
void client_http_refuse_tls(struct client *);

/* ---- client_tunnel.c ---- */

/* There are too many from this address. */
extern const struct connect_error client_crowded;

/* There are too many passwords to check. */
extern const struct connect_error client_overloaded;

/* Asks for a tunnel to `target`, and says how that went. */
void client_tunnel_open(struct client *, const struct target *target);

/* The exchange has become a tunnel, of which `stream` is the far side. */
void client_tunnel_switch(struct client *, struct quic_stream *stream);

/*
 * Passes on what has come since, ahead of the answer, on the ticket's stream;
 * what there is no memory for follows after it.
 */
void client_tunnel_say_ahead(struct client *);

#endif
