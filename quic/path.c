/*
 * The current path of a connection, and migration to another (RFC 9000 §9).
 *
 *   client: quic_conn_migrate ──▶ conn_follow_path ──▶ mtu_probe_stop
 *   server: packets from elsewhere ───▶ ┘                  │
 *                     path_validated ──▶ conn_follow_path ─┴▶ mtu_probe_start
 */
#include <errno.h>
#include <string.h>

#include <netinet/in.h>

#include "quic/internal.h"

/* IP and UDP headers (RFC 791, 8200, 768). */
#define HEADERS_V4 PATH_HEADERS_MIN
#define HEADERS_V6 48 /* bytes */

size_t
path_headers_len(const struct quic_path *path)
{
	return path->remote.ss_family == AF_INET6 ? HEADERS_V6 : HEADERS_V4;
}

/* The same path as ngtcp2 represents it. */
ngtcp2_path
path_view(const struct quic_path *path)
{
	socklen_t len = path->remote.ss_family == AF_INET6
	    ? sizeof(struct sockaddr_in6)
	    : sizeof(struct sockaddr_in);

	return (ngtcp2_path){
		.local = { (ngtcp2_sockaddr *)(uintptr_t)&path->local, len },
		.remote = { (ngtcp2_sockaddr *)(uintptr_t)&path->remote, len },
	};
}

/* ---- A restart ---- */

/*
 * A sender that has taken random losses for congestion is slow for long after
 * they are repaired. On a new path it begins anew (RFC 9000 §9.4), and ngtcp2
 * has no other way to do so. So the library sees a new path where there is
 * none: a stand-in for the local address, which no path has, with the number of
 * the restart for its port. It validates that path, which takes a round trip.
 */

/* Not more often: a start overflows the queue of the bottleneck. */
#define RESTART_INTERVAL (30 * NS_PER_S)

static bool
is_stand_in(const ngtcp2_addr *local)
{
	if (local->addr->sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)
						     local->addr)
						    ->sin6_addr);
	return ((const struct sockaddr_in *)local->addr)->sin_addr.s_addr ==
	    htonl(INADDR_ANY);
}

ngtcp2_path
path_for_library(const struct quic_conn *conn, const struct quic_path *path)
{
	ngtcp2_path view = path_view(path), replaced = view;

	if (conn->path.restarts == 0)
		return view;
	replaced.local.addr =
	    (ngtcp2_sockaddr *)(uintptr_t)&conn->path.replaced;
	if (ngtcp2_path_eq(&view, &replaced))
		view.local.addr =
		    (ngtcp2_sockaddr *)(uintptr_t)&conn->path.stand_in;
	return view;
}

static ngtcp2_path
real_path(const struct quic_conn *conn, const ngtcp2_path *path)
{
	ngtcp2_path real = *path;

	if (conn->path.restarts > 0 && is_stand_in(&path->local))
		real.local.addr =
		    (ngtcp2_sockaddr *)(uintptr_t)&conn->path.replaced;
	return real;
}

/* `from` is as the library has it. */
static void
path_copy(const struct quic_conn *conn, struct quic_path *to,
    const ngtcp2_path *from)
{
	ngtcp2_path path = real_path(conn, from);

	memcpy(&to->local, path.local.addr, path.local.addrlen);
	memcpy(&to->remote, path.remote.addr, path.remote.addrlen);
}

void
path_from_library(const struct quic_conn *conn, ngtcp2_path *path)
{
	ngtcp2_path real = real_path(conn, path);

	if (real.local.addr != path->local.addr)
		memcpy(path->local.addr, real.local.addr, real.local.addrlen);
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

/* A server sees the new path in the next packet; a client moves by itself. */
void
path_restart(struct quic_conn *conn)
{
	struct conn_path *p = &conn->path;
	struct quic_path path = p->current;
	ngtcp2_path view;

	if (p->restarts > 0 && conn->now - p->restarted_at < RESTART_INTERVAL)
		return;
	path.local = make_stand_in(p->current.local.ss_family, p->restarts + 1);
	view = path_view(&path);
	if (!conn_is_server(conn) &&
	    ngtcp2_conn_initiate_immediate_migration(conn->quic, &view,
		conn->now) != 0)
		return;
	p->restarts++;
	p->restarted_at = conn->now;
	p->replaced = p->current.local;
	p->stand_in = path.local;
}

static bool
same_host(const struct sockaddr *a, const struct sockaddr *b)
{
	if (a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET6)
		return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
			   &((const struct sockaddr_in6 *)b)->sin6_addr,
			   sizeof(struct in6_addr)) == 0;
	return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
	    ((const struct sockaddr_in *)b)->sin_addr.s_addr;
}

