#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proxy/local/http/rewrite.h"

/* The pseudonym of this proxy in Via (RFC 9110 §7.6.3). */
#define VIA_NAME "culvert"

#define HTTP_PORT 80

/* Digits of a Max-Forwards; a longer number is no limit. */
#define MAX_FORWARDS_DIGITS 9

/* The output so far. Bytes that do not fit are counted and not kept. */
struct writer {
	char *out;
	size_t size;
	size_t len;
};

static void
put(struct writer *w, struct slice s)
{
	if (w->len <= w->size && s.len <= w->size - w->len)
		memcpy(w->out + w->len, s.p, s.len);
	w->len += s.len;
}

/* Adds the proxy's own text, of which a Host field is the longest. */
static void __attribute__((format(printf, 2, 3)))
put_text(struct writer *w, const char *format, ...)
{
	char text[TARGET_STRLEN + 32];
	va_list ap;
	int len;

	va_start(ap, format);
	len = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	put(w, (struct slice){ text, (size_t)len });
}

static int
finish(struct writer *w)
{
	put(w, SLICE("\r\n"));
	return w->len <= w->size ? (int)w->len : -ENOSPC;
}

static bool
is_one_of(struct slice name, const char *const names[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_is_nocase(name, names[i]))
			return true;
	return false;
}

/* The fields of one hop (RFC 9110 §7.6.1), some of which are written anew. */
static bool
is_hop_by_hop(const struct http1_head *head, struct slice name)
{
	static const char *const names[] = {
		"connection",
		"content-length",
		"http2-settings",
		"keep-alive",
		"proxy-authenticate",
		"proxy-authentication-info",
		"proxy-authorization",
		"proxy-connection",
		"te",
		"trailer",
		"transfer-encoding",
		"upgrade",
	};

	return is_one_of(name, names, sizeof(names) / sizeof(names[0])) ||
	    http1_is_option(head, name);
}

static bool
is_control(char c)
{
	return (c >= '\0' && c < ' ' && c != '\t') || c == 0x7f;
}

/*
 * Writes a value or a reason phrase in one line: a space takes the place of
 * each fold, with the whitespace that follows, and of each control.
 */
static void
put_clean(struct writer *w, struct slice s)
{
	size_t i = 0, from = 0;

	while (i < s.len) {
		if (!is_control(s.p[i])) {
			i++;
			continue;
		}
		put(w, (struct slice){ s.p + from, i - from });
		put(w, SLICE(" "));
		while (i < s.len &&
		    (is_control(s.p[i]) || s.p[i] == ' ' || s.p[i] == '\t'))
			i++;
		from = i;
	}
	put(w, (struct slice){ s.p + from, i - from });
}

static void
put_field(struct writer *w, const struct http1_field *field)
{
	put(w, field->name);
	put(w, SLICE(": "));
	put_clean(w, field->value);
	put(w, SLICE("\r\n"));
}

/* ---- Trailers ---- */

/*
 * Trailer passes if a trailer section does: from a chunked body to a chunked
 * one, as `framing` says.
 */
static bool
is_passed_on(const struct http1_head *head, struct slice name,
    enum http1_framing framing)
{
	if (slice_is_nocase(name, "trailer"))
		return head->framing == HTTP1_CHUNKED &&
		    framing == HTTP1_CHUNKED && !http1_is_option(head, name);
	return !is_hop_by_hop(head, name);
}

/* Some origins send trailers only to a client that says it takes them. */
static void
put_te(struct writer *w, const struct http1_head *head)
{
	if (head->minor > 0 && http1_lists(head, "te", SLICE("trailers")))
		put(w, SLICE("TE: trailers\r\nConnection: TE\r\n"));
}

/*
 * Fields that may not follow the body, since they would change how the message
 * was understood: its framing, routing, authentication and content (RFC 9110
 * §6.5.1). Those of the framing are in is_hop_by_hop().
 */
static bool
belongs_in_head(struct slice name)
{
	static const char *const names[] = {
		"age",
		"authorization",
		"cache-control",
		"content-encoding",
		"content-range",
		"content-type",
		"cookie",
		"date",
		"expect",
		"expires",
		"host",
		"if-match",
		"if-modified-since",
		"if-none-match",
		"if-range",
		"if-unmodified-since",
		"location",
		"max-forwards",
		"pragma",
		"range",
		"retry-after",
		"set-cookie",
		"vary",
		"warning",
		"www-authenticate",
	};

	return is_one_of(name, names, sizeof(names) / sizeof(names[0]));
}

static bool
is_in_list(struct slice list, struct slice name)
{
	while (list.p != NULL)
		if (slice_equal_nocase(slice_cut(&list, ','), name))
			return true;
	return false;
}

int
rewrite_trailer(const struct http1_head *trailer, struct slice options,
    char *out, size_t size)
{
	struct writer w = { out, size, 0 };

	for (size_t i = 0; i < trailer->nfields; i++) {
		struct slice name = trailer->fields[i].name;

		if (!is_hop_by_hop(trailer, name) && !belongs_in_head(name) &&
		    !is_in_list(options, name))
			put_field(&w, &trailer->fields[i]);
	}
	return w.len <= size ? (int)w.len : -ENOSPC;
}

