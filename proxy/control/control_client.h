#ifndef CULVERT_PROXY_CONTROL_CONTROL_CLIENT_H
#define CULVERT_PROXY_CONTROL_CONTROL_CLIENT_H

#include <jansson.h>

/*
 * A client of the control socket: one request, and one answer that ends with
 * the connection.
 */

/* Bytes of an error text, with its NUL; includes a path. */
#define CONTROL_CLIENT_ERROR_MAX 512

/*
 * Sends `request`, a start line without the version, to the culvert at `path`.
 * Returns the object of an answer with status 200, or NULL and a sentence in
 * `error`. Blocks, for some seconds if culvert hangs.
 */
json_t *control_request(const char *path, const char *request,
    char error[CONTROL_CLIENT_ERROR_MAX]);

#endif
