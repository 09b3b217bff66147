/*
 * A network in memory, with a clock of its own: clients, one server, and what
 * happens to datagrams between them. Nothing here waits, and with one seed
 * everything happens in one order.
 */
#ifndef CULVERT_TESTS_UNIT_LINK_H
#define CULVERT_TESTS_UNIT_LINK_H

#include <sys/queue.h>

#include "quic/quic.h"

#define LINK_MS UINT64_C(1000000)   /* ns */
#define LINK_S UINT64_C(1000000000) /* ns */

#define LINK_CLIENTS_MAX 16
#define LINK_PLACES 4	       /* networks that a client can move between */
#define LINK_DATAGRAM_MAX 9000 /* bytes; what is longer is lost */

/* A datagram on its way. */
struct link_datagram {
	TAILQ_ENTRY(link_datagram) entry; /* link->wire, by `at` */
	uint64_t at;			  /* ns: when it arrives */
	bool up;			  /* to the server */
	size_t client;			  /* whose it is, or for whom */
	size_t place;			  /* where the client is, or was */
	struct quic_path path;		  /* as its receiver sees it */
	uint8_t ecn;
	size_t len; /* bytes */
	uint8_t data[LINK_DATAGRAM_MAX];
};

struct link {
	uint64_t now;	    /* ns; never 0 */
	uint64_t delay;	    /* ns, one way; 25 ms */
	uint64_t byte_ns;   /* of the line, each way; 0: no time at all */
	uint64_t queue_max; /* ns: who would wait longer before it is lost */
	unsigned loss;	    /* of 1000 datagrams, so many are lost, ... */
	unsigned late;	    /* ... overtaken by later ones ... */
	unsigned twice;	    /* ... or arrive twice */
	size_t size_max;    /* bytes; longer datagrams are lost */
	uint64_t random;    /* state of link_random(); set it to seed it */

	/*
	 * Where clients are: each has an address of its own at every place,
	 * and sends from the one that its path names. What is lost there, both
	 * ways, is more than `size_max` or the place's own, if that is not 0.
	 */
	bool down[LINK_PLACES];
	size_t place_size_max[LINK_PLACES];

	/*
	 * The source ports of the clients as the server sees them. Whoever
	 * adds less than LINK_NAT_PORTS to one has changed a NAT's mapping;
	 * datagrams to the earlier ports still arrive.
	 */
	uint16_t port[LINK_CLIENTS_MAX];

	/* Sees every datagram as it leaves and may alter it; false: lost. */
	bool (*tamper)(struct link_datagram *, void *arg);
	void *tamper_arg;

	/* Set by the test; what is left here is freed with the link. */
	struct quic_server *server;
	struct quic_conn *clients[LINK_CLIENTS_MAX];

	size_t sent_up, sent_down; /* datagrams that left, lost ones included */
	size_t delivered;	   /* receive calls: GRO makes them fewer */
	uint64_t busy_until[2];	   /* ns: the line sends by then; down, up */

	TAILQ_HEAD(link_wire, link_datagram) wire;
	struct quic_gso *server_train;
	struct quic_gso *client_train[LINK_CLIENTS_MAX];
};

#define LINK_NAT_PORTS 100 /* ports between those of two clients */

extern bool link_v6; /* addresses are of IPv6: before a link is made */

struct link *link_new(void);
void link_free(struct link *);

/*
 * The path of a client as it sees it itself, for quic_client_new(); from
 * another place than the first, for quic_conn_migrate(); and from a place where
 * it has been, which gives it another address at every visit below 256.
 */
struct quic_path link_path(size_t client);
struct quic_path link_path_at(size_t client, size_t place);
struct quic_path link_path_again(size_t client, size_t place, unsigned visit);

/* A number below `n` (which is not 0). */
uint64_t link_random(struct link *, uint64_t n);

/*
 * Lets a datagram of unknown origin arrive at the server, as if from that
 * client, or at the client, as if from the server.
 */
void link_inject(struct link *, bool up, size_t client, const void *data,
    size_t len);

/* Frees a client and what its train still held: the place is free again. */
void link_drop_client(struct link *, size_t client);
void link_drop_server(struct link *);

/*
 * Sends, waits, delivers and expires, until done(arg) is true or `limit`
 * nanoseconds have passed; says which. With no `done`, runs for `limit` and
 * returns true. False also if the two ends keep each other busy without any
 * time passing.
 */
bool
link_run(struct link *, bool (*done)(void *arg), void *arg, uint64_t limit);

#endif
