/*
 * The sender's half: each packet is added to the symbols of its block as it is
 * written. A block ends when it is full, or after some time, so that the last
 * packets of a burst are repaired, too.
 */
#include <string.h>

#include "quic/internal.h"
#include "quic/packet_number.h"
#include "quic/repair.h"

/*
 * Smaller packets only acknowledge. The next acknowledgement has what a lost
 * one had.
 */
#define PACKET_MIN 64 /* bytes */

/*
 * A block lasts a part of the round trip, since what is behind a gap waits for
 * its end. More than the longest is felt, and less than the shortest has too
 * few packets.
 */
#define TIME_PART 4
#define TIME_MIN (2 * NS_PER_MS)
#define TIME_MAX (20 * NS_PER_MS)

/* What every path of IPv6 carries (RFC 8200 §5), and nearly all of IPv4. */
#define IPV6_LEAST 1232 /* bytes of UDP payload */

/* Packets of a block on a path that loses a fifth. */
#define PACKETS_MIN 8

/*
 * The part of the blocks that may stay incomplete. Congestion control reacts
 * when two packets of a hundred are lost in a round trip, and one incomplete
 * block is enough for that.
 */
#define INCOMPLETE_MAX (1.0 / 500)

/*
 * The chance that more than `symbols` of a block and its repair packets are
 * lost: the tail of a binomial distribution.
 */
static double
chance_incomplete(unsigned packets, unsigned symbols, unsigned lost)
{
	double p = lost / 1000.0, chance = 1, sum = 0;
	unsigned n = packets + symbols;

	for (unsigned i = 0; i < n; i++)
		chance *= 1 - p;
	for (unsigned i = 0; i <= symbols; i++) {
		sum += chance;
		chance *= (n - i) * p / ((i + 1) * (1 - p));
	}
	return 1 - sum;
}

/* How many symbols a block of so many packets needs. */
static unsigned
symbols_for(unsigned packets, unsigned lost)
{
	unsigned n = 1;

	while (n < ERASURE_SYMBOLS_MAX &&
	    chance_incomplete(packets, n, lost) > INCOMPLETE_MAX)
		n++;
	return n;
}

/* For how many packets the most symbols are enough. */
static unsigned
packets_for(unsigned lost)
{
	unsigned n = REPAIR_PACKETS_MAX;

	while (n > PACKETS_MIN &&
	    chance_incomplete(n, ERASURE_SYMBOLS_MAX, lost) > INCOMPLETE_MAX)
		n--;
	return n;
}

void
repair_block_plan(struct quic_conn *conn)
{
	struct repair_block *b = conn->repair.block;

	b->packets_max = packets_for(conn->repair.asked);
	b->symbols_max = symbols_for(b->packets_max, conn->repair.asked);
}

