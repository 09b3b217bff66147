/*
 * Datagram packetization layer path MTU discovery (RFC 8899) with the rules of
 * QUIC (RFC 9000 §14): which size to probe next, and what the results mean. How
 * often a search is repeated is in pmtu_search_interval.h, and how often the size
 * in force is confirmed, in pmtu_confirmation.h.
 *
 * Pure: integers and times go in, decisions come out. quic/mtu_probe.h sends
 * the probes and detects their loss. All sizes are bytes of UDP payload; all
 * times are nanoseconds. One object for each path.
 *
 *              start                 all sizes known
 *   DISABLED ────────▶ SEARCHING ──────────────────────▶ COMPLETE
 *                       ▲ │   ▲                           │    │
 *           black hole, │ │   └── raise timer, reprobe ───┘    │
 *           false alarm │ ▼ suspicion                suspicion │
 *                       BASE ◀─────────────────────────────────┘
 *       a small packet ▲  │ no small packet
 *      is acknowledged │  ▼ is acknowledged
 *                     ERROR
 *
 * A false alarm leads back to the state in which the suspicion began.
 *
 * A search raises the size as soon as a probe has passed, but only once: what
 * it finds above is a candidate (pmtu_candidate.h) until more probes confirm
 * it.
 */
#ifndef CULVERT_QUIC_PMTU_H
#define CULVERT_QUIC_PMTU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quic/pmtu_candidate.h"
#include "quic/pmtu_confirmation.h"
#include "quic/pmtu_search_interval.h"

/*
 * BASE_PLPMTU and MIN_PLPMTU of QUIC (RFC 9000 §14.3), unless the path is known
 * to carry more.
 */
#define PMTU_BASE_SIZE 1200 /* bytes */

/* The accuracy of a search. */
#define PMTU_RESOLUTION 8 /* bytes */

/* Probes that may be in flight at once: the sizes of one round. */
#define PMTU_PARALLEL_MAX 7

/*
 * Probes in flight whose result is open: a suspicion has some small ones, too.
 */
#define PMTU_IN_FLIGHT_MAX 12

/* Losses of one size before it is abandoned (MAX_PROBES, RFC 8899 §5.1.2). */
#define PMTU_LOSSES_MAX 3

/* Sizes whose losses are stored. */
#define PMTU_LOST_MAX 24

enum pmtu_state {
	PMTU_DISABLED, /* switched off, or the path is not validated */
	/* A suspicion: packets have the base size until probes decide. */
	PMTU_BASE,
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
	PMTU_INTERFACE /* its MTU is smaller */
};

struct pmtu {
	/* Read-only for others. */
	enum pmtu_state state;
	enum pmtu_cause cause;
	size_t size; /* the PLPMTU: the largest packet */
	size_t base; /* the minimum of `size`, unless an interface takes less */
	/* The maximum of `size`: by interface, peer, configuration. */
	size_t ceiling;
	uint64_t changed_at;
	uint64_t probes_sent, probes_acked, probes_lost;
	uint64_t suspected, confirmed; /* black holes */

	/* Private. */
	size_t headers; /* bytes of IP and UDP headers */
	size_t sure;	/* the base size, if the interface takes it */
	size_t max;	/* the ceiling without the interface */
	size_t hint;	/* a size from an ICMP message, to be probed; or 0 */
	bool suspicious;
	size_t tested;			  /* the size that is under suspicion */
	unsigned large_lost, large_acked; /* probes of that size, since then */
	/* Probes and packets of smaller sizes. */
	unsigned small_lost, small_acked;
	unsigned nfallbacks; /* smaller sizes that were probed */
	size_t passed; /* the largest of them that was acknowledged; or 0 */
	enum pmtu_state state_before;
	/* No suspicion before that, after a false alarm. */
	uint64_t trusted_until;
	size_t in_flight[PMTU_IN_FLIGHT_MAX]; /* sizes of probes in flight */
	size_t nin_flight;
	struct {
		size_t size;
		unsigned count; /* probes that were lost */
		unsigned acked; /* probes that were acknowledged since */
	} lost[PMTU_LOST_MAX];	/* by size: those that were lost */
	size_t nlost;
	/* Sizes of this round that are still to be probed. */
	size_t queue[PMTU_PARALLEL_MAX];
	size_t nqueue;
	size_t searched_from; /* the size in force when this search began */
	struct pmtu_candidate candidate; /* a larger one that has passed */
	/* A size has passed now and then: there may be several routes. */
	bool unsteady;
	bool raising; /* this search may end at the first loss */
	struct pmtu_search_interval next_search;
	struct pmtu_confirmation confirmation; /* of the size in force */
	bool data_flowed;		       /* since the search ended */
};

