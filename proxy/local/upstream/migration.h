#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_MIGRATION_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_MIGRATION_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "quic/io.h"

/*
 * Takes one connection along as this machine goes from network to network, so
 * that no tunnel on it is lost: it moves the connection to the address that the
 * kernel would use now (RFC 9000 §9), and finds out what a silence means.
 */
struct migration;

/*
 * Milliseconds of silence, while an answer is due, that make roam look: for
 * quic_settings.silence_ns. A path with loss may be silent that long.
 */
#define MIGRATION_SILENCE_MS 1000

/*
 * What the owner is told, each at most once, from the loop or from within one
 * of the calls below.
 */
struct migration_events {
	/*
	 * Nothing helps: another connection is needed. `why` is a sentence for
	 * people. Roam does nothing after this.
	 */
	void (*gave_up)(void *arg, const char *why);

	/*
	 * The edge does not let connections move (RFC 9000 §18.2,
	 * disable_active_migration), so this one stays on a network which the
	 * kernel would not choose any more, and works while that does. New
	 * tunnels had better go by another connection.
	 */
	void (*left_behind)(void *arg);
};

/*
 * For a client connection that `io` drives; both must outlive the roam. 0 or
 * -ENOMEM.
 */
int migration_new(struct migration **, uv_loop_t *, struct quic_io *,
    struct quic_conn *, const struct migration_events *, void *arg);

/*
 * At once, and before the io and the connection go; the memory follows when
 * the loop has closed the timer. NULL is a no-op.
 */
void migration_free(struct migration *);

/* The network has changed: netlink_new() tells. */
void migration_network_changed(struct migration *);

/*
 * The edge has just answered somebody else: if it is silent here, our port is
 * at fault, and another one is tried without waiting any longer.
 */
void migration_edge_answers(struct migration *);

/* This machine has slept for so long: suspend_new() tells. */
void migration_slept(struct migration *, uint64_t ns);

/* For the events of the connection that have the same names. */
void migration_silent(struct migration *);
void migration_migrated(struct migration *, bool valid);

#endif
