#ifndef CULVERT_PROXY_LOCAL_HTTP_REQUEST_H
#define CULVERT_PROXY_LOCAL_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/http1/http1.h"
#include "proxy/local/http/body.h"
#include "quic/quic.h"

/*
 * A request on its way from the client to the stream that leads to its origin:
 * the head as rewrite_request() has it, and the body, framed anew.
 * proxy/local/http/exchange.c drives it, and proxy/local/http/response.h is its
 * other half.
 */
struct request {
	/* For the owner to read. */
	bool keep_alive;  /* the client would keep its connection */
	bool repeatable;  /* may be sent twice (RFC 9110 §9.2.2), no body */
	bool upgrades;	  /* asks for another protocol */
	bool pins;	  /* authenticates its connection: see pinned.h */
	bool head_only;	  /* HEAD: the response has no body */
	int minor;	  /* HTTP/1.minor of the client */
	struct body body; /* what has come of it from the client */
	bool wants_room;  /* request_feed() took less than it was given */
	uint64_t written; /* bytes given to streams, ever */

	/* Private. */
	char *head; /* and later a trailer section, which waits for room, too */
	size_t head_len, head_sent;
};

/*
 * Forgets the last request, and keeps of this one what is needed. 0, or the
 * negative errno of rewrite_request(), or -ENOMEM.
 */
int request_begin(struct request *r, const struct http1_request *req,
    bool via);

/* Frees what it owns; fine at any time, and twice. */
void request_end(struct request *r);

/* Makes ready to be sent once more, over another stream. */
void request_again(struct request *r);

/*
 * Sends as much of the head, or of trailers, as there is room for; again when
 * the stream is writable. 0 or -ENOMEM.
 */
int request_send_head(struct request *r, struct quic_stream *stream);

/* The head is in the stream: the body may follow. */
bool request_head_sent(const struct request *r);

/* All of the request is in the stream. */
bool request_sent(const struct request *r);

/*
 * Takes bytes of the body, once the head is sent. Returns how many: fewer than
 * `len` when the body is complete, or when the stream has no room, and then
 * r->wants_room. -EBADMSG: it is malformed; -ENOMEM.
 */
ssize_t request_feed(struct request *r, struct quic_stream *stream,
    const uint8_t *data, size_t len);

#endif
