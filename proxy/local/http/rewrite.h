#ifndef CULVERT_PROXY_LOCAL_HTTP_REWRITE_H
#define CULVERT_PROXY_LOCAL_HTTP_REWRITE_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/http1/http1.h"

/*
 * Header sections between two hops (RFC 9110 §7.6): the fields of the first hop
 * are removed, those of the next hop are added, and with `via` Via names this
 * proxy. All other fields pass in their order, in the one form that all
 * recipients understand alike.
 *
 * Via is optional: nginx, in its default configuration, compresses nothing for
 * a request that has one. It is not needed to detect loops, since requests come
 * in the absolute form and leave in the origin form.
 */

/*
 * Bytes that hold any rewritten header section. A response grows by a CR before
 * each LF and a space after each colon, and by Via, framing and Connection; a
 * request, which is much smaller, by two bytes for each percent-encoded one.
 */
#define REWRITE_HEAD_MAX (HTTP1_RESPONSE_HEAD_MAX + 2 * HTTP1_FIELDS_MAX + 512)

/*
 * Writes a request in the absolute form for its origin: in the origin form, as
 * HTTP/1.1, with Host from the authority. The framing is written anew: the body
 * must follow with head.framing.
 *
 * Returns the length in bytes, without a NUL. -ELOOP: Max-Forwards is 0 in an
 * OPTIONS or TRACE, so that the caller answers it instead of the origin
 * (RFC 9110 §7.6.2). -EINVAL: the request is not in the absolute form.
 * -ENOSPC: never with a buffer of REWRITE_HEAD_MAX.
 */
int rewrite_request(const struct http1_request *req, bool via, char *out,
    size_t size);

/*
 * Whether the rewritten request still asks for another protocol (RFC 9110
 * §7.8). HTTP/1.0 may not, and h2c is left out.
 */
bool rewrite_upgrades(const struct http1_request *req);

/*
 * Whether the fields called `name`, WWW-Authenticate or Authorization, have a
 * scheme that authenticates a connection and not a request: NTLM or Negotiate
 * (RFC 4559).
 */
bool rewrite_authenticates(const struct http1_head *head, const char *name);

/*
 * Writes a response for the client. client_minor is the minor version of its
 * request, keep_alive whether its connection stays open afterwards; if
 * rewrite_framing is HTTP1_UNTIL_CLOSE the connection cannot, and the response
 * says so whatever keep_alive is. Interim responses say nothing about the
 * connection; they may not be sent to a client of HTTP/1.0, nor may 101 in
 * response to a request of which rewrite_upgrades is false. A 401 that offers
 * to authenticate a connection says that the proxy keeps it for the client,
 * without which some clients do not try (RFC 4559 §6).
 *
 * Returns the length in bytes, without a NUL, or -ENOSPC, which never happens
 * with a buffer of REWRITE_HEAD_MAX.
 */
int rewrite_response(const struct http1_response *resp, int client_minor,
    bool keep_alive, bool via, char *out, size_t size);

/*
 * Writes the fields of a trailer section that may follow a body (RFC 9110
 * §6.5.1), without the empty line. `options` are the names in the header
 * section's Connection, with commas between.
 *
 * Returns the length in bytes, which may be 0, or -ENOSPC, which never happens
 * with a buffer of twice the section.
 */
int rewrite_trailer(const struct http1_head *trailer, struct slice options,
    char *out, size_t size);

/*
 * How the body must be framed towards the client: as the origin did, except
 * that HTTP1_UNTIL_CLOSE becomes HTTP1_CHUNKED for a client of HTTP/1.1, so
 * that the client can distinguish a body cut short from a complete one, and
 * HTTP1_CHUNKED becomes HTTP1_UNTIL_CLOSE for a client of HTTP/1.0, which
 * cannot read it. A chunked body of HTTP/1.0 stays as it is, until the
 * connection closes; and a body with an unknown coding becomes HTTP1_CHUNKED,
 * since that is how the client must see it.
 */
enum http1_framing
rewrite_framing(const struct http1_response *resp, int client_minor);

#endif
