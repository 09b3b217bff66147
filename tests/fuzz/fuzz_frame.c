/*
 * The payload of a packet. What is read from its ACK frames must be ranges
 * that go down, of numbers that can be (RFC 9000 §12.3), no more of them than
 * the bytes can hold, and PADDING or a PING behind it changes nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "quic/frame.h"
#include "tests/fuzz/fuzz.h"

#define NUMBER_MAX ((UINT64_C(1) << 62) - 1)
#define ACK_LEN_MIN 5	/* bytes: type, largest, delay, count, first range */
#define RANGE_LEN_MIN 2 /* bytes: gap and length */
#define PING 0x01

struct ranges {
	size_t n, frames;
	uint64_t below; /* the next one of this frame must be */
	uint64_t sum;	/* of all numbers, in its way */
};

static void
on_range(void *arg, uint64_t first, uint64_t last)
{
	struct ranges *r = arg;

	must(first <= last && last <= NUMBER_MAX);
	/* There is a number between two ranges, or this is another frame. */
	if (r->n == 0 || last >= r->below)
		r->frames++;
	r->below = first > 0 ? first - 1 : 0;
	r->n++;
	r->sum = r->sum * 31 + first * 7 + last;
}

static struct ranges
walk(const uint8_t *payload, size_t len)
{
	struct ranges r = { 0 };

	frame_walk_acks(payload, len, on_range, &r);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum frame_kind kind = frame_kind(data, size), longer;
	struct ranges r = walk(data, size), again;
	uint8_t *more = malloc(size + 2);

	must(r.frames * ACK_LEN_MIN + (r.n - r.frames) * RANGE_LEN_MIN <= size);
	must(kind <= FRAME_ELICITING);
	must(more != NULL);
	if (size > 0)
		memcpy(more, data, size);
	memset(more + size, 0, 2);
	again = walk(more, size + 2);
	longer = frame_kind(more, size + 2);
	if (kind < FRAME_ELICITING) {
		must(longer == kind);
		must(again.n == r.n && again.sum == r.sum);
		more[size] = PING;
		longer = frame_kind(more, size + 1);
		must(longer ==
		    (kind > FRAME_PING_ONLY ? kind : FRAME_PING_ONLY));
	}
	/* More bytes can make a cut frame whole, but unread nothing. */
	must(again.n >= r.n);
	free(more);
	return 0;
}
