/*
 * The acts by which a peer takes more than its share: of tunnels, of memory,
 * of connections. Each keeps the rules, or most of them.
 */
#include "tests/hostile/acts.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/peer.h"

#define PATIENCE (8 * SECOND) /* for answers */
#define HELD (4 * SECOND)     /* bytes that are hoarded, at least */
#define PAUSE (SECOND / 5)

#define H3_REQUEST_CANCELLED 0x10c /* RFC 9114 §8.1 */
#define WINDOW 65536 /* bytes: of a stream, at first, on both sides */

/* 2^14 - 1 is the largest that the rules allow (RFC 9000 §18.2). */
#define MAX_ACK_DELAY (16383 * (SECOND / 1000))

/* ---- Common to acts ---- */

uint64_t
below(struct attack *a, uint64_t n)
{
	a->chance ^= a->chance << 13;
	a->chance ^= a->chance >> 7;
	a->chance ^= a->chance << 17;
	return a->chance % n;
}

struct peer_options
from_some(struct attack *a, uint32_t n)
{
	return (struct peer_options){
		.source = a->source + (uint32_t)below(a, n),
		.stream_window = WINDOW,
	};
}

struct peer *
join(const struct peer_options *o)
{
	struct peer *p = peer_new(o);

	if (p == NULL || peer_wait_up(p))
		return p;
	peer_vanish(p);
	return NULL;
}

void
ask_for(struct attack *a, struct forgery *f, enum target t)
{
	char authority[32];

	/* The queue of one address alone is full. */
	snprintf(authority, sizeof(authority), "127.%u.%u.%u:%u",
	    t == SILENT ? 0 : 1 + (unsigned)below(a, 200),
	    t == SILENT ? 0 : (unsigned)below(a, 250),
	    t == SILENT ? 1 : 1 + (unsigned)below(a, 250), a->ports[t]);
	forge_clear(f);
	forge_connect(f, authority);
}

struct stream *
next_request(const struct peer *p, const struct stream *s)
{
	struct stream *next = s == NULL ? TAILQ_FIRST(&p->streams)
					: TAILQ_NEXT(s, entry);

	while (next != NULL && !ngtcp2_is_bidi_stream(next->id))
		next = TAILQ_NEXT(next, entry);
	return next;
}

void
part(struct attack *a, struct peer *p)
{
	if (below(a, 2) == 0)
		peer_close(p, H3_NO_ERROR);
	else
		peer_vanish(p);
}

size_t
open_many(struct peer *p, const struct forgery *head, size_t n, uint64_t body)
{
	uint64_t until = peer_now() + PATIENCE;
	size_t done = 0;

	while (done < n && !p->over) {
		if (peer_open(p, head->data, head->len, body, false) != NULL)
			done++;
		else if (!peer_turn(until))
			break;
	}
	return done;
}

void
wait_answers(struct peer *p, size_t n)
{
	uint64_t until = peer_now() + PATIENCE;

	while (p->answered < n && !p->over && peer_turn(until))
		continue;
}

static size_t
at_most(const struct attack *a, size_t n)
{
	return n < a->most ? n : a->most;
}

/* ---- How tunnels end ---- */

enum ending { RESET, STOP, BOTH, FIN, CLOSE, VANISH, ENDINGS };

/* All streams of a peer in one burst. */
static void
end_streams(struct peer *p, enum ending how)
{
	struct stream *s;

	p->corked = true;
	for (s = next_request(p, NULL); s != NULL; s = next_request(p, s)) {
		if (how == RESET || how == BOTH)
			ngtcp2_conn_shutdown_stream_write(p->quic, 0, s->id,
			    H3_REQUEST_CANCELLED);
		if (how == STOP || how == BOTH)
			ngtcp2_conn_shutdown_stream_read(p->quic, 0, s->id,
			    H3_REQUEST_CANCELLED);
		if (how == FIN)
			peer_more(p, s, 0, true);
	}
	p->corked = false;
	p->dirty = true;
}

/* By one of the ways that there are, and then without the peer. */
static void
leave(struct attack *a, struct peer *p)
{
	enum ending how = (enum ending)below(a, ENDINGS);

	if (how < CLOSE && !p->over) {
		end_streams(p, how);
		peer_rest(PAUSE);
	}
	if (how == VANISH)
		peer_vanish(p);
	else
		peer_close(p, H3_NO_ERROR);
}

/* Tunnels by the thousand that end at once, with new ones or without. */
static void
act_ends(struct attack *a)
{
	static const size_t sizes[] = { 100, 1000, 1500, 4000, 9000 };
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	size_t n = at_most(a, PICK(a, sizes));
	uint64_t rounds = 1 + below(a, 3), body = below(a, 2);
	struct peer *p = join(&o);

	ask_for(a, &head, ECHO_BACK);
	for (; p != NULL && rounds > 0 && !p->over; rounds--) {
		p->reads = true;
		p->answered = 0;
		wait_answers(p, open_many(p, &head, n, body));
		end_streams(p, (enum ending)below(a, CLOSE));
		peer_rest(PAUSE);
		if (below(a, 2) == 0)
			wait_answers(p, open_many(p, &head, 1, 0));
	}
	if (p != NULL)
		leave(a, p);
}

