#ifndef CULVERT_PROXY_LOCAL_FORWARD_H
#define CULVERT_PROXY_LOCAL_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

#include "proxy/chunked.h"
#include "proxy/http1.h"
#include "proxy/local/uplink.h"

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
struct forward;

/*
 * What becomes of an exchange. Events come from the loop, or from inside
 * forward_fed(), but from no other call of this header; each may call
 * forward_free(). All members must be set.
 */
struct forward_events {
	/*
	 * There is room again, after forward_feed() took less than it was
	 * given: feed on.
	 */
	void (*writable)(void *arg);

	/* forward_bytes() has grown. It closes nothing and frees nothing. */
	void (*moved)(void *arg);

	/*
	 * The response is complete and written. When `keep_alive`, the request
	 * is complete too, and the next one may be parsed from what
	 * forward_feed() did not take. Otherwise the client's connection must
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
	 * itself before it returns; and what forward_feed() did not take is
	 * the new protocol's, as is all that the client sends from now on.
	 */
	void (*switched)(void *arg, struct quic_stream *stream);

	/*
	 * There is no response, and nothing was written but, it may be, 1xx:
	 * answer with this and close gracefully. Valid during the call.
	 */
	void (*refused)(void *arg, const struct refusal *);

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
	 * its request is not complete: feed on, and forward_free() when nothing
	 * more comes.
	 */
	void (*unwanted)(void *arg);
};

/*
 * Makes a forward for the client on `tcp`, which must outlive it, and which
 * nobody else writes to while an exchange is under way. With `via`, requests
 * and responses name this proxy (RFC 9110 §7.6.3). -ENOMEM.
 */
int forward_new(struct forward **, uv_tcp_t *tcp, struct uplink *, bool via,
    const struct forward_events *, void *arg);

/*
 * Begins an exchange: a request of the absolute form, while no other is under
 * way; from inside `done` is fine. What is needed of `req` is copied. Its
 * body, if req->head.framing says that there is one, must be fed as it comes
 * off the wire.
 *
 * 0, or the negative errno of rewrite_request(), or -ENOMEM: nothing was
 * begun, and the caller answers.
 */
int forward_request(struct forward *, const struct http1_request *req);

/*
 * Hands over bytes read from the client after the head. Returns how many were
 * taken: fewer than `len` when the origin is slow (stop reading: `writable`
 * follows) or when the request's body is complete (the rest is the next
 * request, which waits for `done`, or what comes after `switched`). -EBADMSG:
 * the body is malformed; -ENOMEM. After an error the exchange is over without
 * an event, and before the loop goes on the caller answers (400, 503) if
 * forward_unanswered(), else resets and closes the handle.
 */
ssize_t forward_feed(struct forward *, const uint8_t *data, size_t len);

/*
 * To be called after each forward_feed() that took something, when the rest is
 * where it is to stay: where only the end of the request was missing, the
 * exchange is over, and `done` or `switched` comes from inside this call.
 */
void forward_fed(struct forward *);

/* After -EBADMSG of forward_feed: what is wrong, as chunked_why() says it. */
void forward_why(const struct forward *, char out[CHUNKED_WHY_MAX]);

/* Nothing of the final response is on its way to the client. */
bool forward_unanswered(const struct forward *);

/*
 * Something that was handed over, or of the head, has not left for the origin:
 * `writable` follows when it may. False when nothing is under way.
 */
bool forward_is_behind(struct forward *);

/* There is no tunnel yet, and the uplink sees to the time that it takes. */
bool forward_is_opening(const struct forward *);

/*
 * Ends the exchange, if one is under way; no event follows. What the origin
 * was sent arrives. The client's handle: as with forward_free().
 */
void forward_abandon(struct forward *);

/* The client's request is complete: what it sends now is the next one. */
bool forward_request_complete(const struct forward *);

/*
 * Drops everything, the tunnel to the origin included; no event follows. NULL
 * is a no-op. If an exchange was under way, the caller has closed the client's
 * handle or does so before the loop goes on, since content that is being
 * written goes with the tunnel; memory that such a write needs goes when libuv
 * has cancelled it.
 */
void forward_free(struct forward *);

/*
 * Bytes of all exchanges so far, heads and framing included: sent to origins,
 * and taken by the client's kernel.
 */
void forward_bytes(const struct forward *, uint64_t *up, uint64_t *down);

#endif
