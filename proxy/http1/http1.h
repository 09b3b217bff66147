#ifndef CULVERT_PROXY_HTTP1_HTTP1_H
#define CULVERT_PROXY_HTTP1_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/addr.h"
#include "proxy/base/slice.h"

/*
 * proxy/http1 parses HTTP/1.1: heads (start line and field lines) here, and the
 * chunked coding in chunked.h.  The plain HTTP front end (proxy/local/http) and
 * the control socket (proxy/control) use it.  It uses only proxy/base.  Pure:
 * no I/O, no allocation.
 *
 * Heads of messages (RFC 9112).  The proxy never forwards a head as received,
 * but writes a new one, see proxy/local/http/rewrite.h.  So a head is rejected
 * only if recipients could still disagree about the new one.  Requests are
 * parsed strictly, since a wrong guess about the end of one allows request
 * smuggling.  Responses are parsed as curl and Chromium parse them, since users
 * expect a page that their browser would show.
 */

/*
 * Bytes of a whole request head, start line to empty line.  Browsers stay
 * below 16 KiB and common servers refuse above 8 to 64 KiB; a longer one is an
 * attack on memory.
 */
#define HTTP1_HEAD_MAX 65536

/* Bytes of a whole response head: the limit of Chromium. */
#define HTTP1_RESPONSE_HEAD_MAX 262144

/*
 * Field lines of one head.  Clients send 20 to 60, and some sites set hundreds
 * of cookies; in a response of the maximum size this leaves 64 bytes for each.
 * The table takes 128 KiB of the stack while a head is parsed, and no memory
 * after that.
 */
#define HTTP1_FIELDS_MAX 4096

/*
 * Names in all Connection fields of one head.  Each field is compared with
 * each of them; normal heads have one to four.
 */
#define HTTP1_OPTIONS_MAX 32

/* Bytes of the sentence about an error, with its NUL. */
#define HTTP1_WHY_MAX 256

/*
 * One field line (RFC 9112, section 5): a token, and a value without OWS.  In
 * a response the value may contain folds, which are line ends followed by
 * whitespace, and controls other than NUL: code that forwards the value must
 * replace them by spaces.
 */
struct http1_field {
	struct slice name;
	struct slice value;
};

/* How the end of the body is determined (RFC 9112, section 6.3). */
enum http1_framing {
	HTTP1_NONE,	  /* there is no body */
	HTTP1_LENGTH,	  /* length bytes, 0 included */
	HTTP1_CHUNKED,	  /* the chunked coding: see proxy/http1/chunked.h */
	HTTP1_UNTIL_CLOSE /* responses only: until the end of the stream */
};

/* The common part of requests and responses. */
struct http1_head {
	/* A response.  Its body is decoded with the same tolerance. */
	bool response;

	/*
	 * It violates RFC 9112, so that sender and reader may disagree about
	 * the end of the message: no other message may follow on the
	 * connection.  In a request, LF alone ends some of the lines.
	 */
	bool odd;

	/* HTTP/1.minor, 0 to 9.  Anything above 0 is treated as 1.1. */
	int minor;

	enum http1_framing framing;

	/*
	 * The value of Content-Length in bytes, below 2^63, or 0 if
	 * !has_length.  A response without a body may contain it (HEAD, 304).
	 */
	uint64_t length;
	bool has_length;

	/*
	 * Whether the connection persists after this message (RFC 9112,
	 * section 9.3).  Never after a request of HTTP/1.0, whose keep-alive a
	 * proxy must ignore, nor after HTTP1_UNTIL_CLOSE or an odd response.
	 */
	bool keep_alive;

	struct http1_field fields[HTTP1_FIELDS_MAX];
	size_t nfields;

	/* The names in the Connection fields (RFC 9110, section 7.6.1). */
	struct slice options[HTTP1_OPTIONS_MAX];
	size_t noptions;

	/*
	 * After an error: the error and its place, as a sentence of printable
	 * ASCII without a full stop.  "" otherwise.
	 */
	char why[HTTP1_WHY_MAX];
};

/* The four forms of a request-target (RFC 9112, section 3.2). */
enum http1_form {
	HTTP1_ORIGIN,	 /* "/path?query": a request to the proxy itself */
	HTTP1_ABSOLUTE,	 /* "http://host/path": to be forwarded */
	HTTP1_AUTHORITY, /* "host:port": only with CONNECT */
	HTTP1_ASTERISK	 /* "*": OPTIONS to the proxy itself */
};

struct http1_request {
	struct http1_head head;

	/* A token, in its original case: compare with slice_is. */
	struct slice method;