/* The same by the origin, which resets all of its connections. */
static void
act_drops(struct attack *a)
{
	static const size_t sizes[] = { 100, 1500, 9000 };
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	size_t n = at_most(a, PICK(a, sizes));
	struct peer *p = join(&o);
	struct stream *last;

	if (p == NULL)
		return;
	ask_for(a, &head, DROP);
	wait_answers(p, open_many(p, &head, n, 0));
	last = TAILQ_LAST(&p->streams, stream_list);
	if (last != NULL && ngtcp2_is_bidi_stream(last->id)) {
		peer_more(p, last, 1, false);
		peer_rest(5 * PAUSE);
	}
	leave(a, p);
}

#define RAPID_AT_ONCE 64
#define RAPID_TIME (2 * SECOND)

/* Requests that are taken back as soon as they are made, without end. */
static void
act_rapid(struct attack *a)
{
	static const enum target targets[] = { ECHO_BACK, SILENT };
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	struct peer *p = join(&o);
	uint64_t until = peer_now() + RAPID_TIME;

	if (p == NULL)
		return;
	ask_for(a, &head, PICK(a, targets));
	do {
		for (int i = 0; i < RAPID_AT_ONCE; i++)
			if (peer_open(p, head.data, head.len, 0, false) == NULL)
				break;
		while (!TAILQ_EMPTY(&p->pending) && peer_turn(until))
			continue;
		end_streams(p, BOTH);
	} while (peer_turn(until) && !p->over);
	leave(a, p);
}

/* ---- Memory ---- */

static const size_t hoards[] = { 1, 1000, 16000 };

/* Bytes that the edge has and its origin does not read, or not yet. */
static void
act_unread_up(struct attack *a)
{
	static const enum target targets[] = { HOLD, SILENT };
	static const uint64_t bodies[] = { 1, WINDOW, WINDOW_HUGE / WINDOW };
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	struct peer *p = join(&o);

	if (p == NULL)
		return;
	ask_for(a, &head, PICK(a, targets));
	forge_data(&head, WINDOW_HUGE);
	open_many(p, &head, at_most(a, PICK(a, hoards)), PICK(a, bodies));
	peer_rest(HELD + below(a, HELD));
	leave(a, p);
}

/* Bytes that the origin has sent and the peer has no room for. */
static void
act_unread_down(struct attack *a)
{
	static const enum target targets[] = { ONE, FLOOD };
	static const uint64_t windows[] = { 0, 64, WINDOW };
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	size_t n = at_most(a, PICK(a, hoards));
	struct peer *p;

	o.stream_window = PICK(a, windows);
	if ((p = join(&o)) == NULL)
		return;
	ask_for(a, &head, PICK(a, targets));
	forge_data(&head, 1);
	open_many(p, &head, n, 1);
	peer_rest(HELD + below(a, HELD));
	leave(a, p);
}

/* Bytes that the edge has sent and the peer does not acknowledge. */
static void
act_unacked(struct attack *a)
{
	static const enum target targets[] = { ONE, FLOOD };
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	size_t n = at_most(a, PICK(a, hoards));
	struct stream *s;
	struct peer *p;

	o.stream_window = WINDOW_HUGE;
	if ((p = join(&o)) == NULL)
		return;
	ask_for(a, &head, PICK(a, targets));
	forge_data(&head, 1);
	wait_answers(p, open_many(p, &head, n, 0));
	p->mute = true;
	for (s = next_request(p, NULL); s != NULL; s = next_request(p, s))
		peer_more(p, s, 1, false);
	peer_rest(HELD + below(a, HELD));
	leave(a, p);
}

#define HOARDERS 3

/* More than all memory, so that the edge has to reclaim it. */
static void
act_relief(struct attack *a)
{
	static struct forgery up, down;
	struct peer *peers[HOARDERS];
	struct peer_options o;
	size_t n = at_most(a, 16000);

	ask_for(a, &up, SILENT);
	forge_data(&up, WINDOW_HUGE);
	ask_for(a, &down, FLOOD);
	forge_data(&down, WINDOW_HUGE);
	for (size_t i = 0; i < HOARDERS; i++) {
		o = from_some(a, 1);
		o.source += (uint32_t)i;
		if ((peers[i] = join(&o)) == NULL)
			continue;
		open_many(peers[i], &up, i == 0 ? n : n / 16, WINDOW);
		open_many(peers[i], &down, i == 0 ? 0 : n / 16, 1);
	}
	peer_rest(2 * HELD + below(a, HELD));
	for (size_t i = 0; i < HOARDERS; i++)
		if (peers[i] != NULL)
			leave(a, peers[i]);
}

