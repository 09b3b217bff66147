#ifndef CULVERT_PROXY_LOCAL_BUILTIN_PAGES_H
#define CULVERT_PROXY_LOCAL_BUILTIN_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "proxy/http1/http1.h"

/*
 * The proxy's own HTTP responses: pages at its own port, and errors. Pure. All
 * of them end the connection.
 */

/* Bytes that hold any of these responses. */
#define BUILTIN_PAGES_MAX 4096

/*
 * Answers a request in the origin form to the listener at `local`: GET or HEAD
 * of / and of /proxy.pac, which names this listener. A Host that is not this
 * listener's gets 421, so that no web page can reach the proxy by a name of its
 * own (DNS rebinding). Returns the bytes written, at most BUILTIN_PAGES_MAX.
 */
size_t builtin_pages_answer(const struct http1_request *,
    const struct sockaddr *local, bool password, char out[BUILTIN_PAGES_MAX]);

/*
 * An error as a response with a readable body, `text` being a sentence about
 * it; 407 asks for Basic credentials, and 503 has a Retry-After. Returns the
 * bytes written.
 */
size_t
builtin_pages_error(int status, const char *text, char out[BUILTIN_PAGES_MAX]);

#endif
