/*
 * What the tests of quic/ play with: clients and a server on a link, what was
 * heard of them, and both ends of every tunnel. Asserts with cmocka.
 */
#ifndef CULVERT_TESTS_UNIT_WORLD_H
#define CULVERT_TESTS_UNIT_WORLD_H

#include "tests/unit/link.h"

#define TUNNELS_MAX 128
#define SERVER_NAME "edge.example"
#define UNIX_NOW 1750000000 /* seconds: what GnuTLS takes for the present */

/* What the owner of a connection was told; the last one's, at the server. */
struct watch {
	unsigned connected, streams_available, closed;
	struct quic_close why;
	struct quic_conn *conn; /* the last that connected */
};

enum habit {
	SINK, /* takes all, checks it */
	ECHO, /* sends back what comes, FIN for FIN */
	HOLD  /* takes nothing */
};

/*
 * One end of a tunnel. What end number i sends and receives is a pattern of i,
 * unless it echoes. The test sets the first part before the tunnel opens.
 */
struct end {
	enum habit habit;
	size_t to_send;	    /* bytes */
	bool stays_open;    /* no FIN after to_send */
	bool lets_go;	    /* releases when it has sent FIN, right or wrong */
	const char *status; /* far: of the response; NULL: 200 */

	unsigned number;
	struct quic_stream *stream; /* NULL: not there, or gone */
	size_t sent, received;	    /* bytes */
	bool finished, ended, spoilt; /* spoilt: received what was not sent */
	char answer[8];		    /* near: the status that came */
	unsigned writable;	    /* events */
	bool aborted, connection_lost;
	uint64_t code;		    /* of the abortion */
	enum quic_cause cause;	    /* if the connection was lost */
};

struct world {
	struct link *link;
	struct quic_tls *client_tls, *server_tls;
	struct quic_settings client_settings, server_settings;
	uint8_t secret[QUIC_SECRET_LEN];
	char *cert, *key; /* PEM, of the server; signed by itself */

	struct watch client[LINK_CLIENTS_MAX], server;
	struct end near[TUNNELS_MAX], far[TUNNELS_MAX];
	unsigned requests; /* that the server saw */
	struct quic_field seen[QUIC_FIELDS_MAX]; /* of the last; malloc */
	size_t nseen;
};

/* Setup and teardown of a cmocka test: *state is a world with credentials. */
int world_new(void **state);
int world_free(void **state);

struct quic_pem pem(const char *text);

/* The server, and client number `i`; the packets go with the next run. */
void world_serve(struct world *);
void world_dial(struct world *, size_t i);

/* Both of those and the handshake of client 0, which must succeed. */
void world_up(struct world *);

/* Runs until client `i` is connected, or closed; false: neither in 60 s. */
bool world_connected(struct world *, size_t i);
bool world_closed(struct world *, size_t i);

/* Opens tunnel `number` from client 0. Returns as quic_stream_request(). */
int tunnel_open(struct world *, unsigned number);

/* Runs until the near ends of tunnels 0 to n-1 are at their end and gone. */
bool tunnels_done(struct world *, unsigned n);

/* Lets an end do what it can: take, check, send, finish. */
void end_pump(struct end *);

/* What an end of that number sends at that offset. */
uint8_t pattern(unsigned number, size_t offset);

/* A condition to run for: `*arg` is true, or not 0 (unsigned). */
bool is_true(void *arg);
bool is_some(void *arg);

#endif
