#include "proxy/local/builtin_pages.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proxy/base/addr.h"
#include "proxy/local/pac.h"

/* Bytes of the longest body but the PAC. */
#define BODY_MAX 2048

static size_t
respond(const char *type, const char *body, bool with_body,
    char out[BUILTIN_PAGES_MAX])
{
	size_t len = strlen(body), head;

	head = http1_own_response(out, BUILTIN_PAGES_MAX - len, 200, type, len,
	    "X-Content-Type-Options: nosniff\r\n");
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

/* Browsers send no password in SOCKS: if one is required, offer only HTTP. */
static size_t
answer_pac(const struct pac *pac, bool with_body, char out[BUILTIN_PAGES_MAX])
{
	char body[PAC_MAX];

	pac_write(pac, body);
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
    const struct sockaddr *local, bool password,
    const struct route_rules *rules, char out[BUILTIN_PAGES_MAX])
{
	bool head = slice_is(req->method, "HEAD");
	char name[ADDR_STRLEN];
	struct pac pac = { .listener = name,
		.password = password,
		.all = query_is(req->path, "all"),
		.rules = rules };

	addr_format(local, name);
	if (!is_ours(&req->authority, local))
		return refuse_host(name, head, out);
	if (!head && !slice_is(req->method, "GET"))
		return error_page_write(&error_page_method, head, out);
	if (path_is(req->path, "/proxy.pac"))
		return answer_pac(&pac, !head, out);
	if (path_is(req->path, "/"))
		return answer_root(name, !head, out);
	return error_page_write(&error_page_not_found, head, out);
}
