#ifndef CULVERT_PROXY_LOCAL_HTTP_BODY_H
#define CULVERT_PROXY_LOCAL_HTTP_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/http1/chunked.h"
#include "proxy/http1/http1.h"
#include "proxy/local/http/trailer.h"

/*
 * The body of a message while it comes in, whatever marks its end (RFC 9112
 * §6.3). Pure; only trailers are copied.
 */
struct body {
	/* For the owner to read. */
	enum http1_framing framing;
	bool complete; /* every byte has been taken */

	/* Private. */
	uint64_t left; /* bytes of HTTP1_LENGTH to come */
	struct chunked chunked;
	struct trailer trailer;
};

/*
 * Begins the body that `head` announces; without one it is complete at once. It
 * is zeroed or was begun before.
 */
void body_init(struct body *, const struct http1_head *head);

/* Frees what it owns. Idempotent, and legal at any time. */
void body_fini(struct body *);

/*
 * Takes some of the `len` bytes at `in`; call again with the rest until it is
 * used up or the body is complete. *used is how many were taken, and (*data,
 * *datalen) is the content among them: one span inside `in`, possibly of no
 * bytes. The bytes after a complete body belong to the next message.
 *
 * 0, or -EBADMSG: the chunked coding is malformed, for good; or -ENOMEM.
 */
int body_take(struct body *, const uint8_t *in, size_t len, size_t *used,
    const uint8_t **data, size_t *datalen);

/* The trailer section of a complete body, by trailer_write(). */
int body_trailer(const struct body *, char **out, size_t *len);

/*
 * The sender has closed its direction. Returns whether the body is complete:
 * HTTP1_UNTIL_CLOSE becomes so now, any other was complete before or is cut
 * short.
 */
bool body_end(struct body *);

#endif
