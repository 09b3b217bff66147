#include "proxy/local/upstream/connect_error.h"

#include <stdio.h>
#include <string.h>

void
connect_error_set(struct connect_error *refusal, int http_status,
    enum socks_code code, const char *text)
{
	refusal->http_status = http_status;
	refusal->socks_code = code;
	snprintf(refusal->text, sizeof(refusal->text), "%s", text);
	refusal->cause = 0;
}

void
connect_error_of(struct connect_error *refusal, const struct target *to,
    int http_status, enum socks_code code, const char *text)
{
	char target[TARGET_STRLEN];

	target_format(to, target, sizeof(target));
	refusal->http_status = http_status;
	refusal->socks_code = code;
	snprintf(refusal->text, sizeof(refusal->text), "%s: %s", target, text);
	refusal->cause = strlen(target) + strlen(": ");
}

/*
 * What the error types of RFC 9209 §2.3 mean to a client. The status is the one
 * recommended there, but 403 for what is not allowed; 0: that of the edge.
 */
static const struct {
	const char *error;
	int http_status;
	enum socks_code code;
	const char *text;
} proxy_errors[] = {
	{ "dns_error", 502, SOCKS_HOST_UNREACHABLE,
	    "the name does not resolve; check its spelling" },
	{ "dns_timeout", 504, SOCKS_HOST_UNREACHABLE,
	    "the name servers that the edge uses do not answer" },
	{ "destination_not_found", 502, SOCKS_HOST_UNREACHABLE,
	    "the edge does not know the target" },
	{ "destination_unavailable", 503, SOCKS_HOST_UNREACHABLE,
	    "the edge regards the target as unavailable; try again later" },
	{ "connection_refused", 502, SOCKS_CONNECTION_REFUSED,
	    "the target refused the connection; check the port, and that the "
	    "service runs" },
	{ "connection_timeout", 504, SOCKS_TTL_EXPIRED,
	    "the target does not answer; it may be down or behind a "
	    "firewall" },
	{ "connection_terminated", 502, SOCKS_GENERAL_FAILURE,
	    "the target closed the connection at once" },
	{ "destination_ip_unroutable", 502, SOCKS_NETWORK_UNREACHABLE,
	    "the edge has no route to the target" },
	{ "destination_ip_prohibited", 403, SOCKS_NOT_ALLOWED,
	    "the edge does not allow this address or port; its operator "
	    "decides (culvert-edge --allow)" },
	{ "http_request_denied", 403, SOCKS_NOT_ALLOWED,
	    "the edge does not allow this request" },
	{ "connection_limit_reached", 503, SOCKS_GENERAL_FAILURE,
	    "the edge has reached one of its limits; try again later" },
	{ "proxy_internal_error", 0, SOCKS_GENERAL_FAILURE,
	    "the edge has failed; its log says why" },
	{ "proxy_configuration_error", 0, SOCKS_GENERAL_FAILURE,
	    "the edge is not configured correctly; its log says why" },
	{ "proxy_loop_detected", 502, SOCKS_GENERAL_FAILURE,
	    "the request passed the same proxy twice" },
};
#define PROXY_ERRORS (sizeof(proxy_errors) / sizeof(proxy_errors[0]))

/* The error type in a proxy-status field; length 0: there is none. */
static const char *
proxy_error(const char *value, size_t *len)
{
	static const char name[] = "error=";
	bool quoted = false;

	*len = 0;
	for (const char *at = value; at != NULL && *at != '\0'; at++) {
		if (*at == '"')
			quoted = !quoted;
		else if (quoted && *at == '\\' && at[1] != '\0')
			at++;
		else if (!quoted && (at == value || strchr("; ", at[-1])) &&
		    strncmp(at, name, sizeof(name) - 1) == 0) {
			at += sizeof(name) - 1;
			*len = strspn(at, "abcdefghijklmnopqrstuvwxyz_");
			return at;
		}
	}
	return "";
}

static size_t
find_proxy_error(const char *error, size_t len)
{
	size_t i;

	for (i = 0; i < PROXY_ERRORS; i++)
		if (strlen(proxy_errors[i].error) == len &&
		    strncmp(proxy_errors[i].error, error, len) == 0)
			break;
	return i;
}

/*
 * What an edge without proxy-status means by its status alone (RFC 9110 §15).
 * 502 is for whatever happens between it and the target: RFC 1928 has no other
 * word for that than general failure.
 */
static enum socks_code
socks_code_of(int status)
{
	switch (status) {
	case 401:
	case 403:
	case 451:
		return SOCKS_NOT_ALLOWED;
	case 504:
		return SOCKS_TTL_EXPIRED;
	default:
		return SOCKS_GENERAL_FAILURE;
	}
}

/* How an edge of ours says so in the details of its proxy-status. */
#define CONNECT_ERROR_OVERLOAD "too many passwords to check"

/* culvert-edge could not check our password: that does not mean it is wrong. */
static bool
is_overload(const char *value, int status)
{
	return status == 503 && value != NULL &&
	       strstr(value, "details=\"" CONNECT_ERROR_OVERLOAD "\"") != NULL;
}

/* Characters of an error type that is not known here. */
#define ERROR_SHOWN 40

/* An error type of which we know nothing, or none at all. */
static void
refuse_by_status(struct connect_error *refusal, const struct target *to,
    int status, const char *error, size_t len)
{
	char text[128];

	if (len > 0 && len <= ERROR_SHOWN)
		snprintf(text, sizeof(text), "the edge answered %d (%.*s)",
		    status, (int)len, error);
	else
		snprintf(text, sizeof(text), "the edge answered %d and did "
		    "not say why", status);
	connect_error_of(refusal, to, status, socks_code_of(status), text);
}

void
connect_error_read(struct connect_error *refusal, const struct target *to,
    const struct quic_head *head, int status)
{
	const char *value = quic_head_find(head, "proxy-status");
	size_t len, i;
	const char *error = proxy_error(value, &len);

	i = find_proxy_error(error, len);
	if (status == 407)
		/* The client has no part in this: 407 would ask it. */
		connect_error_set(refusal, 502, SOCKS_NOT_ALLOWED,
		    "the edge does not accept culvert's user and password; "
		    "check --user or --user-file");
	else if (is_overload(value, status))
		connect_error_set(refusal, 503, SOCKS_GENERAL_FAILURE,
		    "the edge has too many passwords to check, and has not "
		    "checked culvert's; try again in a few seconds");
	else if (i < PROXY_ERRORS)
		connect_error_of(refusal, to,
		    proxy_errors[i].http_status != 0
			? proxy_errors[i].http_status
			: status,
		    proxy_errors[i].code, proxy_errors[i].text);
	else
		refuse_by_status(refusal, to, status, error, len);
	if (refusal->http_status < 400 || refusal->http_status > 599)
		refusal->http_status = 502; /* an error, whatever it is */
}
