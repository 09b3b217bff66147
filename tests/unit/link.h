/*
 * A network in memory, with a clock of its own: clients, one server, and the
 * datagrams between them. Nothing here waits, and with one seed everything
 * happens in one order.
 */
#ifndef CULVERT_TESTS_UNIT_LINK_H
#define CULVERT_TESTS_UNIT_LINK_H

#include <sys/queue.h>

#include "quic/quic.h"

#define LINK_MS UINT64_C(1000000)   /* ns */
#define LINK_S UINT64_C(1000000000) /* ns */

#define LINK_CLIENTS_MAX 16
#define LINK_CROWD_MAX 80      /* the same, for a test that has a crowd */
#define LINK_PLACES 4	       /* networks that a client can move between */
#define LINK_DATAGRAM_MAX 9000 /* bytes; longer datagrams are lost */

/* A datagram on its way. */
struct link_datagram {
	TAILQ_ENTRY(link_datagram) entry; /* link->wire, by `at` */
	uint64_t at;			  /* ns: when it arrives */
	bool up;			  /* to the server */
	size_t client;			  /* its sender or receiver */
	size_t place;			  /* where the client is, or was */
	struct quic_path path;		  /* as the receiver has it */
	uint8_t ecn;
	size_t len; /* bytes */
	uint8_t data[LINK_DATAGRAM_MAX];
};

struct link {
	uint64_t now;	    /* ns; never 0 */
	uint64_t delay;	    /* ns, one way; 25 ms */
	uint64_t byte_ns;   /* of the line, each way; 0: no time at all */
	uint64_t queue_max; /* ns: a longer queue loses datagrams */
	unsigned loss;	    /* of 1000 datagrams, so many are lost, ... */
	unsigned late;	    /* ... overtaken by later ones ... */
	unsigned twice;	    /* ... or arrive twice */
	size_t size_max;    /* bytes; longer datagrams are lost */
	uint64_t random;    /* state of link_random(); set it to seed it */

	/*
	 * The places of clients: a client has an address of its own at each,
	 * and sends from the one that its path names. Datagrams larger than
	 * `size_max`, or than the place's own limit if that is not 0, are lost
	 * there, both ways.
	 */
	bool down[LINK_PLACES];
	size_t place_size_max[LINK_PLACES];

	/*
	 * The source ports of the clients as the server sees them. Adding less
	 * than LINK_NAT_PORTS to one changes a NAT's mapping; datagrams to the
	 * earlier ports still arrive.
	 */
	uint16_t port[LINK_CROWD_MAX];

	/*
	 * If it is not 0, datagrams from that client arrive at multiples of so
	 * many nanoseconds: it sends its acknowledgements rarely.
	 */
	uint64_t batch_ns[LINK_CROWD_MAX];

	/* Called for every datagram as it leaves; may alter it. False: lost. */
	bool (*tamper)(struct link_datagram *, void *arg);
	void *tamper_arg;

	/* Set by the test; what remains is freed with the link. */
	struct quic_server *server;
	struct quic_conn *clients[LINK_CROWD_MAX];

	size_t sent_up, sent_down; /* datagrams that left, lost ones included */
	size_t delivered;	   /* receive calls: GRO makes them fewer */
	uint64_t busy_until[2];	   /* ns: the line sends by then; down, up */

	TAILQ_HEAD(link_wire, link_datagram) wire;
	struct quic_gso *server_train;
	struct quic_gso *client_train[LINK_CROWD_MAX];
};

#define LINK_NAT_PORTS 100 /* ports between those of two clients */

extern bool link_v6; /* addresses are of IPv6: before a link is made */

struct link *link_new(void);
void link_free(struct link *);

/*
 * The path of a client as the client has it, for quic_client_new(); from
 * another place than the first, for quic_conn_migrate(); and from a place where
 * it was before, with another address at every visit below 256.
 */
struct quic_path link_path(size_t client);
struct quic_path link_path_at(size_t client, size_t place);
struct quic_path link_path_again(size_t client, size_t place, unsigned visit);

/* A number below `n` (which is not 0). */
uint64_t link_random(struct link *, uint64_t n);

/*
 * Delivers a forged datagram to the server, as if from that client, or to the
 * client, as if from the server.
 */
void link_inject(struct link *, bool up, size_t client, const void *data,
    size_t len);

/* Frees a client and what its train still holds: the place is free again. */
void link_drop_client(struct link *, size_t client);
void link_drop_server(struct link *);

/*
 * Sends, waits, delivers and expires until done(arg) is true or `limit`
 * nanoseconds have passed, and returns whether it is true. Without `done`, runs
 * for `limit` and returns true. Returns false, too, if the two ends keep each
 * other busy while no time passes.
 */
bool
link_run(struct link *, bool (*done)(void *arg), void *arg, uint64_t limit);

#endif
