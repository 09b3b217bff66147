#ifndef CULVERT_PROXY_LOCAL_REFUSAL_H
#define CULVERT_PROXY_LOCAL_REFUSAL_H

#include "proxy/addr.h"
#include "proxy/local/socks.h"
#include "quic/quic.h"

#define REFUSAL_TEXT_MAX 640 /* bytes, with NUL: a target and a sentence */

/* Why there is no tunnel, in each of the languages that clients speak. */
struct refusal {
	int http_status;
	enum socks_code socks_code;
	char text[REFUSAL_TEXT_MAX]; /* a sentence for a person */
	size_t cause; /* where in the text it goes on without the target */
};

/* A refusal that has nothing to do with the target. */
void refusal_set(struct refusal *, int http_status, enum socks_code,
    const char *text);

/* The text becomes "host:port: text", and logs may leave that target out. */
void refusal_of(struct refusal *, const struct target *, int http_status,
    enum socks_code, const char *text);

/*
 * What an edge meant by answering a CONNECT to `to` with `status`, which is
 * not 2xx: by its proxy-status (RFC 9209), and else by the status alone.
 */
void refusal_read(struct refusal *, const struct target *to,
    const struct quic_head *head, int status);

#endif
