#ifndef CULVERT_PROXY_BASE_TCP_H
#define CULVERT_PROXY_BASE_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

/*
 * What Linux knows of a TCP connection and libuv does not ask. None of these
 * fails: without a descriptor, a function does nothing or answers 0 or false.
 */

/* Sets TCP_NODELAY. On Linux accepted sockets inherit it from their listener. */
void tcp_set_nodelay(int fd);

/*
 * Whether the peer receives RST instead of FIN when the socket is closed, also
 * if the process dies: a truncated transfer must not look complete. An RST
 * discards bytes that the peer has not acknowledged.
 */
void tcp_set_reset(const uv_tcp_t *, bool reset);

/* Ends the sending direction. 0 or a negative errno. */
int tcp_shutdown(const uv_tcp_t *);

/*
 * Whether TCP has ended by FIN. If the last bytes and the end arrive together,
 * libuv reports EOF without reading again, but the end may be a reset. False
 * after a write has failed: that takes the error which would tell.
 */
bool tcp_has_ended(const uv_tcp_t *, bool write_failed);

/*
 * Bytes, a FIN included, that were written and that the peer has not
 * acknowledged: also when the connection has ended, or 0 in that case.
 */
size_t tcp_queued(const uv_tcp_t *);
size_t tcp_unacknowledged(const uv_tcp_t *);

/*
 * Waits until a peer has accepted what is left for it. The owner runs a timer
 * and looks at each expiry whether that is so.
 */
struct tcp_drain {
	/* Private. */
	uint64_t progress;    /* at the last check ... */
	uint64_t progress_ms; /* ... and the time of its last change */
	uint64_t check_ms;    /* the interval of the checks */
};

/*
 * Milliseconds without progress after which a drain ends: longer than a slow
 * reader pauses, and short enough not to keep dead tunnels.
 */
#define TCP_STALL_MS 30000

/* Begins, and returns the milliseconds until the first check. */
uint64_t tcp_drain_begin(struct tcp_drain *, uint64_t now_ms);

/*
 * `progress` is any number that changes when the peer accepts something.
 * Returns the milliseconds until the next check, or 0: nothing has changed for
 * TCP_STALL_MS, and the owner ends the connection.
 */
uint64_t
tcp_drain_check(struct tcp_drain *, uint64_t progress, uint64_t now_ms);

#endif