static size_t
round_up(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

/* ---- The block ---- */

uint64_t
repair_block_time(const struct quic_conn *conn)
{
	ngtcp2_conn_info info;
	uint64_t part;

	ngtcp2_conn_get_conn_info(conn->quic, &info);
	part = info.smoothed_rtt / TIME_PART;
	return part < TIME_MIN ? TIME_MIN : part > TIME_MAX ? TIME_MAX : part;
}

static bool
is_asked(const struct quic_conn *conn)
{
	return conn->repair.asked > 0 && conn->now < conn->repair.asked_until;
}

/*
 * The largest repair packet on a path that carries `size`. Packets have to have
 * at least PMTU_BASE_SIZE bytes, in the search for the path MTU and in path
 * validation (RFC 9000 §8.2.1), and what repairs them may be a little larger.
 */
static size_t
repair_max(const struct quic_conn *conn, size_t size)
{
	size_t ceiling = conn->mtu_probe.pmtu.ceiling;

	if (size >= IPV6_LEAST)
		return size;
	return ceiling < IPV6_LEAST ? ceiling : IPV6_LEAST;
}

/* The largest packet whose repair packet is no larger than `size`. */
static size_t
packet_max(size_t size)
{
	size_t symbol = (size - REPAIR_HEADER_LEN) & ~(size_t)7;

	if (symbol > REPAIR_SYMBOL_MAX)
		symbol = REPAIR_SYMBOL_MAX;
	return symbol - REPAIR_LENGTH_LEN;
}

size_t
repair_cap(const struct quic_conn *conn, size_t cap)
{
	size_t most = packet_max(repair_max(conn, cap));

	return is_asked(conn) && cap > most && most >= PMTU_BASE_SIZE ? most
								      : cap;
}

static void
begin(struct quic_conn *conn, struct repair_block *b, const uint8_t *data,
    uint64_t number, uint64_t now)
{
	b->first = number;
	b->mask = 0;
	b->size = 0;
	b->nsymbols = 0;
	b->ncounted = b->symbols_max;
	b->due_at = now + repair_block_time(conn);
	memcpy(b->id, data + 1, sizeof(b->id));
	memset(b->symbols, 0, sizeof(b->symbols));
}

/* Ends the block: its repair packets are to be written. */
static void
end(const struct quic_conn *conn, struct repair_block *b)
{
	b->nsymbols = symbols_for(b->npackets, conn->repair.asked);
	if (b->nsymbols > b->ncounted)
		b->nsymbols = b->ncounted; /* another plan was made since */
	b->npackets = 0;
}

static void
add(struct repair_block *b, const uint8_t *data, size_t len, uint64_t number)
{
	uint8_t packet[REPAIR_SYMBOL_MAX];

	packet[0] = (uint8_t)(len >> 8);
	packet[1] = (uint8_t)len;
	memcpy(packet + REPAIR_LENGTH_LEN, data, len);
	len += REPAIR_LENGTH_LEN;
	if (b->size < round_up(len))
		b->size = round_up(len);
	for (unsigned s = 0; s < b->ncounted; s++)
		erasure_add(b->symbols[s], b->size, s, packet, len);
	b->mask |= UINT64_C(1) << (number - b->first);
	b->npackets++;
}

static bool
takes(const struct quic_conn *conn, const ngtcp2_path *path,
    const uint8_t *data, size_t len)
{
	ngtcp2_path current = path_view(&conn->path.current);

	return SHORT_HEADER(data[0]) && len >= PACKET_MIN &&
	    len <= packet_max(repair_max(conn, conn->mtu_probe.pmtu.size)) &&
	    !conn->path.unvalidated && ngtcp2_path_eq(&current, path);
}

bool
repair_sent(struct quic_conn *conn, const ngtcp2_path *path,
    const uint8_t *data, size_t len, uint64_t number, uint64_t now)
{
	struct repair_block *b = conn->repair.block;

	if (b == NULL || b->nsymbols > 0)
		return b != NULL;
	if (b->npackets > 0 && number - b->first >= ERASURE_PACKETS_MAX)
		end(conn, b); /* this packet is in no block */
	else if (is_asked(conn) && takes(conn, path, data, len)) {
		if (b->npackets == 0)
			begin(conn, b, data, number, now);
		add(b, data, len, number);
		if (b->npackets >= b->packets_max)
			end(conn, b);
	}
	return b->nsymbols > 0;
}

/* ---- Repair packets ---- */

bool
repair_is_due(const struct quic_conn *conn)
{
	return conn->repair.block != NULL && conn->repair.block->nsymbols > 0;
}

bool
repair_write(struct quic_conn *conn, struct quic_gso *gso)
{
	struct repair_block *b = conn->repair.block;
	ngtcp2_path path = path_view(&conn->path.current);
	struct repair_packet packet;
	size_t len;

	if (!repair_is_due(conn))
		return false;
	if (conn->path.unvalidated) {
		b->nsymbols = 0; /* RFC 9000 §8: they might be too many bytes */
		return false;
	}
	packet = (struct repair_packet){ .first = (uint32_t)b->first,
		.mask = b->mask,
		.nsymbols = b->nsymbols,
		.size = b->size };
	memcpy(packet.id, b->id, sizeof(packet.id));
	for (; packet.number < b->nsymbols; packet.number++) {
		packet.symbol = b->symbols[packet.number];
		len = repair_packet_write(&packet, gso->buf + gso->len);
		gso_add(gso, &path, 0, len);
	}
	conn->counts.repairs += b->nsymbols;
	b->nsymbols = 0;
	return true;
}

/* ---- Time ---- */

uint64_t
repair_block_deadline(const struct quic_conn *conn)
{
	const struct repair_block *b = conn->repair.block;

	if (b == NULL || b->nsymbols > 0)
		return UINT64_MAX;
	if (b->npackets > 0)
		return b->due_at;
	return is_asked(conn) ? conn->repair.asked_until : conn->now;
}

void
repair_block_expire(struct quic_conn *conn, uint64_t now)
{
	struct repair_block *b = conn->repair.block;

	if (repair_block_deadline(conn) > now)
		return;
	if (b->npackets > 0)
		end(conn, b);
	else {
		/* No more repair is asked for. */
		memory_release(conn, b);
		conn->repair.block = NULL;
	}
}

uint64_t
repair_deadline(const struct quic_conn *conn)
{
	uint64_t block = repair_block_deadline(conn);
	uint64_t window = repair_window_deadline(conn);

	return block < window ? block : window;
}

void
repair_expire(struct quic_conn *conn, uint64_t now)
{
	repair_block_expire(conn, now);
	repair_window_expire(conn, now);
}

void
repair_free(struct quic_conn *conn)
{
	if (conn->repair.block != NULL)
		memory_release(conn, conn->repair.block);
	if (conn->repair.window != NULL)
		memory_release(conn, conn->repair.window);
	gnutls_memset(conn->repair.keys, 0, sizeof(conn->repair.keys));
}
