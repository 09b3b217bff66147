#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_EDGE_RESPONSE_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_EDGE_RESPONSE_H

#include "proxy/local/outbound/connect_error.h"
#include "quic/quic.h"

/*
 * Interprets the edge's response to a request for a tunnel to `target`, whose
 * `status` is not 2xx: by its proxy-status field (RFC 9209), and else by the
 * status alone.
 */
void edge_response_error(struct connect_error *, const struct target *target,
    const struct quic_header_section *head, int status);

#endif
