/*
 * One UDP socket that speaks in batches and trains; for io.c, which puts it on
 * a loop. Nothing here knows a loop, a clock or a connection.
 *
 * Every socket has DF set on all it sends and shows ECN. Towards the caller an
 * IPv4 address is an IPv4 address, also on an IPv6 socket.
 */
#ifndef CULVERT_QUIC_SOCKET_H
#define CULVERT_QUIC_SOCKET_H

#include <net/if.h>

#include "quic/quic.h"

/* By which way packets leave, where that is not up to the system's routes. */
struct quic_via {
	char interface[IF_NAMESIZE]; /* by this one alone; empty: any */
	uint32_t mark; /* for policy routing (SO_MARK); 0: none */
};

/* Whether we have the privilege to ask for that; opens a socket to try. */
bool quic_via_is_allowed(const struct quic_via *);

/*
 * What an error of quic_socket_connect() means, as the end of a sentence: in
 * `text`, or static.
 */
const char *quic_via_error(const struct quic_via *, int error,
    char text[QUIC_ERROR_MAX]);

struct quic_socket {
	int fd;	/* the owner may poll it, and leaves it open */
	struct sockaddr_storage local; /* the address that it is bound to */
	unsigned interface; /* connected: index of the one with it, or 0 ... */
	bool running;	    /* ... which was running then */
	bool connected; /* speaks with one address only */
	bool gso;	/* the kernel cuts trains for us */
};

/*
 * Opens a socket towards `remote`: the kernel chooses the local address and
 * shows the network's errors. 0, or the negative errno of socket(2) or
 * connect(2), such as -ENETUNREACH; then there is nothing to close. Of `via`
 * comes -ENODEV when there is no such interface, and -EPERM when we may not
 * ask for that: a mark takes CAP_NET_ADMIN, or CAP_NET_RAW since Linux 5.17.
 */
int quic_socket_connect(struct quic_socket *, const struct sockaddr *remote,
    const struct quic_via *via);

/*
 * Opens a socket that is bound to `local` (port 0: any) and serves everybody;
 * an IPv6 wildcard serves IPv4 too. Answers leave from the address that was
 * asked. 0, or the negative errno of socket(2) or bind(2), as above.
 */
int quic_socket_bind(struct quic_socket *, const struct sockaddr *local);

/*
 * What is asked of the kernel for each socket's buffers: what arrives or
 * leaves in 30 ms at 1 Gbit/s. It grants net.core.rmem_max and wmem_max at
 * most.
 */
#define QUIC_SOCKET_BUFFER (4 * 1048576) /* bytes */

/* Bytes of QUIC_SOCKET_BUFFER that are granted to receive in; a system call. */
size_t quic_socket_buffer(void);

/*
 * A connected socket has lost its place: the interface has not its address any
 * more, or has stopped running.
 */
bool quic_socket_is_stranded(const struct quic_socket *);

/*
 * Lets a connected socket go on by its interface whatever becomes of the
 * routes; as far as the kernel allows it, and it does as a rule.
 */
void quic_socket_pin(struct quic_socket *);

/* Closes the descriptor, once; poll it no more. */
void quic_socket_close(struct quic_socket *);

#define QUIC_SOCKET_BATCH 8	  /* datagrams that one receive call takes */
#define QUIC_SOCKET_RX_SIZE 65536 /* bytes of each: the largest, or GRO's */

/*
 * One recvmmsg(2). `memory` is the caller's, QUIC_SOCKET_BATCH times
 * QUIC_SOCKET_RX_SIZE bytes, and `rx` points into it afterwards. The number of
 * entries filled, or a negative errno: -EAGAIN when there is nothing to read;
 * of others quic_socket_error() knows more.
 */
int quic_socket_receive(struct quic_socket *, uint8_t *memory,
    struct quic_rx rx[QUIC_SOCKET_BATCH]);

/*
 * The next thing that the network, or our own interface, has to say of what we
 * sent: a poll that shows an error calls for this until it has no more.
 * -EAGAIN: there is none. -EMSGSIZE: a packet was too big, `news` says for
 * what. 0: nothing of note, such as that a route is not there for a moment.
 * Another negative errno, such as -ECONNREFUSED: nobody is there.
 */
int quic_socket_error(struct quic_socket *, struct quic_too_big *news);

/*
 * Sends a train. -EAGAIN: there is no room, what is left of it stays in
 * `train`; try again when the socket is writable. -EMSGSIZE: the packets are
 * too big for the interface, and quic_socket_error() tells of it. 0 otherwise:
 * what the network refuses is lost, as it may be, and QUIC finds out.
 */
int quic_socket_send(struct quic_socket *, struct quic_gso *gso);

/* The length of an IPv4 or IPv6 address, for the system's calls. */
socklen_t quic_socket_len(const struct sockaddr *);

#endif
