#ifndef CULVERT_PROXY_LOCAL_STATUS_H
#define CULVERT_PROXY_LOCAL_STATUS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <jansson.h>

struct limits;
struct client_totals;
struct client_info;
struct pool_status;

/*
 * The status of the local proxy, as JSON. Scripts rely on the names: members
 * are added and never renamed or removed. Every member is always there; what is
 * not known, such as the round-trip time of a connection that is not up, is
 * null. Pure: no I/O, no clock.
 */

/* The sources of the status, which are only read. */
struct status_facts {
	const struct pool_status *pool;
	const struct client_totals *totals;
	const struct limits *limits;
	const struct sockaddr_storage *listen; /* the bound addresses ... */
	size_t nlisten;			       /* ... and their number */
	uint64_t now_ns;    /* the clock of mtu_changed_at (quic_io_now) */
	uint64_t uptime_ns; /* since this process began */
	pid_t pid;
};

/*
 * Makes the status object:
 *
 *	state		"connecting", "up" or "down"
 *	error		why it is not up, a sentence
 *	edge, address	in use or last tried: as configured, as resolved
 *	alpn		"h3"
 *	tls		{version, cipher, aead, group}
 *	resumed		whether the handshake was (RFC 8446 §2.2)
 *	rtt_ms		smoothed (RFC 9002 §5.3), three decimals
 *	cwnd, bytes_in_flight	bytes (RFC 9002 §2)
 *	path_mtu	bytes, the largest IP packet that is known to pass
 *	udp_payload	bytes, the same without IP and UDP headers
 *	mtu_state	of its discovery (RFC 8899 §5.2): "searching"
 *	mtu_ceiling	bytes of IP
 *	mtu		the object of status_mtu()
 *	connections	[{state, edge, address, tunnels}] of every connection,
 *			the state being "connecting", "up", "silent" (an answer
 *			is overdue) or "draining"; tunnels are streams
 *	tunnels		{open, waiting, total, failed}: streams of all
 *			connections, requests that wait for a connection or a
 *			stream, and since the start tunnels granted and refused
 *	clients		{open, total}, at the listeners, since the start
 *	bytes		{up, down}, of all clients since the start
 *	top		[]: for status_top_add()
 *	packets		{sent, received, lost, trains}, of this connection;
 *			trains are the calls that sent them
 *	reconnects	connections that took over since the first one
 *	migrations	changes of path (RFC 9000 §9)
 *	uptime_s	of this process
 *	version, pid	of this process
 *	listen		["address:port"]
 *	limits		an object for each limit, see proxy/local/limits.h:
 *			{use, max, hits}; the maximum is null where there is
 *			none, the use where it is not known; hits are the
 *			times that the maximum was reached
 *
 * Text that is not UTF-8, which JSON cannot carry, has '?' for what is not
 * ASCII. Returns a new reference, or NULL without memory.
 */
json_t *status_json(const struct status_facts *facts);

/*
 * Makes the object about the path MTU of the active connection; sizes are bytes
 * of IP:
 *
 *	size, ceiling	the largest packet now, and the limit of probing
 *	state		"searching", "complete", "base", "error", "disabled"
 *	cause		of the last change: "probe", "black hole", "new path",
 *			"interface"; or "none"
 *	changed_s	seconds since then
 *	probes_sent, probes_acked, probes_lost
 *	black_holes_suspected, black_holes_confirmed
 *	ptb_seen, ptb_valid, ptb_ignored: ICMP messages "packet too big"
 *
 * Returns a new reference, or NULL without memory.
 */
json_t *status_mtu(const struct status_facts *facts);

/*
 * Makes {"tunnels": []}, to which status_tunnels_add() adds: a new reference,
 * or NULL without memory.
 */
json_t *status_tunnels(void);

/*
 * Adds {target, client, kind, state, age_s, bytes: {up, down}}; the target is
 * null until the client has named it. A callback for listener_each(): `tunnels`
 * is the json_t * of status_tunnels(). Without memory the tunnel is left out.
 */
void status_tunnels_add(void *tunnels, const struct client_info *tunnel);

/*
 * The same for `top`, the clients that move the most bytes. A callback for
 * listener_top(): `status` is the json_t * of status_json().
 */
void status_top_add(void *status, const struct client_info *tunnel);

#endif
