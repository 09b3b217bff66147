#ifndef CULVERT_PROXY_LOCAL_HTTP_REWRITE_H
#define CULVERT_PROXY_LOCAL_HTTP_REWRITE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/http1/http1.h"

/*
 * Heads on their way through the proxy (RFC 9110, section 7.6): the fields of
 * the hop they came from stay behind, the fields of the hop they go to are
 * put in, and with `via` Via names us.  All else passes in its order,
 * in the one form that all readers understand alike.
 *
 * Via is for those who ask for it: nginx, as it comes, compresses nothing for a
 * request that has one.  No loop can go unnoticed without it, since requests
 * come in the absolute form and leave in the origin form.
 */

/*
 * Bytes that hold any rewritten head.  A response grows by a CR before each LF
 * and a space after each colon, and by Via, framing and Connection; a request,
 * which is smaller by far, by two bytes for each that is percent-encoded.
 */
#define REWRITE_HEAD_MAX \
	(HTTP1_RESPONSE_HEAD_MAX + 2 * HTTP1_FIELDS_MAX + 512)

/*
 * Writes a request of the absolute form as its origin wants it: origin form,
 * HTTP/1.1, Host from the authority.  The framing is said anew: the body must
 * follow with head.framing.
 *
 * Returns the length in bytes, without a NUL.  -ELOOP: Max-Forwards is 0 in an
 * OPTIONS or TRACE, so that the caller answers it instead of the origin (RFC
 * 9110, section 7.6.2).  -EINVAL: the request is not of the absolute form.
 * -ENOSPC: never with a buffer of REWRITE_HEAD_MAX.
 */
int rewrite_request(const struct http1_request *req, bool via, char *out,
    size_t size);

/*
 * Whether the rewritten request still asks for another protocol (RFC 9110,
 * section 7.8).  HTTP/1.0 may not, and h2c is left out.
 */
bool rewrite_upgrades(const struct http1_request *req);

/*
 * Whether the fields called `name`, WWW-Authenticate or Authorization, have a
 * scheme that authenticates a connection and not a request: NTLM or Negotiate
 * (RFC 4559).
 */
bool rewrite_authenticates(const struct http1_head *head, const char *name);

/*
 * Writes a response as the client gets it.  client_minor is the minor version
 * of its request, keep_alive whether its connection stays open afterwards;
 * where rewrite_framing says HTTP1_UNTIL_CLOSE it cannot, and this function
 * says so to the client whatever keep_alive is.  Interim responses say nothing
 * about the connection; they may not be sent to a client of HTTP/1.0, nor may
 * 101 as the answer to a request of which rewrite_upgrades is false.  A 401
 * that offers to authenticate a connection says that the proxy keeps it for the
 * client, without which some clients do not try (RFC 4559, section 6).
 *
 * Returns the length in bytes, without a NUL, or -ENOSPC, which never happens
 * with a buffer of REWRITE_HEAD_MAX.
 */
int rewrite_response(const struct http1_response *resp, int client_minor,
    bool keep_alive, bool via, char *out, size_t size);

/*
 * Writes the fields of a trailer section that may follow a body (RFC 9110,
 * section 6.5.1), and not the empty line.  `options` are the names of the
 * head's Connection, with commas between.
 *
 * Returns the length in bytes, which may be 0, or -ENOSPC, which never happens
 * with a buffer of twice the section.
 */
int rewrite_trailer(const struct http1_head *trailer, struct slice options,
    char *out, size_t size);

/*
 * How the body must be framed towards the client: as the origin did, except
 * that HTTP1_UNTIL_CLOSE becomes HTTP1_CHUNKED for a client of HTTP/1.1, so
 * that a body cut short can be told from a whole one, and HTTP1_CHUNKED
 * becomes HTTP1_UNTIL_CLOSE for a client of HTTP/1.0, which cannot read it.
 * A chunked body of HTTP/1.0 stays as it is, until the connection closes; and
 * a body with a coding that we do not know becomes HTTP1_CHUNKED, since that
 * is how the client must see it.
 */
enum http1_framing rewrite_framing(const struct http1_response *resp,
    int client_minor);

#endif
