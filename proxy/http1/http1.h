#ifndef CULVERT_PROXY_HTTP1_HTTP1_H
#define CULVERT_PROXY_HTTP1_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/base/slice.h"

/*
 * HTTP/1.1 message heads (RFC 9112).  No head is passed on as it came: a fresh
 * one is written, see proxy/local/http/rewrite.h.  So a head is refused only if
 * its readers could still disagree after that.  Requests are read strictly,
 * since a wrong guess about where one ends makes two of it.  Responses are read
 * as curl and Chromium read them, since the user wants the page.
 *
 * Pure: no I/O, no allocation.  The chunked coding is in proxy/http1/chunked.h.
 */

/*
 * Bytes of a whole request head, start line to empty line.  Browsers stay
 * below 16 KiB and common servers refuse above 8 to 64 KiB; more is an attack
 * on memory.
 */
#define HTTP1_HEAD_MAX 65536

/* Bytes of a whole response head: Chromium takes as much. */
#define HTTP1_RESPONSE_HEAD_MAX 262144

/*
 * Field lines of one head.  Clients send 20 to 60; sites that set cookies by
 * the hundred are known, and in a response of the longest size this leaves 64
 * bytes for each.  They take 128 KiB of the stack while a head is parsed, and
 * no memory after that.
 */
#define HTTP1_FIELDS_MAX 4096

/*
 * Names in all Connection fields of one head.  Each field is compared with
 * each of them; honest heads have one to four.
 */
#define HTTP1_OPTIONS_MAX 32

/* Bytes of the sentence about an error, with its NUL. */
#define HTTP1_WHY_MAX 256

/*
 * One field line (RFC 9112, section 5): a token, and a value without OWS.  In
 * a response the value may hold folds, which are line ends with whitespace
 * after them, and controls other than NUL: whoever writes it on puts spaces in
 * their place.
 */
struct http1_field {
	struct slice name;
	struct slice value;
};

/* How the end of the body is found (RFC 9112, section 6.3). */
enum http1_framing {
	HTTP1_NONE, /* there is no body */
	HTTP1_LENGTH, /* length bytes, 0 included */
	HTTP1_CHUNKED, /* the chunked coding: see proxy/http1/chunked.h */
	HTTP1_UNTIL_CLOSE /* responses only: all up to the end of the stream */
};

/* What requests and responses have in common. */
struct http1_head {
	/* It is a response's.  Its body is read with the same tolerance. */
	bool response;

	/*
	 * It is not written as RFC 9112 wants it, so that sender and reader may
	 * disagree about where the message ends: no other message may follow
	 * on the connection.  In a request, LF alone ends some of the lines.
	 */
	bool odd;

	/* HTTP/1.minor, 0 to 9.  Anything above 0 is served as 1.1. */
	int minor;

	enum http1_framing framing;

	/*
	 * The value of Content-Length in bytes, below 2^63, or 0 if
	 * !has_length.  A response may carry it without having a body (HEAD,
	 * 304).
	 */
	uint64_t length;
	bool has_length;

	/*
	 * Whether the sender keeps its connection after this message (RFC
	 * 9112, section 9.3).  A request of HTTP/1.0 never does, since a proxy
	 * may not believe its keep-alive; nor do HTTP1_UNTIL_CLOSE and an odd
	 * response.
	 */
	bool keep_alive;

	struct http1_field fields[HTTP1_FIELDS_MAX];
	size_t nfields;

	/* The names in the Connection fields (RFC 9110, section 7.6.1). */
	struct slice options[HTTP1_OPTIONS_MAX];
	size_t noptions;

	/*
	 * After an error: what is wrong and where, as a sentence of printable
	 * ASCII without a full stop.  "" otherwise.
	 */
	char why[HTTP1_WHY_MAX];
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

	/* A token, in the case it was sent: compare with slice_is. */
	struct slice method;

	enum http1_form form;

	/*
	 * Where the request is to go: of CONNECT the host and its port, of the
	 * absolute form the URI's (port 80 by default; Host is not believed),
	 * of the other two the Host field's (port 80 by default).  An empty
	 * host: the field is missing (HTTP/1.0) or empty.
	 */
	struct target authority;

	/*
	 * Path and query, without a fragment.  Of the origin form it begins
	 * with '/'.  Of the absolute form it may also be empty or begin with
	 * '?': rewrite_request puts the '/' before it.  Of CONNECT it is empty.
	 * It may hold spaces, tabs and bytes above 0x7f, which rewrite_request
	 * encodes.
	 */
	struct slice path;

	/* The client waits for 100 (Continue) before it sends the body. */
	bool expect_continue;

	/* The client asks for another protocol (RFC 9110, section 7.8). */
	bool upgrade;
};

struct http1_response {
	struct http1_head head;

	/*
	 * From 100 to 199 it is interim: another response follows.  Usually
	 * three digits, but sites send what they like; never negative.
	 */
	int status;

	/* The reason phrase; may be empty, and hold controls as values may. */
	struct slice reason;
};

/*
 * Parses the request head at the start of buf, which holds the len bytes read
 * so far.  *scanned is 0 for a new head and belongs to the parser between the
 * calls for one head, so that a head which comes a byte at a time is looked at
 * once; buf may grow and move in between.  Empty lines before the request are
 * skipped (RFC 9112, section 2.2), and LF alone ends a line of a request
 * without a body.
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
 * so has no body whatever its fields say; neither have 1xx, 204 and 304.
 *
 * Read as curl and Chromium read it: lines end with LF, up to four bytes may
 * stand before the status line, a missing status is 200, folded lines are
 * joined, lines that are no field are left out, a transfer coding of chunked
 * wins over Content-Length, and a Content-Length that is no number is none.
 * "ICY" in place of a version is an old name of HTTP/1.0.  Chunked is not
 * decoded in HTTP/1.0, where some readers know it and others do not: the body
 * is what comes until the connection closes.
 *
 * Refused are NUL, Content-Lengths that differ, and what does not begin with a
 * status line.  The errors mean that nothing from this peer can be trusted any
 * more: close it, and answer 502 if it is an origin's.
 */
int http1_response_parse(struct http1_response *resp, const char *buf,
    size_t len, size_t *scanned, bool head_request);

/*
 * Whether a response may begin with these bytes, if nothing else stands before
 * its status line.
 */
bool http1_response_begins(const char *buf, size_t len);

/*
 * Parses a whole trailer section, its empty line included: sets the fields of
 * *head and nothing else.  0, or the errors of a request; those of a response
 * are only limits.
 */
int http1_trailer_parse(struct http1_head *head, const char *buf, size_t len,
    bool response);

/* The first field called name, whatever its case, or NULL. */
const struct http1_field *http1_find(const struct http1_head *head,
    const char *name);

/*
 * Whether token, whatever its case, is a member of the comma-separated list
 * that all the fields called name make together (RFC 9110, section 5.3):
 * http1_lists(head, "connection", SPAN("close")).
 */
bool http1_lists(
    const struct http1_head *head, const char *name, struct slice token);

/* Whether a Connection field names this field, so that it ends at this hop. */
bool http1_is_option(const struct http1_head *head, struct slice name);

/* The status that answers an error of http1_request_parse. */
int http1_error_status(int error);

/* The reason phrase of a status (RFC 9110, section 15), "" when unknown. */
const char *http1_reason(int status);

#endif
