/*
 * The receiver's half: the packets that arrived last, by number. What is behind
 * a gap is held until the gap is filled, or cannot be. So QUIC neither sees nor
 * acknowledges packets in a wrong order, and the sender takes none for lost.
 *
 * The numbers are read before packets are decrypted, and are not authenticated.
 * A forged one may end the wait for a gap too early, and no more: every packet
 * is passed on, and the window returns to the numbers that were authenticated.
 */
#include <string.h>

#include <ngtcp2/ngtcp2_crypto.h>

#include "quic/internal.h"
#include "quic/packet_number.h"
#include "quic/repair.h"

#define TYPE(first) ((first)&0xc0) /* RFC 9000 §17.3: form, fixed bit */
#define TYPE_1RTT 0x40
#define TYPE_OURS 0x00
#define SAMPLE_AT (1 + REPAIR_ID_LEN + 4) /* RFC 9001 §5.4.2 */
#define SAMPLE_LEN 16
#define PACKET_MIN (SAMPLE_AT + SAMPLE_LEN)

/* More than the library provides to a peer. */
#define OWN_IDS_MAX 32

/* The window is given up when no repair packet has arrived for so long. */
#define UNUSED_MAX (60 * NS_PER_S)

/* Packets behind a gap wait longer than a block lasts by half, and by this. */
#define HOLD_SLACK (2 * NS_PER_MS)

/* ---- Packet numbers ---- */

static struct quic_conn *reading;

int
repair_hp_mask(uint8_t *dest, const ngtcp2_crypto_cipher *hp,
    const ngtcp2_crypto_cipher_ctx *ctx, const uint8_t *sample)
{
	/* The keys of header protection never change (RFC 9001 §6). */
	if (reading != NULL && !reading->repair.knows_hp) {
		reading->repair.hp = *hp;
		reading->repair.hp_ctx = *ctx;
		reading->repair.knows_hp = true;
	}
	return ngtcp2_crypto_hp_mask_cb(dest, hp, ctx, sample);
}

/* A packet with a short header is read next, or none. */
void
repair_reading(struct quic_conn *conn)
{
	reading = conn;
}

/* RFC 9001 §5.4.1, RFC 9000 §A.3. */
static bool
find_number(const struct quic_conn *conn, const uint8_t *data, size_t len,
    uint64_t *number)
{
	const struct conn_repair *r = &conn->repair;
	uint8_t mask[SAMPLE_LEN];
	uint64_t truncated = 0;
	unsigned n;

	if (len < PACKET_MIN || !r->knows_hp ||
	    ngtcp2_crypto_hp_mask(mask, &r->hp, &r->hp_ctx, data + SAMPLE_AT) !=
		0)
		return false;
	n = ((data[0] ^ mask[0]) & 3u) + 1;
	for (unsigned i = 0; i < n; i++)
		truncated = truncated << 8 |
		    (data[1 + REPAIR_ID_LEN + i] ^ mask[1 + i]);
	*number = packet_number_decode(conn->counts.largest + 1, truncated,
	    8 * n);
	return true;
}

/* ---- The window ---- */

static struct repair_slot *
slot_of(struct repair_window *w, uint64_t number)
{
	return &w->slots[number % REPAIR_WINDOW];
}

static bool
has(struct repair_window *w, uint64_t number)
{
	const struct repair_slot *slot = slot_of(w, number);

	return slot->used && slot->number == number;
}

static struct repair_slot *
store(struct repair_window *w, uint64_t number, const uint8_t *data, size_t len,
    uint64_t now)
{
	struct repair_slot *slot = slot_of(w, number);

	slot->number = number;
	slot->used = true;
	slot->held = slot->made = false;
	slot->arrived_at = now;
	slot->ecn = 0;
	slot->len = len + REPAIR_LENGTH_LEN;
	slot->bytes[0] = (uint8_t)(len >> 8);
	slot->bytes[1] = (uint8_t)len;
	memcpy(slot->bytes + REPAIR_LENGTH_LEN, data, len);
	return slot;
}

static void
read_slot(struct quic_conn *conn, struct repair_slot *slot, bool more,
    uint64_t now)
{
	struct quic_path path = conn->repair.window->path;
	uint64_t received = conn->counts.received;

	if (slot->held) {
		slot->held = false;
		conn->repair.window->nheld--;
	}
	conn->repair.made = slot->made;
	conn_read_packet(conn, &path, slot->ecn,
	    slot->bytes + REPAIR_LENGTH_LEN, slot->len - REPAIR_LENGTH_LEN,
	    more, now);
	conn->repair.made = false;
	if (conn->counts.received == received)
		slot->used = false; /* it was forged */
}

