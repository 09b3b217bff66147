#ifndef CULVERT_PROXY_CONTROL_CONTROL_CLIENT_H
#define CULVERT_PROXY_CONTROL_CONTROL_CLIENT_H

#include <jansson.h>

/*
 * The other side of the control socket: one request, and one answer that ends
 * with the connection.
 */

/* Bytes of a sentence about an error, with its NUL; a path fits in. */
#define CONTROL_CLIENT_ERROR_MAX 512

/*
 * Asks the culvert at `path` for `request`, a start line without the version.
 * Returns the object that it answers with status 200, or NULL and a sentence in
 * `error`. Waits some seconds for a culvert that hangs.
 */
json_t *control_ask(const char *path, const char *request,
    char error[CONTROL_CLIENT_ERROR_MAX]);

#endif
