/*
 * Workarounds for faults of single versions of ngtcp2 and nghttp3, each with
 * the version at which it can be deleted. deps.sh has the versions that we
 * build on: when its minimum reaches a version that is named here, delete the
 * workaround.
 *
 *   library   fault                                  ends with  where
 *   ngtcp2    no_pmtud aborts a server               1.12       mtu_probe.c
 *   ngtcp2    BBR does not detect idle time          1.18       bbr_probe_rtt.c
 *   ngtcp2    STOP_SENDING is not reported           1.24       scheduler.c
 *   ngtcp2    a retired connection ID still counts   1.26       conn.c
 *   ngtcp2    its path MTU discovery stops at the    none yet   mtu_probe.c
 *             peer's max_udp_payload_size
 *   ngtcp2    congestion control begins anew       none yet   path_restart.c
 *             on another path alone
 *   nghttp3   a FIN without data is forgotten        1.9        scheduler.c
 */
#ifndef CULVERT_QUIC_COMPAT_H
#define CULVERT_QUIC_COMPAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ngtcp2/ngtcp2.h>

/* ---- ngtcp2 ---- */

/*
 * Before 1.12 the setting no_pmtud aborts a server. So the library is given
 * one size to probe, in `probes`, that is too large for any path.
 */
void compat_disable_pmtud(ngtcp2_settings *, uint16_t *probes);

/*
 * The library does not probe sizes beyond the max_udp_payload_size of the peer.
 * Its own discovery is to begin beyond it, and none of these probes leaves: see
 * mtu_probe.h. So the limit in its copy of the peer's parameters is raised to
 * `size`; mtu_probe.c keeps the limit that the peer has set. No version up to
 * 1.25 needs less.
 */
void compat_raise_peer_max(const ngtcp2_transport_params *peer, uint64_t size);

/*
 * Before 1.18 BBR does not detect that a connection was idle, and
 * bbr_probe_rtt.c is needed. The library in use counts, not the one that we
 * were built with.
 */
bool compat_misses_idle(void);

/*
 * Up to 1.25 the library counts wrongly when a client changes its network
 * before a new port of its NAT is validated: it retires the connection ID that
 * it falls back on, still counts it, and takes the peer's next one for one too
 * many (RFC 9000 §5.1.1). The ID is recorded, though: so the packet counts as
 * lost, and is accepted when its frames come again. True: `rv` is such an
 * error, and is ignored. `*ignored` counts them, for each connection; it is 0
 * at first.
 */
bool compat_ignores_id_limit(int rv, unsigned *ignored);

/*
 * Before 1.24 there is no callback (recv_stop_sending) for STOP_SENDING. So
 * scheduler.c stops a stream when a write to it fails with this.
 */
bool compat_is_stopped(ngtcp2_ssize rv);

/* ---- nghttp3 ---- */

/*
 * Before 1.9 nghttp3 takes back a FIN without data that no packet had room for,
 * and forgets it if all the data before it is acknowledged in the meantime. So
 * scheduler.c keeps the ID of that stream in `pending_fin`, and writes the FIN
 * itself. -1: there is none.
 */
#define COMPAT_NO_FIN (-1)

#endif