/* Reads the packets up to the next gap. */
static void
run(struct quic_conn *conn, struct repair_window *w, bool more, uint64_t now)
{
	struct repair_slot *slot;

	while (has(w, w->next)) {
		slot = slot_of(w, w->next++);
		if (slot->held)
			read_slot(conn, slot, more, now);
		w->gap_at = now;
	}
	/* Back from where forged numbers have led. */
	if (w->nheld == 0)
		w->next = conn->counts.largest + 1;
}

/* Passes over a gap, to the first packet that is held. */
static void
skip(struct quic_conn *conn, struct repair_window *w, uint64_t now)
{
	while (!has(w, w->next) || !slot_of(w, w->next)->held)
		w->next++;
	run(conn, w, false, now);
	if (w->nheld > 0) {
		uint64_t n = w->next;
		while (!has(w, n) || !slot_of(w, n)->held)
			n++;
		w->gap_at = slot_of(w, n)->arrived_at;
	}
}

/* Makes room for `number` at the end of the window. */
static void
advance(struct quic_conn *conn, struct repair_window *w, uint64_t number,
    uint64_t now)
{
	while (w->nheld > 0 && number - w->next >= REPAIR_WINDOW)
		skip(conn, w, now);
	if (number - w->next >= REPAIR_WINDOW)
		w->next = number;
}

/*
 * A packet is on another path than those that are held: they are read first, as
 * of their own path, and not after a migration as of the new one.
 */
static void
follow_path(struct quic_conn *conn, struct repair_window *w,
    const struct quic_path *path, uint64_t now)
{
	if (path_is_same(&w->path, path))
		return;
	while (w->nheld > 0)
		skip(conn, w, now);
	w->path = *path;
}

/* The packet is held already. Another with its number is not: one is forged. */
static bool
is_duplicate(const struct repair_slot *slot, const uint8_t *data, size_t len)
{
	return slot->held && slot->len == len + REPAIR_LENGTH_LEN &&
	    memcmp(slot->bytes + REPAIR_LENGTH_LEN, data, len) == 0;
}

/* A packet that need not wait is read. If it is genuine, it leaves no gap. */
static void
pass_by(struct quic_conn *conn, uint64_t number, const struct quic_path *path,
    uint8_t ecn, const uint8_t *data, size_t len, bool more, uint64_t now)
{
	struct repair_window *w = conn->repair.window;
	uint64_t received = conn->counts.received;

	conn_read_packet(conn, path, ecn, data, len, more, now);
	if (conn->counts.received == received)
		return;
	if (number >= w->next && number - w->next < REPAIR_WINDOW) {
		w->nheld -= has(w, number) && slot_of(w, number)->held;
		/* No block has a larger one. */
		store(w, number, data,
		    len + REPAIR_LENGTH_LEN <= REPAIR_SYMBOL_MAX ? len : 0,
		    now);
	}
	run(conn, w, more, now);
}

/* True: the packet waits, or has been read. */
static bool
take(struct quic_conn *conn, uint64_t number, const struct quic_path *path,
    uint8_t ecn, const uint8_t *data, size_t len, bool more, uint64_t now)
{
	struct repair_window *w = conn->repair.window;
	struct repair_slot *slot;

	follow_path(conn, w, path, now);
	if (number < w->next) {
		/* It is late, or a duplicate. */
		if (number + REPAIR_WINDOW >= w->next && !has(w, number) &&
		    slot_of(w, number)->number < number)
			store(w, number, data, len, now);
		return false;
	}
	if (has(w, number)) {
		if (!is_duplicate(slot_of(w, number), data, len))
			pass_by(conn, number, path, ecn, data, len, more, now);
		return true;
	}
	advance(conn, w, number, now);
	slot = store(w, number, data, len, now);
	slot->ecn = w->ecn = ecn;
	slot->held = true;
	if (w->nheld++ == 0)
		w->gap_at = now;
	if (number == w->next)
		run(conn, w, more, now);
	return true;
}

/* ---- Repair packets ---- */

