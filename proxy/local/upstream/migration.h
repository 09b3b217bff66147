#ifndef CULVERT_PROXY_LOCAL_UPSTREAM_MIGRATION_H
#define CULVERT_PROXY_LOCAL_UPSTREAM_MIGRATION_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "quic/io.h"

/*
 * Keeps one connection, with its tunnels, while this machine changes networks:
 * migrates it to the local address that the kernel would use now (RFC 9000 §9),
 * and finds out what a silence of the edge means.
 */
struct migration;

/*
 * Milliseconds of silence, while an answer is due, after which the path is
 * checked: for quic_settings.silence_ns. A path with loss may be silent that
 * long.
 */
#define MIGRATION_SILENCE_MS 1000

/*
 * Each fires at most once, from the loop or from within one of the calls
 * below.
 */
struct migration_events {
	/*
	 * Nothing helps, and another connection is needed. `why` is a
	 * sentence. Nothing is done after this.
	 */
	void (*gave_up)(void *arg, const char *why);

	/*
	 * The edge forbids migration (disable_active_migration of RFC 9000
	 * §18.2), so the connection stays on a network that the kernel would
	 * not choose any more, and works while that network does. New tunnels
	 * should use another connection.
	 */
	void (*left_behind)(void *arg);
};

/*
 * For a client connection that `io` drives; both must outlive the migration. 0
 * or -ENOMEM.
 */
int migration_new(struct migration **, uv_loop_t *, struct quic_io *,
    struct quic_conn *, const struct migration_events *, void *arg);

/*
 * Stops at once; call it before the io and the connection are freed. The memory
 * follows when the loop has closed the timer. NULL is a no-op.
 */
void migration_free(struct migration *);

/* The network has changed; from netlink_new(). */
void migration_network_changed(struct migration *);

/*
 * The edge answers on another connection: if it is silent here, the local port
 * is at fault, and another port is tried at once.
 */
void migration_edge_answers(struct migration *);

/* This machine resumes after `ns` of sleep; from suspend_new(). */
void migration_resumed(struct migration *, uint64_t ns);

/* For the connection's events of the same names. */
void migration_silent(struct migration *);
void migration_migrated(struct migration *, bool valid);

#endif
