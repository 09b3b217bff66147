/*
 * UDP sockets on a libuv loop, for one client connection or one server.
 *
 * With quic/socket.h the only part of quic/ that reads a clock or touches the
 * system. It reads datagrams in batches (recvmmsg, GRO), hands them over, and
 * once per turn of the loop sends what there is in trains (GSO), with DF and
 * ECN set.
 */
#ifndef CULVERT_QUIC_IO_H
#define CULVERT_QUIC_IO_H

#include <uv.h>

#include "quic/quic.h"
#include "quic/socket.h"

struct quic_io;

/*
 * Opens a socket towards `remote`, and fills `path` with both ends of it for
 * quic_client_new(). 0, or a negative errno, such as -ENETUNREACH: see
 * quic_socket_connect(). `via` is copied, and NULL for the system's routes.
 */
int quic_io_connect(struct quic_io **, uv_loop_t *,
    const struct sockaddr *remote, const struct quic_via *via,
    struct quic_path *path);

/*
 * From now on drives `conn`, until quic_io_close(). `unreachable` (or NULL) is
 * told when the network says that nobody is there, with the errno, such as
 * -ECONNREFUSED: a hint that anybody could have forged.
 */
void quic_io_start(struct quic_io *, struct quic_conn *conn,
    void (*unreachable)(void *arg, int error), void *arg);

/*
 * A client: the path that a new socket would have now, by the routes that
 * there are. 0, or a negative errno as of quic_io_connect(): there is no way.
 */
int quic_io_way(const struct quic_io *, struct quic_path *path);

/* What quic_io_connect() was given; lives as long as the io. */
const struct quic_via *quic_io_via(const struct quic_io *);

/* A client: the network that the path in use begins with is gone. */
bool quic_io_is_stranded(const struct quic_io *);

/*
 * A client: opens another socket, which is where quic_io_way() says, and moves
 * the connection to it. The other arguments and results are those of
 * quic_conn_migrate() and quic_io_connect(); on failure all is as it was.
 * Without `at_once`, and after -EPERM, the socket in use stays with its
 * interface, whatever the routes say. Not from inside an event.
 */
int quic_io_migrate(struct quic_io *, bool at_once);

/*
 * Closes the sockets that the path in use has no need of: some time after
 * `migrated`, since packets may still be under way to the one that was left.
 */
void quic_io_tidy(struct quic_io *);

/*
 * Binds a socket to `addr` (port 0: any) and drives `server` until
 * quic_io_close(). An IPv6 wildcard serves IPv4 too. 0 or a negative errno.
 */
int quic_io_listen(struct quic_io **, uv_loop_t *,
    const struct sockaddr *addr, struct quic_server *server);

/* The address that the socket in use is bound to; valid until it closes. */
const struct sockaddr *quic_io_local(const struct quic_io *);

/*
 * Sends what is due (a CONNECTION_CLOSE, say) and closes. The io is gone for
 * the caller, and so may be the connection or server that it drove; the
 * memory follows when libuv has closed the handles. NULL is fine.
 */
void quic_io_close(struct quic_io *);

/* The clock of all `now` parameters: CLOCK_MONOTONIC in nanoseconds. */
uint64_t quic_io_now(void);

#endif