/*
 * Makes an object that is disabled and at the base size, which every path
 * carries: PMTU_BASE_SIZE, or more if that is known.
 */
void pmtu_init(struct pmtu *, size_t base);

/*
 * Sets the base size of the next path, which may have another address family.
 */
void pmtu_set_base(struct pmtu *, size_t base);

/*
 * The path is validated: searches for the largest size up to `max`, from the
 * top. If `max` is not above the base size there is no search. Called again,
 * for a new path, it begins again at the base size. `headers` are the bytes of
 * IP and UDP headers, 28 or 48: links limit the size of IP packets.
 */
void pmtu_start(struct pmtu *, size_t max, size_t headers, uint64_t now);

/*
 * The interface takes packets of at most this size: no packet is larger from
 * now on, and larger probes in flight are forgotten. The limit holds until the
 * next search, which probes beyond it, since the MTU of an interface may change
 * unnoticed.
 */
void pmtu_set_ceiling(struct pmtu *, size_t ceiling, uint64_t now);

/*
 * An ICMP message reports that a packet of `quoted` bytes, which is ours, was
 * too big for a link that takes `size`. That size is probed next, and used only
 * if the probe confirms it (RFC 8899 §4.6.2). False: the message cannot be
 * true.
 */
bool pmtu_too_big(struct pmtu *, size_t quoted, size_t size, uint64_t now);

/* The path has changed, and nothing is known of it: back to the base size. */
void pmtu_stop(struct pmtu *, uint64_t now);

/* Searches above the current size at once. */
void pmtu_reprobe(struct pmtu *, uint64_t now);

/*
 * The size of the probe that should be sent now, or 0. The caller reports it by
 * pmtu_sent() when it is sent, and later by exactly one of acked and lost.
 * `idle`: there are few packets to carry probes, so one probe at a time.
 */
size_t pmtu_next_probe(const struct pmtu *, bool idle);
void pmtu_sent(struct pmtu *, size_t size);
void pmtu_probe_acked(struct pmtu *, size_t size, uint64_t now);
void pmtu_probe_lost(struct pmtu *, size_t size, uint64_t now);

/*
 * The next probe only confirms the size in force: no search and no suspicion
 * waits for it.
 */
bool pmtu_confirms(const struct pmtu *);

/*
 * The connection is used in this direction or the other: if the size in force
 * was not confirmed for a while, it is probed again.
 */
void pmtu_used(struct pmtu *, uint64_t now);

/*
 * An ordinary packet was acknowledged: a large one, so the path is in use, and
 * if it had the size in force, that is confirmed (`full`); or one of at most
 * the base size, so the path is up (and in use, as far as is known, while no
 * packets are larger).
 */
void pmtu_large_acked(struct pmtu *, bool full, uint64_t now);
void pmtu_small_acked(struct pmtu *, uint64_t now);

/*
 * Large packets are lost while small ones pass, or nothing is acknowledged any
 * more: packets stay small until probes, large and small ones in pairs, have
 * shown which. Idempotent.
 */
void pmtu_suspect(struct pmtu *, uint64_t now);

/* From when on pmtu_suspect() has an effect; UINT64_MAX: not in this state. */
uint64_t pmtu_suspicion_counts_at(const struct pmtu *);

/* For the raise timer. */
void pmtu_expire(struct pmtu *, uint64_t now);

/* When pmtu_expire() is due; UINT64_MAX: never. */
uint64_t pmtu_deadline(const struct pmtu *);

/* The size of ordinary packets now: never above what was confirmed. */
size_t pmtu_limit(const struct pmtu *);

/* Names such as "searching" and "black hole": static text. */
const char *pmtu_state_name(enum pmtu_state);
const char *pmtu_cause_name(enum pmtu_cause);

#endif
