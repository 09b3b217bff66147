#ifndef CULVERT_PROXY_BASE_TUNNEL_KIND_H
#define CULVERT_PROXY_BASE_TUNNEL_KIND_H

/*
 * What a tunnel carries between its client and its target, and so what asks the
 * edge for it. Each part that opens tunnels has a switch over these, without a
 * default: the compiler finds them all when a kind is added.
 */
enum tunnel_kind {
	TUNNEL_TCP /* bytes: CONNECT without :protocol (RFC 9114 §4.4) */
};

/*
 * Reads the kind that a request asks for from its :method and :protocol fields
 * (NULL: it has none). 0, or -EPROTONOSUPPORT: it is no request for a tunnel,
 * or for one of an unknown kind; refuse it with 501.
 */
int
tunnel_kind_parse(enum tunnel_kind *, const char *method, const char *protocol);

#endif