/*
 * The result of a path validation. After a failure ngtcp2 returns to the path
 * of before, which is as valid as it was.
 */
int
path_validated(ngtcp2_conn *quic, uint32_t flags, const ngtcp2_path *path,
    const ngtcp2_path *old_path, ngtcp2_path_validation_result result,
    void *user)
{
	struct quic_conn *conn = user;

	(void)quic, (void)flags;
	if (result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS)
		path_copy(conn, &conn->path.validated, path);
	else if (old_path != NULL)
		path_copy(conn, &conn->path.validated, old_path);
	if (is_stand_in(&path->local))
		return 0; /* nobody has asked for it */
	if (result == NGTCP2_PATH_VALIDATION_RESULT_ABORTED ||
	    (result == NGTCP2_PATH_VALIDATION_RESULT_FAILURE &&
		conn_is_server(conn)))
		return 0;
	conn->path.event_pending = true;
	conn->path.failed = result == NGTCP2_PATH_VALIDATION_RESULT_FAILURE;
	return 0;
}

/*
 * The library may have changed the path. The size of the new one is unknown
 * until it is validated. If only the port of a client has changed, by a NAT,
 * the path is most likely the same.
 */
void
conn_follow_path(struct quic_conn *conn)
{
	ngtcp2_path path = real_path(conn, ngtcp2_conn_get_path(conn->quic));
	ngtcp2_path ours = path_view(&conn->path.current);
	ngtcp2_path proven = path_view(&conn->path.validated);
	bool moved;

	if (!ngtcp2_path_eq(&path, &ours)) {
		conn->path.changes++;
		moved = !conn_is_server(conn) ||
		    !same_host(path.remote.addr, ours.remote.addr);
		path_copy(conn, &conn->path.current, &path);
		if (conn_is_server(conn))
			conn->server.ops->path_changed(conn->server.owner,
			    conn);
		if (moved) {
			conn->path.unvalidated = true;
			mtu_probe_stop(conn, conn->now);
			path_loss_moved(conn);
		}
	}
	if (conn->path.unvalidated && ngtcp2_path_eq(&path, &proven)) {
		conn->path.unvalidated = false;
		mtu_probe_start(conn, conn->now);
	}
}

/* ---- Migration ---- */

const struct quic_path *
quic_conn_path(const struct quic_conn *conn)
{
	return &conn->path.current;
}

int
quic_conn_migrate(struct quic_conn *conn, const struct quic_path *path,
    bool at_once, uint64_t now)
{
	const ngtcp2_transport_params *peer;
	ngtcp2_path view = path_view(path);
	int rv;

	if (conn->state != CONN_UP)
		return -ENOTCONN;
	peer = ngtcp2_conn_get_remote_transport_params(conn->quic);
	if (peer->disable_active_migration)
		return -EPERM;
	conn->now = now;
	rv = at_once
	    ? ngtcp2_conn_initiate_immediate_migration(conn->quic, &view, now)
	    : ngtcp2_conn_initiate_migration(conn->quic, &view, now);
	if (rv == NGTCP2_ERR_INVALID_STATE || rv == NGTCP2_ERR_CONN_ID_BLOCKED)
		return -EAGAIN;
	if (rv == NGTCP2_ERR_INVALID_ARGUMENT)
		return -EINVAL;
	if (rv != 0)
		return -ENOMEM;
	conn->path.event_pending = false;
	conn_follow_path(conn);
	conn_touch(conn);
	return 0;
}
