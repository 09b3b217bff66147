#ifndef CULVERT_PROXY_LOCAL_BODY_H
#define CULVERT_PROXY_LOCAL_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/chunked.h"
#include "proxy/http1.h"

/*
 * The body of a message while it comes in, whatever finds its end (RFC 9112
 * §6.3).  Pure; nothing is copied.
 */
struct body {
	/* For the owner to read. */
	enum http1_framing framing;
	bool complete; /* every byte has been taken */

	/* Private. */
	uint64_t left; /* bytes of HTTP1_LENGTH to come */
	struct chunked chunked;
};

/* Begins the body that `head` announces; complete at once if that is none. */
void body_init(struct body *, const struct http1_head *head);

/*
 * Takes some of the `len` bytes at `in`; call again with the rest until it is
 * used up or the body is complete.  *used is how many were taken, and (*data,
 * *datalen) is the content among them: one span inside `in`, possibly of no
 * bytes.  What is left when the body is complete belongs to the next message.
 *
 * 0, or -EBADMSG for good: the chunked coding is malformed.
 */
int body_take(struct body *, const uint8_t *in, size_t len, size_t *used,
    const uint8_t **data, size_t *datalen);

/*
 * The sender has closed its direction.  Returns whether the body is complete:
 * HTTP1_UNTIL_CLOSE becomes so by this, any other was cut short if it was not.
 */
bool body_end(struct body *);

#endif