#define NAMES 9000
#define NAME_ROOM 48 /* bytes of a head with a short name */

/* Names whose name servers are silent: each is queried for a while. */
static void
act_names(struct attack *a)
{
	static uint8_t heads[NAMES][NAME_ROOM];
	struct peer_options o = from_some(a, 4);
	struct peer *p = join(&o);
	size_t n = at_most(a, NAMES);
	char authority[NAME_ROOM];
	struct forgery f;

	for (size_t i = 0; p != NULL && i < n; i++) {
		snprintf(authority, sizeof(authority), "n%zu-%u.slow:80", i,
		    (unsigned)below(a, 1000000));
		forge_clear(&f);
		forge_connect(&f, authority);
		memcpy(heads[i], f.data, f.len);
		peer_open(p, heads[i], f.len, 0, false);
	}
	if (p == NULL)
		return;
	peer_rest(HELD + below(a, HELD));
	leave(a, p);
}

/* ---- Streams that are over, but for the peer ---- */

/* Requests that the edge does not serve: RFC 9204 §A has their bytes. */
static void
ask_in_vain(struct attack *a, struct forgery *f)
{
	static const uint8_t nowhere[] = { 0x01, 0x03, 0, 0, 0xcf };
	static const uint8_t get[] = { 0x01, 0x07, 0, 0, 0xd1, 0xd7, 0x50, 0x00,
		0xc1 };

	forge_clear(f);
	switch (below(a, 4)) {
	case 0:
		forge_bytes(f, nowhere, sizeof(nowhere));
		break;
	case 1:
		forge_bytes(f, get, sizeof(get));
		break;
	case 2:
		forge_connect(f, "10.1.2.3:80");
		break;
	default:
		forge_connect(f, "no port");
	}
	forge_data(f, WINDOW_HUGE);
}

/* Refused, and never finished, read or acknowledged. */
static void
act_refused(struct attack *a)
{
	static const uint64_t windows[] = { 0, WINDOW };
	static struct forgery heads[HOARDERS];
	struct peer *peers[HOARDERS];
	struct peer_options o;

	for (size_t i = 0; i < HOARDERS; i++) {
		o = from_some(a, 4);
		o.stream_window = PICK(a, windows);
		if ((peers[i] = join(&o)) == NULL)
			continue;
		ask_in_vain(a, &heads[i]);
		peers[i]->mute = below(a, 2) == 0;
		open_many(peers[i], &heads[i], at_most(a, 16000),
		    below(a, 2) * 1000);
	}
	peer_rest(HELD + below(a, HELD));
	for (size_t i = 0; i < HOARDERS; i++)
		if (peers[i] != NULL)
			leave(a, peers[i]);
}

/* Tunnels with bytes under way whose resets are not acknowledged. */
static void
act_unfinished(struct attack *a)
{
	static const size_t sizes[] = { 1000, 9000 };
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	struct peer *p = join(&o);

	if (p == NULL)
		return;
	ask_for(a, &head, FLOOD);
	forge_data(&head, WINDOW_HUGE);
	wait_answers(p, open_many(p, &head, at_most(a, PICK(a, sizes)), 1));
	p->mute = true;
	end_streams(p, STOP);
	peer_rest(HELD + below(a, HELD));
	leave(a, p);
}

/* ---- Connections ---- */

#define CROWD 200 /* connections that one address has at once */

static size_t
crowd_of(const struct attack *a)
{
	return at_most(a, CROWD);
}

/* Breaks a rule of HTTP/3 on a connection that is up: two SETTINGS. */
static void
break_rule(struct peer *p)
{
	static const uint8_t control[] = { 0x00, 0x04, 0x00, 0x04, 0x00 };

	peer_open_uni(p, control, sizeof(control), false);
}

static void
close_in_some_state(struct attack *a, struct peer *p)
{
	static struct forgery head;

	switch (below(a, 4)) {
	case 0: /* as soon as the first packet is out */
		peer_turn(UINT64_MAX);
		break;
	case 1:
		peer_wait_up(p);
		break;
	case 2:
		ask_for(a, &head, ECHO_BACK);
		if (peer_wait_up(p))
			open_many(p, &head, 10, 0);
		peer_turn(UINT64_MAX);
		break;
	default:
		if (peer_wait_up(p))
			break_rule(p);
	}
	part(a, p);
}

