/*
 * The acts that break the rules of QUIC and HTTP/3, or obey them in an
 * unexpected way.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/hostile/acts.h"
#include "tests/hostile/peer.h"

#define SPELL SECOND /* of each, before the next connection */
#define PAUSE (SECOND / 50)
#define FRAME_ROOM 32 /* bytes: no small frame is longer */

/* Frames of QUIC (RFC 9000 §19). */
#define PING 0x01
#define ACK 0x02
#define STREAM_OFF_LEN 0x0e
#define NEW_CONNECTION_ID 0x18
#define PATH_CHALLENGE 0x1a

/* Small frames, as many as a packet has room for. */
static void
fill(struct forgery *f, const void *frame, size_t len)
{
	while (f->len + len <= FORGERY_MAX - FRAME_ROOM)
		forge_bytes(f, frame, len);
}

/* Sends packets with the forgery for a while; 0: as many as go. */
static void
repeat(struct peer *p, const struct forgery *f, uint64_t ns)
{
	uint64_t until = peer_now() + ns;

	do {
		for (int i = 0; i < 16; i++)
			if (!peer_forge(p, f))
				break;
	} while (peer_turn(until) && !p->over);
}

/* ---- Many small things ---- */

/* Hundreds of ACK frames in each packet, with much under way. */
void
act_acks(struct attack *a)
{
	static const uint8_t ack[] = { ACK, 0, 0, 0, 0 };
	static struct forgery head, f;
	struct peer_options o = from_some(a, 4);
	struct peer *p;

	o.stream_window = WINDOW_HUGE;
	if ((p = join(&o)) == NULL)
		return;
	p->reads = true;
	ask_for(a, &head, FLOOD);
	forge_data(&head, 1);
	wait_answers(p, open_many(p, &head, 8, 1));
	peer_rest(SPELL / 2);
	p->mute = below(a, 2) == 0;
	forge_clear(&f);
	fill(&f, ack, sizeof(ack));
	repeat(p, &f, SPELL);
	peer_close(p, H3_NO_ERROR);
}

/* Hundreds of frames that need an answer, or must be remembered. */
void
act_challenges(struct attack *a)
{
	static struct forgery f;
	struct peer_options o = from_some(a, 4);
	struct peer *p = join(&o);
	uint8_t frame[64] = { PATH_CHALLENGE };
	uint8_t sequence = 1;

	if (p == NULL)
		return;
	forge_clear(&f);
	switch (below(a, 3)) {
	case 0:
		fill(&f, frame, 9);
		break;
	case 1:
		frame[0] = PING;
		fill(&f, frame, 1);
		break;
	default: /* IDs that retire each other */
		for (; f.len + 28 <= FORGERY_MAX - FRAME_ROOM; sequence++) {
			frame[0] = NEW_CONNECTION_ID;
			frame[1] = frame[2] = sequence & 0x3f;
			frame[3] = 8;
			frame[4] = sequence;
			forge_bytes(&f, frame, 28);
		}
	}
	repeat(p, &f, SPELL);
	peer_close(p, H3_NO_ERROR);
}

/* Frames of HTTP/3 that carry nothing, without end. */
void
act_empties(struct attack *a)
{
	static const uint64_t types[] = { 0x00, 0x21, 0x40 };
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	struct peer *p = join(&o);

	if (p == NULL)
		return;
	/* The zeros of the body are DATA frames of length zero. */
	ask_for(a, &head, ECHO_BACK);
	forge_frame(&head, PICK(a, types), NULL, 0);
	open_many(p, &head, 1 + below(a, 4), WINDOW_HUGE);
	peer_rest(2 * SPELL);
	peer_close(p, H3_NO_ERROR);
}

/* A frame of one byte. */
static void
forge_speck(struct forgery *f, int64_t id, uint64_t at)
{
	const uint64_t frame[] = { STREAM_OFF_LEN, (uint64_t)id, at, 1, 0 };

	forge_integers(f, frame, sizeof(frame) / sizeof(frame[0]));
}

/* Sends it now, or when that is possible. False: never. */
static bool
flush(struct peer *p, struct forgery *f)
{
	while (f->len > 0 && !peer_forge(p, f))
		if (p->over || !peer_turn(UINT64_MAX))
			return false;
	forge_clear(f);
	return true;
}

