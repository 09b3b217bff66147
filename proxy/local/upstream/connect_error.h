#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_CONNECT_ERROR_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_CONNECT_ERROR_H

#include "proxy/base/addr.h"
#include "proxy/local/socks.h"
#include "quic/quic.h"

#define CONNECT_ERROR_TEXT_MAX \
	640 /* bytes, with NUL: a target and a sentence */

/* Why there is no tunnel, in each of the languages that clients speak. */
struct connect_error {
	int http_status;
	enum socks_code socks_code;
	char text[CONNECT_ERROR_TEXT_MAX]; /* a sentence for a person */
	size_t cause; /* where in the text it goes on without the target */
};

/* A refusal that has nothing to do with the target. */
void connect_error_set(
    struct connect_error *, int http_status, enum socks_code, const char *text);

/* The text becomes "host:port: text", and logs may leave that target out. */
void connect_error_of(struct connect_error *, const struct target *,
    int http_status, enum socks_code, const char *text);

/*
 * What an edge meant by answering a CONNECT to `to` with `status`, which is
 * not 2xx: by its proxy-status (RFC 9209), and else by the status alone.
 */
void connect_error_read(struct connect_error *, const struct target *to,
    const struct quic_head *head, int status);

#endif
