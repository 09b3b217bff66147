#ifndef CULVERT_PROXY_HTTP1_H
#define CULVERT_PROXY_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/addr.h"
#include "proxy/span.h"

/*
 * HTTP/1.1 message heads (RFC 9112), read as a proxy must: whatever two
 * recipients could understand differently is refused.  Pure: no I/O, no
 * allocation.  The chunked coding is in proxy/chunked.h and the rewriting of
 * heads on their way through in proxy/local/rewrite.h.
 */

/*
 * Bytes of a whole head, start line to empty line.  Browsers stay below 16 KiB
 * and common servers refuse above 8 to 64 KiB; more is an attack on memory.
 */
#define HTTP1_HEAD_MAX 65536

/* Field lines of one head.  Browsers send about 20, odd API clients 60. */
#define HTTP1_FIELDS_MAX 128

/*
 * Bytes of all Connection values of one head.  Each name in them is compared
 * with each field, and honest ones take less than 100 bytes.
 */
#define HTTP1_CONNECTION_MAX 1024

/* One field line (RFC 9112, section 5): a token, and a value without OWS. */
struct http1_field {
	struct span name;
	struct span value;
};

/* How the end of the body is found (RFC 9112, section 6.3). */
enum http1_framing {
	HTTP1_NONE, /* there is no body */
	HTTP1_LENGTH, /* length bytes, 0 included */
	HTTP1_CHUNKED, /* the chunked coding: see proxy/chunked.h */
	HTTP1_UNTIL_CLOSE /* responses only: all up to the end of the stream */
};

/* What requests and responses have in common. */
struct http1_head {
	/* HTTP/1.minor, 0 to 9.  Anything above 0 is served as 1.1. */
	int minor;

	enum http1_framing framing;

	/*
	 * The value of Content-Length in bytes, below 2^63, or 0 without it.
	 * A response may carry it without having a body (HEAD, 304).
	 */
	uint64_t length;

	/*
	 * Whether the sender keeps its connection after this message (RFC
	 * 9112, section 9.3).  A request of HTTP/1.0 never does, since a proxy
	 * may not believe its keep-alive; nor does HTTP1_UNTIL_CLOSE.
	 */
	bool keep_alive;

	struct http1_field fields[HTTP1_FIELDS_MAX];
	size_t nfields;

	/*
	 * After an error: what is wrong, as a static sentence fit for a log
	 * and for the body of the refusal.  NULL otherwise.
	 */
	const char *why;
};

/* The four forms of a request-target (RFC 9112, section 3.2). */
enum http1_form {
	HTTP1_ORIGIN, /* "/path?query": a request to us */
	HTTP1_ABSOLUTE, /* "http://host/path": to be forwarded */
	HTTP1_AUTHORITY, /* "host:port": CONNECT, and CONNECT alone */
	HTTP1_ASTERISK /* "*": OPTIONS to us */
};

struct http1_request {
	struct http1_head head;

	/* A token, in the case it was sent: compare with span_is. */
	struct span method;

	enum http1_form form;

	/*
	 * Where the request is to go: of CONNECT the host and its port, of the
	 * absolute form the URI's (port 80 by default; Host is not believed),
	 * of the other two the Host field's (port 80 by default).  An empty
	 * host: the field is missing (HTTP/1.0) or empty.
	 */
	struct target authority;

	/*
	 * Path and query.  Of the origin form it begins with '/'.  Of the
	 * absolute form it may also be empty or begin with '?':
	 * rewrite_request puts the '/' before it.  Of CONNECT it is empty.
	 */
	struct span path;

	/* The client waits for 100 (Continue) before it sends the body. */
	bool expect_continue;

	/* The client asks for another protocol (RFC 9110, section 7.8). */
	bool upgrade;
};

struct http1_response {
	struct http1_head head;

	/* 100 to 999.  Below 200 it is interim: another response follows. */
	int status;

	/* The reason phrase; may be empty. */
	struct span reason;
};

/*
 * Parses the request head at the start of buf, which holds the len bytes read
 * so far.  *scanned is 0 for a new head and belongs to the parser between the
 * calls for one head, so that a head which comes a byte at a time is looked at
 * once; buf may grow and move in between.  One empty line before the request
 * is skipped (RFC 9112, section 2.2).
 *
 * Returns the length of the head in bytes, the empty line included: the body
 * starts there, and the spans point into buf.  0: more bytes are needed, and
 * nothing of *req but head.why is set.  Errors end the connection after an
 * answer, for which http1_error_status gives the status and head.why the text:
 *	-EBADMSG	malformed, or its meaning is ambiguous
 *	-EMSGSIZE	over one of the limits above
 *	-EPROTONOSUPPORT  a transfer coding before chunked
 *	-ENOTSUP	not HTTP/1.x
 */
int http1_request_parse(struct http1_request *req, const char *buf, size_t len,
    size_t *scanned);

/*
 * The same for a response head.  head_request says that it answers a HEAD and
 * so has no body whatever its fields say; neither have 1xx, 204 and 304.  The
 * errors mean that nothing from this peer can be trusted any more: close it,
 * and answer 502 if it is an origin's.
 */
int http1_response_parse(struct http1_response *resp, const char *buf,
    size_t len, size_t *scanned, bool head_request);

/* The first field called name, whatever its case, or NULL. */
const struct http1_field *http1_find(const struct http1_head *head,
    const char *name);

/*
 * Whether token, whatever its case, is a member of the comma-separated list
 * that all the fields called name make together (RFC 9110, section 5.3):
 * http1_lists(head, "connection", SPAN("close")).
 */
bool http1_lists(const struct http1_head *head, const char *name,
    struct span token);

/* The status that answers an error of http1_request_parse. */
int http1_error_status(int error);

/* The reason phrase of a status (RFC 9110, section 15), "" when unknown. */
const char *http1_reason(int status);

#endif