/* Connections that the edge has to close, whose peers are very slow. */
static void
act_closings(struct attack *a)
{
	static struct peer *peers[CROWD];
	struct peer_options o = from_some(a, 4);
	size_t n = crowd_of(a), made = 0;

	o.max_ack_delay = MAX_ACK_DELAY;
	o.raw = true;
	while (made < n && (peers[made] = join(&o)) != NULL)
		made++;
	for (size_t i = 0; i < made; i++)
		break_rule(peers[i]);
	peer_rest(PAUSE);
	while (made > 0)
		peer_vanish(peers[--made]);
	o.raw = false;
	for (size_t i = 0; i < n / 10; i++) {
		struct peer *p = peer_new(&o);

		if (p == NULL || !peer_turn(UINT64_MAX)) {
			if (p != NULL)
				peer_vanish(p);
			return;
		}
		close_in_some_state(a, p);
	}
}

#define IDLE_SOURCES 16
#define IDLE_MAX 16384 /* connections: all that an edge takes */
#define IDLE_AT_ONCE 32

/* Connections from many addresses, without a request. */
static void
act_idlers(struct attack *a)
{
	static struct peer *peers[IDLE_MAX];
	size_t most = at_most(a, IDLE_MAX), n = 0, up = 0;
	struct peer_options o = from_some(a, 1);
	uint32_t first = o.source;

	while (peer_turn(UINT64_MAX)) {
		while (up < n && (peers[up]->up || peers[up]->over))
			up++;
		while (n < most && n - up < IDLE_AT_ONCE) {
			o.source = first + (uint32_t)(n % IDLE_SOURCES);
			if ((peers[n] = peer_new(&o)) == NULL)
				break;
			n++;
		}
	}
	while (n > 0)
		peer_vanish(peers[--n]);
}

/* Handshakes from one address that is proven, as many as there can be. */
static void
act_flood(struct attack *a)
{
	static struct peer *peers[CROWD];
	struct peer_options o = from_some(a, 1);
	struct peer *p = join(&o);
	size_t n = crowd_of(a);
	uint64_t until = peer_now() + 2 * SECOND;

	if (p == NULL)
		return;
	peer_rest(PAUSE);
	peer_vanish(p);
	o.token = &new_token;
	for (size_t i = 0; i < n; i++)
		peers[i] = NULL;
	do {
		for (size_t i = 0; i < n; i++) {
			if (peers[i] != NULL && !peers[i]->up &&
			    !peers[i]->over)
				continue;
			if (peers[i] != NULL)
				peer_close(peers[i], H3_NO_ERROR);
			peers[i] = peer_new(&o);
		}
	} while (peer_turn(until));
	for (size_t i = 0; i < n; i++)
		if (peers[i] != NULL)
			peer_vanish(peers[i]);
}

/* Tokens of Retry that are another's, or old, or not tokens at all. */
static void
act_stale(struct attack *a)
{
	static struct peer *peers[2 * CROWD];
	static struct token token;
	struct peer_options o = from_some(a, 4);
	size_t n = 2 * crowd_of(a);

	/* More handshakes than may be under way: the edge sends Retry. */
	if (retry_token.len > 0)
		o.token = &token;
	token = retry_token;
	if (token.len > 0 && below(a, 2) == 0)
		token.data[1 + below(a, token.len - 1)] ^= 1;
	o.foul = below(a, 2) == 0;
	for (size_t i = 0; i < n; i++)
		peers[i] = peer_new(&o);
	peer_rest(SECOND);
	for (size_t i = 0; i < n; i++)
		if (peers[i] != NULL)
			peer_vanish(peers[i]);
}

/* A download that comes from another address all the time. */
static void
act_wander(struct attack *a)
{
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	struct peer *p = join(&o);

	if (p == NULL)
		return;
	p->reads = true;
	ask_for(a, &head, FLOOD);
	forge_data(&head, 1);
	wait_answers(p, open_many(p, &head, 4, 1));
	for (int i = 0; i < 100 && !p->over; i++) {
		peer_move(p, a->source + (uint32_t)below(a, 200));
		if (!peer_rest(SECOND / 50))
			break;
	}
	leave(a, p);
}

const struct act acts[] = {
	{ "ends", act_ends },
	{ "drops", act_drops },
	{ "rapid", act_rapid },
	{ "unread-up", act_unread_up },
	{ "unread-down", act_unread_down },
	{ "unacked", act_unacked },
	{ "relief", act_relief },
	{ "names", act_names },
	{ "refused", act_refused },
	{ "unfinished", act_unfinished },
	{ "closings", act_closings },
	{ "idlers", act_idlers },
	{ "flood", act_flood },
	{ "stale", act_stale },
	{ "wander", act_wander },
	{ "acks", act_acks },
	{ "frames", act_frames },
	{ "rules", act_rules },
	{ "holes", act_holes },
	{ "challenges", act_challenges },
	{ "junk", act_junk },
	{ "empties", act_empties },
	{ "crumbs", act_crumbs },
};
const size_t nacts = sizeof(acts) / sizeof(acts[0]);
