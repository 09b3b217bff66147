#ifndef CULVERT_PROXY_LOCAL_HTTP_TRAILER_H
#define CULVERT_PROXY_LOCAL_HTTP_TRAILER_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/http1/http1.h"

/*
 * The trailer section of a chunked body (RFC 9110 §6.5): gathered as it comes,
 * which proxy/http1/chunked.h limits, and then written anew by the rules of
 * header sections. Fields of one hop, and fields that must not follow a body,
 * are removed.
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
 * Begins the trailer section of the message with the header section `head`; *t
 * is zeroed or was begun before. If memory runs out, trailer_add() fails.
 */
void trailer_begin(struct trailer *t, const struct http1_head *head);

/* Frees what it owns. Idempotent, and legal at any time. */
void trailer_fini(struct trailer *t);

/* Adds bytes of the section, its empty line included. 0 or -ENOMEM. */
int trailer_add(struct trailer *t, const void *data, size_t len);

/*
 * Writes the complete section into memory that the caller frees: field lines,
 * without the empty line. *out is NULL if no field is passed on. 0, -ENOMEM, or
 * -EBADMSG: it is malformed, in a request.
 */
int trailer_write(const struct trailer *t, char **out, size_t *len);

#endif
