#ifndef CULVERT_PROXY_LOCAL_HTTP_EXCHANGE_H
#define CULVERT_PROXY_LOCAL_HTTP_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

#include "proxy/http1/chunked.h"
#include "proxy/http1/http1.h"
#include "proxy/local/outbound/route.h"

/*
 * This folder carries plain HTTP: requests in the absolute form, one after
 * another on a client's connection, each to the origin that it names
 * (RFC 9110 §7.6, RFC 9112 §3.2.2).
 *
 *	exchange.h	one client's requests; what the front end uses
 *	request.h, response.h
 *			the two directions of an exchange
 *	body.h, trailer.h
 *			the end of a body, and what follows it
 *	rewrite.h	header fields that the proxy removes or adds
 *	pinned.h	tunnels that a client has authenticated
 *
 * Used by the HTTP front end (proxy/local/client_http.c). It uses proxy/base/,
 * proxy/http1/ and proxy/local/outbound/.
 *
 * The front end reads the client's TCP connection and parses header sections.
 * A struct exchange carries one request and its response at a time, over a
 * tunnel that it keeps for the next request to the same origin, and writes the
 * response to the client's TCP connection itself. A tunnel that the client
 * authenticates (NTLM, Negotiate) is kept for as long as the client's
 * connection and the origin last, whatever else the client asks for meanwhile.
 */
struct exchange;

/*
 * What becomes of an exchange. Events come from the loop, or from inside
 * exchange_fed(), but from no other call of this header; each may call
 * exchange_free(). All members must be set.
 */
struct exchange_events {
	/*
	 * There is room again, after exchange_feed() took less than it was
	 * given: call it again.
	 */
	void (*writable)(void *arg);

	/* exchange_bytes() has grown. It closes nothing and frees nothing. */
	void (*moved)(void *arg);

	/*
	 * The response is complete and written. When `keep_alive`, the request
	 * is complete too, and the next one may be parsed from what
	 * exchange_feed() did not take. Otherwise the client's connection must
	 * be closed, gracefully: the client may still be sending a body that
	 * the origin is no longer there to read.
	 */
	void (*done)(void *arg, bool keep_alive);

	/*
	 * The response is complete and written, and no other follows on this
	 * connection, but the origin still reads the request: end the sending
	 * side of the client's connection, and go on feeding until `done`.
	 * Without this event a response that is complete before its request
	 * changes nothing.
	 */
	void (*response_done)(void *arg);

	/*
	 * The origin has switched to a protocol that the request has asked for
	 * (RFC 9110 §7.8), 101 is written and the request is complete: the
	 * exchange is over. The handler takes the stream over or ends it before
	 * it returns. What exchange_feed() did not take belongs to the new
	 * protocol, as does all that the client sends from now on.
	 */
	void (*switched)(void *arg, struct stream *stream);

	/*
	 * There is no response, and nothing was written but perhaps 1xx: answer
	 * with this error and close gracefully. Valid during the call.
	 */
	void (*refused)(void *arg, const struct connect_error *);

	/*
	 * The response was cut short: the client's connection must be reset,
	 * so that it does not look complete. If libuv still has something to
	 * write, the handle must be closed before the handler returns; else
	 * what the kernel has should be delivered first. Static text.
	 */
	void (*truncated)(void *arg, const char *reason);

	/*
	 * A tunnel is gone that the client had authenticated, or was about to:
	 * between two exchanges, or under a request that has no byte of a
	 * response and may not be sent again. The client's connection must be
	 * closed, gracefully and without an answer, so that the client begins
	 * anew as if it were connected to the origin itself.
	 */
	void (*pinned_closed)(void *arg);

	/*
	 * The client does not take the response, of which the rest is dropped;
	 * its request is not complete: go on feeding, and exchange_free() when
	 * nothing more comes.
	 */
	void (*response_dropped)(void *arg);
};

/*
 * For the client on `tcp`, which must outlive it, and to which nothing else
 * writes while an exchange is under way. Its tunnels take the route of a client
 * of this listener. With `via`, requests and responses name this proxy (RFC
 * 9110 §7.6.3). 0 or -ENOMEM.
 */
int exchange_new(struct exchange **, uv_tcp_t *tcp, const struct routes *,
    unsigned listener, bool via, const struct exchange_events *, void *arg);

/*
 * Whether the client may send this request next, in whatever form; NULL:
 * something that is no request. After 417 it may only repeat the request that
 * was declined: anything else may be the content of that one. If not, close the
 * client's connection without an answer.
 */
bool
exchange_may_follow(const struct exchange *, const struct http1_request *req);

/*
 * Begins an exchange: a request in the absolute form, while no other is under
 * way; also from inside `done`. What is needed of `req` is copied. Its body, if
 * req->head.framing says that there is one, must be fed as it comes off the
 * wire.
 *
 * 0, or the negative errno of rewrite_request(), or -ENOMEM: nothing has begun,
 * and the caller answers.
 */
int exchange_request(struct exchange *, const struct http1_request *req);

/*
 * Passes bytes read from the client after the header section. Returns how many
 * were taken: fewer than `len` when the origin is slow (stop reading:
 * `writable` follows) or when the request's body is complete (the rest is the
 * next request, which waits for `done`, or what comes after `switched`).
 * -EBADMSG: the body is malformed; -ENOMEM. After an error the exchange is over
 * without an event, and before the loop goes on the caller answers (400, 503)
 * if exchange_unanswered(), else resets and closes the handle.
 */
ssize_t exchange_feed(struct exchange *, const uint8_t *data, size_t len);

/*
 * Call it after each exchange_feed() that took something, when the caller's
 * buffer is in order: if only the end of the request was missing, `done` or
 * `switched` fires from inside this call.
 */
void exchange_fed(struct exchange *);

/* After -EBADMSG of exchange_feed: what is wrong, by chunked_why(). */
void exchange_body_error(const struct exchange *, char out[CHUNKED_WHY_MAX]);

/* Whether nothing of the final response is on its way to the client. */
bool exchange_unanswered(const struct exchange *);

/*
 * Whether a part of the request has not left for the origin: `writable` follows
 * when it may. False when nothing is under way.
 */
bool exchange_awaits_origin(struct exchange *);

/* Whether there is no tunnel yet: its outbound limits the time it takes. */
bool exchange_awaits_tunnel(const struct exchange *);

/*
 * Ends the exchange, if one is under way; no event follows. The origin receives
 * what was sent. For the client's handle see exchange_free().
 */
void exchange_abandon(struct exchange *);

/* Whether the request is complete: what the client sends is the next one. */
bool exchange_request_complete(const struct exchange *);

/*
 * Drops everything, the tunnel to the origin included; no event follows. NULL
 * is a no-op. If an exchange was under way, the caller has closed the client's
 * handle or does so before the loop goes on, since the tunnel holds the content
 * that is being written. The exchange's own memory stays until libuv has
 * cancelled that write.
 */
void exchange_free(struct exchange *);

/*
 * Bytes of all exchanges so far, header sections and framing included: sent to
 * origins, and taken by the client's kernel.
 */
void exchange_bytes(const struct exchange *, uint64_t *up, uint64_t *down);

#endif