static bool
perforate(struct peer *p, const struct stream *s, uint64_t step, uint64_t len,
    struct forgery *f)
{
	for (uint64_t at = 1; at < len; at += step) {
		forge_speck(f, s->id, s->sent + at);
		if (f->len > FORGERY_MAX - 2 * FRAME_ROOM && !flush(p, f))
			return false;
	}
	return true;
}

/* Tunnels that carry much in DATA frames of a byte each. */
void
act_crumbs(struct attack *a)
{
	static const uint8_t crumb[] = { 0x00, 0x01, 0x00 };
	static uint8_t crumbs[30000];
	static struct forgery head;
	struct peer_options o = from_some(a, 4);
	struct peer *p = join(&o);

	if (p == NULL)
		return;
	p->reads = true;
	ask_for(a, &head, ECHO_BACK);
	memcpy(crumbs, head.data, head.len);
	for (size_t at = head.len; at + sizeof(crumb) <= sizeof(crumbs);
	     at += sizeof(crumb))
		memcpy(crumbs + at, crumb, sizeof(crumb));
	for (uint64_t end = peer_now() + 2 * SPELL; peer_turn(end);)
		if (p->nstreams < 64)
			peer_open(p, crumbs, sizeof(crumbs), 0, true);
	peer_close(p, H3_NO_ERROR);
}

/* Single bytes with gaps between: all must be kept until the gaps close. */
void
act_holes(struct attack *a)
{
	static const struct {
		size_t streams;
		uint64_t step, len;
	} shapes[] = { { 60, 64, 60000 }, { 1000, 2, 1000 },
		{ 500, 8192, 8192 }, { 9000, 8192, 2 } };
	static struct forgery head, f;
	size_t shape = (size_t)below(a, 4), n = shapes[shape].streams;
	struct peer_options o = from_some(a, 4);
	struct peer *p = join(&o);
	struct stream *s;

	if (p == NULL)
		return;
	n = n < a->most ? n : a->most;
	ask_for(a, &head, HOLD);
	wait_answers(p, open_many(p, &head, n, 0));
	forge_clear(&f);
	for (s = next_request(p, NULL); s != NULL; s = next_request(p, s))
		if (!perforate(p, s, shapes[shape].step, shapes[shape].len, &f))
			break;
	flush(p, &f);
	peer_rest(SPELL + below(a, 3 * SPELL));
	peer_close(p, H3_NO_ERROR);
}

/* ---- Rules of QUIC ---- */

#define MAX62 ((UINT64_C(1) << 62) - 1)

/* Each but the last number of a frame counts; 0 values may be meant. */
static const struct {
	size_t n;
	uint64_t integers[6];
} bad_frames[] = {
	{ 1, { 0x40ff } },				/* no such type */
	{ 1, { 0x1f } }, { 1, { 0x1e } },		/* HANDSHAKE_DONE */
	{ 3, { 0x07, 1, 0 } },				/* NEW_TOKEN */
	{ 5, { ACK, MAX62, 0, 0, 0 } },			/* packets not sent */
	{ 5, { ACK, 0, 0, 0, 5 } },			/* below zero */
	{ 5, { ACK, 3, 0, 9, 0 } },			/* cut short */
	{ 5, { STREAM_OFF_LEN, 0, MAX62 - 1, 9, 0 } },	/* past the end */
	{ 5, { STREAM_OFF_LEN, 400, 1 << 20, 1, 0 } },	/* past the window */
	{ 5, { STREAM_OFF_LEN, 4 * 100000, 0, 1, 0 } }, /* a stream too many */
	{ 5, { STREAM_OFF_LEN, 3, 0, 1, 0 } }, /* a stream of the edge's */
	{ 5, { STREAM_OFF_LEN, 1, 0, 1, 0 } },
	{ 4, { 0x04, 400, 0, 1 << 30 } }, /* a final size too large */
	{ 3, { 0x05, 3, 0 } },		  /* STOP_SENDING, by whom? */
	{ 3, { 0x05, 2, 0 } }, { 3, { 0x11, 2, 1 } },
	{ 2, { 0x12, MAX62 } }, /* MAX_STREAMS */
	{ 2, { 0x16, MAX62 } },
	{ 4,
	    { NEW_CONNECTION_ID, 1, 2,
		0 } },	       /* retires IDs that are not issued yet */
	{ 2, { 0x19, 1000 } }, /* RETIRE_CONNECTION_ID */
	{ 3, { 0x1b, 1, 2 } }, /* PATH_RESPONSE to nothing */
	{ 4, { 0x06, MAX62 - 1, 9, 0 } }, /* CRYPTO */
	{ 4, { 0x06, 100000, 1, 0 } }, { 4, { 0x06, 0, 2, 0 } },
	{ 4, { 0x1c, 0, 0, 60 } }, /* CONNECTION_CLOSE, cut */
};
#define BAD_FRAMES (sizeof(bad_frames) / sizeof(bad_frames[0]))