/* ---- Authenticated connections ---- */

/* A member of the list is a scheme, or a parameter of the scheme before. */
static bool
list_authenticates(struct slice list)
{
	struct slice member, scheme;

	do {
		member = slice_trim(slice_cut(&list, ','));
		scheme = slice_cut(&member, ' ');
		if (slice_is_nocase(scheme, "ntlm") ||
		    slice_is_nocase(scheme, "negotiate"))
			return true;
	} while (list.p != NULL);
	return false;
}

bool
rewrite_authenticates(const struct http1_head *head, const char *name)
{
	for (size_t i = 0; i < head->nfields; i++)
		if (slice_is_nocase(head->fields[i].name, name) &&
		    list_authenticates(head->fields[i].value))
			return true;
	return false;
}

static void
put_proxy_support(struct writer *w, const struct http1_response *resp)
{
	if (resp->status == 401 &&
	    rewrite_authenticates(&resp->head, "www-authenticate"))
		put(w,
		    SLICE("Proxy-Support: Session-Based-Authentication\r\n"
			  "Connection: Proxy-Support\r\n"));
}

/* ---- Framing ---- */

/* A coding that this proxy does not know: the client has to decode it. */
static bool
is_unknown_coding(struct slice coding)
{
	return slice_is_token(coding) && !slice_is_nocase(coding, "chunked") &&
	    !slice_is_nocase(coding, "identity");
}

/* Counts the unknown codings, and writes them unless `w` is NULL. */
static size_t
put_codings(struct writer *w, const struct http1_head *head)
{
	struct slice rest, coding;
	size_t n = 0;

	for (size_t i = 0; i < head->nfields; i++) {
		if (!slice_is_nocase(head->fields[i].name, "transfer-encoding"))
			continue;
		rest = head->fields[i].value;
		do {
			coding = slice_trim(slice_cut(&rest, ','));
			if (!is_unknown_coding(coding))
				continue;
			n++;
			if (w != NULL) {
				put(w, coding);
				put(w, SLICE(", "));
			}
		} while (rest.p != NULL);
	}
	return n;
}

/*
 * A chunked body in HTTP/1.0. Chromium shows it as it comes, curl and Firefox
 * decode it: with the origin's version and coding, each of them does the same
 * as without a proxy. The body ends with the connection.
 */
static bool
is_http10_chunked(const struct http1_head *head)
{
	return head->response && head->minor == 0 &&
	    head->framing == HTTP1_UNTIL_CLOSE &&
	    http1_lists(head, "transfer-encoding", SLICE("chunked"));
}

static void
put_framing(struct writer *w, const struct http1_head *head,
    enum http1_framing framing)
{
	if (framing == HTTP1_LENGTH)
		put_text(w, "Content-Length: %ju\r\n", (uintmax_t)head->length);
	if (framing != HTTP1_CHUNKED && !is_http10_chunked(head))
		return;
	put_text(w, "Transfer-Encoding: ");
	put_codings(w, head);
	put_text(w, "chunked\r\n");
}

/* ---- Upgrades ---- */

/*
 * Counts the protocols that both ends may switch to through this proxy, and
 * writes them unless `w` is NULL. h2c is not among them: in it a client may
 * name one origin after the other, as it may to a proxy, and all the requests
 * would go to the origin at the end of this tunnel. All clients that offer it
 * go on with HTTP/1.1 without it.
 */
static size_t
put_protocols(struct writer *w, const struct http1_head *head)
{
	struct slice rest, protocol;
	size_t n = 0;

	for (size_t i = 0; i < head->nfields; i++) {
		if (!slice_is_nocase(head->fields[i].name, "upgrade"))
			continue;
		rest = head->fields[i].value;
		do {
			protocol = slice_trim(slice_cut(&rest, ','));
			if (protocol.len == 0 ||
			    slice_is_nocase(protocol, "h2c"))
				continue;
			if (w != NULL) {
				put(w, n > 0 ? SLICE(",") : SLICE("Upgrade: "));
				put_clean(w, protocol);
			}
			n++;
		} while (rest.p != NULL);
	}
	return n;
}

static void
put_upgrade(struct writer *w, const struct http1_head *head)
{
	if (put_protocols(w, head) > 0)
		put(w, SLICE("\r\nConnection: Upgrade\r\n"));
}

bool
rewrite_upgrades(const struct http1_request *req)
{
	return req->head.minor > 0 &&
	    http1_is_option(&req->head, SLICE("upgrade")) &&
	    put_protocols(NULL, &req->head) > 0;
}

static void
put_via(struct writer *w, int minor, bool via)
{
	if (via)
		put_text(w, "Via: 1.%d " VIA_NAME "\r\n", minor);
}

/* ---- Requests ---- */

