/*
 * Who may come in: strangers at the door of a server, a pure state of counts
 * and times. It knows no packets; server.c asks it once for each first one.
 */
#ifndef CULVERT_QUIC_ADMISSION_H
#define CULVERT_QUIC_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/socket.h>

#include "quic/evict.h"

#define ADMISSION_KEY_LEN 9 /* bytes: a family, and an IPv4 address or /64 */

/* Connections of one source, an IPv4 address or an IPv6 /64. */
struct admission_source {
	uint8_t
	    key[ADMISSION_KEY_LEN]; /* first: look-ups compare nothing else */
	size_t connections;
	struct evict_order order;
};

/*
 * A source that has had its share of the handshakes of a second, an eighth,
 * goes on only while a quarter of them is left, and so does whoever has not
 * proven an address: that is for those who have, and who have not had theirs.
 * Sources are told apart by a hash with a secret seed, which takes no more
 * memory under a flood; two that fall together have one share.
 */
#define ADMISSION_SHARES 8
#define ADMISSION_KEPT 4
#define ADMISSION_SLOTS 1024

/* The caller sets the first part, and may set it anew at any time. */
struct admission {
	size_t half_open_max; /* handshakes under way; then proof is asked */
	unsigned per_second; /* handshakes begun; not 0 */
	uint64_t seed; /* random; to be set once */

	/* Private; all zero at first. */
	uint64_t full_at; /* as `now`: when a second's worth is there again */
	uint64_t slots[ADMISSION_SLOTS]; /* the same of the shares of sources */
	void *sources; /* tsearch(3) tree of struct admission_source */
};

enum admission_verdict {
	ADMISSION_ADMIT, /* begin the handshake: it is counted */
	ADMISSION_PROVE, /* let it prove its address first (RFC 9000 §8.1) */
	ADMISSION_LATER /* do not answer: it will ask again when it is not heard
			 */
};

/*
 * What to do with a stranger at `remote`, who has `proven` or not that it is
 * there, while so many handshakes are `half_open`.
 */
enum admission_verdict admission_ask(struct admission *,
    const struct sockaddr *remote, bool proven, size_t half_open, uint64_t now);

/* The source of that address, or NULL: it has no connection. */
struct admission_source *
admission_find(const struct admission *, const struct sockaddr *remote);

/*
 * Counts a connection of that source, once a token or the handshake has shown
 * that it really is there: what strangers could forge must not count against a
 * source. The result goes to admission_leave() when the connection ends; NULL,
 * where memory was short, is fine for it.
 */
struct admission_source *
admission_enter(struct admission *, const struct sockaddr *remote);
void admission_leave(struct admission *, struct admission_source *);

#endif
