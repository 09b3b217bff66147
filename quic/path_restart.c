/*
 * A new start of congestion control. A sender that has taken random losses for
 * congestion is slow for long after they are repaired. On a new path it begins
 * anew (RFC 9000 §9.4), and ngtcp2 has no other way to make it do so. So the
 * library sees a new path where there is none: a stand-in for the local
 * address, which no path has, with the number of the restart for its port. It
 * validates that path, which takes a round trip.
 */
#include <string.h>

#include <netinet/in.h>

#include "quic/internal.h"

/* Not more often: a start overflows the queue of the bottleneck. */
#define RESTART_INTERVAL (30 * NS_PER_S)

bool
path_is_stand_in(const ngtcp2_path *path)
{
	const ngtcp2_sockaddr *local = path->local.addr;

	if (local->sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)
						     local)
						    ->sin6_addr);
	return ((const struct sockaddr_in *)local)->sin_addr.s_addr ==
	    htonl(INADDR_ANY);
}

ngtcp2_path
path_for_library(const struct quic_conn *conn, const struct quic_path *path)
{
	const struct path_restart *r = &conn->path.restart;
	ngtcp2_path view = path_view(path), known = view;

	if (!r->in_use)
		return view;
	known.local.addr = (ngtcp2_sockaddr *)(uintptr_t)&r->known;
	if (ngtcp2_path_eq(&view, &known))
		view.local.addr = (ngtcp2_sockaddr *)(uintptr_t)&r->stand_in;
	return view;
}

ngtcp2_path
path_real(const struct quic_conn *conn, const ngtcp2_path *path)
{
	const struct path_restart *r = &conn->path.restart;
	ngtcp2_path real = *path;

	if (path_is_stand_in(path))
		real.local.addr = (ngtcp2_sockaddr *)(uintptr_t)&r->known;
	return real;
}

void
path_from_library(const struct quic_conn *conn, ngtcp2_path *path)
{
	ngtcp2_path real = path_real(conn, path);

	if (real.local.addr != path->local.addr)
		memcpy(path->local.addr, real.local.addr, real.local.addrlen);
}

/* A client has left the address; another socket may have it later. */
void
path_forget_stand_in(struct quic_conn *conn)
{
	if (!conn_is_server(conn))
		conn->path.restart.in_use = false;
}

/*
 * The stand-in is validated, or not. After a failure a server is back on the
 * path of before, and would find the next packet on another new path, for ever.
 */
void
path_restarted(struct quic_conn *conn, ngtcp2_path_validation_result result)
{
	if (result != NGTCP2_PATH_VALIDATION_RESULT_FAILURE)
		return;
	conn->path.restart.off = true;
	if (conn_is_server(conn))
		conn->path.restart.in_use = false;
}

static struct sockaddr_storage
make_stand_in(sa_family_t family, uint16_t number)
{
	struct sockaddr_storage address = { .ss_family = family };

	if (family == AF_INET6)
		((struct sockaddr_in6 *)&address)->sin6_port = htons(number);
	else
		((struct sockaddr_in *)&address)->sin_port = htons(number);
	return address;
}

/*
 * A server may return to a path of before, and all its stand-ins are for one
 * address, so that each is known at any time.
 */
static bool
is_other_address(const struct quic_conn *conn)
{
	struct quic_path known = conn->path.current;

	known.local = conn->path.restart.known;
	return conn_is_server(conn) &&
	    !path_is_same(&conn->path.current, &known);
}

/* Not while the path changes, whose events would be lost. */
static bool
may_restart(const struct quic_conn *conn)
{
	const struct path_restart *r = &conn->path.restart;

	if (r->off || r->number == UINT16_MAX || conn->path.migrating ||
	    conn->path.unvalidated ||
	    !path_is_same(&conn->path.current, &conn->path.validated))
		return false;
	return r->number == 0 ||
	    (conn->now - r->at >= RESTART_INTERVAL && !is_other_address(conn));
}

bool
path_restart(struct quic_conn *conn)
{
	struct path_restart *r = &conn->path.restart, before = *r;
	struct quic_path path = conn->path.current;
	ngtcp2_path view;
	int rv = 0;

	if (!may_restart(conn))
		return false;
	r->known = path.local;
	r->in_use = true;
	r->stand_in = make_stand_in(path.local.ss_family, ++r->number);
	r->at = conn->now;
	path.local = r->stand_in;
	view = path_view(&path);
	/* A server sees the new path in the next packet. */
	if (!conn_is_server(conn))
		rv = ngtcp2_conn_initiate_immediate_migration(conn->quic, &view,
		    conn->now);
	if (rv == NGTCP2_ERR_INVALID_STATE ||
	    rv == NGTCP2_ERR_CONN_ID_BLOCKED ||
	    rv == NGTCP2_ERR_INVALID_ARGUMENT) {
		*r = before;
		return false;
	}
	conn_check(conn, rv);
	return true;
}
