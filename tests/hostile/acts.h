#ifndef CULVERT_TESTS_HOSTILE_ACTS_H
#define CULVERT_TESTS_HOSTILE_ACTS_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/hostile/target.h"

#define H3_NO_ERROR 0x100 /* RFC 9114 §8.1 */

/* The arguments of an act. */
struct attack {
	struct sockaddr_in edge;
	uint16_t ports[TARGETS];
	uint32_t source; /* the first of the addresses to come from */
	size_t most;	 /* streams, or connections */
	uint64_t chance; /* state of the random numbers; not 0 */
};

/*
 * One thing that a hostile peer does: does it once, and cleans up. It is done
 * again and again until time is over.
 */
struct act {
	const char *name;
	void (*play)(struct attack *a);
};
extern const struct act acts[];
extern const size_t nacts;

/* acts_wire.c: those that break rules of QUIC or HTTP/3. */
void act_acks(struct attack *a);
void act_frames(struct attack *a);
void act_rules(struct attack *a);
void act_holes(struct attack *a);
void act_challenges(struct attack *a);
void act_junk(struct attack *a);
void act_empties(struct attack *a);
void act_crumbs(struct attack *a);

/* ---- Common to acts ---- */

struct peer;
struct peer_options;
struct forgery;
struct stream;

/* A random number below n, and one of the values of an array. */
uint64_t below(struct attack *a, uint64_t n);
#define PICK(a, array) ((array)[below((a), sizeof(array) / sizeof((array)[0]))])

/* Options of a peer from one of the first n addresses. */
struct peer_options from_some(struct attack *a, uint32_t n);

/* A peer that is up, or NULL. */
struct peer *join(const struct peer_options *o);

/* A request for a tunnel to that target, at some loopback address. */
void ask_for(struct attack *a, struct forgery *f, enum target t);

/*
 * The first request of a peer that has one (s is NULL), or the one after s;
 * NULL: there is none.
 */
struct stream *next_request(const struct peer *p, const struct stream *s);

/* Ends with a CONNECTION_CLOSE, or without one. */
void part(struct attack *a, struct peer *p);

/* Opens n streams with that head; waits until all are answered, or not. */
size_t
open_many(struct peer *p, const struct forgery *head, size_t n, uint64_t body);
void wait_answers(struct peer *p, size_t n);

#endif
