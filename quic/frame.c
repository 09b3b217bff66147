#include "quic/frame.h"

/* Frame types (RFC 9000 §19, RFC 9221 §4). */
enum {
	PADDING = 0x00,
	PING = 0x01,
	ACK = 0x02,
	ACK_ECN = 0x03,
	RESET_STREAM = 0x04,
	STOP_SENDING = 0x05,
	CRYPTO = 0x06,
	NEW_TOKEN = 0x07,
	STREAM = 0x08,
	STREAM_LAST = 0x0f,
	MAX_DATA = 0x10,
	MAX_STREAM_DATA = 0x11,
	MAX_STREAMS_BIDI = 0x12,
	MAX_STREAMS_UNI = 0x13,
	DATA_BLOCKED = 0x14,
	STREAM_DATA_BLOCKED = 0x15,
	STREAMS_BLOCKED_BIDI = 0x16,
	STREAMS_BLOCKED_UNI = 0x17,
	NEW_CONNECTION_ID = 0x18,
	RETIRE_CONNECTION_ID = 0x19,
	PATH_CHALLENGE = 0x1a,
	PATH_RESPONSE = 0x1b,
	CONNECTION_CLOSE = 0x1c,
	CONNECTION_CLOSE_APP = 0x1d,
	HANDSHAKE_DONE = 0x1e,
	DATAGRAM = 0x30,
	DATAGRAM_LEN = 0x31
};

#define STREAM_OFF 0x04 /* bits of a STREAM frame's type (RFC 9000 §19.8) */
#define STREAM_LEN 0x02
#define PATH_DATA_LEN 8	   /* bytes (RFC 9000 §19.17) */
#define RESET_TOKEN_LEN 16 /* bytes (RFC 9000 §19.15) */

struct walk {
	const uint8_t *at, *end;
	bool bad;
	void (*range)(void *arg, uint64_t first, uint64_t last);
	void *arg;
};

/* A variable-length integer (RFC 9000 §16); 0 and bad if it is cut short. */
static uint64_t
integer(struct walk *w)
{
	size_t len;
	uint64_t value;

	if (w->at == w->end) {
		w->bad = true;
		return 0;
	}
	len = (size_t)1 << (*w->at >> 6);
	if ((size_t)(w->end - w->at) < len) {
		w->bad = true;
		return 0;
	}
	value = *w->at & 0x3f;
	for (size_t i = 1; i < len; i++)
		value = value << 8 | w->at[i];
	w->at += len;
	return value;
}

static void
skip_integers(struct walk *w, int n)
{
	while (n-- > 0)
		integer(w);
}

static void
skip(struct walk *w, uint64_t n)
{
	if (n > (uint64_t)(w->end - w->at))
		w->bad = true;
	else
		w->at += n;
}

/* RFC 9000 §19.3: ranges go down from the largest, gap by gap. */
static void
walk_ack(struct walk *w, bool ecn)
{
	uint64_t last = integer(w), count, length, gap;

	integer(w); /* the delay */
	count = integer(w);
	length = integer(w);
	while (!w->bad && length <= last) {
		if (w->range != NULL)
			w->range(w->arg, last - length, last);
		if (count-- == 0) {
			if (ecn)
				skip_integers(w, 3);
			return;
		}
		gap = integer(w);
		if (gap + 2 > last - length)
			break;
		last -= length + gap + 2;
		length = integer(w);
	}
	w->bad = true;
}

static void
skip_stream(struct walk *w, uint64_t type)
{
	integer(w);
	if ((type & STREAM_OFF) != 0)
		integer(w);
	if ((type & STREAM_LEN) != 0)
		skip(w, integer(w));
	else
		w->at = w->end;
}

static void
skip_close(struct walk *w, uint64_t type)
{
	skip_integers(w, type == CONNECTION_CLOSE ? 2 : 1);
	skip(w, integer(w));
}

static void
skip_new_id(struct walk *w)
{
	skip_integers(w, 2);
	if (w->at < w->end)
		skip(w, (uint64_t)1 + *w->at + RESET_TOKEN_LEN);
	else
		w->bad = true;
}

/* One frame, whose type has been read. */
static void
walk_frame(struct walk *w, uint64_t type)
{
	if (type >= STREAM && type <= STREAM_LAST) {
		skip_stream(w, type);
		return;
	}
	switch (type) {
	case PADDING:
	case PING:
	case HANDSHAKE_DONE:
		return;
	case ACK:
	case ACK_ECN:
		walk_ack(w, type == ACK_ECN);
		return;
	case RESET_STREAM:
		skip_integers(w, 3);
		return;
	case STOP_SENDING:
	case MAX_STREAM_DATA:
	case STREAM_DATA_BLOCKED:
		skip_integers(w, 2);
		return;
	case MAX_DATA:
	case MAX_STREAMS_BIDI:
	case MAX_STREAMS_UNI:
	case DATA_BLOCKED:
	case STREAMS_BLOCKED_BIDI:
	case STREAMS_BLOCKED_UNI:
	case RETIRE_CONNECTION_ID:
		integer(w);
		return;
	case CRYPTO:
		integer(w);
		skip(w, integer(w));
		return;
	case NEW_TOKEN:
	case DATAGRAM_LEN:
		skip(w, integer(w));
		return;
	case NEW_CONNECTION_ID:
		skip_new_id(w);
		return;
	case PATH_CHALLENGE:
	case PATH_RESPONSE:
		skip(w, PATH_DATA_LEN);
		return;
	case CONNECTION_CLOSE:
	case CONNECTION_CLOSE_APP:
		skip_close(w, type);
		return;
	case DATAGRAM:
		w->at = w->end;
		return;
	}
	w->bad = true;
}

void
frame_walk_acks(const uint8_t *payload, size_t len,
    void (*range)(void *arg, uint64_t first, uint64_t last), void *arg)
{
	struct walk w = { payload, payload + len, false, range, arg };
	uint64_t type;

	while (w.at < w.end && !w.bad) {
		type = integer(&w);
		if (!w.bad)
			walk_frame(&w, type);
	}
}

static enum frame_kind
kind_of(uint64_t type)
{
	switch (type) {
	case PADDING:
	case ACK:
	case ACK_ECN:
		return FRAME_ACK_ONLY;
	case PING:
		return FRAME_PING_ONLY;
	}
	return FRAME_ELICITING;
}

enum frame_kind
frame_kind(const uint8_t *payload, size_t len)
{
	struct walk w = { payload, payload + len, false, NULL, NULL };
	enum frame_kind kind = FRAME_ACK_ONLY, one;
	uint64_t type;

	while (w.at < w.end && !w.bad && kind != FRAME_ELICITING) {
		type = integer(&w);
		one = kind_of(type);
		kind = one > kind ? one : kind;
		walk_frame(&w, type);
	}
	return w.bad ? FRAME_ELICITING : kind;
}
