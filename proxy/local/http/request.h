#ifndef CULVERT_PROXY_LOCAL_HTTP_REQUEST_H
#define CULVERT_PROXY_LOCAL_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/base/stream.h"
#include "proxy/http1/http1.h"
#include "proxy/local/http/body.h"

/*
 * A request between the client and the stream to its origin: the header section
 * as rewrite_request() writes it, and the body, framed anew. exchange.c drives
 * it.
 */
struct request {
	/* For the owner to read. */
	bool keep_alive;    /* the client would keep its connection */
	bool repeatable;    /* may be sent twice (RFC 9110 §9.2.2), no body */
	bool upgrades;	    /* asks for another protocol */
	bool authenticates; /* its connection, see pinned.h */
	bool head_only;	    /* HEAD: the response has no body */
	bool body_held;	    /* the body, which awaits 100, has not begun */
	int minor;	    /* HTTP/1.minor of the client */
	struct body body;   /* as far as the client has sent it */
	bool awaits_room;   /* request_feed() took less than it was given */
	uint64_t written;   /* bytes given to streams, ever */

	/*
	 * The method and the target as the client wrote them, with a NUL, of a
	 * request whose body is held; else NULL. Its owner may take it.
	 */
	char *line;

	/* Private. */
	char *head; /* later a trailer section, which may wait for room, too */
	size_t head_len, head_sent;
};

/*
 * Drops the last request, and copies what is needed of this one. 0, or the
 * negative errno of rewrite_request(), or -ENOMEM.
 */
int request_begin(struct request *r, const struct http1_request *req, bool via);

/* Frees what it owns. Idempotent, and legal at any time. */
void request_end(struct request *r);

/* Whether `line`, of an earlier request, is that of this one. */
bool request_is(const char *line, const struct http1_request *req);

/* Prepares it to be sent again, on another stream. */
void request_rewind(struct request *r);

/*
 * Sends as much of the header section, or of the trailer section, as there is
 * room for; call it again when the stream is writable. 0 or -ENOMEM.
 */
int request_send_head(struct request *r, struct stream *stream);

/* Whether the header section is in the stream: the body may follow. */
bool request_head_sent(const struct request *r);

/* Whether all of the request is in the stream. */
bool request_sent(const struct request *r);

/*
 * Takes bytes of the body, once the header section is sent. Returns how many:
 * fewer than `len` when the body is complete, or when the stream has no room,
 * and then r->awaits_room is set. -EBADMSG: it is malformed; -ENOMEM.
 */
ssize_t request_feed(struct request *r, struct stream *stream,
    const uint8_t *data, size_t len);

#endif
