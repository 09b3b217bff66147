#include "proxy/local/upstream/edge_response.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The error types that an edge may send (RFC 9209 §2.3). */
static const struct {
	const char *name;
	enum connect_error_type type;
	const char *text;
} proxy_errors[] = {
	{ "dns_error", CONNECT_ERROR_DNS_ERROR,
	    "the name does not resolve; check its spelling" },
	{ "dns_timeout", CONNECT_ERROR_DNS_TIMEOUT,
	    "the name servers that the edge uses do not answer" },
	{ "destination_not_found", CONNECT_ERROR_DESTINATION_NOT_FOUND,
	    "the edge does not know the target" },
	{ "destination_unavailable", CONNECT_ERROR_DESTINATION_UNAVAILABLE,
	    "the edge regards the target as unavailable; try again later" },
	{ "connection_refused", CONNECT_ERROR_CONNECTION_REFUSED,
	    "the target refused the connection; check the port, and that the "
	    "service runs" },
	{ "connection_timeout", CONNECT_ERROR_CONNECTION_TIMEOUT,
	    "the target does not answer; it may be down or behind a "
	    "firewall" },
	{ "connection_terminated", CONNECT_ERROR_CONNECTION_TERMINATED,
	    "the target closed the connection at once" },
	{ "destination_ip_unroutable", CONNECT_ERROR_DESTINATION_IP_UNROUTABLE,
	    "the edge has no route to the target" },
	{ "destination_ip_prohibited", CONNECT_ERROR_DESTINATION_IP_PROHIBITED,
	    "the edge does not allow this address or port; its operator "
	    "decides (culvert-edge --allow)" },
	{ "http_request_denied", CONNECT_ERROR_HTTP_REQUEST_DENIED,
	    "the edge does not allow this request" },
	{ "connection_limit_reached", CONNECT_ERROR_CONNECTION_LIMIT_REACHED,
	    "the edge has reached one of its limits; try again later" },
	{ "proxy_internal_error", CONNECT_ERROR_PROXY_INTERNAL_ERROR,
	    "the edge has failed; its log says why" },
	{ "proxy_configuration_error", CONNECT_ERROR_PROXY_CONFIGURATION_ERROR,
	    "the edge is not configured correctly; its log says why" },
	{ "proxy_loop_detected", CONNECT_ERROR_PROXY_LOOP_DETECTED,
	    "the request passed the same proxy twice" },
};
#define PROXY_ERRORS (sizeof(proxy_errors) / sizeof(proxy_errors[0]))

/* The error type in a proxy-status field. Length 0: there is none. */
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
find_proxy_error(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < PROXY_ERRORS; i++)
		if (strlen(proxy_errors[i].name) == len &&
		    strncmp(proxy_errors[i].name, name, len) == 0)
			break;
	return i;
}

/* The details by which culvert-edge says so in its proxy-status. */
#define OVERLOAD_DETAILS "details=\"too many passwords to check\""

/* culvert-edge did not check the password, which may well be right. */
static bool
is_overload(const char *value, int status)
{
	return status == 503 && value != NULL &&
	    strstr(value, OVERLOAD_DETAILS) != NULL;
}

/* Characters of an unknown error type that the text quotes, at most. */
#define ERROR_SHOWN 40

/* The edge has given no error type, or one that is unknown here. */
static void
set_by_status(struct connect_error *e, const struct target *to, int status,
    const char *error, size_t len)
{
	char text[128];

	if (len > 0 && len <= ERROR_SHOWN)
		snprintf(text, sizeof(text), "the edge answered %d (%.*s)",
		    status, (int)len, error);
	else
		snprintf(text, sizeof(text),
		    "the edge answered %d and did "
		    "not say why",
		    status);
	connect_error_set_target(e, to, CONNECT_ERROR_EDGE_STATUS, text);
}

void
edge_response_error(struct connect_error *e, const struct target *to,
    const struct quic_header_section *head, int status)
{
	const char *value = quic_header_section_find(head, "proxy-status");
	size_t len, i;
	const char *error = proxy_error(value, &len);

	i = find_proxy_error(error, len);
	if (status == 407)
		connect_error_set(e, CONNECT_ERROR_EDGE_CREDENTIALS,
		    "the edge does not accept culvert's user and password; "
		    "check --user or --user-file");
	else if (is_overload(value, status))
		connect_error_set(e, CONNECT_ERROR_EDGE_OVERLOADED,
		    "the edge has too many passwords to check, and has not "
		    "checked culvert's; try again in a few seconds");
	else if (i < PROXY_ERRORS)
		connect_error_set_target(e, to, proxy_errors[i].type,
		    proxy_errors[i].text);
	else
		set_by_status(e, to, status, error, len);
	e->edge_status = status;
}
