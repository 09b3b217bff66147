#ifndef CULVERT_PROXY_HTTP1_HEAD_H
#define CULVERT_PROXY_HTTP1_HEAD_H

#include "proxy/http1.h"

/*
 * What the two parsers of proxy/http1.c share, and nobody else needs.  Errors
 * are those of http1_request_parse, with head->why set.
 */

/*
 * Looks for the end of the head in buf and refuses octets no head may have.
 * Returns the length of the head, 0 while it is not whole, or -EBADMSG or
 * -EMSGSIZE.  *scanned is kept for the next call.
 */
int http1_head_scan(struct http1_head *head, const char *buf, size_t len,
    size_t *scanned);

/*
 * Cuts the next line, without its CRLF, off a head that http1_head_scan found
 * whole.  The last line is empty; there is none to be cut after it.
 */
struct span http1_head_line(struct span *rest);

/* Sets minor from an HTTP-version, or returns -EBADMSG or -ENOTSUP. */
int http1_head_version(struct http1_head *head, struct span version);

/*
 * Parses all after the start line: sets fields, nfields, framing and length,
 * the last two from the fields alone.  minor must be set.  In a response space
 * before a colon is removed instead of refused (RFC 9112, section 5.1).
 */
int http1_head_parse(struct http1_head *head, struct span rest, bool response);

/* How many fields are called name. */
size_t http1_head_count(const struct http1_head *head, const char *name);

#endif