/* One frame that breaks a rule, on a connection for each. */
void
act_frames(struct attack *a)
{
	static struct forgery f;
	struct peer_options o = from_some(a, 4);

	for (size_t i = 0; i < BAD_FRAMES; i++) {
		struct peer *p = join(&o);

		if (p == NULL)
			return;
		forge_clear(&f);
		forge_integers(&f, bad_frames[i].integers, bad_frames[i].n);
		peer_forge(p, &f);
		peer_rest(PAUSE);
		part(a, p);
	}
}

/* ---- Rules of HTTP/3 ---- */

enum where { CONTROL, ENCODER, DECODER, REQUEST, OTHER };

/* The stream's first bytes; zeros follow, and an end for some. */
static const struct {
	enum where where;
	bool fin;
	size_t len;
	uint8_t bytes[24];
	uint64_t zeros;
} bad_streams[] = {
	{ CONTROL, false, 3, { 0x00, 0x00, 0x01 }, 1 }, /* DATA first */
	{ CONTROL, false, 5, { 0x00, 0x04, 0x00, 0x04, 0x00 }, 0 },
	{ CONTROL, false, 6, { 0x00, 0x04, 0x03, 0x04, 0x01, 0x04 }, 0 },
	{ CONTROL, false, 5, { 0x00, 0x04, 0x02, 0x02, 0x01 }, 0 },
	{ CONTROL, true, 3, { 0x00, 0x04, 0x00 }, 0 }, /* closed */
	{ CONTROL, true, 2, { 0x00, 0x04 }, 0 },
	{ CONTROL, false, 6, { 0x00, 0x04, 0x00, 0x07, 0x01, 0x02 }, 0 },
	{ CONTROL, false, 12,
	    { 0x00, 0x04, 0x00, 0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff },
	    60000 }, /* a frame without end */
	{ CONTROL, false, 5, { 0x00, 0x04, 0x00, 0x06, 0x00 }, 0 },
	{ CONTROL, false, 6, { 0x00, 0x04, 0x00, 0x0d, 0x02, 0x05 }, 0 },
	{ CONTROL, false, 4, { 0x00, 0x04, 0xc0, 0x00 }, 60000 },
	{ ENCODER, false, 2, { 0x02, 0x3f }, 60000 },	      /* a capacity */
	{ ENCODER, false, 4, { 0x02, 0xc0, 0x01, 0x61 }, 0 }, /* an insert */
	{ ENCODER, false, 2, { 0x02, 0x1f }, 60000 },	      /* a duplicate */
	{ ENCODER, true, 1, { 0x02 }, 0 },
	{ DECODER, false, 2, { 0x03, 0x00 }, 0 }, /* increments */
	{ DECODER, false, 2, { 0x03, 0x84 }, 0 }, /* acknowledgements */
	{ DECODER, false, 3, { 0x03, 0x7f, 0xff }, 60000 },
	{ DECODER, false, 2, { 0x03, 0x41 }, 60000 }, /* cancellations */
	{ DECODER, true, 1, { 0x03 }, 0 },
	{ REQUEST, false, 3, { 0x00, 0x01, 0x00 }, 0 }, /* DATA first */
	{ REQUEST, false, 6, { 0x01, 0x04, 0x02, 0x80, 0x80, 0x80 }, 0 },
	{ REQUEST, false, 2, { 0x05, 0x40 }, 60000 }, /* PUSH_PROMISE */
	{ REQUEST, false, 2, { 0x04, 0x00 }, 0 },     /* SETTINGS */
	{ REQUEST, false, 5, { 0x01, 0x80, 0x01, 0x00, 0x00 }, 60000 },
	{ REQUEST, true, 5, { 0x01, 0x40, 0x20, 0x00, 0x00 }, 0 }, /* cut */
	{ REQUEST, false, 9,
	    { 0x01, 0x07, 0x00, 0x00, 0xcf, 0xcf, 0xcf, 0xcf, 0xcf },
	    0 }, /* CONNECT, five times */
	{ REQUEST, false, 14,
	    { 0x01, 0x0c, 0x00, 0x00, 0xcf, 0x50, 0x00, 0x27, 0x00, 0x41, 0x42,
		0x43, 0x44, 0x45 },
	    0 },				    /* capital letters */
	{ OTHER, false, 2, { 0x01, 0x00 }, 0 },	    /* a push */
	{ OTHER, false, 2, { 0x40, 0x54 }, 60000 }, /* who knows */
};
#define BAD_STREAMS (sizeof(bad_streams) / sizeof(bad_streams[0]))