/* The packets of the block that are not there; at most one more than can be. */
static unsigned
find_lost(struct repair_window *w, unsigned lost[ERASURE_SYMBOLS_MAX + 1],
    uint64_t numbers[ERASURE_SYMBOLS_MAX + 1], unsigned *total)
{
	unsigned n = 0;

	*total = 0;
	for (unsigned i = 0; i < ERASURE_PACKETS_MAX; i++) {
		if ((w->mask >> i & 1) == 0)
			continue;
		if (!has(w, w->first + i) && n <= ERASURE_SYMBOLS_MAX) {
			numbers[n] = w->first + i;
			lost[n++] = *total;
		}
		++*total;
	}
	return n;
}

/* Adds the packets that are there to a symbol. */
static void
add_present(struct repair_window *w, unsigned i)
{
	uint8_t sum[REPAIR_SYMBOL_MAX] = { 0 };
	const struct repair_slot *slot;

	for (unsigned k = 0; k < ERASURE_PACKETS_MAX; k++) {
		if ((w->mask >> k & 1) == 0)
			continue;
		slot = slot_of(w, w->first + k);
		erasure_add(sum, w->size, w->numbers[i], slot->bytes,
		    !has(w, w->first + k)     ? 0
			: slot->len > w->size ? w->size
					      : slot->len);
	}
	for (size_t k = 0; k < w->size; k++)
		w->symbols[i][k] ^= sum[k];
}

/* A packet was made. One for which no place is left was of no use. */
static void
put_repaired(struct quic_conn *conn, struct repair_window *w, uint64_t number,
    const uint8_t *symbol, uint64_t now)
{
	size_t len = (size_t)symbol[0] << 8 | symbol[1];
	struct repair_slot *slot;

	if (len < PACKET_MIN || len + REPAIR_LENGTH_LEN > w->size ||
	    TYPE(symbol[REPAIR_LENGTH_LEN]) != TYPE_1RTT)
		return;
	if (number >= w->next)
		advance(conn, w, number, now);
	else if (slot_of(w, number)->number > number)
		return;
	slot = store(w, number, symbol + REPAIR_LENGTH_LEN, len, now);
	slot->made = true;
	/* As the others; whether it met a queue is unknown (RFC 9000 §13.4). */
	slot->ecn = w->ecn == NGTCP2_ECN_CE ? NGTCP2_ECN_ECT_0 : w->ecn;
	if (number >= w->next) {
		slot->held = true;
		w->nheld++;
	} else
		read_slot(conn, slot, false, now);
}

static void
solve(struct quic_conn *conn, struct repair_window *w, uint64_t now)
{
	uint64_t numbers[ERASURE_SYMBOLS_MAX + 1];
	unsigned lost[ERASURE_SYMBOLS_MAX + 1], total;
	unsigned n = find_lost(w, lost, numbers, &total);
	uint8_t *symbols[ERASURE_SYMBOLS_MAX];

	if (n > w->nsymbols)
		return;
	for (unsigned i = 0; i < n; i++) {
		add_present(w, i);
		symbols[i] = w->symbols[i];
	}
	w->nsymbols = w->expected; /* no other is needed */
	if (n > 0 &&
	    !erasure_solve(symbols, w->numbers, lost, n, total, w->size))
		return;
	for (unsigned i = 0; i < n; i++)
		put_repaired(conn, w, numbers[i], symbols[i], now);
}

/* Nothing more comes for the block: do not wait for what it leaves open. */
static void
finish(struct quic_conn *conn, struct repair_window *w, uint64_t now)
{
	uint64_t end = w->first;

	for (uint64_t mask = w->mask; mask != 0; mask >>= 1)
		end++;
	run(conn, w, false, now);
	while (w->nheld > 0 && w->next < end)
		skip(conn, w, now);
}

/* Begins the block of this repair packet. False: it is of no use. */
static bool
set_block(struct quic_conn *conn, const struct repair_packet *p)
{
	struct repair_window *w = conn->repair.window;
	uint64_t first = packet_number_decode(conn->counts.largest + 1,
	    p->first, 32);

	if (w->expected > 0 && first == w->first)
		return p->mask == w->mask && p->size == w->size &&
		    p->nsymbols == w->expected && w->nsymbols < w->expected;
	if (first + REPAIR_WINDOW < w->next ||
	    (w->expected > 0 && first < w->first &&
		w->first - first < REPAIR_WINDOW))
		return false; /* too old */
	w->first = first;
	w->mask = p->mask;
	w->size = p->size;
	w->nsymbols = 0;
	w->expected = p->nsymbols;
	return true;
}