	enum http1_form form;

	/*
	 * The destination: for CONNECT its host and port, for the absolute form
	 * those of the URI (port 80 by default; Host is ignored), for the other
	 * two those of the Host field (port 80 by default).  The host is empty
	 * if the field is missing (HTTP/1.0) or empty.
	 */
	struct target authority;

	/*
	 * Path and query, without a fragment.  In the origin form it begins
	 * with '/'.  In the absolute form it may also be empty or begin with
	 * '?': rewrite_request prepends the '/'.  For CONNECT it is empty.  It
	 * may contain spaces, tabs and bytes above 0x7f, which rewrite_request
	 * encodes.
	 */
	struct slice path;

	/* The client waits for 100 (Continue) before it sends the body. */
	bool expect_continue;

	/* The client offers another protocol (RFC 9110, section 7.8). */
	bool upgrade;
};

struct http1_response {
	struct http1_head head;

	/*
	 * From 100 to 199 it is interim: another response follows.  It usually
	 * has three digits, but sites send other numbers; never negative.
	 */
	int status;

	/* The reason phrase; may be empty. Controls are as in a value. */
	struct slice reason;
};

/*
 * Parses the request head at the start of buf, which contains the len bytes
 * read so far.  *scanned is 0 for a new head and belongs to the parser between
 * the calls for one head, so that each byte is scanned once even if the head
 * arrives byte by byte; buf may grow and move in between.  Empty lines before
 * the request are skipped (RFC 9112, section 2.2), and LF alone ends a line of
 * a request without a body.
 *
 * Returns the length of the head in bytes, the empty line included: the body
 * starts there, and the slices point into buf.  Returns 0 if more bytes are
 * needed, with only head.why of *req set.  After an error the caller answers,
 * with the status of http1_error_status and the text head.why, and closes:
 *	-EBADMSG	malformed, or its meaning is ambiguous
 *	-EMSGSIZE	over one of the limits above
 *	-EPROTONOSUPPORT  a transfer coding before chunked
 *	-ENOTSUP	not HTTP/1.x
 */
int http1_request_parse(struct http1_request *req, const char *buf, size_t len,
    size_t *scanned);

/*
 * The same for a response head.  head_request says that it answers a HEAD and
 * so has no body whatever its fields say; nor do 1xx, 204 and 304.
 *
 * It accepts what curl and Chromium accept: lines end with LF, up to four bytes
 * may precede the status line, a missing status is 200, folded lines are
 * joined, lines that are not fields are left out, a transfer coding of chunked
 * overrides Content-Length, and a Content-Length that is not a number is
 * ignored.  "ICY" in place of a version is an old name of HTTP/1.0.  Chunked is
 * not decoded in HTTP/1.0, in which recipients differ: the body ends when the
 * connection closes.
 *
 * Errors are NUL, Content-Lengths that differ, and a first line that is not a
 * status line.  After an error nothing from this peer can be trusted: the
 * caller closes the connection, and answers 502 if the peer is an origin.
 */
int http1_response_parse(struct http1_response *resp, const char *buf,
    size_t len, size_t *scanned, bool head_request);

/* Whether a response may begin with these bytes, given a proper status line. */
bool http1_response_begins(const char *buf, size_t len);

/*
 * Parses a whole trailer section, its empty line included: sets only the fields
 * of *head.  Returns 0, or the errors of a request; in a response only limits
 * are errors.
 */
int http1_trailer_parse(struct http1_head *head, const char *buf, size_t len,
    bool response);

/* The first field called name, whatever its case, or NULL. */
const struct http1_field *
http1_find(const struct http1_head *head, const char *name);

/*
 * Whether token, whatever its case, is a member of the comma-separated list
 * that all the fields called name form together (RFC 9110, section 5.3):
 * http1_lists(head, "connection", SLICE("close")).
 */
bool http1_lists(const struct http1_head *head, const char *name,
    struct slice token);

/* Whether Connection names this field, so that it is for this hop only. */
bool http1_is_option(const struct http1_head *head, struct slice name);

/* The status that answers an error of http1_request_parse. */
int http1_error_status(int error);

/* The reason phrase of a status (RFC 9110, section 15), "" if unknown. */
const char *http1_reason(int status);

/*
 * Writes the head of a response of this program's own, the last one on its
 * connection, to a body of `len` bytes of the media type `type`. `fields` are
 * more field lines, each with its line end.  Returns the bytes written; out has
 * `size` bytes, which the head must fit in.
 */
size_t http1_own_response(char *out, size_t size, int status, const char *type,
    size_t len, const char *fields);

#endif
