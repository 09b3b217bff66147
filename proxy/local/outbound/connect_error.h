#ifndef CULVERT_PROXY_LOCAL_OUTBOUND_CONNECT_ERROR_H
#define CULVERT_PROXY_LOCAL_OUTBOUND_CONNECT_ERROR_H

#include <stddef.h>

#include "proxy/base/addr.h"

/*
 * Why there is no tunnel to a target. The reason is neutral: each front end
 * maps it to a code of its own protocol (socks_code_of(), http_status_of()).
 */

/* Bytes of the text, with its NUL: a target and a sentence. */
#define CONNECT_ERROR_TEXT_MAX 640

enum connect_error_type {
	/* The proxy error types of RFC 9209 §2.3, under their names there. */
	CONNECT_ERROR_DNS_TIMEOUT,
	CONNECT_ERROR_DNS_ERROR,
	CONNECT_ERROR_DESTINATION_NOT_FOUND,
	CONNECT_ERROR_DESTINATION_UNAVAILABLE,
	CONNECT_ERROR_DESTINATION_IP_PROHIBITED,
	CONNECT_ERROR_DESTINATION_IP_UNROUTABLE,
	CONNECT_ERROR_CONNECTION_REFUSED,
	CONNECT_ERROR_CONNECTION_TERMINATED,
	CONNECT_ERROR_CONNECTION_TIMEOUT,
	CONNECT_ERROR_CONNECTION_LIMIT_REACHED,
	CONNECT_ERROR_HTTP_REQUEST_DENIED,
	CONNECT_ERROR_HTTP_RESPONSE_INCOMPLETE,
	CONNECT_ERROR_PROXY_INTERNAL_ERROR,
	CONNECT_ERROR_PROXY_CONFIGURATION_ERROR,
	CONNECT_ERROR_PROXY_LOOP_DETECTED,

	/* The edge gave no type, or an unknown one: only edge_status counts. */
	CONNECT_ERROR_EDGE_STATUS,

	/* These are about the edge, and not about the target. */
	CONNECT_ERROR_EDGE_UNUSABLE, /* no connection, and none to come */
	CONNECT_ERROR_EDGE_TIMEOUT,  /* no connection or answer in time */
	CONNECT_ERROR_EDGE_CONNECTION_LOST, /* before the answer */
	CONNECT_ERROR_EDGE_RESET,	    /* the edge reset the request */
	CONNECT_ERROR_EDGE_STREAM_LIMIT,    /* no stream became free in time */
	CONNECT_ERROR_EDGE_CREDENTIALS,	    /* the edge rejects culvert's */
	CONNECT_ERROR_EDGE_OVERLOADED,	    /* the edge did not check them */

	/* These are about this proxy. */
	CONNECT_ERROR_RULE,	    /* a rule of the user blocks the target */
	CONNECT_ERROR_CLIENT_LIMIT, /* too many connections of one client */
	CONNECT_ERROR_OVERLOADED,   /* the client's password went unchecked */
	CONNECT_ERROR_SHUTTING_DOWN
};

struct connect_error {
	enum connect_error_type type;
	int edge_status; /* of the edge's response; 0: there is none */
	char text[CONNECT_ERROR_TEXT_MAX]; /* a sentence for a person */
	size_t cause; /* offset in the text, after the target if it names one */
};

/* For a reason that has nothing to do with the target. */
void connect_error_set(struct connect_error *, enum connect_error_type,
    const char *text);

/* The text becomes "host:port: text"; a log can begin at `cause`. */
void connect_error_set_target(struct connect_error *, const struct target *,
    enum connect_error_type, const char *text);

#endif
