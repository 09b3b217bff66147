#ifndef CULVERT_PROXY_HTTP1_HTTP1_HEAD_H
#define CULVERT_PROXY_HTTP1_HTTP1_HEAD_H

#include "proxy/http1/http1.h"

/*
 * What the two parsers of proxy/http1/http1.c share, and nobody else needs.
 * Errors are those of http1_request_parse, with head->why set.  head->response
 * says which of the two it is.
 */

/* Writes the sentence about an error into head->why, and returns the error. */
int http1_head_fail(struct http1_head *head, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Readies a head to be scanned and parsed. */
void http1_head_begin(struct http1_head *head, bool response);

/*
 * Looks for the end of the head in buf and refuses octets that it may not
 * have.  Returns the length of the head, 0 while it is not whole, or -EBADMSG
 * or -EMSGSIZE.  *scanned is kept for the next call; *start is where the first
 * line begins.
 */
int http1_head_scan(struct http1_head *head, const char *buf, size_t len,
    size_t *scanned, size_t *start);

/*
 * Cuts the next line, without its line end, off a head that http1_head_scan
 * found whole.  The last line is empty; there is none to be cut after it.
 */
struct slice http1_head_line(struct http1_head *head, struct slice *rest);

/*
 * Parses all after the start line: sets fields, options, framing and length,
 * the last two from the fields alone.  minor must be set.
 */
int http1_head_parse(struct http1_head *head, struct slice rest);

/* How many fields are called name. */
size_t http1_head_count(const struct http1_head *head, const char *name);

#endif
