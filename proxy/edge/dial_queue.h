#ifndef CULVERT_PROXY_EDGE_DIAL_QUEUE_H
#define CULVERT_PROXY_EDGE_DIAL_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include <sys/socket.h>

/*
 * Turns to connect to an origin: an address and a port, whatever the names are
 * that lead there. Few attempts at one are under way at a time, and the others
 * wait in the order of their coming: a thousand tunnels to an origin that does
 * not answer must neither flood it nor take the descriptors of all others. An
 * IPv6 origin is its /64, which one host has for itself; an IPv4 address that
 * is reached by NAT64 counts as itself.
 */
struct dial_queue {
	size_t dials_max; /* to one origin at once; may change at any time */

	/* For the owner to read. */
	size_t waiting; /* for their turn, whatever the origin */

	/* Private; NULL at first, and again when no turn is out. */
	void *tree; /* tsearch(3), of struct origin */
};

/*
 * Who wait for one origin, at most: with the usual 256 turns and round trips of
 * 300 ms as many as have theirs within a dial's time. A turn costs 3 KB.
 */
#define ORIGIN_WAITING_MAX 8192

/* One address and port that is being dialled. */
struct origin;

/* A turn, in the caller's memory. */
struct turn {
	struct dial_queue *origins; /* NULL: none was taken */
	struct origin *origin;
	bool waiting;
	void (*go)(void *arg);
	void *arg;
	TAILQ_ENTRY(turn) entry;
};

/*
 * Takes a turn to connect to `addr`. Returns 1 when it is there; 0 when it is
 * to come: then `go` is called once, from inside somebody's turn_end(); or
 * -EAGAIN when too many wait, or -ENOMEM, and nothing was taken.
 */
int turn_take(struct turn *, struct dial_queue *, const struct sockaddr *addr,
    void (*go)(void *arg), void *arg);

/*
 * The attempt is over, or has given up waiting. Whoever comes next is told to go
 * before this returns. No-op when none was taken.
 */
void turn_end(struct turn *);

#endif
