#ifndef CULVERT_PROXY_LOCAL_HTTP_EXCHANGE_H
#define CULVERT_PROXY_LOCAL_HTTP_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

#include "proxy/http1/chunked.h"
#include "proxy/http1/http1.h"
#include "proxy/local/upstream/pool.h"

/*
 * Plain HTTP through the proxy: requests in the absolute form, one after
 * another on a client's connection, each to the origin that it names
 * (RFC 9110 §7.6, RFC 9112 §3.2.2).
 *
 * The client session reads the client's TCP connection and parses heads; a
 * forward carries one exchange at a time to the origin, over a tunnel that it
 * keeps for the next request to the same origin, and writes the response to
 * the client's TCP connection itself. A tunnel that the client authenticates
 * (NTLM, Negotiate) is kept for as long as the client's connection and the
 * origin last, whatever else the client asks for meanwhile.
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
	 * given: feed on.
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
	 * side of the client's connection, and feed on until `done`. Without
	 * this event a response that is complete before its request changes
	 * nothing.
	 */
	void (*last)(void *arg);

	/*
	 * The origin has switched to a protocol that the request has asked for
	 * (RFC 9110 §7.8), 101 is written and the request is complete: nothing
	 * is under way any more. The stream is the handler's, which must attach
	 * itself before it returns; and what exchange_feed() did not take is
	 * the new protocol's, as is all that the client sends from now on.
	 */
	void (*switched)(void *arg, struct quic_stream *stream);

	/*
	 * There is no response, and nothing was written but, it may be, 1xx:
	 * answer with this and close gracefully. Valid during the call.
	 */
	void (*refused)(void *arg, const struct connect_error *);

	/*
	 * The response was cut short: the client's connection must be reset,
	 * so that it does not look complete. If libuv has something to write
	 * yet, the handle must be closed before the handler returns; else what
	 * the kernel has should be delivered first. Static text.
	 */
	void (*broken)(void *arg, const char *reason);

	/*
	 * A tunnel is gone that the client had authenticated, or was about to:
	 * between two exchanges, or under a request that has no byte of an
	 * answer and may not be sent again. The client's connection must be
	 * closed, gracefully and without an answer, so that the client begins
	 * anew as if it had talked to the origin itself.
	 */
	void (*left)(void *arg);

	/*
	 * The client does not take the response, of which the rest is dropped;
	 * its request is not complete: feed on, and exchange_free() when
	 * nothing more comes.
	 */
	void (*unwanted)(void *arg);
};

/*
 * Makes a forward for the client on `tcp`, which must outlive it, and which
 * nobody else writes to while an exchange is under way. With `via`, requests
 * and responses name this proxy (RFC 9110 §7.6.3). -ENOMEM.
 */
int exchange_new(struct exchange **, uv_tcp_t *tcp, struct pool *, bool via,
    const struct exchange_events *, void *arg);

/*
 * Begins an exchange: a request of the absolute form, while no other is under
 * way; from inside `done` is fine. What is needed of `req` is copied. Its
 * body, if req->head.framing says that there is one, must be fed as it comes
 * off the wire.
 *
 * 0, or the negative errno of rewrite_request(), or -ENOMEM: nothing was
 * begun, and the caller answers.
 */
int exchange_request(struct exchange *, const struct http1_request *req);

/*
 * Hands over bytes read from the client after the head. Returns how many were
 * taken: fewer than `len` when the origin is slow (stop reading: `writable`
 * follows) or when the request's body is complete (the rest is the next
 * request, which waits for `done`, or what comes after `switched`). -EBADMSG:
 * the body is malformed; -ENOMEM. After an error the exchange is over without
 * an event, and before the loop goes on the caller answers (400, 503) if
 * exchange_unanswered(), else resets and closes the handle.
 */
ssize_t exchange_feed(struct exchange *, const uint8_t *data, size_t len);

/*
 * To be called after each exchange_feed() that took something, when the rest is
 * where it is to stay: where only the end of the request was missing, the
 * exchange is over, and `done` or `switched` comes from inside this call.
 */
void exchange_fed(struct exchange *);

/* After -EBADMSG of exchange_feed: what is wrong, as chunked_why() says it. */
void exchange_why(const struct exchange *, char out[CHUNKED_WHY_MAX]);

/* Nothing of the final response is on its way to the client. */
bool exchange_unanswered(const struct exchange *);

/*
 * Something that was handed over, or of the head, has not left for the origin:
 * `writable` follows when it may. False when nothing is under way.
 */
bool exchange_is_behind(struct exchange *);

/* There is no tunnel yet, and the uplink sees to the time that it takes. */
bool exchange_is_opening(const struct exchange *);

/*
 * Ends the exchange, if one is under way; no event follows. What the origin
 * was sent arrives. The client's handle: as with exchange_free().
 */
void exchange_abandon(struct exchange *);

/* The client's request is complete: what it sends now is the next one. */
bool exchange_request_complete(const struct exchange *);

/*
 * Drops everything, the tunnel to the origin included; no event follows. NULL
 * is a no-op. If an exchange was under way, the caller has closed the client's
 * handle or does so before the loop goes on, since content that is being
 * written goes with the tunnel; memory that such a write needs goes when libuv
 * has cancelled it.
 */
void exchange_free(struct exchange *);

/*
 * Bytes of all exchanges so far, heads and framing included: sent to origins,
 * and taken by the client's kernel.
 */
void exchange_bytes(const struct exchange *, uint64_t *up, uint64_t *down);

#endif
