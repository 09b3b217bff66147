#include "proxy/local/refusal.h"

#include <stdio.h>
#include <string.h>

void
refusal_set(struct refusal *refusal, int http_status, enum socks_code code,
    const char *text)
{
	refusal->http_status = http_status;
	refusal->socks_code = code;
	snprintf(refusal->text, sizeof(refusal->text), "%s", text);
	refusal->cause = 0;
}

void
refusal_of(struct refusal *refusal, const struct target *to, int http_status,
    enum socks_code code, const char *text)
{
	char target[TARGET_STRLEN];

	target_format(to, target, sizeof(target));
	refusal->http_status = http_status;
	refusal->socks_code = code;
	snprintf(refusal->text, sizeof(refusal->text), "%s: %s", target, text);
	refusal->cause = strlen(target) + strlen(": ");
}

/* How an edge of ours says so in the details of its proxy-status. */
#define REFUSAL_OVERLOAD "too many passwords to check"

/* What the error types of RFC 9209 §2.3 mean to a SOCKS client. */
static const struct {
	const char *error;
	enum socks_code code;
	const char *text;
} proxy_errors[] = {
	{ "dns_error", SOCKS_HOST_UNREACHABLE, "the name does not resolve" },
	{ "dns_timeout", SOCKS_HOST_UNREACHABLE,
	    "the name servers do not answer" },
	{ "connection_refused", SOCKS_CONNECTION_REFUSED,
	    "the target refused the connection" },
	{ "connection_timeout", SOCKS_TTL_EXPIRED,
	    "the target does not answer" },
	{ "destination_ip_unroutable", SOCKS_NETWORK_UNREACHABLE,
	    "the edge has no route to the target" },
	{ "destination_ip_prohibited", SOCKS_NOT_ALLOWED,
	    "the edge does not allow this address" },
	{ "http_request_denied", SOCKS_NOT_ALLOWED,
	    "the edge does not allow this request" },
};

/* The error type in a proxy-status field, if it is one that we know. */
static size_t
find_proxy_error(const char *value)
{
	const char *at = value != NULL ? strstr(value, "error=") : NULL;
	size_t i, len, n = sizeof(proxy_errors) / sizeof(proxy_errors[0]);

	if (at == NULL)
		return n;
	at += strlen("error=");
	len = strcspn(at, ";, ");
	for (i = 0; i < n; i++)
		if (strlen(proxy_errors[i].error) == len &&
		    strncmp(proxy_errors[i].error, at, len) == 0)
			break;
	return i;
}

/* What an edge without proxy-status may have meant by its status alone. */
static enum socks_code
socks_code_of(int status)
{
	switch (status) {
	case 403:
	case 407:
		return SOCKS_NOT_ALLOWED;
	case 502:
		return SOCKS_HOST_UNREACHABLE;
	case 504:
		return SOCKS_TTL_EXPIRED;
	default:
		return SOCKS_GENERAL_FAILURE;
	}
}

/* culvert-edge could not check our password: that does not mean it is wrong. */
static bool
is_overload(const struct quic_head *head, int status)
{
	const char *value = quic_head_find(head, "proxy-status");

	return status == 503 && value != NULL &&
	    strstr(value, "details=\"" REFUSAL_OVERLOAD "\"") != NULL;
}

void
refusal_read(struct refusal *refusal, const struct target *to,
    const struct quic_head *head, int status)
{
	size_t i = find_proxy_error(quic_head_find(head, "proxy-status"));
	char text[sizeof("the edge answered -2147483648")];

	if (status == 407) {
		/* The client has no part in this: 407 would ask it. */
		refusal_set(refusal, 502, SOCKS_NOT_ALLOWED,
		    "the edge does not accept our user and password");
		return;
	}
	if (is_overload(head, status)) {
		refusal_set(refusal, 503, SOCKS_GENERAL_FAILURE,
		    "the edge has too many passwords to check, and did not "
		    "check ours; try again in a few seconds");
		return;
	}
	if (i < sizeof(proxy_errors) / sizeof(proxy_errors[0])) {
		refusal_of(refusal, to, status, proxy_errors[i].code,
		    proxy_errors[i].text);
		return;
	}
	snprintf(text, sizeof(text), "the edge answered %d", status);
	refusal_of(refusal, to, status >= 400 && status < 600 ? status : 502,
	    socks_code_of(status), text);
}
