#ifndef CULVERT_PROXY_LOCAL_HTTP_TRAILER_H
#define CULVERT_PROXY_LOCAL_HTTP_TRAILER_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/http1/http1.h"

/*
 * The trailer section of a chunked body (RFC 9110 §6.5): gathered as it comes,
 * which proxy/http1/chunked.h bounds, and then written anew by the rules of
 * heads. What belongs to one hop or must not follow a body stays behind.
 */
struct trailer {
	/* Private. */
	bool response;
	char *options; /* names in Connection, joined by commas, or NULL */
	size_t options_len;
	char *text;
	size_t len, size;
};

/*
 * Begins the trailer section of the message that `head` begins; *t is zeroed or
 * was begun before.  Without memory trailer_add() will say so.
 */
void trailer_begin(struct trailer *t, const struct http1_head *head);

/* Frees what it owns; fine at any time, and twice. */
void trailer_fini(struct trailer *t);

/* Gathers bytes of the section, its empty line included.  0 or -ENOMEM. */
int trailer_add(struct trailer *t, const void *data, size_t len);

/*
 * Writes the section, all of which was gathered, into memory that the caller
 * frees: field lines, and no empty line.  *out is NULL if none is to be passed
 * on.  0, -ENOMEM, or -EBADMSG: a request's is malformed.
 */
int trailer_write(const struct trailer *t, char **out, size_t *len);

#endif
