#include "proxy/local/page.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proxy/addr.h"

/* Bytes of the longest body. */
#define BODY_MAX 2048

/* Seconds after which what was too much may be asked for again. */
#define RETRY_AFTER "5"

static size_t
respond(int status, const char *type, const char *extra, const char *body,
    bool with_body, char out[PAGE_MAX])
{
	int n = snprintf(out, PAGE_MAX,
	    "HTTP/1.1 %d %s\r\n"
	    "Content-Type: %s\r\n"
	    "Content-Length: %zu\r\n"
	    "Cache-Control: no-store\r\n"
	    "X-Content-Type-Options: nosniff\r\n"
	    "%s"
	    "Connection: close\r\n"
	    "\r\n"
	    "%s",
	    status, http1_reason(status), type, strlen(body), extra,
	    with_body ? body : "");

	return n < PAGE_MAX ? (size_t)n : PAGE_MAX - 1;
}

size_t
page_error(int status, const char *text, char out[PAGE_MAX])
{
	char body[BODY_MAX];

	snprintf(body, sizeof(body), "culvert: %d %s\n%s.\n", status,
	    http1_reason(status), text);
	return respond(status, "text/plain; charset=utf-8", status == 407
	    ? "Proxy-Authenticate: Basic realm=\"culvert\"\r\n"
	    : status == 503 ? "Retry-After: " RETRY_AFTER "\r\n" : "",
	    body, true, out);
}

/* Whether the Host of a request means the listener at `local`. */
static bool
is_ours(const struct target *host, const struct sockaddr *local)
{
	char ours[ADDR_STRLEN], theirs[ADDR_STRLEN];
	struct sockaddr_storage addr;
	const char *port;

	addr_format(local, ours);
	if (addr_literal(&addr, host->host, host->port))
		return strcmp(addr_format((struct sockaddr *)&addr, theirs),
			   ours) == 0;
	port = strrchr(ours, ':') + 1;
	snprintf(theirs, sizeof(theirs), "%u", host->port);
	return strcasecmp(host->host, "localhost") == 0 &&
	    addr_is_loopback(local) && strcmp(theirs, port) == 0;
}

/* Browsers have no passwords for SOCKS: with one, HTTP is the only way. */
static size_t
answer_pac(const char *local, bool password, bool with_body,
    char out[PAGE_MAX])
{
	char body[BODY_MAX];

	snprintf(body, sizeof(body),
	    "function FindProxyForURL(url, host) {\n"
	    "\treturn \"%s%s%sPROXY %s\";\n"
	    "}\n",
	    password ? "" : "SOCKS5 ", password ? "" : local,
	    password ? "" : "; ", local);
	return respond(200, "application/x-ns-proxy-autoconfig", "", body,
	    with_body, out);
}

static size_t
answer_root(const char *local, bool with_body, char out[PAGE_MAX])
{
	char body[BODY_MAX];

	snprintf(body, sizeof(body),
	    "This is culvert %s, a proxy. It carries each connection as one\n"
	    "stream of a QUIC connection to its edge.\n"
	    "\n"
	    "  curl --socks5-hostname %s https://example.com/\n"
	    "  curl --proxy http://%s https://example.com/\n"
	    "\n"
	    "Browsers: set SOCKS5 or HTTP proxy %s, or automatic\n"
	    "configuration with http://%s/proxy.pac\n"
	    "\n"
	    "culvertctl status shows how it is.\n",
	    CULVERT_VERSION, local, local, local, local);
	return respond(200, "text/plain; charset=utf-8", "", body, with_body,
	    out);
}

static bool
path_is(struct span path, const char *name)
{
	return span_is(span_cut(&path, '?'), name);
}

size_t
page_answer(const struct http1_request *req, const struct sockaddr *local,
    bool password, char out[PAGE_MAX])
{
	bool head = span_is(req->method, "HEAD");
	char name[ADDR_STRLEN];

	addr_format(local, name);
	if (!is_ours(&req->authority, local))
		return page_error(421, "this name is not the proxy's", out);
	if (!head && !span_is(req->method, "GET"))
		return page_error(405, "only GET and HEAD mean something here",
		    out);
	if (path_is(req->path, "/proxy.pac"))
		return answer_pac(name, password, !head, out);
	if (path_is(req->path, "/"))
		return answer_root(name, !head, out);
	return page_error(404, "there are only / and /proxy.pac here", out);
}