/* The valid streams; those of a wrong type are left out. */
static void
greet_but(struct peer *p, enum where bad)
{
	static const uint8_t control[] = { 0x00, 0x04, 0x00 };

	if (bad != CONTROL)
		peer_open_uni(p, control, sizeof(control), false);
}

static void
break_rule(struct peer *p, size_t i)
{
	const uint8_t *bytes = bad_streams[i].bytes;
	size_t len = bad_streams[i].len;
	bool fin = bad_streams[i].fin;
	struct stream *s;

	greet_but(p, bad_streams[i].where);
	s = bad_streams[i].where == REQUEST
	    ? peer_open(p, bytes, len, bad_streams[i].zeros, fin)
	    : peer_open_uni(p, bytes, len, fin);
	if (s != NULL && bad_streams[i].zeros > 0)
		peer_more(p, s, bad_streams[i].zeros, fin);
}

/* One rule of HTTP/3 or QPACK is broken, on a connection for each. */
void
act_rules(struct attack *a)
{
	struct peer_options o = from_some(a, 4);

	o.raw = true;
	for (size_t i = 0; i < BAD_STREAMS; i++) {
		struct peer *p = join(&o);

		if (p == NULL)
			return;
		p->reads = true;
		break_rule(p, i);
		peer_rest(PAUSE);
		part(a, p);
	}
}

/* ---- Datagrams that are no packets ---- */

#define JUNK_MAX 1400 /* bytes */
#define JUNK_BURST 64

static void
send_junk(struct attack *a, int fd)
{
	static const uint32_t versions[] = { 0, 1, 0x6b3343cf, 0x1a2a3a4a };
	uint8_t junk[JUNK_MAX];
	uint32_t version = htonl(PICK(a, versions));
	size_t len = 1 + (size_t)below(a, sizeof(junk));

	if (getrandom(junk, len, 0) != (ssize_t)len)
		return;
	if (below(a, 2) == 0) {
		len = sizeof(junk);
		junk[0] |= 0xc0;
		memcpy(junk + 1, &version, sizeof(version));
		junk[5] = 8;
		junk[14] = 8;
	}
	if (send(fd, junk, len, 0) > 0)
		tally.bytes_sent += len;
}

/* Noise, and packets of connections that do not exist. */
void
act_junk(struct attack *a)
{
	struct sockaddr_in local = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	local.sin_addr.s_addr = htonl(a->source + (uint32_t)below(a, 200));
	if (fd < 0 || bind(fd, (struct sockaddr *)&local, sizeof(local)) != 0 ||
	    connect(fd, (struct sockaddr *)&a->edge, sizeof(a->edge)) != 0) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (int i = 0; i < 50 && peer_turn(UINT64_MAX); i++)
		for (int k = 0; k < JUNK_BURST; k++)
			send_junk(a, fd);
	close(fd);
}
