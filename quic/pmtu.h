/*
 * Datagram packetization layer path MTU discovery (RFC 8899) with QUIC's rules
 * (RFC 9000 §14): which size to probe next, and what the answers mean.
 *
 * Pure: integers and times go in, decisions come out. How a probe leaves and
 * how its fate is learnt is quic/probe.h. All sizes are bytes of UDP payload;
 * all times are nanoseconds. One object for each path.
 *
 *              start                        all sizes known
 *   DISABLED ────────▶ BASE ──▶ SEARCHING ─────────────────▶ COMPLETE
 *                       ▲ │         ▲  ▲                         │
 *     a small one came ─┘ └─ none ─▶│  └── raise timer, reprobe ─┤
 *                         ERROR     └───── black hole ◀──────────┘
 */
#ifndef CULVERT_QUIC_PMTU_H
#define CULVERT_QUIC_PMTU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* BASE_PLPMTU and MIN_PLPMTU of QUIC (RFC 9000 §14.3), unless more is sure. */
#define PMTU_BASE_SIZE 1200 /* bytes */

/* A search ends when the answer is known to this. */
#define PMTU_RESOLUTION 8 /* bytes */

/* Probes that may be under way at once: the sizes of one round. */
#define PMTU_PARALLEL_MAX 7

/* Probes whose fate is awaited: a verdict has some small ones beside them. */
#define PMTU_IN_FLIGHT_MAX 12

/* Losses of one size before it is given up (MAX_PROBES, RFC 8899 §5.1.2). */
#define PMTU_LOSSES_MAX 3

/* Sizes whose losses are remembered. */
#define PMTU_LOST_MAX 24

enum pmtu_state {
	PMTU_DISABLED, /* switched off, or the path is not validated */
	PMTU_BASE, /* at the base size, and nothing is known yet */
	PMTU_SEARCHING,
	PMTU_COMPLETE,
	PMTU_ERROR /* not even the base size seems to pass */
};

/* Why the size changed last. */
enum pmtu_cause {
	PMTU_NOTHING,
	PMTU_PROBE_ACKED,
	PMTU_BLACK_HOLE,
	PMTU_PATH_CHANGED,
	PMTU_INTERFACE /* it takes no more */
};

struct pmtu {
	/* To be read by anyone. */
	enum pmtu_state state;
	enum pmtu_cause cause;
	size_t size; /* packets may be this large: PLPMTU */
	size_t base; /* never below, but for an interface */
	size_t ceiling; /* never above: interface, peer, configuration */
	uint64_t changed_at;
	uint64_t probes_sent, probes_acked, probes_lost;
	uint64_t suspected, confirmed; /* black holes */

	/* Private. */
	size_t headers; /* IP and UDP */
	size_t sure; /* the base, if the interface has room for it */
	size_t max; /* the ceiling without the interface */
	size_t hint; /* what a router has named, to be tried; or 0 */
	bool suspicious;
	size_t tested; /* the size that is under suspicion */
	unsigned large_lost, large_acked; /* of that size, since then */
	unsigned small_lost, small_acked; /* of smaller ones */
	unsigned nfallbacks; /* sizes tried to fall back on ... */
	size_t passed; /* ... and the largest of those that arrived, or 0 */
	enum pmtu_state state_before;
	uint64_t trusted_until; /* after a false alarm */
	size_t in_flight[PMTU_IN_FLIGHT_MAX]; /* sizes of probes under way */
	size_t nin_flight;
	struct {
		size_t size;
		unsigned count; /* so many were lost ... */
		unsigned acked; /* ... and so many arrived all the same */
	} lost[PMTU_LOST_MAX]; /* ascending: sizes that failed to arrive */
	size_t nlost;
	size_t queue[PMTU_PARALLEL_MAX]; /* sizes of this round, still to go */
	size_t nqueue;
	bool raising; /* a search that may end at the first loss */
	uint64_t raise_at;
	uint64_t backoff; /* from this search to the next */
	uint64_t heal; /* the same, after the next black hole */
	bool data_flowed; /* since the search ended */
};

/*
 * Makes a switched-off object at the base size, which is taken for granted on
 * every path: PMTU_BASE_SIZE, or more when that is sure.
 */
void pmtu_init(struct pmtu *, size_t base);

/* The next path is of another family, say: so much is sure there. */
void pmtu_set_base(struct pmtu *, size_t base);

/*
 * The path is validated: searches for the largest size up to `max`, from the
 * top. If that is not above the base size there is no search. Called again, it
 * begins again, at the base size: a new path. `headers` are those of IP and
 * UDP, 28 or 48 bytes: links have sizes of IP packets.
 */
void pmtu_start(struct pmtu *, size_t max, size_t headers, uint64_t now);

/*
 * The interface takes packets of at most that size: from now on none is larger,
 * and probes that were under way are forgotten. It holds until the next
 * search, which asks again, since interfaces change without a word.
 */
void pmtu_set_ceiling(struct pmtu *, size_t ceiling, uint64_t now);

/*
 * A router says that a packet of `quoted` bytes, which is ours, was too big for
 * a link that takes `size`: tried next, and believed when it has been tried
 * (RFC 8899 §4.6.2). False: that says nothing that could be true.
 */
bool pmtu_too_big(struct pmtu *, size_t quoted, size_t size, uint64_t now);

/* The path is another one, of which nothing is known: back to the base size. */
void pmtu_stop(struct pmtu *, uint64_t now);

/* Searches above the present size at once: somebody asked. */
void pmtu_reprobe(struct pmtu *, uint64_t now);

/*
 * The size of a probe that should leave now, or 0. The caller reports it by
 * pmtu_sent() when it has left, and later exactly one of acked and lost.
 * `idle`: carriers are rare, so one probe at a time.
 */
size_t pmtu_wanted(const struct pmtu *, bool idle);
void pmtu_sent(struct pmtu *, size_t size);
void pmtu_probe_acked(struct pmtu *, size_t size, uint64_t now);
void pmtu_probe_lost(struct pmtu *, size_t size, uint64_t now);

/*
 * An ordinary packet was acknowledged: a large one, so the path is in use, or
 * one of at most the base size, so the path is not down (and in use, as far as
 * can be told, while none is larger).
 */
void pmtu_large_acked(struct pmtu *);
void pmtu_small_acked(struct pmtu *, uint64_t now);

/*
 * Large packets vanish while small ones pass, or nothing is acknowledged any
 * more: packets are small until pairs, a large probe beside a small packet,
 * have told. Idempotent.
 */
void pmtu_suspect(struct pmtu *, uint64_t now);

/* From when on pmtu_suspect() does anything; UINT64_MAX: not as it is. */
uint64_t pmtu_suspicion_counts_at(const struct pmtu *);

/* Time has passed: the raise timer. */
void pmtu_expire(struct pmtu *, uint64_t now);

/* When pmtu_expire() is due; UINT64_MAX: never. */
uint64_t pmtu_deadline(const struct pmtu *);

/* What an ordinary packet may have now: never above what is proven. */
size_t pmtu_limit(const struct pmtu *);

/* "searching" and its like, and "black hole" and its like: static text. */
const char *pmtu_state_name(enum pmtu_state);
const char *pmtu_cause_name(enum pmtu_cause);

#endif