static void
repair_packet_received(struct quic_conn *conn, const uint8_t *data, size_t len,
    uint64_t now)
{
	struct repair_window *w = conn->repair.window;
	struct repair_packet p;

	if (!repair_packet_read(&p, data, len))
		return;
	w->used_at = now;
	conn->repair.understood = true;
	if (!set_block(conn, &p))
		return;
	for (unsigned i = 0; i < w->nsymbols; i++)
		if (w->numbers[i] == p.number)
			return;
	memcpy(w->symbols[w->nsymbols], p.symbol, p.size);
	w->numbers[w->nsymbols++] = p.number;
	solve(conn, w, now);
	if (w->nsymbols == w->expected)
		finish(conn, w, now);
}

/* ---- Datagrams ---- */

/*
 * For a repair packet; a peer may send them before we ask, since an earlier
 * connection did.
 */
static bool
open_window(struct quic_conn *conn, uint64_t now)
{
	struct conn_repair *r = &conn->repair;

	if (r->window == NULL && !memory_is_over(conn)) {
		r->window = memory_calloc(conn, sizeof(*r->window));
		if (r->window != NULL) {
			r->window->next = conn->counts.largest + 1;
			r->window->path = conn->path.current;
			r->window->used_at = now;
		}
	}
	return r->window != NULL;
}

/* A server has looked up the ID; anyone may send to a client's socket. */
static bool
is_own_id(struct quic_conn *conn, const uint8_t *id)
{
	ngtcp2_cid ids[OWN_IDS_MAX];
	size_t n = ngtcp2_conn_get_scid(conn->quic, NULL);

	if (conn_is_server(conn))
		return true;
	if (n > OWN_IDS_MAX)
		return false;
	ngtcp2_conn_get_scid(conn->quic, ids);
	for (size_t i = 0; i < n; i++)
		if (ids[i].datalen == REPAIR_ID_LEN &&
		    memcmp(ids[i].data, id, REPAIR_ID_LEN) == 0)
			return true;
	return false;
}

bool
repair_receive(struct quic_conn *conn, const struct quic_path *path,
    uint8_t ecn, const uint8_t *data, size_t len, bool more, uint64_t now)
{
	uint64_t number;

	if (!conn->repair.started || conn->state >= CONN_CLOSING ||
	    len < PACKET_MIN)
		return false;
	if (TYPE(data[0]) == TYPE_OURS) {
		if (!is_own_id(conn, data + 1))
			return true;
		if (data[0] == REPAIR_REQUEST)
			repair_request_received(conn, data, len, now);
		else if (data[0] == REPAIR_PACKET && open_window(conn, now))
			repair_packet_received(conn, data, len, now);
		return data[0] == REPAIR_REQUEST || data[0] == REPAIR_PACKET;
	}
	if (conn->repair.window == NULL || TYPE(data[0]) != TYPE_1RTT ||
	    !is_own_id(conn, data + 1) ||
	    !find_number(conn, data, len, &number))
		return false;
	if (len + REPAIR_LENGTH_LEN <= REPAIR_SYMBOL_MAX &&
	    path_is_same(path, &conn->path.current))
		return take(conn, number, path, ecn, data, len, more, now);
	pass_by(conn, number, path, ecn, data, len, more, now);
	return true;
}

/* ---- Time ---- */

uint64_t
repair_window_deadline(const struct quic_conn *conn)
{
	const struct repair_window *w = conn->repair.window;
	uint64_t time;

	if (w == NULL)
		return UINT64_MAX;
	if (w->nheld == 0)
		return w->used_at + UNUSED_MAX;
	time = repair_block_time(conn);
	return w->gap_at + time + time / 2 + HOLD_SLACK;
}

void
repair_window_expire(struct quic_conn *conn, uint64_t now)
{
	struct repair_window *w = conn->repair.window;

	while (w != NULL && w->nheld > 0 && repair_window_deadline(conn) <= now)
		skip(conn, w, now);
	if (w != NULL && w->nheld == 0 && now - w->used_at >= UNUSED_MAX) {
		memory_release(conn, w);
		conn->repair.window = NULL;
	}
}
