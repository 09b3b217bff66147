#include "proxy/local/error_page.h"

#include <stdio.h>
#include <string.h>

#include "proxy/http1/http1.h"

/* Bytes of the longest body. */
#define BODY_MAX 2048

/* Seconds after which a client over a limit may try again. */
#define RETRY_AFTER "5"

const struct error_page error_page_password_required = { 407,
	"this proxy requires a user name and a password" };
const struct error_page error_page_not_basic = { 407,
	"this proxy accepts only Basic authentication" };
const struct error_page error_page_password_wrong = { 407,
	"proxy authentication failed" };

const struct error_page error_page_max_forwards = { 400,
	"Max-Forwards does not let the request go beyond this proxy" };
const struct error_page error_page_request_timeout = { 408,
	"the request was not complete within the tunnel-timeout" };
const struct error_page error_page_response_timeout = { 504,
	"the origin did not answer within the tunnel-timeout" };
const struct error_page error_page_no_memory = { 503,
	"the proxy is out of memory" };

const struct error_page error_page_method = { 405,
	"the proxy's own pages allow only GET and HEAD" };
const struct error_page error_page_not_found = { 404,
	"this proxy serves only / and /proxy.pac" };

/* The field lines that a status requires. */
static const char *
fields_of(int status)
{
	switch (status) {
	case 405:
		return "Allow: GET, HEAD\r\n";
	case 407:
		return "Proxy-Authenticate: Basic realm=\"culvert\"\r\n";
	case 503:
		return "Retry-After: " RETRY_AFTER "\r\n";
	default:
		return "";
	}
}

size_t
error_page_write(const struct error_page *page, bool head_only,
    char out[ERROR_PAGE_MAX])
{
	char body[BODY_MAX], fields[128];
	size_t head, len;

	snprintf(body, sizeof(body), "culvert: %d %s\n%s.\n", page->status,
	    http1_reason(page->status), page->text);
	len = strlen(body);
	snprintf(fields, sizeof(fields),
	    "X-Content-Type-Options: nosniff\r\n%s", fields_of(page->status));
	head = http1_own_response(out, ERROR_PAGE_MAX - BODY_MAX, page->status,
	    "text/plain; charset=utf-8", len, fields);
	if (head_only)
		return head;
	memcpy(out + head, body, len);
	return head + len;
}
