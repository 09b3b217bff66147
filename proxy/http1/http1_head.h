#ifndef CULVERT_PROXY_HTTP1_HTTP1_HEAD_H
#define CULVERT_PROXY_HTTP1_HTTP1_HEAD_H

#include "proxy/http1/http1.h"

/*
 * The common part of the two parsers in http1.c, in http1_head.c and
 * http1_framing.c; no other file includes this.  Errors are those of
 * http1_request_parse, with head->why set.  head->response says which of the
 * two calls.
 */

/* Writes the sentence about an error into head->why, and returns the error. */
int http1_head_fail(struct http1_head *head, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Initializes a head before the scan. */
void http1_head_begin(struct http1_head *head, bool response);

/*
 * Searches buf for the end of the head and rejects invalid octets.  Returns the
 * length of the head, 0 while it is incomplete, or -EBADMSG or -EMSGSIZE.
 * *scanned is kept for the next call; *start is the offset of the first line.
 */
int http1_head_scan(struct http1_head *head, const char *buf, size_t len,
    size_t *scanned, size_t *start);

/*
 * Cuts the next line, without its line end, off a complete head.  The last line
 * is empty; do not call it again after that.
 */
struct slice http1_head_line(struct http1_head *head, struct slice *rest);

/*
 * Parses everything after the start line: sets fields, options, framing and
 * length, the last two only from the fields.  minor must be set.
 */
int http1_head_parse(struct http1_head *head, struct slice rest);

/* Sets framing and length from the fields. */
int http1_framing_parse(struct http1_head *head);

/* Cuts spaces, tabs and line ends off both ends. */
struct slice http1_head_trim(struct slice s);

/* Returns the number of fields called name. */
size_t http1_head_count(const struct http1_head *head, const char *name);

#endif
