/*
 * UDP sockets on a libuv loop, for one client connection or one server.
 *
 * With quic/socket.h this is the only part of quic/ that reads a clock or does
 * I/O. It reads datagrams in batches (recvmmsg, GRO), passes them on, and once
 * in each iteration of the loop sends trains (GSO), with DF and ECN set.
 */
#ifndef CULVERT_QUIC_IO_H
#define CULVERT_QUIC_IO_H

#include <uv.h>

#include "quic/quic.h"
#include "quic/socket.h"

struct quic_io;

/*
 * Opens a socket to `remote`, and sets `path` for quic_client_new(). 0, or a
 * negative errno, such as -ENETUNREACH: see quic_socket_connect(). `via` is
 * copied; NULL: by the system's routes.
 */
int
quic_io_connect(struct quic_io **, uv_loop_t *, const struct sockaddr *remote,
    const struct quic_via *via, struct quic_path *path);

/*
 * Drives `conn` until quic_io_close(). `unreachable` (or NULL) is called when
 * an ICMP message reports that the remote side is unreachable, with the errno,
 * such as -ECONNREFUSED. It is only a hint, since such messages are easy to
 * forge.
 */
void quic_io_start(struct quic_io *, struct quic_conn *conn,
    void (*unreachable)(void *arg, int error), void *arg);

/*
 * A client: the path that a new socket would have now, by the current routes.
 * 0, or a negative errno as of quic_io_connect().
 */
int quic_io_new_path(const struct quic_io *, struct quic_path *path);

/* The `via` of quic_io_connect(); lives as long as the io. */
const struct quic_via *quic_io_via(const struct quic_io *);

/*
 * A client: the interface of the current path is down or has lost its address.
 */
bool quic_io_path_is_down(const struct quic_io *);

/*
 * A client: opens another socket on the path of quic_io_new_path(), and
 * migrates the connection to it. The other arguments and results are those of
 * quic_conn_migrate() and quic_io_connect(); on failure nothing changes.
 * Without `at_once`, and after -EPERM, the old socket is pinned to its
 * interface, whatever the routes say. Not from inside an event.
 */
int quic_io_migrate(struct quic_io *, bool at_once);

/*
 * Closes the sockets that the current path does not use. To be called some time
 * after `migrated`, since packets may still arrive on the old path.
 */
void quic_io_close_unused(struct quic_io *);

/*
 * Binds a socket to `addr` (port 0: any) and drives `server` until
 * quic_io_close(). An IPv6 wildcard address serves IPv4, too. 0 or a negative
 * errno.
 */
int quic_io_listen(struct quic_io **, uv_loop_t *, const struct sockaddr *addr,
    struct quic_server *server);

/* The address of the newest socket; valid until that is closed. */
const struct sockaddr *quic_io_local(const struct quic_io *);

/*
 * Sends what is due (a CONNECTION_CLOSE, for example) and closes. The caller
 * may not use the io any more, and may free its connection or server. The
 * memory is freed when libuv has closed the handles. NULL is a no-op.
 */
void quic_io_close(struct quic_io *);

/* The clock of all `now` parameters: CLOCK_MONOTONIC in nanoseconds. */
uint64_t quic_io_now(void);

#endif
