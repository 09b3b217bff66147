#ifndef CULVERT_PROXY_LOCAL_BUILTIN_PAGES_H
#define CULVERT_PROXY_LOCAL_BUILTIN_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "proxy/http1/http1.h"
#include "proxy/local/error_page.h"
#include "proxy/local/pac.h"

/*
 * The pages at the proxy's own port: what it is, and /proxy.pac. Pure. All of
 * them end the connection.
 */

/* Bytes that hold any of these responses. */
#define BUILTIN_PAGES_MAX (ERROR_PAGE_MAX + PAC_MAX)

/*
 * Answers a request in the origin form to the listener at `local`: GET or HEAD
 * of / and of /proxy.pac, which names this listener and follows the rules (NULL:
 * there are none). A Host that is not this
 * listener's gets 421, so that no web page can reach the proxy by a name of its
 * own (DNS rebinding). Returns the bytes written, at most BUILTIN_PAGES_MAX.
 */
size_t builtin_pages_answer(const struct http1_request *,
    const struct sockaddr *local, bool password,
    const struct route_rules *rules, char out[BUILTIN_PAGES_MAX]);

#endif
