#ifndef CULVERT_PROXY_LOCAL_ERROR_PAGE_H
#define CULVERT_PROXY_LOCAL_ERROR_PAGE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * HTTP responses that say why the proxy does not serve a request: the texts of
 * those that have always the same one, and how all of them are written. A
 * tunnel that fails has its text in outbound/connect_error.h and its status in
 * http_status.h. Pure. All of them end the connection.
 */
struct error_page {
	int status;
	const char *text; /* a sentence without its full stop */
};

/* The password (RFC 7617), 407. */
extern const struct error_page error_page_password_required;
extern const struct error_page error_page_not_basic;
extern const struct error_page error_page_password_wrong;

/* The request. */
extern const struct error_page error_page_max_forwards;
extern const struct error_page error_page_request_timeout;
extern const struct error_page error_page_response_timeout;
extern const struct error_page error_page_no_memory;

/* A request for the proxy's own pages (builtin_pages.h). */
extern const struct error_page error_page_method;
extern const struct error_page error_page_not_found;

/* Bytes that hold any of these responses. */
#define ERROR_PAGE_MAX 4096

/*
 * Writes the response: a readable body, unless the request is HEAD, and the
 * fields that the status needs. 407 asks for Basic credentials, and 503 has a
 * Retry-After. Returns the bytes written.
 */
size_t error_page_write(const struct error_page *, bool head_only,
    char out[ERROR_PAGE_MAX]);

#endif