static void
put_host(struct writer *w, const struct target *authority)
{
	char text[TARGET_STRLEN];
	char *port;

	target_format(authority, text, sizeof(text));
	port = strrchr(text, ':');
	if (authority->port == HTTP_PORT && port != NULL)
		*port = '\0';
	put_text(w, "Host: %s\r\n", text);
}

/* Some clients send characters that no URI may have. */
static bool
must_be_encoded(char c)
{
	return c <= ' ' || c > '~';
}

static void
put_path(struct writer *w, struct slice path)
{
	size_t from = 0;

	for (size_t i = 0; i < path.len; i++)
		if (must_be_encoded(path.p[i])) {
			put(w, (struct slice){ path.p + from, i - from });
			put_text(w, "%%%02X", (unsigned char)path.p[i]);
			from = i + 1;
		}
	put(w, (struct slice){ path.p + from, path.len - from });
}

static void
put_request_line(struct writer *w, const struct http1_request *req)
{
	put(w, req->method);
	put(w, SLICE(" "));
	if (req->path.len == 0 && slice_is(req->method, "OPTIONS"))
		put(w, SLICE("*"));
	else if (req->path.len == 0 || req->path.p[0] != '/')
		put(w, SLICE("/"));
	put_path(w, req->path);
	put(w, SLICE(" HTTP/1.1\r\n"));
}

/* The hops that an OPTIONS or TRACE may still take; -1: no limit is given. */
static int
max_forwards(const struct http1_request *req)
{
	const struct http1_field *f = http1_find(&req->head, "max-forwards");
	uint64_t hops;

	if (!slice_is(req->method, "OPTIONS") &&
	    !slice_is(req->method, "TRACE"))
		return -1;
	if (f == NULL || !slice_number(f->value, MAX_FORWARDS_DIGITS, &hops))
		return -1;
	return (int)hops;
}

int
rewrite_request(const struct http1_request *req, bool via, char *out,
    size_t size)
{
	const struct http1_head *head = &req->head;
	struct writer w = { out, size, 0 };
	int hops = max_forwards(req);

	if (req->form != HTTP1_ABSOLUTE)
		return -EINVAL;
	if (hops == 0)
		return -ELOOP;
	put_request_line(&w, req);
	put_host(&w, &req->authority);
	for (size_t i = 0; i < head->nfields; i++) {
		struct slice name = head->fields[i].name;

		if (slice_is_nocase(name, "host") ||
		    !is_passed_on(head, name, head->framing) ||
		    (hops > 0 && slice_is_nocase(name, "max-forwards")))
			continue;
		put_field(&w, &head->fields[i]);
	}
	if (hops > 0)
		put_text(&w, "Max-Forwards: %d\r\n", hops - 1);
	put_te(&w, head);
	if (rewrite_upgrades(req))
		put_upgrade(&w, head);
	put_framing(&w, head, head->framing);
	put_via(&w, head->minor, via);
	return finish(&w);
}

/* ---- Responses ---- */

static bool
is_interim(const struct http1_response *resp)
{
	return resp->status / 100 == 1;
}

enum http1_framing
rewrite_framing(const struct http1_response *resp, int client_minor)
{
	const struct http1_head *head = &resp->head;

	if (head->framing == HTTP1_NONE || is_http10_chunked(head))
		return head->framing;
	if (head->framing == HTTP1_LENGTH && put_codings(NULL, head) == 0)
		return HTTP1_LENGTH;
	return client_minor > 0 ? HTTP1_CHUNKED : HTTP1_UNTIL_CLOSE;
}

/*
 * A response to HEAD and a 304 may state the length of a body that they do not
 * have; 1xx and 204 may not (RFC 9110 §8.6).
 */
static bool
states_length(const struct http1_response *resp)
{
	return resp->head.framing == HTTP1_NONE && !is_interim(resp) &&
	    resp->status != 204 && resp->head.has_length;
}

int
rewrite_response(const struct http1_response *resp, int client_minor,
    bool keep_alive, bool via, char *out, size_t size)
{
	const struct http1_head *head = &resp->head;
	enum http1_framing framing = rewrite_framing(resp, client_minor);
	struct writer w = { out, size, 0 };

	if (states_length(resp))
		framing = HTTP1_LENGTH;
	put_text(&w, "HTTP/1.%d %03d ", is_http10_chunked(head) ? 0 : 1,
	    resp->status);
	put_clean(&w, resp->reason);
	put(&w, SLICE("\r\n"));
	for (size_t i = 0; i < head->nfields; i++)
		if (is_passed_on(head, head->fields[i].name, framing))
			put_field(&w, &head->fields[i]);
	put_proxy_support(&w, resp);
	if (resp->status == 101 || resp->status == 426)
		put_upgrade(&w, head);
	put_framing(&w, head, framing);
	if (!is_interim(resp) && (!keep_alive || framing == HTTP1_UNTIL_CLOSE))
		put_text(&w, "Connection: close\r\n");
	put_via(&w, head->minor, via);
	return finish(&w);
}
