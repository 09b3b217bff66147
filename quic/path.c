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

bool
path_is_same(const struct quic_path *a, const struct quic_path *b)
{
	ngtcp2_path x = path_view(a), y = path_view(b);

	return ngtcp2_path_eq(&x, &y);
}

/* `from` is as the library has it. */
static void
path_copy(const struct quic_conn *conn, struct quic_path *to,
    const ngtcp2_path *from)
{
	ngtcp2_path path = path_real(conn, from);

	memcpy(&to->local, path.local.addr, path.local.addrlen);
	memcpy(&to->remote, path.remote.addr, path.remote.addrlen);
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
	if (path_is_stand_in(path)) {
		path_restarted(conn, result);
		return 0; /* nobody has asked for it */
	}
	conn->path.migrating = false;
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
	ngtcp2_path path = path_real(conn, ngtcp2_conn_get_path(conn->quic));
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
			path_forget_stand_in(conn);
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
	ngtcp2_path view = path_for_library(conn, path);
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
	conn->path.migrating = true;
	conn_follow_path(conn);
	conn_touch(conn);
	return 0;
}
