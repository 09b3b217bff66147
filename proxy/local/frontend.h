#ifndef CULVERT_PROXY_LOCAL_FRONTEND_H
#define CULVERT_PROXY_LOCAL_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/users.h"
#include "proxy/local/limits.h"

/*
 * A front end: one protocol in which clients ask for tunnels. The client core
 * (client.c, client_tunnel.c) reads bytes, runs timers and closes; the front
 * end interprets the bytes and phrases the answers. The core calls it through
 * this struct alone, and frontend_detect() is the only place that lists them.
 *
 * Any of these functions may close the client, whose memory stays until the
 * loop has closed its handles.
 */
struct client;
struct connect_error;

struct frontend {
	const char *name; /* for the log and the status; NULL: none */

	/*
	 * Interprets the bytes in the buffer, at least one, of a client that
	 * is NEGOTIATING or in an EXCHANGE. False: more bytes must come first,
	 * or the state has changed.
	 */
	bool (*step)(struct client *);

	/* The password that client_check_password() was given is checked. */
	void (*checked)(struct client *, enum users_verdict);

	/* Reports to the client that its tunnel is open. False: it is gone. */
	bool (*opened)(struct client *);

	/* Reports to the client that there is no tunnel, as the last answer. */
	void (*refused)(struct client *, const struct connect_error *);

	/*
	 * A time limit is over. False: the core closes the client. NULL: the
	 * same in all cases.
	 */
	bool (*expired)(struct client *, enum limit);

	/* Frees the session. NULL: the client never has one. */
	void (*end)(struct client *);

	/*
	 * For a front end with clients in an EXCHANGE, else NULL. Whether the
	 * exchange waits for its tunnel, which has a time limit of its own;
	 * for the response to a request that is complete; for the origin to
	 * take more of the request.
	 */
	bool (*awaits_tunnel)(const struct client *);
	bool (*awaits_response)(const struct client *);
	bool (*awaits_origin)(const struct client *);

	/* Bytes that exchanges have carried. NULL: none. */
	void (*bytes)(const struct client *, uint64_t *up, uint64_t *down);
};

extern const struct frontend frontend_socks4, frontend_socks5;
extern const struct frontend frontend_connect, frontend_http;
extern const struct frontend frontend_tls;
extern const struct frontend frontend_forward;

/* The front end of a client that begins with this byte. */
const struct frontend *frontend_detect(uint8_t first);

#endif
