/*
 * A UDP socket that receives in batches and sends in trains. io.c puts it on a
 * loop. It knows no loop, clock or connection.
 *
 * Every socket sets DF on its packets, and reports ECN. For the caller an IPv4
 * address is always an IPv4 address, on an IPv6 socket, too.
 */
#ifndef CULVERT_QUIC_SOCKET_H
#define CULVERT_QUIC_SOCKET_H

#include <net/if.h>

#include "quic/quic.h"

/* How packets leave, if not by the system's routes. */
struct quic_via {
	char interface[IF_NAMESIZE]; /* its name; empty: any */
	uint32_t mark;		     /* for policy routing (SO_MARK); 0: none */
};

/* True: this process has the privilege for that. Opens a socket to try. */
bool quic_via_is_allowed(const struct quic_via *);

/*
 * The text of an error of quic_socket_connect(), for the end of a sentence: in
 * `text`, or static.
 */
const char *
quic_via_error(const struct quic_via *, int error, char text[QUIC_ERROR_MAX]);

struct quic_socket {
	int fd; /* the owner may poll it, but not close it */
	struct sockaddr_storage local;
	unsigned interface; /* connected: index of the one with `local`; or 0 */
	bool running;	    /* connected: that interface was running */
	bool connected;	    /* has one remote address */
	bool gso;	    /* the kernel splits trains */
};

/*
 * Opens a connected socket to `remote`: the kernel chooses the local address,
 * and reports ICMP errors. 0, or the negative errno of socket(2) or connect(2),
 * such as -ENETUNREACH; then there is nothing to close. `via` causes -ENODEV if
 * there is no such interface, and -EPERM without the privilege: a mark needs
 * CAP_NET_ADMIN, or CAP_NET_RAW since Linux 5.17.
 */
int quic_socket_connect(struct quic_socket *, const struct sockaddr *remote,
    const struct quic_via *via);

/*
 * Opens a socket that is bound to `local` (port 0: any), for all remote
 * addresses. An IPv6 wildcard address serves IPv4, too. Replies leave from the
 * address at which the request arrived. 0, or the negative errno of socket(2)
 * or bind(2), as above.
 */
int quic_socket_bind(struct quic_socket *, const struct sockaddr *local);

/*
 * The size of each buffer that every socket requests: what arrives or leaves in
 * 30 ms at 1 Gbit/s. The kernel grants net.core.rmem_max and wmem_max at most.
 */
#define QUIC_SOCKET_BUFFER (4 * 1048576) /* bytes */

/*
 * How many bytes of QUIC_SOCKET_BUFFER are granted for receiving. This is a
 * system call.
 */
size_t quic_socket_buffer(void);

/*
 * A connected socket is unusable: its interface has lost the address, or has
 * stopped running.
 */
bool quic_socket_is_down(const struct quic_socket *);

/*
 * Binds a connected socket to its interface, whatever happens to the routes. As
 * a rule the kernel allows it; if not, nothing changes.
 */
void quic_socket_pin(struct quic_socket *);

/* Closes the descriptor, once. Stop polling it before. */
void quic_socket_close(struct quic_socket *);

#define QUIC_SOCKET_BATCH 8 /* results of one receive call */
/* Bytes of each: the largest datagram, or those that GRO joins. */
#define QUIC_SOCKET_RX_SIZE 65536

/*
 * One recvmmsg(2). `memory` is the caller's, QUIC_SOCKET_BATCH times
 * QUIC_SOCKET_RX_SIZE bytes, and `rx` points into it afterwards. Returns the
 * number of entries, or a negative errno: -EAGAIN if there is nothing to read;
 * for others see quic_socket_error().
 */
int quic_socket_receive(struct quic_socket *, uint8_t *memory,
    struct quic_rx rx[QUIC_SOCKET_BATCH]);

/*
 * The next ICMP or interface error for a packet that was sent. After poll has
 * reported an error, call this until there is none. -EAGAIN: there is none.
 * -EMSGSIZE: a packet was too big, see `report`. 0: an error that does not
 * matter, such as a route that is missing for a moment. Another negative errno,
 * such as -ECONNREFUSED: the remote side is unreachable.
 */
int quic_socket_error(struct quic_socket *, struct quic_too_big *report);

/*
 * Sends a train. -EAGAIN: there is no room, and the rest stays in `gso`: try
 * again when the socket is writable. -EMSGSIZE: the packets are too big for the
 * interface, and quic_socket_error() reports it. 0 otherwise: packets that the
 * network refuses are lost, and QUIC detects that.
 */
int quic_socket_send(struct quic_socket *, struct quic_gso *gso);

/* The size of an IPv4 or IPv6 address, for system calls. */
socklen_t quic_socket_len(const struct sockaddr *);

#endif
