/*
 * For the tests of quic/: clients and a server on a link, the events that they
 * had, and both ends of every tunnel. Asserts with cmocka.
 */
#ifndef CULVERT_TESTS_UNIT_WORLD_H
#define CULVERT_TESTS_UNIT_WORLD_H

#include "tests/unit/link.h"
#include "tests/unit/pattern.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KB 1000		   /* bytes */
#define MB 1000000	   /* bytes */
#define RTT (50 * LINK_MS) /* of a link as it is made */
#define LONG (60 * LINK_S) /* longer than anything takes that ends */

#define TUNNELS_MAX 20480
#define SERVER_NAME "edge.example"
#define UNIX_NOW 1750000000 /* seconds: GnuTLS's time in these tests */

/* The events of a connection; at the server those of the last one. */
struct watch {
	unsigned connected, streams_available, draining, closed;
	unsigned migrated, stranded, silent; /* stranded: not migrated */
	struct quic_close why;
	struct quic_conn *conn; /* the last that connected */
};

enum habit {
	SINK,	/* takes all, checks it */
	ECHO,	/* sends all back, and FIN for FIN */
	HOLD,	/* takes nothing */
	CLOSE,	/* closes the connection at the first byte */
	DROP,	/* near: resets at the response */
	REJECT, /* far: resets at the request */
	IGNORE, /* far: does nothing about the request */
	THINK	/* far: takes the stream, and does not answer yet */
};

/*
 * One end of a tunnel. End number i sends and receives a pattern of i, unless
 * it echoes. The test sets the first part before the tunnel opens.
 */
struct end {
	enum habit habit;
	size_t to_send;	    /* bytes */
	size_t client;	    /* near: the number of its client */
	bool stays_open;    /* no FIN after to_send */
	bool lets_go;	    /* releases when it has sent FIN, right or wrong */
	bool hears_reset;   /* by an event of its own, not as an abort */
	const char *status; /* far: of the response; NULL: 200 */
	const char *proxy_status; /* far: a field of it, or NULL */

	struct world *world;
	unsigned number;
	struct quic_stream *stream; /* NULL: not there, or gone */
	size_t sent, received;	    /* bytes */
	bool finished, ended,
	    spoilt;    /* spoilt: received other bytes than were sent */
	bool answered; /* near: the response came */
	unsigned writable, stopped; /* events */
	bool aborted, connection_lost;
	unsigned reset;	       /* events */
	uint64_t code;	       /* of the abortion, or the reset */
	enum quic_cause cause; /* if the connection was lost */
};

struct world {
	struct link *link;
	struct quic_tls *client_tls, *server_tls;
	struct quic_settings client_settings, server_settings;
	uint8_t secret[QUIC_SECRET_LEN];
	const char *server_name; /* that clients ask for */
	char *cert, *key;	 /* PEM, of the server; signed by itself */

	struct watch client[LINK_CROWD_MAX], server;
	struct end near[TUNNELS_MAX], far[TUNNELS_MAX];
	unsigned requests;			 /* that reached the server */
	struct quic_field seen[QUIC_FIELDS_MAX]; /* the last head; malloc */
	size_t nseen;
};

/* Setup and teardown of a cmocka test: *state is a world with credentials. */
int world_new(void **state);
int world_free(void **state);

/* Makes other credentials, from PEM texts, NULL where there are none. */
void world_trust(struct world *, const char *ca, const uint8_t *pin,
    const char *cert, const char *key);
void world_present(struct world *, const char *cert, const char *key,
    const char *client_ca);

struct quic_pem pem(const char *text);

/*
 * The server, and client number `i`, from the first place or another; the
 * packets go with the next run.
 */
void world_serve(struct world *);
void world_dial(struct world *, size_t i);
void world_dial_from(struct world *, size_t i, size_t place);

/* Both of those and the handshake of client 0, which must succeed. */
void world_up(struct world *);

/* Frees client 0 and the server without a CONNECTION_CLOSE; and the tunnels. */
void world_down(struct world *);
void tunnels_forget(struct world *);

/* Runs until client `i` is connected, or closed; false: neither in 60 s. */
bool world_connected(struct world *, size_t i);
bool world_closed(struct world *, size_t i);

/*
 * Opens tunnel `number` from its client, with one more field or NULL. Returns
 * as quic_stream_request().
 */
int tunnel_open(struct world *, unsigned number);
int tunnel_open_with(struct world *, unsigned number,
    const struct quic_field *more);

/* The value of a field of the head that was seen last, or "". */
const char *seen(const struct world *, const char *name);

/* Runs until both ends of tunnels 0 to n-1 have ended. */
bool tunnels_done(struct world *, unsigned n);

/* Lets an end take, check, send and finish as far as it can. */
void end_pump(struct end *);

/* Makes the end the owner of its stream again. */
void end_attach(struct end *);

/* Received bytes that the owner has not consumed. */
size_t buffered(const struct quic_stream *);

/* Numbers, as they are now. */
struct quic_stats stats_of(const struct quic_conn *);
struct quic_server_stats server_stats(const struct world *);
struct quic_conn *near_conn(const struct world *); /* client 0 */

/* The end has received so many bytes, the right ones, and was not aborted. */
void assert_whole(const struct end *, size_t received);

/* The reason of the close holds that text. */
void assert_text(const struct watch *, const char *text);

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)

/* A condition to run for: `*arg` is true, or not 0 (unsigned). */
bool is_true(void *arg);
bool is_some(void *arg);

#endif
