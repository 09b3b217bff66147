#include "proxy/local/builtin_pages.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proxy/base/addr.h"

/* Bytes of the longest body. */
#define BODY_MAX 2048

static size_t
respond(const char *type, const char *body, bool with_body,
    char out[BUILTIN_PAGES_MAX])
{
	size_t len = strlen(body), head;

	head = http1_own_response(out, BUILTIN_PAGES_MAX - BODY_MAX, 200, type,
	    len, "X-Content-Type-Options: nosniff\r\n");
	if (!with_body)
		return head;
	memcpy(out + head, body, len);
	return head + len;
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

/*
 * What is found only on this machine or in its own network: names without a
 * dot, names that no public name server knows (RFC 6761, RFC 6762, RFC 8375),
 * and addresses that culvert-edge does not allow. Literals are compared as
 * text: isInNet() would look names up here.
 */
static const char pac_local[] =
    "\tvar h = host.toLowerCase().replace(/^\\[|\\]$|\\.$/g, \"\");\n"
    "\tif (h.indexOf(':') < 0 && isPlainHostName(h) ||\n"
    "\t    /\\.(localhost|local|internal|home\\.arpa)$/.test(h) ||\n"
    "\t    /^\\d+\\.\\d+\\.\\d+\\.\\d+$/.test(h) &&\n"
    "\t    /^(0|10|127|169\\.254|172\\.(1[6-9]|2\\d|3[01])|192\\.168|"
    "100\\.(6[4-9]|[7-9]\\d|1[01]\\d|12[0-7]))\\./.test(h) ||\n"
    "\t    /^(::1?$|f[cd][0-9a-f]{2}:|fe[89ab][0-9a-f]:)/.test(h))\n"
    "\t\treturn \"DIRECT\";\n";

/* Browsers send no password in SOCKS: if one is required, offer only HTTP. */
static size_t
answer_pac(const char *local, bool all, bool password, bool with_body,
    char out[BUILTIN_PAGES_MAX])
{
	char body[BODY_MAX];

	snprintf(body, sizeof(body),
	    "function FindProxyForURL(url, host) {\n"
	    "%s"
	    "\treturn \"%s%s%sPROXY %s\";\n"
	    "}\n",
	    all ? "" : pac_local, password ? "" : "SOCKS5 ",
	    password ? "" : local, password ? "" : "; ", local);
	return respond("application/x-ns-proxy-autoconfig", body, with_body,
	    out);
}

static size_t
answer_root(const char *local, bool with_body, char out[BUILTIN_PAGES_MAX])
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
	    "culvertctl status shows the state of that connection.\n",
	    CULVERT_VERSION, local, local, local, local);
	return respond("text/plain; charset=utf-8", body, with_body, out);
}

static bool
path_is(struct slice path, const char *name)
{
	return slice_is(slice_cut(&path, '?'), name);
}

static bool
query_is(struct slice path, const char *query)
{
	slice_cut(&path, '?');
	return slice_is(path, query);
}

static size_t
refuse_host(const char *name, bool head, char out[BUILTIN_PAGES_MAX])
{
	char text[ADDR_STRLEN + 192];
	const struct error_page page = { 421, text };

	snprintf(text, sizeof(text),
	    "the request is for another host; this is a proxy: open http://%s/ "
	    "to see how it is used",
	    name);
	return error_page_write(&page, head, out);
}

size_t
builtin_pages_answer(const struct http1_request *req,
    const struct sockaddr *local, bool password, char out[BUILTIN_PAGES_MAX])
{
	bool head = slice_is(req->method, "HEAD");
	char name[ADDR_STRLEN];

	addr_format(local, name);
	if (!is_ours(&req->authority, local))
		return refuse_host(name, head, out);
	if (!head && !slice_is(req->method, "GET"))
		return error_page_write(&error_page_method, head, out);
	if (path_is(req->path, "/proxy.pac"))
		return answer_pac(name, query_is(req->path, "all"), password,
		    !head, out);
	if (path_is(req->path, "/"))
		return answer_root(name, !head, out);
	return error_page_write(&error_page_not_found, head, out);
}
